"""From a map or a skeleton to its graph: what is the curve, what is known along it, what a person is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_maps import tree

from softmorph_cli import Volume, skeletonize
from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.filters.settings import Progress
from softmorph_cli.skeleton.analyse import STAGES, Choices, Inspection, inspect
from softmorph_cli.skeleton.export.images import skeleton_image
from softmorph_cli.skeleton.image_kind import MAP, SKELETON, kind_of
from softmorph_cli.system import machine
from softmorph_cli.system.parameters import named_as_options
from softmorph_cli.volume import Source

ISOTROPIC = (1.0, 1.0, 1.0)


def volume_of(image: np.ndarray, spacing: tuple[float, ...] | None = None, **more: Any) -> Volume:
    dims = image.ndim
    sizes = ISOTROPIC[:dims] if spacing is None else spacing
    return Volume(image.astype(np.float32), "ZYX"[-dims:], sizes, "mm", **more)


def of_skeleton(image: np.ndarray, reference: Volume | None = None, **choices: Any) -> Inspection:
    return inspect(volume_of(image), Choices(SKELETON, **choices), reference=reference)


def counts(found: Inspection) -> tuple[int, ...]:
    """Return components, cycles, end points, junctions, branches."""
    graph = found.graph
    return (
        len(graph.components),
        graph.cycles,
        len(graph.end_points),
        len(graph.junctions),
        len(graph.branches),
    )


def along(found: Inspection, quantity: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the voxels of all branches, and the values of a quantity there."""
    branches = found.graph.branches
    return np.concatenate([b.voxels for b in branches]), np.concatenate([b.along[quantity] for b in branches])


def known(found: Inspection) -> set[str]:
    return set(found.graph.branches[0].along)


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


# What the curve is


def test_a_drawn_tree(found: Inspection) -> None:
    assert counts(found) == (1, 0, 4, 2, 5)
    assert [told for told in found.warnings if "single voxel" not in told] == []
    assert found.parameters == {
        "as": "map",
        "threshold": 0.5,
        "prune": None,
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
def test_a_skeleton_is_known_by_what_softmorph_wrote(provenance: Mapping[str, Any], expected: bool) -> None:
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
def test_the_curve_is_what_is_above_the_threshold(kind: str, default: float) -> None:
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
def test_choices_that_make_no_sense(choices: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Choices(**choices)


@pytest.mark.parametrize("levels", [7, -1, 65])
def test_levels_are_those_of_the_soft_skeleton(levels: int, skeleton: np.ndarray) -> None:
    with pytest.raises(UsageError, match="use 8, 16, 32 or a multiple of 64"):
        inspect(volume_of(skeleton), Choices(levels=levels))


# What is known along it


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


def test_without_levels_the_rest_is_known(vessel: Volume) -> None:
    found = inspect(vessel, Choices(levels=0))
    assert known(found) == {"radius", "certainty"}
    assert found.parameters["levels"] is None


def test_a_soft_skeleton_alone_says_how_certain_it_is(vessel: Volume) -> None:
    soft = skeletonize(vessel.array, method="levels")
    found = of_skeleton(soft)
    assert known(found) == {"certainty"}
    voxels, values = along(found, "certainty")
    np.testing.assert_array_equal(values, soft[tuple(voxels.T)])
    assert found.parameters["levels"] is None


def test_a_reference_brings_radius_and_certainty(
    vessel: Volume, found: Inspection, skeleton: np.ndarray
) -> None:
    again = of_skeleton(skeleton, vessel)
    assert known(again) == {"radius", "certainty"}
    for quantity in ("radius", "certainty"):
        for one, other in zip(again.graph.branches, found.graph.branches, strict=True):
            np.testing.assert_array_equal(one.along[quantity], other.along[quantity])
    assert again.volume is not vessel
    np.testing.assert_array_equal(again.volume.array, vessel.array)


def test_beside_its_map_a_soft_skeleton_is_a_value_of_its_own(vessel: Volume) -> None:
    soft = skeletonize(vessel.array, method="levels")
    found = of_skeleton(soft, vessel)
    assert known(found) == {"radius", "certainty", "levels"}
    for quantity, image in (("certainty", vessel.array), ("levels", soft)):
        voxels, values = along(found, quantity)
        np.testing.assert_array_equal(values, image[tuple(voxels.T)])


def test_a_reference_is_cut_where_a_map_is(vessel: Volume, skeleton: np.ndarray) -> None:
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
def test_a_reference_that_is_not_the_skeletons(
    vessel: Volume, skeleton: np.ndarray, change: Callable[[Volume], Volume], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        of_skeleton(skeleton, change(vessel))


def placed(shift: float) -> np.ndarray:
    """Return the affine of cubic voxels of 1 mm, shifted along x."""
    affine = np.eye(4)[[2, 1, 0, 3]]
    affine[0, 3] = shift
    return affine


def test_a_reference_may_differ_by_rounding_or_say_nothing_of_its_place(
    vessel: Volume, skeleton: np.ndarray
) -> None:
    others = replace(vessel, spacing=(1000.0,) * 3, unit="um"), replace(vessel, spacing=None, unit=None)
    for reference in (replace(vessel, affine=placed(1e-3)), *others):
        assert known(of_skeleton(skeleton, reference)) == {"radius", "certainty"}


def test_a_map_is_its_own_reference(vessel: Volume) -> None:
    with pytest.raises(UsageError, match="a reference map goes with a skeleton"):
        inspect(vessel, reference=vessel)


# Memory, axes, and what is left alone


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


def test_where_not_even_the_centreline_fits(vessel: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory", lambda: 2 * vessel.array.size)
    with pytest.raises(InputError, match=r"needs about .* GiB, and .* pass a part of it"):
        inspect(vessel)


def test_no_limit_and_no_levels_ask_for_nothing(vessel: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory", lambda: None)
    assert inspect(vessel).parameters["levels"] == 64
    monkeypatch.setattr(machine, "memory", lambda: 18 * vessel.array.size)
    assert inspect(vessel, Choices(levels=0)).warnings == ()


@pytest.mark.parametrize(
    ("axes", "more", "says"),
    [
        ("CYX", {}, r"it holds 2 channels, and one is taken at a time: add --channel 0 \(or 1\)\."),
        (
            "CYX",
            {"channels": ("axon", "soma")},
            r"2 channels \(axon, soma\), .* add --channel axon \(or soma\)\.",
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


def test_axes_of_length_one_are_none(vessel: Volume, found: Inspection) -> None:
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


def test_every_stage_is_told_in_its_order(vessel: Volume, skeleton: np.ndarray) -> None:
    told: list[str] = []
    worked: list[Progress] = []
    inspect(vessel, stage=told.append, progress=worked.append)
    assert told == [name for name in STAGES if name not in ("reading", "writing")]
    assert worked
    told.clear()
    inspect(volume_of(skeleton), Choices(SKELETON), stage=told.append)
    assert told == ["centreline", "branches"]


# What a person is told


def tube(length: int = 40, radius: float = 3.0, shape: tuple[int, int] = (13, 13)) -> np.ndarray:
    """Draw a straight tube along x that ends inside the image."""
    z, y, x = np.indices((*shape, length))
    image = (z - shape[0] // 2) ** 2 + (y - shape[1] // 2) ** 2 <= radius**2
    return np.asarray(image & (x >= 4) & (x < length - 4), np.float32)


def test_cavities_are_filled_and_said() -> None:
    solid = tube()
    hollow = solid.copy()
    hollow[6, 6, 15:18] = 0
    hollow[5, 6, 25] = 0.4
    found, filled = inspect(volume_of(hollow)), inspect(volume_of(solid))
    assert found.notes == (
        "2 cavities inside the object (4 voxels in all) counted as filled: a centreline cannot pass through a "
        "closed shell.",
    )
    assert (skeleton_image(found.graph) == skeleton_image(filled.graph)).all()
    assert counts(found) == (1, 0, 2, 0, 1)
    # The map does not believe in what was filled.
    spread = found.graph.spread("certainty")
    assert spread is not None
    assert spread.min == 0
    assert found.volume.array[6, 6, 16] == 0


def test_a_hole_of_an_image_is_a_loop() -> None:
    image = np.zeros((30, 30), np.float32)
    image[5:25, 5:25] = 1
    image[12:18, 12:18] = 0
    found = inspect(volume_of(image))
    assert found.graph.cycles == 1
    assert found.notes == ()


def test_an_empty_map() -> None:
    found = inspect(volume_of(np.zeros((5, 6, 7))))
    assert counts(found) == (0, 0, 0, 0, 0)
    assert found.warnings == ("nothing is above 0.5, the largest value is 0: the map is 0 everywhere.",)


@pytest.mark.parametrize("top", [0.5, 0.31, 0.04, 3e-5])
def test_where_nothing_is_above_the_threshold_another_is_named_that_does(top: float) -> None:
    volume = volume_of(tube() * top)
    (warning,) = inspect(volume).warnings
    assert warning.startswith(f"nothing is above 0.5, the largest value is {top:.3g}; try threshold=")
    threshold = float(warning.split("try threshold=")[1].rstrip("."))
    assert counts(inspect(volume, Choices(threshold=threshold))) == (1, 0, 2, 0, 1)


def test_a_full_map_has_no_surface() -> None:
    found = inspect(volume_of(np.ones((5, 6, 7))))
    assert found.warnings == ("the map has no surface inside the image, so radii are not known.",)
    assert len(found.graph.components) == 1
    assert known(found) == {"certainty", "levels"}


def test_single_voxels() -> None:
    image = np.zeros((9, 9, 9))
    image[2, 2, 2] = 1
    found = inspect(volume_of(image))
    assert found.warnings == ("the centreline is a single voxel: it has no branch, and so no length.",)
    assert counts(found) == (1, 0, 0, 0, 0)
    image[6, 6, 6] = 1
    (warning,) = inspect(volume_of(image)).warnings
    assert warning.startswith("the centreline is 2 single voxels: ")
    # Beside a branch they are components of no length, and nothing to warn of.
    image[4, 1, 2:8] = 1
    assert inspect(volume_of(image)).warnings == ()


def test_a_solid_object_is_no_skeleton() -> None:
    found = of_skeleton(tube())
    (warning,) = found.warnings
    assert warning.startswith(f"thinning left {found.graph.branches[0].voxels.shape[0]} of 928 voxels: ")
    assert warning.endswith(
        "this is no skeleton but a solid object; leave out kind='skeleton', or add kind='map'."
    )


@pytest.mark.parametrize(
    ("top", "says"),
    [
        (0.0, "the skeleton is empty above 0.25: the file is 0 everywhere."),
        (
            0.2,
            "the skeleton is empty above 0.25: its largest value is 0.2; try a lower threshold.",
        ),
    ],
)
def test_an_empty_skeleton(top: float, says: str) -> None:
    image = np.zeros((9, 9))
    image[4, 2:7] = top
    found = of_skeleton(image)
    assert found.warnings == (says,)
    assert counts(found) == (0, 0, 0, 0, 0)


def test_what_cutting_and_thinning_did_to_a_skeleton() -> None:
    image = np.zeros((20, 40))
    image[5, 5:30] = 0.9
    image[5, 15:17] = 0.1  # cut in two
    image[12, 5:30] = image[13, 5:30] = 0.6  # two voxels wide
    image[17, 20] = 0.2  # lost
    found = of_skeleton(image)
    (warning,) = found.warnings
    left = int(skeleton_image(found.graph).sum())
    assert warning == (
        f"cut at 0.25 and thinned to one voxel, the skeleton has 3 components and {left} voxels; above 0 it had "
        "3 components and 76."
    )
    assert 23 + 20 <= left <= 23 + 25
    image[12:14] = image[17] = 0
    assert (
        "has 2 components and 23 voxels; above 0 it had 1 component and 25." in of_skeleton(image).warnings[0]
    )


# Pruning


def comb(*spurs: int, width: int = 70) -> np.ndarray:
    """Draw a horizontal line in the middle of an image, with vertical spurs of these lengths."""
    image = np.zeros((61, width), np.float32)
    image[30, 5 : width - 5] = 1
    for k, length in enumerate(spurs, 1):
        image[30 - length : 30, 15 * k] = 1
    return image


def band(radius: int, width: int = 70) -> Volume:
    """Draw the vessel of the comb's line."""
    image = np.zeros((61, width), np.float32)
    image[30 - radius : 31 + radius] = 0.9
    return volume_of(image)


@pytest.mark.parametrize(
    ("spurs", "note"),
    [
        ((12,), None),
        ((4, 12), "1 spur ends inside the vessel it leaves: prune='radius' takes such spurs off."),
        ((4, 12, 3), "2 spurs end inside their vessel: prune='radius' takes such spurs off."),
    ],
)
def test_spurs_inside_the_vessel_are_named_and_prune_radius_takes_them(
    spurs: tuple[int, ...], note: str | None
) -> None:
    image, reference = comb(*spurs), band(6)
    found = of_skeleton(image, reference)
    assert found.notes == (() if note is None else (note,))
    pruned = of_skeleton(image, reference, prune_inside=True)
    assert pruned.notes == ()
    assert pruned.parameters["prune"] == "radius"
    assert pruned.parameters["pruned_spurs"] == len(spurs) - 1
    assert counts(pruned) == (1, 0, 3, 1, 3)
    # Only the spur that leaves the vessel is there.
    kept = skeleton_image(pruned.graph)[:29]
    assert np.argwhere(kept).tolist() == [[row, 15 * (1 + spurs.index(12))] for row in range(18, 29)]
    # Without a map no radius is known: nothing to say, nothing to prune by.
    assert of_skeleton(image).notes == ()
    with pytest.raises(UsageError, match=r"prune='radius' needs the map: add map=MAP"):
        of_skeleton(image, prune_inside=True)


def test_a_length_is_measured_in_the_world() -> None:
    """A spur of few long steps stays, one of many short ones goes."""
    image = np.zeros((15, 9, 60), np.float32)
    image[3, 4, 5:55] = 1
    image[3:8, 4, 40] = 1  # 4 steps of 2 mm along z
    image[3, 4:, 20] = 1
    image[3, 8, 20:27] = 1  # 10 steps of 0.5 mm in the plane
    flat = volume_of(image, (2.0, 0.5, 0.5))
    assert counts(inspect(flat, Choices(SKELETON))) == (1, 0, 4, 2, 5)
    found = inspect(flat, Choices(SKELETON, prune=6.0))
    assert (counts(found), found.parameters["pruned_spurs"]) == ((1, 0, 3, 1, 3), 1)
    kept = skeleton_image(found.graph)
    assert kept[7, 4, 40] == 1
    assert kept[3, 8].sum() == 0
    # In voxels it is the other way round.
    cubes = replace(flat, spacing=None)
    kept = skeleton_image(inspect(cubes, Choices(SKELETON, prune=6.0)).graph)
    assert (kept[7, 4, 40], kept[3, 8].sum() > 0) == (0, True)


def test_spurs_are_taken_off_up_to_the_length_asked_for() -> None:
    image = comb(8)
    spur = min(branch.length for branch in of_skeleton(image).graph.branches)
    assert spur == pytest.approx(8, abs=1)
    for prune, gone in ((spur - 0.01, 0), (spur + 0.01, 1)):
        assert of_skeleton(image, prune=prune).parameters["pruned_spurs"] == gone


def two_ways() -> tuple[np.ndarray, Volume]:
    """Draw a line that parts into a short way and a long one, and a map that doubts the long one."""
    image = np.zeros((40, 60), np.float32)
    image[20, 4:56] = 1
    image[8, 22:38] = 1
    for k in range(12):
        image[20 - k, 10 + k] = image[20 - k, 49 - k] = 1
    sure = np.where(image > 0, 0.9, 0.1)
    sure[:19][image[:19] > 0] = 0.6
    return image, volume_of(sure)


@pytest.mark.parametrize(("way", "row"), [("shortest", 8), ("least-certain", 20)])
def test_which_branch_of_a_cycle_goes(way: str, row: int) -> None:
    image, reference = two_ways()
    assert of_skeleton(image).graph.cycles == 1
    found = of_skeleton(image, reference, prune_cycles=way)
    assert counts(found) == (1, 0, 2, 0, 1)
    assert found.parameters["prune_cycles"] == way
    assert found.parameters["pruned_cycles"] == 1
    # The way that is left passes through this row in the middle.
    assert np.flatnonzero(skeleton_image(found.graph)[:, 30]).tolist() == [row]


def test_the_least_certain_branch_is_not_known_without_a_map() -> None:
    image, _ = two_ways()
    with pytest.raises(UsageError, match="prune_cycles='least-certain' needs soft values: add map=MAP"):
        of_skeleton(image, prune_cycles="least-certain")


def test_a_map_that_touches_every_border() -> None:
    """What leaves the image ends there, and nothing is lost or added at the border."""
    grid = np.moveaxis(np.indices((25, 25, 25)), 0, -1) - 12.0
    image = np.zeros((25, 25, 25))
    for axis in range(3):
        away = np.linalg.norm(np.delete(grid, axis, axis=-1), axis=-1)
        image = np.maximum(image, 1 / (1 + np.exp(3 * (away - 2.5))))
    found = inspect(volume_of(image))
    assert counts(found) == (1, 0, 6, 1, 6)
    assert [told for told in found.warnings if "single voxel" not in told] == []
    ends = np.array([node.voxels[0] for node in found.graph.end_points])
    assert (np.abs(ends - 12).max(axis=1) >= 9).all()


def test_a_map_whose_axes_changed_places_is_refused() -> None:
    # The two opposite corners lie at the same places, the others do not.
    affine = np.eye(4)[:, [2, 1, 0, 3]]
    skeleton = Volume(np.zeros((8, 8, 8), np.float32), "ZYX", (1.0, 1.0, 1.0), "mm", affine)
    turned = Volume(np.zeros((8, 8, 8), np.float32), "ZYX", (1.0, 1.0, 1.0), "mm", affine[:, [0, 2, 1, 3]])
    with pytest.raises(InputError, match="lie at different places"):
        inspect(skeleton, Choices(kind="skeleton"), reference=turned)


def test_a_filled_cavity_is_no_surface() -> None:
    tube = np.zeros((13, 13, 30), np.float32)
    rows, columns = np.ogrid[-6:7, -6:7]
    tube[(rows**2 + columns**2 <= 16)[:, :, None].repeat(30, axis=2)] = 1
    whole = inspect(Volume(tube, "ZYX"), Choices(levels=0)).graph
    tube[6, 6, 15] = 0
    holed = inspect(Volume(tube, "ZYX"), Choices(levels=0)).graph
    assert np.array_equal(holed.branches[0].along["radius"], whole.branches[0].along["radius"])


def test_what_is_no_network_of_curves_is_said() -> None:
    noise = np.random.default_rng(0).random((24, 24, 24)).astype(np.float32)
    assert any("no network of curves" in warning for warning in inspect(Volume(noise, "ZYX")).warnings)
    assert not any("no network" in w for w in inspect(Volume(tree().astype(np.float32), "ZYX")).warnings)


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("many", [1, 3])
def test_lines_without_a_voxel_between_their_ends_are_curves(length: int, many: int) -> None:
    """Nothing of nothing is no share: no branch has a voxel within, and none runs together with another."""
    lines = np.zeros((9, 9, 9), np.float32)
    lines[1:7, 4, 3 : 3 + length][::2][:many] = 1
    found = inspect(Volume(lines, "ZYX"))
    assert [told for told in found.warnings if "single voxel" not in told] == []
    assert [branch.length for branch in found.graph.branches] == [length - 1] * (many if length > 1 else 0)


@pytest.mark.parametrize("pairs", [1, 2])
@pytest.mark.parametrize("direction", [(0, 0, 1), (0, 1, 1), (1, 1, 1)])
def test_branches_without_inner_voxels_share_none(direction: tuple[int, ...], pairs: int) -> None:
    image = np.zeros((9, 9, 9))
    for first in np.array([(1, 1, 1), (1, 6, 1)])[:pairs]:
        image[tuple(first)] = image[tuple(first + direction)] = 1
    found = of_skeleton(image)
    lengths = [branch.length for branch in found.graph.branches]
    assert lengths == pytest.approx([np.linalg.norm(direction)] * pairs)
    assert [told for told in found.warnings if "single voxel" not in told] == []


def test_a_map_without_a_place_lies_where_its_skeleton_does() -> None:
    line = np.zeros((5, 9, 9), np.float32)
    line[2, 4, 1:8] = 1
    skeleton = Volume(line, "ZYX", (2.0, 1.0, 1.0), "mm")
    found = inspect(skeleton, Choices(kind="skeleton"), reference=Volume(line * np.float32(0.75), "ZYX"))
    assert (found.volume.spacing, found.volume.unit) == (skeleton.spacing, "mm")
    assert found.volume.array.max() == 0.75
