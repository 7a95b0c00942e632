"""Reading and writing PNG: pixels through SimpleITK; palettes, alpha and texts from the chunks of the file."""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import numpy as np

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.io.damage import ENDS_EARLY, Damaged, Unsupported
from softmorph_cli.io.memory_check import check_room
from softmorph_cli.io.palette import of_palette
from softmorph_cli.io.provenance import SIGNATURE, as_text, parse
from softmorph_cli.io.raw import LABELS, ONE, Array, Encoding, Format, Raw, scale_of
from softmorph_cli.io.zipped import can_hold
from softmorph_cli.volume import Volume

_MAGIC = b"\x89PNG\r\n\x1a\n"
# The colour types of PNG, the samples of a pixel (1 for the others), and the bits that a sample may have.
_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGBA = 0, 2, 3, 4, 6
_SAMPLES: Final = {_RGB: 3, _GREY_ALPHA: 2, _RGBA: 4}
_DEPTHS: Final = {
    _GREY: (1, 2, 4, 8, 16), _PALETTE: (1, 2, 4, 8), **dict.fromkeys((_RGB, _GREY_ALPHA, _RGBA), (8, 16)),
}  # fmt: skip
# The length of IHDR's body, and where the chunk ends.
_HEAD, _HEAD_END = 13, 33
# Chunks whose contents are used here, and the longest palette or text that is read.
_USED: Final = (b"IHDR", b"PLTE", b"tRNS", b"tEXt")
_LONGEST_KEPT: Final = 1 << 22


@contextmanager
def _silent() -> Iterator[None]:
    """Suppress what C libraries of SimpleITK print to stderr; SimpleITK raises an exception with the same text."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def _spelt(path: Path) -> Iterator[str]:
    """Yield a name of a file in UTF-8, if necessary a temporary link: other names make SimpleITK abort the process."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with TemporaryDirectory() as folder:
            link = Path(folder) / f"link{path.suffix if path.suffix.isascii() else ''}"
            link.symlink_to(path.absolute())
            yield str(link)
    else:
        yield str(path)


def read_pixels(path: Path, reader: str) -> Array:
    """Read an image file with the ITK reader named `reader`, whatever its suffix; the slowest axis is the first."""
    import SimpleITK

    with _spelt(path) as name, _silent():
        image = SimpleITK.ReadImage(name, imageIO=reader)
    return np.asarray(SimpleITK.GetArrayFromImage(image))


def _write_image(image: Any, path: Path) -> None:
    import SimpleITK

    with _spelt(path) as name, _silent():
        try:
            SimpleITK.WriteImage(image, name, useCompression=True)
        except RuntimeError as error:
            # ITK's error has no errno; the last line of its text is the reason.
            raise OSError(str(error).strip().splitlines()[-1]) from error


@dataclass(frozen=True)
class Png(Format):
    """The PNG format: writes grey images of 8 or 16 bits, in which the maximum of the type represents 1."""

    name = "png"
    output_types = ("uint16", "uint8")
    holds = frozenset()

    def recognises(self, head: bytes) -> bool:
        """Return whether the first bytes of a file are the PNG signature."""
        return head.startswith(_MAGIC)

    def read(self, path: Path) -> Raw:
        """Read the image of a PNG; files that softmorph wrote state the number that represents 1 in a text chunk."""
        chunks = _chunks(path)
        if (chunks[0].name, len(chunks[0].body), chunks[-1].name) != (b"IHDR", _HEAD, b"IEND"):
            raise FileError(f"{path} is cut short: it starts as a PNG file but does not end as one.")
        _check_size(path, chunks)
        texts = _texts(chunks)
        labels = LABELS in texts
        notes: tuple[str, ...] = ()
        array = _samples(path, chunks)
        if chunks[0].body[9] == _PALETTE:
            colours = next((chunk.body for chunk in chunks if chunk.name == b"PLTE"), b"")
            convert, labels, note = of_palette(np.frombuffer(colours, np.uint8).reshape(-1, 3))
            array, notes = convert(array), (note,)
        if array.ndim == 3 and array.shape[-1] == 2 and (array[..., 1] == np.iinfo(array.dtype).max).all():
            array, notes = array[..., 0], ("its alpha channel is opaque everywhere, and is left out.",)
        colour = array.ndim == 3
        return Raw(
            array=array,
            axes="YXC" if colour else "YX",
            format=self.name,
            shape=array.shape,
            dtype=str(array.dtype),
            channels=("grey", "alpha") if colour and array.shape[-1] == 2 else None,
            full_scale=not labels,
            slope=scale_of(texts.get(ONE, "")),
            colour=colour,
            labels=labels,
            provenance=parse(texts.get(SIGNATURE), named=True),
            notes=notes,
        )

    def write(self, volume: Volume, array: Array, path: Path, encoding: Encoding) -> list[str]:
        """Write a map as one grey image; a mask is stored as 0 and 255, which viewers show as black and white."""
        import SimpleITK

        if array.ndim != 2:
            raise InputError(
                f"PNG holds one 2-D image, not a map of shape {array.shape} (axes {volume.axes}); "
                "write .tif or .nii.gz."
            )
        one = encoding.one
        if one == 1 and not encoding.labels:
            array, one = array * np.uint8(255), 255
        _write_image(SimpleITK.GetImageFromArray(np.ascontiguousarray(array)), path)
        texts = {LABELS: str(array.max())} if encoding.labels else {ONE: str(one)}
        if encoding.provenance:
            texts[SIGNATURE] = as_text(encoding.provenance)
        _insert_texts(path, texts)
        return []


def _insert_texts(path: Path, texts: dict[str, str]) -> None:
    # SimpleITK cannot write text chunks; they are inserted after IHDR.
    content = path.read_bytes()
    chunks = b"".join(
        _chunk(b"tEXt", key.encode("latin-1") + b"\0" + text.encode("ascii", "backslashreplace"))
        for key, text in texts.items()
    )
    path.write_bytes(content[:_HEAD_END] + chunks + content[_HEAD_END:])


class _Chunk(NamedTuple):
    """A chunk of a PNG file.

    Attributes:
        name: The type of the chunk, four letters.
        body: The content of the chunk; empty if the chunk is not used here or too long.
        start: The byte of the file at which the chunk begins.
        length: The length of the content in bytes.
    """

    name: bytes
    body: bytes
    start: int
    length: int


def _chunk(name: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(name + body).to_bytes(4, "big")
    return len(body).to_bytes(4, "big") + name + body + checksum


def _chunks(path: Path) -> list[_Chunk]:
    """Return the chunks of a PNG file up to IEND, at least one chunk; an incomplete file has no IEND.

    Raises:
        Damaged: If the checksum of a chunk that is used here is wrong.
    """
    chunks, size = [], path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(len(_MAGIC))
        while (start := stream.tell()) + 12 <= size:
            length, name = int.from_bytes(stream.read(4), "big"), stream.read(4)
            # A name is four letters; without this check, zeros would be read as endless empty chunks.
            if start + 12 + length > size or not name.isalpha():
                break
            body = b""
            if name in _USED and length <= _LONGEST_KEPT:
                body = stream.read(length)
                # libpng ignores a wrong checksum of these chunks, also of the header.
                if zlib.crc32(name + body) != int.from_bytes(stream.read(4), "big"):
                    raise Damaged(f"the checksum of its {name.decode()} does not fit")
            chunks.append(_Chunk(name, body, start, length))
            if name == b"IEND":
                break
            stream.seek(start + 12 + length)
    return chunks or [_Chunk(b"", b"", 0, 0)]


def _check_size(path: Path, chunks: list[_Chunk]) -> None:
    """Raise an error if the size in the header exceeds the memory, or what the compressed data can contain.

    Raises:
        Damaged: If the compressed data are too short for this size.
        InputError: If the image does not fit into memory.
    """
    head = chunks[0].body
    width, height = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:8], "big")
    bits = head[8] * _SAMPLES.get(head[9], 1)
    # The pixels are in memory twice: as stored and as used.
    check_room(
        (height, width),
        2 * -(-bits // 8),
        path,
        first="write it as a TIFF in tiles or as OME-Zarr first, in the program that made it",
    )
    packed = sum(chunk.length for chunk in chunks if chunk.name == b"IDAT")
    if not can_hold(packed, height * (-(-width * bits // 8)), "zlib"):
        raise Damaged(ENDS_EARLY)


def _samples(path: Path, chunks: list[_Chunk]) -> Array:
    """Return the pixel values of a PNG as they are stored: palette indices instead of colours.

    ITK replaces palette indices by colours, cannot read grey with alpha, and drops bits that the chunk sBIT declares
    insignificant, so that white is no longer the maximum of the type. Therefore ITK reads a copy without such chunks,
    whose header declares palette indices as grey, and grey with alpha as another type with as many bytes per pixel.
    """
    head = chunks[0].body
    depth, kind = head[8], head[9]
    if depth not in _DEPTHS.get(kind, ()):
        raise Unsupported(f"its pixels are of kind {kind} with {depth} bits, which there are not")
    alpha, grey = kind == _GREY_ALPHA, kind in (_GREY, _PALETTE)
    changed = any(chunk.name == b"sBIT" or (grey and chunk.name == b"tRNS") for chunk in chunks)
    if not (kind == _PALETTE or alpha or changed):
        return read_pixels(path, "PNGImageIO")
    as_depth, as_kind = depth, _GREY if grey else kind
    if alpha:
        as_depth, as_kind = (16, _GREY) if depth == 8 else (8, _RGBA)
    with TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.png"
        with path.open("rb") as stream, plain.open("wb") as copy:
            copy.write(_MAGIC + _chunk(b"IHDR", head[:8] + bytes((as_depth, as_kind)) + head[10:]))
            for chunk in chunks:
                if chunk.name in (b"IDAT", b"IEND"):
                    stream.seek(chunk.start)
                    copy.write(stream.read(12 + chunk.length))
        array = read_pixels(plain, "PNGImageIO")
    if alpha and depth == 8:
        return array.astype(">u2").view(np.uint8).reshape(*array.shape, 2)
    if alpha:
        return array.view(">u2").astype(np.uint16)
    # ITK scales greys of fewer than 8 bits to the range of 8.
    return array // np.uint8(255 // (2**depth - 1)) if kind == _PALETTE else array


def _texts(chunks: list[_Chunk]) -> dict[str, str]:
    """Return the texts in the tEXt chunks of a PNG by key; of several texts with a key, the last text."""
    texts = {}
    for chunk in chunks:
        if chunk.name == b"tEXt":
            key, _, text = chunk.body.partition(b"\0")
            texts[key.decode("latin-1")] = text.decode("latin-1")
    return texts
