"""The step `stats` and the rows of `softmorph stats`: the statistics of a map and of each of its channels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

from softmorph_cli.io.select import part_name
from softmorph_cli.metrics import volume_columns
from softmorph_cli.pipeline.steps.measuring import Measurable, Measured, Measuring, Table
from softmorph_cli.system.parameters import Parameter
from softmorph_cli.system.units import sign

if TYPE_CHECKING:
    from softmorph_cli.metrics.statistics import Statistics
    from softmorph_cli.volume import Volume

# All columns in this order, so that tables of different runs in mm can be concatenated.
_COLUMNS: Final = (
    *("file", "channel", "axes", "size_z", "size_y", "size_x"),
    *("spacing_z", "spacing_y", "spacing_x", "spacing_unit", "voxels"),
    *("expected_voxels", "std_voxels", "expected_area_mm2", "std_area_mm2"),
    *("expected_volume_mm3", "std_volume_mm3"),
    *volume_columns.FIGURES,
    *volume_columns.SPREAD,
)


def columns_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the columns of a table of statistics; those of other units than mm only if a row has them."""
    held = {name for row in rows for name in row}
    return [*_COLUMNS, *(name for name in volume_columns.OTHER_UNITS if name in held)]


def geometry(volume: Volume) -> dict[str, Any]:
    """Return the columns of the axes, sizes and voxel sizes of a map."""
    axes, sizes = volume.spatial_axes.lower(), volume.array.shape[-volume.spatial_dims :]
    return {
        "axes": volume.axes,
        **{f"size_{axis}": size for axis, size in zip(axes, sizes, strict=True)},
        **{f"spacing_{axis}": size for axis, size in zip(axes, volume.spacing or (), strict=False)},
        "spacing_unit": volume.unit or "",
    }


def parts(volume: Volume, found: Statistics) -> list[tuple[str, Statistics]]:
    """Return the name and the statistics of each channel, or of the map itself if it has a single channel."""
    if not found.per_channel:
        return [((volume.source.channel if volume.source else None) or "", found)]
    return [(part_name(volume, part.index), part) for part in found.per_channel]


def row_of(name: str, found: Statistics, place: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a channel, or of a map; `place` is what `geometry` returns."""
    return {"channel": name, **place, **found.as_row()}


@dataclass(frozen=True, kw_only=True)
class Stats(Measuring):
    """The statistics of the map between two steps."""

    csv: Annotated[
        Path | None,
        Parameter("Of a chain: write a table with one row for each channel.", "PATH.csv"),
    ] = None

    operation: ClassVar = "stats"
    help: ClassVar = "Statistics of the map between two steps: expected volume, components, certainty."
    examples: ClassVar = ()

    @classmethod
    def table_names(cls) -> tuple[str, ...]:
        """Return the names of the tables."""
        return ("stats",)

    @property
    def outputs(self) -> dict[str, Path]:
        """The file of the table."""
        return {} if self.csv is None else {"stats": self.csv}

    def measure(self, given: Measurable) -> Measured:
        """Return the statistics of the map as rows."""
        found, place = given.statistics, geometry(given.volume)
        rows = [row_of(name, part, place) for name, part in parts(given.volume, found)]
        words = f"expected {found.expected_volume:.5g} {sign(found.volume_unit)}"
        return Measured({"stats": Table(columns_of(rows), rows)}, found.as_dict(), words)
