"""Compressed streams for reading and writing; ISA-L decompresses gzip 2 and compresses 3 times as fast as zlib."""

from __future__ import annotations

import bz2
import io
import lzma
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from isal import igzip, igzip_lib, isal_zlib

from softmorph_cli.io.damage import ENDS_EARLY, Damaged, Unsupported

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAGIC: Final = b"\x1f\x8b"
# Exceptions on reading a damaged file.
DAMAGED: Final = (OSError, EOFError, Damaged, lzma.LZMAError, cast("type[Exception]", isal_zlib.error))

# Levels are 0 to 3; level 3 takes 50 % more time and saves 2 %.
_LEVEL: Final = 2
_PIECE: Final = 1 << 20
_MOST_BEHIND: Final = 1 << 28
# By compression: the signature of a stream that may follow another; the most bytes that a byte can decompress to.
_KINDS: Final[dict[str, tuple[bytes, int]]] = {
    "gzip": (MAGIC, 1032),
    "zlib": (b"", 1032),
    "bzip2": (b"BZh", 1_100_000),
    "xz": (b"\xfd7zXZ\0", 1 << 15),
}


class Unzipped(io.RawIOBase):
    """A compressed file open for reading, which holds one compressed stream or several in sequence.

    Attributes:
        trailing: How many unused bytes follow the last stream, without leading zeros; set when its end is reached.
    """

    def __init__(self, stream: BinaryIO, kind: str = "gzip", *, size: int | None = None) -> None:
        """Start reading at the current position of a file, which is closed together with this object.

        Args:
            stream: The file with compressed data.
            kind: The compression: "gzip", "zlib", "bzip2" or "xz".
            size: The number of compressed bytes; None for the rest of the file.
        """
        self._stream, self._kind, self._size = stream, kind, size
        self._start = stream.tell()
        self._begin()

    def _begin(self) -> None:
        self._left, self._at, self._fed, self.trailing = self._size, 0, b"", 0
        self._unpacker = self._unpacking()

    def _unpacking(self) -> Any:
        if self._kind == "bzip2":
            return bz2.BZ2Decompressor()
        if self._kind == "xz":
            return lzma.LZMADecompressor()
        gzip = self._kind == "gzip"
        return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP if gzip else igzip_lib.DECOMP_ZLIB)

    def _more(self) -> bytes:
        piece = self._stream.read(_PIECE if self._left is None else min(_PIECE, self._left))
        if self._left is not None:
            self._left -= len(piece)
        return piece

    def _next(self) -> bool:
        """Begin the next compressed stream and return True; after the last one count unused bytes, return False."""
        magic, rest = _KINDS[self._kind][0], self._unpacker.unused_data.lstrip(b"\0")
        while len(rest) < max(1, len(magic)) and (piece := self._more()):
            rest = (rest + piece).lstrip(b"\0")
        if magic and rest.startswith(magic):
            self._unpacker, self._fed = self._unpacking(), rest
            return True
        while rest:
            self.trailing += len(rest)
            rest = self._more()
        return False

    def readable(self) -> bool:
        """Return True, because the object is open for reading."""
        return True

    def seekable(self) -> bool:
        """Return True; seeking decompresses the skipped bytes."""
        return True

    def tell(self) -> int:
        """Return the position in the decompressed bytes."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Set the position in the decompressed bytes; going back restarts from the beginning."""
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("the length of a compressed file is not known.")
        if offset < self._at:
            self._stream.seek(self._start)
            self._begin()
        while self._at < offset and self.read(min(_PIECE, offset - self._at)):
            pass
        return self._at

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer up to the end of the data; return how many bytes were read.

        Raises:
            Damaged: If the file ends within a stream; `tell` then returns where.
        """
        view, done = memoryview(buffer).cast("B"), 0
        while done < len(view):
            if self._unpacker.eof:
                if self.trailing or not self._next():
                    break
                continue
            if self._unpacker.needs_input and not self._fed:
                self._fed = self._more()
                if not self._fed:
                    self._at += done
                    raise Damaged(ENDS_EARLY)
            piece = self._unpacker.decompress(self._fed, min(_PIECE, len(view) - done))
            self._fed = b""
            view[done : done + len(piece)] = piece
            done += len(piece)
        self._at += done
        return done

    def close(self) -> None:
        """Close this object and the compressed file."""
        if not self.closed:
            self._stream.close()
        super().close()


def opened(path: Path) -> Unzipped | BinaryIO:
    """Open a file for reading; one that is gzipped is decompressed on reading."""
    stream = path.open("rb")
    zipped = stream.read(len(MAGIC)) == MAGIC
    stream.seek(0)
    return Unzipped(stream) if zipped else stream


def can_hold(packed: int, unpacked: int, kind: str = "gzip") -> bool:
    """Return whether `packed` compressed bytes can decompress to `unpacked` bytes; checked before allocating."""
    return unpacked <= (packed + 64) * _KINDS[kind][1]


def finish(stream: Unzipped) -> int:
    """Decompress the rest of a stream, at whose end the checksum is verified.

    Returns:
        How many decompressed bytes followed the voxels.

    Raises:
        Unsupported: If more than 2^28 bytes follow.
    """
    more = 0
    while piece := stream.read(_PIECE):
        more += len(piece)
        if more > _MOST_BEHIND:
            raise Unsupported(f"more than {_MOST_BEHIND:,} bytes follow its voxels")
    return more


def trailing_notes(size: int, *, packed: bool = False) -> list[str]:
    """Return a list with a note on unused bytes after the voxels; empty for 0 bytes.

    Args:
        size: The number of unused bytes.
        packed: Whether the bytes follow the compressed data instead of the decompressed voxels.
    """
    place = "the end of its compressed data" if packed else "its voxels"
    count = "1 byte" if size == 1 else f"{size:,} bytes"
    return [f"{count} behind {place} {'is' if size == 1 else 'are'} not used."] if size else []


def gzip_writer(file: BinaryIO) -> Any:
    """Return a gzip stream that writes at the current position of an open file; closing it does not close the file.

    The gzip header has no name and no time, so that equal contents give equal files.
    """
    return igzip.IGzipFile("", "wb", _LEVEL, file, mtime=0)  # type: ignore[no-untyped-call]
