"""Which configurations of its neighbours make a program delete a voxel: its truth table, 64 configurations a word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.compiler.program import Op, Program, execute
from softmorph_cli.rules.neighborhood import Offset
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


def deletions(program: Program, neighbours: Sequence[Offset] | None = None) -> Words:
    """Return where a program makes a foreground voxel background.

    Args:
        program: The new value of a voxel, as a Boolean circuit.
        neighbours: The offset that each bit of a configuration's number stands for; None for those of `rules.ring`.

    Returns:
        Bit b of word w stands for the configuration 64 w + b; of a ring, shape (4,) in 2D and (2^20,) in 3D. With fewer
        than six neighbours the configurations repeat within the one word.
    """
    if neighbours is None:
        neighbours = ring(len(program.inputs[0])).offsets
    place = {offset: k for k, offset in enumerate(neighbours)}
    found = np.empty(words(len(neighbours)), np.uint64)
    for first in range(0, found.size, _CHUNK):
        part = found[first : first + _CHUNK]
        numbers = np.arange(first, first + part.size, dtype=np.uint64)
        inputs = [
            pattern(place[offset], numbers) if any(offset) else np.full(part.size, _ALL)
            for offset in program.inputs
        ]
        part[:] = ~execute(program, inputs, _BITS)
    return found


def words(neighbours: int) -> int:
    """Return how many words the configurations of so many neighbours take."""
    return max(1 << neighbours >> 6, 1)


def pattern(place: int, numbers: Words) -> Words:
    """Return the values of one neighbour in the 64 configurations of each word.

    Args:
        place: Which bit of a configuration's number is the neighbour's.
        numbers: Of the words.
    """
    if place < len(_WITHIN):
        return np.full(numbers.size, _WITHIN[place])
    return np.uint64(0) - (numbers >> np.uint64(place - len(_WITHIN)) & np.uint64(1))
