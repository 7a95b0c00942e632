"""`process` reads a file, applies filters, writes the result, and returns statistics in a JSON document."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from math import isclose, prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError
from softmorph_cli.filters.filter import CHAIN, COMMAND, LABELS, MASK, Filter
from softmorph_cli.filters.operations.interpolate import Interpolate
from softmorph_cli.filters.operations.skeletonize import Skeleton
from softmorph_cli.filters.settings import Progress, Result
from softmorph_cli.io import documents, exclusive
from softmorph_cli.io.formats import check_target, suffix_of
from softmorph_cli.io.nnunet import statement
from softmorph_cli.io.options import ReadOptions, WriteOptions
from softmorph_cli.io.reading import read_grid, read_map
from softmorph_cli.io.writing import as_stored, write_labels, write_map
from softmorph_cli.kernels.level_sets import nested_levels
from softmorph_cli.metrics.statistics import Statistics, change
from softmorph_cli.pipeline import describe
from softmorph_cli.pipeline.apply_filter import perform
from softmorph_cli.pipeline.outputs import OutputOptions
from softmorph_cli.pipeline.result_files import stage_paths, stored_type
from softmorph_cli.pipeline.steps.inspecting import Inspect
from softmorph_cli.pipeline.steps.measuring import (
    Measurable,
    Measured,
    Measuring,
    made_by,
    measure,
    write_tables,
)
from softmorph_cli.pipeline.steps.registry import changing
from softmorph_cli.skeleton import image_kind
from softmorph_cli.system.files import writing_text
from softmorph_cli.system.parameters import named
from softmorph_cli.system.units import millimetres
from softmorph_cli.volume import Volume

Labels = npt.NDArray[Any]


@dataclass(frozen=True)
class Processed:
    """A report on a file that was processed.

    Attributes:
        document: The JSON document (schema 2) that describes input, output, steps and statistics.
        before: Statistics of the map that was read.
        after: Statistics of the result.
        results: The result of each step, without the image.
        notes: Notes for the user, one sentence each.
        warnings: Warnings for the user, one sentence each.
        shortfall: If a step fell short of what was requested, the sentence that says so; the result is written.
        invented: Of each step `interpolate` what a table has of it, by the name of the column.
        measured: What each step that measures has found, by the number of the step, from 1.
        pictures: Small PNG files of the result, "light" and "dark", if they were wanted.
    """

    document: dict[str, Any]
    before: Statistics
    after: Statistics
    results: tuple[Result, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    shortfall: str | None = None
    invented: tuple[dict[str, Any], ...] = ()
    measured: Mapping[int, Measured] = field(default_factory=dict)
    pictures: Mapping[str, bytes] = field(default_factory=dict)


def process(
    command: str,
    source: Path,
    target: Path,
    steps: Sequence[Filter],
    outputs: OutputOptions,
    *,
    stages: Path | None = None,
    reading: ReadOptions | None = None,
    progress: Callable[[Progress], None] | None = None,
    tell: Callable[[str], None] = lambda note: None,
    computing: AbstractContextManager[Any] | None = None,
    memory: int | None = None,
    thumbnails: bool = False,
) -> Processed:
    """Read a file, apply filters one after the other, write the result, and return a report.

    Args:
        command: Name of the command in the provenance, such as "skeletonize" or "chain".
        source: The file to read.
        target: The file to write.
        steps: The filters, at least one; each filter is applied to the result of the previous filter.
        outputs: Options for writing the result, and paths of further output files; the caller has checked that these
            further files may be written.
        stages: An existing folder to which the result of every step is written; None to write only the last result.
        reading: Options for reading the file.
        progress: A callback that is called after every sub-iteration.
        tell: A callback that is called with notes about the input for the user, before the first step runs.
        computing: A context manager, such as a lock, that is entered while a step runs, but not while files are read
            and written.
        memory: Bytes of memory that may be used; None for what the machine allows.
        thumbnails: Whether small pictures of the result are returned.

    Raises:
        SoftmorphError: If an argument or file is invalid, or reading, filtering or writing fails; no incomplete output
            file remains.
    """
    stored = stored_type(steps, target, outputs)
    reading = reading or ReadOptions()
    started = time.perf_counter()
    cuts = not outputs.argmax and any(step.cuts for step in steps)
    steps = [step.opened(read_grid) for step in steps]
    changes = changing(steps)
    last = steps.index(changes[-1])
    steps[last] = steps[last].written_as(lambda array: as_stored(array, target, outputs.output_type))
    original = _read(source, replace(reading, exclusive=cuts), changes[0])
    axes = original.axes
    for step in steps:
        axes = step.axes_after(axes)
    spatial = axes[-3:] if axes.endswith("ZYX") else axes[-2:]
    # A label image has no channels.
    axes = axes.replace("C", "") if stored == "labels" else axes
    check_target(target, replace(outputs, output_type=stored), axes=axes)
    if outputs.standard_error is not None:
        check_target(outputs.standard_error, WriteOptions(force=outputs.force), axes=original.axes)
    if outputs.filled is not None:
        check_target(outputs.filled, WriteOptions(output_type="mask", force=outputs.force), axes=spatial)
    backdrop = None
    if outputs.preview is not None:
        from softmorph_cli.plots.preview import settle

        if steps[-1].operation == "interpolate":
            outputs.refuse_views("the picture of interpolate, which shows slices, has none")
        backdrop = settle(outputs, original, reading, str(source))
    read_seconds = time.perf_counter() - started
    told = (
        *original.notes,
        *exclusive.class_notes(original),
        *describe.over_input(source, target, original.source),
    )
    for message in told:
        tell(message)

    before = _measured(original)
    read_with = reading.as_json
    volume, after, unfiltered, labels = original, before, original, None
    levels = image_kind.exact_levels(original)
    results: list[Result] = []
    # Of the steps that change the map, which alone are its provenance; and of all steps.
    reports: list[dict[str, Any]] = []
    every_report: list[dict[str, Any]] = []
    warnings: list[str] = []
    notes: list[str] = []
    completed = None
    invented: list[dict[str, Any]] = []
    shortfall: str | None = None
    paths = iter(stage_paths(stages, steps, suffix_of(target)) if stages is not None else ())
    measured: dict[int, Measured] = {}
    so_far: dict[str, Any] | None = None
    origin = None
    for number, unsettled in enumerate(steps, 1):
        started = time.perf_counter()
        if isinstance(unsettled, Measuring):
            with computing or nullcontext():
                here = Measurable(
                    made_by(volume, so_far), after, origin, progress, thumbnails, outputs.report is not None
                )
                found = measure(unsettled, here, str(source))
            measured[number] = found
            notes += found.notes
            warnings += found.warnings
            every_report.append(describe.measured(unsettled, found, time.perf_counter() - started))
            continue
        step, about_level = unsettled.settled(levels)
        notes += about_level
        # Of the maps between the steps none is kept but that of a skeleton: however long the chain, three or four maps
        # are in memory.
        with computing or nullcontext():
            place = COMMAND if command == step.operation else CHAIN
            filtered, prepared, result = perform(
                step, volume, name=str(source), progress=progress, memory=memory, place=place
            )
        if outputs.renormalize and result.completed is not None:
            # The sums of the channels are interpolated too; of the map that was read they are known already.
            same = unfiltered is volume
            unfiltered = filtered if same else perform(step, unfiltered, name=str(source))[0]
        elif outputs.renormalize and prepared.array.shape != volume.array.shape:
            unfiltered = step.prepare(unfiltered)
        seconds = time.perf_counter() - started
        shortfall = result.shortfall or shortfall
        # An inspection takes radii and certainty from the map that a skeleton was made of.
        kept = isinstance(step, Skeleton) and any(isinstance(one, Inspect) for one in steps[number:])
        origin = prepared if kept else None
        volume, labels = filtered, result.image if step.gives == LABELS else None
        after = _measured(volume)
        warnings += result.warnings
        if result.completed is not None:
            completed, shortfall = result.completed, result.completed.shortfall or shortfall
            notes += completed.notes
            invented.append(completed.row)
        results.append(replace(result, image=None, completed=None))
        reports.append(describe.step(step, result, prepared.unit, seconds))
        every_report.append(reports[-1])
        if len(changes) > 1:
            reports[-1]["after"] = after.as_dict()
        so_far = describe.provenance(command, reports, read_with)
        levels = nested_levels(so_far)
        if stages is not None:
            kind = "mask" if step.gives == MASK else None
            how = WriteOptions(output_type=kind, force=outputs.force, provenance=so_far)
            warnings += _store(volume, labels, next(paths), how)

    started = time.perf_counter()
    if outputs.renormalize or outputs.argmax:
        volume, labels = _combined(volume, original, unfiltered, outputs, str(source))
        after = _measured(volume) if labels is None else _measured_labels(volume, labels)
    if _resized(original, volume):
        warnings.append(_regridded(original, volume, steps))
    combined = {name: True for name in ("renormalize", "argmax") if getattr(outputs, name)}
    provenance = describe.provenance(command, reports, read_with | combined | outputs.pooling_stated)
    if labels is None or outputs.argmax:
        provenance |= statement(original, volume, labels=outputs.argmax)
    warnings += _store(volume, labels, target, replace(outputs, output_type=stored, provenance=provenance))
    if outputs.standard_error is not None:
        errors = prepared.with_array(result.standard_error)
        how = WriteOptions(force=outputs.force, provenance=provenance)
        warnings += write_map(errors, outputs.standard_error, how)
    if outputs.filled is not None and completed is not None:
        how = WriteOptions(output_type="mask", force=outputs.force, provenance=provenance)
        warnings += write_map(completed.mask, outputs.filled, how)
    for number, found in measured.items():
        write_tables(steps[number - 1], found, source, force=outputs.force)
    if outputs.report is not None:
        _write_page(measured, outputs.report, source, force=outputs.force)
    pictures = _thumbnails(volume, measured) if thumbnails else {}
    first = prepared if len(changes) == 1 else original
    if outputs.preview is not None:
        title = f"softmorph {command} {source.name}{describe.which(original, reading.time)}"
        words = describe.words(changes, completed.document["missing"] if completed else ())
        if result.completed is not None:
            _draw_completion(result, prepared, outputs, title, words)
        else:
            from softmorph_cli.plots.preview import preview

            shown = first if completed is None else completed.seen(first)
            preview(
                *(shown, volume, outputs.preview),
                title=title,
                subtitle=words,
                force=outputs.force,
                look=outputs,
                backdrop=backdrop,
            )
    write_seconds = time.perf_counter() - started

    same_grid = first.array.shape == volume.array.shape and not (completed and completed.moved)
    if nested_levels(provenance) is None:
        notes += changes[-1].remarks(before.components_above_half, after.components_above_half)
    content = {
        "input": documents.described(original) | {"read_with": read_with},
        "output": describe.output(target, volume, stored),
        "steps": every_report,
        "before": before.as_dict(),
        "after": after.as_dict(),
        "change": change(first.array, volume.array) if same_grid else None,
        "device": result.device,
    }
    filter_seconds = sum(report["seconds"]["total"] for report in every_report)
    times = {"read": read_seconds, "filter": filter_seconds, "write": write_seconds}
    document = documents.document(command, content, seconds=times, notes=(*told, *notes), warnings=warnings)
    if outputs.json_file is not None:
        documents.save(document, outputs.json_file, force=outputs.force)
    return Processed(
        document,
        before,
        after,
        tuple(results),
        tuple(notes),
        tuple(warnings),
        shortfall,
        tuple(invented),
        measured,
        pictures,
    )


def _read(source: Path, reading: ReadOptions, first: Filter) -> Volume:
    """Read a map, or the labels to which the first step fits a prior."""
    if not (isinstance(first, Interpolate) and first.has_prior):
        return read_map(source, reading)
    from softmorph_cli.pipeline.subjects import read_for

    return read_for(source, reading, first.learned)


def _resized(old: Volume, new: Volume) -> bool:
    """Return whether two maps have voxels of another physical size, apart from the rounding of a file's numbers."""
    before, after = old.spacing or (), new.spacing or ()
    if len(before) != len(after):
        return True
    one, other = millimetres(old.unit), millimetres(new.unit)
    factor = 1.0 if one is None or other is None else other / one
    return not all(isclose(a, b * factor, rel_tol=1e-5) for a, b in zip(before, after, strict=True))


def _draw_completion(result: Result, volume: Volume, outputs: OutputOptions, title: str, words: str) -> None:
    """Draw what was invented of a map, which the last step has completed."""
    from softmorph_cli.plots.completion_preview import draw_completion

    made = result.completed
    assert made is not None
    assert outputs.preview is not None
    draw_completion(
        made.seen(volume),
        made.volume,
        made.invented,
        made.resolved["axis"],
        made.class_axis(volume),
        outputs.preview,
        mean=made.mean(volume),
        classes=made.classes,
        title=title,
        facts=(words, made.figures),
        force=outputs.force,
        look=outputs,
    )


def _combined(
    volume: Volume, original: Volume, unfiltered: Volume, outputs: OutputOptions, name: str
) -> tuple[Volume, Labels | None]:
    """Return a map whose channels sum to 1, and None; or for option argmax, a mask of all labels, and the labels.

    Args:
        volume: The filtered map.
        original: The map as it was read from the file.
        unfiltered: The map as it was read, resampled to the grid of the result.
        outputs: The options, of which `renormalize` and `argmax` are used.
        name: The name of the map in messages.
    """
    from softmorph_cli.filters import channels
    from softmorph_cli.io.nnunet import classes
    from softmorph_cli.pipeline.subjects import label_numbers

    try:
        # Only the map as it was read knows the relation of its channels.
        _refuse_times(original, outputs)
        found = classes(original)
        if (numbers := label_numbers(original.channels)) is not None:
            found = replace(found, labels=numbers, kind="rest" if found.kind == "complete" else found.kind)
        if outputs.renormalize:
            volume = channels.renormalize(volume, before=unfiltered, kind=found.kind)
        if not outputs.argmax:
            return volume, None
        labels = channels.argmax(volume, kind=found.kind, labels=found.labels)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    first = volume.channel(0)
    return first.with_array((labels > 0).astype(first.array.dtype)), labels


def _write_page(measured: dict[int, Measured], path: Path, source: Path, *, force: bool) -> None:
    """Write the page of the first class of the last inspection."""
    from softmorph_cli.pipeline.steps.page import page_of

    (found, *_) = [one.inspections[0] for one in reversed(measured.values()) if one.inspections]
    text = page_of(found, source, f", {found.graph.name}" if found.graph.name else "")
    with writing_text(path, force=force) as stream:
        stream.write(text)


def _thumbnails(volume: Volume, measured: Mapping[int, Measured]) -> Mapping[str, bytes]:
    """Return small pictures of the last centreline, or of the result where none was inspected."""
    from softmorph_cli.plots.graph_preview import thumbnails

    drawn = [found.pictures for found in measured.values() if found.pictures]
    return drawn[-1] if drawn else thumbnails(volume, None)


def _refuse_times(volume: Volume, outputs: OutputOptions) -> None:
    """Refuse to combine the times of a map as if they were classes."""
    axis = volume.channel_axis()
    size = 1 if axis is None else volume.array.shape[axis]
    if axis is None or volume.axes[axis] != "T" or size == 1 or volume.class_axis() is not None:
        return
    option = named("argmax", True) if outputs.argmax else named("renormalize", True)
    raise InputError(
        f"it holds {size} times, which are no classes: leave {option} out, or say with "
        f"{named('channel_axis', 'T')} that they are channels."
    )


def _measured(volume: Volume) -> Statistics:
    return Statistics.of(
        volume.array, spacing=volume.spacing, unit=volume.unit, spatial_dims=volume.spatial_dims
    )


def _measured_labels(volume: Volume, labels: Labels) -> Statistics:
    """Return the statistics of one mask per label, so that touching components of two labels are counted as two."""
    numbers = [label for label in np.unique(labels).tolist() if label] or [1]
    masks = np.stack([labels == label for label in numbers]).astype(volume.array.dtype)
    return _measured(replace(volume, array=masks, axes=f"C{volume.axes}", channels=None))


def _store(volume: Volume, labels: Labels | None, path: Path, options: WriteOptions) -> list[str]:
    if labels is not None:
        return write_labels(labels, volume, path, options)
    return write_map(volume, path, options)


def _regridded(before: Volume, after: Volume, steps: Sequence[Filter]) -> str:
    """Return the warning that statistics of a result on another grid are not those of the map."""
    if any(getattr(step, "pool", None) == "max" for step in steps):
        return "a larger voxel is the maximum of those it covers, not their mean: volumes are larger than the map's."
    finer = prod(after.array.shape) > prod(before.array.shape)
    return (
        f"voxels of the result are {'smaller' if finer else 'larger'} than the map's and interpolated, so not "
        "independent: do not use the standard deviation for independent voxels; counts are of the new voxels."
    )
