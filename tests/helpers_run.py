"""Runs rules on arrays through `torch_eager`, which needs no compiling."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from softmorph_cli.compiler.compile import DIAGRAM, compile_rule
from softmorph_cli.kernels.torch_eager import TorchField
from softmorph_cli.rules.rule import Rule


def run_binary(rule: Rule, mask: np.ndarray, iterations: int | None) -> np.ndarray:
    """Apply a rule to a binary image (as int64 planes), some number of times or until nothing changes."""
    steps = compile_rule(rule, DIAGRAM)
    field = TorchField(-torch.as_tensor(np.asarray(mask, np.int64)))
    while iterations is None or iterations > 0:
        before = field.image()
        for step in steps:
            field.sweep(step)
        iterations = None if iterations is None else iterations - 1
        if iterations is None and torch.equal(before, field.image()):
            break
    return np.asarray(field.image().numpy() != 0)


def sweep_all(field: Any, steps: Any, iterations: int = 1) -> list[int]:
    """Sweep a field and return what it says about `changed` after every sub-iteration."""
    changed = []
    for _ in range(iterations):
        for step in steps:
            field.sweep(step)
            changed.append(field.changed)
    return changed
