"""Finds the size of a compressed strip or tile of a TIFF in the header that its codec wrote.

Some codecs state the image size in each strip or tile. Their decoders allocate that size, whatever the fields of the
TIFF state; therefore the size is compared with these fields before decoding.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from math import prod
from typing import Any, Final

import numpy as np

from softmorph_cli.io.damage import Unsupported

# JPEG: markers 0xC0 to 0xCF are frame headers except three; the data begin at SOS; some markers have no length.
_NO_FRAME: Final = (0xC4, 0xC8, 0xCC)
_SOS, _EOI = 0xDA, 0xD9
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})


_JPEG_XR_IMAGE: Final = 0xBCC0


class _Absent(Exception):  # noqa: N818
    """The error that the header of a codec is missing or incomplete."""


def count_samples(
    compression: str, data: bytes, dtype: np.dtype[Any], header: bytes | None = None
) -> int | None:
    """Return how many samples (pixels times colours) a strip or tile holds, as its compressed data state.

    Args:
        compression: The name of the compression in tifffile.
        data: The compressed bytes of the whole strip or tile.
        dtype: The type of the samples that the TIFF states.
        header: The JPEG tables that all tiles of a page share.

    Returns:
        A lower bound of the number of samples; None for a compression whose data do not state a size.

    Raises:
        Unsupported: If the header is missing or incomplete, or the data hold several images.
    """
    find = _FINDERS.get(compression)
    if find is None:
        return None
    try:
        return find(header + data if header else data, dtype)
    except (struct.error, _Absent):
        raise Unsupported(f"a strip or tile of it is no {compression} with a header") from None


def _jpeg(data: bytes, _dtype: np.dtype[Any]) -> int:
    at = 2
    while True:
        marker = 0
        while marker in (0, 0xFF):
            at = data.find(b"\xff", at)
            marker = _slice(data, at + 1, 1)[0] if at >= 0 else _SOS
            at += marker in (0, 0xFF)
        if marker in (_SOS, _EOI):
            raise _Absent
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            rows, columns, components = struct.unpack_from(">HHB", data, at + 5)
            return int(rows * columns * components)
        at += 2 if marker in _ALONE else 2 + struct.unpack_from(">H", data, at + 2)[0]


def _jpeg_2000(data: bytes, _dtype: np.dtype[Any]) -> int:
    start = 0
    if not data.startswith(b"\xff\x4f"):
        start = next((place for name, place, _ in _boxes(data) if name == b"jp2c"), len(data))
    mark, right, bottom, left, top = struct.unpack_from(">4s4x4I", data, start)
    if mark != b"\xff\x4f\xff\x51":
        raise _Absent
    (components,) = struct.unpack_from(">H", data, start + 40)
    return int(max(0, right - left) * max(0, bottom - top) * components)


def _boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the boxes (sections) of a JPEG 2000 file: the name of each box, and start and end of its content."""
    at = 0
    while at < len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, start)
            start += 8
        end = len(data) if length == 0 else at + length
        if end < start:
            raise _Absent
        yield name, start, end
        at = end


def _jpeg_xr(data: bytes, _dtype: np.dtype[Any]) -> int:
    # Its decoder prints on headers that are incomplete.
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    fields = (struct.unpack_from("<HHII", data, at + 2 + 12 * number) for number in range(count))
    starts = [value for tag, kind, _, value in fields if tag == _JPEG_XR_IMAGE and kind == 4]
    if len(starts) != 1 or data[starts[0] : starts[0] + 8] != b"WMPHOTO\0":
        raise _Absent
    short = _slice(data, starts[0] + 10, 1)[0] & 0x80
    columns, rows = struct.unpack_from(">HH" if short else ">II", data, starts[0] + 12)
    return int((rows + 1) * (columns + 1))


def _by_decoder(name: str) -> Callable[[bytes, np.dtype[Any]], int]:
    """Return a function that counts samples with the decoder `name` of imagecodecs.

    The decoder checks its output array before it allocates memory. The error message for an array of wrong type or
    shape states the right type or shape, of all frames or bands together.
    """

    def refusal(data: bytes, dtype: Any) -> str:
        import imagecodecs

        try:
            getattr(imagecodecs, name)(data, out=np.empty(0, dtype))
        except (ValueError, RuntimeError) as error:
            return str(error)
        return ""

    def count(data: bytes, dtype: np.dtype[Any]) -> int:
        text = refusal(data, dtype)
        if other := re.search(r" dtype=\D+[.'](\w+)", text):
            text = refusal(data, other[1])
        found = re.search(r" shape=\(([\d, ]+)\)$", text)
        if found is None:
            raise _Absent
        return prod(int(size) for size in found[1].split(",") if size.strip())

    return count


def _slice(data: bytes, start: int, count: int) -> bytes:
    piece = data[start : start + count]
    if len(piece) < count:
        raise _Absent
    return piece


_FINDERS: Final[dict[str, Callable[[bytes, np.dtype[Any]], int]]] = {
    **dict.fromkeys(("JPEG", "OJPEG", "JPEG_LOSSY", "ALT_JPEG"), _jpeg),
    **dict.fromkeys(("JPEG2000", "JPEG_2000_LOSSY", "APERIO_JP2000_YCBC", "APERIO_JP2000_RGB"), _jpeg_2000),
    **dict.fromkeys(("JPEGXL", "JPEGXL_DNG"), _by_decoder("jpegxl_decode")),
    **dict.fromkeys(("JPEGXR", "JPEGXR_NDPI"), _jpeg_xr),
    **dict.fromkeys(("WEBP", "WEBP_DEPRECATED"), _by_decoder("webp_decode")),
    "PNG": _by_decoder("png_decode"),
    "LERC": _by_decoder("lerc_decode"),
}
