"""Compiling ahead: every kernel that the bundled rules and the usual types need."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from softmorph_cli.compiler import DIAGRAM, compile_rule
from softmorph_cli.compiler.lowering import LOGICS
from softmorph_cli.kernels.numba_cpu import NumbaField
from softmorph_cli.rules import catalog, structuring
from softmorph_cli.rules.neighborhood import CONNECTIVITIES
from softmorph_cli.rules.rule import Rule


def kernels() -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield a name and a function that compiles, for every rule, logic and element type.

    float64, fewer than 64 levels, and fuzzy logics of rules over subfields, whose programs are long, are rare enough
    to be compiled when they are met.
    """
    rules = [catalog.bundled(name) for name in catalog.names()]
    for dimensions, connectivities in CONNECTIVITIES.items():
        for connectivity in connectivities:
            rules += [make(connectivity, dimensions) for make in (structuring.erosion, structuring.dilation)]
    for rule in rules:
        for dtype in ("uint64", "uint8", "float32"):
            yield f"{rule.name}, {DIAGRAM}, {dtype}", partial(_compile, rule, DIAGRAM, dtype)
        for logic in LOGICS if rule.sub_iterations[0].subfield is None else ():
            yield f"{rule.name}, {logic}, float32", partial(_compile, rule, logic, "float32")


def _compile(rule: Rule, logic: str, dtype: str) -> None:
    field = NumbaField(np.zeros((3,) * rule.dimensions, dtype), threads=1)
    steps = compile_rule(rule, logic)
    field.begin(steps)
    for step in steps:
        field.sweep(step)
