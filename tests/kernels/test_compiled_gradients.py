"""Compiled gradients: float64 gradcheck, float32 against `torch_eager`, corners, threads, and what is kept."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from helpers_maps import same_bits, vessels
from helpers_run import sweep_all
from torch import Tensor
from torch.autograd import gradcheck

from softmorph_cli.compiler.adjoint import adjoint
from softmorph_cli.compiler.compile import DIAGRAM, compile_rule
from softmorph_cli.compiler.lowering import LOGICS
from softmorph_cli.kernels import autograd, numba_source, thread_pool
from softmorph_cli.kernels.autograd import CompiledBackend, CompiledField
from softmorph_cli.kernels.torch_eager import TorchField
from softmorph_cli.rules import catalog, structuring
from softmorph_cli.rules.rule import Rule
from softmorph_cli.rules.rulefile import loads

RULES = {name: catalog.bundled(name) for name in catalog.names()}
RULES |= {f"erosion-{c}": structuring.erosion(c, d) for c, d in ((4, 2), (8, 2), (6, 3), (18, 3), (26, 3))}
RULES |= {f"dilation-{c}": structuring.dilation(c, d) for c, d in ((4, 2), (8, 2), (6, 3), (18, 3), (26, 3))}
PIECEWISE = ("minmax", "lukasiewicz")
DIFFERENTIABLE = [DIAGRAM, *(logic for logic in LOGICS if logic != "drastic")]

# Compiled by default; every kernel takes a few seconds. `pytest -m heavy` runs all.
USUAL = {
    ("thinning-2d", DIAGRAM),
    ("thinning-2d", "minmax"),
    ("erosion-4", "product"),
    ("thinning-3d", DIAGRAM),
    ("thinning-subfields-2d", DIAGRAM),
    ("dilation-26", DIAGRAM),
    ("dilation-4", "einstein"),
    ("dilation-4", "hamacher"),
    ("erosion-8", "lukasiewicz"),
}
CASES = [
    pytest.param(name, logic, marks=() if (name, logic) in USUAL else pytest.mark.heavy)
    for name in RULES
    for logic in DIFFERENTIABLE
    # Of 1,016 nodes: the compiler takes minutes for each logic.
    if name != "thinning-subfields-3d"
]


@pytest.fixture(autouse=True)
def _small_maps_are_shared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_pool, "_SMALL", 0)


def _one_direction(rule: Rule) -> Rule:
    """The second of its directions: all are the same program."""
    return replace(rule, sub_iterations=rule.sub_iterations[:2][-1:])


def _compiled(image: Tensor, rule: Rule, logic: str, iterations: int = 1, threads: int = 2) -> Tensor:
    steps = compile_rule(rule, logic)
    field = CompiledField(image, threads)
    field.begin(steps)
    for _ in range(iterations):
        for step in steps:
            field.sweep(step)
    return field.image()


def _eager(image: Tensor, rule: Rule, logic: str, iterations: int = 1) -> Tensor:
    field = TorchField(image)
    sweep_all(field, compile_rule(rule, logic), iterations)
    return field.image()


def _shape(rule: Rule, wide: bool = False) -> tuple[int, ...]:
    if wide:
        return (37, 405) if rule.dimensions == 2 else (9, 7, 203)
    return (4, 5) if rule.dimensions == 2 else (3, 3, 4)


def _distinct(shape: tuple[int, ...], seed: int) -> Tensor:
    """Values no two of which (nor a value and the complement of another) lie close to each other."""
    count = int(np.prod(shape))
    rng = np.random.default_rng(seed)
    # Not evenly spaced, or sums of a few values coincide, too.
    ladder = 0.02 + 0.96 * (np.arange(count) + 0.25 + 0.1 * rng.random(count)) / count
    assert min(abs(a - b) for a, b in pairwise(sorted([*ladder, *(1 - ladder)]))) > 1e-3
    values = rng.permutation(ladder).reshape(shape)
    return torch.tensor(values, requires_grad=True)


# ---------------------------------------------------------------- the derivative itself


@pytest.mark.parametrize(("name", "logic"), CASES)
def test_gradcheck(name: str, logic: str) -> None:
    rule = RULES[name]
    # What is made of sums of many values has ties where no value has one: one sub-iteration is enough there.
    rule = _one_direction(rule) if logic in PIECEWISE or rule.dimensions == 3 else rule
    image = _distinct(_shape(rule), 1)
    assert gradcheck(lambda x: _compiled(x, rule, logic), (image,), eps=1e-6, atol=1e-5, rtol=1e-4)


def test_gradcheck_sees_a_share_that_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    right = adjoint
    autograd._pull_kernel.cache_clear()

    def wrong(program: Any) -> Any:
        reverse = right(program)
        return replace(reverse, partials=(reverse.partials[1], *reverse.partials[1:]))

    monkeypatch.setattr(numba_source, "adjoint", wrong)
    image = _distinct((4, 5), 1)
    rule = RULES["thinning-2d"]
    assert not gradcheck(lambda x: _compiled(x, rule, DIAGRAM), (image,), raise_exception=False)
    autograd._pull_kernel.cache_clear()


# ---------------------------------------------------------------- agreement with torch_eager


def _maps(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    blocks = np.repeat(rng.choice([0.0, 1.0], size=(*shape[:-1], -(-shape[-1] // 70))), 70, axis=-1)
    blocks = blocks[..., : shape[-1]]
    thick = np.ones(shape)
    thick[..., :150] = 0
    return {
        "dense": 0.4 * rng.random(shape),
        "sparse": vessels(shape, 3, branches=3),
        "blocks": np.where(rng.random(shape) < 0.01, 0.3, blocks),
        # Whole neighbourhoods of exact zeros and ones, up to the border: the shortcut of the way back.
        "thick": np.where(rng.random(shape) < 0.0005, 0.7, thick),
        "full": np.ones(shape),
    }


@cache
def _both_ways(name: str, logic: str, kind: str) -> tuple[np.ndarray, ...]:
    rule = RULES[name]
    values = _maps(_shape(rule, wide=True))[kind].astype(np.float32)
    seed = torch.tensor(np.random.default_rng(6).normal(size=values.shape).astype(np.float32))
    found = []
    for run in (_compiled, _eager):
        image = torch.tensor(values, requires_grad=True)
        # Two dilations of a dense map are all ones, and have no gradient.
        result = run(image, rule, logic, iterations=2 if "thinning" in name else 1)
        (gradient,) = torch.autograd.grad(result, image, seed)
        found += [result.detach().numpy(), gradient.numpy()]
    return tuple(found)


@pytest.mark.parametrize("kind", ["dense", "sparse", "blocks", "thick", "full"])
@pytest.mark.parametrize(
    ("name", "logic"),
    [
        ("thinning-3d", DIAGRAM),
        ("thinning-2d", DIAGRAM),
        ("dilation-4", "hamacher"),
    ],
)
def test_float32_agrees_with_torch_eager(name: str, logic: str, kind: str) -> None:
    result, gradient, wanted, slope = _both_ways(name, logic, kind)
    assert np.abs(result - wanted).max() < 2e-6
    assert np.abs(gradient - slope).max() < 2e-5 * max(1, np.abs(slope).max())
    assert gradient.dtype == np.float32
    if kind in ("dense", "sparse"):
        assert np.abs(slope).max() > 0.01


@pytest.mark.parametrize("name", ["thinning-2d", "thinning-3d"])
def test_uniform_neighbourhoods_are_passed_over_exactly(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without the shortcut the gradient has the same bits."""
    rule = RULES[name]
    steps = compile_rule(rule, DIAGRAM)
    assert autograd._steady(steps[0])
    for kind, values in _maps(_shape(rule, wide=True)).items():
        found = []
        for known in (True, False):
            with monkeypatch.context() as patch:
                if not known:
                    patch.setattr(autograd, "_steady", lambda step: ())
                autograd._pull_kernel.cache_clear()
                image = torch.tensor(values, dtype=torch.float32, requires_grad=True)
                _compiled(image, rule, DIAGRAM, 2).square().sum().backward()  # type: ignore[no-untyped-call]
                assert image.grad is not None
                found.append(image.grad.numpy() + 0)
        autograd._pull_kernel.cache_clear()
        assert same_bits(*found), kind


def test_what_is_steady_is_found_by_rule() -> None:
    def steady(name: str) -> tuple[int, ...]:
        return autograd._steady(compile_rule(RULES[name], DIAGRAM)[0])

    assert steady("thinning-3d") == (0, 1)
    # An erosion of ones passes the gradient to all neighbours, an erosion of zeros to none.
    assert steady("erosion-6") == ()
    assert steady("dilation-8") == ()


# ---------------------------------------------------------------- threads, repetition, memory


@pytest.mark.parametrize("shape", [(1, 1), (3, 64), (64, 5), (65, 70), (131, 33)])
def test_threads_do_not_matter_in_2d(shape: tuple[int, ...]) -> None:
    _check_threads(shape, RULES["thinning-2d"])


@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 3, 65), (5, 9, 5), (8, 2, 7), (13, 4, 66), (25, 3, 9)])
def test_threads_do_not_matter_in_3d(shape: tuple[int, ...]) -> None:
    _check_threads(shape, RULES["thinning-3d"])


def _check_threads(shape: tuple[int, ...], rule: Rule) -> None:
    values = np.random.default_rng(7).random(shape)
    seed = torch.tensor(np.random.default_rng(8).normal(size=shape))
    found = []
    for threads in (1, 2, 3, 5, 8):
        image = torch.tensor(values, requires_grad=True)
        result = _compiled(image, rule, DIAGRAM, threads=threads)
        found.append((result.detach(), *torch.autograd.grad(result, image, seed)))
    for one in found[1:]:
        assert all(same_bits(a, b) for a, b in zip(one, found[0], strict=True))
    image = torch.tensor(values, requires_grad=True)
    (wanted,) = torch.autograd.grad(_eager(image, rule, DIAGRAM), image, seed)
    torch.testing.assert_close(found[0][1], wanted, atol=1e-13, rtol=1e-13)


def test_backward_can_be_done_again_with_the_graph_kept() -> None:
    image = torch.rand(5, 6, 130, requires_grad=True)
    result = _compiled(image, RULES["thinning-3d"], DIAGRAM, 2)
    seeds = [torch.rand_like(result) for _ in range(2)]
    first = [torch.autograd.grad(result, image, seed, retain_graph=True)[0] for seed in seeds]
    again = [torch.autograd.grad(result, image, seed, retain_graph=True)[0] for seed in seeds]
    assert all(same_bits(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])


def test_it_can_be_differentiated_once_only() -> None:
    image = torch.rand(4, 5, dtype=torch.float64, requires_grad=True)
    result = _compiled(image, RULES["thinning-2d"], DIAGRAM)
    (slope,) = torch.autograd.grad(result.square().sum(), image, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()  # type: ignore[no-untyped-call]


def test_forward_keeps_one_map_for_each_sub_iteration() -> None:
    image = torch.rand(24, 40, 64, requires_grad=True)
    rule, iterations = RULES["thinning-3d"], 3
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = _compiled(image, rule, DIAGRAM, iterations)
    padded = 26 * 42 * 66 * 4 + numba_source.run_length(np.dtype("float32")) * 4
    sub_iterations = 6 * iterations
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in kept}
    # Of the block of all maps the last one is not needed, but part of it.
    assert sum(storages.values()) <= (sub_iterations + 1) * padded
    assert sum(tensor.nbytes for tensor in kept) == sub_iterations * padded
    assert result.untyped_storage().nbytes() == image.nbytes


def test_maps_and_gradients_of_the_caller_are_not_modified() -> None:
    whole = torch.rand(9, 8, 80, dtype=torch.float64)
    before = whole.clone()
    view = whole.transpose(0, 2)[::2, 1:].detach().requires_grad_()
    result = _compiled(view, RULES["thinning-3d"], DIAGRAM)
    seed = torch.ones(()).double().expand_as(result)
    (got,) = torch.autograd.grad(result, view, seed)
    assert torch.equal(whole, before)
    assert (seed == 1).all()
    copy = view.detach().contiguous().requires_grad_()
    (wanted,) = torch.autograd.grad(_compiled(copy, RULES["thinning-3d"], DIAGRAM).sum(), copy)
    assert torch.equal(got, wanted)


def test_filters_in_turn_on_one_field() -> None:
    rules = [RULES[name] for name in ("thinning-2d", "dilation-4", "erosion-4", "thinning-2d")]
    values = torch.rand(12, 70, dtype=torch.float64)
    found = []
    for make in (lambda x: CompiledField(x, 2), TorchField):
        image = values.clone().requires_grad_()
        field: Any = make(image)
        changed = []
        for rule in rules:
            steps = compile_rule(rule, DIAGRAM)
            field.begin(steps)
            changed += sweep_all(field, steps, 2)
        field.image().square().sum().backward()
        field.close()
        found.append((field.image().detach(), image.grad, changed))
    for got, wanted in zip(found[0][:2], found[1][:2], strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-12, rtol=1e-12)
    assert found[0][2] == pytest.approx(found[1][2], abs=3)


def test_without_a_gradient_nothing_is_kept() -> None:
    backend = CompiledBackend(2)
    image = torch.rand(6, 70, requires_grad=True)
    assert isinstance(backend.field(image), CompiledField)
    with torch.no_grad():
        assert not isinstance(backend.field(image), CompiledField)
    steps = compile_rule(RULES["thinning-2d"], DIAGRAM)
    results = []
    for given in (image, image.detach()):
        field = backend.field(given)
        field.begin(steps)
        sweep_all(field, steps, 3)
        results.append(field.image())
        field.close()
    assert results[0].requires_grad
    assert not results[1].requires_grad
    # The same kernels on the same values, whether or not settled runs are passed over.
    assert same_bits(results[0].detach(), results[1])


# ---------------------------------------------------------------- corners


def _corners(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    small = torch.finfo(dtype).smallest_normal
    values = [0.0, 1.0, 0.5, 1e-45, 1e-40, small, 1e-20, 1 - torch.finfo(dtype).eps, 0.0, 1.0]
    return torch.tensor(np.random.default_rng(9).choice(values, size=shape), dtype=dtype, requires_grad=True)


# Divisions by the smallest numbers are what float32 has to be asked about.
CORNERS = [
    pytest.param(*case.values, dtype, marks=case.marks if dtype == preferred else pytest.mark.heavy)
    for case in CASES
    for preferred in ("float32" if case.values[1] in ("einstein", "hamacher") else "float64",)
    for dtype in ("float32", "float64")
]


@pytest.mark.parametrize(("name", "logic", "dtype"), CORNERS)
def test_gradients_are_finite_at_the_corners(name: str, logic: str, dtype: str) -> None:
    rule = _one_direction(RULES[name])
    image = _corners(_shape(rule, wide=True), getattr(torch, dtype))
    result = _compiled(image, rule, logic)
    assert ((result >= 0) & (result <= 1)).all()
    (gradient,) = torch.autograd.grad(result.sum(), image)
    assert torch.isfinite(gradient).all()


def test_torch_eager_is_finite_at_the_same_corners() -> None:
    image = _corners((37, 405), torch.float32)
    (gradient,) = torch.autograd.grad(
        _eager(image, _one_direction(RULES["thinning-2d"]), "hamacher").sum(), image
    )
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("name", "logic"),
    [
        ("thinning-2d", "minmax"),
        ("erosion-8", "lukasiewicz"),
        pytest.param("thinning-2d", "lukasiewicz", marks=pytest.mark.heavy),
        pytest.param("thinning-3d", "minmax", marks=pytest.mark.heavy),
        pytest.param("thinning-3d", "lukasiewicz", marks=pytest.mark.heavy),
    ],
)
def test_ties_are_shared_as_torch_does(name: str, logic: str) -> None:
    rule = _one_direction(RULES[name])
    values = np.random.default_rng(3).choice([0, 0.25, 0.5, 0.75, 1], size=_shape(rule, wide=True))
    found: list[Any] = []
    for run in (_compiled, _eager):
        image = torch.tensor(values, requires_grad=True)
        found += torch.autograd.grad(run(image, rule, logic).square().sum(), image)
    torch.testing.assert_close(*found, atol=1e-13, rtol=1e-13)


@pytest.mark.parametrize("condition", ["C & ~C", "C | ~C"])
def test_a_rule_that_does_not_depend_on_the_map_has_no_gradient(condition: str) -> None:
    rule = loads(f'dimensions = 2\naction = "set"\nwhen = "{condition}"\n', name="r")
    image = torch.rand(5, 70, requires_grad=True)
    result = _compiled(image, rule, DIAGRAM)
    assert (result == float(condition == "C | ~C")).all()
    (gradient,) = torch.autograd.grad(result.sum(), image)
    assert (gradient == 0).all()
