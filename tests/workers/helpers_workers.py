"""Functions for executors to apply; worker processes import them."""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path

from softmorph_cli.workers import raise_if_cancelled, send_progress

LONG = 60.0


def square(number: int) -> int:
    return number * number


def wrong(number: int) -> int:
    raise ValueError(f"{number} is wrong")


def slow(number: int) -> int:
    """Send the number every 20 ms for more than a second."""
    end = time.monotonic() + 1.2
    while time.monotonic() < end:
        send_progress(("at", number))
        time.sleep(0.02)
    return number


def until_cancelled(mark: Path) -> None:
    """Create a file, run until the item is cancelled, then create a second file."""
    mark.touch()
    try:
        end = time.monotonic() + LONG
        while time.monotonic() < end:
            raise_if_cancelled()
            time.sleep(0.02)
    finally:
        mark.with_suffix(".ended").touch()


def exit_at_three(number: int) -> int:
    if number == 3:
        os._exit(7)
    return number


def killed_at_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def logged(number: int) -> int:
    return logging.getLogger("softmorph_cli").getEffectiveLevel()


def threads(number: int) -> str:
    return os.environ["OMP_NUM_THREADS"]


def process_and_threads(number: int) -> tuple[int, str]:
    time.sleep(0.1)  # so that one worker does not do all items
    return os.getpid(), os.environ["OMP_NUM_THREADS"]


def folder_and_threads(number: int) -> tuple[str, str]:
    return str(Path.cwd()), os.environ["OMP_NUM_THREADS"]


def endless_once(mark: Path) -> str:
    """If no file of this name exists, write this process's number into it and do not return; else return its name."""
    if mark.exists():
        return mark.name
    beside = mark.with_suffix(".new")
    beside.write_text(str(os.getpid()))
    beside.rename(mark)  # the file is complete as soon as it exists
    time.sleep(LONG)
    raise AssertionError("the process was not killed")
