"""Threads and memory that go from one filter to the next."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from itertools import pairwise
from typing import Any, Final

import numpy as np

from softmorph_cli.kernels.grid import Array

# Below this many voxels a second thread costs more than it gives.
_SMALL: Final = 1 << 15

# Buffers that are kept for the next filter: so many, of so many bytes at most.
_KEPT: Final = 2
_KEPT_BYTES: Final = 1 << 26


@cache
def _helpers(count: int, process: int) -> ThreadPoolExecutor:
    """Return threads that wait for work; those of a parent process do not live on in a forked one."""
    return ThreadPoolExecutor(count, thread_name_prefix="softmorph")


class Pool:
    """The calling thread and its helpers, sharing loops; the caller alone where work is small.

    Args:
        threads: How many.
        voxels: How much work there is.
    """

    def __init__(self, threads: int, voxels: int) -> None:
        """Decide how many threads the work is worth."""
        self.threads = threads if voxels > _SMALL else 1

    def share(self, work: Callable[[int, int], Any], total: int) -> list[Any]:
        """Call `work(first, last)` on equal parts of a range; return what the calls return, in order."""
        parts = max(min(total, self.threads), 1)
        own, *others = pairwise(total * part // parts for part in range(parts + 1))
        if not others:
            return [work(*own)]
        helpers = _helpers(self.threads - 1, os.getpid())
        rest = [helpers.submit(work, *bounds) for bounds in others]
        try:
            first = work(*own)
        finally:
            # Nobody may still be writing when an error or an interrupt leaves here.
            wait(rest)
        return [first, *(one.result() for one in rest)]


class Scratch:
    """Buffers for one filter after the other. New memory has to be cleared by the system first.

    A list's `append` and `pop` are atomic, so threads need no lock.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._spare: list[Array] = []

    def take(self, length: int, dtype: np.dtype[Any]) -> Array:
        """Return a buffer with anything in it."""
        try:
            spare = self._spare.pop()
        except IndexError:
            return np.empty(length, dtype)
        fits = spare.size == length and spare.dtype == dtype
        return spare if fits else np.empty(length, dtype)

    def keeps(self, buffer: Array) -> bool:
        """Say whether a buffer of this size would be kept."""
        return buffer.nbytes <= _KEPT_BYTES

    def give(self, buffer: Array) -> None:
        """Keep a buffer that nobody looks at any more, or let go of it."""
        if self.keeps(buffer) and len(self._spare) < _KEPT:
            self._spare.append(buffer)


SCRATCH: Final = Scratch()
