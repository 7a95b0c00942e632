"""Options that several commands have, each declared once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from softmorph_cli.cli import common
from softmorph_cli.errors import UsageError
from softmorph_cli.io.options import OUTPUT, READ, WRITTEN, ReadOptions
from softmorph_cli.pipeline.outputs import OutputOptions, ResultOptions
from softmorph_cli.system.parameters import Parameter, declared

if TYPE_CHECKING:
    from softmorph_cli.workers.cluster import ClusterOptions

Input = Annotated[Path, typer.Argument(metavar="IN", help=f"Probability map: {READ}.", show_default=False)]
Output = Annotated[
    Path,
    typer.Argument(
        metavar="OUT",
        help=f"File to write; its name chooses the format: {WRITTEN}.",
        show_default=False,
    ),
]
_LARGE = "Larger than memory"


def _other(name: str, text: str, **changes: Any) -> Parameter:
    """Return the declaration of a reading option with another help text."""
    return replace(declared(ReadOptions)[name].about, help=text, **changes)


@dataclass(frozen=True, kw_only=True)
class ReadBoth(ReadOptions):
    """The options of reading two files, whose labels are compared; the option --label is left out."""

    label: Annotated[int | str | tuple[int, ...] | None, _other("label", "", shell=False)] = None


@dataclass(frozen=True, kw_only=True)
class ReadOne(ReadOptions):
    """The options of reading a single map; of several channels one is selected."""

    channel: Annotated[
        int | str | None,
        _other("channel", "Which channel, by number (from 0) or name: of several one is taken."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Results(ResultOptions):
    """The options of writing results and of printed text."""

    json: Annotated[bool, replace(common.JSON, group=OUTPUT)] = False
    quiet: Annotated[bool, replace(common.QUIET, group=OUTPUT)] = False
    verbose: Annotated[bool, replace(common.VERBOSE, group=OUTPUT)] = False


@dataclass(frozen=True, kw_only=True)
class Writing(Results, OutputOptions):
    """The options of writing a single result, and further files beside it."""


@dataclass(frozen=True, kw_only=True)
class Completing(Writing):
    """The options of writing a result whose missing parts were interpolated."""

    filled: Annotated[Path | None, replace(declared(OutputOptions)["filled"].about, shell=True)] = None


@dataclass(frozen=True, kw_only=True)
class Chaining(Completing):
    """The options of writing the result of a chain, whose steps may measure."""

    report: Annotated[Path | None, replace(declared(OutputOptions)["report"].about, shell=True)] = None


@dataclass(frozen=True)
class Machines:
    """The options that select the machines (a Dask cluster) that do the work."""

    panel: ClassVar = "More than one machine"

    scheduler: Annotated[
        str | None,
        Parameter(
            "Use a running Dask cluster, such as tcp://node1:8786 or the path of its scheduler file "
            "(.json). All its workers have to see the same folders. (default: this machine, without Dask)",
            "ADDRESS",
        ),
    ] = None
    local_cluster: Annotated[
        bool, Parameter("Start a Dask cluster of processes on this machine for this run.")
    ] = False

    def where(self, workers: int | None = None) -> ClusterOptions | None:
        """Return the cluster that does the work, or None for this process; `workers` is the number of local workers."""
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
        from softmorph_cli.workers.cluster import ClusterOptions

        return ClusterOptions(self.scheduler, workers)


@dataclass(frozen=True)
class Large(Machines):
    """The options of processing a map larger than memory tile by tile, on one or more machines."""

    memory: Annotated[
        str | None,
        Parameter(
            "Work tile by tile in at most this much memory, such as 4GB (of a cluster, each process): the same "
            "result, bit for bit. OUT is a .zarr; IN best is one too.",
            "SIZE",
            group=_LARGE,
        ),
    ] = None
    scratch: Annotated[
        Path | None,
        Parameter(
            "Folder for intermediate results; kept if the run is interrupted. (default: a temporary one, "
            "with --scheduler beside OUT)",
            "DIR",
            group=_LARGE,
        ),
    ] = None
    resume: Annotated[
        bool, Parameter("Continue an interrupted run with the same --scratch.", group=_LARGE)
    ] = False
    dry_run: Annotated[
        bool,
        Parameter(
            "Print how the map would be cut, and the memory, disk space and time that it may take; do "
            "nothing.",
            group=_LARGE,
        ),
    ] = False

    @property
    def wanted(self) -> bool:
        """Whether the user has given any of the options for maps larger than memory."""
        return self != Large()
