"""The options for writing the result of filters, and for further output files such as statistics and a preview."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from softmorph_cli.io.options import OUTPUT, WriteOptions
from softmorph_cli.plots.options import PICTURES, PREVIEW, ViewOptions
from softmorph_cli.system.parameters import Parameter


@dataclass(frozen=True, kw_only=True)
class ResultOptions(WriteOptions):
    """The options for writing a result, and for combining the channels of a result."""

    renormalize: Annotated[
        bool,
        Parameter(
            "Of classes that exclude each other: make the channels of each voxel sum to 1 again.",
            flags=("--renormalize",),
            group=OUTPUT,
        ),
    ] = False
    argmax: Annotated[
        bool,
        Parameter(
            "Write one label image of all channels: the most probable class, 0 for the background.",
            flags=("--argmax",),
            group=OUTPUT,
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class OutputOptions(ViewOptions, ResultOptions):
    """The options for writing the result of one file, the paths of further output files, and those of the picture."""

    json_file: Annotated[
        Path | None, Parameter("Write the JSON object of --json to a file.", "PATH.json", group=OUTPUT)
    ] = None
    preview: Annotated[
        Path | None, Parameter("Draw input and result side by side.", PREVIEW, group=PICTURES, first=True)
    ] = None
    standard_error: Annotated[
        Path | None,
        Parameter("With --method sampled: write each voxel's standard error.", "PATH", group=OUTPUT),
    ] = None

    filled: Annotated[
        Path | None,
        Parameter(
            "Of interpolate: write the invented voxels as a mask, 1 where no observed slice passes through the voxel.",
            "MASK",
            group=OUTPUT,
            shell=False,
        ),
    ] = None

    report: Annotated[
        Path | None,
        Parameter(
            "Of a chain with a step inspect: one page with pictures, tables and histograms that opens without a "
            "network; of several classes the first.",
            "PATH.html",
            group=PICTURES,
            shell=False,
        ),
    ] = None

    @property
    def beside(self) -> list[Path]:
        """The paths of the output files that are written in addition to the result."""
        return [
            path
            for path in (self.json_file, self.preview, self.standard_error, self.filled, self.report)
            if path is not None
        ]
