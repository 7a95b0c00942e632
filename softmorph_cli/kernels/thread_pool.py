"""A pool of threads for parallel loops."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from itertools import pairwise
from typing import Any, Final

# Up to this many voxels a single thread is faster.
_SMALL: Final = 1 << 15


@cache
def _helpers(count: int, process: int) -> ThreadPoolExecutor:
    """Return idle threads; a forked process needs new ones."""
    return ThreadPoolExecutor(count, thread_name_prefix="softmorph")


class Pool:
    """The calling thread and helpers for parallel loops; the calling thread only if there are few voxels."""

    def __init__(self, threads: int, voxels: int) -> None:
        self.threads = threads if voxels > _SMALL else 1

    def share(self, work: Callable[[int, int], Any], total: int) -> list[Any]:
        """Call `work(first, last)` on equal parts of a range and return the results in order."""
        parts = max(min(total, self.threads), 1)
        own, *others = pairwise(total * part // parts for part in range(parts + 1))
        if not others:
            return [work(*own)]
        helpers = _helpers(self.threads - 1, os.getpid())
        rest = [helpers.submit(work, *bounds) for bounds in others]
        try:
            first = work(*own)
        finally:
            # No thread may still be writing when an error or an interrupt propagates.
            wait(rest)
        return [first, *(one.result() for one in rest)]
