"""Runs the command line in a process of its own, and says how much memory it took at most."""

from __future__ import annotations

import subprocess
import sys

_MEASURED = """
import sys
from softmorph_cli.cli.app import app
try:
    app(sys.argv[1:])
except SystemExit as ended:
    # Not ru_maxrss, which begins with that of the parent.
    (peak,) = (line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(ended.code, int(peak) >> 10)
"""


def peak(*words: object) -> tuple[int, int, str]:
    """Return the exit status, the most memory in MiB, and what was said on stderr."""
    command = [sys.executable, "-c", _MEASURED, *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    status, megabytes = map(int, ended.stdout.splitlines()[-1].split())
    return status, megabytes, ended.stderr
