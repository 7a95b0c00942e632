"""TIFF files to be read, and changes of single fields in them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from helpers_typing import tifffile

from softmorph_cli.io.blocks import open_blocks

RNG = np.random.default_rng(0)
MAP = RNG.random((2, 4, 3, 5, 6), dtype=np.float32)  # T Z C Y X


def page(path: Path) -> tuple[str, str, Any, bool]:
    with tifffile.TiffFile(path) as file:
        flavour = "ome" if file.is_ome else "imagej" if file.is_imagej else "plain"
        return flavour, file.series[0].axes, file.pages[0].compression, file.is_bigtiff


def retagged(path: Path, name: str, content: bytes) -> None:
    """Put other bytes in the place of a tag's value, on every page."""
    with tifffile.TiffFile(path) as file:
        places = [one.tags[name].valueoffset for one in file.pages if name in one.tags]
    changed = bytearray(path.read_bytes())
    for place in places:
        changed[place : place + len(content)] = content
    path.write_bytes(changed)


def entry(path: Path, tag: int) -> int:
    """Where the entry of a tag of the first page lies; for classic little-endian files."""
    content = path.read_bytes()
    at = struct.unpack_from("<I", content, 4)[0]
    (count,) = struct.unpack_from("<H", content, at)
    places = range(at + 2, at + 2 + 12 * count, 12)
    return next(place for place in places if struct.unpack_from("<H", content, place)[0] == tag)


def patch(
    path: Path, tag: int, *, number: int | None = None, kind: int = 4, count: int = 1, value: int
) -> None:
    """Give the entry of a tag other content, and another number if one is given."""
    content, place = bytearray(path.read_bytes()), entry(path, tag)
    struct.pack_into("<HHII", content, place, tag if number is None else number, kind, count, value)
    path.write_bytes(content)


def parts_of(path: Path) -> Any:
    blocks = open_blocks(path)
    return blocks.read([slice(None)] * len(blocks.shape))


def stack(path: Path, **stated: Any) -> Any:
    tifffile.imwrite(path, MAP[0, :, 0], photometric="minisblack", metadata=None, **stated)
    return MAP[0, :, 0]


SOFTWARE, OFFSETS, COUNTS = 305, 273, 279
