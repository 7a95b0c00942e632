"""The effect of the topological loss on training: experiments after Clough et al. and Byrne et al., on data at hand.

Run: python -m softmorph_cli.losses.topology_example [--experiment hearts] [--seeds 5] [--labelled 50] [--weight 0.1]

A few images have masks; of all others only the Betti numbers of their classes are known.

- digits: the strokes of degraded digits, 50 of which have masks; b0 and b1 are those of the digit's class (Clough et
  al., TPAMI 2020). The class is known, and yet the strokes of about a fifth of all digits have another topology.
- hearts: ventricles and myocardium in short-axis slices, and unions of them (Byrne et al., 2022). The hearts are drawn:
  no package has cardiac images with labels.
- blobs: one piece without loops and cavities in 3D, as a placenta is (Clough et al.). The blobs are drawn.

Each seed trains a network with cross-entropy on the images with masks, stops half-way, and goes on with two copies of
it: one with cross-entropy, one with cross-entropy + weight x topological loss of the other images. Beside each network
are its predictions changed by `topology.repair` until they have the topology. What is measured, on images of neither
kind: Dice; the share of images that meet all priors; by how much Betti numbers are off, on average over the priors; and
processor time, of both phases and of the repair. The settings were chosen on seed 100. What came out is in
tests/benchmarks/TOPOLOGY.md.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from softmorph_cli.examples import head, positive, row, tell
from softmorph_cli.losses.example import SmallUNet, interval
from softmorph_cli.losses.topological import TopologicalLoss
from softmorph_cli.losses.topology_data import HEART_PRIORS, Samples, Sets, blob_sets, digit_sets, heart_sets
from softmorph_cli.topology.prior import NAMES, Prior
from softmorph_cli.topology.repair import Repairer

Array = npt.NDArray[np.float32]


class Experiment(NamedTuple):
    """An experiment: its data, its classes and their priors, and the defaults of training."""

    draw: Callable[[int, int, np.random.Generator], tuple[Sets, str]]
    priors: tuple[Prior, ...]  # the Betti numbers of a sample replace those of these
    outputs: int  # channels of the network; several exclude each other, and the first is the background
    labelled: int
    test: int
    steps: int  # of each of the two phases
    batch: int
    rate: float
    weight: float  # of the topological loss, which is a sum over bars: less in larger images


EXPERIMENTS: Final = {
    "digits": Experiment(digit_sets, (Prior((0,), (1, 0)),), 1, 50, 200, 300, 16, 3e-3, 0.1),
    "hearts": Experiment(heart_sets, HEART_PRIORS, 4, 10, 60, 300, 8, 3e-3, 0.1),
    "blobs": Experiment(blob_sets, (Prior((0,), (1, 0, 0)),), 1, 5, 30, 150, 2, 1e-2, 0.02),
}
ARMS: Final = ("cross-entropy, stopped early", "cross-entropy, twice as long", "cross-entropy + topology")
REPAIRED: Final = ", repaired"


def train(
    network: nn.Module, experiment: Experiment, sets: Sets, steps: int, weight: float, seed: int
) -> list[float]:
    """Train a network in place by steps of Adam and return the loss of each step.

    Args:
        network: The network, whose output are logits.
        experiment: The priors, the size of a batch and the rate.
        sets: The samples.
        steps: Number of steps.
        weight: Weight of the topological loss; with 0 the samples without masks are not used.
        seed: Seed of the batches. The batches of samples with masks are the same with every weight.
    """
    ours, theirs = (torch.Generator().manual_seed(2 * seed + k) for k in range(2))
    several = experiment.outputs > 1
    criterion = cross_entropy if several else binary_cross_entropy_with_logits
    topology = TopologicalLoss(experiment.priors, sigmoid=not several, softmax=several)
    optimizer = torch.optim.Adam(network.train().parameters(), experiment.rate)
    losses = []
    for _ in range(steps):
        batch = _batch(sets.labelled, experiment.batch, ours)
        loss = criterion(network(batch.images), batch.masks)
        if weight:
            batch = _batch(sets.further, experiment.batch, theirs)
            loss = loss + weight * topology(network(batch.images), priors=batch.betti)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    return losses


def _batch(samples: Samples, size: int, generator: torch.Generator) -> Samples:
    return samples.take(torch.randint(len(samples.images), (size,), generator=generator))


@torch.no_grad()
def predicted(network: nn.Module, images: Tensor) -> Array:
    """Return the probabilities (N, C, [D,] H, W) of a network in evaluation mode."""
    logits = network.eval()(images)
    found: Array = (logits.softmax(1) if logits.shape[1] > 1 else logits.sigmoid()).numpy()
    return found


def repairer_of(experiment: Experiment) -> Repairer:
    """Return the repair of the predictions of an experiment."""
    return Repairer(kind="complete" if experiment.outputs > 1 else "apart")


def priors_of(experiment: Experiment, betti: Tensor) -> list[Prior]:
    """Return the priors of one sample, whose Betti numbers have shape (P, d)."""
    pairs = zip(experiment.priors, betti.tolist(), strict=True)
    return [Prior(prior.channels, tuple(numbers)) for prior, numbers in pairs]


def repaired(found: Array, experiment: Experiment, betti: Tensor) -> Array:
    """Return predictions (N, C, [D,] H, W), each changed by `Repairer` to have the Betti numbers of its sample."""
    repairer = repairer_of(experiment)
    pairs = zip(found, betti, strict=True)
    return np.stack([repairer.repair(one, priors_of(experiment, numbers)).array for one, numbers in pairs])


def measure(found: Array, experiment: Experiment, test: Samples) -> tuple[float, ...]:
    """Return means over the samples: Dice of the foreground, all priors met, and the error of each Betti number."""
    truth = test.masks.numpy() > 0
    mask = found > 0.5
    first = int(experiment.outputs > 1)
    space = tuple(range(2, mask.ndim))
    overlap, size = ((one[:, first:]).sum(space) for one in (mask & truth, mask.astype(int) + truth))
    repairer = repairer_of(experiment)
    counted = [[betti.numbers for betti in repairer.betti_numbers(one, experiment.priors)] for one in found]
    off = np.abs(np.array(counted) - test.betti.numpy())
    return (
        float((2 * overlap / size).mean()),
        float((off == 0).all((1, 2)).mean()),
        *off.mean((0, 1)).tolist(),
    )


def run(
    experiment: Experiment, sets: Sets, steps: int, weight: float, seed: int
) -> dict[str, tuple[float, ...]]:
    """Return the measures of each arm, and of each arm with repaired predictions; the last is processor time."""
    torch.manual_seed(seed)
    early = SmallUNet(sets.test.images.ndim - 2, experiment.outputs)
    rows = {}
    seconds = 0.0
    for name, weighed in zip(ARMS, (0, 0, weight), strict=True):
        second = name != ARMS[0]
        network = copy.deepcopy(early) if second else early
        started = time.process_time()
        train(network, experiment, sets, steps, weighed, 2 * seed + second)
        spent = time.process_time() - started + seconds
        if not second:
            seconds = spent
        found = predicted(network, sets.test.images)
        rows[name] = (*measure(found, experiment, sets.test), spent)
        started = time.process_time()
        changed = repaired(found, experiment, sets.test.betti)
        rows[name + REPAIRED] = (
            *measure(changed, experiment, sets.test),
            spent + time.process_time() - started,
        )
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Train the networks of all seeds and print their measures on test images."""
    parser = argparse.ArgumentParser(
        prog="python -m softmorph_cli.losses.topology_example",
        description="Trains a small network with few masks, with and without the topological loss.",
    )
    parser.add_argument("--experiment", choices=EXPERIMENTS, default="digits", help="default digits")
    parser.add_argument("--seeds", type=positive, default=5, help="how many (default 5)")
    parser.add_argument("--first-seed", type=int, default=0, help="they count up from here (default 0)")
    parser.add_argument(
        "--labelled", type=positive, help="images with masks (default 50; hearts 10, blobs 5)"
    )
    parser.add_argument("--weight", type=float, help="of the topological loss (default 0.1; blobs 0.02)")
    parser.add_argument("--steps", type=positive, help="of each phase (default 300; blobs 150)")
    options = parser.parse_args(arguments)
    experiment = EXPERIMENTS[options.experiment]
    weight = experiment.weight if options.weight is None else options.weight
    rows: dict[str, list[tuple[float, ...]]] = {}
    ceilings, said = [], ""
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        labelled = options.labelled or experiment.labelled
        sets, source = experiment.draw(labelled, experiment.test, np.random.default_rng(seed))
        if source != said:
            tell(f"Images: {source}.")
            said = source
        ceilings.append(measure(sets.test.masks.numpy(), experiment, sets.test)[1])
        for name, found in run(experiment, sets, options.steps or experiment.steps, weight, seed).items():
            rows.setdefault(name, []).append(found)
            tell(f"seed {seed}: {name}: " + ", ".join(f"{value:.3f}" for value in found))
    shown = " / ".join(f"{share:.3f}" for share in ceilings)
    tell(f"\nThe priors are met by this share of the test images' true masks, seed by seed: {shown}.\n")
    for line in (*table(rows, NAMES[: len(experiment.priors[0].betti)]), "", verdict(rows)):
        tell(line)


def table(rows: Mapping[str, Sequence[tuple[float, ...]]], numbers: Sequence[str]) -> list[str]:
    """Return a Markdown table of the means of each arm."""
    count = len(next(iter(rows.values())))
    off = (f"{name} off" for name in numbers)
    lines = head(f"{count} seeds", "Dice", "priors met", *off, "CPU s")
    for name, found in rows.items():
        *means, seconds = np.mean(found, axis=0).tolist()
        lines.append(row(name, *(f"{mean:.3f}" for mean in means), f"{seconds:.1f}"))
    return lines


def verdict(rows: Mapping[str, Sequence[tuple[float, ...]]]) -> str:
    """Return a sentence on the differences between the topological loss and cross-entropy trained as long."""
    _, longer, topology = (np.asarray(rows[name]) for name in ARMS)
    gains = topology - longer
    shares = ", ".join(f"{gain:+.3f}" for gain in gains[:, 1])
    return (
        f"{ARMS[2]} minus {ARMS[1]}, with 95 % intervals: Dice {interval(gains[:, 0])}, priors met "
        f"{interval(gains[:, 1])} (seed by seed {shares})."
    )


if __name__ == "__main__":
    main()
