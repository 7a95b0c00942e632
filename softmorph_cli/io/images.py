"""PNG through SimpleITK."""

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
from softmorph_cli.io.families import FAMILIES
from softmorph_cli.io.palette import of_palette
from softmorph_cli.io.provenance import SIGNATURE, as_text, parse
from softmorph_cli.io.raw import LABELS, ONE, Array, Encoding, Raw, scale_of
from softmorph_cli.io.room import check_room
from softmorph_cli.io.zipped import can_hold
from softmorph_cli.volume import Volume

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
# The colour types of PNG, and how many samples a pixel has where that is more than one.
_PNG_GREY, _PNG_PALETTE, _PNG_GREY_ALPHA, _PNG_RGBA = 0, 3, 4, 6
_HEAD = 13
_SAMPLES: Final = {2: 3, _PNG_GREY_ALPHA: 2, _PNG_RGBA: 4}
# Chunks whose contents are used here.
_USED: Final = (b"IHDR", b"PLTE", b"tRNS", b"tEXt")
# The longest palette or text that is read.
_LONGEST_KEPT: Final = 1 << 22
# The bits that a sample may have, by colour type; 2 is RGB.
_PNG_DEPTHS = {
    _PNG_GREY: (1, 2, 4, 8, 16), 2: (8, 16), _PNG_PALETTE: (1, 2, 4, 8), _PNG_GREY_ALPHA: (8, 16), _PNG_RGBA: (8, 16),
}  # fmt: skip


@contextmanager
def _silent() -> Iterator[None]:
    """Suppress what the C libraries below SimpleITK print; their exception has the same text."""
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
    """Give a name of the file that is UTF-8: SimpleITK ends the process at any other."""
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
    """Read the numbers with a named ITK reader, whatever the file is called; the first axis is the slowest."""
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
            # ITK keeps no error number; the last line of its text is the reason.
            raise OSError(str(error).strip().splitlines()[-1]) from error


@dataclass(frozen=True)
class Png:
    """8- and 16-bit grey PNG; the type's maximum means 1."""

    name: str = "png"
    title: str = FAMILIES["png"].title
    suffixes: tuple[str, ...] = FAMILIES["png"].suffixes
    output_types: tuple[str, ...] = ("uint16", "uint8")
    holds: frozenset[str] = frozenset()

    def recognises(self, head: bytes) -> bool:
        """Whether the PNG signature is there."""
        return head.startswith(_PNG_MAGIC)

    def read(self, path: Path) -> Raw:
        """Read one image; a file that this package wrote says so and needs no guess about its range."""
        chunks = _chunks(path)
        # What follows IEND does not belong to the image.
        if (chunks[0].name, len(chunks[0].body), chunks[-1].name) != (b"IHDR", _HEAD, b"IEND"):
            raise FileError(f"{path} is cut short: it starts as a PNG file but does not end as one.")
        _check_size(path, chunks)
        texts = _texts(chunks)
        ours, labels = texts.get(ONE, ""), LABELS in texts
        notes: tuple[str, ...] = ()
        array = _samples(path, chunks)
        if chunks[0].body[9] == _PNG_PALETTE:
            colours = next((chunk.body for chunk in chunks if chunk.name == b"PLTE"), b"")
            turned, labels, note = of_palette(np.frombuffer(colours, np.uint8).reshape(-1, 3))
            array, notes = turned(array), (note,)
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
            slope=scale_of(ours),
            colour=colour,
            labels=labels,
            provenance=parse(texts.get(SIGNATURE), named=True),
            notes=notes,
        )

    def write(
        self,
        volume: Volume,
        array: Array,
        path: Path,
        encoding: Encoding,
    ) -> list[str]:
        """Write one grey image; a mask becomes 0 and 255, which is what a viewer can show."""
        import SimpleITK

        if array.ndim != 2:
            raise InputError(
                f"PNG holds one 2-D image, not a map of shape {array.shape} (axes {volume.axes}); "
                "write .tif or .nii.gz."
            )
        lost = []
        one = encoding.one
        if one == 1 and not encoding.labels:
            array, one = array * np.uint8(255), 255
            lost.append("a mask is 0 and 255 in PNG.")
        _write_image(SimpleITK.GetImageFromArray(np.ascontiguousarray(array)), path)
        texts = {LABELS: str(array.max())} if encoding.labels else {ONE: str(one)}
        if encoding.provenance:
            texts[SIGNATURE] = as_text(encoding.provenance)
        _insert_texts(path, texts)
        return lost


def _insert_texts(path: Path, texts: dict[str, str]) -> None:
    # SimpleITK cannot write text chunks; they go behind IHDR, which always ends at byte 33.
    content = path.read_bytes()
    chunks = b"".join(
        _chunk(b"tEXt", key.encode("latin-1") + b"\0" + text.encode("ascii", "backslashreplace"))
        for key, text in texts.items()
    )
    path.write_bytes(content[:33] + chunks + content[33:])


class _Chunk(NamedTuple):
    """A chunk of a PNG: its name, body, position in the file, and the length of its body.

    A long body is not read, and empty here.
    """

    name: bytes
    body: bytes
    start: int
    length: int


def _chunk(name: bytes, body: bytes) -> bytes:
    """The bytes of a chunk: its length, name, body and checksum."""
    checksum = zlib.crc32(name + body).to_bytes(4, "big")
    return len(body).to_bytes(4, "big") + name + body + checksum


def _chunks(path: Path) -> list[_Chunk]:
    """The chunks of a PNG, at least one; the last one is IEND if the file is complete.

    Raises:
        Damaged: If a chunk that is used has a wrong checksum.
    """
    chunks, size = [], path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(len(_PNG_MAGIC))
        while (start := stream.tell()) + 12 <= size:
            length, name = int.from_bytes(stream.read(4), "big"), stream.read(4)
            # A name is four letters; without this, zeros would be read as endless empty chunks.
            if start + 12 + length > size or not name.isalpha():
                break
            body = b""
            if name in _USED and length <= _LONGEST_KEPT:
                body = stream.read(length)
                # libpng ignores a wrong checksum here, and a header would not be the one that was written.
                if zlib.crc32(name + body) != int.from_bytes(stream.read(4), "big"):
                    raise Damaged(f"the checksum of its {name.decode()} does not fit")
            chunks.append(_Chunk(name, body, start, length))
            if name == b"IEND":
                break
            stream.seek(start + 12 + length)
    return chunks or [_Chunk(b"", b"", 0, 0)]


def _check_size(path: Path, chunks: list[_Chunk]) -> None:
    """Refuse an image that by its header is larger than memory, or than its data can decompress to.

    Raises:
        Damaged: If its data are too short for it.
        InputError: If it does not fit into memory.
    """
    head = chunks[0].body
    width, height = int.from_bytes(head[:4], "big"), int.from_bytes(head[4:8], "big")
    bits = head[8] * _SAMPLES.get(head[9], 1)
    # Its pixels are in memory twice: as they are stored and as they are used.
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
    """The numbers of a PNG as they are stored.

    ITK replaces palette indices by colours, cannot read grey with alpha, and drops bits that are not significant by
    sBIT, so that white is no longer the type's maximum. So its header is changed in a copy without such chunks: palette
    indices are declared grey, and grey with alpha is declared another type of as many bytes a pixel.
    """
    head = chunks[0].body
    depth, kind = head[8], head[9]
    if depth not in _PNG_DEPTHS.get(kind, ()):
        raise Unsupported(f"its pixels are of kind {kind} with {depth} bits, which there are not")
    alpha, grey = kind == _PNG_GREY_ALPHA, kind in (_PNG_GREY, _PNG_PALETTE)
    changed = any(chunk.name == b"sBIT" or (grey and chunk.name == b"tRNS") for chunk in chunks)
    if not (kind == _PNG_PALETTE or alpha or changed):
        return read_pixels(path, "PNGImageIO")
    as_depth, as_kind = depth, _PNG_GREY if grey else kind
    if alpha:
        as_depth, as_kind = (16, _PNG_GREY) if depth == 8 else (8, _PNG_RGBA)
    with TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.png"
        with path.open("rb") as stream, plain.open("wb") as copy:
            copy.write(_PNG_MAGIC + _chunk(b"IHDR", head[:8] + bytes((as_depth, as_kind)) + head[10:]))
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
    return array // np.uint8(255 // (2**depth - 1)) if kind == _PNG_PALETTE else array


def _texts(chunks: list[_Chunk]) -> dict[str, str]:
    """The texts of a PNG; where a key comes twice, the last one."""
    texts = {}
    for chunk in chunks:
        if chunk.name == b"tEXt":
            key, _, text = chunk.body.partition(b"\0")
            texts[key.decode("latin-1")] = text.decode("latin-1")
    return texts
