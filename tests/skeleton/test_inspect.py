"""Inspection of maps and skeletons: the curve, the quantities along it, memory, axes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_maps import tree
from helpers_traced import along, counts, known, of_skeleton, volume_of

from softmorph_cli import Volume, skeletonize
from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.filters.settings import Progress
from softmorph_cli.skeleton.analyse import STAGES, Choices, Inspection, inspect
from softmorph_cli.skeleton.export.images import skeleton_image
from softmorph_cli.skeleton.image_kind import MAP, SKELETON, kind_of
from softmorph_cli.system import machine
from softmorph_cli.system.parameters import named_as_options
from softmorph_cli.volume import Source


@pytest.fixture(scope="module")
def vessel() -> Volume:
    """A drawn tree: 4 tips, 2 forks, 5 branches."""
    return volume_of(tree())


@pytest.fixture(scope="module")
def found(vessel: Volume) -> Inspection:
    return inspect(vessel)


@pytest.fixture(scope="module")
def skeleton(found: Inspection) -> np.ndarray:
    return skeleton_image(found.graph)


@pytest.fixture(params=["volume", "image"])
def either(request: pytest.FixtureRequest, vessel: Volume) -> Volume:
    """The tree, or its maximum along z as an image of two axes."""
    return vessel if request.param == "volume" else volume_of(vessel.array.max(axis=0))


# The curve


def test_a_drawn_tree(found: Inspection) -> None:
    assert counts(found) == (1, 0, 4, 2, 5)
    assert [told for told in found.warnings if "single voxel" not in told] == []
    assert found.parameters == {
        "as": "map",
        "threshold": 0.5,
        "prune": None,
        "root": None,
        "prune_cycles": None,
        "levels": 64,
    }


@pytest.mark.parametrize(
    ("provenance", "expected"),
    [
        ({"command": "softmorph skeletonize"}, True),
        ({"command": "softmorph skeletonize", "parameters": {"method": "binary"}}, True),
        ({"command": "softmorph inspect", "parameters": {"image": "skeleton"}}, True),
        ({"command": "softmorph inspect", "parameters": {"image": "branch_labels"}}, False),
        ({"command": "softmorph inspect", "parameters": {"image": "tagged"}}, False),
        # What was done to a skeleton afterwards may have made a map of it again.
        ({"command": "softmorph dilate", "parameters": {"method": "levels"}}, False),
        ({}, False),
        # Anybody may have written it.
        ({"command": "softmorph inspect", "parameters": "skeleton"}, False),
        ({"command": ["softmorph skeletonize"], "parameters": None}, False),
    ],
)
def test_a_skeleton_is_recognized_by_its_provenance(provenance: Mapping[str, Any], expected: bool) -> None:
    volume = volume_of(np.zeros((3, 4)))
    source = Source(Path("x.nii.gz"), "nifti", (4, 3), "uint8", provenance=provenance)
    assert (kind_of(replace(volume, source=source))[0] == SKELETON) is expected


def test_a_skeleton_is_never_guessed_from_its_values(skeleton: np.ndarray) -> None:
    volume = volume_of(skeleton)
    assert kind_of(volume) == (MAP, ())
    found = inspect(volume)
    assert found.parameters["as"] == "map"
    assert known(found) == {"radius", "certainty", "levels"}


def test_a_skeleton_is_traced_as_it_is(found: Inspection, skeleton: np.ndarray) -> None:
    again = of_skeleton(skeleton)
    assert [b.voxels.tolist() for b in again.graph.branches] == [
        b.voxels.tolist() for b in found.graph.branches
    ]
    assert again.warnings == ()
    # Of 0 and 1 alone nothing is known about certainty.
    assert known(again) == set()


@pytest.mark.parametrize(("kind", "default"), [("map", 0.5), ("skeleton", 0.25)])
def test_the_curve_is_that_of_the_foreground(kind: str, default: float) -> None:
    image = np.zeros((12, 40))
    for row, value in ((2, default - 0.01), (5, default), (8, default + 0.01)):
        image[row, 5:30] = value
    for threshold, lines in ((None, 1), (default - 0.005, 2), (0.1, 3), (default + 0.005, 1)):
        found = inspect(volume_of(image), Choices(kind, threshold=threshold, levels=0))
        assert len(found.graph.components) == lines
        assert found.parameters["threshold"] == (default if threshold is None else threshold)


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        ({"kind": "vessel"}, "kind vessel: use map or skeleton"),
        ({"threshold": 1}, "threshold 1: it must be at least 0 and below 1"),
        ({"threshold": -0.1}, "threshold -0.1"),
        ({"threshold": float("nan")}, "threshold nan"),
        ({"prune": -1}, "prune -1: a length is at least 0"),
        ({"prune": float("nan")}, "prune nan"),
        ({"prune_cycles": "longest"}, "use shortest or least-certain"),
    ],
)
def test_values_out_of_range_are_refused(choices: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Choices(**choices)


@pytest.mark.parametrize("levels", [7, -1, 65])
def test_levels_are_those_of_the_soft_skeleton(levels: int, skeleton: np.ndarray) -> None:
    with pytest.raises(UsageError, match="use 8, 16, 32 or a multiple of 64"):
        inspect(volume_of(skeleton), Choices(levels=levels))


# Quantities along it


@pytest.mark.parametrize("levels", [64, 8])
def test_levels_are_the_soft_skeletons_values(either: Volume, levels: int) -> None:
    found = inspect(either, Choices(levels=levels))
    soft = skeletonize(either.array, method="levels", levels=levels)
    voxels, values = along(found, "levels")
    np.testing.assert_array_equal(values, soft[tuple(voxels.T)])
    assert len(np.unique(values)) > 3
    assert found.parameters["levels"] == levels


def test_certainty_is_the_maps_value(either: Volume) -> None:
    voxels, values = along(inspect(either, Choices(levels=0)), "certainty")
    np.testing.assert_array_equal(values, either.array[tuple(voxels.T)])
    assert len(np.unique(values)) > 3


def test_without_levels_radius_and_certainty_are_known(vessel: Volume) -> None:
    found = inspect(vessel, Choices(levels=0))
    assert known(found) == {"radius", "certainty"}
    assert found.parameters["levels"] is None


def test_the_values_of_a_soft_skeleton_are_its_certainty(vessel: Volume) -> None:
    soft = skeletonize(vessel.array, method="levels")
    found = of_skeleton(soft)
    assert known(found) == {"certainty"}
    voxels, values = along(found, "certainty")
    np.testing.assert_array_equal(values, soft[tuple(voxels.T)])
    assert found.parameters["levels"] is None


def test_a_reference_gives_radius_and_certainty(
    vessel: Volume, found: Inspection, skeleton: np.ndarray
) -> None:
    again = of_skeleton(skeleton, vessel)
    assert known(again) == {"radius", "certainty"}
    for quantity in ("radius", "certainty"):
        for one, other in zip(again.graph.branches, found.graph.branches, strict=True):
            np.testing.assert_array_equal(one.along[quantity], other.along[quantity])
    assert again.volume is not vessel
    np.testing.assert_array_equal(again.volume.array, vessel.array)


def test_with_its_map_a_soft_skeleton_is_a_separate_quantity(vessel: Volume) -> None:
    soft = skeletonize(vessel.array, method="levels")
    found = of_skeleton(soft, vessel)
    assert known(found) == {"radius", "certainty", "levels"}
    for quantity, image in (("certainty", vessel.array), ("levels", soft)):
        voxels, values = along(found, quantity)
        np.testing.assert_array_equal(values, image[tuple(voxels.T)])


def test_a_reference_is_cut_like_a_map(vessel: Volume, skeleton: np.ndarray) -> None:
    _, usual = along(of_skeleton(skeleton, vessel), "radius")
    _, same = along(of_skeleton(skeleton, vessel, threshold=0.9), "radius")
    np.testing.assert_array_equal(usual, same)
    _, thinner = along(inspect(vessel, Choices(threshold=0.9, levels=0)), "radius")
    assert thinner.mean() < 0.9 * usual.mean()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda v: replace(v, array=v.array[1:]),
            r"the map's shape is \(39, 44, 48\) and the skeleton's \(40",
        ),
        (lambda v: replace(v, array=v.array[0], axes="YX", spacing=None), "the map's shape is"),
        (lambda v: replace(v, spacing=(1.0, 1.0, 1.01)), "lie at different places"),
        (lambda v: replace(v, affine=placed(0.2)), "the first voxel is, in mm, at .0.2, 0, 0. in the map"),
        (lambda v: replace(v, spacing=(1010.0,) * 3, unit="um"), "the last at .47.47, 43.43, 39.39. and"),
    ],
)
def test_a_reference_on_another_grid_is_refused(
    vessel: Volume, skeleton: np.ndarray, change: Callable[[Volume], Volume], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        of_skeleton(skeleton, change(vessel))


def placed(shift: float) -> np.ndarray:
    """Return the affine of cubic voxels of 1 mm, shifted along x."""
    affine = np.eye(4)[[2, 1, 0, 3]]
    affine[0, 3] = shift
    return affine


def test_a_reference_may_differ_by_rounding_or_have_no_geometry(vessel: Volume, skeleton: np.ndarray) -> None:
    others = replace(vessel, spacing=(1000.0,) * 3, unit="um"), replace(vessel, spacing=None, unit=None)
    for reference in (replace(vessel, affine=placed(1e-3)), *others):
        assert known(of_skeleton(skeleton, reference)) == {"radius", "certainty"}


def test_a_map_is_its_own_reference(vessel: Volume) -> None:
    with pytest.raises(UsageError, match="a reference map goes with a skeleton"):
        inspect(vessel, reference=vessel)


# Memory, axes, inputs


def test_fewer_levels_where_memory_is_short(vessel: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes a voxel that may be used, and the levels that are left: never more memory, more levels."""
    expected = {200: 64, 36: 32, 23: 8, 18: 0}
    curves = set()
    for bytes_per_voxel, levels in expected.items():
        allowed = bytes_per_voxel * vessel.array.size
        monkeypatch.setattr(machine, "memory", lambda allowed=allowed: allowed)
        found = inspect(vessel)
        curves.add(skeleton_image(found.graph).tobytes())
        assert found.parameters["levels"] == (levels or None)
        assert ("levels" in known(found)) == (levels > 0)
        if levels == 64:
            assert [told for told in found.warnings if "single voxel" not in told] == []
            continue
        (warning,) = found.warnings
        fewer = f"{levels} levels" if levels else "no levels"
        assert warning == f"the soft skeleton has {fewer} instead of 64: more would not fit into memory."
        if levels:
            voxels, values = along(found, "levels")
            soft = skeletonize(vessel.array, method="levels", levels=levels)
            np.testing.assert_array_equal(values, soft[tuple(voxels.T)])
    assert len(curves) == 1


def test_an_error_if_not_even_the_centreline_fits_into_memory(
    vessel: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "memory", lambda: 2 * vessel.array.size)
    with pytest.raises(InputError, match=r"needs about .* GiB, and .* pass a part of it"):
        inspect(vessel)


def test_without_limit_or_levels_memory_is_not_estimated(
    vessel: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "memory", lambda: None)
    assert inspect(vessel).parameters["levels"] == 64
    monkeypatch.setattr(machine, "memory", lambda: 18 * vessel.array.size)
    assert inspect(vessel, Choices(levels=0)).warnings == ()


@pytest.mark.parametrize(
    ("axes", "more", "says"),
    [
        ("CYX", {}, r"it holds 2 channels, and one is taken at a time: add --channel 0 or 1\."),
        (
            "CYX",
            {"channels": ("axon", "soma")},
            r"2 channels \(axon, soma\), .* add --channel axon or soma\.",
        ),
        ("TYX", {}, r"2 times, .* add --time 0\."),
        ("QYX", {}, r"2 images along Q, .* add --channel-axis Q --channel 0\."),
    ],
)
def test_several_maps_in_one_file(axes: str, more: dict[str, Any], says: str) -> None:
    several = Volume(np.zeros((2, 5, 6), np.float32), axes, (1.0, 1.0), "mm", **more)
    with named_as_options(), pytest.raises(InputError, match=says):
        inspect(several)
    with pytest.raises(InputError, match=r"one is taken at a time: pass one of them\.$"):
        inspect(several)
    if "T" in axes:
        both = Volume(np.zeros((2, 3, 5, 6), np.float32), "TCYX", (1.0, 1.0), "mm")
        with (
            named_as_options(),
            pytest.raises(InputError, match=r"2 along T x 3 along C, .* add --time 0 --channel 0\."),
        ):
            inspect(both)


def test_axes_of_length_one_are_dropped(vessel: Volume, found: Inspection) -> None:
    single = replace(vessel, array=vessel.array[None, None], axes="TCZYX", channels=("vessel",))
    again = inspect(single, Choices(levels=0))
    assert again.volume.axes == "ZYX"
    assert again.graph.shape == vessel.array.shape
    assert again.graph.length == found.graph.length


def test_arrays_are_never_written_to(skeleton: np.ndarray) -> None:
    image = tree().astype(np.float32)
    image[7, 21:23, 8:11] = 0  # a cavity, which is filled on the way
    drawn = skeleton.astype(np.float32)
    kept = image.tobytes(), drawn.tobytes()
    for array in (image, drawn):
        array.setflags(write=False)
    found = inspect(volume_of(image), Choices(prune=3.0, prune_cycles="least-certain"))
    assert "cavity" in found.notes[0]
    of_skeleton(drawn, volume_of(image), prune_inside=True)
    assert (image.tobytes(), drawn.tobytes()) == kept


def test_stages_are_reported_in_order(vessel: Volume, skeleton: np.ndarray) -> None:
    told: list[str] = []
    worked: list[Progress] = []
    inspect(vessel, stage=told.append, progress=worked.append)
    assert told == [name for name in STAGES if name not in ("reading", "writing")]
    assert worked
    told.clear()
    inspect(volume_of(skeleton), Choices(SKELETON), stage=told.append)
    assert told == ["centreline", "branches"]
