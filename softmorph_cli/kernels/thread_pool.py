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
    """Return an executor with idle threads, which is cached per process id: a forked process needs new threads."""
    return ThreadPoolExecutor(count, thread_name_prefix="softmorph")


class Pool:
    """The threads of parallel loops: the calling thread and helper threads; no helpers if there are few voxels.

    Args:
        threads: The number of threads, including the calling thread.
        voxels: The number of voxels of the image that the loops process.
    """

    def __init__(self, threads: int, voxels: int) -> None:
        self.threads = threads if voxels > _SMALL else 1

    def share(self, work: Callable[[int, int], Any], total: int) -> list[Any]:
        """Call `work(first, last)` on equal parts of range(total), one per thread; return the results in order."""
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
