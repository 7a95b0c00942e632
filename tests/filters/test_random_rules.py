"""Random rules: any expression, action, schedule, border value and direction, on both backends."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from helpers_filters import applied
from helpers_maps import close, same_bits
from helpers_reference import truth

from softmorph_cli.compiler.lowering import LOGICS
from softmorph_cli.filters.settings import Settings
from softmorph_cli.kernels.torch_eager import TorchBackend
from softmorph_cli.rules.expression import turned
from softmorph_cli.rules.neighborhood import DIRECTIONS, block
from softmorph_cli.rules.rule import Action, Rule
from softmorph_cli.rules.rulefile import loads


def _expression(rng: random.Random, names: list[str], depth: int) -> str:
    if depth == 0:
        return rng.choice(("", "~")) + rng.choice(names)
    chance = rng.random()
    if chance < 0.15:
        return f"at_least({rng.randint(1, 4)}, {rng.choice(('ring', 'cross', 'block'))})"
    if chance < 0.2:
        few = ", ".join(_expression(rng, names, 0) for _ in range(3))
        return f"exactly({rng.randint(1, 3)}, {few}, cross)"
    left, right = (_expression(rng, names, depth - 1) for _ in range(2))
    return f"({left} {rng.choice('&|^')} {right})"


def _rule(seed: int) -> tuple[Rule, int]:
    """A rule, and how many iterations to run it."""
    rng = random.Random(seed)
    dimensions = rng.choice((2, 2, 3))
    names = [f"[{','.join(map(str, o))}]" for o in block(dimensions)]
    schedule = ", ".join(f'"{rng.choice(list(DIRECTIONS[dimensions]))}"' for _ in range(rng.randint(1, 4)))
    text = (
        f'dimensions = {dimensions}\naction = "{rng.choice(("set", "delete", "add"))}"\n'
        f'when = "{_expression(rng, names, 3)}"\nschedule = [{schedule}]\noutside = {rng.randint(0, 1)}\n'
    )
    return loads(text, name=f"random {seed}"), rng.randint(1, 4)


def _image(dimensions: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shape = (6, 140) if dimensions == 2 else (3, 4, 75)
    image = rng.random(shape) * (rng.random(shape) < 0.7)
    image[..., 30:100] = rng.choice([0.0, 1.0])
    return np.where(rng.random(shape) < 0.1, 1.0, image)


def _binary(rule: Rule, mask: np.ndarray, iterations: int) -> np.ndarray:
    for _ in range(iterations):
        for sub_iteration in rule.sub_iterations:
            padded = np.pad(mask, 1, constant_values=bool(rule.outside))
            around = {
                offset: padded[
                    tuple(slice(1 + o, 1 + o + n) for o, n in zip(offset, mask.shape, strict=True))
                ]
                for offset in block(rule.dimensions)
            }
            holds = truth(turned(sub_iteration.expression, sub_iteration.rotation), around)
            match rule.action:
                case Action.SET:
                    mask = holds
                case Action.DELETE:
                    mask = mask & ~holds
                case Action.ADD:
                    mask = mask | holds
    return mask


def _check_torch(seed: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    rule, iterations = _rule(seed)
    image = _image(rule.dimensions, seed)
    results = {}
    with monkeypatch.context() as patch:
        patch.setattr("softmorph_cli.filters.arrays.choose", lambda *_a, **_k: TorchBackend("cpu"))
        for method in ("levels", "multilinear", list(LOGICS)[seed % len(LOGICS)]):
            result = applied(rule, torch.tensor(image), Settings(method, levels=8), iterations=iterations)
            results[method] = result.image.numpy()
    wanted = sum(_binary(rule, image > (k + 0.5) / 8, iterations).astype(float) for k in range(8))
    assert same_bits(results["levels"], np.asarray(wanted / 8))
    for values in results.values():
        assert 0 <= values.min() <= values.max() <= 1
    return results


@pytest.mark.parametrize("seed", range(30))
def test_torch_runs_any_rule(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    _check_torch(seed, monkeypatch)


def _check_both(seed: int, methods: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rule, iterations = _rule(seed)
    for method, wanted in list(_check_torch(seed, monkeypatch).items())[:methods]:
        settings = Settings(method, levels=8, threads=2)
        got = applied(rule, _image(rule.dimensions, seed), settings, iterations=iterations).image
        # Divisions amplify the last bit, which torch and LLVM round differently.
        assert close(got, wanted, 1e-9)
        if method == "levels":
            assert same_bits(got, wanted)


@pytest.mark.parametrize("seed", range(100, 105))
def test_numba_agrees_on_any_rule(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    _check_both(seed, 2, monkeypatch)


@pytest.mark.heavy
@pytest.mark.parametrize("seed", range(200, 260))
def test_numba_agrees_on_many_rules(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    _check_both(seed, 3, monkeypatch)


def test_rules_and_images_differ() -> None:
    rules = [_rule(seed)[0] for seed in range(30)]
    assert len({rule.condition for rule in rules}) == 30
    assert {rule.dimensions for rule in rules} == {2, 3}
    assert {rule.action for rule in rules} == set(Action)
    assert {rule.outside for rule in rules} == {0, 1}
