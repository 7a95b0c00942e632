from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.io import read, write

RNG = np.random.default_rng(0)
SOFT = RNG.random((4, 5, 6), dtype=np.float32)
FOUR = RNG.random((3, 4, 5, 6), dtype=np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    np.save(tmp_path / "map.npy", SOFT)
    return tmp_path / "map.npy"


@pytest.fixture
def four(tmp_path: Path) -> Path:
    np.save(tmp_path / "four.npy", FOUR)
    return tmp_path / "four.npy"


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        ("1:3,0:5,2:4", SOFT[1:3, :, 2:4]),
        ("1:,:2,:", SOFT[1:, :2]),
        (" 2:3 , :, :", SOFT[2]),
    ],
)
def test_region(path: Path, region: str, expected: np.ndarray) -> None:
    assert np.array_equal(read(path, region=region).array, expected)


@pytest.mark.parametrize("region", ["1:3", "1:3,0:5", "2:9,:,:", "3:3,:,:", "3:1,:,:"])
def test_region_that_does_not_fit(path: Path, region: str) -> None:
    with pytest.raises(
        InputError, match=r"--region .*(names \d axes; .* has 3, ZYX|does not fit: axis Z .* 0 to 4)"
    ):
        read(path, region=region)


@pytest.mark.parametrize("region", ["", "a:b,:,:", "1-3,:,:", "-1:,:,:", "1,2,3"])
def test_region_that_is_not_one(path: Path, region: str) -> None:
    with pytest.raises(UsageError, match="must read z0:z1,y0:y1,x0:x1"):
        read(path, region=region)


def test_axes_are_named_and_put_in_order(four: Path, tmp_path: Path) -> None:
    volume = read(four, axes="xczy")
    assert volume.axes == "CZYX"
    assert np.array_equal(volume.array, FOUR.transpose(1, 2, 3, 0))
    # A .npy goes back into the order it came in.
    write(volume, tmp_path / "out.npy")
    assert np.array_equal(np.load(tmp_path / "out.npy"), FOUR)


@pytest.mark.parametrize("axes", ["CZY", "CCYX", "C1YX", "CZTP"])
def test_axes_that_are_none(four: Path, axes: str) -> None:
    with pytest.raises((UsageError, InputError), match=r"--axes '.*must be distinct letters with Y and X"):
        read(four, axes=axes)


def test_axes_of_the_wrong_number(four: Path) -> None:
    with pytest.raises(InputError, match=r"has 4 axes, its shape is \(3, 4, 5, 6\); --axes ZYX names 3"):
        read(four, axes="ZYX")


def test_channels(four: Path, path: Path) -> None:
    assert np.array_equal(read(four, axes="CZYX", channel=1).array, FOUR[1])
    assert np.array_equal(read(four, axes="CZYX", channel="-1").array, FOUR[-1])
    assert np.array_equal(read(four, channel_axis=0, channel=1).array, FOUR[1])
    last = read(four, channel_axis=-1, channel=2)
    assert np.array_equal(last.array, FOUR[..., 2])
    assert last.axes == "ZYX"
    first = read(path, channel_axis="Z")
    assert (first.axes, first.array.shape) == ("CYX", (4, 5, 6))
    with pytest.raises(InputError, match="has no channel 7; choose --channel 0 to 2"):
        read(four, axes="CZYX", channel=7)
    with pytest.raises(InputError, match="has no channel 'tumour'"):
        read(four, axes="CZYX", channel="tumour")
    with pytest.raises(InputError, match="has no channel axis, its axes are ZYX"):
        read(path, channel=0)
    with pytest.raises(InputError, match="has no axis T; its axes are ZYX"):
        read(path, channel_axis="T")


def test_affine_does_not_survive_wrong_axes(tmp_path: Path, volume) -> None:  # type: ignore[no-untyped-def]
    write(volume, tmp_path / "map.nii")
    turned = read(tmp_path / "map.nii", axes="YZX")
    assert turned.affine is None
    assert turned.spacing is not None
    np.testing.assert_allclose(turned.spacing, np.array(volume.spacing)[[1, 0, 2]], rtol=1e-6)
    assert "its place in the world is not kept" in turned.notes[0]
    assert read(tmp_path / "map.nii", axes="TYX").affine is not None
