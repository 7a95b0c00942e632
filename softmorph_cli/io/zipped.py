"""Compressed bytes; gzip through ISA-L, which unpacks twice and packs three times as fast as zlib."""

from __future__ import annotations

import bz2
import io
import lzma
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from isal import igzip, igzip_lib, isal_zlib

from softmorph_cli.io.damage import ENDS_EARLY, Damaged, Unsupported

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAGIC: Final = b"\x1f\x8b"
# What reading a damaged file raises.
DAMAGED: Final = (OSError, EOFError, Damaged, lzma.LZMAError, cast("type[Exception]", isal_zlib.error))

# Out of 0 to 3: the next one takes half as long again to save 2 %.
_LEVEL: Final = 2
_PIECE: Final = 1 << 20
_MOST_BEHIND: Final = 1 << 28
# How a stream begins, where another may follow it; how many bytes a byte can unpack to at most.
_KINDS: Final[dict[str, tuple[bytes, int]]] = {
    "gzip": (MAGIC, 1032),
    "zlib": (b"", 1032),
    "bzip2": (b"BZh", 1_100_000),
    "xz": (b"\xfd7zXZ\0", 1 << 15),
}


class Unzipped(io.RawIOBase):
    """A compressed file open for reading: one stream or several, one behind the other.

    Attributes:
        behind: How many bytes follow the last stream and are not read, zeros left out; known at its end.
    """

    def __init__(self, stream: BinaryIO, kind: str = "gzip", *, size: int | None = None) -> None:
        """Read from where a file is; it is closed along with this.

        Args:
            stream: The file.
            kind: "gzip", "zlib", "bzip2" or "xz".
            size: How many compressed bytes there are; None for all that follow.
        """
        self._stream, self._kind, self._size = stream, kind, size
        self._start = stream.tell()
        self._begin()

    def _begin(self) -> None:
        self._left, self._at, self._fed, self.behind = self._size, 0, b"", 0
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
        """Go on to the next stream, if one follows; after the last one count what is left."""
        magic, rest = _KINDS[self._kind][0], self._unpacker.unused_data.lstrip(b"\0")
        while len(rest) < max(1, len(magic)) and (piece := self._more()):
            rest = (rest + piece).lstrip(b"\0")
        if magic and rest.startswith(magic):
            self._unpacker, self._fed = self._unpacking(), rest
            return True
        while rest:
            self.behind += len(rest)
            rest = self._more()
        return False

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes, at the price of unpacking what lies between."""
        return True

    def tell(self) -> int:
        """How many bytes were unpacked."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to an unpacked byte; backwards from the beginning anew."""
        if whence != io.SEEK_SET:
            raise io.UnsupportedOperation("the length of a compressed file is not known.")
        if offset < self._at:
            self._stream.seek(self._start)
            self._begin()
        while self._at < offset and self.read(min(_PIECE, offset - self._at)):
            pass
        return self._at

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer, to its end unless the file ends before.

        Raises:
            Damaged: If the file ends within a stream.
        """
        view, done = memoryview(buffer).cast("B"), 0
        while done < len(view):
            if self._unpacker.eof:
                if self.behind or not self._next():
                    break
                continue
            if self._unpacker.needs_input and not self._fed:
                self._fed = self._more()
                if not self._fed:
                    raise Damaged(ENDS_EARLY)
            piece = self._unpacker.decompress(self._fed, min(_PIECE, len(view) - done))
            self._fed = b""
            view[done : done + len(piece)] = piece
            done += len(piece)
        self._at += done
        return done

    def close(self) -> None:
        """Close the file too."""
        if not self.closed:
            self._stream.close()
        super().close()


def can_hold(packed: int, unpacked: int, kind: str = "gzip") -> bool:
    """Whether so many compressed bytes can unpack to so many: a bound, before memory is taken."""
    return unpacked <= (packed + 64) * _KINDS[kind][1]


def finish(stream: Unzipped) -> int:
    """Unpack what follows the voxels, so that the checksum is compared, which comes at the very end.

    Returns:
        How many bytes there were.

    Raises:
        Unsupported: If they do not end within a bound.
    """
    more = 0
    while piece := stream.read(_PIECE):
        more += len(piece)
        if more > _MOST_BEHIND:
            raise Unsupported(f"more than {_MOST_BEHIND:,} bytes follow its voxels")
    return more


def told_behind(behind: int, *, packed: bool = False) -> list[str]:
    """A note on bytes that follow the voxels, or the compressed stream, and are not read."""
    what = "the end of its compressed data" if packed else "its voxels"
    return [f"{behind:,} bytes behind {what} are not used."] if behind else []


@contextmanager
def zipping(path: Path) -> Iterator[Any]:
    """Open a new gzip file for writing, without name and time: the same content makes the same bytes."""
    with path.open("wb") as file, zipping_into(file) as stream:
        yield stream


@contextmanager
def zipping_into(file: BinaryIO) -> Iterator[Any]:
    """Write gzip, as `zipping` does, to where an open file is."""
    stream = igzip.IGzipFile("", "wb", _LEVEL, file, mtime=0)  # type: ignore[no-untyped-call]
    with stream:
        yield stream
