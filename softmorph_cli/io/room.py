"""Refusing what cannot fit into memory by what a header says, before a voxel is read or unpacked."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Final

from softmorph_cli import machine
from softmorph_cli.errors import InputError

# What is larger has no end as a float.
_MOST: Final = 1 << 100


def fits(shape: Sequence[int], itemsize: int) -> bool:
    """Whether an array is no larger than the memory that this process may use."""
    allowed = machine.memory()
    return allowed is None or prod(map(int, shape)) * itemsize <= allowed


def check_piece(shape: Sequence[int], itemsize: int, name: str) -> None:
    """Refuse to read what is stored in pieces each of which is larger than memory.

    Raises:
        InputError: If they are.
    """
    if not fits(shape, itemsize):
        raise InputError(
            f"{name} is stored in chunks of {' x '.join(map(str, shape))} values, of which not one fits into the "
            f"{(machine.memory() or 0) / 2**30:.1f} GiB that may be used: write it again in smaller ones."
        )


def check_room(shape: Sequence[int], itemsize: int, path: str | Path, *, first: str = "") -> None:
    """Refuse a map that does not fit, and that the system would otherwise end the process for.

    Args:
        shape: The map's, or that of the part of it that is read.
        itemsize: Bytes of a voxel, in all forms in which the map is held at once.
        path: What it is called.
        first: What to do before a part of it can be read, where its format is read as a whole.

    Raises:
        InputError: If it takes more memory than this process may use.
    """
    if not fits(shape, itemsize):
        needed, allowed = prod(map(int, shape)) * itemsize, machine.memory() or 0
        before = f"{first}, then " if first else ""
        raise InputError(
            f"{path} holds {' x '.join(map(str, shape))} values, which take about {min(needed, _MOST) / 2**30:.1f} "
            f"GiB, and {allowed / 2**30:.1f} GiB may be used: {before}cut out a part with --region "
            "or take one channel with --channel, or filter tile by tile into a .zarr with --memory "
            f"{machine.for_tiles()}."
        )
