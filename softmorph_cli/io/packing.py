"""The codecs of the chunks of a Zarr array, and a bound on the size to which a chunk decompresses.

A chunk of a few kilobytes can decompress to many gigabytes, and codecs allocate the size that the header of the chunk
states. Therefore this size is compared with the chunk size of the array before a codec reads the chunk.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from softmorph_cli.errors import FileError
from softmorph_cli.io.damage import Damaged
from softmorph_cli.io.zipped import DAMAGED, Unzipped, can_hold
from softmorph_cli.system import machine
from softmorph_cli.system.descriptors import open_plain

# Compressors, and `Unzipped`'s names of those that it decompresses piece by piece.
_PACKERS: Final[dict[str, str | None]] = {
    **{"gzip": "gzip", "zlib": "zlib", "bz2": "bzip2", "lzma": "xz"},
    **dict.fromkeys(("blosc", "zstd", "lz4")),
}
# Checksums, and the end of the bytes at which they are by default.
_CHECKSUMS: Final = {
    **dict.fromkeys(("crc32", "adler32"), "start"),
    **dict.fromkeys(("crc32c", "fletcher32", "jenkins_lookup3"), "end"),
}
_CHECKSUM_BYTES: Final = 4
# Codecs that keep the number of bytes, apart from a checksum.
_PLAIN: Final = frozenset({"bytes", "endian", "transpose", "shuffle", *_CHECKSUMS})
_SHARDS: Final = "sharding_indexed"
_NO_CHUNK: Final = 2**64 - 1
# Filters may store up to 8 times wider numbers than the array's; checksums and headers take some bytes.
_WIDER, _SLACK = 8, 4096
# A chunk that cannot decompress to more than an eighth of memory, and these bytes, is not decompressed to count.
_HARMLESS_SHARE, _HARMLESS = 8, 1 << 28

# The most bytes that a byte can decompress to.
_LZ4_MOST: Final = 255
_ZSTD, _ZSTD_BLOCK = 0xFD2FB528, 1 << 17
_ZSTD_SKIPPED = 0x184D2A5


def _harmless() -> int:
    return min((machine.memory() or _HARMLESS) // _HARMLESS_SHARE, _HARMLESS)


# The sizes in bytes of the checksums before and after compressed bytes.
_Ends = tuple[int, int]


@dataclass(frozen=True)
class Packing:
    """The compression of the chunks of a Zarr array, with a limit on their decompressed size.

    Attributes:
        codec: The name of the compressor, or None.
        size: The largest number of bytes to which a chunk may decompress.
        ends: The sizes in bytes of the checksums before and after the compressed bytes of a chunk.
        pieces: The number of chunks in a file that is a shard (several chunks in one file); 0 if a file is one chunk.
        index: The size in bytes of the index of chunks in a shard.
        index_first: Whether the index is at the start of the shard.
        shard_ends: The sizes in bytes of the checksums before and after a shard.
        harmless: A number of bytes; a chunk that cannot decompress to more is not decompressed to measure its size.
    """

    codec: str | None
    size: int
    ends: _Ends = (0, 0)
    pieces: int = 0
    index: int = 0
    index_first: bool = False
    shard_ends: _Ends = (0, 0)
    harmless: int = field(default_factory=_harmless)

    def check(self, path: Path) -> None:
        """Raise an error if a chunk in a file decompresses to more than `size` bytes; a missing file is accepted.

        Raises:
            Damaged: If the header of a chunk does not fit the length of the chunk.
            FileError: If a chunk decompresses to too many bytes, or the path is no regular file.
        """
        try:
            number = open_plain(path)
        except OSError:  # zarr reports it
            return
        found = os.fstat(number)
        if not stat.S_ISREG(found.st_mode):
            os.close(number)
            raise FileError(f"{path} is no plain file; copy the store again.")
        with os.fdopen(number, "rb") as stream:
            # No compressor doubles the size of its input.
            most = 2 * max(1, self.pieces) * self.size + self.index
            parts = self._parts(stream, found.st_size)
            if found.st_size > most or any(self.exceeds(stream, *part) for part in parts):
                raise FileError(
                    f"{path} holds more than the numbers of a chunk, and is not unpacked; copy the store again, or "
                    "write it again from its source."
                )

    def _parts(self, stream: BinaryIO, size: int) -> Iterator[tuple[int, int]]:
        """Yield the position and the length in bytes of each chunk in a file of `size` bytes."""
        if not self.pieces:
            yield 0, size
            return
        before, behind = self.shard_ends
        stream.seek(before if self.index_first else max(0, size - behind - self.index))
        index = stream.read(16 * self.pieces)
        for start, length in np.frombuffer(index[: len(index) // 16 * 16], "<u8").reshape(-1, 2).tolist():
            if start != _NO_CHUNK and before + start + length <= size:
                yield before + start, length

    def exceeds(self, stream: BinaryIO, start: int, length: int) -> bool:
        """Return whether the chunk of `length` bytes at position `start` decompresses to more than `size` bytes.

        Raises:
            Damaged: If the header of the chunk does not fit `length`.
        """
        stream.seek(start + self.ends[0])
        length = max(0, length - sum(self.ends))
        if self.codec is None:
            return length > self.size
        kind = _PACKERS[self.codec]
        if kind is not None:
            harmless = max(self.size, self.harmless)
            return can_hold(length, harmless, kind) and _unpacks_beyond(stream, length, kind, self.size)
        if self.codec == "zstd":
            return _zstd_size(stream, length) > self.size
        head = stream.read(16)
        if self.codec == "lz4":
            return min(int.from_bytes(head[:4], "little"), _LZ4_MOST * length) > self.size
        # Blosc reads as many bytes as its header states, also beyond the end of the chunk.
        if len(head) < 16 or int.from_bytes(head[12:], "little") != length:
            raise Damaged("its header does not fit its length")
        return int.from_bytes(head[4:8], "little") > self.size


def packing(metadata: Mapping[str, Any], name: str, chunk: Sequence[int], itemsize: int) -> Packing:
    """Return the compression of the chunks of an array, as its metadata state it.

    Args:
        metadata: The metadata of the array, in Zarr version 2 or 3.
        name: The name of the array in messages.
        chunk: The shape of a chunk, or of a shard.
        itemsize: The size of an element in bytes.

    Raises:
        FileError: If chunks with such a sequence of codecs are not supported.
    """
    outer = _codecs(metadata)
    shards = [options for step, options in outer if step == _SHARDS]
    inner = _codecs(shards[0]) if shards else []
    both = [*outer, *inner]
    names = ", ".join(step for step, _ in both)
    packers = [(step, options) for step, options in both if step in _PACKERS]
    if len(packers) > 1 or len(shards) > 1 or any(step == _SHARDS for step, _ in inner):
        raise FileError(
            f"{name} is packed more than once ({names}), which is not read; write it again with one of blosc, zstd and "
            "gzip."
        )
    codec, options = packers[0] if packers else (None, {})
    innermost = inner if shards else outer
    if codec is not None and codec not in [step for step, _ in innermost]:
        raise FileError(
            f"{name} has shards that are packed as a whole, which is not read; write it again without."
        )
    shard_ends = _ends(outer, _SHARDS) if shards else (0, 0)
    ends = _ends(innermost, codec) if codec is not None else (0, 0)
    if shard_ends is None or ends is None:
        raise FileError(
            f"{name} is compressed first and changed again afterwards ({names}), which is not read; write it again "
            "with one of blosc, zstd and gzip as its last step."
        )
    if codec == "lzma" and options.get("format") == 3:
        raise FileError(
            f"{name} is compressed with lzma without its header, which is not read; write it again with blosc, zstd or "
            "gzip."
        )
    wider = any(other not in {*_PLAIN, *_PACKERS, _SHARDS} for other, _ in both)
    factor = _WIDER if wider else 1
    size = prod(chunk) * itemsize * factor + _SLACK
    if not shards:
        return Packing(codec, size, ends)
    shape = [size for size in shards[0].get("chunk_shape", ()) if isinstance(size, int) and size > 0]
    index = _codecs({"codecs": shards[0].get("index_codecs", ())})
    if len(shape) != len(chunk) or {step for step, _ in index} - {"bytes", "crc32c"}:
        raise FileError(f"{name} has shards whose index is not read; write it again without shards.")
    pieces = prod(-(-length // part) for length, part in zip(chunk, shape, strict=True))
    return Packing(
        codec,
        prod(shape) * itemsize * factor + _SLACK,
        ends,
        pieces,
        16 * pieces + 4 * ("crc32c" in [step for step, _ in index]),
        shards[0].get("index_location") == "start",
        shard_ends,
    )


def pickles(metadata: Mapping[str, Any]) -> bool:
    """Return whether metadata of an array name the codec that unpickles Python objects, also within shards."""
    waiting = [_codecs(metadata)]
    while waiting:
        for codec, options in waiting.pop():
            if codec == "pickle":
                return True
            waiting.append([*_codecs(options), *_codecs({"codecs": options.get("index_codecs", ())})])
    return False


def _codecs(metadata: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the names and options of the codecs of an array, or of its shards, in the order of encoding."""
    listed = [*_list(metadata.get("filters")), metadata.get("compressor"), *_list(metadata.get("codecs"))]
    found: list[tuple[str, Mapping[str, Any]]] = []
    for entry in listed:
        codec = {"name": entry} if isinstance(entry, str) else entry
        if not isinstance(codec, dict):
            continue
        options = codec.get("configuration", codec)
        name = str(codec.get("id", codec.get("name", ""))).removeprefix("numcodecs.")
        found.append((name, options if isinstance(options, dict) else {}))
    return found


def _ends(codecs: Sequence[tuple[str, Mapping[str, Any]]], codec: str) -> _Ends | None:
    """Return the sizes of the checksums around the output of a codec; None if a later codec is no checksum."""
    before = behind = 0
    later = [name for name, _ in codecs].index(codec) + 1
    for name, options in codecs[later:]:
        if name not in _CHECKSUMS:
            return None
        if options.get("location", _CHECKSUMS[name]) == "start":
            before += _CHECKSUM_BYTES
        else:
            behind += _CHECKSUM_BYTES
    return before, behind


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _unpacks_beyond(stream: BinaryIO, length: int, kind: str, size: int) -> bool:
    """Return whether compressed data decompress to more than `size` bytes; damaged data are left for zarr to report."""
    seen = 0
    with Unzipped(BytesIO(stream.read(length)), kind) as unpacked, suppress(*DAMAGED):
        while seen <= size and (piece := unpacked.read(1 << 20)):
            seen += len(piece)
    return seen > size


def _zstd_size(stream: BinaryIO, length: int) -> int:
    """Return the decompressed size that Zstandard frames state, or else the most that they can hold (RFC 8878)."""
    total, end = 0, stream.tell() + length
    while len(magic := stream.read(4)) == 4 and stream.tell() < end:
        number = int.from_bytes(magic, "little")
        if number >> 4 == _ZSTD_SKIPPED:
            stream.seek(int.from_bytes(stream.read(4), "little"), os.SEEK_CUR)
            continue
        if number != _ZSTD:
            break
        (flags, *_) = stream.read(1) or b"\0"
        single = flags >> 5 & 1
        stream.seek((1 - single) + (0, 1, 2, 4)[flags & 3], os.SEEK_CUR)
        bytes_of_size = (single, 2, 4, 8)[flags >> 6]
        stated = int.from_bytes(stream.read(bytes_of_size), "little") + 256 * (bytes_of_size == 2)
        most, last = 0, False
        while not last and len(head := stream.read(3)) == 3 and stream.tell() < end:
            block = int.from_bytes(head, "little")
            last, kind, count = bool(block & 1), block >> 1 & 3, block >> 3
            most += count if kind < 2 else _ZSTD_BLOCK
            stream.seek(1 if kind == 1 else count, os.SEEK_CUR)
        stream.seek(4 * (flags >> 2 & 1), os.SEEK_CUR)
        total += stated if bytes_of_size else most
    return total
