"""The tiles or strips of a TIFF, read one by one through tifffile's view of them as a Zarr array."""

from __future__ import annotations

import weakref
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np

from softmorph_cli.errors import FileError
from softmorph_cli.io.lazy import Index, Lazy, Stored
from softmorph_cli.io.raw import Array

# A strip as large as this is no part but the whole.
_LONGEST = 1 << 30


def stored_tiles(path: Path, series: Any) -> Array:
    """The first series of a TIFF, whose values are read when they are needed.

    Args:
        path: The file; it stays open as long as the result lives.
        series: What tifffile found in it.

    Raises:
        FileError: If it cannot be read in parts.
    """
    import tifffile
    import zarr

    codec = series.keyframe.compression.name
    file = tifffile.TiffFile(path)
    store = file.series[0].aszarr(level=0)
    array: Any = _Tiles(zarr.open_array(store, mode="r", zarr_format=2))
    # Nobody says when the last part was read.
    weakref.finalize(array, _close, store, file)
    if prod(array.chunks) * array.dtype.itemsize > _LONGEST:
        size = prod(array.shape) * array.dtype.itemsize / 2**30
        raise FileError(
            f"{path} is one strip of {size:.1f} GiB, which cannot be read in parts; save it with tiles, or as "
            "OME-Zarr."
        )

    def read(stored: Stored, index: Index) -> Array:
        try:
            part = np.asarray(stored[index])
        except (MemoryError, FileError):
            raise
        # A damaged tile makes its codec raise nearly anything.
        except Exception as error:
            if "imagecodecs" in str(error):
                raise FileError(
                    f"{path} is compressed with {codec}, and reading it in parts needs one more package: "
                    "pip install imagecodecs (or save the file with deflate or no compression)."
                ) from error
            raise FileError(f"{path} is cut short or damaged; copy or write it again.") from error
        return part.astype(part.dtype.newbyteorder("="), copy=False)

    return cast(Array, Lazy(array, array.chunks, read))


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
