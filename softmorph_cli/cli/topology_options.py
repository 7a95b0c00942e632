"""Options of softmorph topology, in groups."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from softmorph_cli.cli import common
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.pipeline.steps.repair_job import GoalParameters, MaskParameters
from softmorph_cli.plots.options import PICTURES, PREVIEW, ViewOptions
from softmorph_cli.system.parameters import Parameter, check_all, declared

if TYPE_CHECKING:
    from softmorph_cli.volume import Volume


@dataclass(frozen=True, kw_only=True)
class MaskOptions(MaskParameters):
    """The options of `softmorph topology` for the mask of a map."""

    panel: ClassVar = "Topology"

    def __post_init__(self) -> None:
        """Check the values of the options."""
        check_all(self)

    def at_level(self, volume: Volume) -> tuple[MaskOptions, tuple[str, ...]]:
        """Return the options with the threshold to use, the nearest level of a nested skeleton, and notes on it."""
        from softmorph_cli.api.images import at_level

        used, notes = at_level(self.threshold, volume)
        return replace(self, threshold=used), notes


@dataclass(frozen=True)
class NumbersOutput:
    """The options of `softmorph topology numbers` for the listed bars and output files."""

    panel: ClassVar = "Output"

    top: Annotated[int, Parameter("Bars in the table and the JSON; 0 for all.", "N")] = 10
    no_bars: Annotated[
        bool,
        Parameter(
            "Only count at the threshold: a second for 256 x 256 x 256 voxels. Bars take up to 135 bytes of memory "
            "a voxel."
        ),
    ] = False
    plot: Annotated[
        Path | None, Parameter("Draw the persistence diagram and the Betti curves.", PREVIEW, first=True)
    ] = None
    json_file: Annotated[Path | None, common.JSON_FILE] = None
    json: Annotated[bool, common.JSON] = False
    force: Annotated[bool, common.FORCE] = False
    quiet: Annotated[bool, common.QUIET] = False
    verbose: Annotated[bool, common.VERBOSE] = False


@dataclass(frozen=True, kw_only=True)
class WholeMap(ReadOptions):
    """The options of reading a map that is written as a whole, even if only a region of it is changed."""

    region: Annotated[
        str | None,
        replace(
            declared(ReadOptions)["region"].about,
            help="Change the map in this box only (in voxels, ends may be left out); the prior is that of the "
            "box, cut out. OUT is the whole map.",
            group="Repair",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Goal(GoalParameters):
    """The options of `softmorph topology repair` for the requested Betti numbers and the allowed changes."""

    panel: ClassVar = "Repair"


@dataclass(frozen=True)
class RepairOutput(ViewOptions):
    """The options of `softmorph topology repair` for output files and printed text."""

    panel: ClassVar = "Output"

    output_type: Annotated[str | None, common.OUTPUT_TYPE] = None
    json_file: Annotated[Path | None, common.JSON_FILE] = None
    preview: Annotated[
        Path | None,
        Parameter(
            "Draw input and result side by side, a ring around each place that changed.",
            PREVIEW,
            group=PICTURES,
            first=True,
        ),
    ] = None
    json: Annotated[bool, common.JSON] = False
    force: Annotated[bool, common.FORCE] = False
    quiet: Annotated[bool, common.QUIET] = False
    verbose: Annotated[bool, common.VERBOSE] = False
