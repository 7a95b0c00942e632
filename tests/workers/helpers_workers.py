"""Functions for executors: importable by the processes that apply them."""

from __future__ import annotations

import os
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


def endless(mark: Path) -> None:
    """Leave a mark, and end when the item is cancelled, which leaves another."""
    mark.touch()
    try:
        end = time.monotonic() + LONG
        while time.monotonic() < end:
            raise_if_cancelled()
            time.sleep(0.02)
    finally:
        mark.with_suffix(".ended").touch()


def die_of_three(number: int) -> int:
    if number == 3:
        os._exit(7)
    return number


def threads(number: int) -> str:
    return os.environ["OMP_NUM_THREADS"]
