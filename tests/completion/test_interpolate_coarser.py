"""`interpolate` on grids with larger voxels, and what decides whether channels exclude each other."""

from __future__ import annotations

import doctest
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from test_interpolate import AFFINE, ball, volume
from test_interpolate_prior import GAP, blank, heart, prior

import softmorph_cli as sm
from softmorph_cli.errors import InputError
from softmorph_cli.filters import coarser


def blocks(array: npt.NDArray[np.float32], *counts: int) -> npt.NDArray[np.float64]:
    """Return the means over blocks of the last axes, whose sizes are multiples of the counts."""
    shape = array.shape[: -len(counts)]
    split = [
        n
        for size, count in zip(array.shape[-len(counts) :], counts, strict=True)
        for n in (size // count, count)
    ]
    last = tuple(range(len(shape) + 1, len(shape) + 2 * len(counts), 2))
    return np.asarray(array.astype(np.float64).reshape(*shape, *split).mean(last))


@pytest.mark.parametrize("method", ["logit", "linear"])
def test_a_thin_line_keeps_its_volume_on_the_grid_of_another_image(method: str) -> None:
    line = np.zeros((8, 8, 8), np.float32)
    line[:, 3, 4] = 1  # 8 voxels of 1 mm³
    given = sm.Volume(line, "ZYX", (1.0, 1.0, 1.0), "mm", affine=np.eye(4))
    asked = sm.interpolate(given, spacing="2mm", method=method).image
    found = sm.interpolate(given, like=asked, method=method).image
    assert asked.array.sum() * 8 == pytest.approx(8, abs=1e-4)
    assert found.array.sum() * 8 == pytest.approx(8, abs=1e-4)
    np.testing.assert_allclose(found.array, blocks(line, 2, 2, 2), atol=1e-5)


def test_a_turned_coarser_grid_has_the_means_of_its_voxels() -> None:
    array = ball((12, 14, 15))
    # The axes of the grid are x, z and y of the map, in voxels of 3 x 8 x 2 mm; the map has 4 x 1 x 1 mm.
    turn = np.array([[0, 2.0, 0, 0.5], [0, 0, 2.0, 0.5], [3.0, 0, 0, 1.0], [0, 0, 0, 1]])
    grid = sm.Volume(np.zeros((5, 6, 7), np.float32), "ZYX", (3.0, 2.0, 2.0), "mm", affine=AFFINE @ turn)
    found = sm.interpolate(volume(array), like=grid).image.array
    whole = array[:12, :14, :15].astype(np.float64)
    wanted = np.array(
        [
            [
                [whole[2 * j : 2 * j + 2, 2 * i : 2 * i + 2, 3 * k : 3 * k + 3].mean() for i in range(7)]
                for j in range(6)
            ]
            for k in range(5)
        ]
    )
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    nearest = sm.interpolate(volume(array), like=grid, method="nearest").image.array
    assert set(np.unique(nearest)) <= set(np.unique(array))


@pytest.mark.parametrize("method", ["logit", "linear"])
def test_coarser_sheared_voxels_are_not_mixed_with_what_is_outside(method: str) -> None:
    affine = AFFINE.copy()
    affine[0, 0] = 3.0
    given = sm.Volume(np.full((12, 14, 15), 0.9, np.float32), "ZYX", (5.0, 1.0, 1.0), "mm", affine=affine)
    wanted = sm.interpolate(given, spacing="1mm,1.2mm,1.2mm", method="nearest").image
    found = sm.interpolate(given, spacing="1mm,1.2mm,1.2mm", method=method).image
    np.testing.assert_array_equal(found.affine, wanted.affine)
    np.testing.assert_allclose(found.array, wanted.array, atol=1e-5)
    assert set(np.unique(wanted.array)) == {np.float32(0), np.float32(0.9)}
    assert 0.2 < (wanted.array > 0).mean() < 0.9


def test_parts_of_voxels_by_hand() -> None:
    # Steps of 1.05, 2.2 and hypot(1.2, 1.6) = 2 voxels.
    matrix = np.array([[1.05, 0, 0, 0], [0, 2.2, 1.2, 0], [0, 0, 1.6, 0], [0, 0, 0, 1]])
    assert coarser.parts(matrix, 3) == (1, 3, 2)
    assert doctest.testmod(coarser) == (0, 1)
    matrix[:, 0] *= 9
    assert coarser.parts(matrix, 2) == (1, 3, 2)


def test_a_prior_on_a_coarser_grid_has_means(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = heart()
    with pytest.warns(sm.SoftmorphWarning):
        native = sm.interpolate(whole, missing=GAP, prior=prior(), min_fit=0).image
    assert whole.spacing is not None
    sizes = ",".join(f"{size * part:.9g}mm" for size, part in zip(whole.spacing, (1, 2, 4), strict=True))
    # In slabs of one slice too.
    for limit in (1 << 23, 1):
        monkeypatch.setattr(coarser, "_AT_ONCE", limit)
        with pytest.warns(sm.SoftmorphWarning):
            found = sm.interpolate(
                blank(whole, GAP), missing=GAP, prior=prior(), min_fit=0, spacing=sizes
            ).image
        assert found.array.shape == (3, 8, 8, 4)
        np.testing.assert_allclose(found.array, blocks(native.array, 1, 2, 4), atol=2e-5)


def test_channels_that_overlap_at_any_time_are_independent_at_all() -> None:
    sparse = np.stack([ball(), np.zeros_like(ball())]) / 2
    maps = np.stack([sparse, np.stack([ball(), ball()])])
    found = sm.interpolate(volume(maps, "TCZYX"), missing=[5])
    assert not found.document["classes_exclude_each_other"]
    for time, channel in np.ndindex(2, 2):
        alone = sm.interpolate(volume(maps[time, channel]), missing=[5])
        np.testing.assert_array_equal(found.image.array[time, channel], alone.image.array)


@pytest.mark.parametrize("regions", [True, False])
def test_what_a_network_states_decides(regions: bool, tmp_path: Path) -> None:
    labels = (
        {"background": 0, "whole": [1, 2], "core": 2} if regions else {"background": 0, "whole": 1, "core": 2}
    )
    document = {"labels": labels, "channel_names": {"0": "CT"}, "file_ending": ".nii.gz", "numTraining": 1}
    (tmp_path / "dataset.json").write_text(
        json.dumps(document | ({"regions_class_order": [1, 2]} if regions else {}))
    )
    # Regions whose sum nowhere exceeds 1.
    maps = np.stack([ball(), np.zeros_like(ball())]) / 2
    if not regions:
        maps = np.concatenate([1 - maps.sum(0, keepdims=True), maps])
    np.savez(tmp_path / "case.npz", probabilities=maps)
    sm.write(replace(volume(), array=(ball() > 2).astype(np.float32)), tmp_path / "case.nii.gz")
    given = sm.read(tmp_path / "case.npz")
    assert given.source is not None
    found = sm.interpolate(given, missing=[5])
    assert found.document["classes_exclude_each_other"] is not regions


@pytest.mark.parametrize("method", ["logit", "linear", "shape", "prior"])
def test_the_memory_of_a_grid_is_checked_before_it_is_taken(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = heart(shape=(48, 48, 48))
    options: dict[str, Any] = {"prior": prior(), "min_fit": 0} if method == "prior" else {"method": method}
    if method == "prior":
        monkeypatch.setattr("softmorph_cli.completion.validation.leave_one_out", lambda *_, **__: None)
    tracemalloc.start()
    sm.interpolate(given, spacing="iso" if method == "prior" else "1mm", **options)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # What is there beforehand counts as well; and half as much again is no surprise to anyone.
    for share, refuses in ((0.75, True), (1.6, False)):
        monkeypatch.setattr("softmorph_cli.system.machine.memory", lambda share=share: int(share * taken))
        monkeypatch.setattr("softmorph_cli.filters.interpolation._grouped", _reached)
        with pytest.raises(InputError if refuses else ReachedError, match=r"GiB may be used|reached"):
            sm.interpolate(given, spacing="iso" if method == "prior" else "1mm", **options)


class ReachedError(Exception):
    pass


def _reached(volume: sm.Volume) -> None:
    raise ReachedError("reached")
