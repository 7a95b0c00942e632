"""Generated source -> module. The text goes to a file of the cache folder, named by its own content.

Numba and Triton keep compiled code beside a real file, so the file has to exist and to stay as it is.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Timer
from types import ModuleType
from typing import Final

from softmorph_cli import cache as disk

_LOG: Final = logging.getLogger("softmorph_cli")

# Seconds after which a person would like to know what takes so long.
_PATIENCE: Final = 5.0


@cache
def load(name: str, text: str) -> ModuleType:
    """Return the module with this source text, imported from the cache folder.

    Args:
        name: What the module is about; becomes part of the file's name.
        text: Python source.
    """
    note = Timer(_PATIENCE, _LOG.warning, ("compiling %s: this is done once, and kept", name))
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
            path = disk.store("kernels", f"{key}.py", text)
            return _import(module, path)
        except Exception:
            # Compiled code that a crash left damaged, or that another version wrote: make it anew, once.
            _forget(key)
    # The folder cannot be used (a full disk, say): compile for this process alone.
    loose = ModuleType(module)
    sys.modules[module] = loose
    exec(compile(text.replace("cache=True", "cache=False"), module, "exec"), loose.__dict__)
    return loose


def _forget(key: str) -> None:
    with suppress(OSError):
        for compiled in (disk.root() / "kernels" / "__pycache__").glob(f"{key}.*"):
            compiled.unlink(missing_ok=True)


def _import(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot import {path}")
    module = importlib.util.module_from_spec(spec)
    # Numba finds a function's globals again by the name of its module.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
