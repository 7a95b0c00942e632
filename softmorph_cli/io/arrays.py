"""NumPy .npy files: values and shape, no geometry."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, Final

import numpy as np

from softmorph_cli.io.damage import ENDS_EARLY, Damaged, Unsupported
from softmorph_cli.io.raw import Array, Kept, Provenance, Raw
from softmorph_cli.io.select import usual_axes
from softmorph_cli.volume import Volume

_LONGEST_HEADER: Final = 1 << 16


def npy_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read the shape and the type of an .npy file, and no more.

    Raises:
        Unsupported: If the shape is none.
        ValueError: If it does not begin as one.
    """
    version = np.lib.format.read_magic(stream)
    start = stream.tell()
    # NumPy looks at the length when it has read so much.
    if int.from_bytes(stream.read(2 if version < (2, 0) else 4), "little") > _LONGEST_HEADER:
        raise Unsupported(f"its header is longer than {_LONGEST_HEADER:,} bytes")
    stream.seek(start)
    read = np.lib.format.read_array_header_1_0 if version < (2, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    if any(size < 0 for size in shape):
        raise Unsupported(f"its shape is {shape}")
    if dtype.itemsize == 0:
        raise Unsupported(f"its type {dtype.str!r} has no bytes")
    return shape, dtype


@dataclass(frozen=True)
class Npy:
    """The .npy family; nothing in it is ever unpickled."""

    name: str = "npy"
    title: str = "NumPy"
    suffixes: tuple[str, ...] = (".npy",)
    output_types: tuple[str, ...] = ("float32", "float64", "float16", "uint8", "uint16")
    holds: frozenset[str] = frozenset({"stack", "uint32"})

    def recognises(self, head: bytes) -> bool:
        """Whether the magic of .npy is there."""
        return head.startswith(b"\x93NUMPY")

    def read(self, path: Path) -> Raw:
        """Map the array; a shape of 2 or 3 axes is (Y, X), (Z, Y, X) or (Y, X, C), more need names."""
        with path.open("rb") as stream:
            shape, dtype = npy_header(stream)
            start = stream.tell()
        if dtype.hasobject:
            # Never unpickled: the shape and the type are all that is looked at.
            return Raw(np.broadcast_to(np.empty((), object), shape), None, self.name, shape, "object")
        if prod(shape) * dtype.itemsize > path.stat().st_size - start:
            raise Damaged(ENDS_EARLY)
        # An empty array cannot be mapped; the values' check will name it.
        array = np.load(path, mmap_mode="r", allow_pickle=False) if 0 not in shape else np.empty(shape, dtype)
        axes, notes = usual_axes(shape)
        return Raw(array, axes, self.name, shape, str(dtype), native=(), notes=tuple(notes))

    def write(
        self,
        volume: Volume,
        array: Array,
        path: Path,
        *,
        one: int,
        provenance: Provenance,
        labels: bool = False,
    ) -> list[str]:
        """Write in the axis order the source .npy had, if there was one."""
        kept = volume.source.header if volume.source else None
        axes = volume.axes
        if isinstance(kept, Kept) and kept.format == self.name and set(kept.axes) == set(axes):
            array = array.transpose([axes.index(axis) for axis in kept.axes])
        with path.open("wb") as stream:
            # Into a real file NumPy writes through C's buffers, and does not look whether the last of them arrives.
            np.save(SimpleNamespace(write=stream.write), array, allow_pickle=False)
        if labels:
            return [".npy does not say that its numbers are labels; read one with --label K."]
        return [] if one == 1 else [f".npy does not say that {one} means 1; read it with --divide-by {one}."]
