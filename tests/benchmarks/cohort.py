"""Compares `softmorph inspect FOLDER` with a loop of single calls, and prints its memory: the figures of README.md.

Run: `python tests/benchmarks/cohort.py [MAPS]`
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from softmorph_cli.io.writing import write
from softmorph_cli.volume import Volume

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from helpers_maps import vessels  # noqa: E402

SIDE = 96
TABLES = ("--csv", "branches.csv", "--summary", "cases.csv", "--components", "components.csv", "--force")


class Cost(NamedTuple):
    """Wall-clock time and processor time in seconds, and the peak of memory in MB."""

    wall: float
    processor: float
    peak: float


def cost(*arguments: object) -> Cost:
    """Run a command of softmorph in a process of its own, and return what it cost."""
    started = time.perf_counter()
    words = [sys.executable, "-m", "softmorph_cli", *map(str, arguments)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} ended with status {process.returncode}")
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name, many in (("few", max(1, count // 5)), ("all", count)):
            Path(name).mkdir()
            for k in range(many):
                write(
                    Volume(vessels((SIDE,) * 3, k), "ZYX", (0.5, 0.5, 0.5), "mm"),
                    f"{name}/case_{k:03d}.nii.gz",
                )
        cost("inspect", "few/case_000.nii.gz", *TABLES)  # compiles what is compiled once
        few, all_ = cost("inspect", "few", *TABLES), cost("inspect", "all", *TABLES)
        singles = [cost("inspect", path, *TABLES) for path in sorted(Path("all").iterdir())]
        loop = Cost(
            sum(one.wall for one in singles),
            sum(one.processor for one in singles),
            max(one.peak for one in singles),
        )
        os.chdir("/")
    lines = [
        f"{count} maps of {SIDE}^3:",
        *(
            f"  {name}: {one.wall:.1f} s, processor {one.processor:.1f} s, peak {one.peak:.0f} MB"
            for name, one in (("inspect FOLDER", all_), ("loop of single calls", loop))
        ),
        f"  {loop.wall / all_.wall:.1f} x faster, {loop.processor / all_.processor:.1f} x less processor time",
        f"  peak of {max(1, count // 5)} maps {few.peak:.0f} MB, of {count} {all_.peak:.0f} MB",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
