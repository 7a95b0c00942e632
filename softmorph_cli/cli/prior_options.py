"""Options of softmorph prior, in groups."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from softmorph_cli.cli import common
from softmorph_cli.completion.options import DEVICE, SEED
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.plots.options import PICTURES, PREVIEW, PictureOptions
from softmorph_cli.system.parameters import Parameter, below_one, check_all, declared

Maps = Annotated[
    Path,
    typer.Argument(
        metavar="MAPS", help="Folder of complete maps, or of label maps; a file each.", show_default=False
    ),
]
PriorFile = Annotated[
    Path,
    typer.Argument(metavar="PRIOR", help="The file of a prior, a .safetensors.", show_default=False),
]
_LABEL = Parameter(
    "The files are label maps: take label K, by number or name; may be repeated. (default: all but 0 of files that "
    "hold labels)",
    "NAME|K",
    first=True,
)
_VOXELS = Parameter(
    "Count lengths in voxels, where files do not say how large voxels are, or differ in it.",
    flags=("--voxels",),
)


def _left_out(name: str) -> Parameter:
    """Return the declaration of a reading option that a command does not have."""
    return replace(declared(ReadOptions)[name].about, shell=False)


@dataclass(frozen=True, kw_only=True)
class ReadMaps(ReadOptions):
    """The options of reading the maps of a folder, which hold for each of them."""

    channel: Annotated[int | str | None, _left_out("channel")] = None
    per_slice: Annotated[bool, _left_out("per_slice")] = False
    region: Annotated[str | None, _left_out("region")] = None
    mask: Annotated[str | Path | None, _left_out("mask")] = None
    resolution: Annotated[int | None, _left_out("resolution")] = None
    series: Annotated[int | None, _left_out("series")] = None
    time: Annotated[int | None, _left_out("time")] = None
    label: Annotated[int | str | tuple[int, ...] | None, _left_out("label")] = None


@dataclass(frozen=True, kw_only=True)
class ReadImage(ReadOptions):
    """The options of reading an image, whose intensities have any range."""

    per_slice: Annotated[bool, _left_out("per_slice")] = False
    mask: Annotated[str | Path | None, _left_out("mask")] = None
    like: Annotated[str | Path | None, _left_out("like")] = None
    from_logits: Annotated[str | None, _left_out("from_logits")] = None
    divide_by: Annotated[float | None, _left_out("divide_by")] = None
    clip: Annotated[bool, _left_out("clip")] = False
    label: Annotated[int | str | tuple[int, ...] | None, _left_out("label")] = None


@dataclass(frozen=True)
class Learned:
    """The options of `softmorph prior train` for what a prior is learned from."""

    panel: ClassVar = "What is learned"

    images: Annotated[
        Path | None,
        Parameter(
            "Folder of the images of the same names (or with _0000 added, as nnU-Net names them): then softmorph "
            "prior segment is possible.",
            "DIR",
            first=True,
        ),
    ] = None
    label: Annotated[list[str] | None, _LABEL] = None
    voxels: Annotated[bool, _VOXELS] = False


@dataclass(frozen=True)
class TrainOutput(PictureOptions):
    """The options of `softmorph prior train` for output files and printed text."""

    panel: ClassVar = "Output"

    resume: Annotated[
        bool,
        Parameter(
            "Go on with a training that was interrupted; the result is the same.",
            flags=("--resume",),
            first=True,
        ),
    ] = False
    preview: Annotated[
        Path | None,
        Parameter(
            "Draw maps that were held out, with slices hidden: observed, filled, the prior's mean, the truth.",
            PREVIEW,
            group=PICTURES,
            first=True,
        ),
    ] = None
    json_file: Annotated[Path | None, common.JSON_FILE] = None
    json: Annotated[bool, common.JSON] = False
    force: Annotated[bool, common.FORCE] = False
    quiet: Annotated[bool, common.QUIET] = False
    verbose: Annotated[bool, common.VERBOSE] = False


@dataclass(frozen=True)
class Hidden:
    """The options of `softmorph prior evaluate` for what is hidden."""

    panel: ClassVar = "What is hidden"

    hide: Annotated[
        list[str] | None,
        Parameter(
            "every:4 keeps one slice of four, gap:4 hides four in the middle, end:4 the last four; N may be a share of "
            "all slices: end:1/4, or gap:9/16+1/4, a quarter from 9/16 on. May be repeated. "
            "(default: every:2, every:4, gap:4, end:4)",
            "every:N|gap:N|end:N",
            first=True,
        ),
    ] = None
    axis: Annotated[str | None, Parameter("Axis of the slices. (default: z, in 2D y)", "z|y|x")] = None
    label: Annotated[list[str] | None, _LABEL] = None
    voxels: Annotated[bool, _VOXELS] = False
    seed: Annotated[int, SEED] = 0
    device: Annotated[str, DEVICE] = "auto"


@dataclass(frozen=True)
class EvaluateOutput:
    """The options of `softmorph prior evaluate` for output files and printed text."""

    panel: ClassVar = "Output"

    json: Annotated[bool, common.JSON] = False
    csv: Annotated[
        Path | None,
        Parameter(
            "Write a row for each gap, class and method; - prints the table on stdout.", "PATH|-", first=True
        ),
    ] = None
    json_file: Annotated[Path | None, common.JSON_FILE] = None
    force: Annotated[bool, common.FORCE] = False
    quiet: Annotated[bool, common.QUIET] = False
    verbose: Annotated[bool, common.VERBOSE] = False


@dataclass(frozen=True)
class Fitting:
    """The options of `softmorph prior segment` for the fit."""

    panel: ClassVar = "Fit"

    prior: Annotated[
        Path | None,
        Parameter("The prior, which was trained with images; it has to be given.", "FILE", first=True),
    ] = None
    min_fit: Annotated[
        float | None,
        Parameter(
            "Exit status 3 where the fit explains less than this share of the variance of the image's intensities. By "
            "default the least share of the images that were held out in training, if these are 8 or more, and "
            "at least 0.5.",
            "SHARE",
            check=below_one,
        ),
    ] = None
    voxels: Annotated[bool, _VOXELS] = False
    seed: Annotated[int, SEED] = 0
    device: Annotated[str, DEVICE] = "auto"

    def __post_init__(self) -> None:
        """Check the values of the options."""
        check_all(self)


@dataclass(frozen=True)
class SegmentOutput(PictureOptions):
    """The options of `softmorph prior segment` for output files and printed text."""

    panel: ClassVar = "Output"

    output_type: Annotated[str | None, common.OUTPUT_TYPE] = None
    argmax: Annotated[
        bool,
        Parameter(
            "Write one label image: the most probable class, 0 for the background.",
            flags=("--argmax",),
            first=True,
        ),
    ] = False
    preview: Annotated[
        Path | None,
        Parameter("Draw slices of the image, and of its classes.", PREVIEW, group=PICTURES, first=True),
    ] = None
    json_file: Annotated[Path | None, common.JSON_FILE] = None
    json: Annotated[bool, common.JSON] = False
    force: Annotated[bool, common.FORCE] = False
    quiet: Annotated[bool, common.QUIET] = False
    verbose: Annotated[bool, common.VERBOSE] = False


@dataclass(frozen=True)
class InfoOutput:
    """The options of `softmorph prior info`."""

    panel: ClassVar = "Output"

    json: Annotated[bool, common.JSON] = False
    json_file: Annotated[Path | None, common.JSON_FILE] = None
    force: Annotated[bool, common.FORCE] = False
    quiet: Annotated[bool, common.QUIET] = False
    verbose: Annotated[bool, common.VERBOSE] = False
