"""What a file holds before anybody calls it a probability: numbers of any type, named axes, geometry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from softmorph_cli.system.units import TimeStep
from softmorph_cli.volume import Volume

Array = npt.NDArray[Any]
Affine = npt.NDArray[np.float64]
Provenance = Mapping[str, Any]

# The letter of a slice axis that is mapped over (`per_slice`); writing turns it into "Z" again.
# Keys in a file's own metadata: the stored number that stands for 1, or the highest label.
# Index (x, y, z, 1) of a file <-> index (z, y, x, 1) of an array.
REVERSED: Final = [2, 1, 0, 3]
ONE: Final = "softmorph_divide_by"
LABELS: Final = "softmorph_labels"


@dataclass(frozen=True)
class Raw:
    """A file as its format describes it.

    Attributes:
        array: Any type, axes in any order; a read-only view of the file, or writeable and nobody else's.
        axes: A letter for each axis ("Z", "Y", "X" are spatial), or None where the format does not say.
        format: The name of the family.
        shape: The shape on disk, in the file's own order.
        dtype: The element type on disk.
        spacing: Voxel size by axis letter, for as many of Z, Y, X as the file knows.
        unit: "mm", "um", "nm" or None.
        time_step: The step along "T", or None where the file does not say it.
        affine: 4 x 4, array index (z, y, x, 1) to RAS+ mm (as in `Volume`: of an unknown unit without one), or None.
        channels: Names along "C", or None.
        slope: A stored number times `slope` plus `inter` is the value it means.
        inter: See `slope`.
        full_scale: Whether the type's maximum means 1 in this format, as in PNG and TIFF.
        colour: Whether "C" holds the samples of a colour image.
        labels: Whether the file says that its numbers are those of labels.
        provenance: What softmorph said of the file when it wrote it, or empty.
        native: What the writer of the same format wants to have back.
        notes: What the reader had to decide.
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
    """What `write` needs of the file a volume came from; `Source.header` is one of these.

    Attributes:
        format: The name of the family.
        native: What that family's reader put aside.
        axes: The axes in the order of the raw array, as they were understood.
        spacing: Voxel size by letter, the axes a volume does not filter along included.
        dropped: The letter of the spatial axis of size one that was left out, or None.
        exclusive: Of classes that exclude each other, where that was asked for: see `softmorph_cli.io.exclusive`.
        time_step: The step along "T", or None where the file does not say it.
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
    """What stored numbers are, and what is written beside them.

    Attributes:
        one: The number that stands for 1.
        labels: Whether they are labels at the place of the map; `one` is then 1.
        provenance: What made them.
        pyramid: Whether coarser resolutions are written too.
    """

    one: int = 1
    labels: bool = False
    provenance: Provenance = field(default_factory=dict)
    pyramid: bool = False


class Format(Protocol):
    """One family of files: how to recognise, read and write it."""

    @property
    def name(self) -> str:
        """As in `Source.format`."""

    @property
    def title(self) -> str:
        """As a person says it."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """What its files are called, lower case; the first is the usual one."""

    @property
    def output_types(self) -> tuple[str, ...]:
        """What `write` can store, the default first."""

    @property
    def holds(self) -> frozenset[str]:
        """Which of "spacing", "affine", "channels", "stack", "time" (its step) and "uint32" (labels) it can hold."""

    def recognises(self, head: bytes) -> bool:
        """Whether a file with these first bytes (unpacked, where it is gzipped) is of this family."""

    def read(self, path: Path) -> Raw:
        """Read the file; what it raises that is no SoftmorphError is put into words by `damage.not_read`."""

    def write(
        self,
        volume: Volume,
        array: Array,
        path: Path,
        encoding: Encoding,
    ) -> list[str]:
        """Write `array`, the values of `volume` as they are encoded, and return what could not be kept."""


def kept_native(volume: Volume, name: str) -> Any:
    """Return what the reader of family `name` put aside, or None if the volume came from elsewhere."""
    kept = volume.source.header if volume.source else None
    return kept.native if isinstance(kept, Kept) and kept.format == name else None


def time_step_of(volume: Volume) -> TimeStep | None:
    """Return the step of time of a map that has an axis of time, where its file said it."""
    kept = volume.source.header if volume.source else None
    return kept.time_step if isinstance(kept, Kept) and "T" in volume.axes else None


def scale_of(one: str) -> float:
    """What stored numbers are multiplied by, where a file says which of them stands for 1."""
    one = one.strip()
    return 1 / int(one) if one.isdecimal() and len(one) < 20 and int(one) else 1.0
