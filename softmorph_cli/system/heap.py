"""The heap of the C library, where it is glibc: memory that is freed is returned to the system."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Final, cast

_M_ARENA_MAX: Final = -8


def trim_heap() -> None:
    """Return freed memory to the system, which glibc would keep for later allocations.

    Arrays of many sizes leave gaps in the heap that the next one may not fit into.
    """
    if (trim := _function("malloc_trim")) is not None:
        trim(0)


def share_one_heap() -> None:
    """Let the threads that this process starts from now on share one heap, where glibc gives each its own.

    What is free in one heap cannot be used by a thread of another. The heaps of the threads that read a Zarr store held
    80 MB of free memory, and more after every tile.
    """
    if (tune := _function("mallopt")) is not None:
        tune(_M_ARENA_MAX, 1)


@cache
def _function(name: str) -> Callable[..., object] | None:
    try:
        return cast("Callable[..., object]", getattr(ctypes.CDLL(None), name))
    except (OSError, AttributeError, TypeError):
        return None
