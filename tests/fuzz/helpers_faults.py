"""Faults that are planted in a case, for the tests of what finds them."""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from helpers_seeds import Files, Seed
from helpers_targets import Outcome, check

from softmorph_cli import io
from softmorph_cli.errors import FileError

AT: Final = 2


def _traceback() -> None:
    raise ZeroDivisionError("planted")


def _signal() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _hang() -> None:
    time.sleep(1000)


def _deaf() -> None:
    """A hang in code that lets no alarm through."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    time.sleep(1000)


def _memory() -> None:
    bytearray(3 << 29)


def _swallowed() -> None:
    """Memory that a library asked for, and that is told as if the file were at fault."""
    try:
        bytearray(3 << 29)
    except MemoryError as error:
        raise FileError("a valid file that softmorph cannot read") from error


def _warning() -> None:
    warnings.warn("planted", RuntimeWarning, stacklevel=1)


def _printed() -> None:
    os.write(2, b"planted\n")


def _planting(act: Callable[[], None]) -> Any:
    def read(path: Path, **options: Any) -> Any:
        act()
        return io.read(path, **options)

    return read


def _cropped(path: Path, **options: Any) -> Any:
    """A map whose last row is lost on the way."""
    volume = io.read(path, **options)
    array = np.ascontiguousarray(volume.array[..., :-1, :])
    return replace(volume, array=array, source=replace(volume.source, shape=array.shape), notes=())


def _planted(read: Any) -> Any:
    def checked(seed: Seed, files: Files, folder: Path, number: int) -> Outcome:
        if number != AT:
            return check(seed, files, folder, number)
        return check(seed, dict(seed.files), folder, number, read)

    return checked


PLANTED: Final = {
    "traceback": _planted(_planting(_traceback)),
    "signal": _planted(_planting(_signal)),
    "hang": _planted(_planting(_hang)),
    "deaf": _planted(_planting(_deaf)),
    "memory": _planted(_planting(_memory)),
    "swallowed": _planted(_planting(_swallowed)),
    "warning": _planted(_planting(_warning)),
    "printed": _planted(_planting(_printed)),
    "shape": _planted(_cropped),
}
