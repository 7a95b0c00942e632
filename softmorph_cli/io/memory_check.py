"""Checks that an array fits into memory, by the shape in a file's header, before any voxel is read."""

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

# Sizes are shown up to this one: larger integers overflow a float.
_MOST: Final = 1 << 100
_TAKEN: ContextVar[int] = ContextVar("taken", default=0)


@contextmanager
def beside(size: int) -> Iterator[None]:
    """Count `size` bytes as used by other arrays for the memory checks made inside the `with` block."""
    token = _TAKEN.set(_TAKEN.get() + size)
    try:
        yield
    finally:
        _TAKEN.reset(token)


def free() -> int | None:
    """Return the number of bytes that an array may take, or None if no limit is known."""
    allowed = machine.memory()
    return None if allowed is None else max(0, allowed - _TAKEN.get())


def fits(shape: Sequence[int], itemsize: int) -> bool:
    """Return whether an array of this shape and bytes per element fits into the memory that may still be used."""
    allowed = free()
    return allowed is None or prod(map(int, shape)) * itemsize <= allowed


def check_piece(shape: Sequence[int], itemsize: int, name: str) -> None:
    """Refuse the stored array `name` if one chunk, of shape `shape`, is larger than memory.

    Raises:
        InputError: If a chunk does not fit into memory.
    """
    if not fits(shape, itemsize):
        raise InputError(
            f"{name} is stored in chunks of {' x '.join(map(str, shape))} values, of which not one fits into the "
            f"{(free() or 0) / 2**30:.1f} GiB that may be used: write it again in smaller ones."
        )


def check_room(shape: Sequence[int], itemsize: int, path: str | Path, *, first: str = "") -> None:
    """Refuse a map that does not fit into memory, before the system kills the process.

    Args:
        shape: The shape of the map, or of the part of it that is read.
        itemsize: The bytes per voxel, summed over all copies of the map that are held at once.
        path: The path of the file, for the message.
        first: The step that makes it possible to read a part (such as unpacking), for the message; "" for none.

    Raises:
        InputError: If the map takes more memory than this process may use.
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
