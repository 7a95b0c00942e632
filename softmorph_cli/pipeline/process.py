"""From a file to a file: read, apply steps, measure, write, and a document that tells of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import FileError, InputError, UsageError
from softmorph_cli.filters.filter import CHAIN, COMMAND, LABELS, MASK, PROBABILITY, Filter
from softmorph_cli.filters.operations import Skeleton
from softmorph_cli.filters.settings import Progress, Result
from softmorph_cli.io import check_target, documents, exclusive, read_map, write_labels, write_map
from softmorph_cli.io.formats import suffix_of
from softmorph_cli.io.options import ReadOptions, WriteOptions
from softmorph_cli.kernels.level_sets import nested_levels
from softmorph_cli.metrics.statistics import Statistics, change
from softmorph_cli.pipeline import describe
from softmorph_cli.pipeline.outputs import OutputOptions
from softmorph_cli.pipeline.perform import Done, perform
from softmorph_cli.skeleton import image_kind
from softmorph_cli.volume import Volume

OUTPUT_TYPES = ("float32", "float16", "uint8", "uint16")


@dataclass(frozen=True)
class Outputs(OutputOptions):
    """What is written where.

    Attributes:
        target: The result.
        stages: A folder that keeps what every step makes.
    """

    target: Path
    stages: Path | None = None

    @property
    def beside(self) -> list[Path]:
        """The files beside the target."""
        return [path for path in (self.stats, self.preview, self.standard_error) if path is not None]

    def stage(self, number: int, step: Filter) -> Path:
        """Return where the result of a step, from 1, is kept."""
        assert self.stages is not None
        return self.stages / f"{number:02d}-{step.operation}{suffix_of(self.target)}"

    def make_stages(self, steps: Sequence[Filter]) -> None:
        """Make the folder of stages, and refuse what could not be written into it.

        Raises:
            FileError: If it cannot be made, or holds such files already and `force` is off.
        """
        assert self.stages is not None
        try:
            self.stages.mkdir(exist_ok=True)
        except OSError as error:
            raise FileError(f"{self.stages} cannot be made: {error.strerror or error}.") from error
        for number, step in enumerate(steps, 1):
            check_target(self.stage(number, step), WriteOptions(force=self.force))

    def stored(self, steps: Sequence[Filter]) -> str | None:
        """Return the type the result is stored as.

        Raises:
            UsageError: If it is none, does not go with what the last step gives, or cannot tell its levels apart.
        """
        if self.output_type not in (None, *OUTPUT_TYPES):
            raise UsageError(f"--output-type {self.output_type}: use float32, float16, uint8 or uint16.")
        last = steps[-1]
        if (self.renormalize or self.argmax) and last.gives != PROBABILITY:
            raise UsageError(
                f"--renormalize and --argmax need probabilities, and {last.operation} gives none here: leave them out."
            )
        if self.argmax and self.output_type is not None:
            raise UsageError("labels take the smallest type that holds them: leave out --output-type.")
        if self.argmax:
            return "labels"
        if last.gives == MASK:
            if self.output_type not in (None, "uint8"):
                name = "a hard skeleton" if isinstance(last, Skeleton) else "a mask"
                raise UsageError(f"{name} is written as uint8 0 and 1, not {self.output_type}.")
            return "mask"
        if last.gives == LABELS:
            if self.output_type is not None:
                raise UsageError("labels take the smallest type that holds them: leave out --output-type.")
            return "labels"
        method = None if self.renormalize else last.method_in_force
        if last.settings is not None and method == "nested" and last.settings.level_sets is not None:
            last.settings.level_sets.bounds(self.output_type or describe.default_type(self.target))
        return self.output_type


@dataclass(frozen=True)
class Processed:
    """How a file went.

    Attributes:
        document: The JSON of schema 2.
        before: Statistics of what was read.
        after: Statistics of what was written.
        results: How each step went, without its image.
        notes: What a person may want to know.
        warnings: What a person should know.
    """

    document: dict[str, Any]
    before: Statistics
    after: Statistics
    results: tuple[Result, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = field(default=())


def process(
    command: str,
    source: Path,
    steps: Sequence[Filter],
    outputs: Outputs,
    *,
    reading: ReadOptions | None = None,
    progress: Callable[[Progress], None] | None = None,
    tell: Callable[[str], None] = lambda note: None,
    computing: AbstractContextManager[Any] | None = None,
    memory: int | None = None,
) -> Processed:
    """Run steps on a file and write the result.

    Args:
        command: What it is called in the provenance, such as "skeletonize" or "chain".
        source: The file to read.
        steps: At least one, each applied to the result of the one before.
        outputs: What to write; whoever calls has checked that it may be written.
        reading: How it is read.
        progress: Called after every sub-iteration.
        tell: Called with each note of the reader, as soon as it is known.
        computing: Held while a step runs, but not while files are read and written.
        memory: Bytes that may be used, where it is less than the machine allows.

    Raises:
        SoftmorphError: If anything is refused or fails; no output is then half-written.
    """
    stored = outputs.stored(steps)
    reading = reading or ReadOptions()
    started = time.perf_counter()
    cuts = not outputs.argmax and any(step.cuts for step in steps)
    original = read_map(source, replace(reading, exclusive=cuts))
    for path, kind in ((outputs.target, stored), (outputs.standard_error, None)):
        if path is not None:
            # A label image has no channels.
            axes = original.axes.replace("C", "") if kind == "labels" else original.axes
            check_target(path, WriteOptions(output_type=kind, force=outputs.force), axes=axes)
    read_seconds = time.perf_counter() - started
    for message in (
        *original.notes,
        *exclusive.class_notes(original),
        *describe.over_input(source, outputs.target),
    ):
        tell(message)

    before = _measured(original)
    shown = reading.as_json
    volume, after, made, unfiltered = original, before, None, original
    levels = image_kind.exact_levels(original)
    results: list[Result] = []
    reports: list[dict[str, Any]] = []
    warnings: list[str] = []
    notes: list[str] = []
    for number, asked in enumerate(steps, 1):
        step, nearest = asked.settled(levels)
        notes += nearest
        started = time.perf_counter()
        # What was between is let go: however long the chain, three maps are held.
        with computing or nullcontext():
            place = COMMAND if command == step.operation else CHAIN
            made = perform(step, volume, name=str(source), progress=progress, memory=memory, place=place)
        if outputs.renormalize and made.prepared.array.shape != volume.array.shape:
            unfiltered = step.prepare(unfiltered)
        seconds = time.perf_counter() - started
        volume = made.volume
        after = _measured(volume)
        warnings += made.warnings
        results.append(replace(made.result, image=None))
        reports.append(describe.step(step, made, seconds))
        if len(steps) > 1:
            reports[-1]["after"] = after.as_dict()
        so_far = describe.provenance(command, reports, shown)
        levels = nested_levels(so_far)
        if outputs.stages is not None:
            kind = "mask" if step.gives == MASK else None
            how = WriteOptions(output_type=kind, force=outputs.force, provenance=so_far)
            warnings += _store(made, outputs.stage(number, step), how)

    started = time.perf_counter()
    assert made is not None
    if outputs.renormalize or outputs.argmax:
        made = _classes(made, original, unfiltered, outputs, str(source))
        volume = made.volume
        after = _measured(volume) if made.labels is None else _measured_labels(volume, made.labels)
    if volume.spacing != original.spacing:
        finer = prod(volume.array.shape) > prod(original.array.shape)
        warnings.append(
            f"the result is on a {'finer' if finer else 'coarser'} grid: its standard deviation for independent voxels "
            f"is {'too small' if finer else 'not that of the map'}, as interpolated voxels are not independent "
            "(that for comonotone voxels and the quantiles hold), and its voxel counts are of the new grid."
        )
    together = {name: True for name in ("renormalize", "argmax") if getattr(outputs, name)}
    provenance = describe.provenance(command, reports, shown | together)
    how = replace(WriteOptions.of(outputs), output_type=stored, provenance=provenance)
    warnings += _store(made, outputs.target, how)
    if outputs.standard_error is not None:
        errors = made.prepared.with_array(made.result.standard_error)
        warnings += write_map(
            errors, outputs.standard_error, WriteOptions(force=outputs.force, provenance=provenance)
        )
    first = made.prepared if len(steps) == 1 else original
    if outputs.preview is not None:
        from softmorph_cli.plots.preview import preview

        title = f"softmorph {command} {source.name}{describe.which(original, reading.time)}"
        words = describe.words(steps)
        preview(first, volume, outputs.preview, title=title, subtitle=words, force=outputs.force)
    write_seconds = time.perf_counter() - started

    comparable = first.array.shape == volume.array.shape
    told = {
        **documents.head(),
        "input": documents.described(original) | {"read_with": shown},
        "output": describe.output(outputs.target, volume, stored),
        "steps": reports,
        "before": before.as_dict(),
        "after": after.as_dict(),
        "change": change(first.array, volume.array) if comparable else None,
        "device": made.result.device,
        "seconds": {
            "read": read_seconds,
            "filter": sum(report["seconds"] for report in reports),
            "write": write_seconds,
        },
        "warnings": warnings,
    }
    if outputs.stats is not None:
        documents.save(told, outputs.stats, force=outputs.force)
    if nested_levels(provenance) is None:
        notes += steps[-1].remarks(before.components_above_half, after.components_above_half)
    return Processed(told, before, after, tuple(results), tuple(notes), tuple(warnings))


def _classes(made: Done, original: Volume, unfiltered: Volume, outputs: Outputs, name: str) -> Done:
    """Return what a step made with its channels brought together as asked for.

    Args:
        made: What the last step made.
        original: The map as it was read.
        unfiltered: The same on the grid of what was made.
        outputs: What is asked for.
        name: What the map is called.
    """
    from softmorph_cli.filters import channels
    from softmorph_cli.io import classes

    try:
        # A filter forgets what its channels are to each other: the map as it was read says it.
        found = classes(original)
        volume = made.volume
        if outputs.renormalize:
            volume = channels.renormalize(volume, before=unfiltered, kind=found.kind)
        if not outputs.argmax:
            return replace(made, volume=volume)
        labels = channels.argmax(volume, kind=found.kind, labels=found.labels)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    where = volume.channel(0)
    mask = where.with_array((labels > 0).astype(where.array.dtype))
    return replace(made, volume=mask, labels=labels)


def _measured(volume: Volume) -> Statistics:
    return Statistics.of(
        volume.array, spacing=volume.spacing, unit=volume.unit, spatial_dims=volume.spatial_dims
    )


def _measured_labels(place: Volume, labels: npt.NDArray[Any]) -> Statistics:
    """Return the statistics of a label image as those of a mask for each label: pieces of two are not one piece."""
    numbers = [label for label in np.unique(labels).tolist() if label] or [1]
    masks = np.stack([labels == label for label in numbers]).astype(place.array.dtype)
    return _measured(replace(place, array=masks, axes=f"C{place.axes}", channels=None))


def _store(made: Done, path: Path, options: WriteOptions) -> list[str]:
    if made.labels is not None:
        return write_labels(made.labels, made.volume, path, options)
    return write_map(made.volume, path, options)
