"""A pool of threads that share loops."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from itertools import pairwise
from typing import Any, Final

# Below this many voxels a second thread costs more than it gives.
_SMALL: Final = 1 << 15


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
