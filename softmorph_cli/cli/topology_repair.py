"""softmorph topology repair."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softmorph_cli import __version__
from softmorph_cli.cli import answer, filtering, report
from softmorph_cli.cli.command import note, warn
from softmorph_cli.cli.options import Input, Output
from softmorph_cli.cli.progress import reporting
from softmorph_cli.cli.topology_numbers import counted
from softmorph_cli.cli.topology_options import Goal, MaskOptions, RepairOutput, WholeMap
from softmorph_cli.errors import InputError, NotReachedError
from softmorph_cli.io import documents
from softmorph_cli.io.options import WriteOptions

if TYPE_CHECKING:
    import numpy.typing as npt

    from softmorph_cli.metrics.certificate import Certificate
    from softmorph_cli.pipeline.steps.repair_job import Job
    from softmorph_cli.plots.preview import Backdrop
    from softmorph_cli.topology.betti import Betti
    from softmorph_cli.topology.prior import Prior
    from softmorph_cli.topology.repair import Repaired, Repairer
    from softmorph_cli.volume import Volume

_STOPPED = {
    "reached": "reached",
    "stuck": "not reached: there is no bar left that could be moved",
    "max_steps": "not reached: stopped at --max-steps",
}


def repair(
    source: Input,
    target: Output,
    *,
    goal: Goal,
    mask_options: MaskOptions,
    reading: WholeMap,
    output: RepairOutput,
) -> None:
    """Change a map as little as need be until its mask has given Betti numbers, as 1,0,0 for one tree.

    Gaps are bridged and specks erased, loops opened, cavities filled, whatever takes less. OUT is read back, and its
    Betti numbers are printed; the exit status is 3 where they differ from those requested.
    """
    _check(source, target, goal, mask_options, reading, output)
    started = time.perf_counter()
    volume = filtering.read_volume(source, replace(reading, region=None))
    mask_options, nearest = mask_options.at_level(volume)
    backdrop = None
    if output.preview is not None:
        from softmorph_cli.plots.preview import settle

        backdrop = settle(output, volume, replace(reading, region=None), str(source))
    from softmorph_cli.io.formats import check_target
    from softmorph_cli.io.writing import as_stored
    from softmorph_cli.pipeline import describe
    from softmorph_cli.pipeline.steps.repair_job import job_of

    notes = [*volume.notes, *nearest, *describe.over_input(source, target, volume.source)]
    check_target(target, WriteOptions(output_type=output.output_type, force=output.force), axes=volume.axes)
    read_seconds = time.perf_counter() - started
    started = time.perf_counter()
    try:
        job = job_of(
            volume,
            goal.asked,
            region=reading.region,
            smooth=goal.smooth,
            threshold=mask_options.threshold,
            connectivity=mask_options.connectivity,
            weight=goal.weight,
            max_steps=goal.max_steps,
            rounded=lambda array: as_stored(array, target, output.output_type),
        )
        with reporting(quiet=output.quiet) as bar:

            def report_step(step: int, most: int, numbers: Sequence[Betti]) -> None:
                if bar is not None:
                    bar.update(f"step {step}: {'; '.join(map(counted, numbers))}", step, most)

            found = job.run(report_step)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    repair_seconds = time.perf_counter() - started

    started = time.perf_counter()
    result = volume.with_array(found.array.reshape(volume.array.shape))
    priors = job.priors
    parameters = _parameters(goal, mask_options, reading, job)
    title = f"{source.name}{describe.which(volume, reading.time)}"
    warnings = _write(volume, result, target, output, parameters, title, job, backdrop)
    certificate = job.certificate(read_back(target, result, output.output_type))
    write_seconds = time.perf_counter() - started
    reached = certificate.reached(priors)
    changed = job.changes(found.array)
    content = {
        "input": documents.described(volume) | {"read_with": replace(reading, region=None).as_json},
        "output": describe.output(target, result, output.output_type),
        "parameters": parameters,
        "reached": reached,
        "stop_reason": found.stopped,
        "iterations": found.steps,
        "best_iteration": found.best_step,
        "change": changed,
        "certificate": {"path": str(target), "priors": certificate.as_list(priors)},
    }
    times = {"read": read_seconds, "repair": repair_seconds, "write": write_seconds}
    document = documents.document("topology repair", content, seconds=times, notes=notes, warnings=warnings)
    answer.give(document, output)
    for message in warnings:
        warn(message)
    if not output.quiet:
        for message in notes:
            note(message)
        _show(target, found, priors, certificate, changed, volume, repair_seconds)
    if not reached:
        raise NotReachedError(_excuse(target, found, priors, certificate.asked, goal, volume))


def _check(
    source: Path, target: Path, goal: Goal, mask_options: MaskOptions, reading: WholeMap, output: RepairOutput
) -> None:
    from softmorph_cli.io.formats import check_target

    goal.check_goal(
        "say what topology is asked for: --betti 1,0,0, or of several channels --priors FILE.", "--smooth"
    )
    check_target(target, WriteOptions(output_type=output.output_type, force=output.force))
    read = [*reading.files, *([goal.priors] if goal.priors is not None else [])]
    beside = [path for path in (output.json_file, output.preview) if path is not None]
    filtering.check_side_outputs(
        source, read, beside, output.preview, force=output.force, target=target, pictures=output
    )


def _parameters(goal: Goal, mask_options: MaskOptions, reading: WholeMap, job: Job) -> dict[str, Any]:
    from softmorph_cli.topology.components import connectivities

    priors, repairer = job.priors, job.repairer
    foreground, background = connectivities(len(priors[0].betti), mask_options.connectivity)
    return {
        "priors": [{"channels": list(prior.channels), "betti": list(prior.betti)} for prior in priors],
        "channels_are": repairer.kind,
        "threshold": mask_options.threshold,
        "connectivity": foreground,
        "background_connectivity": background,
        "lambda": goal.weight,
        "max_steps": goal.max_steps,
        "smooth": goal.smooth,
        "smooth_voxels": list(repairer.smooth),
        "region": reading.region,
    }


def _write(
    before: Volume,
    after: Volume,
    target: Path,
    output: RepairOutput,
    parameters: dict[str, Any],
    title: str,
    job: Job,
    backdrop: Backdrop | None,
) -> list[str]:
    from softmorph_cli.io.writing import write

    priors, repairer = job.priors, job.repairer
    made = {
        "command": "softmorph topology repair",
        "version": __version__,
        "parameters": {name: value for name, value in parameters.items() if value is not None},
    }
    warnings = write(after, target, output_type=output.output_type, force=output.force, provenance=made)
    if output.preview is not None:
        from softmorph_cli.plots.preview import preview

        many = any(size > 1 for size in before.array.shape[: -before.spatial_dims])
        words = "; ".join(
            f"{_label(prior, before) + ': ' if many else ''}prior {prior.text}" for prior in priors
        )
        if many:
            words += f"; shown is {_label(priors[0], before)}"
        # Not the first channel, which is often the background.
        shown, result = (_of_prior(volume, priors[0], repairer) for volume in (before, after))
        flipped = (shown.array > repairer.threshold) != (result.array > repairer.threshold)
        preview(
            *(shown, result, output.preview),
            title=f"softmorph topology repair {title}",
            subtitle=words,
            force=output.force,
            changed=flipped,
            look=output,
            backdrop=backdrop,
        )
    return warnings


def _of_prior(volume: Volume, prior: Prior, repairer: Repairer) -> Volume:
    """Return the map that a prior constrains (the union of its channels), with spatial axes only."""
    dims = volume.spatial_dims
    array = volume.array.reshape(-1, *volume.array.shape[-dims:])
    return replace(volume, array=repairer.union(array, prior), axes=volume.axes[-dims:], channels=None)


def _label(prior: Prior, volume: Volume) -> str:
    names = [volume.channels[c] if volume.channels else f"channel {c}" for c in prior.channels]
    return " or ".join(names)


def _show(
    target: Path,
    found: Repaired,
    priors: Sequence[Prior],
    certificate: Certificate,
    changed: dict[str, Any],
    volume: Volume,
    seconds: float,
) -> None:
    numbers = "b0 b1" if volume.spatial_dims == 2 else "b0 b1 b2"
    lines = []
    for scope in certificate.scopes:
        for k, prior in enumerate(priors):
            where = scope if len(priors) == 1 else f"{_label(prior, volume)}, {scope}"
            asked = prior.text.replace(",", " ") if scope == certificate.scopes[0] else "any"
            counted = (certificate.before[scope][k].numbers, certificate.after[scope][k].numbers)
            cells = [*(" ".join(map(str, found)) for found in counted), asked]
            lines.append([f"{where} ({numbers})", *cells])
    steps = f"{found.steps} step{'s' if found.steps != 1 else ''}"
    flips = " + ".join(f"{count:,}" for count in changed["voxels_flipped"])
    flips += " voxel flipped" if flips == "1" else " voxels flipped"
    footer = (
        f"{_STOPPED[found.stopped]} ({steps}, {seconds:.1f} s); {flips}, the largest change of p is "
        f"{changed['max_abs']:.2g}, its mean square {changed['mean_squared']:.2g}"
    )
    columns = ("", "before", "in the file", "prior")
    report.table(f"topology repair → {target}", columns, lines, err=True, footer=footer)


def _excuse(
    target: Path,
    found: Repaired,
    priors: Sequence[Prior],
    after: Sequence[Betti],
    goal: Goal,
    volume: Volume,
) -> str:
    wrong = [
        f"{prior.text}{' of ' + _label(prior, volume) if len(priors) > 1 else ''} was not "
        f"reached, the best has {','.join(map(str, betti.numbers))}"
        for prior, betti in zip(priors, after, strict=True)
        if prior.off(betti.numbers)
    ]
    advice = {
        "stuck": "nothing in the map is left that could become it; ask for other numbers, or take another --threshold",
        "max_steps": f"try more than {goal.max_steps} --max-steps, or another --smooth",
        "reached": "the file rounds its values: write it as float32",
    }[found.stopped]
    return f"the prior {'; '.join(wrong)} and is in {target}: {advice}."


def read_back(target: Path, written: Volume, output_type: str | None) -> npt.NDArray[Any]:
    """Return the probabilities that a written file contains, with the axis of channels first."""
    from softmorph_cli.io.reading import read

    # .npy holds neither what 1 is stored as nor which axes are spatial.
    one = {"uint8": 255, "uint16": 65535}.get(output_type or "") if target.suffix.lower() == ".npy" else None
    try:
        back = read(target, divide_by=one)
    except InputError:
        back = read(target, divide_by=one, axes=written.axes)
    if back.array.size != written.array.size:
        raise InputError(
            f"{target} was read back as {back.array.shape} and written as {written.array.shape}."
        )
    return back.array.reshape(-1, *written.array.shape[-written.spatial_dims :])
