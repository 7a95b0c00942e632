"""softmorph prior train."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from softmorph_cli.cli import answer, filtering, prior_tables
from softmorph_cli.cli.command import note
from softmorph_cli.cli.prior_options import Learned, Maps, PriorFile, ReadMaps, TrainOutput
from softmorph_cli.cli.progress import reporting
from softmorph_cli.completion.options import TrainingOptions
from softmorph_cli.errors import FileError, UsageError
from softmorph_cli.io import documents
from softmorph_cli.io.options import number_or_name

if TYPE_CHECKING:
    from softmorph_cli.api.priors import Progress
    from softmorph_cli.completion.prior import Prior
    from softmorph_cli.completion.training import Checkpoint, Subject

# Maps on the sheet of --preview, and what is hidden of them.
_DRAWN: Final = 6
_HIDDEN: Final = "every:4"


def train(
    maps: Maps,
    target: PriorFile,
    *,
    learned: Learned,
    training: TrainingOptions,
    reading: ReadMaps,
    output: TrainOutput,
) -> None:
    """Learn a shape prior from at least 8 complete maps of one kind of object, of one or several classes.

    The prior fills slices that are missing in other maps: softmorph interpolate --prior. Trained with images it also
    segments images: softmorph prior segment. Some maps are held out, and a table shows how well the prior finds their
    hidden slices, beside interpolation. The exit status is 3 where the prior is worse than the interpolation of logits
    whatever is hidden; it is written all the same.
    """
    from softmorph_cli.api.priors import read_maps
    from softmorph_cli.completion import prior_file
    from softmorph_cli.completion.training import Checkpoint

    _check(maps, target, learned, output)
    finished = prior_file.load(target) if output.resume and not output.force and target.exists() else None
    if finished is None:
        prior_file.check_target(target, force=output.force)
    started = time.perf_counter()
    checkpoint = Checkpoint(target, resume=output.resume, force=output.force)
    with reporting(quiet=output.quiet) as bar, checkpoint if finished is None else nullcontext():
        show = None if bar is None else bar.update
        subjects = read_maps(
            maps,
            [number_or_name(label) for label in learned.label or ()],
            learned.images,
            learned.voxels,
            reading,
            show,
        )
        if finished is None:
            prior = _trained(subjects, maps, target, training, checkpoint, output, show)
        else:
            _check_same(finished, subjects, target, training)
            prior = finished
    if finished is not None and not output.quiet:
        note(f"{target} is complete: a training of these settings and maps made it. --force trains it again.")
    content = {
        "input": {"path": str(maps)},
        "images": None if learned.images is None else {"path": str(learned.images)},
        "prior": prior_tables.described(prior, target),
    }
    document = documents.document("prior train", content, seconds={"train": time.perf_counter() - started})
    if output.preview is not None:
        _draw(prior, subjects, maps, output, training.device)
    answer.give(document, output)
    if not (output.json or output.quiet):
        seconds = None if finished else document["seconds"]["total"]
        _show(prior, target, len(subjects), training.validate, seconds)
    prior_tables.check_worth(
        prior.validation,
        target,
        "held-out maps",
        "it has learned too little; give more --steps, or more maps",
    )


def _trained(
    subjects: list[Subject],
    maps: Path,
    target: Path,
    training: TrainingOptions,
    checkpoint: Checkpoint,
    output: TrainOutput,
    show: Progress | None,
) -> Prior:
    """Return a trained prior, which is written to its file."""
    from softmorph_cli.api.priors import train_subjects
    from softmorph_cli.completion import prior_file

    try:
        prior = train_subjects(subjects, str(maps), training, checkpoint, show)
    except BaseException:
        if checkpoint.in_use and not output.quiet:
            note(f"what is trained is kept in {checkpoint.path}: the same command with --resume goes on.")
        raise
    prior_file.save(prior, target, force=output.force)
    checkpoint.remove()
    return prior


def _check(maps: Path, target: Path, learned: Learned, output: TrainOutput) -> None:
    others = [] if learned.images is None else [learned.images]
    beside = [path for path in (output.json_file, output.preview) if path is not None]
    filtering.check_side_outputs(
        maps, others, beside, output.preview, force=output.force, target=target, pictures=output
    )
    for folder in (maps, *others):
        if not filtering.is_folder(folder):
            what = "does not exist" if not folder.exists() else "is a file"
            raise UsageError(f"{folder} {what}: name the folder that holds the maps, or the images.")


def _check_same(prior: Prior, subjects: list[Subject], target: Path, options: TrainingOptions) -> None:
    """Raise an error if a finished prior was made of other maps, images or settings."""
    from softmorph_cli.completion.training import fingerprint

    if prior.training.get("fingerprint") != fingerprint(subjects, options):
        raise FileError(
            f"{target} exists already, and was made of other maps or settings, or by another version of softmorph: add "
            "--force to replace it."
        )


def _show(prior: Prior, target: Path, count: int, share: float, seconds: float | None) -> None:
    held = count - len(prior.subjects)
    title = f"{target}: learned from {len(prior.subjects)} maps, {held} held out"
    if seconds is not None:
        title += f", in {seconds:.0f} s"
    if prior.validation:
        prior_tables.show(title, prior.validation, err=False)
    elif share:
        from softmorph_cli.completion.training import FEWEST

        # As many as `FEWEST` are kept for the training; a share is rounded to whole maps.
        least = max(FEWEST + 1, int(0.5 / share) + 1)
        typer.echo(f"{title}; with {count} maps none can be held out: give {least} or more to measure it")
    else:
        typer.echo(f"{title}; without --validate nothing is known about how good it is")
    if words := prior_tables.image_words(prior):
        typer.echo(words)


def _draw(prior: Prior, subjects: list[Subject], maps: Path, output: TrainOutput, device: str) -> None:
    from softmorph_cli.completion.fitting import complete, predict
    from softmorph_cli.completion.validation import GAPS
    from softmorph_cli.plots.prior_sheet import Example, draw_sheet

    assert output.preview is not None
    known = set(prior.subjects)
    others = [one for one in subjects if one.name not in known]
    rows = []
    for one in (others or subjects)[:_DRAWN]:
        observed = GAPS[_HIDDEN](one.grid.shape[0])
        _, place = prior.place(one.grid, one.name)
        along = observed.reshape(-1, *[1] * (one.grid.dims - 1))
        filled, _ = complete(prior, one.probabilities, along, place, prior.seed, device)
        mean = predict(prior, prior.mean, place, device)
        sizes = tuple(one.grid.extents / one.grid.shape)
        affine = one.grid.affine if one.grid.oriented else None
        panels: tuple[Any, ...] = (one.probabilities, filled, mean, one.probabilities)
        rows.append(Example(one.name, panels, observed, sizes, affine, output).row)
    which = "maps that were held out" if others else "maps that it was trained on"
    draw_sheet(
        rows,
        ("observed", "filled", "the prior's mean", "truth"),
        prior.classes,
        title=f"softmorph prior train {maps.name}",
        facts=(f"{which}, with 3 of 4 slices hidden",),
        look=output.of_file(output.preview),
    ).save(output.preview, force=output.force)
