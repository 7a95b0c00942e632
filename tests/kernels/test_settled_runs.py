"""Skipping runs that have settled changes nothing: bit for bit the result of plain evaluation.

A run is 64 voxels; the maps are several runs wide, with long empty, full and quiet parts.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers_fields import plain, swept
from helpers_maps import close, same_bits, vessels
from helpers_run import sweep_all

from softmorph_cli.compiler.compile import DIAGRAM, Step, compile_rule
from softmorph_cli.kernels.numba_cpu import NumbaBackend, NumbaField
from softmorph_cli.kernels.torch_eager import TorchField
from softmorph_cli.rules import catalog, structuring
from softmorph_cli.rules.rulefile import loads

MAPS_3D = [((5, 15, 260), 0, 0.0), ((4, 13, 330), 1, 0.1), ((5, 14, 200), 2, 0.3), ((6, 7, 400), 3, 0.05)]
MAPS_2D = [((40, 260), 0, 0.0), ((33, 515), 1, 0.1), ((50, 200), 2, 0.3)]
CASES = [("thinning-3d", *m) for m in MAPS_3D] + [("thinning-2d", *m) for m in MAPS_2D]


def _steps(name: str) -> tuple[Step, ...]:
    return compile_rule(catalog.bundled(name), DIAGRAM)


def _reference(image: np.ndarray, steps: tuple[Step, ...], iterations: int) -> tuple[np.ndarray, list[int]]:
    field = TorchField(torch.as_tensor(image))
    changed = sweep_all(field, steps, iterations)
    return field.image().numpy(), changed


@pytest.mark.parametrize(("name", "shape", "seed", "noise"), CASES)
def test_levels_equal_a_plain_torch_loop(name: str, shape: tuple[int, ...], seed: int, noise: float) -> None:
    planes = NumbaBackend(2).pack_levels(vessels(shape, seed, noise=noise).astype(np.float32), 64, 0)
    steps = _steps(name)
    got, changed = swept(planes, steps, 7, threads=2)
    wanted, counted = _reference(planes.view(np.int64), steps, 7)
    assert same_bits(got.view(np.int64), wanted)
    assert changed == counted
    assert sum(changed[: len(steps)]) > 100


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "shape", "seed", "noise"), CASES)
def test_multilinear_equals_plain_evaluation(
    name: str, shape: tuple[int, ...], seed: int, noise: float, dtype: str
) -> None:
    image = vessels(shape, seed, noise=noise).astype(dtype)
    steps = _steps(name)
    got, changed = swept(image, steps, 5, threads=2)
    wanted, counted = plain(image, steps, 5)
    assert same_bits(got, wanted)
    assert changed == counted
    # torch does not contract a * b + c; the loop is the same one otherwise.
    assert close(got, _reference(image, steps, 5)[0], 1e-13 if dtype == "float64" else 1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_binary_maps_settle_and_stay_settled(seed: int) -> None:
    mask = vessels((6, 15, 270), 10 + seed, branches=12) > 0.3
    planes = np.where(mask, np.uint8(255), np.uint8(0))
    steps = _steps("thinning-3d")
    got, changed = swept(planes, steps, 10, threads=2)
    wanted, counted = _reference(np.where(mask, -1, 0).astype(np.int64), steps, 10)
    assert same_bits(got != 0, wanted != 0)
    assert changed == counted
    assert sum(changed[-6:]) < 0.01 * sum(changed)


@pytest.mark.parametrize(
    ("action", "text", "schedule"),
    [
        ("set", "at_least(5, block)", '["N"]'),
        ("set", "C ^ (N & ~S & at_least(2, ring))", '["N", "E"]'),
        ("add", "at_least(4, ring) & ~W", '["N", "E", "S"]'),
        ("delete", "exactly(1, ring)", '["N"]'),
    ],
)
def test_rules_of_any_depth_and_action(action: str, text: str, schedule: str) -> None:
    rule = loads(f'dimensions = 2\naction = "{action}"\nwhen = "{text}"\nschedule = {schedule}\n', name="r")
    steps = compile_rule(rule, DIAGRAM)
    mask = np.random.default_rng(4).random((30, 400)) < 0.45
    mask[:, 150:260] = False
    mask[10:20, 300:400] = True
    got, changed = swept(np.where(mask, np.uint8(255), np.uint8(0)), steps, 12, threads=2)
    wanted, counted = _reference(np.where(mask, -1, 0).astype(np.int64), steps, 12)
    assert same_bits(got != 0, wanted != 0)
    assert changed == counted


def test_a_second_filter_on_the_same_field_starts_without_settled_runs() -> None:
    image = vessels((30, 300), 5)
    first, second = _steps("thinning-2d"), compile_rule(catalog.bundled("majority-2d"), DIAGRAM)
    field = NumbaField(image, threads=1)
    wanted = image
    for steps, count in ((first, 6), (second, 3), (first, 4)):
        field.begin(steps)
        sweep_all(field, steps, count)
        wanted = plain(wanted, steps, count)[0]
    assert same_bits(field.image(), wanted)
    field.close()


def test_settled_blocks_of_one_filter_are_not_settled_for_the_next() -> None:
    line = np.zeros((5, 300))
    line[2, 5:290] = 1
    thinning, dilation = _steps("thinning-2d"), compile_rule(structuring.dilation(4, 2), DIAGRAM)
    field = NumbaField(line, threads=1)
    field.begin(thinning)
    assert sum(sweep_all(field, thinning, 5)) == 0
    field.begin(dilation)
    assert sweep_all(field, dilation, 1) == [2 * 285 + 2]
    assert same_bits(field.image(), plain(line, dilation, 1)[0])
    field.close()


def test_the_comparison_sees_runs_skipped_too_early() -> None:
    # With the memory of one sweep, runs count as settled that were last asked about another direction.
    steps = _steps("thinning-3d")
    planes = NumbaBackend(2).pack_levels(vessels((9, 24, 260), 0).astype(np.float32), 64, 0)
    field = NumbaField(planes, threads=1)
    field.begin(steps)
    assert field._algorithm is not None
    field._algorithm._depth = 1
    sweep_all(field, steps, 9)
    assert not same_bits(field.image(), plain(planes, steps, 9)[0])
    field.close()
