"""NumPy .npy files: values and shape, no geometry."""

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
from softmorph_cli.io.families import FAMILIES
from softmorph_cli.io.raw import Array, Encoding, Kept, Raw
from softmorph_cli.io.select import usual_axes
from softmorph_cli.system.parameters import named
from softmorph_cli.volume import Volume

# NumPy reads no longer one from a file that it does not trust, but looks at its length after it has read it.
_LONGEST_HEADER: Final = 10_000


def header(stream: IO[bytes]) -> tuple[tuple[int, ...], Literal["C", "F"], np.dtype[Any]]:
    """Read the shape, the order and the type of an array at the beginning of a stream.

    Raises:
        Damaged: If it ends within them.
        Unsupported: If they are longer than any, or of a version that nobody knows.
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
    # Version 3 differs from 2 in letters alone, which no field of numbers has.
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
class Npy:
    """The .npy family; nothing in it is ever unpickled."""

    name: str = "npy"
    title: str = FAMILIES["npy"].title
    suffixes: tuple[str, ...] = FAMILIES["npy"].suffixes
    output_types: tuple[str, ...] = ("float32", "float64", "float16", "uint8", "uint16")
    holds: frozenset[str] = frozenset({"stack", "uint32"})

    def recognises(self, head: bytes) -> bool:
        """Whether the magic of .npy is there."""
        return head.startswith(b"\x93NUMPY")

    def read(self, path: Path) -> Raw:
        """Map the array; a shape of 2 or 3 axes is (Y, X), (Z, Y, X) or (Y, X, C), more need names."""
        with path.open("rb") as stream:
            shape, order, dtype = header(stream)
            start = stream.tell()
        if dtype.hasobject:
            # Never unpickled: the shape and the type are all that is looked at.
            return Raw(np.broadcast_to(np.empty((), object), shape), None, self.name, shape, "object")
        if prod(shape) * dtype.itemsize > path.stat().st_size - start:
            raise Damaged(ENDS_EARLY)
        # An empty array cannot be mapped; the values' check will name it.
        array = np.empty(shape, dtype) if 0 in shape else np.memmap(path, dtype, "r", start, shape, order)
        axes, notes = usual_axes(shape)
        return Raw(array, axes, self.name, shape, str(dtype), native=(), notes=tuple(notes))

    def write(
        self,
        volume: Volume,
        array: Array,
        path: Path,
        encoding: Encoding,
    ) -> list[str]:
        """Write in the axis order the source .npy had, if there was one."""
        kept = volume.source.header if volume.source else None
        axes = volume.axes
        if isinstance(kept, Kept) and kept.format == self.name and set(kept.axes) == set(axes):
            array = array.transpose([axes.index(axis) for axis in kept.axes])
        with path.open("wb") as stream:
            # Into a real file NumPy writes through C's buffers, and does not look whether the last of them arrives.
            np.save(SimpleNamespace(write=stream.write), array, allow_pickle=False)
        if encoding.labels:
            return [f".npy does not say that its numbers are labels; read one with {named('label', 'K')}."]
        one = encoding.one
        if one == 1:
            return []
        return [f".npy does not say that {one} means 1; read it with {named('divide_by', one)}."]
