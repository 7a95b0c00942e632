"""How the result of filters is written, and what is written beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from softmorph_cli.io.options import OUTPUT, WriteOptions
from softmorph_cli.system.parameters import Parameter


@dataclass(frozen=True, kw_only=True)
class ResultOptions(WriteOptions):
    """How a result is written, and whether its channels are combined."""

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
class OutputOptions(ResultOptions):
    """How the result of one file is written, and what is written beside it."""

    stats: Annotated[Path | None, Parameter("Write the statistics as JSON.", "PATH.json", group=OUTPUT)] = (
        None
    )
    preview: Annotated[
        Path | None, Parameter("Draw input and result side by side.", "PATH.png", group=OUTPUT)
    ] = None
    standard_error: Annotated[
        Path | None,
        Parameter("With --method sampled: write each voxel's standard error.", "PATH", group=OUTPUT),
    ] = None

    @property
    def beside(self) -> list[Path]:
        """The files that are written beside the result."""
        return [path for path in (self.stats, self.preview, self.standard_error) if path is not None]
