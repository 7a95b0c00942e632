"""Functions of shape priors that the command line does not reach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import softmorph_cli as sm
from softmorph_cli.errors import InputError
from softmorph_cli.io.options import ReadOptions

QUICK: sm.api.priors.TrainingKeywords = {"steps": 2, "width": 4, "layers": 1, "validate": 0}


def write(folder: str, names: tuple[str, ...] | None, *, background: bool = True) -> None:
    """Write 8 maps of two bars, of different widths, with the names of the channels or without."""
    Path(folder).mkdir()
    for k in range(8):
        bars = np.zeros((2, 9, 9), np.float32)
        bars[0, :, : 2 + k % 3] = bars[1, :, 6:] = 0.9
        maps = np.concatenate([1 - bars.sum(0, keepdims=True), bars]) if background else bars
        given = sm.Volume(maps, "CYX", (1.0, 1.0), "mm", channels=names)
        sm.write(given, f"{folder}/{k}.zarr" if names else f"{folder}/{k}.npy")


@pytest.mark.parametrize("background", [True, False])
def test_classes_without_names_are_in_the_order_of_the_prior(
    background: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write("named", ("background", "left", "right"))
    write("nameless", None, background=background)
    prior = sm.train_prior("named", voxels=True, **QUICK)
    assert prior.classes == ("left", "right")
    wanted = sm.evaluate_prior(prior, "named", hide="every:2", voxels=True)
    assert {row.gap for row in wanted} == {"every:2"}
    assert {row.label for row in wanted} == {"left", "right", "all"}
    axes = ReadOptions(axes="CYX")
    found = sm.evaluate_prior(prior, "nameless", hide=["every:2"], voxels=True, reading=axes)
    assert found == wanted
    write("others", ("background", "left", "top"))
    with pytest.raises(InputError, match=r"0\.zarr holds left, top, and the prior"):
        sm.evaluate_prior(prior, "others", hide="every:2", voxels=True)
