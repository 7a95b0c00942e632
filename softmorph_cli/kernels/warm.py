"""Compiles kernels ahead of time, for the bundled rules and the common element types."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from softmorph_cli.compiler.compile import DIAGRAM, NESTED, RANKS, compile_rule
from softmorph_cli.compiler.lowering import LOGICS
from softmorph_cli.kernels.numba_cpu import NumbaBackend, NumbaField
from softmorph_cli.rules import catalog, structuring
from softmorph_cli.rules.neighborhood import CONNECTIVITIES
from softmorph_cli.rules.rule import Rule


def kernels() -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield pairs of a description and a function that compiles a kernel, for the common rules, logics and types.

    float64, numbers of levels other than 1, 16 and 64, and fuzzy logics on simple points (thousands of operations)
    are rare and compiled at their first use.
    """
    yield "check of values, float32", partial(_check, "float32")
    rules = [catalog.bundled(name) for name in catalog.names()]
    for dimensions, connectivities in CONNECTIVITIES.items():
        for connectivity in connectivities:
            rules += [make(connectivity, dimensions) for make in (structuring.erosion, structuring.dilation)]
    for rule in rules:
        for dtype in ("uint64", "uint8", "float32"):
            yield f"{rule.name}, {DIAGRAM}, {dtype}", partial(_compile, rule, DIAGRAM, dtype)
        simple = any(one.subfield is not None for one in rule.sub_iterations)
        for logic in () if simple else LOGICS:
            yield f"{rule.name}, {logic}, float32", partial(_compile, rule, logic, "float32")
    for dimensions in CONNECTIVITIES:
        thinning, finishing = (
            catalog.bundled(name, dimensions) for name in ("thinning", "thinning-subfields")
        )
        for dtype in ("uint16", "uint64"):
            yield f"{thinning.name}, {NESTED}, {dtype}", partial(_compile, thinning, NESTED, dtype)
        for rule in (thinning, finishing):
            yield f"{rule.name}, {RANKS}, float32", partial(_compile, rule, RANKS, "float32")


def _check(dtype: str) -> None:
    NumbaBackend(threads=1).is_probability(np.zeros(1, dtype))


def _compile(rule: Rule, logic: str, dtype: str) -> None:
    field = NumbaField(np.zeros((3,) * rule.dimensions, dtype), threads=1)
    steps = compile_rule(rule, logic)
    field.begin(steps)
    for step in steps:
        field.sweep(step)
        field.image()  # computes what was queued
