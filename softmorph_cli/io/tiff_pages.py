"""Functions on the pages of a TIFF: checking their fields, choosing a series, counting planes, and decoding."""

from __future__ import annotations

import re
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.io.damage import NO_PAGES, Damaged, Unsupported
from softmorph_cli.io.itk_headers import shown
from softmorph_cli.io.png import read_pixels
from softmorph_cli.io.raw import Array
from softmorph_cli.io.tiff_tiles import codec_missing, lacks_codec
from softmorph_cli.system.parameters import named

# tifffile's warnings on a file that was cut short.
BROKEN = re.compile(r"invalid page offset|circular reference|corrupted|invalid offset|truncated|missing data")
# NewSubfileType: a reduced copy of another image, and the mask of one.
_REDUCED, _MASK = 1, 4
# Attributes of a page that have to be one number each.
_NUMBERS = (
    "imagewidth", "imagelength", "imagedepth", "samplesperpixel", "bitspersample", "planarconfig", "photometric",
    "compression", "predictor", "fillorder", "rowsperstrip", "tilewidth", "tilelength", "tiledepth",
)  # fmt: skip
# Lossless codecs that SimpleITK's libtiff has, and tifffile only with imagecodecs.
_LIBTIFF_CODECS = ("LZW", "PACKBITS")
_IGNORED_TAG = re.compile(r"TiffTag (\d+) @\d+> (?:invalid|is)")
# The tags of the layout of pixels: size, samples, compression, palette, strips, tiles.
_LAYOUT = {
    *range(256, 260),
    262,
    266,
    273,
    277,
    278,
    279,
    284,
    317,
    320,
    *range(322, 326),
    338,
    339,
    32997,
    32998,
}
_MOST_PLANES = 1 << 24


def check_described_planes(file: Any) -> None:
    """Raise an error if OME metadata describe more planes (2D images) than tifffile can list.

    Raises:
        Unsupported: If the metadata describe more than 2^24 planes.
    """
    text = file.ome_metadata if file.is_ome else None
    for tag in re.findall(r"<(?:\w+:)?(?:Pixels|TiffData)\b[^>]*>", text or ""):
        sizes = re.findall(r"\b(?:Size([XYZCT])|PlaneCount)\s*=\s*[\"'](\d{1,400})", tag)
        by_pixels = prod(int(size) for _, size in sizes) // max(1, file.pages[0].size)
        count = max(by_pixels, prod(int(size) for letter, size in sizes if letter not in ("X", "Y")))
        if count > _MOST_PLANES:
            raise Unsupported(f"its OME metadata describe {count:,} planes")


def check_layout_fields(complaints: list[str]) -> None:
    """Raise an error if tifffile ignored a field on the layout of pixels and used a default value instead.

    Args:
        complaints: The log messages of tifffile.

    Raises:
        Unsupported: If a message says that such a field was ignored.
    """
    for complaint in complaints:
        found = _IGNORED_TAG.search(complaint)
        if found and int(found[1]) in _LAYOUT:
            raise Unsupported(f"its field {found[1]} holds what cannot be read")


def check_page(page: Any) -> None:
    """Raise an error if a page has fields that tifffile could not interpret.

    Raises:
        Unsupported: If a field that has to be one integer is not, or the type of the samples is unknown.
    """
    for name in _NUMBERS:
        value = getattr(page, name)
        if not isinstance(value, int | np.integer):
            raise Unsupported(f"its {name} is {shown(str(value))}, and one number belongs there")
    if page.samplesperpixel < 1:
        raise Unsupported("its pixels have no samples")
    if not hasattr(page.compression, "name"):
        raise Unsupported(f"its compression has the number {page.compression}, which is not known")
    if page.dtype is None:
        kind = shown(str(page.sampleformat))
        raise Unsupported(f"its samples have {page.bitspersample} bits and format {kind}, which is not known")


def choose_series(path: Path, file: Any, wanted: int | None) -> tuple[int, list[str]]:
    """Return the index of the image series to read, and a list with a note on the other series.

    Args:
        path: The path of the file, for messages.
        file: The open file, a `tifffile.TiffFile`.
        wanted: The index that the user chose; None chooses the first series that is no reduced copy of another.

    Raises:
        Damaged: If the file has no series.
        InputError: If the file has no series `wanted`.
    """
    count = len(file.series)
    if count == 0:
        raise Damaged(NO_PAGES)
    if wanted is not None:
        if not 0 <= wanted < count:
            last = f"{named('series', 0)} to {count - 1}" if count > 1 else f"leave {named('series')} out"
            raise InputError(f"{path} has no series {wanted}; it holds {count}: {last}.")
        return wanted, []
    number = next((at for at, one in enumerate(file.series) if not _is_reduced(one.keyframe)), 0)
    if count == 1:
        return number, []
    shapes = ", ".join(
        f"{at} of {' × '.join(map(str, one.shape))}" for at, one in enumerate(file.series) if at != number
    )
    which = "the first" if number == 0 else f"number {number}, the first that is no reduced copy,"
    note = (
        f"it holds {count} image series; {which} is read, and {named('series', 'N')} takes another: {shapes}."
    )
    return number, [note]


def _is_reduced(page: Any) -> bool:
    """Return whether a page is a reduced copy or the mask of another page."""
    kind = page.subfiletype
    return isinstance(kind, int) and bool(kind & (_REDUCED | _MASK))


def count_planes(path: Path, file: Any, number: int, complaints: list[str]) -> tuple[int | None, list[str]]:
    """Compare the number of planes (2D images) that the metadata describe with the number in the file.

    Args:
        path: The path of the file.
        file: The open file, a `tifffile.TiffFile`.
        number: The index of the series that is read.
        complaints: The log messages of tifffile.

    Returns:
        How many planes to read from the start of the series, None for the whole series; and notes.

    Raises:
        FileError: If planes are missing, and the planes in the file make no image.
    """
    series = file.series[number]
    plane = max(1, series.keyframe.size)
    total, there = series.size // plane, sum(page is not None for page in series.pages)
    if there < len(series.pages):
        if broken := next(filter(BROKEN.search, complaints), None):
            raise ValueError(broken)
        others = sorted(_other_files(file, path))
        if others:
            raise FileError(
                f"{path} is one part of a multi-file OME-TIFF, and of the {total} planes that its metadata describe "
                f"{total - there} lie in other files, such as {others[0]}: copy the files together."
            )
        finding = f"its OME metadata describe {total} planes and the file has {there}"
        stacked = series.shape[0] == total and all(page is not None for page in series.pages[:there])
        if not stacked or there == 0:
            shape = " × ".join(
                f"{size} along {axis}" for axis, size in zip(series.axes, series.shape, strict=True)
            )
            raise FileError(
                f"{path}: {finding}, so they are no image of {shape}; write it again from its source."
            )
        return there, [f"{finding}: those are read."]
    if total < there:
        return total, [_more_planes(total, there)]
    # Coarser resolutions are pages of the file like others, unless they are sub-pages (SubIFDs) of the finest.
    levels = [
        level for one in file.series for level in (one.levels if one.keyframe.subifds is None else [one])
    ]
    described = sum(max(len(level.pages), level.size // max(1, level.keyframe.size)) for level in levels)
    if len(file.pages) > described:
        if not getattr(file.pages[len(file.pages) - 1], "tags", True):
            # Every page has tags: this one was overwritten or never copied.
            raise Damaged(NO_PAGES)
        return None, [_more_planes(described, len(file.pages))]
    return None, []


def _more_planes(described: int, there: int) -> str:
    planes, more = f"{described} plane{'s' * (described != 1)}", there - described
    rest = "the last one is" if more == 1 else f"the last {more} are"
    return f"its metadata describe {planes} and the file has {there}: {rest} left out."


def _other_files(file: Any, path: Path) -> set[str]:
    """Return the names of the other files to which the OME metadata of a file refer."""
    if not (file.is_ome and file.ome_metadata):
        return set()
    named = (one.get("FileName") for one in ElementTree.fromstring(file.ome_metadata).iterfind(".//{*}UUID"))
    return {name for name in named if name and name != path.name}


def decode(path: Path, file: Any, series: Any, planes: int | None) -> Array:
    """Decode an image series and return its numbers.

    Args:
        path: The path of the file.
        file: The open file, a `tifffile.TiffFile`.
        series: The series of tifffile.
        planes: How many planes to decode from the start of the series; None for the whole series.

    Raises:
        FileError: If no installed codec decompresses the series.
    """
    keyframe = series.keyframe
    try:
        if planes is None:
            return np.asarray(series.asarray())
        every = planes == series.size // max(1, keyframe.size)
        shape = series.shape if every else (planes, *series.shape[1:])
        return np.stack([page.asarray() for page in series.pages[:planes]]).reshape(shape)
    except (ValueError, KeyError, ImportError) as error:
        if not lacks_codec(error):
            raise
        if keyframe.compression.name in _LIBTIFF_CODECS and len(file.series) == 1 and planes is None:
            # libtiff decodes the same pages; its result is used if it has the size and type that tifffile expects.
            with suppress(RuntimeError):
                array = read_pixels(path, "TIFFImageIO")
                if array.size == np.prod(series.shape) and array.dtype == series.dtype:
                    return array.reshape(series.shape)
        raise codec_missing(path, keyframe) from error
