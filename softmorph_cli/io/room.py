"""Refusing what cannot fit into memory by what a header says, before a voxel is read or unpacked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from math import prod
from pathlib import Path
from typing import Final

from softmorph_cli.errors import InputError
from softmorph_cli.system import machine
from softmorph_cli.system.parameters import named

# Larger numbers overflow a float.
_MOST: Final = 1 << 100
_TAKEN: ContextVar[int] = ContextVar("taken", default=0)


@contextmanager
def beside(size: int) -> Iterator[None]:
    """Count so many bytes as taken for as long as this is entered: other arrays are in memory at the same time."""
    token = _TAKEN.set(_TAKEN.get() + size)
    try:
        yield
    finally:
        _TAKEN.reset(token)


def free() -> int | None:
    """Return how many bytes an array may have, or None where no limit is known."""
    allowed = machine.memory()
    return None if allowed is None else max(0, allowed - _TAKEN.get())


def fits(shape: Sequence[int], itemsize: int) -> bool:
    """Whether an array is no larger than the memory that this process may use for it."""
    allowed = free()
    return allowed is None or prod(map(int, shape)) * itemsize <= allowed


def check_piece(shape: Sequence[int], itemsize: int, name: str) -> None:
    """Refuse to read what is stored in pieces each of which is larger than memory.

    Raises:
        InputError: If they are.
    """
    if not fits(shape, itemsize):
        raise InputError(
            f"{name} is stored in chunks of {' x '.join(map(str, shape))} values, of which not one fits into the "
            f"{(free() or 0) / 2**30:.1f} GiB that may be used: write it again in smaller ones."
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
        needed, allowed = prod(map(int, shape)) * itemsize, free() or 0
        before = f"{first}, then " if first else ""
        raise InputError(
            f"{path} holds {' x '.join(map(str, shape))} values, which take about {min(needed, _MOST) / 2**30:.1f} "
            f"GiB, and {allowed / 2**30:.1f} GiB may be used: {before}cut out a part with {named('region')} "
            f"or take one channel with {named('channel')}, or filter tile by tile into a .zarr with --memory "
            f"{machine.for_tiles()}."
        )
