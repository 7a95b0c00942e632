"""Computes truth tables of deleting steps: whether a voxel is deleted for each configuration of the neighbours.

A voxel with 26 neighbours has 2^26 configurations: 8 MB of bits, computed from the program and cached on disk,
compressed. Where few voxels are tested, a look-up in the table is faster than a program with a thousand operations.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.compiler.compile import Step
from softmorph_cli.compiler.program import Op, Program, execute
from softmorph_cli.rules.neighborhood import Offset
from softmorph_cli.rules.ring import ring
from softmorph_cli.system import cache as disk

Words = npt.NDArray[np.uint64]

_ALL: Final = np.uint64(2**64 - 1)
# The values of variables 0 to 5 within a word.
_WITHIN: Final = [np.uint64(sum(1 << b for b in range(64) if b >> k & 1)) for k in range(6)]
# Words that are evaluated at once: they stay in the processor's cache.
_CHUNK: Final = 4096

_BITS: Final[dict[Op, Callable[..., Any]]] = {
    Op.CONST: lambda value: _ALL if value else np.uint64(0),
    Op.NOT: lambda a: ~a,
    Op.MUL: lambda a, b: a & b,
    Op.MIX: lambda x, low, high: low ^ (x & (low ^ high)),
}


@dataclass(frozen=True)
class DeletionTable:
    """The truth table of a deleting step: one bit for each configuration of the neighbours of a foreground voxel.

    Attributes:
        neighbours: Indices of the inputs of the step that are neighbours (not the centre voxel); bit j of a
            configuration is the value of input `neighbours[j]`.
        bits: The table as bytes: bit b of byte w is set if a voxel with configuration 8 w + b is deleted.
        border: The position in `neighbours` of a neighbour that is background in every configuration in which a voxel
            is deleted; -1 if no neighbour is.
    """

    neighbours: tuple[int, ...]
    bits: npt.NDArray[np.uint8]
    border: int


def table_of(step: Step) -> DeletionTable:
    """Return the truth table of a step; the rule of the step has to be one that only deletes."""
    inputs = step.program.inputs
    border, words = _table(step.program)
    return DeletionTable(tuple(map(inputs.index, _neighbours(step.program))), words.view(np.uint8), border)


def deletions(program: Program) -> Words:
    """Return the truth table of a program over all 8 or 26 neighbours, in the order of `rules.ring`.

    Returns:
        An array of 64-bit words, shape (4,) in 2D and (2^20,) in 3D; bit b of word w is set if a voxel with
        configuration 64 w + b is deleted.
    """
    neighbours = ring(len(program.inputs[0])).offsets
    return _table(program)[1] if _neighbours(program) == neighbours else _evaluate(program, neighbours)


def _neighbours(program: Program) -> tuple[Offset, ...]:
    """Return the offsets of the inputs of a program in array order, without the centre voxel."""
    return tuple(sorted(offset for offset in program.inputs if any(offset)))


@cache
def _table(program: Program) -> tuple[int, Words]:
    """Return the `border` and the 64-bit words of a program's truth table, from the disk cache if possible."""
    key, neighbours = hashlib.sha256(str(program).encode()).hexdigest()[:32], _neighbours(program)
    known = disk.load("tables", key)
    if known is not None:
        with suppress(ValueError, zlib.error):
            # The last byte is the border's position plus one; zlib detects damage.
            packed = zlib.decompress(base64.b64decode(known))
            if len(packed) == 8 * _size(neighbours) + 1:
                return packed[-1] - 1, np.frombuffer(packed, np.uint64, _size(neighbours))
    words = _evaluate(program, neighbours)
    # Read-only, as a table from disk is: Numba compiles a second kernel for writable arrays.
    words.setflags(write=False)
    numbers = np.arange(words.size, dtype=np.uint64)
    # A neighbour that is background in every configuration of the table.
    absent = (k for k in range(len(neighbours)) if not (words & _pattern(k, numbers)).any())
    border = next(absent, -1)
    with suppress(OSError):
        packed = zlib.compress(words.tobytes() + bytes([border + 1]), 1)
        disk.store("tables", key, base64.b64encode(packed).decode())
    return border, words


def _evaluate(program: Program, neighbours: Sequence[Offset]) -> Words:
    """Return the 64-bit words of a program's truth table; bit k of a configuration is the value of `neighbours[k]`.

    With fewer than six neighbours the configurations repeat within the single word.
    """
    place = {offset: k for k, offset in enumerate(neighbours)}
    found = np.empty(_size(neighbours), np.uint64)
    for first in range(0, found.size, _CHUNK):
        part = found[first : first + _CHUNK]
        numbers = np.arange(first, first + part.size, dtype=np.uint64)
        inputs = [
            _pattern(place[offset], numbers) if any(offset) else np.full(part.size, _ALL)
            for offset in program.inputs
        ]
        part[:] = ~execute(program, inputs, _BITS)
    return found


def _size(neighbours: Sequence[Offset]) -> int:
    return max(1 << len(neighbours) >> 6, 1)


def _pattern(place: int, numbers: Words) -> Words:
    """Return words whose bits are the value of the neighbour at bit `place` in the 64 configurations of each word.

    Args:
        place: The bit of the neighbour in a configuration.
        numbers: The indices of the words in the truth table.
    """
    if place < len(_WITHIN):
        return np.full(numbers.size, _WITHIN[place])
    return np.uint64(0) - (numbers >> np.uint64(place - len(_WITHIN)) & np.uint64(1))
