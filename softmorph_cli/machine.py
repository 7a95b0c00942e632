"""What this process may use of the machine: threads and memory, as affinity, cgroup and SLURM allow."""

from __future__ import annotations

import os
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
    for variable in ("SLURM_CPUS_PER_TASK", "OMP_NUM_THREADS"):
        with suppress(ValueError):
            limits.append(int(os.environ.get(variable, "")))
    return max(1, min(limits))


def memory() -> int | None:
    """Return the bytes this process may use, or None where no limit can be read."""
    limits: list[int] = []
    for text in _in_force("memory.max"):
        with suppress(ValueError):
            limits.append(int(text))
    with suppress(ValueError):
        limits.append(int(os.environ.get("SLURM_MEM_PER_NODE", "")) << 20)
    with suppress(OSError, ValueError, AttributeError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    # SLURM says 0 where a job may use all of a node.
    return min((limit for limit in limits if limit > 0), default=None)


def _in_force(name: str) -> list[str]:
    """Return a control group's setting for this process, from its own group up to the root ("max": none)."""
    own = "/"
    with suppress(OSError, StopIteration):
        own = next(line for line in _OWN_CGROUP.read_text().splitlines() if line.startswith("0::"))[3:]
    folder = _CGROUP / own.lstrip("/")
    texts = []
    for group in (folder, *folder.parents):
        with suppress(OSError):
            texts.append((group / name).read_text())
        if group == _CGROUP:
            break
    return texts
