"""HDF5 files, such as ilastik's probabilities.h5, with h5py: one dataset of a file is read, lazily.

A dataset is named behind the path of its file, as in probabilities.h5:/exported_data, or as ilastik does,
probabilities.h5/exported_data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from softmorph_cli.errors import FileError, InputError, SoftmorphError
from softmorph_cli.io.damage import ENDS_EARLY, Damaged, Unsupported, not_read
from softmorph_cli.io.hdf5_attributes import check_texts, describe
from softmorph_cli.io.lazy import Index, Lazy
from softmorph_cli.io.memory_check import check_piece
from softmorph_cli.io.raw import Array, Raw, ReadOnly
from softmorph_cli.io.stored_chunks import check_missing, grid_of, note_missing
from softmorph_cli.io.unnamed_axes import usual_axes
from softmorph_cli.io.zipped import can_hold
from softmorph_cli.system.printable import printable, typed

_SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
# The signature stands at the start, or behind a block of another program, as in MATLAB's .mat files.
_USER_BLOCK: Final = 512
_NAMED: Final = re.compile(r"(?P<file>.+?\.(?:h5|hdf5))(?P<mark>:[/\\]*|[/\\]+)(?P<dataset>.+)", re.I | re.S)
# Filters that h5py brings along: deflate, shuffle, Fletcher's checksum, szip, n-bit, scale-offset and LZF.
_FILTERS: Final = frozenset({1, 2, 3, 4, 5, 6, 32000})
_DEFLATE, _FLETCHER, _SAME_SIZE = 1, 3, frozenset({2, 3})
_CHECKSUM_BYTES: Final = 4
# What a compressor may add to a chunk that does not become smaller.
_HEAD_OF_CHUNK: Final = 4096
_OTHER_FILTERS: Final = {
    307: "bzip2", 32001: "Blosc", 32004: "LZ4", 32008: "bitshuffle", 32013: "ZFP", 32015: "Zstandard", 32026: "Blosc2",
}  # fmt: skip
_SHOWN: Final = 8
# The most groups and datasets of a file that are looked at.
_MOST_NODES: Final = 10_000


def split(path: Path) -> tuple[Path, str | None]:
    """Return the HDF5 file that a path names, and the name of the dataset behind it; None without such a name."""
    found = _NAMED.fullmatch(str(path))
    if found is None or (not found["mark"].startswith(":") and not Path(found["file"]).is_file()):
        return path, None
    return Path(found["file"]), found["dataset"].replace("\\", "/").strip("/") or None


@dataclass(frozen=True)
class Hdf5(ReadOnly):
    """The file format HDF5 (.h5, .hdf5), which is read only."""

    name = "hdf5"
    # What HDF5 means is agreed between two programs, and all of them read TIFF or Zarr.
    instead = ".tif"

    def recognises(self, head: bytes) -> bool:
        """Return whether the bytes begin an HDF5 file, perhaps behind a user block of 512 bytes."""
        return head.startswith(_SIGNATURE) or head[_USER_BLOCK:].startswith(_SIGNATURE)

    def read(self, path: Path) -> Raw:
        """Open a dataset, whose values are read lazily, with the axes and the voxel size that its attributes state.

        Raises:
            InputError: If the file holds several datasets and the path names none of them; or the dataset holds no
                numbers, or has its values in other files.
            FileError: If a filter of the dataset is unknown.
        """
        place, wanted = split(path)
        with _opened(path) as file:
            found, node = _find(file, place, wanted)
            shape, dtype = tuple(map(int, found.shape)), _type_of(found)
            if dtype is None:
                raise InputError(f"{path} holds no plain numbers; name a dataset of floats or integers.")
            notes = _check_storage(found, path, place.stat().st_size)
            check_texts(place)
            chunks = found.chunks or (*(1 for _ in shape[:-2]), *shape[-2:])
            stored = _Dataset(path, place, node, shape, dtype)
            about = describe(found, shape)
        axes, axes_notes = (about.axes, []) if about.axes else usual_axes(shape)
        return Raw(
            array=cast(Array, Lazy(stored, chunks, lambda dataset, index: dataset[index])),
            axes=axes,
            format=self.name,
            shape=shape,
            dtype=str(dtype),
            spacing=about.spacing,
            unit=about.unit,
            time_step=about.time_step,
            full_scale=about.highest is not None
            and dtype.kind == "u"
            and np.iinfo(dtype).max == about.highest,
            notes=(*axes_notes, *about.notes, *notes),
        )


@dataclass(frozen=True)
class _Dataset:
    """A dataset of an HDF5 file, opened anew for each part that is read, so that threads and forks share nothing.

    Attributes:
        path: The path that the user gave, for messages.
        place: The path of the file.
        name: The full name of the dataset in the file.
        shape: The shape of the dataset.
        dtype: The element type of the dataset.
    """

    path: Path
    place: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __getitem__(self, index: Index) -> Array:
        """Read the part of the dataset that slices and integers select, in the byte order of this machine."""
        with _opened(self.path) as file:
            found, _ = _find(file, self.place, self.name)
            if tuple(found.shape) != self.shape or _type_of(found) != self.dtype:
                raise FileError(f"{self.path} was changed while it was read; read it again.")
            part = np.asarray(found[index])
        return part.astype(part.dtype.newbyteorder("="), copy=False)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open the HDF5 file of a path; errors of the library, also inside the `with` block, become a FileError."""
    import h5py

    try:
        with h5py.File(split(path)[0], "r") as file:
            yield file
    except (SoftmorphError, MemoryError):
        raise
    # A damaged file makes h5py raise nearly any exception, with the library's reason in brackets.
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise FileError(f"{path} cannot be read: {error.strerror or error}.") from error
        told = error
        if not isinstance(error, Damaged | Unsupported):
            reason = re.search(r"\((.*)\)", str(error), re.S)
            plain = printable(reason[1] if reason else str(error) or type(error).__name__)
            told = Damaged(ENDS_EARLY if "truncated file" in plain or "addr overflow" in plain else plain)
        raise not_read(path, "HDF5", told) from error


def _find(file: Any, place: Path, wanted: str | None) -> tuple[Any, str]:
    """Return the dataset of a name, or the only one of the file or of the named group; and its full name.

    Raises:
        InputError: If there is no such dataset, or are several, or the name leads through a link.
    """
    import h5py

    node = file
    for part in (wanted or "").split("/"):
        if part in ("", "."):
            continue
        link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
        if link is None:
            raise _unnamed(file, place, f"has no dataset /{printable(wanted or '')}; it")
        if not isinstance(link, h5py.HardLink):
            other = "another file" if isinstance(link, h5py.ExternalLink) else "another place of the file"
            raise InputError(
                f"{place}: {printable(part)!r} of /{printable(wanted or '')} is a link to {other}, and links are not "
                f"followed; name what it points to, which is {printable(str(getattr(link, 'path', '')))!r}."
            )
        node = node[part]
    if isinstance(node, h5py.Dataset):
        return node, node.name
    if not isinstance(node, h5py.Group):
        raise InputError(f"{place}: /{printable(wanted or '')} is a type, not a dataset; name a dataset.")
    names = _datasets(node)
    if len(names) != 1:
        raise _unnamed(node, place, "")
    return node[names[0]], f"{node.name.rstrip('/')}/{names[0]}"


def _datasets(group: Any) -> list[str]:
    """Return the names of the datasets of numbers below a group that have two axes or more; links are not followed."""
    import h5py

    names: list[str] = []
    seen = 0

    def look(name: str, node: Any) -> bool | None:
        nonlocal seen
        seen += 1
        if isinstance(node, h5py.Dataset) and len(node.shape or ()) > 1 and _type_of(node) is not None:
            names.append(name)
        return True if seen >= _MOST_NODES else None

    group.visititems(look)
    return names


def _type_of(dataset: Any) -> np.dtype[Any] | None:
    """Return the element type of a dataset; None if it holds no plain numbers."""
    # h5py has no NumPy type for some types of HDF5.
    with suppress(TypeError, ValueError):
        dtype = np.dtype(dataset.dtype)
        return dtype if dtype.kind in "fiubc" and dataset.shape is not None else None
    return None


def _unnamed(group: Any, place: Path, found: str) -> InputError:
    """Return the error that lists the datasets of a group, of which the path has to name one."""
    names = _datasets(group)
    inside = group.name.rstrip("/")
    whole = f"{place}{':' + printable(inside) if inside else ''} {found or ''}".rstrip()
    if not names:
        return InputError(f"{whole} holds no dataset of numbers with two axes or more; name another file.")
    shown = ", ".join(f"{inside}/{name}{_size_of(group[name])}" for name in names[:_SHOWN])
    more = len(names) - _SHOWN
    count = f"{len(names)} datasets" if len(names) > 1 else "1 dataset"
    look = typed(Path(f"{place}:{inside}/{names[0]}"))
    return InputError(
        f"{whole} holds {count}, {printable(shown)}{f' and {more} more' if more > 0 else ''}; name one of them behind "
        f"a colon, such as: softmorph info {look}"
    )


def _size_of(dataset: Any) -> str:
    return f" ({' x '.join(map(str, dataset.shape))}, {dataset.dtype})"


def _check_storage(dataset: Any, path: Path, room: int) -> list[str]:
    """Refuse a dataset that cannot be read, before any of its values is; return notes on values that are not stored.

    Args:
        dataset: The dataset, an object of h5py.
        path: The path that the user gave, for messages.
        room: The size of the file in bytes.

    Raises:
        Damaged: If a chunk lies outside the file, or is shorter or longer than its filters can make it.
        InputError: If the values lie in other files, or one chunk is larger than memory.
        FileError: If a filter is unknown, or more than 2^20 chunks are not stored.
        Unsupported: If the dataset is larger than any file.
    """
    properties = dataset.id.get_create_plist()
    if dataset.is_virtual or properties.get_external_count():
        raise InputError(
            f"{path} has its values in other files, which is not followed; copy them into one file with the program "
            "that wrote it, or name one of those files."
        )
    filters = [properties.get_filter(number)[0] for number in range(properties.get_nfilters())]
    for code in filters:
        if code not in _FILTERS:
            raise FileError(
                f"{path} is compressed with {_OTHER_FILTERS.get(code, 'a filter')} (HDF5's number {code}), which is "
                "not known here; write it again with gzip or without compression."
            )
    shape, itemsize = dataset.shape, dataset.dtype.itemsize
    if prod(shape) * itemsize >= 1 << 63:
        raise Unsupported("by its header it holds over 2^63 bytes")
    if dataset.chunks is None:
        if dataset.id.get_storage_size() or not prod(shape):
            return []
        return [f"none of its values are stored, and all read as its fill value, {dataset.fillvalue}."]
    check_piece(dataset.chunks, itemsize, str(path))
    total = prod(grid_of(shape, dataset.chunks))
    lost = total - int(dataset.id.get_num_chunks())
    check_missing(str(path), shape, dataset.chunks, lost, "write it again with larger chunks")
    _check_chunks(dataset, filters, prod(dataset.chunks) * itemsize, room)
    return [note_missing(lost, total, dataset.fillvalue)] if lost > 0 else []


def _check_chunks(dataset: Any, filters: list[int], size: int, room: int) -> None:
    """Refuse a table of chunks that cannot be: libhdf5 does not check it before it unpacks a chunk.

    Args:
        dataset: The dataset, an object of h5py.
        filters: The numbers of its filters, in order.
        size: The bytes of one chunk when it is unpacked.
        room: The size of the file in bytes.
    """

    def check(info: Any) -> None:
        active = [code for bit, code in enumerate(filters) if not info.filter_mask >> bit & 1]
        plain = size + _CHECKSUM_BYTES * active.count(_FLETCHER)
        exact = set(active) <= _SAME_SIZE
        least = plain if exact else 1 + _CHECKSUM_BYTES * active.count(_FLETCHER)
        most = plain if exact else 2 * size + _HEAD_OF_CHUNK
        packed = _DEFLATE in active and not can_hold(info.size, size, "zlib")
        if not least <= info.size <= most or packed or info.byte_offset + info.size > room:
            raise Damaged("its table of chunks does not fit the file")

    dataset.id.chunk_iter(check)
