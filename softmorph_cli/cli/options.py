"""Every option that more than one command has, written down once: name, meaning, unit, default, effect."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from softmorph_cli.cli import common
from softmorph_cli.errors import UsageError

if TYPE_CHECKING:
    from softmorph_cli.workers.cluster import Where

Input = Annotated[
    Path,
    typer.Argument(
        metavar="IN",
        help="Probability map: .nii, .nii.gz, .tif, .png, .nrrd, .mha, .mhd, .npy, .zarr or nnU-Net's .npz.",
        show_default=False,
    ),
]
Output = Annotated[
    Path,
    typer.Argument(
        metavar="OUT",
        help="File to write; its name chooses the format: .nii.gz, .nii, .tif, .zarr, .png, .nrrd, .mha or .npy.",
        show_default=False,
    ),
]
_READ = "Reading IN"
_OUT = "Output"
_LARGE = "Larger than memory"
_MACHINES = "More than one machine"


@dataclass(frozen=True)
class Opening:
    """How the numbers of a file become a probability map, labels aside."""

    channel: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|N",
            help="Take one channel, by number (from 0) or name. (default: all, each by itself)",
            rich_help_panel=_READ,
            show_default=False,
        ),
    ] = None
    channel_axis: Annotated[
        str | None,
        typer.Option(
            metavar="AXIS",
            help="Which axis holds channels, by letter or number, where the file does not say.",
            rich_help_panel=_READ,
            show_default=False,
        ),
    ] = None
    axes: Annotated[
        str | None,
        typer.Option(
            metavar="LETTERS",
            help="A letter for each axis, such as TYX or CZYX, instead of what the file says.",
            rich_help_panel=_READ,
            show_default=False,
        ),
    ] = None
    per_slice: Annotated[
        bool,
        typer.Option("--per-slice", help="Treat each slice along z as a 2D image.", rich_help_panel=_READ),
    ] = False
    region: Annotated[
        str | None,
        typer.Option(
            metavar="Z0:Z1,Y0:Y1,X0:X1",
            help="Cut out this box (in voxels, ends open at will); OUT is the box at its place in the world.",
            rich_help_panel=_READ,
            show_default=False,
        ),
    ] = None
    mask: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where this image of the same shape is 0, the map is taken as 0.",
            rich_help_panel=_READ,
            show_default=False,
        ),
    ] = None
    like: Annotated[
        Path | None,
        typer.Option(
            "--reference",
            metavar="FILE|DIR",
            help="For nnU-Net's .npz: take voxel size and orientation from this image; of several cases from the "
            "images of their names in this folder. (default: the labels beside it, which are checked)",
            rich_help_panel=_READ,
            show_default=False,
        ),
    ] = None
    resolution: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Which resolution of an OME-Zarr, 0 the finest, as IN.zarr/N is. (default: 0)",
            rich_help_panel=_READ,
            show_default=False,
        ),
    ] = None
    series: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Which image series of a TIFF. (default: the first that is no smaller copy of another)",
            rich_help_panel=_READ,
            show_default=False,
        ),
    ] = None
    time: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Keep one time of several. (default: all, each by itself)",
            rich_help_panel=_READ,
            show_default=False,
        ),
    ] = None
    from_logits: Annotated[
        str | None,
        typer.Option(
            metavar="sigmoid|softmax",
            help="The file holds logits: turn them into probabilities first.",
            rich_help_panel=_READ,
            show_default=False,
        ),
    ] = None
    divide_by: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER",
            help="What probability 1 is stored as, such as 255 or 4095.",
            rich_help_panel=_READ,
            show_default=False,
        ),
    ] = None
    clip: Annotated[
        bool, typer.Option("--clip", help="Cut values outside [0, 1] off.", rich_help_panel=_READ)
    ] = False

    @property
    def others(self) -> list[Path]:
        """The files that are read beside IN."""
        return [path for path in (self.mask, self.like) if path is not None]


@dataclass(frozen=True)
class Reading(Opening):
    """The same, and which label of a label map."""

    label: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="The file is a label map: read label K as a mask.",
            rich_help_panel=_READ,
            show_default=False,
        ),
    ] = None


@dataclass(frozen=True)
class ReadingOne(Reading):
    """The same, of one map."""

    channel: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|N",
            help="Which channel, by number (from 0) or name: of several one is taken.",
            rich_help_panel=_READ,
            show_default=False,
        ),
    ] = None


@dataclass(frozen=True)
class Results:
    """How results are written, and what is said."""

    output_type: Annotated[str | None, common.output_type(_OUT)] = None
    force: Annotated[bool, common.force(_OUT)] = False
    renormalize: Annotated[
        bool,
        typer.Option(
            "--renormalize",
            help="Of classes that exclude each other: make the channels of each voxel sum to 1 again.",
            rich_help_panel=_OUT,
        ),
    ] = False
    argmax: Annotated[
        bool,
        typer.Option(
            "--argmax",
            help="Write one label image of all channels: the most probable class, 0 for the background.",
            rich_help_panel=_OUT,
        ),
    ] = False
    pyramid: Annotated[
        bool,
        typer.Option(
            "--pyramid",
            help="Write coarser resolutions too, each half the one before (.zarr only).",
            rich_help_panel=_OUT,
        ),
    ] = False
    json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print the statistics on stdout as one JSON object.", rich_help_panel=_OUT
        ),
    ] = False
    quiet: Annotated[bool, common.quiet(_OUT)] = False
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", help="Say more; show the traceback of an error.", rich_help_panel=_OUT
        ),
    ] = False


@dataclass(frozen=True)
class Writing(Results):
    """The same, and what is written beside one result."""

    stats: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH.json",
            help="Write the statistics as JSON.",
            rich_help_panel=_OUT,
            show_default=False,
        ),
    ] = None
    preview: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH.png",
            help="Draw input and result side by side.",
            rich_help_panel=_OUT,
            show_default=False,
        ),
    ] = None
    standard_error: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="With --method sampled: write each voxel's standard error.",
            rich_help_panel=_OUT,
            show_default=False,
        ),
    ] = None


@dataclass(frozen=True)
class Machines:
    """On which machines the work is done, by Dask."""

    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Work on a Dask cluster that is there, such as tcp://node1:8786 or the path of its scheduler file "
            "(.json). All its workers have to see the same folders. (default: this machine, without Dask)",
            rich_help_panel=_MACHINES,
            show_default=False,
        ),
    ] = None
    local_cluster: Annotated[
        bool,
        typer.Option(
            "--local-cluster",
            help="Work on a Dask cluster of processes on this machine, started for this run.",
            rich_help_panel=_MACHINES,
        ),
    ] = False

    def where(self, workers: int | None = None) -> Where | None:
        """Return which cluster does the work; None where none was asked for, and nothing of Dask is needed.

        Args:
            workers: How many processes a cluster on this machine has; None to decide.

        Raises:
            UsageError: If both are asked for, or a number of processes for a cluster that is there.
        """
        if self.scheduler is None and not self.local_cluster:
            return None
        if self.scheduler is not None and self.local_cluster:
            raise UsageError(
                "--scheduler names a cluster that is there and --local-cluster starts one: choose one of them."
            )
        if self.scheduler is not None and workers is not None:
            raise UsageError(
                "--workers is how many processes are started here; with --scheduler leave it out: every worker of "
                "the cluster gets work."
            )
        from softmorph_cli.workers.cluster import Where

        return Where(self.scheduler, workers)


@dataclass(frozen=True)
class Large(Machines):
    """How a map larger than memory is worked on, tile by tile, and where."""

    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Work tile by tile in at most this much memory, such as 4GB (of a cluster, each process): the same "
            "result, bit for bit. OUT is a .zarr; IN best is one too.",
            rich_help_panel=_LARGE,
            show_default=False,
        ),
    ] = None
    scratch: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for what lies between passes; kept when the run is interrupted. (default: a temporary one, "
            "with --scheduler beside OUT)",
            rich_help_panel=_LARGE,
            show_default=False,
        ),
    ] = None
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on where a run with the same --scratch was interrupted.",
            rich_help_panel=_LARGE,
        ),
    ] = False
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say how the map would be cut, and what memory, disk and time it may take; do nothing.",
            rich_help_panel=_LARGE,
        ),
    ] = False

    @property
    def wanted(self) -> bool:
        """Whether anything of it was asked for."""
        return self != Large()
