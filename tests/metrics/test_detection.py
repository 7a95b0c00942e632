"""The metrics of the airway challenges: on paper, on drawn trees by brute force, and with scikit-image's centreline."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers_drawn import drawn, pair
from helpers_maps import vessels
from scipy import ndimage
from skimage import measure, morphology

from softmorph_cli.metrics import detection

NAMES = ("tree_length_detected", "branches_detected", "leakage")
SKIMAGE: Any = measure
skeletonize: Any = morphology.skeletonize

# A fork of lines one voxel wide, which no thinning can change: a trunk of nine voxels, a junction, two branches of ten.
TRUNK = [(y, 20) for y in range(9)]
JUNCTION = [(9, 20)]
LEFT = [(10 + k, 19 - k) for k in range(10)]
RIGHT = [(10 + k, 21 + k) for k in range(10)]
FORK = (20, 40)


def values(predicted: np.ndarray, truth: np.ndarray, **settings: Any) -> dict[str, float | None]:
    one = pair(predicted, truth, **settings)
    return {name: v for metric in detection.METRICS for name, v in metric.compute(one).values.items()}


def image(voxels: list[tuple[int, int]], shape: tuple[int, int] = FORK) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(np.array(voxels).T)] = True
    return mask


def stepped(branch: list[tuple[int, int]], side: int) -> list[tuple[int, int]]:
    """Return a diagonal branch with the voxel beside each of its own, so that its voxels share edges."""
    return [*branch, *((y, x + side) for y, x in branch)]


@pytest.mark.parametrize("dims", [2, 3])
def test_a_fork_on_paper(dims: int) -> None:
    truth = image([*TRUNK, *JUNCTION, *LEFT, *RIGHT])
    # All of the trunk, exactly 80 % of the left branch, 70 % of the right one.
    predicted = image([*TRUNK, *JUNCTION, *stepped(LEFT[:8], 1), *stepped(RIGHT[:7], -1)])
    if dims == 3:
        truth, predicted = (np.pad(one[None], ((1, 1), (0, 0), (0, 0))) for one in (truth, predicted))
    # Beside the branches lie 8 + 7 voxels, of which the first is the same.
    wanted = ((9 + 1 + 8 + 7) / 30, 2 / 3, 14 / 30)
    assert values(predicted, truth) == pytest.approx(dict(zip(NAMES, wanted, strict=True)))


def test_a_gap_on_paper() -> None:
    truth = image([*TRUNK, *JUNCTION, *LEFT, *RIGHT])
    predicted = image([*TRUNK, *JUNCTION, *stepped(LEFT[:3] + LEFT[4:], 1), *stepped(RIGHT, -1)])
    # What lies behind the gap, six voxels of the left branch and those beside, is another component.
    largest = dict(zip(NAMES, (23 / 30, 2 / 3, (3 + 10 - 1) / 30), strict=True))
    assert values(predicted, truth) == pytest.approx(largest)
    whole = dict(zip(NAMES, (29 / 30, 1.0, (3 + 6 + 10 - 1) / 30), strict=True))
    assert values(predicted, truth, all_components=True) == pytest.approx(whole)


def tree(levels: int) -> tuple[np.ndarray, list[list[tuple[int, int]]]]:
    """Return a binary tree of lines that no thinning can change, and the voxels of each of its branches."""
    branches, junctions, tips = [[(y, 64) for y in range(6)]], [], [(6, 64)]
    for level in range(levels):
        aside, further = 30 >> level, []
        for y, x in tips:
            junctions.append((y, x))
            for side in (-1, 1):
                # Aside along a diagonal, then straight on; the next junction is the voxel after the last.
                line = [(y + k, x + side * k) for k in range(1, aside + 1)]
                line += [(y + aside + k, x + side * aside) for k in range(1, 4)]
                branches.append(line)
                further.append((line[-1][0] + 1, line[-1][1]))
        tips = further
    return image([voxel for line in [*branches, junctions] for voxel in line], (96, 128)), branches


def parsed(skeleton: np.ndarray) -> list[np.ndarray]:
    """Return the branches of a skeleton as the challenges' parsing finds them: what is left without its forks."""
    full = np.ones((3,) * skeleton.ndim)
    forks = skeleton & (ndimage.convolve(skeleton.astype(int), full, mode="constant") > 3)
    labels, count = ndimage.label(skeleton & ~forks, full)
    return [labels == k for k in range(1, count + 1)]


@pytest.mark.parametrize("dims", [2, 3])
def test_drawn_trees_by_brute_force(dims: int) -> None:
    truth, branches = tree(3)
    assert len(branches) == 15
    flat = [image(line, truth.shape) for line in branches]
    drawn_flat = truth
    if dims == 3:
        truth, *flat = (np.pad(one[None], ((1, 1), (0, 0), (0, 0))) for one in (truth, *flat))
    # scikit-image's centreline is the same, and the parsing without forks finds the drawn branches.
    assert np.array_equal(skeletonize(truth) > 0, truth)
    found = {tuple(np.flatnonzero(one)) for one in parsed(truth)}
    assert found == {tuple(np.flatnonzero(one)) for one in flat}
    for seed in range(4):
        rng = np.random.default_rng(seed)
        noise = ndimage.gaussian_filter(rng.normal(size=drawn_flat.shape), 2.5)
        predicted = (ndimage.distance_transform_edt(~drawn_flat) < 2.5) & (noise > np.quantile(noise, 0.25))
        predicted = np.broadcast_to(predicted, truth.shape).copy()
        labels = SKIMAGE.label(predicted, connectivity=1)
        largest = labels == 1 + np.argmax([(labels == k).sum() for k in range(1, labels.max() + 1)])
        for part, whole in ((largest, False), (predicted, True)):
            shares = [part[one].mean() for one in flat]
            assert 0 < sum(share >= 0.8 for share in shares) < 15 or not whole
            wanted = (
                (truth & part).sum() / truth.sum(),
                sum(share >= 0.8 for share in shares) / 15,
                (part & ~truth).sum() / truth.sum(),
            )
            got = values(predicted, truth, all_components=whole)
            assert got == pytest.approx(dict(zip(NAMES, wanted, strict=True)), rel=1e-12)


def test_thick_vessels_with_the_centreline_of_scikit_image() -> None:
    for seed in range(2):
        truth = vessels((48, 48, 48), seed) > 0.5
        predicted = vessels((48, 48, 48), seed) > 0.75
        predicted[:, :16] = False
        theirs = predicted[skeletonize(truth) > 0].mean()
        got = values(predicted, truth, all_components=True)["tree_length_detected"]
        assert got == pytest.approx(theirs, abs=0.05)


def test_a_branch_missing_of_seven() -> None:
    # The trunk is in four parts by its three forks, of which the last one ends it: with four branches seven.
    found = values(drawn(3, segments_without_the_third()), drawn(3) > 0.5)
    assert found["branches_detected"] == pytest.approx(6 / 7)


def segments_without_the_third() -> Any:
    from helpers_drawn import LEFT_OUT, SEGMENTS

    return tuple(segment for segment in SEGMENTS if segment is not LEFT_OUT)


def test_a_perfect_prediction_with_cavities() -> None:
    ball = np.zeros((15, 15, 30), bool)
    ball[2:13, 2:13, 2:28] = True
    ball[7, 7, 7:23] = False
    assert values(ball, ball) == {NAMES[0]: 1, NAMES[1]: 1, NAMES[2]: 0}
    # Its centreline runs through the cavity, which a solid prediction holds and an open one does not.
    solid, open_ = ball.copy(), ball.copy()
    solid[7, 7, 7:23] = True
    open_[7, :8, 10:20] = False
    assert values(solid, ball)[NAMES[0]] == 1
    found = values(open_, ball)[NAMES[0]]
    assert found is not None
    assert found < 1


@pytest.mark.parametrize(
    ("empty", "wanted"),
    [({"P"}, (0, 0, 0)), ({"G"}, (0, 0, None)), ({"P", "G"}, (1, 1, 0))],
)
def test_empty_masks(empty: set[str], wanted: tuple[float | None, ...]) -> None:
    fork = image([*TRUNK, *JUNCTION, *LEFT, *RIGHT])
    blank = np.zeros_like(fork)
    found = values(blank if "P" in empty else fork, blank if "G" in empty else fork)
    assert tuple(found.values()) == wanted


def test_a_lone_voxel_and_a_ring_are_branches() -> None:
    truth = np.zeros((12, 20), bool)
    truth[2:7, 2:7] = True
    truth[3:6, 3:6] = False
    truth[9, 15] = True
    predicted = truth.copy()
    predicted[9, 15] = False
    assert values(predicted, truth)["branches_detected"] == 0.5
