"""Libraries whose type annotations are partial or too narrow, as Any; values that a test knows to be present."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import nibabel as _nibabel
import SimpleITK as _SimpleITK
import tifffile as _tifffile
import zarr as _zarr

T = TypeVar("T")

nibabel: Final[Any] = _nibabel
SimpleITK: Final[Any] = _SimpleITK
tifffile: Final[Any] = _tifffile
zarr: Final[Any] = _zarr


def present(value: T | None) -> T:
    """Return a value that is not None."""
    assert value is not None
    return value
