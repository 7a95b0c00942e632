"""Shared by the tests of every backend: moving arrays to and from it, and a program without symmetry."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from helpers_run import sweep_all

from softmorph_cli.compiler.compile import Step
from softmorph_cli.compiler.program import Builder, Op
from softmorph_cli.kernels.backend import Backend
from softmorph_cli.rules.neighborhood import DIRECTIONS, rotate


class Backed:
    """Subclasses say how to make the backend and how to move arrays to and from it."""

    plane_types: tuple[str, ...]

    def backend(self) -> Backend:
        raise NotImplementedError

    def give(self, array: np.ndarray) -> Any:
        raise NotImplementedError

    def take(self, image: Any) -> np.ndarray:
        return np.array(image)

    def planes(self, mask: np.ndarray, dtype: str) -> np.ndarray:
        """The same binary image in all bits."""
        return np.where(mask, np.array(-1).astype(dtype), np.array(0, dtype))

    def sweep(self, image: np.ndarray, *steps: Step, begin: tuple[Step, ...] = ()) -> np.ndarray:
        return self.swept(image, steps, begin=begin)[0]

    def swept(
        self, image: np.ndarray, steps: tuple[Step, ...], iterations: int = 1, *, begin: tuple[Step, ...] = ()
    ) -> tuple[np.ndarray, list[int]]:
        """The image after some iterations, and how many voxels each sweep changed."""
        field = self.backend().field(self.give(image))
        try:
            field.begin(begin or steps)
            changed = sweep_all(field, steps, iterations)
            return self.take(field.image()), changed
        finally:
            field.close()


@cache
def lopsided(bits: bool = False) -> tuple[Step, ...]:
    """A program that looks the same from no two sides, turned to all six directions."""
    builder = Builder()
    here, above, ahead, corner, below = (
        builder.input(o) for o in [(0, 0, 0), (-1, 0, 0), (0, 1, 0), (1, -1, 1), (1, 0, 0)]
    )
    chosen = builder.mix(ahead, builder.mix(above, builder.const(1), corner), builder.negate(below))
    if not bits:
        upper = builder.emit(Op.MAX, builder.emit(Op.MIN, above, corner), builder.emit(Op.STEP, below))
        share = builder.emit(Op.DIV, chosen, builder.emit(Op.ADD, corner, builder.emit(Op.SUB, upper, here)))
        chosen = builder.emit(Op.MUL, chosen, builder.mix(share, ahead, builder.const(0)))
    program = builder.build(builder.emit(Op.MUL, here, chosen))
    return tuple(
        Step(program, tuple(rotate(o, turn) for o in program.inputs), outside=1, absorbing=None)
        for turn in DIRECTIONS[3].values()
    )
