"""Reading of memory-mapped arrays such that a file that was truncated raises an error instead of SIGBUS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from softmorph_cli.errors import FileError
from softmorph_cli.io.raw import Array


def held(array: Any, wanted: np.dtype[Any]) -> Array:
    """Return an array in memory: a memory-mapped array is read from the file, any other array is returned unchanged.

    A process that accesses a mapped page beyond the end of the file gets SIGBUS. A part of a mapped array stays mapped,
    and so do floats wider than `wanted`, since two copies in memory would take three times the size of the map.

    Args:
        array: An array, memory-mapped or not.
        wanted: The element type that the caller converts the values to afterwards.

    Raises:
        FileError: If the file is shorter than when it was mapped.
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
    """Raise an error if the file of a memory-mapped array has become shorter; ignore other arrays.

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
