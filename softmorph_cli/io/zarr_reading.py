"""Reads Zarr stores: groups and attributes from folders and JSON files, and arrays through the package zarr."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, prod
from pathlib import Path
from typing import Any, Final, Literal, cast

import numpy as np

from softmorph_cli.errors import FileError
from softmorph_cli.io.boxes import Box, chunk_numbers, extent, part_in_chunk, relative
from softmorph_cli.io.damage import damage
from softmorph_cli.io.git_pointers import check_fetched
from softmorph_cli.io.lazy import Index, Lazy, Stored
from softmorph_cli.io.memory_check import check_piece
from softmorph_cli.io.packing import packing, pickles
from softmorph_cli.io.provenance import SIGNATURE
from softmorph_cli.io.raw import Array
from softmorph_cli.io.stored_chunks import check_missing, grid_of, note_missing
from softmorph_cli.system.files import STORE_MARKS, is_store

# An attribute, inside of SIGNATURE, of arrays that softmorph writes: all chunks are stored, and none may be missing.
WHOLE: Final = "all_chunks_stored"


@dataclass(frozen=True)
class ZarrNode:
    """A node of a Zarr store, which is a group or an array.

    Attributes:
        path: The folder of the node.
        kind: The kind of the node, "group" or "array".
        zarr_format: The version of Zarr, 2 or 3.
        attributes: The attributes of the node, parsed from JSON.
    """

    path: Path
    kind: str
    zarr_format: Literal[2, 3]
    attributes: Mapping[str, Any]


def node(path: Path) -> ZarrNode | None:
    """Return the node of a Zarr store in a folder; None if the folder is no node.

    Raises:
        FileError: If the metadata of the node are damaged.
    """
    if (path / "zarr.json").is_file():
        metadata = _json(path / "zarr.json")
        kind, attributes = metadata.get("node_type"), metadata.get("attributes") or {}
        known = ("group", "array")
        if metadata.get("zarr_format") != 3 or kind not in known or not isinstance(attributes, dict):
            raise FileError(f"{path / 'zarr.json'} does not describe a group or an array of Zarr version 3.")
        return ZarrNode(path, kind, 3, attributes)
    for kind, mark in (("array", ".zarray"), ("group", ".zgroup")):
        if (path / mark).is_file():
            _json(path / mark)
            inside = path / ".zattrs"
            return ZarrNode(path, kind, 2, _json(inside) if inside.is_file() else {})
    return None


def is_node(path: Path) -> bool:
    """Return whether a path is a node of a Zarr store.

    Raises:
        FileError: If the path lies in a store but is no node of it, or to a folder named .zarr that is no store.
    """
    try:
        if path == Path() or path.is_file():
            return False
        if is_store(path):
            return True
        for mark in STORE_MARKS:
            check_fetched(path / mark)
        outer = next(filter(is_store, path.absolute().parents), None)
        if outer is None and path.is_dir() and path.suffix.lower() == ".zarr":
            raise FileError(
                f"{path} is a folder without Zarr's metadata (.zgroup, .zarray or zarr.json); it is no Zarr "
                "store, or its copy is not complete."
            )
    except (OSError, RuntimeError) as error:  # a name too long, a circle of symbolic links
        if isinstance(error, FileError):
            raise
        return False
    if outer is None:
        return False
    raise FileError(
        f"{path} does not name an image: the Zarr {'group' if (outer / '0').exists() else 'node'} {outer} "
        f"has no {path.absolute().relative_to(outer)}; {held(outer)}."
    )


def held(group: Path) -> str:
    """Return the names of the nodes in a Zarr group as a clause for messages: "it holds 0, 1, labels"."""
    names = sorted(child.name for child in group.iterdir() if child.is_dir() and is_store(child))
    if not names:
        return "it holds no array and no group"
    shown = [*names[:8], "..."] if len(names) > 8 else names
    return f"it holds {', '.join(shown)}"


def open_array(found: ZarrNode, name: str) -> Lazy:
    """Open an array of a Zarr store, whose values are read lazily.

    Args:
        found: The node of the array.
        name: The name that the user gave, for messages.

    Raises:
        FileError: If the metadata are damaged or the compression is unknown.
    """
    import zarr

    mark = found.path / ("zarr.json" if found.zarr_format == 3 else ".zarray")
    metadata = _json(mark)
    if pickles(metadata):
        raise FileError(f"{name} holds Python objects, which are never unpickled; save plain numbers.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about codecs that are not standardized yet
            array: Any = zarr.open_array(str(found.path), mode="r", zarr_format=found.zarr_format)
            dtype, chunks = np.dtype(array.dtype), tuple(array.shards or array.chunks)
            # Codecs of version 2 are created on opening, those of version 3 only by this.
            _ = array.compressors, array.filters
    except Exception as error:
        codec = _unknown_codec(error)
        if codec:
            raise FileError(
                f"{name} is compressed with {codec}, which is not known here; "
                "write it again with blosc, zstd or gzip."
            ) from error
        raise FileError(
            f"{mark} is cut short or damaged ({_reason(error)}); copy the store again."
        ) from error
    if not all(size > 0 for size in chunks):
        raise FileError(f"{mark} is cut short or damaged (its chunks are {chunks}); copy the store again.")
    if dtype.hasobject:
        raise FileError(f"{name} holds Python objects, which are never unpickled; save plain numbers.")
    check_chunk = packing(metadata, name, chunks, dtype.itemsize).check
    check_piece(chunks, dtype.itemsize, name)

    def first_damaged(box: Box) -> str:
        for number in chunk_numbers(box, chunks):
            chunk = found.path / array.metadata.encode_chunk_key(number)
            check_fetched(chunk)
            try:
                check_chunk(chunk)
                _ = array[part_in_chunk(number, chunks, tuple(slice(0, size) for size in array.shape))]
            except Exception:
                return f", {chunk}"
        return ""

    def read(stored: Stored, index: Index) -> Array:
        box = tuple(part if isinstance(part, slice) else slice(part, part + 1) for part in index)
        numbers = list(chunk_numbers(box, chunks))
        existing = []
        for number in numbers:
            # Functions of os.path, because there may be thousands of chunks.
            chunk = os.path.join(found.path, array.metadata.encode_chunk_key(number))  # noqa: PTH118
            if os.path.islink(chunk):  # noqa: PTH114
                # zarr would take a broken link for a chunk that was never written, and read its fill value.
                check_fetched(Path(chunk))
            if os.path.exists(chunk):  # noqa: PTH110
                existing.append(number)
        if len(existing) == len(numbers):
            part = read_stored(stored, box)
        else:
            # zarr looks for each chunk, which takes a hundred times as long where most are missing.
            part = np.full(extent(box), array.fill_value or 0, dtype.newbyteorder("="))
            for number in existing:
                inside = part_in_chunk(number, chunks, box)
                part[relative(inside, box)] = read_stored(stored, inside)
        sizes = zip(part.shape, index, strict=True)
        return part.reshape([size for size, given in sizes if isinstance(given, slice)])

    def read_stored(stored: Stored, box: Box) -> Array:
        try:
            for number in chunk_numbers(box, chunks):
                check_chunk(found.path / array.metadata.encode_chunk_key(number))
            part = np.asarray(stored[box])
        except (MemoryError, FileError):
            raise
        # A chunk can make its codec raise nearly any exception.
        except Exception as error:
            if codec := _unknown_codec(error):
                raise FileError(f"{name} is compressed with {codec}, which is not known here.") from error
            where, reason = first_damaged(box), _reason(error)
            if damage(error) is None:
                raise FileError(
                    f"{name} has a chunk that softmorph cannot read{where} ({reason}); write it again "
                    "with blosc, zstd or gzip."
                ) from error
            raise FileError(
                f"{name} has a chunk that is cut short or damaged{where} ({reason}); copy it, or "
                "the store, again."
            ) from error
        return part.astype(part.dtype.newbyteorder("="), copy=False)

    return Lazy(cast(Stored, array), chunks, read)


def missing_chunks(found: ZarrNode, lazy: Lazy, name: str) -> str | None:
    """Return a note on chunks that are not stored and read as the fill value; None if all chunks are stored.

    Args:
        found: The node of the array.
        lazy: The opened array.
        name: The name that the user gave, for messages.

    Raises:
        FileError: If chunks are missing and the array states that all were stored, or more than 2^20 are missing.
    """
    grid = grid_of(lazy.shape, lazy.chunks)
    total = prod(grid)
    files = (file for _, _, files in os.walk(found.path) for file in files)
    lost = total - sum(
        not file.startswith((".", "zarr.json")) and not file.endswith(".partial") for file in files
    )
    if lost <= 0:
        return None
    check_missing(name, lazy.shape, lazy.chunks, lost, "cut its shape, or store larger chunks")
    if says_whole(found):
        keys = map(lazy.stored.metadata.encode_chunk_key, np.ndindex(*grid))
        first = next((path for key in keys if not (path := found.path / key).is_file()), found.path)
        raise FileError(
            f"{name} misses {lost} of its {total} chunks, the first of them {first}, and softmorph wrote all of them; "
            "copy the store again."
        )
    return note_missing(lost, total, lazy.stored.fill_value)


def says_whole(found: ZarrNode) -> bool:
    """Return whether the attributes of an array state that all chunks are stored; softmorph writes this statement."""
    stated = found.attributes.get(SIGNATURE)
    return isinstance(stated, dict) and bool(stated.get(WHOLE))


def _json(path: Path) -> dict[str, Any]:
    check_fetched(path)
    try:
        # JSON has no infinities, and these metadata may be written again.
        found = json.loads(
            path.read_text(encoding="utf-8"), parse_constant=lambda _: None, parse_float=_finite
        )
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} is cut short or no JSON; copy the store again.") from error
    if not isinstance(found, dict):
        raise FileError(f"{path} is no JSON object, as Zarr's metadata are.")
    return found


def _finite(text: str) -> float | None:
    number = float(text)
    return number if isfinite(number) else None


def _unknown_codec(error: Exception) -> str | None:
    if type(error).__name__ != "UnknownCodecError":
        return None
    return str(error).rpartition(":")[2].strip(" '\"") or "something"


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")
