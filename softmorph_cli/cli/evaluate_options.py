"""The options of softmorph evaluate, in bundles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from softmorph_cli.cli import common

_WHAT, _HOW, _OUT = "What is compared", "How it is measured", "Output"


@dataclass(frozen=True)
class Comparing:
    """Which classes, and which metrics."""

    label: Annotated[
        list[int] | None,
        typer.Option(
            metavar="K",
            help="Compare label K of label maps, of several classes the channel that stands for it; may be repeated. "
            "(default: all but 0)",
            rich_help_panel=_WHAT,
            show_default=False,
        ),
    ] = None
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="Only these, such as dice,cldice,hd95_mm; --explain lists them. (default: all but the expensive ones)",
            rich_help_panel=_WHAT,
            show_default=False,
        ),
    ] = None
    expensive: Annotated[
        bool,
        typer.Option(
            "--expensive",
            help="Also what takes long: --explain says which metrics, and how long.",
            rich_help_panel=_WHAT,
        ),
    ] = False
    patches: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Also Betti errors of N random patches of 64 x 64 or 48 x 48 x 48 voxels. (with --expensive: 100)",
            rich_help_panel=_WHAT,
            show_default=False,
        ),
    ] = None
    same_grid: Annotated[
        bool,
        typer.Option(
            "--same-grid",
            help="Take voxels as lying at the same places where only the shapes agree; PRED's header counts.",
            rich_help_panel=_WHAT,
        ),
    ] = False
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Say of every metric what it is, where it is from, its unit and what it costs; no file is needed.",
            rich_help_panel=_WHAT,
        ),
    ] = False


@dataclass(frozen=True)
class Measuring:
    """What metrics depend on."""

    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="A voxel of PRED above it is foreground, each class by itself; REF is always cut at 0.5. (default: "
            "0.5; of classes that exclude each other the most probable one)",
            rich_help_panel=_HOW,
            show_default=False,
        ),
    ] = None
    connectivity: Annotated[
        int | None,
        typer.Option(
            metavar="4|8|6|26",
            help="Of the foreground, for Betti numbers and what else counts pieces; the background has the other. "
            "(default: 8, in 3D 26)",
            rich_help_panel=_HOW,
            show_default=False,
        ),
    ] = None
    tolerance: Annotated[
        str | None,
        typer.Option(
            metavar="LENGTH",
            help="How far apart surfaces still agree, for nsd, such as 1mm, 500um or 2vox. (default: 1mm; 1vox where "
            "the file is in um or nm, its voxels are smaller than 0.1 mm, or their size is unknown)",
            rich_help_panel=_HOW,
            show_default=False,
        ),
    ] = None
    method: Annotated[
        str,
        typer.Option(
            "--method",
            "-m",
            metavar="METHOD",
            help="How soft skeletons are made, for soft_cldice: nested, levels, smooth-levels, multilinear, product, "
            "cldice (the paper's), ...",
            rich_help_panel=_HOW,
        ),
    ] = "nested"
    iterations: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Of soft skeletons. (default: until nothing changes; cldice: 10)",
            rich_help_panel=_HOW,
            show_default=False,
        ),
    ] = None
    seed: Annotated[
        int,
        typer.Option(metavar="N", help="Which random patches and bootstrap samples.", rich_help_panel=_HOW),
    ] = 0
    threads: Annotated[int | None, common.threads(_HOW)] = None


@dataclass(frozen=True)
class Telling:
    """What is written where, and what is said."""

    json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object instead of a table.", rich_help_panel=_OUT),
    ] = False
    csv: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH|-",
            help="Write a table with a row for each pair and class; - prints it on stdout.",
            rich_help_panel=_OUT,
            show_default=False,
        ),
    ] = None
    stats: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH.json",
            help="Write the JSON to a file too.",
            rich_help_panel=_OUT,
            show_default=False,
        ),
    ] = None
    error_map: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT",
            help="Write where topology is wrong as a label image (of two files): 1 extra piece, 2 missed piece, "
            "3 false link, 4 gap, 5 filled hole, 6 false hole.",
            rich_help_panel=_OUT,
            show_default=False,
        ),
    ] = None
    force: Annotated[bool, common.force(_OUT)] = False
    quiet: Annotated[bool, common.quiet(_OUT, but="results, warnings and errors")] = False
    verbose: Annotated[bool, common.verbose(_OUT)] = False
