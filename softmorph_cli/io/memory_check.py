"""Memory checks by a file's header, before any voxel is read or decompressed."""

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
    """Count this many bytes as used meanwhile: other arrays are in memory at the same time."""
    token = _TAKEN.set(_TAKEN.get() + size)
    try:
        yield
    finally:
        _TAKEN.reset(token)


def free() -> int | None:
    """Return the most bytes that an array may take, or None where no limit is known."""
    allowed = machine.memory()
    return None if allowed is None else max(0, allowed - _TAKEN.get())


def fits(shape: Sequence[int], itemsize: int) -> bool:
    """Whether an array fits into the memory that this process may still use."""
    allowed = free()
    return allowed is None or prod(map(int, shape)) * itemsize <= allowed


def check_piece(shape: Sequence[int], itemsize: int, name: str) -> None:
    """Refuse an array whose chunks are larger than memory.

    Raises:
        InputError: If they are.
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
        itemsize: Bytes per voxel, over all copies of the map that are held at once.
        path: The file.
        first: What to do before a part can be read, where the format is read as a whole.

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
