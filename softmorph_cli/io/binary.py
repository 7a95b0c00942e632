"""Voxels behind a binary header of fixed size, in a file that is gzipped as a whole or not at all."""

from __future__ import annotations

from contextlib import closing
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from softmorph_cli.io.damage import ENDS_EARLY, Damaged
from softmorph_cli.io.memory_check import check_room
from softmorph_cli.io.raw import Array
from softmorph_cli.io.zipped import Unzipped, can_hold, finish, opened, trailing_notes
from softmorph_cli.system.printable import typed


def read_head(path: Path, size: int) -> bytes:
    """Return the first bytes of a file, decompressed if it is gzipped.

    Raises:
        Damaged: If there are fewer than `size`.
    """
    with closing(opened(path)) as stream:
        head = stream.read(size) or b""
    if len(head) < size:
        raise Damaged(ENDS_EARLY)
    return head


def read_voxels(
    path: Path, start: int, shape: tuple[int, ...], dtype: np.dtype[Any], *, footer: int = 0
) -> tuple[Array, bytes, list[str]]:
    """Return the array behind a header: memory-mapped, or decompressed into memory if the file is gzipped.

    Args:
        path: The file.
        start: The byte at which the array begins, decompressed.
        shape: The shape of the array, the slowest axis first.
        dtype: The element type, with its byte order.
        footer: The most bytes of metadata that follow the array.

    Returns:
        The array, the bytes of metadata, and notes on bytes that follow and are not used; none where a footer is read.

    Raises:
        Damaged: If the file is shorter than its header says.
        InputError: If the decompressed array does not fit into memory.
    """
    size, room = prod(shape) * dtype.itemsize, path.stat().st_size
    with closing(opened(path)) as stream:
        zipped = isinstance(stream, Unzipped)
        if not (can_hold(room, start + size) if zipped else start + size <= room):
            raise Damaged(ENDS_EARLY)
        if not isinstance(stream, Unzipped):
            array = np.memmap(path, dtype, "r", start, shape) if size else np.empty(shape, dtype)
            stream.seek(start + size)
            behind = stream.read(footer)
            return array, behind, [] if footer else trailing_notes(room - start - size)
        check_room(shape, dtype.itemsize, path, first=f"unpack it first ({typed('gunzip', '--keep', path)})")
        array = np.empty(shape, dtype)
        stream.seek(start)
        flat: Any = array.reshape(-1).view(np.uint8)
        if stream.readinto(flat) < size:
            raise Damaged(ENDS_EARLY)
        behind = stream.read(footer) or b""
        left = finish(stream)
        notes = trailing_notes(stream.trailing, packed=True)
        return array, behind, notes if footer else trailing_notes(left) + notes
