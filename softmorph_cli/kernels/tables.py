"""A deleting rule as a table: may a voxel with this neighbourhood be deleted?

Where only a few voxels are looked at, one look-up beats a thousand operations. A 3 x 3 x 3 neighbourhood has
2^26 configurations of 26 neighbours: 8 MB of bits, computed from the rule's program and kept on disk, compressed.
"""

from __future__ import annotations

import base64
import zlib
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from softmorph_cli.compiler import Step
from softmorph_cli.compiler.deletions import Words, deletions, pattern, words
from softmorph_cli.compiler.program import Program
from softmorph_cli.rules.neighborhood import Offset
from softmorph_cli.system import cache as disk


@dataclass(frozen=True)
class DeletionTable:
    """The configurations of a neighbourhood in which a voxel is deleted.

    Attributes:
        neighbours: Indices of the step's inputs, without the voxel itself; bit j of a configuration belongs to
            the jth of them.
        bits: Bit b of byte w is configuration 8 w + b.
        border: A position in `neighbours` that is background wherever a voxel is deleted; -1 if there is none.
    """

    neighbours: tuple[int, ...]
    bits: npt.NDArray[np.uint8]
    border: int


def table_of(step: Step) -> DeletionTable:
    """Return the table of a step that deletes.

    Args:
        step: A sub-iteration of a rule that only deletes.
    """
    neighbours = tuple(k for k in range(len(step.offsets)) if k != step.centre)
    border, bits = _bits(step.program, step.centre)
    return DeletionTable(neighbours, bits, border)


@cache
def _bits(program: Program, centre: int | None) -> tuple[int, npt.NDArray[np.uint8]]:
    key, neighbours = f"{program.fingerprint}_{centre}", _neighbours(program, centre)
    known = disk.load("tables", key)
    if known is not None:
        with suppress(ValueError, zlib.error):
            # The last byte is the border's position and one more; zlib tells whether any of them is damaged.
            packed = zlib.decompress(base64.b64decode(known))
            size = 8 * words(len(neighbours))
            if len(packed) == size + 1:
                return packed[size] - 1, np.frombuffer(packed, np.uint8, size)
    table = deletions(program, neighbours)
    # Read-only, like tables read from disk: Numba gives writable arrays another type and would compile a second kernel.
    table.setflags(write=False)
    bits, border = table.view(np.uint8), _border(table, len(neighbours))
    with suppress(OSError):
        packed = zlib.compress(bits.tobytes() + bytes([border + 1]), 1)
        disk.store("tables", key, base64.b64encode(packed).decode())
    return border, bits


def _neighbours(program: Program, centre: int | None) -> list[Offset]:
    return [offset for k, offset in enumerate(program.inputs) if k != centre]


def _border(bits: Words, count: int) -> int:
    numbers = np.arange(bits.size, dtype=np.uint64)
    for place in range(count):
        if not (bits & pattern(place, numbers)).any():
            return place
    return -1
