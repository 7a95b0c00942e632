"""The tiles or strips of a TIFF, read one by one through tifffile's view of them as a Zarr array."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from softmorph_cli.errors import FileError
from softmorph_cli.io.lazy import Index, Lazy, Stored
from softmorph_cli.io.packing import Packing
from softmorph_cli.io.raw import Array
from softmorph_cli.io.room import fits

_LACKING = re.compile(r"imagecodecs|COMPRESSION|PREDICTOR")
# Compressions that tifffile unpacks on its own, as far as memory goes.
_UNBOUNDED: Final = {"ADOBE_DEFLATE": "zlib", "DEFLATE": "zlib", "LZMA": "lzma", "ZSTD": "zstd"}
# What may be unpacked beyond a strip, as some writers fill up their last one.
_SLACK: Final = 1 << 16
# A strip as large as this is no part but the whole.
_LONGEST = 1 << 30


def stored_tiles(path: Path, series: int, turned: Callable[[Array], Array]) -> Array:
    """One series of a TIFF, whose values are read when they are needed.

    Args:
        path: The file; it stays open as long as the result lives.
        series: Its number.
        turned: Brings stored numbers to those that are meant, of the same type.

    Raises:
        FileError: If it cannot be read in parts.
    """
    import tifffile
    import zarr

    file = tifffile.TiffFile(path)
    keyframe = file.series[series].keyframe
    store = file.series[series].aszarr(level=0)
    array: Any = _Tiles(zarr.open_array(store, mode="r", zarr_format=2))
    # Nobody says when the last part was read.
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
        # A damaged tile makes its codec raise nearly anything.
        except Exception as error:
            if lacks_codec(error):
                raise codec_missing(path, keyframe, " in parts") from error
            raise FileError(f"{path} is cut short or damaged; copy or write it again.") from error
        return turned(part.astype(part.dtype.newbyteorder("="), copy=False))

    return cast(Array, Lazy(array, array.chunks, read))


def check_strips(path: Path, series: Any) -> None:
    """Refuse a TIFF one of whose strips or tiles unpacks to more than it holds.

    imagecodecs unpacks into as much memory as they should take; what is there without it takes what they say.

    Args:
        path: The file.
        series: Which of its series is read.

    Raises:
        FileError: If one does.
    """
    keyframe = series.keyframe
    codec = _UNBOUNDED.get(keyframe.compression.name)
    if codec is None or find_spec("imagecodecs") is not None:
        return
    packed = Packing(codec, prod(keyframe.chunks) * keyframe.dtype.itemsize + _SLACK)
    pages = (page for page in series.pages if page is not None)
    strips = (part for page in pages for part in zip(page.dataoffsets, page.databytecounts, strict=True))
    with path.open("rb") as stream:
        if any(packed.exceeds(stream, *strip) for strip in strips):
            raise FileError(
                f"{path} holds more than the numbers of a strip, and is not unpacked; copy it again, or write it again "
                "from its source."
            )


def lacks_codec(error: BaseException) -> bool:
    """Whether tifffile raised this because a codec or a predictor is not installed."""
    chain = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    # Without imagecodecs tifffile has some codecs of its own, which may need modules of later Pythons.
    return any(isinstance(one, ImportError) or _LACKING.search(str(one)) for one in chain)


def codec_missing(path: Path, keyframe: Any, how: str = "") -> FileError:
    """What to say of an intact file whose compression nobody here knows.

    Args:
        path: The file.
        keyframe: A page of it.
        how: In which way it could not be read.
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


class _Tiles:
    """The array, so that something may happen when nobody needs it any more."""

    def __init__(self, array: Any) -> None:
        self._array = array
        self.shape: tuple[int, ...] = tuple(array.shape)
        self.chunks: tuple[int, ...] = tuple(array.chunks)
        self.dtype = np.dtype(array.dtype)

    def __getitem__(self, index: Any) -> Any:
        return self._array[index]


def _close(store: Any, file: Any) -> None:
    store.close()
    file.close()
