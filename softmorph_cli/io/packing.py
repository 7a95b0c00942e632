"""How the pieces of an array are packed: nothing is unpickled, and none unpacks to more than it holds.

Codecs trust what they are given: a few kilobytes can say, or be, many gigabytes. So each chunk is looked at first.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from softmorph_cli import machine
from softmorph_cli.errors import FileError
from softmorph_cli.io.damage import Damaged
from softmorph_cli.io.zipped import DAMAGED, Unzipped, can_hold

# Codecs that make bytes fewer, and what unpacks them piece by piece, where there is such a thing.
_PACKERS: Final[dict[str, str | None]] = {
    **{"gzip": "gzip", "zlib": "zlib", "bz2": "bzip2", "lzma": "xz"},
    **dict.fromkeys(("blosc", "zstd", "lz4")),
}
# What leaves the number of bytes as it is, but for a checksum.
_PLAIN: Final = frozenset(
    {"bytes", "endian", "transpose", "crc32c", "crc32", "adler32", "fletcher32", "shuffle"}
)
_SHARDS: Final = "sharding_indexed"
_NO_CHUNK: Final = 2**64 - 1
# Filters may store wider numbers than those of the array, and checksums and headers take some bytes.
_WIDER, _SLACK = 8, 4096
# What a chunk can unpack to without being looked at: a share of the memory that may be used, and bytes.
_UNSEEN_SHARE, _UNSEEN = 8, 1 << 28

# How many bytes a byte can unpack to at most.
_LZ4_MOST: Final = 255
_ZSTD, _ZSTD_BLOCK = 0xFD2FB528, 1 << 17
_ZSTD_SKIPPED = 0x184D2A5


@dataclass(frozen=True)
class Packing:
    """How chunks are packed.

    Attributes:
        codec: What packs them, or None.
        size: How many bytes a chunk may unpack to.
        pieces: How many chunks of this kind are in a file, as a shard; 0 where a file is one chunk.
        index: Of a shard, how many bytes of the file say where its chunks are.
        index_first: Whether they are its first.
    """

    codec: str | None
    size: int
    pieces: int = 0
    index: int = 0
    index_first: bool = False

    def check(self, path: Path) -> None:
        """Refuse a file whose chunks unpack to more than they hold; one that is not there has none.

        Raises:
            Damaged: If a header cannot be that of the file.
            FileError: If they do.
        """
        try:
            number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:  # whoever reads it says why
            return
        with os.fdopen(number, "rb") as stream:
            found = os.fstat(stream.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise FileError(f"{path} is no plain file; copy the store again.")
            # Nothing that packs makes its input twice as long.
            most = 2 * max(1, self.pieces) * self.size + self.index
            parts = self._parts(stream, found.st_size)
            if found.st_size > most or any(self.exceeds(stream, *part) for part in parts):
                raise FileError(
                    f"{path} holds more than the numbers of a chunk, and is not unpacked; copy the store again, or "
                    "write it again from its source."
                )

    def _parts(self, stream: BinaryIO, size: int) -> Iterator[tuple[int, int]]:
        if not self.pieces:
            yield 0, size
            return
        stream.seek(0 if self.index_first else max(0, size - self.index))
        told = stream.read(16 * self.pieces)
        for start, length in np.frombuffer(told[: len(told) // 16 * 16], "<u8").reshape(-1, 2).tolist():
            if start != _NO_CHUNK and start + length <= size:
                yield start, length

    def exceeds(self, stream: BinaryIO, start: int, length: int) -> bool:
        """Whether so many bytes of an open file, from one of them on, unpack to more than they may.

        Raises:
            Damaged: If a header cannot be theirs.
        """
        stream.seek(start)
        if self.codec is None:
            return length > self.size
        kind = _PACKERS[self.codec]
        if kind is not None:
            unseen = max(self.size, min((machine.memory() or _UNSEEN) // _UNSEEN_SHARE, _UNSEEN))
            return can_hold(length, unseen, kind) and _unpacks_beyond(stream, length, kind, self.size)
        if self.codec == "zstd":
            return _zstd_says(stream, length) > self.size
        head = stream.read(16)
        if self.codec == "lz4":
            return min(int.from_bytes(head[:4], "little"), _LZ4_MOST * length) > self.size
        # What blosc says of its own length is believed when it is read; a checksum of four bytes may follow.
        if len(head) < 16 or int.from_bytes(head[12:], "little") not in (length, length - 4):
            raise Damaged("its header does not fit its length")
        return int.from_bytes(head[4:8], "little") > self.size


def packing(told: Mapping[str, Any], name: str, chunk: Sequence[int], itemsize: int) -> Packing:
    """Read how the chunks of an array are packed.

    Args:
        told: The metadata of the array, of either version.
        name: What the user called it, for messages.
        chunk: The shape of a chunk, or of a shard.
        itemsize: Bytes of an element.

    Raises:
        FileError: If they are packed in a way that is not read.
    """
    outer = _codecs(told)
    shards = [options for codec, options in outer if codec == _SHARDS]
    inner = _codecs(shards[0]) if shards else []
    both = [*outer, *inner]
    packers = [(codec, options) for codec, options in both if codec in _PACKERS]
    if len(packers) > 1 or len(shards) > 1 or any(codec == _SHARDS for codec, _ in inner):
        names = ", ".join(codec for codec, _ in both)
        raise FileError(
            f"{name} is packed more than once ({names}), which is not read; write it again with one of blosc, zstd and "
            "gzip."
        )
    codec, options = packers[0] if packers else (None, {})
    if codec == "lzma" and options.get("format") == 3:
        raise FileError(
            f"{name} is compressed with lzma without its header, which is not read; write it again with blosc, zstd or "
            "gzip."
        )
    wider = any(one not in {*_PLAIN, *_PACKERS, _SHARDS} for one, _ in both)
    factor = _WIDER if wider else 1
    size = prod(chunk) * itemsize * factor + _SLACK
    if not shards:
        # What no codec packs is as long as its file.
        return Packing(codec, size)
    shape = [one for one in shards[0].get("chunk_shape", ()) if isinstance(one, int) and one > 0]
    index = _codecs({"codecs": shards[0].get("index_codecs", ())})
    if len(shape) != len(chunk) or {name for name, _ in index} - {"bytes", "crc32c"}:
        raise FileError(f"{name} has shards whose index is not read; write it again without shards.")
    if codec is not None and codec not in [one for one, _ in inner]:
        raise FileError(
            f"{name} has shards that are packed as a whole, which is not read; write it again without."
        )
    pieces = prod(-(-one // part) for one, part in zip(chunk, shape, strict=True))
    return Packing(
        codec,
        prod(shape) * itemsize * factor + _SLACK,
        pieces,
        16 * pieces + 4 * ("crc32c" in [name for name, _ in index]),
        shards[0].get("index_location") == "start",
    )


def pickles(told: Mapping[str, Any]) -> bool:
    """Whether metadata name the codec that makes Python objects, wherever they name codecs."""
    waiting = [_codecs(told)]
    while waiting:
        for codec, options in waiting.pop():
            if codec == "pickle":
                return True
            waiting.append([*_codecs(options), *_codecs({"codecs": options.get("index_codecs", ())})])
    return False


def _codecs(told: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The codecs of an array, or those of its shards, by name, each with its options."""
    listed = [told.get("compressor"), *_list(told.get("filters")), *_list(told.get("codecs"))]
    found: list[tuple[str, Mapping[str, Any]]] = []
    for one in listed:
        whole = {"name": one} if isinstance(one, str) else one
        if not isinstance(whole, dict):
            continue
        options = whole.get("configuration", whole)
        name = str(whole.get("id", whole.get("name", ""))).removeprefix("numcodecs.")
        found.append((name, options if isinstance(options, dict) else {}))
    return found


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _unpacks_beyond(stream: BinaryIO, length: int, kind: str, size: int) -> bool:
    seen = 0
    with (
        Unzipped(BytesIO(stream.read(length)), kind) as unpacked,
        suppress(*DAMAGED),
    ):  # whoever reads it says so
        while seen <= size and (piece := unpacked.read(1 << 20)):
            seen += len(piece)
    return seen > size


def _zstd_says(stream: BinaryIO, length: int) -> int:
    """How many bytes frames of Zstandard say that they unpack to, or can at most where they do not (RFC 8878)."""
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
        said = int.from_bytes(stream.read(bytes_of_size), "little") + 256 * (bytes_of_size == 2)
        most, last = 0, False
        while not last and len(head := stream.read(3)) == 3 and stream.tell() < end:
            block = int.from_bytes(head, "little")
            last, what, count = bool(block & 1), block >> 1 & 3, block >> 3
            most += count if what < 2 else _ZSTD_BLOCK
            stream.seek(1 if what == 1 else count, os.SEEK_CUR)
        stream.seek(4 * (flags >> 2 & 1), os.SEEK_CUR)
        total += said if bytes_of_size else most
    return total
