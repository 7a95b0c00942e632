"""A decoded file before its values are probabilities, and the interface of a file format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.io.format_names import FAMILIES
from softmorph_cli.system.units import TimeStep
from softmorph_cli.volume import Volume

Array = npt.NDArray[Any]
Affine = npt.NDArray[np.float64]
Provenance = Mapping[str, Any]

# Permutes the columns of an affine: index (x, y, z, 1) of a file <-> index (z, y, x, 1) of an array.
REVERSED: Final = [2, 1, 0, 3]
# Keys in a file's metadata: the stored number that represents 1, and the highest label.
ONE: Final = "softmorph_divide_by"
LABELS: Final = "softmorph_labels"


@dataclass(frozen=True)
class Raw:
    """The content of a file as its format describes it.

    Attributes:
        array: Any type, axes in any order; a read-only view of the file, or a writeable array that nothing else uses.
        axes: A letter for each axis ("Z", "Y", "X" are spatial), or None where the format does not state them.
        format: The name of the family.
        shape: The shape on disk, in the file's axis order.
        dtype: The element type on disk.
        spacing: Voxel size by axis letter, of those of Z, Y, X whose size the file states.
        unit: "mm", "um", "nm" or None.
        time_step: The step along "T", or None where the file does not state it.
        affine: 4 x 4, array index (z, y, x, 1) to RAS+ mm (as in `Volume`: of an unknown unit without one), or None.
        channels: Names along "C", or None.
        slope: A value is a stored number times `slope`, plus `inter`.
        inter: See `slope`.
        full_scale: Whether the type's maximum represents 1 in this format, as in PNG and TIFF.
        colour: Whether "C" holds the samples of a colour image.
        labels: Whether the file declares its numbers to be labels.
        provenance: What `write` recorded in the file, or empty.
        native: Metadata for the writer of the same format.
        notes: For the user: what was ambiguous and how it was read.
    """

    array: Array
    axes: str | None
    format: str
    shape: tuple[int, ...]
    dtype: str
    spacing: Mapping[str, float] = field(default_factory=dict)
    unit: str | None = None
    time_step: TimeStep | None = None
    affine: Affine | None = None
    channels: tuple[str, ...] | None = None
    slope: float = 1.0
    inter: float = 0.0
    full_scale: bool = False
    colour: bool = False
    labels: bool = False
    provenance: Provenance = field(default_factory=dict)
    native: Any = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kept:
    """Metadata of the source file that `write` uses; the `Source.header` of a volume.

    Attributes:
        format: The name of the family.
        native: The `Raw.native` of its reader.
        axes: The axes of the raw array, in its order, as they were interpreted.
        spacing: Voxel size by letter, including axes along which a volume is not filtered.
        dropped: The letter of the spatial axis of size one that was removed, or None.
        exclusive: The mutually exclusive classes, if they were requested: see `softmorph_cli.io.exclusive`.
        time_step: The step along "T", or None where the file does not state it.
    """

    format: str
    native: Any
    axes: str
    spacing: Mapping[str, float]
    dropped: str | None = None
    exclusive: Any = field(default=None, repr=False, compare=False)
    time_step: TimeStep | None = None


@dataclass(frozen=True)
class Encoding:
    """What the stored numbers represent, and what is written beside them.

    Attributes:
        one: The number that represents 1.
        labels: Whether they are labels instead of probabilities; `one` is then 1.
        provenance: How they were made.
        pyramid: Whether coarser resolutions are written too.
    """

    one: int = 1
    labels: bool = False
    provenance: Provenance = field(default_factory=dict)
    pyramid: bool = False


class Format(ABC):
    """A family of files: how to recognise, read and write it.

    Attributes:
        name: As in `Source.format`; its key in FAMILIES.
        output_types: The element types that `write` can store, the default first.
        holds: Which of "spacing", "affine", "channels", "stack", "time" (its step) and "uint32" (labels) it can hold.
    """

    name: ClassVar[str]
    output_types: ClassVar[tuple[str, ...]]
    holds: ClassVar[frozenset[str]]

    @property
    def title(self) -> str:
        """Its name in messages."""
        return FAMILIES[self.name].title

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The endings of its file names, lower case; the first is the usual one."""
        return FAMILIES[self.name].suffixes

    @abstractmethod
    def recognises(self, head: bytes) -> bool:
        """Whether a file with these first bytes (decompressed, if it is gzipped) is of this family."""

    @abstractmethod
    def read(self, path: Path) -> Raw:
        """Read a file; `damage.not_read` words the exceptions that are no SoftmorphError."""

    @abstractmethod
    def write(self, volume: Volume, array: Array, path: Path, encoding: Encoding) -> list[str]:
        """Write `array`, the encoded values of `volume`, and return notes on what could not be kept."""


def kept_native(volume: Volume, name: str) -> Any:
    """Return `Raw.native` of the source of a volume; None if that was not of family `name`."""
    kept = volume.source.header if volume.source else None
    return kept.native if isinstance(kept, Kept) and kept.format == name else None


def time_step_of(volume: Volume) -> TimeStep | None:
    """Return the time step of a map that has a time axis, if its file stated it."""
    kept = volume.source.header if volume.source else None
    return kept.time_step if isinstance(kept, Kept) and "T" in volume.axes else None


def scale_of(one: str) -> float:
    """Return the factor of stored numbers, given the text of the number that represents 1; 1.0 if it is no number."""
    one = one.strip()
    return 1 / int(one) if one.isdecimal() and len(one) < 20 and int(one) else 1.0
