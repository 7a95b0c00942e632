"""Writes the arrays of a Zarr store; every chunk is stored, compressed, and has a checksum."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from softmorph_cli.io.boxes import chunk_numbers, part_in_chunk
from softmorph_cli.io.provenance import SIGNATURE
from softmorph_cli.io.raw import Array
from softmorph_cli.io.zarr_reading import WHOLE
from softmorph_cli.system import machine
from softmorph_cli.system.printable import unicode

if TYPE_CHECKING:
    from collections.abc import Iterator

# Chunk sides: a quarter of a million values per chunk, and eight (four in 2D) times as many for large maps.
_SIDES = {2: (512, 1024), 3: (64, 128)}
_LARGE = 1 << 30
# The least side of a chunk: shorter ones make too many files.
_LEAST = 16


def chunk_shape(shape: Sequence[int], letters: str) -> tuple[int, ...]:
    """Return the chunk shape of a new array: a cube or square along spatial axes, size 1 along other axes."""
    spatial = [size for size, letter in zip(shape, letters, strict=True) if letter in "ZYX"]
    # A volume of one slice is chunked as an image.
    flat = len(spatial) == 2 or 1 in spatial
    side = _SIDES[2 if flat else 3][prod(spatial) > _LARGE]
    return tuple(
        min(size, side) if letter in "ZYX" else 1 for size, letter in zip(shape, letters, strict=True)
    )


def chunks_of_tiles(shape: Sequence[int], letters: str, tile: Sequence[int]) -> tuple[int, ...]:
    """Return the chunk shape of a new array that is written in tiles, such that no two tiles share a chunk.

    Args:
        shape: The size of the array along each spatial axis.
        letters: The letters of the spatial axes.
        tile: The size of a tile along each spatial axis.
    """

    def along(extent: int, length: int, default: int) -> int:
        if length >= extent:
            return default
        parts = [part for part in range(_LEAST, length + 1) if length % part == 0]
        # A large chunk is better than thousands of thin ones.
        return max((part for part in parts if part <= default), default=min(parts, default=length))

    return tuple(map(along, shape, tile, chunk_shape(shape, letters)))


def create_group(path: Path, attributes: Mapping[str, Any]) -> None:
    """Create a Zarr group with these attributes in an empty folder; the NGFF version decides the Zarr version."""
    if "ome" in attributes:
        _save(path / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)})
    else:
        _save(path / ".zgroup", {"zarr_format": 2})
        _save(path / ".zattrs", dict(attributes))


def create_array(
    path: Path,
    attributes: Mapping[str, Any],
    shape: Sequence[int],
    dtype: Any,
    chunks: Sequence[int],
    names: str,
) -> Any:
    """Create an array in a Zarr group, and open the array for writing.

    Args:
        path: The folder of the new array.
        attributes: The attributes of the group, which decide the Zarr version.
        shape: The shape of the array.
        dtype: The element type.
        chunks: The chunk shape.
        names: One lower-case letter for each axis.
    """
    import zarr

    common: dict[str, Any] = {
        "shape": tuple(shape),
        "dtype": np.dtype(dtype),
        "chunks": tuple(chunks),
        "fill_value": 0,
        # Chunks of zeros are written too, so that a missing chunk is known to be lost.
        "config": {"write_empty_chunks": True},
        "attributes": {SIGNATURE: {WHOLE: True}},
    }
    if "ome" in attributes:
        from zarr.codecs import ZstdCodec

        return zarr.create_array(
            str(path),
            zarr_format=3,
            compressors=[ZstdCodec(checksum=True)],
            dimension_names=list(names),
            **common,
        )
    from numcodecs import Zstd

    array = zarr.create_array(
        str(path),
        zarr_format=2,
        compressors=[Zstd()],
        chunk_key_encoding={"name": "v2", "separator": "/"},
        **common,
    )
    return _with_checksums(array)


def reopen_array(path: Path) -> Any:
    """Open an array that `create_array` made earlier, for further writing."""
    import zarr

    # The argument `config` is for new arrays only.
    with zarr.config.set({"array.write_empty_chunks": True}):
        return _with_checksums(zarr.open_array(str(path), mode="r+"))


def _with_checksums(array: Any) -> Any:
    """Make an array write Zstandard checksums into its chunks, which every reader verifies; return the array.

    The metadata of Zarr version 2 do not mention the checksums: TensorStore and zarrs (Rust) refuse unknown keys.
    """
    if array.metadata.zarr_format == 2:
        array.metadata.compressor.checksum = True
    return array


def chunk_file(array: Any, path: Path, number: Sequence[int]) -> Path:
    """Return the file of the chunk at grid position `number` of the array in folder `path`."""
    return path / str(array.metadata.encode_chunk_key(tuple(number)))


def readable(array: Any, path: Path, number: Sequence[int]) -> bool:
    """Return whether the chunk at grid position `number` of the array in folder `path` exists and can be read."""
    if not chunk_file(array, path, number).is_file():
        return False
    try:
        _ = array[tuple(slice(n * one, (n + 1) * one) for n, one in zip(number, array.chunks, strict=True))]
    except MemoryError:
        raise
    # A damaged chunk can make its codec raise nearly any exception.
    except Exception:
        return False
    return True


def store(target: Any, array: Array, chunks: Sequence[int]) -> None:
    """Write all of `array` into the Zarr array `target`; each thread writes one chunk at a time."""
    whole = tuple(slice(0, size) for size in array.shape)

    def put(number: tuple[int, ...]) -> None:
        part = part_in_chunk(number, chunks, whole)
        target[part] = array[part]

    with workers() as pool:
        for _ in pool.map(put, chunk_numbers(whole, chunks)):
            pass


@contextmanager
def workers(most: int | None = None) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of threads; on an error or a signal, tasks that have begun finish and waiting tasks are cancelled.

    The block ends only when all threads have, because a thread that still writes would recreate a removed folder.

    Args:
        most: The largest number of threads; None for the limit of the machine.
    """
    pool = ThreadPoolExecutor(min(machine.threads(), most or machine.threads()))
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _save(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(unicode(content), indent=1), encoding="utf-8")
