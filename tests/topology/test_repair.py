"""Topological repair of maps with gaps, specks, loops and cavities: the numbers are reached with small changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers_topology import broken_ring, noisy, vessels, vessels_and_shells

from softmorph_cli.errors import InputError
from softmorph_cli.io.reading import read
from softmorph_cli.topology.betti import Betti, betti_numbers
from softmorph_cli.topology.prior import Prior
from softmorph_cli.topology.repair import Repaired, Repairer

SAMPLE = Path(__file__).resolve().parents[2] / "sample_data" / "retina_vessels.tif"


def repaired(p: np.ndarray, *betti: int, **settings: object) -> Repaired:
    """Repair one channel and check the invariants of every repair."""
    before = p.tobytes()
    chosen = Repairer(**settings)  # type: ignore[arg-type]
    found = chosen.repair(p[None], [Prior((0,), betti)])
    assert p.tobytes() == before
    q = found.array[0]
    assert (q.shape, q.dtype) == (p.shape, p.dtype)
    assert q.min() >= 0
    assert q.max() <= 1
    box = chosen.region or (slice(None),) * p.ndim
    for image, numbers in ((p, found.before), (q, found.after)):
        assert numbers == (betti_numbers(image[box] > chosen.threshold, chosen.connectivity),)
    assert (found.stopped == "reached") == (found.after[0].numbers == betti)
    return found


def flipped(p: np.ndarray, found: Repaired, threshold: float = 0.5) -> int:
    return int(((p > threshold) != (found.array[0] > threshold)).sum())


@pytest.mark.parametrize("noise", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("connectivity", [8, 4])
def test_a_ring_with_a_gap_and_a_speck(noise: float, connectivity: int) -> None:
    p = broken_ring(noise=noise)
    found = repaired(p, 1, 1, connectivity=connectivity)
    assert found.before[0].numbers != (1, 1)
    assert found.stopped == "reached"
    assert found.best_step == found.steps < 10
    assert flipped(p, found) < 60


@pytest.mark.parametrize("gap", [0.15, 0.01])
@pytest.mark.parametrize("smooth", [2.0, 3.0])
def test_a_wider_gaussian_takes_fewer_steps_and_more_voxels(gap: float, smooth: float) -> None:
    p = broken_ring(gap=gap)
    narrow, wide = (repaired(p, 1, 1, smooth=(size, size)) for size in (0.5, smooth))
    assert narrow.stopped == wide.stopped == "reached"
    assert wide.steps < narrow.steps
    assert flipped(p, wide) > flipped(p, narrow)


@pytest.mark.parametrize(("noise", "connectivity"), [(0.0, 26), (0.0, 6), (1.0, 26), (1.5, 6)])
def test_vessels_with_two_gaps(noise: float, connectivity: int) -> None:
    p = vessels(32, noise=noise)
    found = repaired(p, 1, 0, 0, connectivity=connectivity)
    assert found.before[0].b0 > 2
    assert found.stopped == "reached"
    assert flipped(p, found) < 60


def test_masks_are_joined_where_the_gap_is_narrowest() -> None:
    p = (vessels(32) > 0.5).astype(np.float32)
    found = repaired(p, 1, 0, 0)
    assert found.stopped == "reached"
    assert flipped(p, found) < 30
    bars = np.zeros((11, 20), np.float32)
    bars[2, :] = bars[8, :] = 1
    bars[4:6, 11:16] = 1  # from the one towards the other, still apart from both
    found = repaired(bars, 1, 0)
    assert found.stopped == "reached"
    added = np.argwhere((found.array[0] > 0.5) & (bars == 0))
    assert (np.abs(added[:, 1] - 13) <= 3).all()


def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Draw a torus and a hollow ball."""
    z, y, x = np.indices((24, 24, 24)) - 11.5
    torus = 1 / (1 + np.exp(np.hypot(np.hypot(y, x) - 7, z) - 2))
    ball = 1 / (1 + np.exp(np.abs(np.sqrt(z**2 + y**2 + x**2) - 7) - 2))
    return torus.astype(np.float32), ball.astype(np.float32)


def test_a_loop_is_opened_and_a_cavity_filled() -> None:
    torus, ball = drawn()
    found = repaired(torus, 1, 0, 0)
    assert found.before[0].numbers == (1, 1, 0)
    assert found.stopped == "reached"
    found = repaired(ball, 1, 0, 0)
    assert found.before[0].numbers == (1, 0, 1)
    assert found.stopped == "reached"
    assert betti_numbers(found.array[0] > 0.5).numbers == (1, 0, 0)


def test_missing_components_and_loops_are_created() -> None:
    # A ring that is closed at 0.3, another beside it at 0.2.
    p = broken_ring(gap=0.3)
    assert repaired(p, 2, 1).stopped == "reached"
    torus, _ = drawn()
    p = np.where(np.arange(24)[:, None] < 16, torus, 0.4 * torus).astype(np.float32)
    found = repaired(p, 1, 1, 0)
    assert found.before[0].numbers == (1, 0, 0)
    assert found.stopped == "reached"


@pytest.mark.parametrize("threshold", [0.2, 0.8])
def test_at_another_threshold(threshold: float) -> None:
    p = broken_ring(noise=1.5)
    found = repaired(p, 1, 1, threshold=threshold)
    assert found.stopped == "reached"
    assert found.steps > 0


def test_a_map_with_the_right_numbers_is_not_changed() -> None:
    torus, _ = drawn()
    found = repaired(torus, 1, 1, 0)
    assert (found.stopped, found.steps) == ("reached", 0)
    assert found.array[0].tobytes() == torus.tobytes()


def test_most_voxels_keep_their_bits() -> None:
    p = vessels(32)
    q = repaired(p, 1, 0, 0).array[0]
    assert (p == q).mean() > 0.9


def test_unreachable_numbers_end_as_stuck() -> None:
    y, x = np.mgrid[:30, :30] - 14
    blob = np.exp(-(y**2 + x**2) / 40).astype(np.float32)
    found = repaired(blob, 4, 0)
    assert found.stopped == "stuck"
    assert found.after[0].numbers == (1, 0)


def test_the_best_step_is_returned_at_the_largest_number_of_steps() -> None:
    p = broken_ring(gap=0.01)
    found = repaired(p, 1, 1, max_steps=1, smooth=(0.5, 0.5))
    assert (found.stopped, found.steps) == ("max_steps", 1)
    missing = [sum(np.abs(np.subtract(b[0].numbers, (1, 1)))) for b in (found.before, found.after)]
    assert missing[1] <= missing[0]
    assert repaired(p, 1, 1, max_steps=0).array[0].tobytes() == p.tobytes()


def test_only_the_region_changes() -> None:
    # Cut out, a part of the ring is two pieces that the gap parts.
    p = broken_ring()
    region = (slice(30, 56), slice(34, 56))
    found = repaired(p, 1, 0, region=region)
    assert (found.stopped, found.before[0].numbers) == ("reached", (2, 0))
    outside = np.ones(p.shape, bool)
    outside[region] = False
    np.testing.assert_array_equal(found.array[0][outside], p[outside])
    assert betti_numbers(found.array[0] > 0.5).numbers == (2, 1)  # the speck is elsewhere


def test_numbers_are_those_of_the_rounded_map() -> None:
    p = broken_ring(noise=1.0)

    def coarse(q: np.ndarray) -> np.ndarray:
        rounded: np.ndarray = np.rint(q * 5) / 5
        return rounded

    found = Repairer(rounded=coarse, threshold=0.45).repair(p[None], [Prior((0,), (1, 1))])
    assert found.stopped == "reached"
    assert set(np.unique(found.array)) <= {np.float32(k / 5) for k in range(6)}
    assert betti_numbers(found.array[0] > 0.45).numbers == (1, 1)


def test_a_larger_lambda_changes_less() -> None:
    p = broken_ring()
    changes = []
    for weight in (0.0, 0.5):
        found = repaired(p, 1, 1, weight=weight)
        assert found.stopped == "reached"
        changes.append(float(np.square(found.array[0] - p).sum()))
    assert changes[1] < 0.95 * changes[0]


@pytest.mark.parametrize("weight", [5.0, 1e6, 1e300])
def test_no_lambda_undoes_a_repair(weight: float) -> None:
    found = repaired(broken_ring(), 1, 1, weight=weight)
    assert found.stopped == "reached"
    assert found.steps < 10


@pytest.mark.parametrize("seed", range(10))
def test_alternating_moves_are_resolved(seed: int) -> None:
    # Where nothing but noise is, a bridge makes a hole, and cutting the hole takes the bridge away.
    p = np.random.default_rng(seed).random((40, 40)).astype(np.float32)
    found = repaired(p, 1, 0)
    assert found.stopped == "reached"
    assert flipped(p, found) < 160
    # Loops of 3D, of which both ends are in one voxel.
    p = np.random.default_rng(seed).random((10, 10, 10)).astype(np.float32) ** 3
    assert repaired(p, 1, 0, 0).stopped == "reached"


@pytest.mark.parametrize("seed", range(5))
def test_another_bar_is_moved_if_the_longest_cannot_live(seed: int) -> None:
    p = noisy(broken_ring(48), 1.5, seed + 4)
    assert repaired(p, 3, 1).stopped == "reached"


def test_the_largest_piece_of_a_mask_stays() -> None:
    # All bars of a mask are equally long; a bridge that touches the largest piece makes it no shorter than others.
    from scipy.ndimage import distance_transform_edt

    rng = np.random.default_rng(7)
    axis = np.ones((64, 64), bool)
    for _ in range(5):
        a, b = rng.uniform(0, 63, (2, 2))
        axis[tuple(np.rint(a + np.linspace(0, 1, 400)[:, None] * (b - a)).astype(int).T)] = False
    mask = distance_transform_edt(axis) < 2
    for _ in range(4):
        mask &= np.hypot(*(np.indices(mask.shape) - rng.uniform(0, 64, 2)[:, None, None])) > 3.7
    p = mask.astype(np.float32)
    found = repaired(p, 1, 0)
    assert found.before[0].b0 > 2
    assert found.stopped == "reached"
    assert flipped(p, found) < 0.1 * mask.sum()


def test_the_sample_retina_becomes_one_tree() -> None:
    p = read(SAMPLE).array[320:, 320:]
    found = repaired(p, 1, 0)
    assert found.before[0].b0 > 20
    assert found.stopped == "reached"
    assert found.steps < 20
    assert flipped(p, found) < 0.02 * p.size


def test_the_longest_bars_are_those_in_probability() -> None:
    # A line with a dip from 0.99 to 0.75; two specks that live from 0.6 and 0.55 down to 0.4. In logits, or by how
    # near they are to the threshold, the specks are the longer ones.
    p = np.full((9, 21), 0.4, np.float32)
    p[1, 1:20] = 0.99
    p[1, 10] = 0.75
    p[7, 4], p[7, 16] = 0.6, 0.55
    found = repaired(p, 2, 0)
    assert found.before[0].numbers == (3, 0)
    assert found.stopped == "reached"
    assert found.array[0][1, 10] < 0.5
    assert found.array[0][7, [4, 16]].max() < 0.5


def test_all_gaps_close_in_few_steps() -> None:
    # Before, from saddle to saddle: 3 steps and 156 voxels, of the mask 4 and 48.
    p = vessels_and_shells(64)
    for image, most in ((p, 156), ((p > 0.5).astype(np.float32), 48)):
        found = repaired(image, 1, 0, 0)
        assert found.before[0].numbers == (8, 2, 6)
        assert (found.stopped, found.steps) == ("reached", 1)
        assert flipped(image, found) <= most


def test_voxels_that_are_not_cubic() -> None:
    p = vessels(32)[::2]
    found = repaired(p, 1, 0, 0, smooth=(0.5, 1.0, 1.0))
    assert found.stopped == "reached"


def classes() -> np.ndarray:
    """Draw an artery and a vein side by side, each with a gap, and the background, summing to 1."""
    logits = np.zeros((3, 24, 40), np.float32)
    rows = np.arange(24)[:, None]
    for channel, row in ((1, 9), (2, 14)):
        logits[channel] = 4 - 2.2 * np.abs(rows - row)
        logits[channel, :, 18:22] -= 4 + channel
    p: np.ndarray = np.exp(logits.astype(np.float64))
    p /= p.sum(axis=0)
    return p


def test_classes_still_sum_to_one_and_unions_count() -> None:
    p = classes()
    priors = [Prior((1,), (1, 0)), Prior((2,), (1, 0)), Prior((1, 2), (2, 1))]
    found = Repairer(kind="complete").repair(p, priors[:2])
    assert [betti.numbers for betti in found.before] == [(2, 0), (2, 0)]
    assert found.stopped == "reached"
    np.testing.assert_allclose(found.array.sum(axis=0), 1, atol=1e-6)
    assert [betti_numbers(found.array[c] > 0.5).numbers for c in (1, 2)] == [(1, 0), (1, 0)]
    # Their union alone has a prior: it is joined, and the hole between them filled.
    found = Repairer(kind="complete").repair(p, [Prior((1, 2), (1, 0))])
    assert found.stopped == "reached"
    assert betti_numbers(found.array[1:].sum(axis=0) > 0.5).numbers == (1, 0)
    with pytest.raises(InputError, match="everywhere"):
        Repairer(kind="complete").repair(p, [Prior((0, 1, 2), (1, 0))])


@pytest.mark.parametrize("kind", ["apart", "complete"])
@pytest.mark.parametrize("seed", range(4))
def test_classes_and_their_union_do_not_undo_each_other(kind: str, seed: int) -> None:
    # Joined along each other, two classes enclose a hole, and opening it parts one of them.
    rng = np.random.default_rng(seed)
    noise = np.stack([noisy(np.full((24, 40), 0.5), rng.uniform(0.5, 2), 3 * seed + c) for c in range(3)])
    p = classes() * noise / (1 - noise)
    p /= p.sum(axis=0)
    priors = [Prior((1,), (1, 0)), Prior((2,), (1, 0)), Prior((1, 2), (1, 0))]
    found = Repairer(kind=kind).repair(p, priors)  # type: ignore[arg-type]
    assert found.before[2].numbers != (1, 0)
    assert found.stopped == "reached"
    assert found.steps < 40


def test_classes_without_their_background() -> None:
    p = classes()[1:]
    found = Repairer(kind="rest").repair(p, [Prior((0,), (1, 0)), Prior((1,), (1, 0))])
    assert found.stopped == "reached"
    assert found.array.shape == p.shape
    assert found.array.sum(axis=0).max() <= 1 + 1e-6


def test_channels_apart() -> None:
    p = np.stack([broken_ring(), broken_ring(noise=2.0), broken_ring(noise=1.0)])
    found = Repairer().repair(p, [Prior((0,), (1, 1)), Prior((0, 1), (1, 1))])
    assert found.stopped == "reached"
    assert betti_numbers(found.array[:2].max(axis=0) > 0.5).numbers == (1, 1)
    np.testing.assert_array_equal(found.array[2], p[2])


def test_loops_of_any_number_are_left_alone() -> None:
    y, x = np.indices((24, 30))
    p = np.where(np.abs(np.hypot(y - 12, x - 12) - 7) < 1.5, 0.9, 0.1).astype(np.float32)
    p[11:13, 26:28] = 0.7
    found = Repairer().repair(p[None], [Prior((0,), (1, None))])
    assert (found.stopped, found.before[0].numbers, found.after[0].numbers) == ("reached", (2, 1), (1, 1))
    assert flipped(p, found) == 4
    other = Repairer().repair(p[None], [Prior((0,), (None, 0))])
    assert (other.stopped, other.after[0].b1) == ("reached", 0)
    assert (other.array[0][11:13, 26:28] > 0.5).all()
    with pytest.raises(InputError, match="any,any asks for nothing"):
        Repairer().repair(p[None], [Prior((0,), (None, None))])


def test_progress_reports_the_betti_numbers() -> None:
    reported: list[tuple[int, int, tuple[int, ...]]] = []

    def progress(step: int, most: int, found: list[Betti]) -> None:
        reported.append((step, most, found[0].numbers))

    Repairer(max_steps=20).repair(broken_ring()[None], [Prior((0,), (1, 1))], progress)  # type: ignore[arg-type]
    assert reported[0] == (0, 20, (2, 0))
    assert [step for step, _, _ in reported] == list(range(len(reported)))


@pytest.mark.parametrize(
    ("betti", "settings", "message"),
    [
        ((1, 0, 0), {}, "2 axes has 2"),
        ((1, -1), {}, "negative"),
        ((1, 0), {"threshold": 1.0}, "between 0.0001 and 0.9999"),
        ((1, 0), {"smooth": (1000.0, 1.0)}, "wider than the map"),
        ((1, 0), {"connectivity": 26}, "no topology in 2D"),
        ((3, 0), {"region": (slice(0, 2), slice(0, 2))}, "0 everywhere in the region"),
    ],
)
def test_invalid_parameters_are_refused(
    betti: tuple[int, ...], settings: dict[str, object], message: str
) -> None:
    p = broken_ring()
    p[:2, :2] = 0
    with pytest.raises(InputError, match=message):
        repaired(p, *betti, **settings)


@pytest.mark.heavy
@pytest.mark.parametrize("noise", [0.0, 2.5])
def test_vessels_of_96_voxels(noise: float) -> None:
    p = vessels(96, radius=3.0, noise=noise)
    found = repaired(p, 1, 0, 0)
    assert found.stopped == "reached"
    assert flipped(p, found) < 0.05 * (p > 0.5).sum()


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(30))
def test_noise_of_all_kinds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = noisy(np.full((20, 20, 20), 0.3), rng.uniform(0.5, 3), seed)
    found = repaired(p, 1, 0, 0, connectivity=26 if seed % 2 else 6)
    assert found.stopped == "reached"
