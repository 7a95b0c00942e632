"""Grey images of any range, for what is not a map of probabilities."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.io.reading import read_image

nibabel: Any = import_module("nibabel")
NUMBERS = np.random.default_rng(0).integers(-900, 3000, (4, 5, 6)).astype(np.int16)


def nifti(path: Path, array: np.ndarray, slope: float | None = None) -> Path:
    image = nibabel.Nifti1Image(array.T, np.diag([1.5, 2.0, 3.0, 1.0]))
    image.header.set_xyzt_units("mm")
    if slope is not None:
        image.header.set_slope_inter(slope, -7)
    image.to_filename(path)
    return path


def test_numbers_come_as_the_file_means_them(tmp_path: Path) -> None:
    found, like = read_image(nifti(tmp_path / "a.nii.gz", NUMBERS))
    np.testing.assert_array_equal(found, NUMBERS)
    assert (like.axes, like.spacing, like.unit) == ("ZYX", (3.0, 2.0, 1.5), "mm")
    assert like.affine is not None
    assert not like.array.any()
    # Of floats nibabel stores the numbers as they are, and the header says what they mean.
    found, _ = read_image(nifti(tmp_path / "b.nii", NUMBERS.astype(np.float32), 0.5))
    np.testing.assert_array_equal(found, NUMBERS * 0.5 - 7)
    tifffile.imwrite(tmp_path / "c.tif", NUMBERS.view(np.uint16), imagej=True, metadata={"axes": "ZYX"})
    np.testing.assert_array_equal(read_image(tmp_path / "c.tif")[0], NUMBERS.view(np.uint16))
    np.save(tmp_path / "d.npy", NUMBERS[0] * 1e3)
    assert read_image(tmp_path / "d.npy")[0].shape == (5, 6)


def test_parts_are_chosen(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii.gz", np.stack([NUMBERS, -NUMBERS]))
    with pytest.raises(InputError, match=r"a\.nii\.gz: it holds 2 along .* Choose it with"):
        read_image(path)
    np.testing.assert_array_equal(read_image(path, ReadOptions(channel=1))[0], -NUMBERS)
    found, like = read_image(path, ReadOptions(channel=0, region="1:3,:,2:"))
    np.testing.assert_array_equal(found, NUMBERS[1:3, :, 2:])
    assert like.affine is not None
    assert like.affine[:3, 3].tolist() == [3.0, 0.0, 3.0]


def test_what_is_no_grey_image_is_refused(tmp_path: Path) -> None:
    holes = NUMBERS.astype(np.float32)
    holes[0, 0, 0] = np.nan
    np.save(tmp_path / "a.npy", holes)
    with pytest.raises(InputError, match="no finite numbers"):
        read_image(tmp_path / "a.npy")
    np.savez(tmp_path / "b.npz", probabilities=np.ones((2, 4, 5, 6), np.float32) / 2)
    with pytest.raises(InputError, match="output of a network"):
        read_image(tmp_path / "b.npz")
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((8, 9, 3), np.uint8), photometric="rgb")
    with pytest.raises(InputError, match="colour image"):
        read_image(tmp_path / "c.tif")
    with pytest.raises(FileError):
        read_image(tmp_path / "missing.nii")
