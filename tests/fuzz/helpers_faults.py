"""Faults that are planted in intact cases, for the test of what finds them."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from helpers_seeds import Files, Seed
from helpers_targets import Outcome, check

from softmorph_cli import volume
from softmorph_cli.errors import FileError
from softmorph_cli.io import reading
from softmorph_cli.io.damage import not_read

_MUCH: Final = 3 << 29


def _traceback() -> None:
    raise ZeroDivisionError("planted")


def _mistake() -> None:
    """A mistake of softmorph's own code, told as if the file were at fault."""
    try:
        volume.places(None)  # type: ignore[arg-type]
    except AttributeError as error:
        raise not_read(Path("in"), "NIfTI", error) from error


def _signal() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _hang() -> None:
    time.sleep(1000)


def _deaf() -> None:
    """A hang in code that lets no alarm through."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    time.sleep(1000)


def _memory() -> None:
    bytearray(_MUCH)


def _swallowed() -> None:
    """Memory that a library asks for, told as if the file were at fault."""
    try:
        bytearray(_MUCH)
    except MemoryError as error:
        raise FileError("planted") from error


def _warning() -> None:
    warnings.warn("planted", RuntimeWarning, stacklevel=1)


def _printed() -> None:
    os.write(2, b"planted\n")


def _acting(act: Callable[[], None]) -> Callable[..., Any]:
    def read(path: Path, **options: Any) -> Any:
        act()
        return reading.read(path, **options)

    return read


def _cropped(path: Path, **options: Any) -> Any:
    """A map whose last row is lost on the way."""
    read = reading.read(path, **options)
    array = np.ascontiguousarray(read.array[..., :-1, :])
    assert read.source is not None
    return replace(read, array=array, source=replace(read.source, shape=array.shape))


def _changed(path: Path, **options: Any) -> Any:
    """A map with another value in one voxel."""
    read = reading.read(path, **options)
    array = read.array.copy()
    array.flat[0] = 1 - array.flat[0]
    return replace(read, array=array)


# What is to be found, in the order of cases from 1; the parts are read of those of even number.
PLANTED: Final[tuple[tuple[str, Callable[..., Any]], ...]] = (
    ("traceback", _acting(_traceback)),
    ("differs", _changed),
    ("signal", _acting(_signal)),
    ("hang", _acting(_hang)),
    ("hang", _acting(_deaf)),
    ("memory", _acting(_memory)),
    ("memory", _acting(_swallowed)),
    ("warning", _acting(_warning)),
    ("printed", _acting(_printed)),
    ("mistake", _acting(_mistake)),
    ("shape", _cropped),
)


def planted(seed: Seed, files: Files, folder: Path, number: int) -> Outcome:
    """As `check`, of the intact files, with a fault in each case that one is planted in."""
    read = PLANTED[number - 1][1] if 1 <= number <= len(PLANTED) else reading.read
    return check(seed, dict(seed.files), folder, number, read)
