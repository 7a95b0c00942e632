"""Generated source -> module. The text goes to a file of the cache folder, named by its own content.

Numba and Triton keep compiled code beside a real file, so the file has to exist and to stay as it is.
"""

from __future__ import annotations

import hashlib
import importlib.util
from functools import cache
from types import ModuleType

from softmorph_cli import cache as disk


@cache
def load(name: str, text: str) -> ModuleType:
    """Return the module with this source text, imported from the cache folder.

    Args:
        name: What the module is about; becomes part of the file's name.
        text: Python source.
    """
    key = f"{name}_{hashlib.sha256(text.encode()).hexdigest()[:20]}"
    path = disk.store("kernels", f"{key}.py", text)
    spec = importlib.util.spec_from_file_location(f"softmorph_cli.kernels.generated.{key}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot import {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
