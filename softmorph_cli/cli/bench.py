"""softmorph bench."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from softmorph_cli.cli import answer, common, report
from softmorph_cli.cli.command import note
from softmorph_cli.cli.progress import Lines
from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.io import documents
from softmorph_cli.plots.options import PREVIEW, check_picture
from softmorph_cli.system.files import check_writable
from softmorph_cli.system.parameters import DEVICES, Parameter

if TYPE_CHECKING:
    from softmorph_cli.bench.measure import Comparison, Growth, Measurement

# Smaller maps are mostly border.
SMALLEST = 8
# Upper bound for the drawn maps, a copy and a result.
BYTES_PER_VOXEL = 20


def bench(
    *,
    size: Annotated[
        list[str] | None,
        Parameter(
            "Voxels along each axis; several for the growth, repeated or as a list. (default: 128, in 2D 1024)",
            "N[,N...]",
            flags=("--size", "-s"),
            first=True,
        ),
    ] = None,
    dimensions: Annotated[int, Parameter("Images or volumes.", "2|3")] = 3,
    operation: Annotated[
        list[str] | None,
        Parameter(
            "Only erosion, dilation, opening, closing, skeletonize, training forward or training backward; may "
            "be repeated. (default: all)",
            "NAME",
            first=True,
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        Parameter(
            "Only nested, levels, minmax, multilinear, product, hard or smooth-levels; may be repeated. "
            "(default: all)",
            "NAME",
            flags=("--method", "-m"),
        ),
    ] = None,
    repeats: Annotated[
        int, Parameter("Warm runs of each task, of which the fastest counts; slow tasks get fewer.", "N")
    ] = 5,
    memory: Annotated[
        bool,
        Parameter(
            "Measure the peak memory beyond the input: on the CPU the growth of the resident memory of a fresh "
            "process for each work, after a warm-up on a small map; on CUDA torch's allocations.",
            flags=("--peak-memory/--no-peak-memory",),
        ),
    ] = True,
    device: Annotated[
        str, Parameter("auto (the CPU), cpu, cuda or cuda:N.", "DEVICE", first=True, words=DEVICES)
    ] = "auto",
    threads: Annotated[int | None, common.THREADS] = None,
    plot: Annotated[
        Path | None, Parameter("Draw time against size, both logarithmic.", PREVIEW, first=True)
    ] = None,
    force: Annotated[bool, common.FORCE] = False,
    json: Annotated[bool, common.JSON] = False,
    json_file: Annotated[Path | None, common.JSON_FILE] = None,
    quiet: Annotated[bool, common.QUIET] = False,
    verbose: Annotated[bool, common.VERBOSE] = False,
) -> None:
    """Speed and memory on this machine, next to a plain copy and to other libraries.

    Drawn maps: independent noise where every voxel has to be computed, soft vessels for skeletons to the end.

    Everything compared takes turns in one run. The first run, which compiles or loads, is listed separately.
    """
    sizes = _sizes(size, dimensions)
    if repeats < 1:
        raise UsageError(f"--repeats {repeats}: at least 1 is needed.")
    if plot is not None:
        check_picture("plot", plot)
    for path in (plot, json_file):
        if path is not None:
            check_writable(path, force=force)
    from softmorph_cli.bench import description, measure, workloads
    from softmorph_cli.kernels.backend import choose
    from softmorph_cli.system import machine

    chosen = workloads.choose(dimensions, operation or (), method or ())
    choose(device, threads=threads)  # raises for a missing device, and for 0 threads
    how = workloads.Hardware("cpu" if device == "auto" else device, threads or machine.threads())
    _check_memory(sizes[-1] ** dimensions, machine.memory())
    facts = description.describe(how)

    started = time.perf_counter()
    found = []
    with _status_line(quiet=quiet) as tell:
        for extent in sizes:
            shape = (extent,) * dimensions
            found.append(measure.measure(shape, chosen, how, repeats=repeats, memory=memory, report=tell))
    rows = [row for one in found for row in one.rows]
    comparisons = [comparison for one in found for comparison in one.comparisons]
    growth = measure.growth(rows)
    notes = list(dict.fromkeys(text for one in found for text in one.notes))
    if not quiet:
        for text in notes:
            note(text)
    if plot is not None:
        _draw(rows, comparisons, facts, plot, force=force)
    if json or json_file is not None:
        asked = {
            "sizes": sizes,
            "dimensions": dimensions,
            "operations": operation or [],
            "methods": method or [],
            "repeats": repeats,
            "memory": memory,
            "device": how.device,
            "threads": how.threads,
        }
        figures = {
            "rows": [_timed(one) for one in rows],
            "comparisons": [_timed(one) for one in comparisons],
            "growth": [asdict(one) for one in growth],
        }
        content = {"parameters": asked, "machine": facts, **figures}
        seconds = {"measure": time.perf_counter() - started}
        document = documents.document("bench", content, seconds=seconds, notes=notes)
        answer.give(document, answer.Wanted(json, json_file, force))
    if json or quiet:
        return
    _print_machine(facts)
    for extent, one in zip(sizes, found, strict=True):
        _print_rows(f"{_size_name(extent, dimensions)}, {how.device}", one.rows)
    _print_comparisons(comparisons, several=len(sizes) > 1)
    _print_growth(growth)


def _timed(one: Measurement | Comparison) -> dict[str, Any]:
    """Return a row of the JSON, whose time is that of the fastest run."""
    names = {"seconds": "best_seconds", "map": "drawn_map"}
    return {names.get(name, name): value for name, value in asdict(one).items()}


def _sizes(given: Sequence[str] | None, dimensions: int) -> list[int]:
    if dimensions not in (2, 3):
        raise UsageError(f"--dimensions {dimensions}: use 2 or 3.")
    words = [word.strip() for text in given or () for word in text.split(",")]
    for word in words:
        if not (word.isascii() and word.isdigit() and int(word) >= SMALLEST):
            raise UsageError(f"--size {word}: a whole number of voxels, at least {SMALLEST}, is needed.")
    return sorted({int(word) for word in words}) or [128 if dimensions == 3 else 1024]


def _check_memory(voxels: int, memory: int | None) -> None:
    needed = BYTES_PER_VOXEL * voxels
    if memory is not None and needed > memory:
        raise InputError(
            f"the drawn maps alone would take {needed / 2**30:.1f} GiB of the {memory / 2**30:.1f} GiB "
            "this process may use: choose a smaller --size."
        )


@contextmanager
def _status_line(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Yield a function that shows the current stage of the benchmark: on a terminal in one line, else once a minute."""
    if quiet:
        yield lambda words: None
        return
    if not sys.stderr.isatty():
        yield Lines().update
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    # No refresh thread: it would run on the cores that are measured.
    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:
        yield lambda words: live.update(Text(words), refresh=True)


def _size_name(extent: int, dimensions: int) -> str:
    return " × ".join([str(extent)] * dimensions) + (" voxels" if dimensions == 3 else " pixels")


def _print_machine(facts: dict[str, Any]) -> None:
    memory, load = facts["memory_bytes"], facts["load_before"]
    lines = [
        ["processor", f"{facts['processor']}, {facts['cores']} cores, {facts['threads']} threads used"],
        ["device", facts["device"]],
        ["memory", f"{memory / 2**30:.1f} GiB" if memory else "unknown"],
        ["load before", "unknown" if load is None else f"{load:.2f} (0 is a quiet machine)"],
        ["system", f"{facts['system']}, Python {facts['python']}"],
        ["softmorph", facts["softmorph"]],
        ["libraries", ", ".join(f"{name} {version}" for name, version in facts["libraries"].items())],
    ]
    report.table("this machine", ("", ""), lines, err=False)


def _print_rows(title: str, rows: Sequence[Measurement]) -> None:
    from softmorph_cli.plots.charts.curves import duration

    with_ruler = any(row.ratio_to_ruler is not None for row in rows)
    with_memory = any(row.peak_bytes is not None for row in rows)
    columns = ["", "time", "MVoxel/s", "/ copy"]
    columns += ["/ ruler"] * with_ruler + ["memory"] * with_memory + ["first"]
    lines = []
    for row in rows:
        line = [row.name, duration(row.seconds), _rate(row.mvoxel_per_s), _ratio(row.ratio_to_copy)]
        line += [_ratio(row.ratio_to_ruler)] * with_ruler + [_ratio(row.peak_to_input)] * with_memory
        lines.append([*line, duration(row.first_seconds)])
    footer = "/ copy: time over that of a plain copy of the map"
    if with_ruler:
        footer += "; / ruler: over that of scipy.ndimage.grey_erosion, nearest neighbours"
    if with_memory:
        footer += "; memory: the peak beyond the input over the input"
    report.table(title, columns, lines, err=False, footer=f"{footer}; first: the run that compiles or loads")


def _print_comparisons(comparisons: Sequence[Comparison], *, several: bool) -> None:
    from softmorph_cli.plots.charts.curves import duration

    lines = []
    for one in comparisons:
        name = f"{one.name} ({one.library} {one.version})"
        size = f", {one.shape[0]}^{len(one.shape)}" if several else ""
        compared = "as above" if one.work is None else f"{_ratio(one.ratio)} × its time for {one.work}"
        lines.append([name + size, duration(one.seconds), _rate(one.mvoxel_per_s), compared])
    report.table("compared with", ("", "time", "MVoxel/s", "softmorph takes"), lines, err=False)


def _print_growth(growth: Sequence[Growth]) -> None:
    if not growth:
        return
    first = growth[0]
    ends = f"{first.largest[0]}^{len(first.largest)} over {first.smallest[0]}^{len(first.smallest)}"
    lines = [[one.work, _ratio(one.ratio)] for one in growth]
    report.table(f"time per voxel, {ends}", ("", "ratio"), lines, err=False)


def _rate(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def _ratio(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def _draw(
    rows: Sequence[Measurement],
    comparisons: Sequence[Comparison],
    facts: dict[str, Any],
    path: Path,
    *,
    force: bool,
) -> None:
    from math import prod

    from softmorph_cli.plots.charts.curves import TimeCurve, draw_curves

    points: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in rows:
        points.setdefault((row.name, row.operation), []).append((prod(row.shape), row.seconds))
    for one in comparisons:
        points.setdefault((one.name, ""), []).append((prod(one.shape), one.seconds))
    curves = [TimeCurve(name, family, tuple(found)) for (name, family), found in points.items()]
    shapes = sorted({row.shape for row in rows})
    sizes = [(float(prod(shape)), f"{shape[0]}{'³' if len(shape) == 3 else '²'}") for shape in shapes]
    where = facts["processor"] + f", {facts['threads']} threads"
    if facts["device"] != "cpu":
        where = facts["device"]
    draw_curves(
        curves,
        sizes,
        title=f"softmorph {facts['softmorph']}: time against size",
        subtitle=f"{where}; the fastest of several warm runs",
    ).save(path, force=force)
