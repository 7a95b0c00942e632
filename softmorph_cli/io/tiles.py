"""The tiles or strips of a TIFF, read one by one through tifffile's view of them as a Zarr array."""

from __future__ import annotations

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
    array: Any = zarr.open_array(
        tifffile.imread(path, aszarr=True, series=0, level=0), mode="r", zarr_format=2
    )
    if np.prod(array.chunks) * array.dtype.itemsize > _LONGEST:
        raise FileError(
            f"{path} is one strip of {array.nbytes / 2**30:.1f} GiB, which cannot be read in parts; save it with tiles "
            "or as OME-Zarr."
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
