"""NumPy .npy files, which hold values and a shape but no geometry."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, Final, Literal

import numpy as np

from softmorph_cli.io.damage import ENDS_EARLY, Damaged, Unsupported
from softmorph_cli.io.raw import Array, Encoding, Format, Kept, Raw
from softmorph_cli.io.unnamed_axes import usual_axes
from softmorph_cli.system.parameters import named
from softmorph_cli.volume import Volume

# NumPy's limit for files that are not trusted; NumPy compares the length only after it has read the header.
_LONGEST_HEADER: Final = 10_000


def read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], Literal["C", "F"], np.dtype[Any]]:
    """Read an .npy header from a stream and return the shape, the memory order and the element type of the array.

    Raises:
        Damaged: If the stream ends within the header.
        Unsupported: If the header is too long, of an unknown version, or states an impossible shape or type.
    """
    head = stream.read(10)
    first = head[6:7] == b"\1"
    if not first:
        head += stream.read(2)
    if len(head) < (10 if first else 12):
        raise Damaged(ENDS_EARLY)
    length = int.from_bytes(head[8:], "little")
    if not 1 <= head[6] <= 3 or length > _LONGEST_HEADER:
        raise Unsupported(f"its header is of version {head[6]}.{head[7]} and has {length:,} bytes")
    whole = BytesIO(head + stream.read(length))
    np.lib.format.read_magic(whole)
    # Version 3 differs from 2 only in the encoding of the names of fields.
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers that Python 2 wrote
            shape, fortran, dtype = read(whole)
    except (MemoryError, RecursionError) as error:
        raise Unsupported("its header is nested too deeply") from error
    if min(shape, default=0) < 0:
        raise Unsupported(f"its shape is {shape}")
    if dtype.itemsize == 0:
        raise Unsupported(f"its type {dtype.str!r} has no bytes")
    return shape, "F" if fortran else "C", dtype


@dataclass(frozen=True)
class Npy(Format):
    """The file format .npy of NumPy; Python objects in a file are never unpickled."""

    name = "npy"
    output_types = ("float32", "float64", "float16", "uint8", "uint16")
    holds = frozenset({"stack", "uint32"})

    def recognises(self, head: bytes) -> bool:
        """Return whether the bytes begin with the signature of .npy files."""
        return head.startswith(b"\x93NUMPY")

    def read(self, path: Path) -> Raw:
        """Read a file as a memory-mapped array; 2 or 3 axes are named by the shape, more need the option `axes`."""
        with path.open("rb") as stream:
            shape, order, dtype = read_header(stream)
            start = stream.tell()
        if dtype.hasobject:
            # Not unpickled: only the shape and the type are needed to refuse it.
            return Raw(np.broadcast_to(np.empty((), object), shape), None, self.name, shape, "object")
        if prod(shape) * dtype.itemsize > path.stat().st_size - start:
            raise Damaged(ENDS_EARLY)
        # An empty array cannot be mapped; the check of values refuses it.
        array = np.empty(shape, dtype) if 0 in shape else np.memmap(path, dtype, "r", start, shape, order)
        axes, notes = usual_axes(shape)
        return Raw(array, axes, self.name, shape, str(dtype), native=(), notes=tuple(notes))

    def write(self, volume: Volume, array: Array, path: Path, encoding: Encoding) -> list[str]:
        """Write an .npy file, in the axis order of the source if the source was an .npy file."""
        kept = volume.source.header if volume.source else None
        axes = volume.axes
        if isinstance(kept, Kept) and kept.format == self.name and set(kept.axes) == set(axes):
            array = array.transpose([axes.index(axis) for axis in kept.axes])
        with path.open("wb") as stream:
            # Given a real file, NumPy writes through C's buffers and ignores an error of the last one.
            np.save(SimpleNamespace(write=stream.write), array, allow_pickle=False)
        if encoding.labels:
            return [f".npy does not say that its numbers are labels; read one with {named('label', 'K')}."]
        one = encoding.one
        if one == 1:
            return []
        return [f".npy does not say that {one} means 1; read it with {named('divide_by', one)}."]
