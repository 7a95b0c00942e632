"""The application: every command with its examples."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from softmorph_cli import __version__
from softmorph_cli.cli import shell_completion
from softmorph_cli.cli.batch import batch
from softmorph_cli.cli.bench import bench
from softmorph_cli.cli.chain import chain
from softmorph_cli.cli.command import Group, add
from softmorph_cli.cli.evaluate import evaluate
from softmorph_cli.cli.filters import command_of
from softmorph_cli.cli.help_screens import FILTERS, FOLDERS, MACHINE, MEASURE, SLICES, TOPOLOGY
from softmorph_cli.cli.info import info
from softmorph_cli.cli.inspect import inspect
from softmorph_cli.cli.prior import prior
from softmorph_cli.cli.rules import rules
from softmorph_cli.cli.stats import stats
from softmorph_cli.cli.topology import topology
from softmorph_cli.filters.operations import OPERATIONS

shell_completion.join_words()
app = typer.Typer(
    name="softmorph",
    cls=Group,
    help="Soft morphology and skeletons for predicted probability maps of vessels, airways, neurons, roads.",
    no_args_is_help=True,
    # Boxes and colours on a terminal, plain lines in a file or a pipe.
    rich_markup_mode="rich" if sys.stdout.isatty() and sys.stderr.isatty() else None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)

# The heading of each command that is no filter.
_HEADINGS = {
    **dict.fromkeys(("chain", "batch"), FOLDERS),
    **dict.fromkeys(("info", "inspect", "stats", "evaluate"), MEASURE),
    "interpolate": SLICES,
    "bench": MACHINE,
}
# Name, function, two examples.
_COMMANDS: tuple[tuple[str, Callable[..., None], str, str], ...] = (
    (
        "chain",
        chain,
        "softmorph chain vessels.nii.gz line.nii.gz close:iterations=2,connectivity=26 despeckle:min-size=5mm3 "
        "skeletonize:hard",
        "softmorph chain vessels.nii.gz line.nii.gz --pipeline steps.toml --save-steps stages",
    ),
    (
        "batch",
        batch,
        "softmorph batch predictions skeletons close:iterations=2 skeletonize --suffix _skeleton",
        "softmorph batch predictions lines --pipeline steps.toml --recursive --resume --workers 4",
    ),
    (
        "inspect",
        inspect,
        "softmorph inspect vessels.nii.gz --prune radius --report vessels.html",
        "softmorph inspect centreline.nii.gz --as skeleton --map vessels.nii.gz --csv branches.csv --swc tree.swc",
    ),
    (
        "stats",
        stats,
        "softmorph stats vessels.nii.gz",
        "softmorph stats softmax.nii.gz --json > statistics.json",
    ),
    (
        "evaluate",
        evaluate,
        "softmorph evaluate vessels.nii.gz reference.nii.gz --error-map wrong.nii.gz",
        "softmorph evaluate predictions references --csv pairs.csv --metrics dice,cldice,betti_0_error",
    ),
    ("rules", rules, "softmorph rules", "softmorph rules thinning-3d"),
    ("info", info, "softmorph info unknown_file.nii.gz", "softmorph info --warm"),
    (
        "bench",
        bench,
        "softmorph bench --size 96,192,384 --plot speed.png",
        "softmorph bench --operation skeletonize --device cuda --json > speed.json",
    ),
)

for _operation in OPERATIONS.values():
    _heading = _HEADINGS.get(_operation.operation, FILTERS)
    add(app, _operation.operation, command_of(_operation), *_operation.examples, panel=_heading)
for _command in _COMMANDS:
    add(app, *_command, panel=_HEADINGS.get(_command[0], FILTERS))
app.add_typer(topology, name="topology", rich_help_panel=TOPOLOGY)
app.add_typer(prior, name="prior", rich_help_panel=SLICES)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"softmorph {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and end."),
    ] = False,
) -> Any:
    pass
