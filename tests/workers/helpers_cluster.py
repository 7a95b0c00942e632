"""What workers do in these tests: functions that their processes can import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from softmorph_cli.workers import Cancelled, cancelled, send_progress

LONG = 60.0


def square(number: int) -> int:
    return number * number


def wrong(number: int) -> int:
    raise ValueError(f"{number} is wrong")


def where(number: int) -> tuple[int, str]:
    time.sleep(0.1)  # so that nobody does it all
    return os.getpid(), os.environ["OMP_NUM_THREADS"]


def working_folder(number: int) -> tuple[str, str]:
    return str(Path.cwd()), os.environ["OMP_NUM_THREADS"]


def telling(number: int) -> int:
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        send_progress(("at", number))
        time.sleep(0.02)
    return number


def die_of_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def once_endless(mark: Path) -> str:
    """Whoever comes first leaves the number of its process and does not end by itself."""
    if mark.exists():
        return mark.name
    leave(mark)
    time.sleep(LONG)
    raise AssertionError("nobody ended it")


def until_stopped(mark: Path) -> None:
    leave(mark)
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        if cancelled():
            mark.with_suffix(".stopped").touch()
            raise Cancelled
        time.sleep(0.02)


def leave(mark: Path) -> None:
    """Leave a mark with the number of this process, whole from the first moment."""
    beside = mark.with_suffix(".new")
    beside.write_text(str(os.getpid()))
    beside.rename(mark)
