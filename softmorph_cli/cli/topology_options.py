"""The options of softmorph topology, in bundles."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from softmorph_cli.cli import common
from softmorph_cli.errors import UsageError
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.system.parameters import declared

if TYPE_CHECKING:
    from softmorph_cli.volume import Volume

_TOPOLOGY, _REPAIR, _OUT = "Topology", "Repair", "Output"


@dataclass(frozen=True)
class Masking:
    """Which mask is meant, and what is connected in it."""

    threshold: Annotated[
        float,
        typer.Option(metavar="P", help="A voxel above it is foreground.", rich_help_panel=_TOPOLOGY),
    ] = 0.5
    connectivity: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Of the foreground: 8 or 4 in 2D, 26 or 6 in 3D; the background has the other one. "
            "(default: 8 or 26)",
            rich_help_panel=_TOPOLOGY,
            show_default=False,
        ),
    ] = None

    def check(self) -> None:
        """Refuse what fits no map.

        Raises:
            UsageError: If the threshold is none, or the connectivity has no topology in any dimension.
        """
        if not 0 <= self.threshold < 1:
            raise UsageError(f"--threshold {self.threshold:g}: it must be at least 0 and below 1.")
        if self.connectivity not in (None, 4, 6, 8, 26):
            raise UsageError(
                f"--connectivity {self.connectivity} has no topology: use 8 or 4 in 2D, 26 or 6 in 3D."
            )

    def at_level(self, volume: Volume) -> tuple[Masking, tuple[str, ...]]:
        """Return the threshold for a map, a level of it where it is a nested skeleton, and what is to be said of it."""
        from softmorph_cli.level_sets import at_level
        from softmorph_cli.skeleton.kind import exact_levels

        used, told = at_level(self.threshold, exact_levels(volume))
        return replace(self, threshold=used), told


@dataclass(frozen=True)
class Showing:
    """What is told of bars."""

    top: Annotated[
        int,
        typer.Option(metavar="N", help="Bars in the table and the JSON; 0 for all.", rich_help_panel=_OUT),
    ] = 10
    no_bars: Annotated[
        bool,
        typer.Option(
            "--no-bars",
            help="Only count at the threshold: a second for 256 x 256 x 256 voxels. Bars in 3D take up to 550 bytes "
            "a voxel.",
            rich_help_panel=_OUT,
        ),
    ] = False
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH.png",
            help="Draw the persistence diagram and the Betti curves.",
            rich_help_panel=_OUT,
            show_default=False,
        ),
    ] = None
    stats: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH.json",
            help="Write what is found as JSON.",
            rich_help_panel=_OUT,
            show_default=False,
        ),
    ] = None
    json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object instead of tables.", rich_help_panel=_OUT),
    ] = False
    force: Annotated[bool, common.force(_OUT)] = False
    quiet: Annotated[bool, common.quiet(_OUT, but="results, warnings and errors")] = False
    verbose: Annotated[bool, common.verbose(_OUT)] = False


@dataclass(frozen=True, kw_only=True)
class Whole(ReadOptions):
    """The same, of a map that is written whole."""

    region: Annotated[
        str | None,
        replace(
            declared(ReadOptions)["region"].about,
            help="Change the map in this box alone (in voxels, ends open at will); the prior is that of the box, "
            "cut out. OUT is the whole map.",
            group=_REPAIR,
        ),
    ] = None


@dataclass(frozen=True)
class Asking:
    """What topology is asked for, and how it is reached."""

    betti: Annotated[
        str | None,
        typer.Option(
            metavar="B0,B1[,B2]",
            help="The Betti numbers that the mask should have: components, loops (in 2D holes), in 3D cavities.",
            rich_help_panel=_REPAIR,
            show_default=False,
        ),
    ] = None
    priors: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml",
            help="Of several channels: Betti numbers of each and of unions, in a file as README.md shows.",
            rich_help_panel=_REPAIR,
            show_default=False,
        ),
    ] = None
    weight: Annotated[
        float,
        typer.Option(
            "--lambda",
            metavar="WEIGHT",
            help="Weight of the squared change, summed over the voxels: 0.5 changes a little less in a few more "
            "steps.",
            rich_help_panel=_REPAIR,
        ),
    ] = 0.1
    max_steps: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Give up after so many steps, with exit status 3 and the best step's map.",
            rich_help_panel=_REPAIR,
        ),
    ] = 100
    smooth: Annotated[
        str,
        typer.Option(
            metavar="LENGTH",
            help="How wide a gap is bridged at a step: the standard deviation of the Gaussian by which the neighbours "
            "of a voxel follow, such as 1vox or 0.5mm. Larger takes fewer steps and flips more voxels.",
            rich_help_panel=_REPAIR,
        ),
    ] = "1vox"


@dataclass(frozen=True)
class RepairOutput:
    """How the result is written, and what is said."""

    output_type: Annotated[str | None, common.output_type(_OUT)] = None
    stats: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH.json",
            help="Write how it went, with the certificate, as JSON.",
            rich_help_panel=_OUT,
            show_default=False,
        ),
    ] = None
    preview: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH.png",
            help="Draw input and result side by side, a ring around each place that changed.",
            rich_help_panel=_OUT,
            show_default=False,
        ),
    ] = None
    json: Annotated[
        bool, typer.Option("--json", help="Print the same JSON on stdout.", rich_help_panel=_OUT)
    ] = False
    force: Annotated[bool, common.force(_OUT)] = False
    quiet: Annotated[bool, common.quiet(_OUT)] = False
    verbose: Annotated[bool, common.verbose(_OUT)] = False
