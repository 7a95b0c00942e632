"""The effect of clDice on training: a small network on drawn vessels, with Dice alone and with Dice + clDice.

Run: python -m softmorph_cli.losses.example [--dimensions 3] [--seeds 3]     (a seed takes 2 minutes, in 3D 4)

The vessels are thin, the images noisy, and in places the contrast vanishes: a loss of areas tolerates gaps in
such places, a loss of skeletons does not. All networks of a seed start from the same weights and see the same images in
the same order. The difficulty of the images, each loss's alpha, the lowest value of the nested skeleton and the number
of steps were chosen on seeds 100 and 101 in 2D (radius, learning rate and steps in 3D on seed 100 with Dice alone). By
then other forms of the nested skeleton had been run on other seeds, but none of these settings. Runs of one seed differ
slightly: the number of threads alone changes clDice by about 0.003.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

import softmorph_cli as sm
from softmorph_cli.errors import UsageError
from softmorph_cli.examples import positive, tell
from softmorph_cli.losses.channels import SkeletonLoss
from softmorph_cli.losses.cldice import SoftDiceCLDiceLoss
from softmorph_cli.losses.dice import SoftDiceLoss
from softmorph_cli.losses.training_data import batched, vessels

T = TypeVar("T")

# By the number of dimensions.
SIZE: Final = {2: 64, 3: 32}
TRAINING: Final = {2: 200, 3: 60}
TEST: Final = {2: 100, 3: 40}
BATCH: Final = {2: 8, 3: 2}
WIDTH: Final = {2: 8, 3: 6}
STEPS: Final = {2: 300, 3: 200}
RATE: Final = {2: 3e-3, 3: 2e-2}
RADIUS: Final = {2: (0.8, 1.5), 3: (1.0, 1.8)}
# Enough for predictions that are thicker than the vessels.
ITERATIONS: Final = 3
# Titles of the columns, and the names of their metrics.
MEASURES: Final = {
    "Dice": "dice",
    "clDice": "cldice",
    "b0 error": "betti_0_error",
    "b1 error": "betti_1_error",
}


def _dice_and_cldice(
    default_alpha: float, iterations: int | None, method: str, **how: Any
) -> Callable[[float | None], nn.Module]:
    """Return a constructor of Dice + clDice, which takes alpha, or None for `default_alpha`."""
    return lambda alpha: SoftDiceCLDiceLoss(
        iterations, default_alpha if alpha is None else alpha, method, sigmoid=True, **how
    )


LOSSES: Final[dict[str, Callable[[float | None], nn.Module]]] = {
    "Dice": lambda _: SoftDiceLoss(sigmoid=True, smooth_nr=1, smooth_dr=1),
    "Dice + clDice, cldice": _dice_and_cldice(0.3, ITERATIONS, "cldice"),
    "Dice + clDice, smooth-levels": _dice_and_cldice(0.3, ITERATIONS, "smooth-levels", smooth_levels=4),
    "Dice + clDice, nested, exact": _dice_and_cldice(0.5, None, "nested", levels="exact", lowest=0.25),
    "Dice + clDice, nested, 16": _dice_and_cldice(0.5, None, "nested", levels=16, surrogate=True),
}


def draw(count: int, rng: np.random.Generator, dimensions: int = 2) -> tuple[Tensor, Tensor]:
    """Return images of vessels, drawn at random on an inhomogeneous, noisy background, and their masks.

    Returns:
        The images, and the masks of 0 and 1, each of shape (count, 1, [D,] H, W).
    """
    shape = (SIZE[dimensions],) * dimensions
    return batched(vessels(rng, shape, RADIUS[dimensions]) for _ in range(count))


def conv_block(channels: int, width: int, dimensions: int = 2) -> nn.Sequential:
    """Return two convolutions, each with batch normalisation and ReLU, from `channels` to `width` channels."""
    conv: Any = nn.Conv2d if dimensions == 2 else nn.Conv3d
    norm: Any = nn.BatchNorm2d if dimensions == 2 else nn.BatchNorm3d
    layers: list[nn.Module] = []
    for given in (channels, width):
        layers += [conv(given, width, 3, padding=1), norm(width), nn.ReLU()]
    return nn.Sequential(*layers)


class SmallUNet(nn.Module):
    """A U-Net with two downsamplings and 30,000 (3D: 50,000) weights, whose output are logits."""

    def __init__(self, dimensions: int = 2, outputs: int = 1) -> None:
        super().__init__()
        width = WIDTH[dimensions]
        widths = (1, width, 2 * width, 4 * width)
        self.down = nn.ModuleList([conv_block(*pair, dimensions) for pair in itertools.pairwise(widths)])
        pairs = ((6 * width, 2 * width), (3 * width, width))
        self.up = nn.ModuleList([conv_block(*pair, dimensions) for pair in pairs])
        self.last = (nn.Conv2d if dimensions == 2 else nn.Conv3d)(width, outputs, 1)
        self.pool = (nn.MaxPool2d if dimensions == 2 else nn.MaxPool3d)(2)
        self.mode = "bilinear" if dimensions == 2 else "trilinear"

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (B, outputs, [D,] H, W) of a batch of images (B, 1, [D,] H, W)."""
        kept = [self.down[0](images)]
        for block in list(self.down)[1:]:
            kept.append(block(self.pool(kept[-1])))
        values = kept.pop()
        for block in self.up:
            larger = nn.functional.interpolate(values, scale_factor=2, mode=self.mode)
            values = block(torch.cat([larger, kept.pop()], 1))
        logits: Tensor = self.last(values)
        return logits


def train(
    loss: nn.Module,
    seed: int,
    steps: int,
    images: Tensor,
    masks: Tensor,
    *,
    layers: Sequence[nn.Module] = (),
    batch: int | None = None,
    rate: float | None = None,
) -> nn.Module:
    """Return a network that `steps` steps of Adam on random batches have trained to minimise a loss.

    Args:
        loss: Loss of the network's output and the masks.
        seed: Seed of the weights and the batches.
        steps: Number of steps.
        images: Images (N, 1, [D,] H, W).
        masks: Their masks, of the same shape.
        layers: Layers that follow the U-Net's logits.
        batch: Number of images of a step; default 8, in 3D 2.
        rate: Learning rate at the beginning; default 0.003, in 3D 0.02.
    """
    torch.manual_seed(seed)
    dimensions = images.ndim - 2
    network = nn.Sequential(SmallUNet(dimensions), *layers).train()
    optimizer = torch.optim.Adam(network.parameters(), rate or RATE[dimensions])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    skeletons = loss.skeleton(masks) if isinstance(loss, SkeletonLoss) else None
    for _ in range(steps):
        chosen = torch.randint(len(images), (batch or BATCH[dimensions],))
        more = () if skeletons is None else (skeletons[chosen],)
        optimizer.zero_grad()
        loss(network(images[chosen]), masks[chosen], *more).backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def measure(
    network: nn.Module,
    images: Tensor,
    masks: Tensor,
    metrics: Sequence[str] = tuple(MEASURES.values()),
    threshold: float = 0.0,
) -> tuple[float, ...]:
    """Return the means over the images of metrics between predictions and masks.

    Args:
        network: Network that returns logits or probabilities.
        images: Images (N, 1, [D,] H, W).
        masks: Their masks, of the same shape.
        metrics: Names of metrics of `softmorph evaluate`. A mean leaves out the images for which one is not defined.
        threshold: The prediction is where the network's output is above this value: 0 for logits.
    """
    with torch.no_grad():
        found = (network(images) > threshold).numpy()[:, 0]
    each = [
        [*sm.evaluate(p, g, metrics=list(metrics)).metrics().values()]
        for p, g in zip(found, masks.numpy()[:, 0] > 0.5, strict=True)
    ]
    return tuple(np.nanmean(np.array(each, float), axis=0).tolist())


def main(arguments: list[str] | None = None) -> None:
    """Train all networks of all seeds and print their measures on test images."""
    parser = argparse.ArgumentParser(
        prog="python -m softmorph_cli.losses.example",
        description="Trains a tiny network on drawn vessels, with Dice alone and with clDice beside it.",
    )
    parser.add_argument("--dimensions", type=int, choices=(2, 3), default=2, help="of the images (default 2)")
    parser.add_argument("--seeds", type=positive, default=3, help="how many (default 3)")
    parser.add_argument("--first-seed", type=int, default=0, help="the first of them (default 0)")
    parser.add_argument("--steps", type=positive, help="of training (default 300, in 3D 200)")
    parser.add_argument(
        "--alpha", type=float, help="the weight of clDice, 0 to 0.5 (default 0.3, with nested skeletons 0.5)"
    )
    parser.add_argument("--losses", nargs="+", metavar="LOSS", help="beside the first (default all)")
    options = parser.parse_args(arguments)
    dimensions = options.dimensions
    try:
        losses = {name: make(options.alpha) for name, make in chosen(parser, LOSSES, options.losses).items()}
    except UsageError as wrong:
        parser.error(str(wrong))
    rows: dict[str, list[tuple[float, ...]]] = {name: [] for name in losses}
    _print_row("", "trained with", *MEASURES, "seconds")
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        rng = np.random.default_rng(seed)
        training, test = (draw(count[dimensions], rng, dimensions) for count in (TRAINING, TEST))
        for name, loss in losses.items():
            started = time.perf_counter()
            network = train(loss, seed, options.steps or STEPS[dimensions], *training)
            seconds = time.perf_counter() - started
            rows[name].append(measure(network, *test))
            _print_row(f"seed {seed}", name, *rows[name][-1], seconds)
    for name, found in rows.items():
        _print_row("mean", name, *np.mean(found, axis=0).tolist())
    for line in verdict(rows):
        tell(line)


def chosen(
    parser: argparse.ArgumentParser, every: Mapping[str, T], names: Sequence[str] | None
) -> dict[str, T]:
    """Return the first of some ways to train and those that are named, in their order; all of them without names."""
    unknown = [name for name in names or () if name not in every]
    if unknown:
        parser.error(f"no {unknown[0]!r}: use some of {', '.join(map(repr, every))}")
    first = next(iter(every))
    return {name: one for name, one in every.items() if names is None or name in (first, *names)}


def verdict(rows: Mapping[str, Sequence[tuple[float, ...]]]) -> list[str]:
    """Return a sentence for each loss with its mean differences from the first loss and 95 % confidence intervals."""
    (baseline, alone), *others = rows.items()
    lines = []
    for name, found in others:
        gains = np.asarray(found) - np.asarray(alone)
        changes = (f"{measure} {interval(gains[:, k])}" for k, measure in enumerate(MEASURES))
        better = (gains[:, list(MEASURES).index("clDice")] > 0).sum()
        lines.append(
            f"{name} minus {baseline}: {', '.join(changes)}; clDice is above on {better} of {len(gains)} seeds."
        )
    return lines


def confidence(gains: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the ends of the 95 % confidence interval of the mean of differences; of one, twice the difference."""
    mean = float(gains.mean())
    if len(gains) == 1:
        return mean, mean
    from scipy.stats import sem, t

    half = float(t.ppf(0.975, len(gains) - 1) * sem(gains))
    return mean - half, mean + half


def interval(gains: npt.NDArray[np.float64], decimals: int = 3) -> str:
    """Return the mean of differences as text, with half the width of its 95 % confidence interval if several."""
    low, high = confidence(gains)
    mean = f"{(low + high) / 2:+.{decimals}f}"
    return mean if len(gains) == 1 else f"{mean} ± {(high - low) / 2:.{decimals}f}"


def _print_row(seed: str, name: str, *cells: str | float) -> None:
    shown = (cell if isinstance(cell, str) else f"{cell:.3f}" for cell in cells)
    tell(f"{seed:<10}{name:<30}{''.join(f'{text:>10}' for text in shown)}")


if __name__ == "__main__":
    main()
