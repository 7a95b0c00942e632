"""Options of softmorph evaluate, in groups."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from softmorph_cli.cli import common
from softmorph_cli.system.parameters import Parameter


@dataclass(frozen=True)
class Selection:
    """The options of `softmorph evaluate` that select classes and metrics."""

    panel: ClassVar = "What is compared"

    label: Annotated[
        list[int] | None,
        Parameter(
            "Compare label K of label maps, of several classes the channel that stands for it; may be repeated."
            " (default: all but 0)",
            "K",
        ),
    ] = None
    metrics: Annotated[
        str | None,
        Parameter(
            "Only these, such as dice,cldice,hd95_mm; --explain lists them. (default: all but the expensive "
            "ones)",
            "NAME,...",
        ),
    ] = None
    expensive: Annotated[
        bool, Parameter("Also what takes long: --explain says which metrics, and how long.")
    ] = False
    patches: Annotated[
        int | None,
        Parameter(
            "Also Betti errors of N random patches of 64 x 64 or 48 x 48 x 48 voxels. (with --expensive: 100)",
            "N",
        ),
    ] = None
    same_grid: Annotated[
        bool,
        Parameter(
            "Take voxels as lying at the same places where only the shapes agree; PRED's header counts."
        ),
    ] = False
    explain: Annotated[
        bool,
        Parameter(
            "Say of every metric what it is, where it is from, its unit and what it costs; no file is needed."
        ),
    ] = False


@dataclass(frozen=True)
class Measurement:
    """The options of `softmorph evaluate` that affect the values of metrics."""

    panel: ClassVar = "How it is measured"

    threshold: Annotated[
        float | None,
        Parameter(
            "A voxel of PRED above it is foreground, each class by itself; REF is always cut at 0.5. (default: "
            "0.5; of classes that exclude each other the most probable one)",
            "P",
        ),
    ] = None
    connectivity: Annotated[
        int | None,
        Parameter(
            "Of the foreground, for Betti numbers and what else counts pieces; the background has the other. "
            "(default: 8, in 3D 26)",
            "4|8|6|26",
        ),
    ] = None
    tolerance: Annotated[
        str | None,
        Parameter(
            "How far apart surfaces still agree, for nsd, such as 1mm, 500um or 2vox. (default: 1mm; 1vox where"
            " the file is in um or nm, its voxels are smaller than 0.1 mm, or their size is unknown)",
            "LENGTH",
        ),
    ] = None
    method: Annotated[
        str,
        Parameter(
            "How soft skeletons are made, for soft_cldice: nested, levels, smooth-levels, multilinear, product,"
            " cldice (the paper's), ...",
            "METHOD",
            flags=("--method", "-m"),
        ),
    ] = "nested"
    iterations: Annotated[
        int | None, Parameter("Of soft skeletons. (default: until nothing changes; cldice: 10)", "N")
    ] = None
    seed: Annotated[int, Parameter("Which random patches and bootstrap samples.", "N")] = 0
    threads: Annotated[int | None, common.THREADS] = None


@dataclass(frozen=True)
class EvaluateOutput:
    """The options of `softmorph evaluate` for output files and printed text."""

    panel: ClassVar = "Output"

    json: Annotated[bool, common.JSON] = False
    csv: Annotated[
        Path | None,
        Parameter("Write a table with a row for each pair and class; - prints it on stdout.", "PATH|-"),
    ] = None
    stats: Annotated[Path | None, Parameter("Write the JSON to a file too.", "PATH.json")] = None
    error_map: Annotated[
        Path | None,
        Parameter(
            "Write where topology is wrong as a label image (of two files): 1 extra piece, 2 missed piece, 3 "
            "false link, 4 gap, 5 filled hole, 6 false hole.",
            "OUT",
        ),
    ] = None
    force: Annotated[bool, common.FORCE] = False
    quiet: Annotated[bool, common.QUIET] = False
    verbose: Annotated[bool, common.VERBOSE] = False
