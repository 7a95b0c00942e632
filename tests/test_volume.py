"""`Volume`: axes, geometry, and refused arguments."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from softmorph_cli import Volume
from softmorph_cli.errors import InputError
from softmorph_cli.volume import places

MAP = np.full((4, 5, 6), 0.25, np.float32)


def test_axes_of_a_volume() -> None:
    volume = Volume(np.zeros((2, 3, 4, 5, 6)), "TCZYX", spacing=(2.0, 1.0, 0.5), unit="um")
    assert volume.spatial_dims == 3
    assert volume.spatial_axes == "ZYX"
    assert volume.mapped_axes == "TC"
    flat = Volume(np.zeros((2, 3, 4)), "CYX")
    assert flat.spatial_dims == 2
    assert flat.spatial_axes == "YX"
    assert flat.mapped_axes == "C"
    assert Volume(MAP, "ZYX").mapped_axes == ""


def test_a_volume_is_frozen_and_keeps_the_array_it_was_given() -> None:
    volume = Volume(MAP, "ZYX")
    assert volume.array is MAP
    with pytest.raises(dataclasses.FrozenInstanceError):
        volume.axes = "YXZ"  # type: ignore[misc]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "too few letters": ({"axes": "YX"}, r"axes 'YX' do not name the 3 axes of an array of shape \(4, 5, 6\)"),
    "a letter twice": ({"axes": "YYX"}, r"one distinct letter"),
    "wrong end": ({"axes": "XYZ"}, r"axes 'XYZ' must end in YX or ZYX"),
    "spatial in front": ({"axes": "ZCYX", "array": MAP[None]}, r"must end in YX or ZYX"),
    "float16": ({"array": MAP.astype(np.float16)}, r"float32 or float64, not float16"),
    "integers": ({"array": np.zeros((4, 5, 6), int)}, r"not int64"),
    "big-endian": ({"array": MAP.astype(">i2")}, r"not >?i"),
    "empty": ({"array": np.zeros((4, 0, 6))}, r"the map is empty: its shape is \(4, 0, 6\)"),
    "above 1": ({"array": MAP * 5}, r"probabilities lie in \[0, 1\]; this map has values from 1.25 to 1.25"),
    "negative": ({"array": -MAP}, r"values from -0.25"),
    "NaN": ({"array": MAP * np.nan}, r"values from nan to nan"),
    "infinite": ({"array": MAP + np.inf}, r"to inf"),
    "two spacings": ({"spacing": (1.0, 1.0)}, r"must be 3 positive numbers"),
    "zero spacing": ({"spacing": (1.0, 0.0, 1.0)}, r"must be 3 positive numbers"),
    "negative spacing": ({"spacing": (1.0, -1.0, 1.0)}, r"must be 3 positive numbers"),
    "NaN spacing": ({"spacing": (1.0, float("nan"), 1.0)}, r"must be 3 positive numbers"),
    "infinite spacing": ({"spacing": (1.0, float("inf"), 1.0)}, r"must be 3 positive numbers"),
}


@pytest.mark.parametrize("case", BAD)
def test_inconsistent_parts_are_refused(case: str) -> None:
    changed, fragment = BAD[case]
    with pytest.raises(InputError, match=fragment):
        Volume(**{"array": MAP, "axes": "ZYX", **changed})


def test_with_array_keeps_the_geometry() -> None:
    volume = Volume(MAP, "ZYX", spacing=(3.0, 1.0, 1.0), unit="mm", affine=np.eye(4), notes=("a",))
    other = volume.with_array(MAP * 2)
    assert (other.spacing, other.unit, other.notes) == (volume.spacing, volume.unit, volume.notes)
    assert other.affine is volume.affine
    assert (other.array == 0.5).all()
    assert (volume.array == 0.25).all()
    with pytest.raises(InputError, match=r"\(5, 6\) cannot take the place of one of \(4, 5, 6\)"):
        volume.with_array(MAP[0])
    with pytest.raises(InputError, match="probabilities"):
        volume.with_array(MAP * 9)


@pytest.mark.parametrize(
    "affine",
    [
        np.zeros((4, 4)),
        np.eye(3),
        np.diag([1.0, 0.0, 1.0, 1.0]),
        np.diag([1.0, np.nan, 1.0, 1.0]),
        np.diag([1.0, np.inf, 1.0, 1.0]),
        np.diag([1.0, 1e200, 1.0, 1.0]),
        np.array([[1.0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
        np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]),
    ],
)
def test_singular_affines_are_refused(affine: np.ndarray) -> None:
    with pytest.raises(
        InputError, match=r"does not place voxels: it must be 4 x 4, finite and have an inverse"
    ):
        Volume(np.zeros((2, 3, 4), np.float32), "ZYX", affine=affine)
    assert not places(affine)


def test_small_steep_and_mirrored_affines_are_accepted() -> None:
    for affine in (
        np.diag([1e-9, 1e-9, 1e-7, 1.0]),
        np.diag([1.0, -1.0, 1000.0, 1.0]),
        np.array([[1.0, 0.9, 0, 5e4], [0, 0.3, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
    ):
        assert places(affine)
        Volume(np.zeros((2, 3, 4), np.float32), "ZYX", affine=affine)


def test_one_channel_and_the_only_image() -> None:
    array = np.random.default_rng(2).random((1, 3, 4, 5)).astype(np.float32)
    volume = Volume(array, "TCYX", channels=("a", "b", "c"))
    assert (volume.channel_axis(), volume.class_axis()) == (1, 1)
    assert volume.channel(2).axes == "TYX"
    assert np.array_equal(volume.channel(2).array, array[:, 2])
    alone = volume.single(1)
    assert (alone.axes, alone.channels) == ("YX", None)
    assert np.array_equal(alone.array, array[0, 1])
    with pytest.raises(InputError, match="it holds 3 along C, and one is taken at a time"):
        volume.single()
    assert np.array_equal(volume.channel(0).single().array, array[0, 0])
    # Times are no classes, and of two long axes none is that of classes.
    assert Volume(array[0], "TYX").class_axis() is None
    assert Volume(array[0], "SYX").class_axis() == 0
    two = Volume(np.repeat(array, 2, axis=0), "TCYX")
    assert two.class_axis() is None
    with pytest.raises(InputError, match="it holds 2 along T x 3 along C"):
        two.single(0)
