"""Peak memory of a workload beyond its input, its result included, measured in a process of its own.

Memory that a process reuses from earlier work would not be counted. So each workload gets a fresh process, which runs
the workload on a small map first, so that compiling and loading libraries are not counted, then resets the peak that
the operating system records and runs the workload on the full map.

This module is run by `of_fresh_process`: python -m softmorph_cli.bench.peak DRAWN SHAPE NAME THREADS
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from softmorph_cli.bench import maps
from softmorph_cli.bench.workloads import Hardware, Work, works
from softmorph_cli.errors import SoftmorphError

SMALL: Final = 24
_STATUS = Path("/proc/self/status")
# Makes glibc return every freed array to the operating system: pages reused from the heap would not be counted.
_ENVIRONMENT: Final = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def of_fresh_process(work: Work, shape: tuple[int, ...], *, threads: int) -> int | None:
    """Return the peak memory of a workload on the CPU in bytes, beyond its input; None without Linux's /proc.

    Raises:
        SoftmorphError: If the workload raises an error, or the process of the workload is killed for memory.
    """
    if not _STATUS.exists():
        return None
    words = [work.drawn, "x".join(map(str, shape)), work.name, str(threads)]
    ended = subprocess.run(
        [sys.executable, "-m", "softmorph_cli.bench.peak", *words],
        env={**os.environ, **_ENVIRONMENT},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        lines = ended.stderr.strip().splitlines() or [f"its process ended with status {ended.returncode}"]
        raise SoftmorphError(f"the memory of {work.name} could not be measured: {lines[-1]}")
    return int(ended.stdout)


def held(run: Callable[[], object]) -> int:
    """Return the peak growth of this process's memory in bytes during a call, as the operating system records it.

    Linux counts pages in batches for each thread, so that the result is off by some hundred kB. If the recorded peak
    cannot be reset the result may be too large.
    """
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    before = _status_bytes("VmRSS")
    run()
    return max(0, _status_bytes("VmHWM") - before)


def on_cuda(run: Callable[[], object], device: str) -> int:
    """Return the peak growth in bytes of torch's allocations on a GPU during a call."""
    import torch

    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    torch.cuda.synchronize(device)
    return int(torch.cuda.max_memory_allocated(device) - before)


def _status_bytes(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise SoftmorphError(f"{_STATUS} holds no {name}.")
    return 1024 * int(found[1])


def _main(drawn: str, extents: str, name: str, threads: str) -> None:
    shape = tuple(map(int, extents.split("x")))
    hardware = Hardware("cpu", int(threads))
    work = next(work for work in works(len(shape)) if work.name == name)

    def task(extent: tuple[int, ...]) -> Any:
        return work.task(maps.DRAWN[drawn](extent), hardware)

    task((SMALL,) * len(shape))()
    sys.stdout.write(f"{held(task(shape))}\n")


if __name__ == "__main__":
    try:
        _main(*sys.argv[1:])
    except SoftmorphError as refusal:
        sys.exit(str(refusal))
