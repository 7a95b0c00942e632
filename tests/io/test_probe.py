from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from softmorph_cli.io.probing import probe
from softmorph_cli.io.reading import read
from softmorph_cli.io.writing import write
from softmorph_cli.volume import Volume

RNG = np.random.default_rng(0)
SOFT = RNG.random((4, 5, 6), dtype=np.float32)
LABELS = np.repeat(np.arange(4, dtype=np.int16), 30).reshape(4, 5, 6)
HOLES = np.where(SOFT > 0.5, SOFT, np.nan)


@pytest.mark.parametrize(
    ("array", "kind", "option"),
    [
        (SOFT, "probability", ""),
        (SOFT * 1.05, "probability", "--clip"),
        ((SOFT > 0.5).astype(np.uint8), "mask", ""),
        (LABELS, "labels", "--label 1"),
        ((SOFT * 255).astype(np.uint8), "image", "--divide-by 255"),
        (SOFT * 20 - 10, "logits", "--from-logits sigmoid"),
        (HOLES, "probability", "--mask MASK"),
        (np.zeros((2, 3, 4, 5), np.float32), "mask", "--axes CZYX"),
    ],
)
def test_suggestion(tmp_path: Path, array: Any, kind: str, option: str) -> None:
    path = tmp_path / "my map.npy"
    np.save(path, array)
    found = probe(path)
    assert (found.kind, found.shape, found.dtype) == (kind, array.shape, str(array.dtype))
    assert found.suggestion == " ".join(
        filter(None, ["softmorph skeletonize", shlex.quote(str(path)), "skeleton.npy", option])
    )


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".tif", ".nrrd", ".mha", ".npy"])
@pytest.mark.parametrize("name", ["bare", "map.dat"])
def test_the_suggested_output_can_be_written(tmp_path: Path, suffix: str, name: str) -> None:
    write(Volume(SOFT, "ZYX"), tmp_path / f"in{suffix}")
    (tmp_path / f"in{suffix}").rename(tmp_path / name)
    target = shlex.split(probe(tmp_path / name).suggestion)[3]
    assert target == f"skeleton{'.nii.gz' if suffix == '.nii' else suffix}"


def test_large_numbers_are_suggested_in_full(tmp_path: Path) -> None:
    path = tmp_path / "map.npy"
    top = 2**64 - 1
    np.save(path, np.where(LABELS > 1, np.uint64(top), np.uint64(0)))
    assert probe(path).suggestion.endswith(f"--label {top}")
    assert np.array_equal(read(path, label=top).array, LABELS > 1)
    np.save(path, SOFT * np.float32(1234567))
    option = probe(path).suggestion.split()[-1]
    assert read(path, divide_by=float(option)).array.max() <= 1


@pytest.mark.parametrize("array", [LABELS, (SOFT * 255).astype(np.uint8), SOFT * 20 - 10, SOFT * 1.05])
def test_the_suggested_option_reads_the_file(tmp_path: Path, array: Any) -> None:
    np.save(tmp_path / "map.npy", array)
    flag, *value = probe(tmp_path / "map.npy").suggestion.split("skeleton.npy ")[1].split()
    suggested: dict[str, dict[str, Any]] = {
        "--label": {"label": int((value or ["0"])[0]) if flag == "--label" else None},
        "--divide-by": {"divide_by": 255},
        "--from-logits": {"from_logits": "sigmoid"},
        "--clip": {"clip": True},
    }
    assert read(tmp_path / "map.npy", **suggested[flag]).array.max() <= 1


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (SOFT.astype(np.complex64), "complex"),
        (np.array([[1, None]], dtype=object), "other"),
        (np.array([["a", "b"]]), "other"),
        (np.zeros((3, 0), np.float32), "empty"),
        (np.zeros(5), "mask"),
        (np.full((2,) * 6, 0.5), "probability"),
        (np.full((3, 4), np.nan), "empty"),
        (LABELS - 5, "image"),
    ],
)
def test_files_that_read_refuses_are_described(tmp_path: Path, array: Any, kind: str) -> None:
    np.save(tmp_path / "map.npy", array, allow_pickle=array.dtype == object)
    found = probe(tmp_path / "map.npy")
    assert (found.kind, found.shape) == (kind, array.shape)
    assert found.suggestion == ""


def test_counts(tmp_path: Path) -> None:
    array = SOFT.copy()
    array[0, 0, :2], array[1, 0, 0] = np.nan, -np.inf
    np.save(tmp_path / "map.npy", array)
    found = probe(tmp_path / "map.npy")
    assert (found.nans, found.infinities, found.integers, found.distinct) == (2, 1, False, 117)
    assert probe(tmp_path / "map.npy", limit=10).distinct is None


def test_geometry_and_scaling(volume: Volume, tmp_path: Path) -> None:
    write(volume, tmp_path / "map.nii.gz", output_type="uint8")
    found = probe(tmp_path / "map.nii.gz")
    assert (found.format, found.shape, found.dtype, found.axes) == ("nifti", (4, 5, 6), "uint8", "ZYX")
    assert (found.low, found.unit, found.kind) == (0, "mm", "probability")
    assert found.high == pytest.approx(1)
    assert list(found.spacing) == ["Z", "Y", "X"]


def test_colour_and_palette(tmp_path: Path) -> None:
    colour = RNG.integers(0, 256, (7, 8, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "rgb.tif", colour, photometric="rgb")
    assert probe(tmp_path / "rgb.tif").kind == "rgb"
    assert probe(tmp_path / "rgb.tif").suggestion.endswith("skeleton.tif --channel 0")
    table = np.zeros((3, 256), np.uint16)
    tifffile.imwrite(tmp_path / "pal.tif", colour[..., 0], photometric="palette", colormap=table)
    found = probe(tmp_path / "pal.tif")
    assert found.kind == "labels"
    assert found.notes[0] == "its numbers are indices into a palette of colours, and are taken as labels."
    assert found.notes[1].endswith("state it along y, x, such as --voxel-size 0.5umx0.25.")
    assert len(found.notes) == 2
    (label,) = re.findall(r" --label (\d+)$", found.suggestion)
    assert np.array_equal(read(tmp_path / "pal.tif", label=int(label)).array, colour[..., 0] == int(label))
