"""Which configurations of its neighbours make a program delete a voxel: its truth table, 64 configurations a word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.compiler.program import Op, Program, execute
from softmorph_cli.rules.ring import ring

Words = npt.NDArray[np.uint64]

_ALL: Final = np.uint64(2**64 - 1)
# Variables 0 to 5 within a word, and how many words go through a program at a time: they stay in the cache.
_WITHIN: Final = [np.uint64(sum(1 << b for b in range(64) if b >> k & 1)) for k in range(6)]
_CHUNK: Final = 4096

_BITS: Final[dict[Op, Callable[..., Any]]] = {
    Op.CONST: lambda value: _ALL if value else np.uint64(0),
    Op.NOT: lambda a: ~a,
    Op.MUL: lambda a, b: a & b,
    Op.MIX: lambda x, low, high: low ^ (x & (low ^ high)),
}


def deletions(program: Program) -> Words:
    """Return where a program makes a foreground voxel background.

    Args:
        program: The new value of a voxel, as a Boolean circuit, with inputs in 2D or 3D.

    Returns:
        Shape (4,) in 2D, (2^20,) in 3D: bit b of word w stands for the ring 64 w + b, see `rules.ring`.
    """
    dimensions = len(program.inputs[0])
    count = 1 << len(ring(dimensions).offsets)
    found = np.empty(count // 64, np.uint64)
    for first in range(0, found.size, _CHUNK):
        part = found[first : first + _CHUNK]
        numbers = np.arange(first, first + part.size)
        part[:] = ~execute(program, _inputs(program, numbers), _BITS)
    return found


def _inputs(program: Program, numbers: npt.NDArray[np.int64]) -> list[Words]:
    place = {offset: k for k, offset in enumerate(ring(len(program.inputs[0])).offsets)}
    inputs = []
    for offset in program.inputs:
        if not any(offset):
            values = np.full(numbers.size, _ALL)
        elif place[offset] < len(_WITHIN):
            values = np.full(numbers.size, _WITHIN[place[offset]])
        else:
            values = np.where(numbers >> (place[offset] - len(_WITHIN)) & 1, _ALL, np.uint64(0))
        inputs.append(values)
    return inputs
