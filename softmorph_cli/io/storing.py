"""Writing the arrays of a Zarr store: every chunk, compressed, with a checksum."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from softmorph_cli.io.provenance import SIGNATURE
from softmorph_cli.io.raw import Array
from softmorph_cli.io.stores import WHOLE
from softmorph_cli.system import machine
from softmorph_cli.system.printable import unicode

if TYPE_CHECKING:
    from collections.abc import Iterator

# A quarter of a million values in a chunk of a small map; eight times as many where there would be thousands.
_SIDES = {2: (512, 1024), 3: (64, 128)}
_LARGE = 1 << 30
# A chunk that is shorter is not worth its file.
_LEAST = 16


def chunk_shape(shape: Sequence[int], letters: str) -> tuple[int, ...]:
    """The chunks of a new array: cubes or squares of space, one of anything else."""
    spatial = [size for size, letter in zip(shape, letters, strict=True) if letter in "ZYX"]
    # One slice of a volume is an image.
    flat = len(spatial) == 2 or 1 in spatial
    side = _SIDES[2 if flat else 3][prod(spatial) > _LARGE]
    return tuple(
        min(size, side) if letter in "ZYX" else 1 for size, letter in zip(shape, letters, strict=True)
    )


def chunks_of_tiles(shape: Sequence[int], letters: str, tile: Sequence[int]) -> tuple[int, ...]:
    """The chunks of a new array that is written in tiles: `chunk_shape`, or such that no two tiles share a chunk.

    Args:
        shape: The array's, axes of space alone.
        letters: Its axes.
        tile: The extent of a tile, the last of which may be shorter.
    """

    def along(extent: int, length: int, default: int) -> int:
        if length >= extent:
            return default
        parts = [part for part in range(_LEAST, length + 1) if length % part == 0]
        # Rather a large chunk than thousands of slivers.
        return max((part for part in parts if part <= default), default=min(parts, default=length))

    return tuple(map(along, shape, tile, chunk_shape(shape, letters)))


def create_group(path: Path, attributes: Mapping[str, Any]) -> None:
    """Write the attributes of an image into an empty folder, in the version they are of."""
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
    """Make an array of a group with these attributes, and open it for writing."""
    import zarr

    common: dict[str, Any] = {
        "shape": tuple(shape),
        "dtype": np.dtype(dtype),
        "chunks": tuple(chunks),
        "fill_value": 0,
        # A chunk of zeros is a few bytes long, and one that is missing is then known to be lost.
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
    """Open an array that `create_array` made, to go on writing."""
    import zarr

    # Its argument `config` is for arrays that it creates.
    with zarr.config.set({"array.write_empty_chunks": True}):
        return _with_checksums(zarr.open_array(str(path), mode="r+"))


def _with_checksums(array: Any) -> Any:
    """Let the chunks of an array carry checksums, which every reader heeds.

    The metadata of version 2 do not name them: TensorStore and zarrs (Rust) refuse a word that they do not know.
    """
    if array.metadata.zarr_format == 2:
        array.metadata.compressor.checksum = True
    return array


def chunk_file(array: Any, path: Path, number: Sequence[int]) -> Path:
    """Where a chunk of the array in the folder `path` lies, there or not; its number along each axis."""
    return path / str(array.metadata.encode_chunk_key(tuple(number)))


def readable(array: Any, path: Path, number: Sequence[int]) -> bool:
    """Whether a chunk of the array in the folder `path` is there, and can be read; its number along each axis."""
    if not chunk_file(array, path, number).is_file():
        return False
    cut = tuple(slice(n * one, (n + 1) * one) for n, one in zip(number, array.chunks, strict=True))
    try:
        _ = array[cut]
    except MemoryError:
        raise
    # A damaged chunk makes its codec raise nearly anything.
    except Exception:
        return False
    return True


def store(target: Any, array: Array, chunks: Sequence[int]) -> None:
    """Write a whole array, a chunk at a time in every thread."""
    ranges = [
        [slice(at, at + one) for at in range(0, size, one)]
        for size, one in zip(array.shape, chunks, strict=True)
    ]

    def put(cut: tuple[slice, ...]) -> None:
        target[cut] = array[cut]

    with workers() as pool:
        for _ in pool.map(put, product(*ranges)):
            pass


@contextmanager
def workers(most: int | None = None) -> Iterator[ThreadPoolExecutor]:
    """Threads that finish what they have begun, and begin nothing else, before an error or a signal goes on.

    What writes in the background would otherwise bring back the folder that is being removed.

    Args:
        most: Not more of them than this.
    """
    pool = ThreadPoolExecutor(min(machine.threads(), most or machine.threads()))
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _save(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(unicode(content), indent=1), encoding="utf-8")
