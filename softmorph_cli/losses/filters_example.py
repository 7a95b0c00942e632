"""Soft filters in training: as a loss and as a network's last layers, and clDice with a rising weight.

Run: python -m softmorph_cli.losses.filters_example filters [--data vessels-2d] [--seeds 5]
     python -m softmorph_cli.losses.filters_example alpha [--data roads] [--seeds 5]

`filters` trains a small network with cross-entropy + Dice ("none"), with a loss of skeletons added to these, and with
an opening followed by a closing as its last layers; "none, filtered afterwards" is the first network, to whose output
the same opening and closing are applied once it is trained; "true masks, filtered" says what these filters alone
change. `alpha` is the experiment of the clDice paper:
(1 - alpha) (1 - soft Dice) + alpha (1 - soft clDice) with the min/max-pool skeleton, alpha from 0 to 0.5.

All networks of a seed start from the same weights and see the same images in the same order. True vessels and roads
have a radius of at least one pixel: an opening by the smallest element keeps them. Sizes, noise and steps were settled
on seed 100. What came out is in tests/benchmarks/FILTERS.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Final, Literal, NamedTuple, Unpack

import numpy as np
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy

import softmorph_cli as sm
from softmorph_cli.errors import SoftmorphError
from softmorph_cli.examples import digits, head, positive, row, tell
from softmorph_cli.filters.modules import SoftClosing, SoftOpening, SoftSkeletonizer
from softmorph_cli.losses import training_data
from softmorph_cli.losses.channels import ChannelLoss, Channels, SkeletonLoss
from softmorph_cli.losses.cldice import SoftCLDiceLoss, SoftDiceCLDiceLoss
from softmorph_cli.losses.dice import soft_dice
from softmorph_cli.losses.example import chosen, confidence, interval, measure, train
from softmorph_cli.losses.recall import SkeletonRecallLoss

NONE: Final = "none"
TRUTH: Final = "true masks, filtered"
ALPHAS: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
# Pairs of arms that are also compared with each other, not only with the first arm.
PAIRS: Final = (
    ("last layers, minmax", "none, filtered afterwards"),
    ("last layers, multilinear", "last layers, minmax"),
)
# The weight of a loss of skeletons beside cross-entropy + Dice, which have the weight 1 each.
WEIGHT: Final = 0.5
RADIUS: Final = (1.0, 1.8)
SIDE = {2: 48, 3: 24}
# Where the last convolution's weights all become negative, no logit exceeds its bias, which then has to rise above 0
# before anything is drawn. 120 steps were too few for it on seed 101 at rates of 0.005 and 0.01.
STEPS_3D: Final = 250
RATE_3D: Final = 2e-2
TRAINING = 120
TEST = 40
TREE: Final = "sample_data/vessel_tree.nii.gz"

# Endless pairs of an image and its mask: those for training, and those for testing.
Streams = tuple[Iterator[training_data.Pair], Iterator[training_data.Pair]]


class CrossEntropyDice(ChannelLoss):
    """Binary cross-entropy + soft Dice loss, of probabilities."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch."""
        p, g = self.pair(input, target)
        # Last layers can give exact 0 and 1, where the derivative of cross-entropy is infinite.
        entropy = binary_cross_entropy(p.clamp(1e-6, 1 - 1e-6), g)
        return entropy + 1 - soft_dice(p, g, smooth_nr=1, smooth_dr=1).mean()


class SkeletonDiceLoss(SkeletonLoss):
    """The Dice loss between the soft skeletons of input and target: nested, exact, values up to 0.25 as background."""

    def __init__(self, **channels: Unpack[Channels]) -> None:
        """Make the loss and its skeletonizer."""
        super().__init__(**channels)
        self.skeletonizer = SoftSkeletonizer(method="nested", levels="exact", lowest=0.25)

    def forward(self, input: Tensor, target: Tensor, target_skeleton: Tensor | None = None) -> Tensor:
        """Return the loss of a batch."""
        p, g = self.pair(input, target)
        skeletons = self.skeletonized(p), self.skeleton_of_target(g, target_skeleton)
        return 1 - soft_dice(*skeletons, smooth_nr=1, smooth_dr=1).mean()

    def skeletonized(self, batch: Tensor) -> Tensor:
        """Return the soft skeletons of a batch (B, C, [D,] H, W)."""
        skeleton: Tensor = self.skeletonizer(batch)
        return skeleton


class WithSkeletons(SkeletonLoss):
    """`CrossEntropyDice` + `WEIGHT` times a loss of skeletons."""

    def __init__(self, term: SkeletonLoss) -> None:
        """Make the sum of the losses."""
        super().__init__()
        self.base, self.term = CrossEntropyDice(), term

    def forward(self, input: Tensor, target: Tensor, target_skeleton: Tensor | None = None) -> Tensor:
        """Return the loss of a batch."""
        total: Tensor = self.base(input, target) + WEIGHT * self.term(input, target, target_skeleton)
        return total

    def skeletonized(self, batch: Tensor) -> Tensor:
        """Return the skeletons that the added loss compares."""
        return self.term.skeletonized(batch)


class Arm(NamedTuple):
    """One way of training, or of filtering without training.

    Attributes:
        loss: Constructor of the loss.
        layers: Constructor of the layers after the sigmoid.
        filtered: What the layers are applied to instead of being trained: the output of the network of the arm `NONE`,
            or the true masks; None if a network is trained.
    """

    loss: Callable[[], ChannelLoss]
    layers: Callable[[], list[nn.Module]] = list
    filtered: Literal["none", "truth"] | None = None


class Measure(NamedTuple):
    """A column of a table: a metric of `softmorph evaluate`, its title, and the number of decimals."""

    name: str
    title: str
    decimals: int = 3


class Table(NamedTuple):
    """An experiment: its arms, of which the first is the baseline, and the columns before the seconds."""

    arms: Mapping[str, Arm]
    measures: tuple[Measure, ...]


class Data(NamedTuple):
    """Where pairs of an image and a mask come from, and how a network is trained on them.

    Attributes:
        source: Function of a seed's generator and the path of the tree, which returns the pairs.
        dimensions: 2 or 3.
        batch: Number of images of a step.
        steps: Number of steps.
        rate: Learning rate at the beginning.
    """

    source: Callable[[np.random.Generator, str], Streams]
    dimensions: int
    batch: int
    steps: int
    rate: float


def opening_closing(method: str) -> list[nn.Module]:
    """Return an opening and a closing by the smallest element (4 neighbours, 6 in 3D), as layers."""
    return [SoftOpening(method=method), SoftClosing(method=method)]


def _skeletons(make: Callable[[], SkeletonLoss]) -> Arm:
    return Arm(lambda: WithSkeletons(make()))


def _cldice(alpha: float) -> Arm:
    return Arm(partial(SoftDiceCLDiceLoss, 3, alpha))


FILTERS: Final = {
    NONE: Arm(CrossEntropyDice),
    "clDice, min/max-pool": _skeletons(partial(SoftCLDiceLoss, 3)),
    "clDice, nested": _skeletons(partial(SoftCLDiceLoss, method="nested", levels="exact", lowest=0.25)),
    "skeleton recall": _skeletons(SkeletonRecallLoss),
    "Dice of soft skeletons": _skeletons(SkeletonDiceLoss),
    "last layers, minmax": Arm(CrossEntropyDice, partial(opening_closing, "minmax")),
    "last layers, multilinear": Arm(CrossEntropyDice, partial(opening_closing, "multilinear")),
    "none, filtered afterwards": Arm(CrossEntropyDice, partial(opening_closing, "minmax"), "none"),
    TRUTH: Arm(CrossEntropyDice, partial(opening_closing, "minmax"), "truth"),
}
_BETTI: Final = (
    Measure("betti_0_error", "b0 error", 2),
    Measure("betti_1_error", "b1 error", 2),
    Measure("betti_2_error", "b2 error", 2),
)
_DICE, _CLDICE = Measure("dice", "Dice"), Measure("cldice", "clDice")
TABLES: Final = {
    "filters": Table(FILTERS, (_DICE, _CLDICE, *_BETTI)),
    "alpha": Table(
        {f"alpha {alpha:g}": _cldice(alpha) for alpha in ALPHAS},
        (
            _DICE,
            Measure("accuracy", "accuracy", 4),
            _CLDICE,
            *_BETTI,
            Measure("euler_error", "Euler error", 2),
            Measure("smd", "StreetMover", 4),
            Measure("opt_j_f1", "Opt-J F1"),
        ),
    ),
}


def _endless(make: Callable[[], training_data.Pair]) -> Iterator[training_data.Pair]:
    while True:
        yield make()


def _vessels(dimensions: int, rng: np.random.Generator, _: str) -> Streams:
    shape = (SIDE[dimensions],) * dimensions
    pairs = _endless(partial(training_data.vessels, rng, shape, RADIUS))
    return pairs, pairs


def _roads(rng: np.random.Generator, _: str) -> Streams:
    pairs = _endless(partial(training_data.roads, rng, (SIDE[2], SIDE[2]), RADIUS))
    return pairs, pairs


def _digits(rng: np.random.Generator, _: str) -> Streams:
    # Sorted by class: in a random order no digit is met twice.
    every, _classes = digits()
    pairs = (training_data.strokes(rng, digit) for digit in rng.permutation(every))
    return pairs, pairs


def _tree(rng: np.random.Generator, path: str) -> Streams:
    whole = sm.read(path).array
    half = whole.shape[2] // 2
    left, right = (
        _endless(partial(training_data.patch, rng, part, SIDE[3]))
        for part in (whole[..., :half], whole[..., half:])
    )
    return left, right


DATA: Final = {
    "vessels-2d": Data(partial(_vessels, 2), 2, 4, 200, 1e-2),
    "vessels-3d": Data(partial(_vessels, 3), 3, 2, STEPS_3D, RATE_3D),
    "roads": Data(_roads, 2, 4, 200, 1e-2),
    "digits": Data(_digits, 2, 8, 200, 1e-2),
    "tree": Data(_tree, 3, 2, STEPS_3D, RATE_3D),
}


def trained(arm: Arm, data: Data, seed: int, steps: int, images: Tensor, masks: Tensor) -> nn.Module:
    """Return a network with the arm's layers, trained with its loss; it gives probabilities."""
    layers = [nn.Sigmoid(), *arm.layers()]
    return train(arm.loss(), seed, steps, images, masks, layers=layers, batch=data.batch, rate=data.rate)


def run_seed(
    arms: Mapping[str, Arm], data: Data, seed: int, steps: int, tree: str, names: Sequence[str]
) -> Iterator[tuple[str, list[float]]]:
    """Train a network for each arm, and return its name, its measures on other images, and the seconds of training.

    Seconds are those of the processor, per 100 steps.
    """
    rng = np.random.default_rng(seed)
    training, (images, masks) = (
        training_data.batched(islice(pairs, count))
        for pairs, count in zip(data.source(rng, tree), (TRAINING, TEST), strict=True)
    )
    networks: dict[str, nn.Module] = {}
    for name, arm in arms.items():
        started = time.process_time()
        if arm.filtered is None:
            network = networks[name] = trained(arm, data, seed, steps, *training)
        else:
            given = networks[NONE] if arm.filtered == "none" else nn.Identity()
            network = nn.Sequential(given, *arm.layers())
        seconds = (time.process_time() - started) * 100 / steps
        shown = masks if arm.filtered == "truth" else images
        yield name, [*measure(network, shown, masks, names, 0.5), seconds]


def table(rows: Mapping[str, Sequence[Sequence[float]]], measures: Sequence[Measure]) -> list[str]:
    """Return a Markdown table: the baseline's means, and the mean paired differences of the other arms from them.

    Args:
        rows: For each arm, the baseline first, its measures of each seed, followed by the seconds.
        measures: The columns before the seconds.
    """
    (baseline, alone), *_ = rows.items()
    lines = head(f"minus {baseline}", *(one.title for one in measures), "CPU s / 100 steps")
    for name, found in rows.items():
        *means, seconds = np.mean(found, axis=0)
        gains = np.asarray(found) - np.asarray(alone)
        absolute = name in (baseline, TRUTH)
        if absolute:
            cells = [f"{mean:.{one.decimals}f}" for mean, one in zip(means, measures, strict=True)]
        else:
            cells = [interval(gains[:, k], one.decimals) for k, one in enumerate(measures)]
        shown = f"{name} (absolute)" if absolute else name
        lines.append(row(shown, *cells, f"{seconds:.1f}"))
    return lines


def paired(
    rows: Mapping[str, Sequence[Sequence[float]]], measures: Sequence[Measure], name: str, other: str
) -> list[str]:
    """Return a Markdown table: one arm minus another, and on how many seeds the difference is positive.

    Args:
        rows: For each arm its measures of each seed.
        measures: The columns.
        name: The arm whose measures are taken.
        other: The arm whose measures are subtracted.
    """
    gains = np.asarray(rows[name]) - np.asarray(rows[other])
    above = (gains > 0).sum(axis=0)
    return [
        *head(f"minus {other}", *(one.title for one in measures)),
        row(name, *(interval(gains[:, k], one.decimals) for k, one in enumerate(measures))),
        row(f"seeds above, of {len(gains)}", *(str(above[k]) for k in range(len(measures)))),
    ]


def trends(
    rows: Mapping[str, Sequence[Sequence[float]]],
    measures: Sequence[Measure],
    alphas: Sequence[float] = ALPHAS,
) -> list[str]:
    """Return a Markdown table: the slope of each measure in alpha, fitted to each seed, with its interval.

    Args:
        rows: For each alpha of `ALPHAS`, its measures of each seed.
        measures: The columns.
        alphas: The first of `ALPHAS`, to which the lines are fitted.
    """
    found = np.asarray(list(rows.values()))[: len(alphas)]
    centred = np.asarray(alphas) - np.mean(alphas)
    # Rounded, because the slope of a measure that no alpha changes is not exactly 0, and would seem to be a trend.
    slopes = np.round(np.tensordot(centred, found, 1) / (centred**2).sum() / 10, 12)
    texts, words = [], []
    for k, one in enumerate(measures):
        low, high = confidence(slopes[:, k])
        texts.append(interval(slopes[:, k], one.decimals + 1))
        words.append("rises" if low > 0 else "falls" if high < 0 else "no trend")
    return [
        *head(f"for each 0.1 of alpha, 0 to {alphas[-1]:g}", *(one.title for one in measures)),
        row("slope", *texts),
        row("trend", *words),
    ]


def main(arguments: list[str] | None = None) -> None:
    """Train all networks of all seeds, and print the table of their measures on test images."""
    parser = argparse.ArgumentParser(
        prog="python -m softmorph_cli.losses.filters_example",
        description="Trains a small network with soft filters in its loss or as its last layers.",
    )
    parser.add_argument("table", choices=TABLES, help="the experiment")
    parser.add_argument("--data", choices=DATA, default="vessels-2d", help="default vessels-2d")
    parser.add_argument("--tree", default=TREE, help=f"the map of --data tree (default {TREE})")
    parser.add_argument("--seeds", type=positive, default=5, help="how many (default 5)")
    parser.add_argument("--first-seed", type=int, default=0, help="the first of them (default 0)")
    parser.add_argument("--steps", type=positive, help=f"of training (default 200, in 3D {STEPS_3D})")
    parser.add_argument("--arms", nargs="+", metavar="ARM", help="beside the first (default all)")
    options = parser.parse_args(arguments)
    table_of, data = TABLES[options.table], DATA[options.data]
    arms = chosen(parser, table_of.arms, options.arms)
    measures = [one for one in table_of.measures if data.dimensions == 3 or one.name != "betti_2_error"]
    rows: dict[str, list[list[float]]] = {name: [] for name in arms}
    tell(f"{'':<10}{'':<28}" + "".join(f"{title:>13}" for title in (*(m.title for m in measures), "seconds")))
    try:
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            for name, found in run_seed(
                arms, data, seed, options.steps or data.steps, options.tree, [one.name for one in measures]
            ):
                rows[name].append(found)
                tell(f"seed {seed:<5}{name:<28}" + "".join(f"{value:>13.4f}" for value in found))
    except SoftmorphError as wrong:
        parser.error(str(wrong))
    tell(f"\n{options.data}, {options.seeds} seeds, means ± 95 % intervals\n")
    for line in table(rows, measures):
        tell(line)
    for name, other in PAIRS:
        if {name, other} <= rows.keys():
            tell("")
            for line in paired(rows, measures, name, other):
                tell(line)
    if options.table == "alpha" and len(arms) == len(ALPHAS) and options.seeds > 1:
        # With the greatest alpha some networks draw everything, which no line describes.
        for alphas in (ALPHAS, ALPHAS[:-1]):
            tell("")
            for line in trends(rows, measures, alphas):
                tell(line)


if __name__ == "__main__":
    main()
