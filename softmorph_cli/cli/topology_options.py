"""Options of softmorph topology, in groups."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from softmorph_cli.cli import common
from softmorph_cli.errors import UsageError
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.plots.options import PICTURES, PREVIEW, ViewOptions
from softmorph_cli.system.parameters import Parameter, below_one, check_all, declared, named

if TYPE_CHECKING:
    from softmorph_cli.volume import Volume


def _has_topology(name: str, connectivity: int) -> None:
    if connectivity not in (4, 6, 8, 26):
        raise UsageError(f"{named(name)} {connectivity} has no topology: use 8 or 4 in 2D, 26 or 6 in 3D.")


@dataclass(frozen=True)
class MaskOptions:
    """The options of `softmorph topology` for the mask of a map: threshold and connectivity."""

    panel: ClassVar = "Topology"

    threshold: Annotated[float, Parameter("A voxel above it is foreground.", "P", check=below_one)] = 0.5
    connectivity: Annotated[
        int | None,
        Parameter(
            "Connectivity of the foreground: 8 or 4 in 2D, 26 or 6 in 3D; the background has the other "
            "one. (default: 8 or 26)",
            "N",
            check=_has_topology,
        ),
    ] = None

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
            "Only count at the threshold: a second for 256 x 256 x 256 voxels. Bars in 3D take up to 550 bytes "
            "a voxel."
        ),
    ] = False
    plot: Annotated[Path | None, Parameter("Draw the persistence diagram and the Betti curves.", PREVIEW)] = (
        None
    )
    stats: Annotated[Path | None, Parameter("Write the numbers and bars as JSON.", "PATH.json")] = None
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


@dataclass(frozen=True)
class Goal:
    """The options of `softmorph topology repair` for the requested Betti numbers and the allowed changes."""

    panel: ClassVar = "Repair"

    betti: Annotated[
        str | None,
        Parameter(
            "The Betti numbers that the mask should have: components, loops (in 2D holes), in 3D cavities; "
            "`any` for any number.",
            "B0,B1[,B2]",
        ),
    ] = None
    priors: Annotated[
        Path | None,
        Parameter(
            "Of several channels: Betti numbers of each and of unions, in a file as README.md shows.",
            "FILE.toml",
        ),
    ] = None
    weight: Annotated[
        float,
        Parameter(
            "Weight of the squared change, summed over the voxels: 0.5 changes a little less in a few more "
            "steps.",
            "WEIGHT",
            flags=("--lambda",),
        ),
    ] = 0.1
    max_steps: Annotated[
        int, Parameter("Stop after this many steps, with exit status 3 and the best step's map.", "N")
    ] = 100
    smooth: Annotated[
        str,
        Parameter(
            "How wide a gap is bridged at a step: the standard deviation of the Gaussian by which the "
            "neighbours of a voxel follow, such as 1vox or 0.5mm. Larger takes fewer steps and flips more "
            "voxels.",
            "LENGTH",
        ),
    ] = "1vox"


@dataclass(frozen=True)
class RepairOutput(ViewOptions):
    """The options of `softmorph topology repair` for output files and printed text."""

    panel: ClassVar = "Output"

    output_type: Annotated[str | None, common.OUTPUT_TYPE] = None
    stats: Annotated[
        Path | None, Parameter("Write the outcome with its certificate as JSON.", "PATH.json")
    ] = None
    preview: Annotated[
        Path | None,
        Parameter(
            "Draw input and result side by side, a ring around each place that changed.",
            PREVIEW,
            group=PICTURES,
        ),
    ] = None
    json: Annotated[bool, Parameter("Print the same JSON on stdout.")] = False
    force: Annotated[bool, common.FORCE] = False
    quiet: Annotated[bool, common.SILENT] = False
    verbose: Annotated[bool, common.VERBOSE] = False
