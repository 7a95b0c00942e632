"""The most memory a work holds beyond its input, its result included: measured in a process of its own.

A process that has done anything before keeps memory it could reuse, and what it reuses is not seen. So each
work gets a fresh one, which runs it on a small map first (compiling and loading libraries are not counted),
then sets the kernel's mark of the peak back and runs it on the map.

Run by `of_fresh_process`: python -m softmorph_cli.bench.peak DRAWN SHAPE NAME THREADS
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
# glibc then hands every array back to the system when it is freed, and takes the next from there: a page that
# is reused from a heap would count for nothing.
_ENVIRONMENT: Final = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def of_fresh_process(work: Work, shape: tuple[int, ...], *, threads: int) -> int | None:
    """Return the bytes a work holds at most on the CPU beyond its input; its result counts.

    Returns:
        None where the system does not tell (it needs Linux's /proc).

    Raises:
        SoftmorphError: If the work refuses to run, or its process is killed for memory.
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
        told = ended.stderr.strip().splitlines() or [f"its process ended with status {ended.returncode}"]
        raise SoftmorphError(f"the memory of {work.name} could not be measured: {told[-1]}")
    return int(ended.stdout)


def held(run: Callable[[], object]) -> int:
    """Return the bytes by which this process grew at most while something ran, from the kernel's marks.

    The kernel counts pages in batches for each thread, so that the marks are off by some hundred kB. Where the mark
    cannot be set back the answer may be too large.
    """
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    before = _mark("VmRSS")
    run()
    return max(0, _mark("VmHWM") - before)


def on_cuda(run: Callable[[], object], device: str) -> int:
    """Return the bytes by which torch's allocations on a GPU grew at most while something ran."""
    import torch

    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    run()
    torch.cuda.synchronize(device)
    return int(torch.cuda.max_memory_allocated(device) - before)


def _mark(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise SoftmorphError(f"{_STATUS} holds no {name}.")
    return 1024 * int(found[1])


def _main(drawn: str, extents: str, name: str, threads: str) -> None:
    shape = tuple(map(int, extents.split("x")))
    how = Hardware("cpu", int(threads))
    work = next(work for work in works(len(shape)) if work.name == name)

    def task(extent: tuple[int, ...]) -> Any:
        return work.task(maps.DRAWN[drawn](extent), how)

    task((SMALL,) * len(shape))()
    sys.stdout.write(f"{held(task(shape))}\n")


if __name__ == "__main__":
    try:
        _main(*sys.argv[1:])
    except SoftmorphError as refusal:
        sys.exit(str(refusal))
