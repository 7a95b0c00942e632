"""Options of reading and writing, each declared once.

Command-line options, keywords of `softmorph_cli.read` and `write`, and entries of batches, tiles and documents are
derived from the classes `ReadOptions` and `WriteOptions`. A new option is a new field of one of these classes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from softmorph_cli.errors import UsageError
from softmorph_cli.io.format_names import READ as READ
from softmorph_cli.io.format_names import WRITTEN as WRITTEN
from softmorph_cli.system.lengths import parse_sides
from softmorph_cli.system.parameters import (
    Declared,
    Parameter,
    at_least,
    check_all,
    declared,
    named,
    one_of,
    positive,
)
from softmorph_cli.system.units import MILLIMETRES, typed

# What an option is about. Those about axes and space also apply to a reference or a mask of the same grid.
AXES, SPACE, FILE, VALUES, RESULT = "axes", "space", "file", "values", "result"

# What a voxel of a coarser resolution is of the voxels that it covers: of labels the first ("nearest").
Pooling = Literal["mean", "max", "nearest"]

_READ: Final = "Reading IN"
OUTPUT: Final = "Output"
_INTEGER: Final = re.compile(r"-?[0-9]+")
_RANGE: Final = re.compile(r"(\d*):(\d*)")


@dataclass(frozen=True)
class Option(Parameter):
    """The description of an option of reading.

    Attributes:
        about: The topic of the option: `AXES`, `SPACE` (which part of space), `FILE` (which image of the file, and
            other files), `VALUES` (meaning of stored numbers) or `RESULT` (what is returned; in Python only).
        in_blocks: Whether the option is available where a map is read block by block.
    """

    group: str | None = _READ
    about: str = FILE
    in_blocks: bool = True


def number_or_name(text: str) -> int | str:
    """Convert a text to an integer if the text is written as an integer; else return the text."""
    return int(text) if _INTEGER.fullmatch(text) else text


def ranges(region: str) -> list[tuple[int, int | None]]:
    """Parse a region; return its begin and end along each axis, where None is an open end.

    Raises:
        UsageError: If the region is not of the form "z0:z1,y0:y1,x0:x1".
    """
    found = [_RANGE.fullmatch(part.strip()) for part in region.split(",")]
    if None in found:
        raise UsageError(
            f"{named('region')} {region!r} must read z0:z1,y0:y1,x0:x1; an end may be left open, as in 5:,:,:20."
        )
    return [(int(one[1] or 0), int(one[2]) if one[2] else None) for one in found if one is not None]


def _region(name: str, value: str) -> None:
    ranges(value)


def _sides(name: str, value: str) -> None:
    parse_sides(value, named(name))


def _unit(name: str, value: str) -> None:
    if typed(value) not in MILLIMETRES:
        raise UsageError(f"{named(name)} {value!r} is no unit of a voxel size: give mm, um or nm.")


def _letters(name: str, value: str) -> None:
    letters = value.upper()
    plain = letters.isascii() and letters.isalpha()
    if not plain or len(set(letters)) != len(letters) or not {"Y", "X"} <= set(letters):
        raise UsageError(
            f"{named(name)} {value!r} must be distinct letters with Y and X among them, such as CZYX."
        )


def _axis(name: str, value: int | str) -> None:
    if value == "":
        raise UsageError(f"{named(name)} '' must be a letter, such as C, or the number of an axis.")


def _float(name: str, value: Any) -> None:
    import numpy as np

    if np.dtype(value) not in (np.float32, np.float64):
        raise UsageError(f"a map is read as float32 or float64, not {np.dtype(value)}.")


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """The options of reading a file as a probability map; each field explains itself in its help text."""

    channel: Annotated[
        int | str | None,
        Option(
            "Read one channel, by number (from 0) or name. (default: all, each by itself)",
            "NAME|N",
            parse=number_or_name,
            first=True,
        ),
    ] = None
    channel_axis: Annotated[
        int | str | None,
        Option(
            "Which axis holds channels, by letter or number, where the file does not say.",
            "AXIS",
            parse=number_or_name,
            check=_axis,
            about=AXES,
        ),
    ] = None
    axes: Annotated[
        str | None,
        Option(
            "A letter for each axis, such as TYX or CZYX, instead of what the file says.",
            "LETTERS",
            check=_letters,
            about=AXES,
        ),
    ] = None
    per_slice: Annotated[
        bool,
        Option(
            "Treat each slice along z as a 2D image.", flags=("--per-slice",), about=SPACE, in_blocks=False
        ),
    ] = False
    region: Annotated[
        str | None,
        Option(
            "Cut out this box (in voxels, ends may be left out); OUT is the box at its place in the world.",
            "Z0:Z1,Y0:Y1,X0:X1",
            check=_region,
            about=SPACE,
        ),
    ] = None
    voxel_size: Annotated[
        str | None,
        Option(
            "The size of a voxel along each axis of the array (z, y, x), where the file states none, such as "
            "1umx0.25x0.25; 0.25um is for all axes.",
            "ZxYxX",
            check=_sides,
            about=SPACE,
        ),
    ] = None
    unit: Annotated[
        str | None,
        Option(
            "The unit of the voxel size, where neither the file nor --voxel-size states one.",
            "mm|um|nm",
            check=_unit,
            about=SPACE,
        ),
    ] = None
    mask: Annotated[
        str | Path | None,
        Option("Where this image of the same shape is 0 or NaN, the map is taken as 0.", "FILE", about=SPACE),
    ] = None
    like: Annotated[
        str | Path | None,
        Option(
            "For nnU-Net's .npz: take voxel size and orientation from this image; of several cases from the "
            "images of their names in this folder. (default: the labels beside it, which are checked)",
            "FILE|DIR",
            ("--reference",),
            in_blocks=False,
        ),
    ] = None
    resolution: Annotated[
        int | None,
        Option(
            "Which resolution of an OME-Zarr, 0 the finest, as IN.zarr/N is. (default: 0)",
            "N",
            check=at_least(0),
            least=0,
        ),
    ] = None
    series: Annotated[
        int | None,
        Option(
            "Which image series of a TIFF. (default: the first that is no smaller copy of another)",
            "N",
            check=at_least(0),
            least=0,
        ),
    ] = None
    time: Annotated[
        int | None, Option("Read one time point of several. (default: all, each by itself)", "N", least=0)
    ] = None
    from_logits: Annotated[
        str | None,
        Option(
            "The file holds logits: turn them into probabilities first.",
            "sigmoid|softmax",
            check=one_of("sigmoid", "softmax"),
            about=VALUES,
        ),
    ] = None
    divide_by: Annotated[
        float | None,
        Option(
            "The stored number that means probability 1, such as 255 or 4095.",
            "NUMBER",
            check=positive,
            about=VALUES,
        ),
    ] = None
    clip: Annotated[bool, Option("Cut values outside [0, 1] off.", flags=("--clip",), about=VALUES)] = False
    label: Annotated[
        int | str | tuple[int, ...] | None,
        Option(
            "The file is a label map: read label K, by number or name, as a mask.",
            "NAME|K",
            parse=number_or_name,
            about=VALUES,
        ),
    ] = None
    dtype: Annotated[
        str | type[Any] | None,
        Option(
            "float32 or float64. (default: float32; float64 where a .npy file is)",
            check=_float,
            shell=False,
            about=RESULT,
            in_blocks=False,
        ),
    ] = None
    exclusive: Annotated[
        bool,
        Option(
            "Whether to search for channels that exclude each other, see `softmorph_cli.io.exclusive`.",
            shell=False,
            about=RESULT,
            in_blocks=False,
        ),
    ] = False

    def __post_init__(self) -> None:
        """Check the values of all options.

        Raises:
            UsageError: If an option is malformed, or two options exclude each other.
        """
        check_all(self)
        if sum(option is not None for option in (self.divide_by, self.label, self.from_logits)) > 1:
            raise UsageError(
                f"{named('divide_by')}, {named('label')} and {named('from_logits')} exclude each other; give one of "
                "them."
            )
        own = parse_sides(self.voxel_size, "")[1] if self.voxel_size is not None else None
        if own is not None and self.unit is not None:
            raise UsageError(
                f"{named('voxel_size')} {self.voxel_size!r} states its unit; leave {named('unit')} out."
            )
        if self.voxel_size is not None and own is None and self.unit is None:
            raise UsageError(
                f"{named('voxel_size')} {self.voxel_size!r} states no unit; say which it is with "
                f"{named('unit', 'mm')}, um or nm."
            )

    def _chosen(self) -> Iterator[tuple[Declared, Option, Any]]:
        for one in declared(type(self)).values():
            assert isinstance(one.about, Option)
            value = getattr(self, one.name)
            # By identity, because channel 0 is a choice.
            if value is not None and value is not False:
                yield one, one.about, value

    @property
    def given(self) -> dict[str, Any]:
        """The options without default value that change which data are read or what values mean, by name."""
        return {one.name: value for one, about, value in self._chosen() if about.about != RESULT}

    @property
    def label_number(self) -> int | tuple[int, ...] | None:
        """The label that is read, or the labels whose union is a region; a name has been looked up before."""
        assert not isinstance(self.label, str)
        return self.label

    @property
    def as_json(self) -> dict[str, Any]:
        """The options of `given` with values of JSON types: paths are text."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in self.given.items()}

    @property
    def files(self) -> list[Path]:
        """The paths of the other files that options name, such as a mask."""
        return [value for value in self.given.values() if isinstance(value, Path)]

    @property
    def whole_only(self) -> list[str]:
        """The names, for messages, of given options that are not available where a map is read block by block."""
        return [one.typed for one, about, _ in self._chosen() if not about.in_blocks]

    def absolute(self) -> Self:
        """Return a copy of the options in which all paths are absolute."""
        found: dict[str, Any] = {
            name: value.absolute() for name, value in self.given.items() if isinstance(value, Path)
        }
        return replace(self, **found)

    def only(self, *about: Literal["axes", "space", "file", "values", "result"]) -> ReadOptions:
        """Return a copy of the options in which all options on other topics have their default."""
        return ReadOptions(**{one.name: value for one, own, value in self._chosen() if own.about in about})


DEFAULT: Final = ReadOptions()


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """The options of writing a map to a file; each field explains itself in its help text."""

    output_type: Annotated[
        str | None,
        Parameter(
            "float32, uint8, uint16, or float16 (.tif, .npy). (default: float32; PNG uint16)",
            "TYPE",
            group=OUTPUT,
            words=("float32", "uint8", "uint16", "float16"),
        ),
    ] = None
    force: Annotated[
        bool, Parameter("Replace files that exist.", flags=("--force", "-f"), group=OUTPUT, first=True)
    ] = False
    pyramid: Annotated[
        bool,
        Parameter(
            "Write coarser resolutions too, each half the one before (.zarr only).",
            flags=("--pyramid",),
            group=OUTPUT,
        ),
    ] = False
    pyramid_pool: Annotated[
        str | None,
        Parameter(
            "With --pyramid, what a coarser voxel is of those it covers: max keeps thin vessels. (default: mean)",
            "max|mean",
            check=one_of("max", "mean"),
            group=OUTPUT,
        ),
    ] = None
    provenance: Annotated[
        Mapping[str, Any] | None,
        Parameter(
            "What made the map: command, version, parameters, as far as the format holds it.", shell=False
        ),
    ] = None

    def __post_init__(self) -> None:
        """Check the values of all options.

        Raises:
            UsageError: If an option is malformed, or has no effect without another one.
        """
        check_all(self)
        if self.pyramid_pool is not None and not self.pyramid:
            raise UsageError(
                f"{named('pyramid_pool', self.pyramid_pool)} says how coarser resolutions are made, and none is "
                f"written: add {named('pyramid', True)}, or leave out {named('pyramid_pool')}."
            )

    @property
    def pooling(self) -> Pooling | None:
        """What a voxel of a coarser resolution is of those that it covers; None if only the finest is written."""
        return ("max" if self.pyramid_pool == "max" else "mean") if self.pyramid else None

    @property
    def pooling_stated(self) -> dict[str, str]:
        """The parameter `pyramid_pool` as provenance states it; empty if coarser resolutions are means, or none."""
        return {"pyramid_pool": "max"} if self.pooling == "max" else {}

    @classmethod
    def of(cls, chosen: WriteOptions, **more: Any) -> Self:
        """Return options of this class with the values of `chosen`, which may be options of another class.

        Args:
            chosen: The options to copy; options that its class does not have get their default.
            more: Values that replace or complete the copied values, by name.
        """
        known = {one.name for one in fields(chosen)} - set(more)
        values = {one.name: getattr(chosen, one.name) for one in fields(cls) if one.name in known}
        return cls(**values, **more)


WRITE_DEFAULT: Final = WriteOptions()
