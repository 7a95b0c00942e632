"""The content of a decoded file before conversion to probabilities (`Raw`), and the interface `Format`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.io.format_names import FAMILIES
from softmorph_cli.io.options import Pooling
from softmorph_cli.system.parameters import named
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
    """The content of a file as its format describes it, with stored numbers instead of probabilities.

    Attributes:
        array: The stored numbers, of any type and axis order; a read-only view of the file, or a writeable array that
            nothing else uses.
        axes: A letter for each axis ("Z", "Y", "X" are spatial), or None where the format does not state them.
        format: The name of the file format, as in `Source.format`.
        shape: The shape of the stored array, in the axis order of the file.
        dtype: The element type in the file.
        spacing: Voxel size by axis letter, for spatial axes whose voxel size the file states.
        unit: The unit of `spacing`: "mm", "um", "nm" or None.
        unit_stated: Whether the file states `unit`; a unit that is the convention of the format is not stated.
        time_step: The time between two indices of axis "T", or None where the file does not state it.
        affine: 4 x 4 matrix from array index (z, y, x, 1) to RAS+ world coordinates in mm, or in the unknown unit of
            `spacing`; None if unknown.
        channels: The names of the indices of axis "C", or None; without that axis the name of the only image.
        slope: The factor of the stored numbers: a value is a stored number times `slope`, plus `inter`.
        inter: The intercept that is added to the product of stored number and `slope`.
        full_scale: Whether the maximum of the element type represents 1 in this format, as in PNG and TIFF.
        colour: Whether axis "C" holds the samples of a colour image, such as red, green and blue.
        labels: Whether the file declares its numbers to be labels.
        label_names: The names that the file gives to labels, by label.
        provenance: The record of command, version and parameters that `write` put into the file, or empty.
        native: Metadata in the form of this file format, which the writer of the same format restores.
        notes: Sentences for the user on what was ambiguous and how it was read.
    """

    array: Array
    axes: str | None
    format: str
    shape: tuple[int, ...]
    dtype: str
    spacing: Mapping[str, float] = field(default_factory=dict)
    unit: str | None = None
    unit_stated: bool = True
    time_step: TimeStep | None = None
    affine: Affine | None = None
    channels: tuple[str, ...] | None = None
    slope: float = 1.0
    inter: float = 0.0
    full_scale: bool = False
    colour: bool = False
    labels: bool = False
    label_names: Mapping[int, str] = field(default_factory=dict)
    provenance: Provenance = field(default_factory=dict)
    native: Any = None
    notes: tuple[str, ...] = ()


class Placed(ABC):
    """Metadata of a file format (`Raw.native`) that state where the first voxel lies, so that a crop changes them."""

    @abstractmethod
    def cropped(self, corner: Mapping[str, int]) -> Placed:
        """Return the metadata of a crop.

        Args:
            corner: By letter of a spatial axis, the index of the first voxel that is kept.
        """


@dataclass(frozen=True)
class Kept:
    """Metadata of the source file, kept so that `write` restores them; stored as `Source.header` of a volume.

    Attributes:
        format: The name of the file format, as in `Source.format`.
        native: Metadata in the form of this file format, from `Raw.native`.
        axes: The letters of the axes of the stored array, in the order of the file, as they were interpreted.
        spacing: Voxel size by axis letter, including spatial axes that the volume does not have.
        dropped: The letter of the spatial axis of size one that was removed, or None.
        exclusive: The mutually exclusive classes (`softmorph_cli.io.exclusive.Exclusive`), if they were requested.
        time_step: The time between two indices of axis "T", or None where the file does not state it.
        label_names: The names that the file gives to labels, by label.
    """

    format: str
    native: Any
    axes: str
    spacing: Mapping[str, float]
    dropped: str | None = None
    exclusive: Any = field(default=None, repr=False, compare=False)
    time_step: TimeStep | None = None
    label_names: Mapping[int, str] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class Encoding:
    """The meaning of the numbers that `Format.write` stores, and what is written beside the numbers.

    Attributes:
        one: The stored number that represents probability 1.
        labels: Whether the numbers are labels instead of probabilities; `one` is then 1.
        provenance: The record of how the numbers were made: command, version, parameters.
        pyramid: What a voxel of a coarser resolution is of those that it covers, "nearest" for labels; None if only the
            finest resolution is written.
    """

    one: int = 1
    labels: bool = False
    provenance: Provenance = field(default_factory=dict)
    pyramid: Pooling | None = None


class Format(ABC):
    """The interface of a file format: how to recognise, read and write files of it.

    Attributes:
        name: The name of the format, as in `Source.format`; also its key in FAMILIES.
        output_types: The element types that `write` can store, the default first.
        holds: What files of the format can hold, out of "spacing", "affine", "channels", "stack" (several images),
            "time" (the time step) and "uint32" (labels of this type).
    """

    name: ClassVar[str]
    output_types: ClassVar[tuple[str, ...]]
    holds: ClassVar[frozenset[str]]

    @property
    def title(self) -> str:
        """The name of the format in messages."""
        return FAMILIES[self.name].title

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The suffixes of file names of the format, in lower case; the first suffix is the usual one."""
        return FAMILIES[self.name].suffixes

    @abstractmethod
    def recognises(self, head: bytes) -> bool:
        """Return whether a file has this format, by its first bytes, which are decompressed if the file is gzipped."""

    @abstractmethod
    def read(self, path: Path) -> Raw:
        """Read a file of the format; the caller turns exceptions other than SoftmorphError into a `FileError`."""

    @abstractmethod
    def write(self, volume: Volume, array: Array, path: Path, encoding: Encoding) -> list[str]:
        """Write a file of the format, and return notes on metadata that the file cannot hold.

        Args:
            volume: The map, for its axes and geometry.
            array: The encoded values of the map, which are stored.
            path: The file or empty folder to write to.
            encoding: The meaning of the stored numbers.
        """

    def check_mapped(self, volume: Volume, most: Literal[1, 2]) -> None:
        """Refuse a map with more mapped axes than files of the format hold.

        Raises:
            InputError: If it has more than `most`.
        """
        if len(volume.mapped_axes) > most:
            raise InputError(
                f"{self.title} holds {'one axis' if most == 1 else 'two axes'} beside x, y and z, not "
                f"{volume.mapped_axes!r}; choose one channel with {named('channel')}, or write .npy."
            )


class ReadOnly(Format):
    """The interface of a file format that is read and never written.

    Attributes:
        instead: The suffix of the file that is written in place of one of this format.
    """

    output_types = ()
    holds = frozenset()
    instead: ClassVar[str]

    def not_written(self, path: Path) -> UsageError:
        """Return the error for a file of the format that is to be written."""
        return UsageError(f"{path}: {self.title} files are read, not written; write {self.instead} instead.")

    def write(self, volume: Volume, array: Array, path: Path, encoding: Encoding) -> list[str]:
        """Raise the error of `not_written`."""
        raise self.not_written(path)


def kept_native(volume: Volume, name: str) -> Any:
    """Return the format-specific metadata of the source of a volume; None if its format was not `name`."""
    kept = volume.source.header if volume.source else None
    return kept.native if isinstance(kept, Kept) and kept.format == name else None


def time_step_of(volume: Volume) -> TimeStep | None:
    """Return the time step that the source file of a map stated; None if it did not, or the map has no time axis."""
    kept = volume.source.header if volume.source else None
    return kept.time_step if isinstance(kept, Kept) and "T" in volume.axes else None


def scale_of(one: str) -> float:
    """Return 1 divided by the number in a text, the stored number that represents 1; 1.0 if it is no number."""
    one = one.strip()
    return 1 / int(one) if one.isdecimal() and len(one) < 20 and int(one) else 1.0
