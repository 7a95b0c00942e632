"""Nested skeletons: at every level a centreline with the topology of the map, inside the level below."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from helpers_nested import nested_reference
from helpers_topology import noisy, vessels_and_shells
from scipy.ndimage import convolve, distance_transform_edt, gaussian_filter, label, mean

import softmorph_cli as sm
from softmorph_cli.compiler.compile import RANKS, compile_rule
from softmorph_cli.compiler.deletions import table_of
from softmorph_cli.errors import UsageError
from softmorph_cli.filters.settings import Settings
from softmorph_cli.kernels.level_sets import Levels, LevelSets
from softmorph_cli.rules import catalog
from softmorph_cli.topology.betti import betti_numbers
from softmorph_cli.topology.persistence import bars

SAMPLES = Path(__file__).parents[2] / "sample_data"
Image = np.ndarray[Any, Any]


def random_map(shape: tuple[int, ...], seed: int, smooth: float = 0.0) -> Image:
    """Return noise, or smoothed noise stretched to [0, 1]."""
    p = np.random.default_rng(seed).random(shape)
    if smooth:
        p = gaussian_filter(p, smooth)
        p = (p - p.min()) / (p.max() - p.min())
    return p.astype(np.float32)


def differing_levels(skeleton: Image, image: Image, thresholds: Any) -> list[float]:
    """Return the thresholds at which the Betti numbers of the skeleton are not those of the map."""
    return [t for t in thresholds if betti_numbers(skeleton > t) != betti_numbers(image > t)]


def removable(skeleton: Image, thresholds: Any) -> int:
    """Count voxels that could go at some level: simple, no curve end, and not held by the level above."""
    (step, *_) = compile_rule(catalog.bundled("thinning-subfields", skeleton.ndim), RANKS)
    table, count = table_of(step), 0
    for t, higher in zip(thresholds, [*thresholds[1:], np.inf], strict=True):
        padded = np.pad(skeleton > t, 1)
        places = np.argwhere(padded & ~np.pad(skeleton > higher, 1))
        configurations = np.zeros(len(places), np.int64)
        for bit, k in enumerate(table.neighbours):
            configurations |= padded[tuple((places + step.offsets[k]).T)].astype(np.int64) << bit
        count += int((table.bits[configurations >> 3] >> (configurations & 7) & 1).sum())
    return count


def end_points(mask: Image) -> int:
    return int((mask & (convolve(mask.astype(int), np.ones((3,) * mask.ndim), mode="constant") == 2)).sum())


# Shape, seed, smoothness and the number of levels to compare.
Case = tuple[tuple[int, ...], int, float, int]
IMAGES: list[Case] = [((26 + seed % 5, 31), seed, (seed % 4) / 2, 13) for seed in range(80)]
VOLUMES: list[Case] = [((11 + seed % 3, 13, 16), seed, (seed % 3) / 2, 10) for seed in range(30)]


@pytest.mark.parametrize(("shape", "seed", "smooth", "compared"), IMAGES + VOLUMES)
def test_every_level_has_the_topology_of_the_map(
    shape: tuple[int, ...], seed: int, smooth: float, compared: int
) -> None:
    image = random_map(shape, seed, smooth)
    levels = (8, 16, 64)[seed % 3]
    thresholds = LevelSets(levels).thresholds
    skeleton = sm.skeletonize(image, levels=levels)
    assert differing_levels(skeleton, image, thresholds[:: max(1, len(thresholds) // compared)]) == []
    assert removable(skeleton, thresholds) == 0


@pytest.mark.parametrize("levels", [128, 192])
def test_more_than_64_levels(levels: int) -> None:
    image = random_map((14, 15, 17), 5, smooth=0.7)
    skeleton = sm.skeletonize(image, levels=levels)
    thresholds = LevelSets(levels).thresholds
    assert differing_levels(skeleton, image, thresholds[::5]) == []
    assert removable(skeleton, thresholds) == 0


@pytest.mark.parametrize("seed", range(40))
def test_exact_skeletons_have_the_topology_at_any_threshold(seed: int) -> None:
    shape = (27, 24) if seed % 2 else (9, 12, 13)
    image = random_map(shape, seed, smooth=(seed % 3) / 2)
    skeleton = sm.skeletonize(image, levels="exact")
    anywhere = np.random.default_rng(seed).random(8).tolist()
    assert differing_levels(skeleton, image, anywhere) == []
    assert np.isin(skeleton[skeleton > 0], image).all()


@pytest.mark.parametrize("seed", range(50))
def test_exact_skeletons_have_the_persistence_diagram_of_the_map(seed: int) -> None:
    shape = (23, 25) if seed % 2 else (9, 10, 11)
    image = random_map(shape, seed, smooth=(seed % 3) / 2)
    skeleton = sm.skeletonize(image, levels="exact")
    for own, of_map in zip(bars(skeleton).diagrams, bars(image).diagrams, strict=True):
        assert sorted(zip(own.birth, own.death, strict=True)) == sorted(
            zip(of_map.birth, of_map.death, strict=True)
        )


def test_the_comparison_sees_a_skeleton_that_breaks() -> None:
    # The mean over level sets breaks, and a skeleton that is not finished can lose voxels.
    tree = sm.read(SAMPLES / "vessel_tree.nii.gz").array
    assert differing_levels(sm.skeletonize(tree, method="levels"), tree, [0.5]) == [0.5]
    assert removable(sm.skeletonize(tree, levels=64, finish=False), LevelSets(64).thresholds) > 0


def test_levels_are_refined_within_their_bins() -> None:
    image = random_map((40, 41), 1, smooth=1.0)
    for levels in (8, 64, 128):
        sets = LevelSets(levels)
        skeleton = sm.skeletonize(image, levels=levels)
        bins = sets.bins(skeleton)
        bounds = np.append(sets.upper_bounds, 0).astype(np.float32)[bins]
        np.testing.assert_array_equal(skeleton, np.where(bins < 0, 0, np.minimum(image, bounds)))


@pytest.mark.parametrize("dimensions", [2, 3])
def test_planes_and_values_are_two_ways_to_one_skeleton(dimensions: int) -> None:
    image = random_map((15,) * dimensions, dimensions, smooth=0.6)
    for levels in (8, 16, 32, 64):
        sets = LevelSets(levels)
        counts = (sets.bins(image) + 1).astype(np.float32)
        as_values = sm.skeletonize(counts / 128, levels="exact") * 128
        np.testing.assert_array_equal(sets.bins(sm.skeletonize(image, levels=levels)) + 1, as_values)


@pytest.mark.parametrize("method", [{"levels": 8}, {"levels": 64}, {"levels": "exact"}])
def test_binary_maps_have_one_skeleton(method: dict[str, Any]) -> None:
    mask = random_map((20, 21, 22), 3, smooth=1.0) > 0.5
    finished = sm.skeletonize(mask.astype(np.float32), **method)
    reference = sm.skeletonize(mask.astype(np.float32), hard=True)
    np.testing.assert_array_equal(finished > 0, reference > 0)
    assert betti_numbers(reference > 0) == betti_numbers(mask)
    # Without finishing it is the rule to its fixed point.
    bare = sm.skeletonize(mask.astype(np.float32), **method, finish=False)
    np.testing.assert_array_equal(
        bare > 0, sm.apply_rule("thinning-3d", mask.astype(np.float32), method="levels") > 0
    )


def test_there_are_no_planes_below_lowest() -> None:
    image = random_map((30, 31), 7, smooth=0.8)
    skeleton = sm.skeletonize(image, levels=16, lowest=0.3)
    sets = LevelSets(16, 0.3)
    assert sets.thresholds[:3].tolist() == [0.3, 5 / 16, 6 / 16]
    assert skeleton[skeleton > 0].min() > np.float32(0.3)
    assert differing_levels(skeleton, image, sets.thresholds) == []
    exact = sm.skeletonize(image, levels="exact", lowest=0.3)
    assert exact[exact > 0].min() > np.float32(0.3)
    assert differing_levels(exact, image, [0.3, 0.4, 0.7]) == []


def test_the_sample_tree_is_one_thin_line() -> None:
    tree = sm.read(SAMPLES / "vessel_tree.nii.gz").array
    for method in ({}, {"levels": 8}, {"levels": 64}, {"levels": "exact", "lowest": 1 / 128}, {"hard": True}):
        skeleton = sm.skeletonize(tree, **method) > 0.5
        assert betti_numbers(skeleton).numbers == (1, 0, 0)
        assert skeleton.sum() <= 725
        assert end_points(skeleton) <= 20
    skeleton = sm.skeletonize(tree, levels=64)
    assert differing_levels(skeleton, tree, LevelSets(64).thresholds) == []


def test_the_sample_retina_at_every_level() -> None:
    retina = sm.read(SAMPLES / "retina_vessels.tif").array
    skeleton = sm.skeletonize(retina, levels=64)
    assert differing_levels(skeleton, retina, LevelSets(64).thresholds[::4]) == []


@pytest.mark.parametrize("levels", [8, 16, 64, "exact"])
def test_drawn_vessels_with_loops_and_cavities(levels: Any) -> None:
    image = vessels_and_shells()
    assert min(betti_numbers(image > 0.5).numbers) >= 5
    skeleton = sm.skeletonize(image, levels=levels)
    thresholds = LevelSets(64 if levels == "exact" else levels).thresholds
    assert differing_levels(skeleton, image, thresholds) == []
    assert (skeleton > 0.5).sum() <= 1.2 * sm.skeletonize(image, hard=True).sum()


@pytest.mark.parametrize("tissue", ["gm", "wm"])
def test_grey_and_white_matter_at_every_level(tissue: str) -> None:
    file = f"mni_icbm152_{tissue}_tal_nlin_sym_09a_converted.nii.gz"
    path = resources.files("nilearn") / "datasets" / "data" / file
    image = np.asarray(nibabel.Nifti1Image.from_filename(str(path)).dataobj, np.float32) / 255
    for levels, step in ((8, 1), (64, 8)):
        skeleton = sm.skeletonize(image, levels=levels)
        assert differing_levels(skeleton, image, LevelSets(levels).thresholds[::step]) == []


@pytest.mark.parametrize("levels", [8, 128, "exact"])
@pytest.mark.parametrize("shape", [(24, 25), (9, 10, 11)])
def test_the_skeleton_is_that_of_the_definition(levels: Any, shape: tuple[int, ...]) -> None:
    image = random_map(shape, 1, smooth=0.5)
    np.testing.assert_array_equal(sm.skeletonize(image, levels=levels), nested_reference(image, levels))


def test_iterations_that_are_given_leave_lines_unfinished() -> None:
    image = random_map((30, 31), 2, smooth=1.5)
    few = sm.skeletonize(image, levels=16, iterations=1)
    np.testing.assert_array_equal(few, sm.skeletonize(image, levels=16, iterations=1, finish=False))
    assert removable(few, LevelSets(16).thresholds) > 0
    assert differing_levels(few, image, LevelSets(16).thresholds) == []


def alive(diagrams: Any, high: float, low: float) -> list[int]:
    """Return how many components, loops and cavities of {image >= high} are still apart in {image >= low}."""
    return [int(((one.birth >= high) & (one.death < low)).sum()) for one in diagrams]


def lost(skeleton: Image, image: Image, contrast: float, count: int = 20) -> list[tuple[float, float]]:
    """Return the pairs of `count` values between which the map has what the skeleton, up to a contrast, has not."""
    values = np.linspace(1 / count, 1, count)
    pairs = [(high, low) for high in values for low in values if high - low > contrast]
    own, wanted = bars(skeleton).diagrams, bars(image).diagrams
    return [
        (high, low)
        for high, low in pairs
        if (np.subtract(alive(own, high - contrast, low), alive(wanted, high, low)) < 0).any()
    ]


@pytest.mark.parametrize("seed", range(12))
def test_features_of_higher_persistence_than_the_contrast_stay(seed: int) -> None:
    image = random_map((22, 23) if seed % 2 else (9, 10, 11), seed, smooth=(seed % 3) / 2)
    cases: list[tuple[Levels, float]] = [("exact", 0.07), ("exact", 0.2), (64, 0.125), (8, 0.25)]
    for levels, contrast in cases:
        skeleton = sm.skeletonize(image, levels=levels, prune_contrast=contrast)
        every = sm.skeletonize(image, levels=levels)
        assert (skeleton <= every).all()
        assert (skeleton > 0).sum() < (every > 0).sum()
        if levels == "exact":
            assert lost(skeleton, image, contrast) == []
        else:
            # As far as levels go.
            sets = LevelSets(levels)
            assert lost(sets.rounded_up(skeleton), sets.rounded_up(image), contrast, min(levels, 16)) == []


@pytest.mark.parametrize("levels", [64, "exact"])
def test_features_of_lower_persistence_than_the_contrast_are_removed(levels: Any) -> None:
    # Tubes with a hole that is filled 0.06 lower, and with one that is filled 0.3 lower.
    image = np.zeros((40, 60), np.float32)
    image[5:16, 5:55] = image[22:33, 5:55] = 0.5
    image[9:12, 28:33] = 0.44
    image[26:29, 28:33] = 0.2
    every, shallow, both = (
        sm.skeletonize(image, levels=levels, prune_contrast=contrast) for contrast in (0, 0.1, 0.35)
    )
    holes = [[betti_numbers(one > t).b1 for t in (0.45, 0.3, 0.1)] for one in (every, shallow, both)]
    assert holes == [[2, 1, 0], [1, 1, 0], [0, 0, 0]]
    # Both ways round a hole may be cut; lower by the contrast they are joined.
    assert [betti_numbers(one > 0.5 - c).b0 for one, c in ((every, 0.01), (shallow, 0.1), (both, 0.35))] == [
        2
    ] * 3
    # The fillings go with the loops.
    assert [int((one > 0.1).sum()) for one in (every, shallow, both)] == sorted(
        {int((one > 0.1).sum()) for one in (every, shallow, both)}, reverse=True
    )


@pytest.mark.parametrize("count", [192, 448, 576, 1024])
def test_the_contrast_that_is_proposed_is_one_level(count: int) -> None:
    with pytest.raises(UsageError) as refused:
        Settings("nested", levels=count, prune_contrast=1e-4).check_pruning()
    advised = re.search(r"prune_contrast=(\S+) or more", str(refused.value))
    assert advised is not None
    proposed = float(advised[1])
    assert Settings("nested", levels=count, prune_contrast=proposed).contrast_in_ranks == 1
    Settings("nested", levels=count, prune_contrast=proposed).check_pruning()


def test_numbers_of_numpy_are_numbers() -> None:
    image = random_map((20, 21), 3, smooth=0.5)
    wanted = sm.skeletonize(image, levels=16)
    of_numpy = sm.skeletonize(image, levels=np.int64(16))  # type: ignore[call-overload]
    np.testing.assert_array_equal(of_numpy, wanted)
    with pytest.raises(UsageError, match="use 8, 16, 32"):
        sm.skeletonize(image, levels=16.0)  # type: ignore[call-overload]
    wanted = sm.skeletonize(image, levels="exact", prune_contrast=0.1)
    found = sm.skeletonize(image, levels="exact", prune_contrast=np.float64(0.1))
    np.testing.assert_array_equal(found, wanted)


def test_a_gradient_goes_through_pruning_to_the_voxels_that_values_come_from() -> None:
    image = torch.from_numpy(random_map((20, 21), 3, smooth=0.5)).requires_grad_()
    pruned = sm.skeletonize(image, levels="exact", prune_contrast=0.1)
    pruned.sum().backward()  # type: ignore[no-untyped-call]
    assert image.grad is not None
    values = image.detach()
    kept = pruned.detach()[pruned.detach() > 0]
    # Each value is one of the map's, and hands on 1 to it.
    assert image.grad.sum() == kept.numel()
    assert (
        torch.repeat_interleave(values[image.grad > 0], image.grad[image.grad > 0].int())
        .sort()[0]
        .equal(kept.sort()[0])
    )


def test_a_contrast_of_less_than_a_level_is_refused() -> None:
    with pytest.raises(UsageError, match=r"prune_contrast=0\.0625 or more, or levels='exact'"):
        sm.skeletonize(random_map((9, 9), 0), prune_contrast=0.06)
    sm.skeletonize(random_map((9, 9), 0), prune_contrast=0.0625)
    # One plane has no height.
    sm.skeletonize(random_map((9, 9), 0), prune_contrast=0.06, hard=True)


def test_what_a_larger_contrast_loses_is_seen() -> None:
    image = random_map((22, 23), 1, smooth=0.5)
    assert lost(sm.skeletonize(image, levels="exact", prune_contrast=0.4), image, 0.1)


def test_a_contrast_takes_spurs_and_discs_of_noise() -> None:
    tree = sm.read(SAMPLES / "vessel_tree.nii.gz").array
    map_with_noise = noisy(tree, 1.0, 0)
    settings: dict[str, Any] = {"levels": "exact", "lowest": 1 / 128}
    everything = sm.skeletonize(map_with_noise, **settings) > 0.5
    lasting = sm.skeletonize(map_with_noise, **settings, prune_contrast=0.1) > 0.5
    assert lasting.sum() < 0.7 * everything.sum()
    assert branches_lost(lasting, tree, 0.5) == 0


@pytest.mark.parametrize("threshold", [0.25, 0.5, 0.75])
def test_eight_levels_are_calm_in_noise(threshold: float) -> None:
    tree = sm.read(SAMPLES / "vessel_tree.nii.gz").array
    skeleton = sm.skeletonize(noisy(tree, 1.0, 0), levels=8)
    assert branches_lost(skeleton > threshold, tree, threshold) == 0
    if threshold == 0.5:
        assert (skeleton > 0.5).sum() <= 900
        assert end_points(skeleton > 0.5) <= 52


def branches_lost(mask: Image, tree: Image, threshold: float) -> int:
    """Count branches, of 3 voxels or more, of a tree's centreline that lie mostly farther than 3 from a mask."""
    line = sm.skeletonize(tree, hard=True, threshold=threshold) > 0
    neighbours = convolve(line.astype(int), np.ones((3, 3, 3)), mode="constant") - 1
    branches, count = label(line & (neighbours <= 2), np.ones((3, 3, 3)))
    far = distance_transform_edt(~mask) > 3
    share = np.asarray(mean(far, branches, range(1, count + 1)))
    length = np.bincount(branches.ravel())[1:]
    return int(((share > 0.5) & (length >= 3)).sum())


def test_the_comparison_detects_a_lost_branch() -> None:
    tree = sm.read(SAMPLES / "vessel_tree.nii.gz").array
    line = sm.skeletonize(tree, hard=True) > 0
    assert branches_lost(line, tree, 0.5) == 0
    line[:40] = False
    assert branches_lost(line, tree, 0.5) > 0
