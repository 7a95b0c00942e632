"""The application: every command with its examples."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from softmorph_cli import __version__
from softmorph_cli.cli.apply import apply
from softmorph_cli.cli.batch import batch
from softmorph_cli.cli.bench import bench
from softmorph_cli.cli.chain import chain
from softmorph_cli.cli.evaluate import evaluate
from softmorph_cli.cli.greylevel import despeckle, fill, resample, threshold
from softmorph_cli.cli.info import info
from softmorph_cli.cli.inspect import inspect
from softmorph_cli.cli.morphology import blackhat, close, dilate, erode, gradient, open_, tophat
from softmorph_cli.cli.rules import rules
from softmorph_cli.cli.skeletonize import skeletonize
from softmorph_cli.cli.stats import stats
from softmorph_cli.cli.topology import topology

app = typer.Typer(
    name="softmorph",
    help="Soft morphology and skeletons for predicted probability maps of vessels, airways, neurons, roads.",
    no_args_is_help=True,
    # Boxes and colours are for people; a log file or a pipe gets plain lines.
    rich_markup_mode="rich" if sys.stdout.isatty() and sys.stderr.isatty() else None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)

# Name, function, two examples.
_COMMANDS: tuple[tuple[str, Callable[..., None], str, str], ...] = (
    (
        "skeletonize",
        skeletonize,
        "softmorph skeletonize vessels.nii.gz skeleton.nii.gz --preview skeleton.png",
        "softmorph skeletonize vessels.tif centreline.tif --hard --threshold 0.4",
    ),
    (
        "erode",
        erode,
        "softmorph erode vessels.nii.gz core.nii.gz --radius 1.5mm",
        "softmorph erode roads.png thin.png --iterations 2 --connectivity 8",
    ),
    (
        "dilate",
        dilate,
        "softmorph dilate vessels.nii.gz wide.nii.gz --radius 1.5mm",
        "softmorph dilate roads.png wide.png --connectivity 8 --method minmax",
    ),
    (
        "open",
        open_,
        "softmorph open airways.nii.gz trunk.nii.gz --iterations 2",
        "softmorph open cells.tif clean.tif --erosion-connectivity 26 --dilation-connectivity 6",
    ),
    (
        "close",
        close,
        "softmorph close vessels.nii.gz whole.nii.gz --radius 2mm --stats whole.json",
        "softmorph close roads.png whole.png --connectivity 8",
    ),
    (
        "gradient",
        gradient,
        "softmorph gradient organ.nii.gz border.nii.gz",
        "softmorph gradient cells.tif border.tif --method levels --levels 16",
    ),
    (
        "tophat",
        tophat,
        "softmorph tophat vessels.nii.gz small.nii.gz --radius 3mm",
        "softmorph tophat roads.png narrow.png --iterations 4",
    ),
    (
        "blackhat",
        blackhat,
        "softmorph blackhat vessels.nii.gz gaps.nii.gz --radius 2mm",
        "softmorph blackhat roads.png gaps.png --iterations 3",
    ),
    (
        "apply",
        apply,
        "softmorph apply majority vessels.nii.gz smooth.nii.gz",
        "softmorph apply my_rule.toml map.tif out.tif --iterations 3",
    ),
    (
        "fill",
        fill,
        "softmorph fill cells.tif solid.tif",
        "softmorph fill organ.nii.gz solid.nii.gz --preview solid.png",
    ),
    (
        "despeckle",
        despeckle,
        "softmorph despeckle vessels.nii.gz clean.nii.gz --min-size 5mm3",
        "softmorph despeckle roads.png clean.png --min-size 40vox",
    ),
    (
        "threshold",
        threshold,
        "softmorph threshold airways.nii.gz tree.nii.gz --threshold 0.4 --largest 1",
        "softmorph threshold cells.tif labels.tif --labels --min-size 30vox",
    ),
    (
        "resample",
        resample,
        "softmorph resample vessels.nii.gz cubic.nii.gz",
        "softmorph resample vessels.nii.gz coarse.nii.gz --spacing 1mm",
    ),
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

for _name, _function, *_examples in _COMMANDS:
    _epilog = "Examples:\n\n" + "\n\n".join(_examples)
    app.command(_name, epilog=_epilog)(_function)
app.add_typer(topology, name="topology")


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
