"""The tiles or strips of a TIFF: read one by one as chunks of tifffile's Zarr store, checked and bounded."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from softmorph_cli.errors import FileError
from softmorph_cli.io.damage import ENDS_EARLY, Damaged, Unsupported, not_read
from softmorph_cli.io.lazy import Index, Lazy, Stored
from softmorph_cli.io.memory_check import fits
from softmorph_cli.io.packing import Packing
from softmorph_cli.io.raw import Array
from softmorph_cli.io.tiff_segments import count_samples

_LACKING = re.compile(r"imagecodecs|COMPRESSION|PREDICTOR")
# Compressions that tifffile decompresses without imagecodecs, and `Packing`'s names of them.
_UNBOUNDED: Final = {
    **dict.fromkeys(("ADOBE_DEFLATE", "DEFLATE", "PIXTIFF"), "zlib"),
    **dict.fromkeys(("ZSTD", "ZSTD_DEPRECATED"), "zstd"),
    "LZMA": "lzma",
}
# How many bytes beyond its samples, and an eighth of them, a strip may hold: some writers fill up the last one.
_SLACK: Final = 1 << 16
# In bytes: the largest strip that is read as a part; the largest strip or tile that may exceed its image; the header.
_LONGEST = 1 << 30
_LARGE = 1 << 28
_HEADER = 8
_UNCOMPRESSED = 1


def stored_tiles(path: Path, series: int, convert: Callable[[Array], Array]) -> Array:
    """Return a lazy view of one series of a TIFF.

    Args:
        path: The file; it stays open as long as the result exists.
        series: Its number.
        convert: Maps a part of the stored numbers to values of the same type.

    Raises:
        FileError: If it cannot be read in parts.
    """
    import tifffile
    import zarr

    file = tifffile.TiffFile(path)
    try:
        _ = len(file.pages)  # detects a circular list of pages, as in `Tiff.read`
        keyframe = file.series[series].keyframe
        mend(file.series[series])
        check_strips(path, file.series[series])
        store = file.series[series].aszarr(level=0)
        array: Any = zarr.open_array(store, mode="r", zarr_format=2)
    except BaseException:
        file.close()
        raise
    weakref.finalize(array, _close, store, file)
    strip = prod(array.chunks) * array.dtype.itemsize
    if strip > _LONGEST or not fits(array.chunks, array.dtype.itemsize):
        raise FileError(
            f"{path} is stored in strips of {strip / 2**30:.1f} GiB, which cannot be read in parts; save it with "
            "tiles, or as OME-Zarr."
        )

    def read(stored: Stored, index: Index) -> Array:
        try:
            part = np.asarray(stored[index])
        except (MemoryError, FileError):
            raise
        # Codecs raise nearly any exception on a damaged tile.
        except Exception as error:
            if lacks_codec(error):
                raise codec_missing(path, keyframe, " in parts") from error
            raise not_read(path, "TIFF", error) from error
        return convert(part.astype(part.dtype.newbyteorder("="), copy=False))

    return cast(Array, Lazy(array, array.chunks, read))


def keyframes(series: Any) -> list[Any]:
    """Return the distinct keyframes of a series: the pages by whose fields the others are decoded."""
    pages = (page for page in series.pages if page is not None and page.keyframe is not None)
    return list({id(page.keyframe): page.keyframe for page in pages}.values())


def check_strips(path: Path, series: Any) -> None:
    """Bound the decompression of each strip or tile of a series to the size that the TIFF's fields state.

    imagecodecs bounds most codecs by itself; see `tiff_segments` for the others. Without imagecodecs, tifffile
    decompresses without a limit.

    Args:
        path: The file.
        series: Which of its series is read.
    """
    for keyframe in keyframes(series):
        if keyframe.compression != _UNCOMPRESSED:
            keyframe.decode = _bounded(path, keyframe)


def _bounded(path: Path, keyframe: Any) -> Callable[..., Any]:
    from tifffile import TIFF

    name, most = keyframe.compression.name, prod(keyframe.chunks)
    # If no installed codec decompresses it, tifffile's own error is the right one.
    known = keyframe.compression in TIFF.DECOMPRESSORS
    codec = _UNBOUNDED.get(name) if find_spec("imagecodecs") is None else None
    packed = Packing(codec, most * keyframe.dtype.itemsize + _SLACK)

    def decode(data: bytes | None, *arguments: Any, **options: Any) -> Any:
        if known and data is not None:
            found = count_samples(name, data, keyframe.dtype, options.get("jpegheader"))
            if (found is not None and found > most + most // 8 + _SLACK) or (
                codec is not None and packed.exceeds(BytesIO(data), 0, len(data))
            ):
                raise FileError(
                    f"{path} holds more than the numbers of a strip, and is not unpacked; copy it again, or write it "
                    "again from its source."
                )
        # tifffile's decoder, whose attribute this function replaces.
        return type(keyframe).decode.func(keyframe)(data, *arguments, **options)

    return decode


def mend(series: Any) -> list[str]:
    """Check and correct the offsets and byte counts of the strips or tiles of a series.

    tifffile reads a whole series and parts of it by different code, which agree only on correct fields. Without
    compression there is no predictor, and the length of a single strip is known. No strip or tile extends beyond the
    end of the file.

    Returns:
        A note if strips or tiles are not in the file.

    Raises:
        Damaged: If one begins beyond the end of the file, or is not compressed and ends beyond it.
        Unsupported: If offsets or byte counts are no whole numbers.
    """
    keyframe, pages = series.keyframe, [page for page in series.pages if page is not None]
    plain = keyframe.compression == _UNCOMPRESSED
    absent = total = 0
    for page in pages:
        offsets, counts, size = page.dataoffsets, page.databytecounts, page.parent.filehandle.size
        if not all(isinstance(number, int) and number >= 0 for number in (*offsets, *counts)):
            raise Unsupported("it does not tell in whole numbers where its strips or tiles are")
        alone = plain and len(offsets) == 1
        if alone:
            # A single strip is the whole image, whatever its byte count and rows per strip state.
            keyframe.rowsperstrip = max(keyframe.rowsperstrip, keyframe.imagelength)
            if counts == (0,) and offsets[0] > 0:
                counts = (keyframe.nbytes,)
        if min(len(offsets), len(counts)) < prod(keyframe.chunked):
            raise Damaged("it lists fewer strips or tiles than its size needs")
        if any(offset < _HEADER and (count or alone) for offset, count in zip(offsets, counts, strict=False)):
            raise Damaged("a strip or tile of it would begin in its header")
        within = tuple(
            min(count, max(0, size - offset)) for offset, count in zip(offsets, counts, strict=False)
        )
        if any(
            count and (plain or not there) and there < count
            for count, there in zip(counts, within, strict=False)
        ):
            raise Damaged(ENDS_EARLY)
        page.databytecounts = within
        absent, total = absent + within.count(0), total + len(within)
    longest = prod(keyframe.chunks) * keyframe.dtype.itemsize
    if longest > max(_LARGE, series.size * keyframe.dtype.itemsize):
        raise Unsupported(f"a strip or tile of it has {' x '.join(map(str, keyframe.chunks))} pixels")
    if plain:
        keyframe.predictor = 1
    if not absent:
        return []
    verbs = "holds no data and is" if absent == 1 else "hold no data and are"
    return [f"{absent} of its {total} strips or tiles {verbs} read as 0."]


def lacks_codec(error: BaseException) -> bool:
    """Whether tifffile raised an error because a codec or a predictor is not installed."""
    chain = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    # Codecs that tifffile has without imagecodecs may need modules of a later Python: ImportError.
    return any(isinstance(one, ImportError) or _LACKING.search(str(one)) for one in chain)


def codec_missing(path: Path, keyframe: Any, how: str = "") -> FileError:
    """Return the error for an intact file that no installed codec decompresses.

    Args:
        path: The file.
        keyframe: A page of it.
        how: " in parts" if it was read so.
    """
    from tifffile import TIFF

    codec, predictor = keyframe.compression, keyframe.predictor
    packed, known = f"{getattr(codec, 'name', codec)} compression", True
    try:
        TIFF.DECOMPRESSORS[int(codec)]
        if int(predictor) > 1:
            packed += f" with the {getattr(predictor, 'name', predictor)} predictor"
            TIFF.UNPREDICTORS[int(predictor)]
    except KeyError as error:
        known = "imagecodecs" in str(error)
    if known and find_spec("imagecodecs") is None:
        return FileError(
            f"{path} is a valid TIFF that softmorph cannot read{how}: its {packed} needs one more package: "
            "pip install imagecodecs"
        )
    return FileError(
        f"{path} is a valid TIFF that softmorph cannot read{how}: nothing installed unpacks its {packed}; save it "
        "with deflate, without a predictor."
    )


def _close(store: Any, file: Any) -> None:
    store.close()
    file.close()
