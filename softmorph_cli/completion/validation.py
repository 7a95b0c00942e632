"""Measures of a shape prior on maps whose slices are known and were hidden, beside interpolation of the same slices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.bootstrap import mean_and_interval
from softmorph_cli.completion import between
from softmorph_cli.completion.box import Box, Coordinates
from softmorph_cli.completion.checkpoint import Checkpoint
from softmorph_cli.completion.fitting import (
    HALF,
    explained,
    fit_intensities,
    fit_probabilities,
    predict,
    predict_at,
)
from softmorph_cli.completion.options import METHODS
from softmorph_cli.completion.prior import Array, FitSettings, Prior, Row
from softmorph_cli.completion.slices import Gap, gap
from softmorph_cli.completion.training import FEWEST, Report, Subject, TrainingOptions, check, train

if TYPE_CHECKING:
    from torch import Tensor

Mask = npt.NDArray[np.bool_]
Scores = dict[str, dict[str, float | None]]

ALL: Final = "all"

# The gaps of the table of a training.
GAPS: Final[Mapping[str, Gap]] = {
    text: gap(text) for text in ("every:2", "every:4", "gap:9/16+1/4", "end:1/4")
}
# Numbers of steps that held-out subjects choose from, and how much worse than the best a smaller one may be.
_STEPS: Final = {"completion": (25, 50, 100, 200), "segmentation": (25, 75, 150)}
_GAIN: Final = 0.002
_CHOOSERS: Final = 8
# Left out of the choice: extrapolation varies so much that it would dominate the mean.
_NOT_CHOOSING: Final = "end:1/4"


@dataclass(frozen=True)
class LeftOut:
    """How well observed slices are found again from the other observed ones.

    Attributes:
        slices: Indices of the slices that were left out, one at a time.
        prior: The Dice of the fitted prior on them: that of the masks of the most probable class, of all foreground
            classes as one, over all these slices; the measure of the table of validation.
        logit: That of the interpolation of logits.
    """

    slices: tuple[int, ...]
    prior: float
    logit: float


def leave_one_out(
    prior: Prior,
    probabilities: Array,
    observed: Mask,
    axis: int,
    coordinates: Coordinates,
    most: int = 5,
    seed: int = 0,
    device: str = "auto",
) -> LeftOut | None:
    """Leave out observed slices one at a time, fit the prior to the others and compare it with interpolation.

    Slices are left out whose masks hold an object and that lie between observed ones, at most `most` of them, spread
    evenly. Each costs one fit.

    Args:
        prior: The prior.
        probabilities: Probabilities of the prior's classes with the background first, of shape (classes, *grid).
        observed: Whether each slice along the axis is observed.
        axis: The spatial axis of the slices: 0 for z of a map in 3D.
        coordinates: The coordinates of the grid, from `Prior.place`.
        most: The largest number of fits.
        seed: The seed of the fits.
        device: "auto", "cpu", "cuda" or "cuda:N".

    Returns:
        The Dice of both; None if no slice can be left out.
    """
    inner = np.flatnonzero(observed)[1:-1]
    labels = probabilities.argmax(0)
    # A fit to the others needs an object in one of them.
    solid = [seen and (probabilities[1:].take(k, axis + 1) >= HALF).any() for k, seen in enumerate(observed)]
    full = [k for k in inner if labels.take(k, axis).any() and any(solid[:k] + solid[k + 1 :])]
    if not full:
        return None
    chosen = [
        full[k] for k in np.unique(np.linspace(0, len(full) - 1, min(most, len(full))).round().astype(int))
    ]
    found: dict[str, list[npt.NDArray[Any]]] = {"prior": [], "logit": []}
    for k in chosen:
        rest = observed.copy()
        rest[k] = False
        along = _along(rest, axis, probabilities.ndim)
        fit = fit_probabilities(prior, probabilities, along, coordinates, None, seed, device)
        voxels = _voxels(np.arange(len(observed)) == k, axis, coordinates.shape)
        mine = predict_at(prior, fit.latent, coordinates, voxels, device)
        found["prior"].append(mine.argmax(0).reshape(labels.take(k, axis).shape))
        # Interpolation takes no more than the nearest observed slices on both sides.
        first, last = np.flatnonzero(rest[:k])[-1], k + 1 + np.flatnonzero(rest[k + 1 :])[0]
        around = probabilities.take(np.arange(first, last + 1), axis + 1)
        between_both = interpolated(around, rest[first : last + 1], axis, "logit")
        found["logit"].append(between_both.argmax(0).take(k - first, axis))
    truth = np.stack([labels.take(k, axis) for k in chosen])
    each = [dice_of(np.stack(masks), truth, ())[ALL] or 0.0 for masks in found.values()]
    return LeftOut(tuple(map(int, chosen)), *each)


def interpolated(probabilities: Array, observed: Mask, axis: int, method: str) -> Array:
    """Return probabilities with the background first whose slices that are not observed are interpolated."""
    front = between.fill(probabilities[1:], observed, axis, method, exclusive=True)
    return np.concatenate([np.clip(1 - front.sum(0, keepdims=True), 0, 1), front])


def scores(
    prior: Prior, subject: Subject, observed: Mask, axis: int = 0, seed: int = 0, device: str = "auto"
) -> Scores:
    """Return the Dice of each method and class on the hidden slices of a subject.

    Args:
        prior: The prior.
        subject: A subject whose slices are all known.
        observed: Whether each slice along the axis is observed; the others are hidden.
        axis: The spatial axis of the slices.
        seed: The seed of the fit.
        device: "auto", "cpu", "cuda" or "cuda:N".

    Returns:
        For "prior", "logit" and "linear" the Dice of the masks of the most probable class, by its name, and under
        "all" that of all foreground classes as one; None for a class that the hidden slices do not hold.
    """
    given, hidden = subject.probabilities, np.flatnonzero(~observed)
    truth = given.argmax(0).take(hidden, axis)
    found = {"prior": _score(prior, subject, observed, axis, seed, device)}
    for name in METHODS[1:]:
        masks = interpolated(given, observed, axis, name).argmax(0).take(hidden, axis)
        found[name] = dice_of(masks, truth, prior.classes)
    return found


def _score(
    prior: Prior, subject: Subject, observed: Mask, axis: int, seed: int, device: str
) -> dict[str, float | None]:
    """Return the Dice of the prior alone, by class, on the hidden slices of a subject; see `scores`."""
    _, coordinates = prior.place(subject.grid, subject.name)
    given = subject.probabilities
    along = _along(observed, axis, given.ndim)
    fit = fit_probabilities(prior, given, along, coordinates, None, seed, device)
    voxels = _voxels(~observed, axis, coordinates.shape)
    found = predict_at(prior, fit.latent, coordinates, voxels, device)
    return dice_of(found.argmax(0), given.argmax(0).ravel()[voxels], prior.classes)


def _voxels(slices: Mask, axis: int, shape: tuple[int, ...]) -> npt.NDArray[np.intp]:
    """Return the flat indices of the voxels of some slices of a grid, in ascending order."""
    return np.flatnonzero(np.broadcast_to(_along(slices, axis, len(shape) + 1), shape))


def _along(observed: Mask, axis: int, ndim: int) -> Mask:
    """Return a mask of slices in a shape that broadcasts to the grid of a map with `ndim` axes, classes included."""
    shape = [1] * (ndim - 1)
    shape[axis] = -1
    return observed.reshape(shape)


def dice_of(
    found: npt.NDArray[Any], truth: npt.NDArray[Any], classes: Sequence[str]
) -> dict[str, float | None]:
    """Return the Dice of labels by the name of each class, and of all foreground under "all".

    Args:
        found: The label of each voxel: 0 for the background, 1 for the first class, of any shape.
        truth: The true labels, of the same shape.
        classes: The names of the classes.

    Returns:
        2 |A and B| / (|A| + |B|) for the masks A and B of each class; None for a class that is not in `truth`.
    """
    pairs = {name: (found == k, truth == k) for k, name in enumerate(classes, 1)}
    pairs[ALL] = (found > 0, truth > 0)
    return {
        name: 2 * int((p & q).sum()) / int(p.sum() + q.sum()) if q.any() else None
        for name, (p, q) in pairs.items()
    }


def table(
    prior: Prior,
    subjects: Sequence[Subject],
    axis: int = 0,
    gaps: Mapping[str, Gap] = GAPS,
    seed: int = 0,
    device: str = "auto",
    fits: Callable[[int, int], None] | None = None,
) -> tuple[Row, ...]:
    """Return the mean Dice of prior, logit and linear interpolation for each gap and class, with 95 % intervals.

    The intervals are those of the mean over subjects, by the bias-corrected and accelerated bootstrap.

    Args:
        prior: The prior.
        subjects: Subjects whose slices are all known, and which the prior was not trained on.
        axis: The spatial axis of the slices.
        gaps: The gaps, by name; a gap that leaves fewer than two slices of a subject is left out for this subject.
        seed: The seed of fits and bootstrap.
        device: "auto", "cpu", "cuda" or "cuda:N".
        fits: A function that is called after each fit with the number of fits done and of all.
    """
    rows = []
    for at, (name, observed_of) in enumerate(gaps.items()):
        found: list[Scores] = []
        for k, one in enumerate(subjects):
            observed = observed_of(one.grid.shape[axis])
            if observed.sum() >= 2 and not observed.all() and _holds_object(one, observed, axis):
                found.append(scores(prior, one, observed, axis, seed, device))
            if fits is not None:
                fits(at * len(subjects) + k + 1, len(gaps) * len(subjects))
        for label in (*prior.classes, ALL):
            for method in METHODS:
                values = [value for each in found if (value := each[method][label]) is not None]
                rows.append(Row(name, method, label, *mean_and_interval(values, seed), len(values)))
    return tuple(rows)


def _holds_object(subject: Subject, observed: Mask, axis: int) -> bool:
    return bool((subject.probabilities[1:].take(np.flatnonzero(observed), axis + 1) >= HALF).any())


def choose_steps(
    prior: Prior,
    subjects: Sequence[Subject],
    axis: int = 0,
    seed: int = 0,
    device: str = "auto",
    completion_steps: Sequence[int] = (),
) -> Prior:
    """Return the prior with the numbers of steps of both fits with which held-out subjects score best.

    Of numbers whose mean Dice is within 0.002 of the best the smallest is taken. At most 8 subjects choose, each with
    one of the gaps between observed slices, in turn.

    Args:
        prior: The prior.
        subjects: Subjects that the prior was not trained on.
        axis: The spatial axis of the slices.
        seed: The seed of the fits.
        device: "auto", "cpu", "cuda" or "cuda:N".
        completion_steps: The numbers of steps of a fit to slices, in ascending order; none for 25, 50, 100 and 200.
    """
    gaps = [observed for name, observed in GAPS.items() if name != _NOT_CHOOSING]
    choosers = [
        (one, gaps[k % len(gaps)](one.grid.shape[axis])) for k, one in enumerate(subjects[:_CHOOSERS])
    ]
    usable = [(one, seen) for one, seen in choosers if seen.sum() >= 2 and _holds_object(one, seen, axis)]

    def completed(settings: FitSettings) -> list[float]:
        trial = replace(prior, completion=settings)
        found = [_score(trial, one, seen, axis, seed, device)[ALL] for one, seen in usable]
        return [value for value in found if value is not None]

    def of_images(settings: FitSettings) -> list[float]:
        found = [_segmented(prior, one, settings, seed, device)[1][ALL] for one, _ in choosers]
        return [value for value in found if value is not None]

    completion = _best(prior.completion, completion_steps or _STEPS["completion"], completed)
    segmentation = prior.segmentation
    if prior.intensity is not None:
        segmentation = _best(segmentation, _STEPS["segmentation"], of_images)
    return replace(prior, completion=completion, segmentation=segmentation)


def _best(
    settings: FitSettings, steps: Sequence[int], measure: Callable[[FitSettings], list[float]]
) -> FitSettings:
    each = [replace(settings, steps=count) for count in steps]
    means = [float(np.mean(values)) if (values := measure(one)) else 0.0 for one in each]
    if max(means) == 0:
        return settings
    return next(one for one, mean in zip(each, means, strict=True) if mean >= max(means) - _GAIN)


def train_and_validate(
    subjects: Sequence[Subject],
    options: TrainingOptions | None = None,
    progress: Report | None = None,
    fits: Callable[[int, int], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Prior:
    """Train a prior on some subjects; the others choose the steps of its fits and make its table.

    The held-out subjects are drawn at random; at least 8 remain for the training. Their table is honest about the
    training, and slightly in favour of the prior about the steps, which were chosen on up to 8 of them.

    Args:
        subjects: All subjects; see `training.train`.
        options: The settings; `validate` is the share of the subjects that is held out.
        progress: A function that is called every 20 steps of the training.
        fits: A function that is called after each fit of the table with the number of fits done and of all.
        checkpoint: Where the state of the training is kept, and from where it goes on; see `training.train`.

    Raises:
        InputError: As `training.train`.
        FileError: As `training.train`.
    """
    options = options or TrainingOptions()
    check(subjects)
    if options.box is None:
        options = replace(options, box=Box.around([one.grid for one in subjects]).size)
    order = np.random.default_rng(options.seed).permutation(len(subjects)).tolist()
    held = set(order[: max(0, min(round(options.validate * len(subjects)), len(subjects) - FEWEST))])
    rest = [one for k, one in enumerate(subjects) if k not in held]
    prior = train(rest, options, progress, checkpoint)
    if not held:
        return prior
    others = [subjects[k] for k in sorted(held)]
    prior = choose_steps(prior, others, 0, options.seed, options.device)
    return replace(prior, validation=table(prior, others, 0, GAPS, options.seed, options.device, fits))


def segmented(
    prior: Prior, subjects: Sequence[Subject], seed: int = 0, device: str = "auto"
) -> dict[str, Any]:
    """Return how well a prior segments images of subjects that it was not trained on, from their intensities alone.

    Args:
        prior: A prior that was trained with images.
        subjects: Subjects with images.
        seed: The seed of the fits.
        device: "auto", "cpu", "cuda" or "cuda:N".

    Returns:
        The number of `subjects`; as mean, low and high (the least and the largest) the share of the variance that is
        `explained`, and the `dice` of each class and of "all" as one; a class that no subject has is left out.
    """
    shares: list[float] = []
    dice: dict[str, list[float]] = {}
    for one in subjects:
        assert one.image is not None
        latent, found = _segmented(prior, one, None, seed, device)
        shares.append(explained(prior, latent, one.image, prior.place(one.grid, one.name)[1], device))
        for name, value in found.items():
            if value is not None:
                dice.setdefault(name, []).append(value)
    return {
        "subjects": len(shares),
        "explained": _range(shares),
        "dice": {name: _range(values) for name, values in dice.items()},
    }


def _segmented(
    prior: Prior, subject: Subject, settings: FitSettings | None, seed: int, device: str
) -> tuple[Tensor, dict[str, float | None]]:
    """Fit a prior to the image of a subject; return the latent vector, and the Dice of each class."""
    assert subject.image is not None
    _, place = prior.place(subject.grid, subject.name)
    fit = fit_intensities(prior, subject.image, place, settings, seed, device)
    labels = predict(prior, fit.latent, place, device).argmax(0)
    return fit.latent, dice_of(labels, subject.probabilities.argmax(0), prior.classes)


def _range(values: Sequence[float]) -> dict[str, float]:
    return {"mean": float(np.mean(values)), "low": min(values), "high": max(values)}
