"""Steps on values by their order on the CPU: what is left alone, shared or seen from a tile changes nothing."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from helpers_fields import Steps, Swept, reference, swept
from helpers_maps import same_bits, vessels
from helpers_nested import pruned
from helpers_run import sweep_all

from softmorph_cli.compiler.compile import DIAGRAM, NESTED, RANKS, compile_rule
from softmorph_cli.compiler.deletions import table_of
from softmorph_cli.kernels import numba_ranks
from softmorph_cli.kernels.numba_cpu import NumbaField
from softmorph_cli.kernels.torch_eager import TorchField
from softmorph_cli.rules import catalog
from softmorph_cli.rules.expression import turned

RULES = ("thinning", "thinning-subfields")
MAPS = [((40, 90), 0, 0.3), ((31, 260), 1, 0.1), ((9, 14, 50), 2, 0.2), ((7, 16, 33), 3, 0.0)]


def steps_of(name: str, dimensions: int, logic: str = RANKS) -> Steps:
    return compile_rule(catalog.bundled(name, dimensions), logic)


def plain(image: np.ndarray, steps: Steps, iterations: int) -> Swept:
    """Every voxel in every sweep, and no neighbour is looked at before the others."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numba_ranks, "table_of", lambda step: replace(table_of(step), border=-1))
        field = NumbaField(image, threads=1)
        field.begin(steps)
        # So long ago is everything that nothing has come before it.
        assert field._algorithm is not None
        field._algorithm._depth = 1 << 20
        changed = sweep_all(field, steps, iterations)
        return field.image().copy(), changed


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(("shape", "seed", "noise"), MAPS)
def test_skipping_settled_voxels_changes_nothing(
    name: str, shape: tuple[int, ...], seed: int, noise: float
) -> None:
    image = vessels(shape, seed, noise=noise)
    steps = steps_of(name, len(shape))
    got, changed = swept(image, steps, 9)
    for wanted, counted in (plain(image, steps, 9), reference(image, steps, 9)):
        assert same_bits(got, wanted)
        assert changed == counted
    # Something goes on after the first iterations, in which nothing is skipped yet.
    assert sum(changed[2 * len(steps) :]) > 50


@pytest.mark.parametrize("name", RULES)
def test_the_comparison_sees_voxels_skipped_too_early(name: str) -> None:
    # With the memory of one sweep, voxels count as settled that were last asked about another step.
    image = vessels((40, 90), 0, noise=0.3)
    steps = steps_of(name, 2)
    field = NumbaField(image, threads=1)
    field.begin(steps)
    assert field._algorithm is not None
    field._algorithm._depth = 1
    sweep_all(field, steps, 9)
    assert not same_bits(field.image(), plain(image, steps, 9)[0])


@pytest.mark.parametrize("name", RULES)
def test_threads_do_not_matter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = vessels((60, 120), 4, noise=0.2).astype(np.float32)
    steps = steps_of(name, 2)
    wanted, counted = swept(image, steps, 8)
    monkeypatch.setattr(numba_ranks, "_BLOCK", 32)
    for threads in (1, 2, 3, 7):
        got, changed = swept(image, steps, 8, threads=threads)
        assert same_bits(got, wanted)
        assert changed == counted
    assert max(counted) > 32 * 7


def test_one_field_for_one_filter_after_the_other() -> None:
    image = vessels((31, 70), 5, noise=0.2)
    field, wanted = NumbaField(image, threads=1), image
    for name in (*RULES, "thinning"):
        steps = steps_of(name, 2)
        field.begin(steps)
        changed = sweep_all(field, steps, 7)
        wanted, counted = plain(wanted, steps, 7)
        assert same_bits(field.image(), wanted)
        assert changed == counted
    field.close()


# ---------------------------------------------------------------------- parts of a map


@pytest.mark.parametrize("corner", list(product((0, 1, 2, 3), repeat=2)))
@pytest.mark.parametrize("logic", [RANKS, NESTED, DIAGRAM])
def test_subfields_are_those_of_the_whole_map_in_2d(logic: str, corner: tuple[int, int]) -> None:
    check_part((15, 80), corner, logic)


@pytest.mark.parametrize("corner", list(product((0, 1), repeat=3)))
def test_subfields_are_those_of_the_whole_map_in_3d(corner: tuple[int, ...]) -> None:
    check_part((8, 9, 11), corner, RANKS)


def check_part(shape: tuple[int, ...], corner: tuple[int, ...], logic: str) -> None:
    """One step on a part, which begins anywhere, is the same step on the whole map, but for the outermost voxels."""
    image: np.ndarray = vessels(shape, 6, noise=0.3).astype(np.float32)
    if logic == NESTED:
        image = (image > 0.5).astype(np.uint8) * np.uint8(128) + (image > 0.7) * np.uint8(64)
    part = tuple(slice(low, size - 1) for low, size in zip(corner, shape, strict=True))
    inner = tuple(slice(1 if low else 0, -1) for low in corner)
    changed = 0
    for step in steps_of("thinning-subfields", len(shape), logic):
        whole = NumbaField(image, threads=1)
        tile = NumbaField(image[part], threads=1, origin=corner)
        for field in (whole, tile):
            field.begin((step,))
            field.sweep(step)
        assert same_bits(tile.image()[inner], whole.image()[part][inner])
        changed += tile.changed
    assert changed > 0


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("shape", [(11, 13), (4, 6, 7)])
@pytest.mark.parametrize("begin", [lambda image: NumbaField(image, threads=1), TorchField])
def test_down_to_a_floor(name: str, shape: tuple[int, ...], begin: Any) -> None:
    rng = np.random.default_rng(len(shape))
    given = torch.as_tensor if begin is TorchField else np.asarray
    image = rng.integers(0, 9, shape) / 8
    floor = np.clip(image - rng.choice([0, 1, 2, 8], shape) / 8, 0, None)
    rule = catalog.bundled(name, len(shape))
    differ = 0
    for step, sub_iteration in zip(steps_of(name, len(shape)), rule.sub_iterations, strict=True):
        field = begin(given(image))
        field.begin((step,), given(floor))
        field.sweep(step)
        wanted = pruned(image, turned(sub_iteration.expression, sub_iteration.rotation), floor)
        if sub_iteration.subfield is not None:
            parity = np.array(sub_iteration.subfield).reshape(-1, *(1,) * len(shape))
            wanted = np.where((np.indices(shape) % 2 == parity).all(axis=0), wanted, image)
        assert same_bits(np.asarray(field.image()), wanted)
        kept = begin(given(image))
        kept.begin((step,))
        kept.sweep(step)
        differ += (np.asarray(kept.image()) != wanted).sum()
    assert differ > 0
