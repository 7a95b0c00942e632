"""softmorph topology repair."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from softmorph_cli import __version__
from softmorph_cli.cli import filtering, report
from softmorph_cli.cli.command import command, note, warn
from softmorph_cli.cli.options import Input, Output
from softmorph_cli.cli.progress import reporting
from softmorph_cli.cli.topology_numbers import counted
from softmorph_cli.cli.topology_options import Asking, Masking, RepairOutput, Whole
from softmorph_cli.errors import InputError, NotReachedError, UsageError
from softmorph_cli.io import documents
from softmorph_cli.io.options import WriteOptions
from softmorph_cli.system import lengths

if TYPE_CHECKING:
    import numpy.typing as npt

    from softmorph_cli.metrics.certificate import Certificate
    from softmorph_cli.topology.betti import Betti
    from softmorph_cli.topology.prior import Prior
    from softmorph_cli.topology.repair import Kind, Repaired, Repairer
    from softmorph_cli.volume import Volume

_STOPPED = {
    "reached": "reached",
    "stuck": "not reached: there is no bar left that could be moved",
    "max_steps": "not reached: stopped at --max-steps",
}


@command
def repair(
    source: Input,
    target: Output,
    *,
    asking: Asking,
    masking: Masking,
    reading: Whole,
    saving: RepairOutput,
) -> None:
    """Change a map as little as need be until its mask has given Betti numbers, as 1,0,0 for one tree.

    Gaps are bridged and specks erased, loops opened, cavities filled, whatever takes less. OUT is read back, and its
    Betti numbers are told; the exit status is 3 where they are not those asked for.
    """
    _check(source, target, asking, masking, reading, saving)
    started = time.perf_counter()
    volume = filtering.read_volume(source, replace(reading, region=None))
    masking, nearest = masking.at_level(volume)
    notes = [*volume.notes, *nearest]
    from softmorph_cli.api.repairs import channels
    from softmorph_cli.io import check_target
    from softmorph_cli.metrics.certificate import certify, changes
    from softmorph_cli.pipeline import describe

    check_target(target, WriteOptions(output_type=saving.output_type, force=saving.force), axes=volume.axes)
    read_seconds = time.perf_counter() - started
    started = time.perf_counter()
    try:
        array, kind = channels(volume)
        priors = _priors(asking, volume, len(array))
        repairer = _repairer(asking, masking, reading, saving, volume, target, kind)
        found = _run(array, priors, repairer, quiet=saving.quiet)
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    repair_seconds = time.perf_counter() - started

    started = time.perf_counter()
    result = volume.with_array(found.array.reshape(volume.array.shape))
    parameters = _parameters(asking, masking, reading, priors, repairer)
    title = f"{source.name}{describe.which(volume, reading.time)}"
    warnings = _write(volume, result, target, saving, parameters, title, priors, repairer)
    certificate = certify(array, _read_back(target, result, saving.output_type), priors, repairer)
    write_seconds = time.perf_counter() - started
    reached = certificate.reached(priors)
    changed = changes(array, found.array, priors, repairer)
    document = {
        **documents.head(),
        "input": documents.described(volume) | {"read_with": replace(reading, region=None).as_json},
        "output": describe.output(target, result, saving.output_type),
        "parameters": parameters,
        "reached": reached,
        "stopped": found.stopped,
        "steps": found.steps,
        "best_step": found.best_step,
        "change": changed,
        "certificate": {"read_from": str(target), "priors": certificate.as_list(priors)},
        "seconds": {"read": read_seconds, "repair": repair_seconds, "write": write_seconds},
        "notes": notes,
        "warnings": warnings,
    }
    if saving.stats is not None:
        documents.save(document, saving.stats, force=saving.force)
    for message in warnings:
        warn(message)
    if not saving.quiet:
        for message in notes:
            note(message)
        _show(target, found, priors, certificate, changed, volume, repair_seconds)
    if saving.json:
        typer.echo(documents.as_json(document))
    if not reached:
        raise NotReachedError(_excuse(target, found, priors, certificate.asked, asking, volume))


def _check(
    source: Path, target: Path, asking: Asking, masking: Masking, reading: Whole, saving: RepairOutput
) -> None:
    from softmorph_cli.api.repairs import check_effort
    from softmorph_cli.io import check_target

    if (asking.betti is None) == (asking.priors is None):
        raise UsageError(
            "say what topology is asked for: --betti 1,0,0, or of several channels --priors FILE."
        )
    if asking.betti is not None:
        from softmorph_cli.topology.prior import Prior

        Prior.parse_betti(asking.betti)
    masking.check()
    check_effort(asking.weight, asking.max_steps)
    lengths.parse(asking.smooth, "--smooth")
    check_target(target, WriteOptions(output_type=saving.output_type, force=saving.force))
    read = [*reading.files, *([asking.priors] if asking.priors is not None else [])]
    beside = [path for path in (saving.stats, saving.preview) if path is not None]
    filtering.check_side_outputs(source, read, beside, saving.preview, force=saving.force, target=target)


def _priors(asking: Asking, volume: Volume, count: int) -> tuple[Prior, ...]:
    from softmorph_cli.api.repairs import one_prior
    from softmorph_cli.topology.prior import Prior

    if asking.priors is not None:
        return Prior.read_all(asking.priors, volume.channels, count, volume.spatial_dims)
    assert asking.betti is not None
    return one_prior(Prior.parse_betti(asking.betti), volume, count)


def _repairer(
    asking: Asking,
    masking: Masking,
    reading: Whole,
    saving: RepairOutput,
    volume: Volume,
    target: Path,
    kind: Kind,
) -> Repairer:
    from softmorph_cli.api.repairs import box_of, smoothing
    from softmorph_cli.io import as_stored
    from softmorph_cli.topology.repair import Repairer

    return Repairer(
        threshold=masking.threshold,
        connectivity=masking.connectivity,
        weight=asking.weight,
        max_steps=asking.max_steps,
        smooth=smoothing(asking.smooth, volume),
        region=box_of(reading.region, volume),
        kind=kind,
        rounded=lambda array: as_stored(array, target, saving.output_type),
    )


def _run(array: npt.NDArray[Any], priors: Sequence[Prior], repairer: Repairer, *, quiet: bool) -> Repaired:
    with reporting(quiet=quiet) as bar:

        def tell(step: int, most: int, found: Sequence[Betti]) -> None:
            if bar is not None:
                bar.say(f"step {step}: {'; '.join(map(counted, found))}", step, most)

        return repairer.repair(array, priors, tell)


def _parameters(
    asking: Asking, masking: Masking, reading: Whole, priors: Sequence[Prior], repairer: Repairer
) -> dict[str, Any]:
    from softmorph_cli.topology import components

    foreground, background = components.connectivities(len(priors[0].betti), masking.connectivity)
    return {
        "priors": [{"channels": list(prior.channels), "betti": list(prior.betti)} for prior in priors],
        "channels_are": repairer.kind,
        "threshold": masking.threshold,
        "connectivity": foreground,
        "background_connectivity": background,
        "lambda": asking.weight,
        "max_steps": asking.max_steps,
        "smooth": asking.smooth,
        "smooth_voxels": list(repairer.smooth),
        "region": reading.region,
    }


def _write(
    before: Volume,
    after: Volume,
    target: Path,
    saving: RepairOutput,
    parameters: dict[str, Any],
    title: str,
    priors: Sequence[Prior],
    repairer: Repairer,
) -> list[str]:
    from softmorph_cli.io import write

    made = {
        "command": "softmorph topology repair",
        "version": __version__,
        "parameters": {name: value for name, value in parameters.items() if value is not None},
    }
    warnings = write(after, target, output_type=saving.output_type, force=saving.force, provenance=made)
    if saving.preview is not None:
        from softmorph_cli.plots.preview import preview

        many = any(size > 1 for size in before.array.shape[: -before.spatial_dims])
        words = "; ".join(
            f"{_label(prior, before) + ': ' if many else ''}prior {','.join(map(str, prior.betti))}"
            for prior in priors
        )
        if many:
            words += f"; shown is {_label(priors[0], before)}"
        # The first channel is often the background, which is of no interest.
        shown, result = (_of_prior(volume, priors[0], repairer) for volume in (before, after))
        flipped = (shown.array > repairer.threshold) != (result.array > repairer.threshold)
        preview(
            *(shown, result, saving.preview),
            title=f"softmorph topology repair {title}",
            subtitle=words,
            force=saving.force,
            changed=flipped,
        )
    return warnings


def _of_prior(volume: Volume, prior: Prior, repairer: Repairer) -> Volume:
    """Return the map of which a prior asks, without any other axes than those of space."""
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
            asked = prior.betti if scope == certificate.scopes[0] else ()
            cells = (certificate.before[scope][k].numbers, certificate.after[scope][k].numbers, asked)
            lines.append([f"{where} ({numbers})", *(" ".join(map(str, cell)) or "any" for cell in cells)])
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
    asking: Asking,
    volume: Volume,
) -> str:
    wrong = [
        f"{','.join(map(str, prior.betti))}{' of ' + _label(prior, volume) if len(priors) > 1 else ''} was not "
        f"reached, the best has {','.join(map(str, betti.numbers))}"
        for prior, betti in zip(priors, after, strict=True)
        if prior.betti != betti.numbers
    ]
    advice = {
        "stuck": "nothing in the map is left that could become it; ask for other numbers, or take another --threshold",
        "max_steps": f"try more than {asking.max_steps} --max-steps, or another --smooth",
        "reached": "the file rounds its values: write it as float32",
    }[found.stopped]
    return f"the prior {'; '.join(wrong)} and is in {target}: {advice}."


def _read_back(target: Path, written: Volume, output_type: str | None) -> npt.NDArray[Any]:
    """Return the probabilities that are in a file, the channels first.

    Args:
        target: The file.
        written: What was written.
        output_type: As what.

    Raises:
        InputError: If it holds something else.
    """
    from softmorph_cli.io import read

    # A bare array says neither what 1 is stored as nor which of its axes are of space.
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
