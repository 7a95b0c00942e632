"""Imports generated source code from files in the cache folder, named by a hash of their content.

Numba and Triton store compiled code next to a source file, which has to exist and must not change.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import Timer
from types import ModuleType
from typing import Final

from softmorph_cli.system import cache as disk
from softmorph_cli.system import descriptors

_LOG: Final = logging.getLogger("softmorph_cli")

_KIND: Final = "kernels"
# Seconds to wait for another process that compiles the same kernel; then both compile it.
_LOCK_TIMEOUT: Final = 120.0
# Seconds after which a long compilation is reported.
_NOTE_AFTER: Final = 5.0


@cache
def load(name: str, text: str) -> ModuleType:
    """Return the module with the source `text`, imported from a file in the cache folder; `name` begins its name."""
    note = Timer(_NOTE_AFTER, _LOG.warning, ("compiling %s: this is done once, and kept", name))
    note.daemon = True
    note.start()
    try:
        return _load(name, text)
    finally:
        note.cancel()


def _load(name: str, text: str) -> ModuleType:
    key = f"{name}_{hashlib.sha256(text.encode()).hexdigest()[:20]}"
    module = f"softmorph_cli.kernels.generated.{key}"
    for _ in range(2):
        try:
            path = disk.store(_KIND, f"{key}.py", text)
            with _alone(path):
                return _checked(key, module, path)
        except Exception:
            # For example code compiled by another version: compile again, once.
            _forget(key)
    # The folder cannot be used, for example on a full disk: compile for this process only.
    loose = ModuleType(module)
    sys.modules[module] = loose
    exec(compile(text.replace("cache=True", "cache=False"), module, "exec"), loose.__dict__)
    return loose


def _checked(key: str, module: str, path: Path) -> ModuleType:
    """Return the module of a kernel, imported after compiled code with a wrong checksum has been deleted.

    Damaged machine code would crash this process and every later process.
    """
    found = _sums(key)
    if found and disk.load(_KIND, f"{key}.sums") != found:
        _forget(key)
    imported = _import(module, path)
    disk.store(_KIND, f"{key}.sums", _sums(key))
    return imported


def _sums(key: str) -> str:
    """Return the checksum and the name of each compiled file of a kernel as text, one file per line."""
    files = sorted((disk.root() / _KIND / "__pycache__").glob(f"{key}.*"))
    return "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()} {file.name}\n" for file in files)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Lock out other processes that compile the same kernel, for a limited time, if the file system has locks."""
    try:
        # A separate file: on Windows a locked file cannot be read, and the kernel has to be.
        descriptor = os.open(path.with_suffix(".lock"), os.O_RDONLY | os.O_CREAT, 0o600)
    except OSError:  # a read-only folder that is complete
        yield
        return
    try:
        end = time.monotonic() + _LOCK_TIMEOUT
        while descriptors.lock(descriptor) is False and time.monotonic() < end:
            time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


def _forget(key: str) -> None:
    with suppress(OSError):
        for compiled in (disk.root() / _KIND / "__pycache__").glob(f"{key}.*"):
            compiled.unlink(missing_ok=True)


def _import(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot import {path}")
    module = importlib.util.module_from_spec(spec)
    # Numba finds a function's globals by the name of its module.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
