"""PNG through SimpleITK."""

from __future__ import annotations

import os
import shlex
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.io.provenance import SIGNATURE, as_text, parse
from softmorph_cli.io.raw import LABELS, ONE, Array, Provenance, Raw, scale_of
from softmorph_cli.volume import Volume

_PNG_PALETTE = 3


@contextmanager
def _silent() -> Iterator[None]:
    """Hold back what the C libraries under SimpleITK print; the exception says it again."""
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


def read_image(path: Path, reader: str) -> Any:
    """Read with a named ITK reader, whatever the file is called."""
    import SimpleITK

    with _silent():
        return SimpleITK.ReadImage(str(path), imageIO=reader)


def read_pixels(path: Path, reader: str) -> Array:
    """Read the numbers alone; the first axis is the slowest."""
    import SimpleITK

    return np.asarray(SimpleITK.GetArrayFromImage(read_image(path, reader)))


def _write_image(image: Any, path: Path) -> None:
    import SimpleITK

    with _silent():
        try:
            SimpleITK.WriteImage(image, str(path), useCompression=True)
        except RuntimeError as error:
            # ITK keeps no error number; the last line of its text is the reason.
            raise OSError(str(error).strip().splitlines()[-1]) from error


@dataclass(frozen=True)
class Png:
    """8- and 16-bit grey PNG; the type's maximum means 1."""

    name: str = "png"
    title: str = "PNG"
    suffixes: tuple[str, ...] = (".png",)
    output_types: tuple[str, ...] = ("uint16", "uint8")
    holds: frozenset[str] = frozenset()

    def recognises(self, head: bytes) -> bool:
        """Whether the PNG signature is there."""
        return head.startswith(b"\x89PNG\r\n\x1a\n")

    def read(self, path: Path) -> Raw:
        """Read one image; a file that this package wrote says so and needs no guess about its range."""
        content = path.read_bytes()
        if b"IEND" not in content[-16:]:
            raise FileError(f"{path} is cut short: it starts as a PNG file but does not end as one.")
        if content[25] == _PNG_PALETTE:
            grey = path.with_name(f"{path.stem}_grey.png")
            command = shlex.join(["magick", str(path), "-colorspace", "Gray", str(grey)])
            raise InputError(
                f"{path} is a PNG with a colour palette, whose numbers are colours; "
                f"convert it to grey first: {command}"
            )
        array = read_pixels(path, "PNGImageIO")
        texts = _texts(content)
        ours, labels = texts.get(ONE, ""), LABELS in texts
        return Raw(
            array=array,
            axes="YX" if array.ndim == 2 else "YXC",
            format=self.name,
            shape=array.shape,
            dtype=str(array.dtype),
            full_scale=not labels,
            slope=scale_of(ours),
            colour=array.ndim == 3,
            labels=labels,
            provenance=parse(texts.get(SIGNATURE), named=True),
        )

    def write(
        self,
        volume: Volume,
        array: Array,
        path: Path,
        *,
        one: int,
        provenance: Provenance,
        labels: bool = False,
    ) -> list[str]:
        """Write one grey image; a mask becomes 0 and 255, which is what a viewer can show."""
        import SimpleITK

        if array.ndim != 2:
            raise InputError(
                f"PNG holds one 2-D image, not a map of shape {array.shape} (axes {volume.axes}); "
                "write .tif or .nii.gz."
            )
        lost = []
        if one == 1 and not labels:
            array, one = array * np.uint8(255), 255
            lost.append("a mask is 0 and 255 in PNG.")
        _write_image(SimpleITK.GetImageFromArray(np.ascontiguousarray(array)), path)
        texts = {LABELS: str(array.max())} if labels else {ONE: str(one)}
        if provenance:
            texts[SIGNATURE] = as_text(provenance)
        _insert_texts(path, texts)
        return lost


def _insert_texts(path: Path, texts: dict[str, str]) -> None:
    # SimpleITK cannot write text chunks; they go behind IHDR, which always ends at byte 33.
    content = path.read_bytes()
    chunks = b""
    for key, text in texts.items():
        body = b"tEXt" + key.encode("latin-1") + b"\0" + text.encode("ascii", "backslashreplace")
        chunks += (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    path.write_bytes(content[:33] + chunks + content[33:])


def _texts(content: bytes) -> dict[str, str]:
    """The text chunks of a PNG; where a key comes twice, the last one."""
    texts, at = {}, 8
    while (end := at + 12 + int.from_bytes(content[at : at + 4], "big")) <= len(content):
        if content[at + 4 : at + 8] == b"tEXt":
            key, _, text = content[at + 8 : end - 4].partition(b"\0")
            texts[key.decode("latin-1")] = text.decode("latin-1")
        at = end
    return texts
