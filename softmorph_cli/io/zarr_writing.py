"""Writing the arrays of a Zarr store: every chunk, compressed, with a checksum."""

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
    """Return the chunks of a new array: cubes or squares along spatial axes, one index of mapped axes."""
    spatial = [size for size, letter in zip(shape, letters, strict=True) if letter in "ZYX"]
    # A volume of one slice is chunked as an image.
    flat = len(spatial) == 2 or 1 in spatial
    side = _SIDES[2 if flat else 3][prod(spatial) > _LARGE]
    return tuple(
        min(size, side) if letter in "ZYX" else 1 for size, letter in zip(shape, letters, strict=True)
    )


def chunks_of_tiles(shape: Sequence[int], letters: str, tile: Sequence[int]) -> tuple[int, ...]:
    """Return the chunks of a new array that is written in tiles, such that no two tiles share a chunk.

    Args:
        shape: The extent along the spatial axes.
        letters: The axes.
        tile: The extent of a tile.
    """

    def along(extent: int, length: int, default: int) -> int:
        if length >= extent:
            return default
        parts = [part for part in range(_LEAST, length + 1) if length % part == 0]
        # A large chunk is better than thousands of thin ones.
        return max((part for part in parts if part <= default), default=min(parts, default=length))

    return tuple(map(along, shape, tile, chunk_shape(shape, letters)))


def create_group(path: Path, attributes: Mapping[str, Any]) -> None:
    """Write the attributes of an image into an empty folder, in the Zarr version of their NGFF version."""
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
    """Create an array of a group with these attributes, and open it for writing."""
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
    """Open an array that `create_array` made for further writing."""
    import zarr

    # The argument `config` is for new arrays only.
    with zarr.config.set({"array.write_empty_chunks": True}):
        return _with_checksums(zarr.open_array(str(path), mode="r+"))


def _with_checksums(array: Any) -> Any:
    """Let the chunks of an array carry Zstandard checksums, which every reader verifies.

    The metadata of version 2 do not mention them: TensorStore and zarrs (Rust) refuse unknown keys.
    """
    if array.metadata.zarr_format == 2:
        array.metadata.compressor.checksum = True
    return array


def chunk_file(array: Any, path: Path, number: Sequence[int]) -> Path:
    """Return the path of a chunk of the array in folder `path`, by its position in the grid of chunks."""
    return path / str(array.metadata.encode_chunk_key(tuple(number)))


def readable(array: Any, path: Path, number: Sequence[int]) -> bool:
    """Whether a chunk of the array in folder `path` exists and can be read."""
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
    """Write a whole array, one chunk per thread at a time."""
    whole = tuple(slice(0, size) for size in array.shape)

    def put(number: tuple[int, ...]) -> None:
        part = part_in_chunk(number, chunks, whole)
        target[part] = array[part]

    with workers() as pool:
        for _ in pool.map(put, chunk_numbers(whole, chunks)):
            pass


@contextmanager
def workers(most: int | None = None) -> Iterator[ThreadPoolExecutor]:
    """Yield threads; on an error or a signal they finish what they have begun and begin nothing else.

    A thread that still writes would create the folder again that is being removed.

    Args:
        most: The most threads.
    """
    pool = ThreadPoolExecutor(min(machine.threads(), most or machine.threads()))
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _save(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(unicode(content), indent=1), encoding="utf-8")
