"""What this process may use of the machine: threads and memory, as affinity, cgroup and SLURM allow."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


def threads() -> int:
    """Return the number of threads to use by default: the smallest of all the limits in force, at least 1."""
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
    """Return the bytes this process may use, or None where no limit can be read."""
    limits: list[int] = []
    # Of version 1, where there is no limit the number is larger than any memory.
    for text in (*_in_force("memory.max"), *_in_force("memory.limit_in_bytes", "memory")):
        with suppress(ValueError):
            limits.append(int(text))
    with suppress(ValueError):
        limits.append(int(os.environ.get("SLURM_MEM_PER_NODE", "")) << 20)
    if sys.platform != "win32":  # which has no sysconf
        with suppress(OSError, ValueError):
            limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    # SLURM says 0 where a job may use all of a node.
    return min((limit for limit in limits if limit > 0), default=None)


def for_tiles() -> str:
    """Return what to give `--memory` on this machine: three quarters of `memory`, at most 4GB."""
    size = min(4 * 10**9, (memory() or 6 * 10**9) * 3 // 4)
    return f"{size // 10**9}GB" if size >= 10**9 else f"{size // 10**6}MB"


def _in_force(name: str, controller: str = "") -> list[str]:
    """Return a control group's setting for this process, from its own group up to the root ("max": none).

    Args:
        name: The setting.
        controller: Whose it is in version 1, where each has groups of its own; "" for version 2.
    """
    own = None if controller else "/"
    with suppress(OSError, ValueError):
        for line in _OWN_CGROUP.read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if controller in controllers.split(","):
                own = group
    if own is None:
        return []
    # Mounted by the names of all that share one, and usually linked by each of them.
    top = _CGROUP / controller
    folder = top / own.lstrip("/")
    if controller and not folder.is_dir():
        folder = top  # a container sees its own group as the root, under the name that it has outside
    texts = []
    for group_folder in (folder, *folder.parents):
        with suppress(OSError):
            texts.append((group_folder / name).read_text())
        if group_folder == top:
            break
    return texts
