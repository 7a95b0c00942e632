"""Limits on threads and memory of this process (CPU affinity, control groups, SLURM), and settings of the C heap."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final, cast

_CGROUP = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


def threads() -> int:
    """Return the default number of threads: the smallest of the limits by CPU affinity, control groups and variables.

    The variables are SLURM_CPUS_PER_TASK and OMP_NUM_THREADS; the result is at least 1.
    """
    limits = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    for text in _in_force("cpu.max"):
        with suppress(ValueError, ZeroDivisionError):
            quota, period = text.split()
            limits.append(max(1, int(quota) // int(period)))
    for quota, period in zip(
        _in_force("cpu.cfs_quota_us", "cpu"), _in_force("cpu.cfs_period_us", "cpu"), strict=False
    ):
        with suppress(ValueError, ZeroDivisionError):
            if int(quota) > 0:  # -1 where there is none
                limits.append(max(1, int(quota) // int(period)))
    for variable in ("SLURM_CPUS_PER_TASK", "OMP_NUM_THREADS"):
        with suppress(ValueError):
            limits.append(int(os.environ.get(variable, "")))
    return max(1, min(limits))


def memory() -> int | None:
    """Return how many bytes of memory this process may use, or None where no limit can be read."""
    limits: list[int] = []
    # Version 1 states a number larger than any memory where there is no limit.
    for text in (*_in_force("memory.max"), *_in_force("memory.limit_in_bytes", "memory")):
        with suppress(ValueError):
            limits.append(int(text))
    with suppress(ValueError):
        limits.append(int(os.environ.get("SLURM_MEM_PER_NODE", "")) << 20)
    if sys.platform != "win32":  # which has no sysconf
        with suppress(OSError, ValueError):
            limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    # SLURM states 0 where a job may use all memory of a node.
    return min((limit for limit in limits if limit > 0), default=None)


def for_tiles() -> str:
    """Return the value to suggest for the option `--memory`: three quarters of the usable memory, at most 4GB."""
    size = min(4 * 10**9, (memory() or 6 * 10**9) * 3 // 4)
    return f"{size // 10**9}GB" if size >= 10**9 else f"{size // 10**6}MB"


def _in_force(name: str, controller: str = "") -> list[str]:
    """Return the values of a setting of control groups, from the group of this process up to the root group.

    Args:
        name: The file name of the setting; a value of "max" means no limit.
        controller: The controller of the setting in version 1 of control groups, where each controller has a
            hierarchy of groups; "" for version 2.
    """
    own = None if controller else "/"
    with suppress(OSError, ValueError):
        for line in _OWN_CGROUP.read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if controller in controllers.split(","):
                own = group
    if own is None:
        return []
    # A hierarchy is mounted under the names of all its controllers, usually with a link for each.
    top = _CGROUP / controller
    folder = top / own.lstrip("/")
    if controller and not folder.is_dir():
        folder = top  # in a container its own group is the root, but has its outer name in /proc
    texts = []
    for group_folder in (folder, *folder.parents):
        with suppress(OSError):
            texts.append((group_folder / name).read_text())
        if group_folder == top:
            break
    return texts


_M_ARENA_MAX: Final = -8


def trim_heap() -> None:
    """Return freed memory from the heap of glibc to the operating system.

    Arrays of many sizes leave gaps in the heap that the next array may not fit into.
    """
    if (trim := _function("malloc_trim")) is not None:
        trim(0)


def share_one_heap() -> None:
    """Let all threads that this process starts from now on share one heap; by default glibc gives each thread a heap.

    Memory that is free in one heap cannot be used by a thread with another heap. The heaps of the threads that read a
    Zarr store held 80 MB of free memory, and more after every tile.
    """
    if (tune := _function("mallopt")) is not None:
        tune(_M_ARENA_MAX, 1)


@cache
def _function(name: str) -> Callable[..., object] | None:
    try:
        return cast("Callable[..., object]", getattr(ctypes.CDLL(None), name))
    except (OSError, AttributeError, TypeError):
        return None
