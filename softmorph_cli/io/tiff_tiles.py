"""Reads tiles or strips of a TIFF lazily, as chunks of the Zarr store of tifffile, and checks their sizes."""

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
    """Return a lazy view of one image series of a TIFF.

    Args:
        path: The path of the file, which stays open as long as the result exists.
        series: The index of the series.
        convert: A function that maps a part of the stored numbers to values of the same type.

    Raises:
        FileError: If the strips or tiles are too large to read the series in parts.
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
    """Return the distinct keyframes of a series: pages whose fields tifffile uses to decode other pages too."""
    pages = (page for page in series.pages if page is not None and page.keyframe is not None)
    return list({id(page.keyframe): page.keyframe for page in pages}.values())


def check_strips(path: Path, series: Any) -> None:
    """Replace the decoders of a series by decoders that refuse strips or tiles larger than the TIFF fields state.

    imagecodecs limits the output of most codecs; `tiff_segments` checks the other codecs. Without imagecodecs, tifffile
    decompresses without a limit.

    Args:
        path: The path of the file, for messages.
        series: The series of tifffile that is read.
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

    tifffile reads a whole series and parts of a series with different code, with equal results only for correct fields.
    Corrected are: the predictor and the length of a single strip in uncompressed data, and byte counts that reach
    beyond the end of the file.

    Args:
        series: The series of tifffile.

    Returns:
        A list with a note if strips or tiles have no data in the file.

    Raises:
        Damaged: If a strip or tile begins beyond the end of the file, or is not compressed and ends beyond it; if there
            are too few strips or tiles.
        Unsupported: If offsets or byte counts are no integers, or a strip or tile is larger than the series.
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
    """Return whether tifffile raised an error because a codec or a predictor is not installed."""
    chain = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    # Codecs that tifffile has without imagecodecs may need modules of a later Python: ImportError.
    return any(isinstance(one, ImportError) or _LACKING.search(str(one)) for one in chain)


def codec_missing(path: Path, keyframe: Any, how: str = "") -> FileError:
    """Return the error for an intact file that no installed codec decompresses.

    Args:
        path: The path of the file.
        keyframe: A page of the file, for its compression and predictor.
        how: The text " in parts" if the file was read in parts; it is added to the message.
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
