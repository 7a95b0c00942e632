"""Active runs on many maps, rules, types and threads: bit for bit what plain evaluation gives.

`test_settled_runs.py` draws the few maps on which the mechanism was developed; here are those that were not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers_fields import Steps, plain, reference, swept, without_fold
from helpers_maps import close, same_bits, vessels
from helpers_run import sweep_all

import softmorph_cli
from softmorph_cli.compiler.compile import DIAGRAM, compile_rule
from softmorph_cli.compiler.lowering import LOGICS
from softmorph_cli.kernels import numba_cpu, thread_pool
from softmorph_cli.kernels.numba_cpu import NumbaBackend, NumbaField
from softmorph_cli.rules import catalog, structuring
from softmorph_cli.rules import expression as ex
from softmorph_cli.rules.neighborhood import DIRECTIONS, neighbors
from softmorph_cli.rules.rule import Action, Rule, SubIteration

THREADS = (1, 2, 3, 5)
LEVELS = (64, 8, 16, 32)


def _steps(name: str, logic: str = DIAGRAM) -> Steps:
    return compile_rule(catalog.bundled(name), logic)


def _map(seed: int) -> np.ndarray:
    """Vessels 200 to 370 voxels wide, in 2D or 3D, with and without noise."""
    width = 200 + 9 * seed
    shape = (4 + seed % 3, 11 + seed % 5, width) if seed % 4 else (30 + seed, width)
    return vessels(shape, 100 + seed, noise=(0, 0.1, 0.3)[seed % 3]).astype(np.float32)


def _thinning(image: np.ndarray) -> Steps:
    return _steps(f"thinning-{image.ndim}d")


# ---------------------------------------------------------------- twenty maps


@pytest.mark.parametrize("seed", range(20))
def test_levels_on_twenty_maps(seed: int) -> None:
    image = _map(seed)
    steps = _thinning(image)
    planes = NumbaBackend(1).pack_levels(image, LEVELS[seed // 2 % 4], 0)
    got, changed = swept(planes, steps, 8, threads=THREADS[seed % 4])
    wanted, counted = reference(planes, steps, 8)
    assert same_bits(got, wanted)
    assert changed == counted
    assert sum(changed) > 1000


@pytest.mark.parametrize("seed", range(20))
def test_multilinear_on_twenty_maps(seed: int) -> None:
    image = _map(seed)
    steps = _thinning(image)
    got, changed = swept(image, steps, 4, threads=THREADS[seed % 4])
    wanted, counted = plain(image, steps, 4)
    assert same_bits(got, wanted)
    assert changed == counted
    assert sum(changed) > 1000


@pytest.mark.parametrize("seed", [0, 5])
def test_levels_to_the_fixed_point(seed: int) -> None:
    image = _map(seed)
    steps = _thinning(image)
    planes = NumbaBackend(1).pack_levels(image, 64, 0)
    got, changed = swept(planes, steps, 25, threads=2)
    wanted, counted = plain(planes, steps, 25)
    assert same_bits(got, wanted)
    assert changed == counted
    assert sum(changed[-len(steps) :]) == 0


# ---------------------------------------------------------------- shapes, types, threads


def _blocks(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Exact zeros and ones in long blocks, and a few fractions between them."""
    rng = np.random.default_rng(seed)
    image = rng.choice([0.0, 1.0, 1.0], size=(*shape[:-1], -(-shape[-1] // 40)))
    image = np.repeat(image, 40, axis=-1)[..., : shape[-1]]
    return np.where(rng.random(shape) < 0.05, rng.random(shape), image)


@pytest.mark.parametrize("width", [1, 2, 31, 32, 33, 63, 64, 65, 127, 129, 257, 515])
@pytest.mark.parametrize("rows", [1, 2, 7])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_any_width_and_single_rows(rows: int, width: int, dtype: str) -> None:
    image = _blocks((rows, width), width)
    image = np.where(image > 0.5, np.uint8(255), np.uint8(0)) if dtype == "uint8" else image.astype(dtype)
    steps = _steps("thinning-2d")
    got, changed = swept(image, steps, 6, threads=2)
    wanted, counted = plain(image, steps, 6)
    assert same_bits(got, wanted)
    assert changed == counted
    assert close(got, reference(image, steps, 6)[0], 1e-5)


@pytest.mark.parametrize("dtype", ["float32", "uint64"])
def test_threads_do_not_matter(dtype: str) -> None:
    image = vessels((7, 9, 211), 3, noise=0.1).astype(np.float32)
    image = NumbaBackend(1).pack_levels(image, 64, 0) if dtype == "uint64" else image
    steps = _steps("thinning-3d")
    wanted, counted = swept(image, steps, 6, threads=1)
    for threads in (2, 3, 5, 64):
        got, changed = swept(image, steps, 6, threads=threads)
        assert same_bits(got, wanted)
        assert changed == counted


def test_the_smallest_maps_are_shared_among_the_threads_in_these_tests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shared = []
    share = thread_pool.Pool.share

    def watched(pool: Any, *arguments: Any) -> Any:
        shared.append(pool.threads)
        return share(pool, *arguments)

    monkeypatch.setattr(thread_pool.Pool, "share", watched)
    swept(np.ones((3, 4), np.float32), _steps("thinning-2d"), 1, threads=3)
    assert set(shared) == {3}


def test_a_binary_map_of_floats_is_thinned_as_bits_are() -> None:
    mask = _blocks((6, 12, 230), 1) > 0.5
    steps = _steps("thinning-3d")
    got, changed = swept(mask.astype(np.float32), steps, 9, threads=3)
    wanted, counted = swept(np.where(mask, np.uint8(255), np.uint8(0)), steps, 9, threads=2)
    assert same_bits(got, (wanted != 0).astype(np.float32))
    assert changed == counted
    assert same_bits(got, plain(mask.astype(np.float32), steps, 9)[0])
    assert 0 < got.sum() < mask.sum() / 2


@pytest.mark.parametrize("name", ["thinning-2d", "majority-2d"])
def test_denormal_numbers_do_not_depend_on_what_is_skipped(name: str) -> None:
    # They count as 0 in the kernels; none may outlive in a run that is left alone or in the other buffer.
    image = np.zeros((24, 400), np.float32)
    image[:, 100:300] = 1e-40
    image[5, 110] = 0.5
    image[:, 330:] = np.random.default_rng(1).choice([0, 1e-45, 1e-40, 1e-20, 1], size=(24, 70))
    steps = _steps(name)
    for iterations in (1, 2, 3):
        wanted, counted = plain(image, steps, iterations)
        for threads in (1, 3):
            got, changed = swept(image, steps, iterations, threads=threads)
            assert same_bits(got, wanted)
            assert changed == counted
    # Outside of the kernels they are numbers as before.
    assert np.float32(1e-40) * np.float32(1) != 0
    assert (torch.full((70_000,), 1e-40) * 1 != 0).all()


# ---------------------------------------------------------------- rules


def _check_logic(name: str, logic: str) -> None:
    rule = catalog.bundled(name)
    shape = (24, 210) if rule.dimensions == 2 else (5, 9, 205)
    image = np.maximum(vessels(shape, 7), 0.4 * (_blocks(shape, 8) == 1)).astype(np.float32)
    steps = compile_rule(rule, logic)
    got, changed = swept(image, steps, 4, threads=2)
    wanted, counted = plain(image, steps, 4)
    assert same_bits(got, wanted)
    assert changed == counted


@pytest.mark.parametrize(
    ("name", "logic"),
    [
        ("thinning-2d", "minmax"),
        ("isolated-2d", DIAGRAM),
        ("boundary-2d", DIAGRAM),
    ],
)
def test_some_rules_under_some_logics(name: str, logic: str) -> None:
    _check_logic(name, logic)


@pytest.mark.heavy
@pytest.mark.parametrize("logic", [DIAGRAM, *LOGICS])
# Of 1,016 nodes: the compiler takes minutes for each logic.
@pytest.mark.parametrize("name", sorted({*catalog.names()} - {"thinning-subfields-3d"}))
def test_all_rules_under_all_logics(name: str, logic: str) -> None:
    _check_logic(name, logic)


def _in_turn(action: Action, outside: int) -> Rule:
    """Three sub-iterations with three different conditions, of which one is drawn turned."""
    ring, turns = [ex.var(o) for o in neighbors(8, 2)], DIRECTIONS[2]
    north, west, centre = ex.var((-1, 0)), ex.var((0, -1)), ex.var((0, 0))
    conditions = (
        ex.all_of(ex.negation(north), ex.at_least(2, ring)),
        ex.xor(centre, ex.all_of(west, ex.at_least(4, ring))),
        ex.exactly(3, ring),
    )
    passes = tuple(SubIteration(c, turns[t]) for c, t in zip(conditions, "NES", strict=True))
    return Rule("in turn", 2, action, passes, outside)


@pytest.mark.parametrize(("action", "outside"), [(Action.SET, 1), (Action.ADD, 0), (Action.DELETE, 1)])
def test_sub_iterations_with_separate_conditions(action: Action, outside: int) -> None:
    steps = compile_rule(_in_turn(action, outside), DIAGRAM)
    assert len({step.program for step in steps}) == 3
    mask = np.random.default_rng(6).random((26, 410)) < 0.3
    mask[:, 100:300] = False
    mask[8:20, 330:400] = True
    planes = np.where(mask, np.uint8(255), np.uint8(0))
    got, changed = swept(planes, steps, 12, threads=2)
    wanted, counted = reference(planes, steps, 12)
    assert same_bits(got, wanted)
    assert changed == counted
    assert sum(changed[:3]) > 300


def test_sub_iterations_with_separate_conditions_on_probabilities() -> None:
    # Two of the three, so that fewer kernels are compiled.
    steps = compile_rule(_in_turn(Action.DELETE, 0), DIAGRAM)[:2]
    image = _blocks((20, 330), 9).astype(np.float32)
    got, changed = swept(image, steps, 6, threads=3)
    wanted, counted = plain(image, steps, 6)
    assert same_bits(got, wanted)
    assert changed == counted


def test_a_run_settled_for_one_sub_iteration_may_change_in_another() -> None:
    centre, north, south = (ex.var((y, 0)) for y in (0, -1, 1))
    upright = DIRECTIONS[2]["N"]
    # A line moves down: the first leaves background alone for ever, the second brings foreground there.
    conditions = (ex.all_of(centre, ex.negation(south)), ex.any_of(centre, north))
    rule = Rule("in turn", 2, Action.SET, tuple(SubIteration(c, upright) for c in conditions))
    steps = compile_rule(rule, DIAGRAM)
    planes = np.zeros((40, 300), np.uint8)
    planes[1, 20:280] = 255
    got, changed = swept(planes, steps, 9)
    wanted, counted = reference(planes, steps, 9)
    assert same_bits(got, wanted)
    assert changed == counted
    assert planes[4].max() == 0 < got[4:].max()


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_a_change_reactivates_the_neighbouring_runs(dtype: str) -> None:
    """A branch is pruned voxel by voxel from one run into the next, which has been at rest until then."""
    steps = _steps("prune-3d")
    for direction in neighbors(26, 3):
        image = np.zeros((9, 9, 256), dtype)
        middle = np.array([4, 4, 128 if direction[2] > 0 else 127])
        for t in range(-3, 3):
            image[tuple(middle + t * np.array(direction))] = 1
        # The other end is a knot that is never pruned.
        knot = middle + 3 * np.array(direction)
        image[tuple(slice(k, k + 2) for k in np.minimum(knot, [7, 7, 254]))] = 1
        image = image * np.array(255 if dtype == "uint8" else 1, dtype)
        got, changed = swept(image, steps, 7)
        wanted, counted = plain(image, steps, 7)
        assert same_bits(got, wanted)
        assert changed == counted
        assert all(changed[: 4 * len(steps)])


# ---------------------------------------------------------------- one filter after the other


@pytest.mark.parametrize("kind", [structuring.erosion, structuring.dilation])
def test_an_element_on_planes_is_the_same_as_a_fold_and_run_by_run(kind: Any) -> None:
    steps = compile_rule(kind(26, 3), DIAGRAM)
    planes = NumbaBackend(1).pack_levels(_map(7), 8, 0)
    got, changed = swept(planes, steps, 4, threads=2)
    for wanted, counted in (swept(planes, without_fold(steps), 4, threads=3), reference(planes, steps, 4)):
        assert same_bits(got, wanted)
        assert changed == counted
    assert sum(changed) > 1000


@pytest.mark.filterwarnings("ignore:a soft opening or closing can pass its input")
@pytest.mark.parametrize("operation", ["opening", "closing", "gradient", "tophat", "blackhat"])
def test_filters_of_several_phases(operation: str, request: pytest.FixtureRequest) -> None:
    image = np.maximum(_map(4), 0.9 * (_map(4)[::-1] > 0.5))[:, ::2].astype(np.float64)
    run = getattr(softmorph_cli, operation)
    how: dict[str, Any] = {"connectivity": 8, "iterations": 2, "levels": 8}
    got = {method: run(image, method=method, threads=3, **how) for method in ("levels", "multilinear")}
    request.getfixturevalue("torch_only")
    assert same_bits(got["levels"], run(image, method="levels", **how))
    assert close(got["multilinear"], run(image, method="multilinear", **how), 1e-13)


def test_one_field_for_filters_of_every_kind() -> None:
    image = _map(8).astype(np.float32)
    original = image.copy()
    filters = [
        _steps("thinning-2d"),
        compile_rule(structuring.dilation(8, 2), DIAGRAM),
        compile_rule(structuring.erosion(8, 2), DIAGRAM),
        _steps("boundary-2d"),
        compile_rule(structuring.dilation(8, 2), DIAGRAM),
        _steps("thinning-2d"),
    ]
    field = NumbaField(image, threads=2)
    wanted = image
    for steps in filters:
        field.begin(steps)
        changed = sweep_all(field, steps, 3)
        wanted, counted = plain(wanted, steps, 3)
        assert changed == counted
        assert same_bits(field.image(), wanted)
    field.close()
    assert wanted.any()
    assert same_bits(image, original)


# ---------------------------------------------------------------- the comparison itself


def test_the_comparison_detects_a_wrong_condition(monkeypatch: pytest.MonkeyPatch) -> None:
    # As if only fractions could change: then blocks of exact ones are never thinned.
    image = np.zeros((12, 400), np.float32)
    image[2:10, 20:390] = 1
    steps = _steps("thinning-2d")
    wanted, _ = plain(image, steps, 2)
    assert same_bits(swept(image, steps, 2)[0], wanted)
    centre = steps[0].offsets.index((0, 0))
    monkeypatch.setattr(numba_cpu, "needs", lambda step, *, bits: ((centre, 1), (centre, 0)))
    assert not same_bits(swept(image, steps, 2)[0], wanted)


def test_the_comparison_detects_runs_wrongly_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    # Where a dilation finds all of a run empty it is done with it only for the moment.
    steps = without_fold(compile_rule(structuring.dilation(4, 2), DIAGRAM))
    image = np.zeros((9, 200), np.float32)
    image[4, 100] = 1
    wanted, _ = plain(image, steps, 4)
    centre, north = (steps[0].offsets.index(o) for o in ((0, 0), (-1, 0)))
    assert same_bits(swept(image, steps, 4)[0], wanted)
    monkeypatch.setattr(numba_cpu, "needs", lambda step, *, bits: ((centre, 1), (north, 1)))
    assert not same_bits(swept(image, steps, 4)[0], wanted)
