"""Options of softmorph evaluate, in groups."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from softmorph_cli.cli import common
from softmorph_cli.filters.method import METHODS
from softmorph_cli.plots.options import PICTURES, PREVIEW, ViewOptions
from softmorph_cli.system.parameters import Parameter


def _metrics() -> Iterable[str]:
    from softmorph_cli.metrics.registry import METRICS

    return [name for metric in METRICS for name in metric.names]


@dataclass(frozen=True)
class Selection:
    """The options of `softmorph evaluate` that select classes and metrics."""

    panel: ClassVar = "What is compared"

    label: Annotated[
        list[str] | None,
        Parameter(
            "Compare only label K, or the channel of class K, by number or name; may be repeated. (default: all but 0)",
            "NAME|K",
        ),
    ] = None
    metrics: Annotated[
        str | None,
        Parameter(
            "Compute only these metrics, such as dice,cldice,hd95_mm; --explain lists them. (default: all"
            " but the expensive ones)",
            "NAME,...",
            first=True,
            words=_metrics,
        ),
    ] = None
    expensive: Annotated[
        bool, Parameter("Also compute the slow metrics, which --explain lists with their times.")
    ] = False
    patches: Annotated[
        int | None,
        Parameter(
            "Also compute Betti errors of N random patches of 64 x 64 or 48 x 48 x 48 voxels. (with "
            "--expensive: 100)",
            "N",
        ),
    ] = None
    same_grid: Annotated[
        bool,
        Parameter("Compare voxel by voxel even if only the shapes agree; the geometry is that of PRED."),
    ] = False
    explain: Annotated[
        bool,
        Parameter("Print the definition, source, unit and cost of every metric; no file is needed."),
    ] = False


@dataclass(frozen=True)
class Pairing:
    """The options of `softmorph evaluate` that say which files of two folders belong together."""

    panel: ClassVar = "Two folders"

    suffix: Annotated[
        str | None,
        Parameter(
            "Text after the names of cases in one of the folders: with _0000 case_0000.nii.gz goes with case.nii.gz.",
            "TEXT",
        ),
    ] = None
    pattern: Annotated[
        str | None,
        Parameter(
            "Regular expression; what it matches in a file's name (its first group, if it has one) is the name "
            r"of the case, as '\d+' for the first number.",
            "REGEX",
        ),
    ] = None
    strict: Annotated[
        bool, Parameter("End with an error, before anything is compared, if a file has no partner.")
    ] = False


@dataclass(frozen=True)
class Measurement:
    """The options of `softmorph evaluate` that affect the values of metrics."""

    panel: ClassVar = "How it is measured"

    threshold: Annotated[
        float | None,
        Parameter(
            "A voxel of PRED above it is foreground, in each class separately; REF is cut at 0.5. "
            "(default: 0.5; of classes that exclude each other the most probable one, of nnU-Net's regions the last "
            "painted)",
            "P",
        ),
    ] = None
    connectivity: Annotated[
        int | None,
        Parameter(
            "Connectivity of the foreground, for Betti numbers and components; the background has the "
            "other one. (default: 8, in 3D 26)",
            "4|8|6|26",
        ),
    ] = None
    tolerance: Annotated[
        str | None,
        Parameter(
            "Largest distance at which surfaces and centrelines agree, such as 1mm, 500um or 2vox. (default: "
            "1mm; 1vox where the file is in um or nm, its voxels are smaller than 0.1 mm, or their size "
            "is unknown)",
            "LENGTH",
            flags=("--distance-tolerance",),
        ),
    ] = None
    all_components: Annotated[
        bool,
        Parameter(
            "Measure tree_length_detected, branches_detected and leakage on all of PRED, not on its largest "
            "component alone as the airway challenges do."
        ),
    ] = False
    method: Annotated[
        str,
        Parameter(
            "Method of the soft skeletons of soft_cldice: nested, levels, smooth-levels, multilinear, "
            "product, cldice (the paper's), ...",
            "METHOD",
            flags=("--method", "-m"),
            words=tuple(METHODS),
        ),
    ] = "nested"
    iterations: Annotated[
        int | None,
        Parameter("Iterations of soft skeletons. (default: until nothing changes; cldice: 10)", "N"),
    ] = None
    seed: Annotated[int, Parameter("Seed of the random patches and bootstrap samples.", "N")] = 0
    threads: Annotated[int | None, common.THREADS] = None


@dataclass(frozen=True)
class EvaluateOutput(ViewOptions):
    """The options of `softmorph evaluate` for output files and printed text."""

    panel: ClassVar = "Output"

    json: Annotated[bool, common.JSON] = False
    csv: Annotated[
        Path | None,
        Parameter(
            "Write a table with a row for each pair and class; - prints it on stdout.", "PATH|-", first=True
        ),
    ] = None
    json_file: Annotated[Path | None, common.JSON_FILE] = None
    error_map: Annotated[
        Path | None,
        Parameter(
            "Write the topological errors as a label image (of two files): 1 extra piece, 2 missed piece,"
            " 3 false link, 4 gap, 5 filled hole, 6 false hole.",
            "OUT",
            first=True,
        ),
    ] = None
    preview: Annotated[
        Path | None,
        Parameter(
            "Draw where PRED and REF (two files) disagree, with both centrelines.",
            PREVIEW,
            group=PICTURES,
            first=True,
        ),
    ] = None
    force: Annotated[bool, common.FORCE] = False
    quiet: Annotated[bool, common.QUIET] = False
    verbose: Annotated[bool, common.VERBOSE] = False
