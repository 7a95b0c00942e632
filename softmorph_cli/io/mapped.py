"""Memory-mapped arrays, read so that a file truncated in the meantime raises an error instead of SIGBUS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from softmorph_cli.errors import FileError
from softmorph_cli.io.raw import Array


def held(array: Any, wanted: np.dtype[Any]) -> Array:
    """Return an array in memory: a memory-mapped one is read from its file, any other is returned unchanged.

    A process that accesses a mapped page beyond the end of its file gets SIGBUS. Parts of a file stay mapped, and so do
    floats wider than `wanted`, of which both copies in memory would take three times the size of the map.

    Args:
        array: Mapped or not.
        wanted: The type that its values are converted to next.

    Raises:
        FileError: If the file is shorter than it was.
    """
    if not isinstance(array, np.memmap) or array.filename is None:
        return np.asarray(array)
    check_whole(array)
    root = _root(array)
    is_part = array.size != root.size or array.ctypes.data != root.ctypes.data
    if is_part or (array.dtype.kind == "f" and array.dtype.itemsize > wanted.itemsize):
        return np.asarray(array)
    read = np.fromfile(array.filename, root.dtype, root.size, offset=root.offset)
    if read.size < root.size:
        raise _truncated(array)
    return np.lib.stride_tricks.as_strided(read.view(array.dtype), array.shape, array.strides)


def check_whole(array: Any) -> None:
    """Refuse to read from a mapped file that has become shorter.

    Raises:
        FileError: If the file is shorter than when it was mapped.
    """
    if isinstance(array, np.memmap) and array.filename is not None:
        root = _root(array)
        if Path(array.filename).stat().st_size < root.offset + root.nbytes:
            raise _truncated(array)


def _root(array: np.memmap[Any, Any]) -> np.memmap[Any, Any]:
    root = array
    while isinstance(root.base, np.memmap):
        root = root.base
    return root


def _truncated(array: np.memmap[Any, Any]) -> FileError:
    return FileError(f"{array.filename} was cut short while it was read; write or copy it again.")
