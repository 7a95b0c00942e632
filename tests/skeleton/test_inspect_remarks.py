"""Notes and warnings of an inspection, and pruning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers_maps import tree
from helpers_traced import counts, known, of_skeleton, volume_of

from softmorph_cli import Volume
from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.skeleton.analyse import Choices, inspect
from softmorph_cli.skeleton.export.images import skeleton_image
from softmorph_cli.skeleton.image_kind import SKELETON

# Notes and warnings


def tube(length: int = 40, radius: float = 3.0, shape: tuple[int, int] = (13, 13)) -> np.ndarray:
    """Draw a straight tube along x that ends inside the image."""
    z, y, x = np.indices((*shape, length))
    image = (z - shape[0] // 2) ** 2 + (y - shape[1] // 2) ** 2 <= radius**2
    return np.asarray(image & (x >= 4) & (x < length - 4), np.float32)


def test_cavities_are_filled_with_a_note() -> None:
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
    # The map is low where the cavity was filled.
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
def test_the_threshold_advised_for_an_empty_curve_works(top: float) -> None:
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


def test_a_warning_if_cutting_and_thinning_changed_a_skeleton() -> None:
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
def test_spurs_inside_the_vessel_are_noted_and_pruned_by_radius(
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
    # Without a map radii are unknown: there is no note, and no pruning by radius.
    assert of_skeleton(image).notes == ()
    with pytest.raises(UsageError, match=r"prune='radius' needs the map: add map=MAP"):
        of_skeleton(image, prune_inside=True)


def test_a_length_is_measured_in_the_world() -> None:
    """A spur of few long steps stays, one of many short steps is pruned."""
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


def test_spurs_shorter_than_the_length_are_pruned() -> None:
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
def test_the_pruned_branch_of_a_cycle(way: str, row: int) -> None:
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
    # Two opposite corners agree, the others do not.
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


def test_a_warning_if_the_object_is_no_network_of_curves() -> None:
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
