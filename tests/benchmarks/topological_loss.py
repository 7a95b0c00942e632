"""Forward and backward of the topological loss of batches, beside the same loss by gudhi's cubical complex.

Run: OMP_NUM_THREADS=1 python tests/benchmarks/topological_loss.py [--repeats 5]     (four minutes, mostly gudhi's)

The losses take turns in one run, and the smallest time of each counts: seconds, and CPU seconds of all threads. gudhi
has one thread. "any loops" is a prior with any number of loops; "patch" is `patch=32` with the Betti numbers of a
target, counted before; "random" is one such patch of each item, with a count in each call. "Betti
matching" is another loss, of the same maps and the target.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from softmorph_cli.bench import maps
from softmorph_cli.losses import BettiMatchingLoss, TopologicalLoss
from softmorph_cli.system import machine

SHAPES = ((32, 1, 28, 28), (16, 1, 128, 128), (4, 1, 64, 64, 64))
OURS, GUDHI = "whole maps", "gudhi"
MIN_LENGTH = 0.05
Step = Callable[[Tensor], Tensor]


def batches(shape: tuple[int, ...]) -> tuple[dict[str, Tensor], Tensor]:
    """Return logits by name, and a target."""
    drawn = np.stack([maps.vessels(shape[2:], seed) for seed in range(shape[0])])[:, None]
    vessels = torch.from_numpy(drawn)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    logits = torch.logit(vessels.clamp(0.001, 0.999))
    torch.manual_seed(0)
    layer = nn.Conv2d if len(shape) == 4 else nn.Conv3d
    layers = [
        layer(1, 8, 3, padding=1),
        nn.ReLU(),
        layer(8, 8, 3, padding=1),
        nn.ReLU(),
        layer(8, 1, 3, padding=1),
    ]
    with torch.no_grad():
        untrained = nn.Sequential(*layers)(vessels + 0.3 * noise)
    given = {
        "vessels": logits,
        "vessels and noise": logits + noise,
        "noise": noise,
        "untrained network": untrained,
    }
    return given, (vessels > 0.5).float()


def by_gudhi(prior: tuple[int, ...]) -> Step:
    """Return the loss of whole maps, with the pairs of gudhi's cubical complex."""
    import gudhi

    def of_map(p: Tensor) -> Tensor:
        image = np.pad(p.detach().numpy(), 1)
        cube = gudhi.CubicalComplex(top_dimensional_cells=-image.astype(np.float64))
        cube.compute_persistence(homology_coeff_field=2, min_persistence=0)
        paired, lasting = cube.cofaces_of_persistence_pairs()
        # The flat indices of gudhi are in Fortran order; voxel 0 is in the border.
        values = nn.functional.pad(p, (1,) * 2 * p.ndim).permute(*reversed(range(p.ndim))).flatten()
        total = p.new_zeros(())
        for dimension, wanted in enumerate(prior):
            pairs = np.reshape(paired[dimension] if dimension < len(paired) else [], (-1, 2)).astype(np.int64)
            if dimension == 0:
                pairs = np.concatenate([[[int(lasting[0][0]), 0]], pairs])
            ends = values[torch.from_numpy(pairs)]
            length = (ends[:, 0] - ends[:, 1]).sort(descending=True).values
            others = length[wanted:]
            total = (
                total + wanted - length[:wanted].square().sum() + others[others >= MIN_LENGTH].square().sum()
            )
        return total

    return lambda logits: torch.stack([of_map(p) for p in logits.sigmoid().flatten(0, 1)]).mean()


def losses(target: Tensor) -> dict[str, Step]:
    """Return the losses by name."""
    dims = target.ndim - 2
    prior = (1, 0, 0)[:dims]
    patches = TopologicalLoss(patch=32, sigmoid=True, min_length=MIN_LENGTH)
    numbers = patches.betti(target)
    drawn = TopologicalLoss(patch=32, random_patch=True, sigmoid=True, min_length=MIN_LENGTH)
    matching = BettiMatchingLoss(sigmoid=True)
    return {
        OURS: TopologicalLoss(prior, sigmoid=True, min_length=MIN_LENGTH),
        "any loops": TopologicalLoss((1, None, 0)[:dims], sigmoid=True, min_length=MIN_LENGTH),
        "patch": lambda logits: patches(logits, priors=numbers),
        "random": lambda logits: drawn(logits, target),
        "Betti matching": lambda logits: matching(logits, target),
        GUDHI: by_gudhi(prior),
    }


def timed(loss: Step, logits: Tensor) -> tuple[float, float, float]:
    """Return the seconds and the CPU seconds of forward and backward, and the loss."""
    leaf = logits.clone().requires_grad_()
    seconds, processor = time.perf_counter(), time.process_time()
    found = loss(leaf)
    torch.autograd.backward(found)
    return time.perf_counter() - seconds, time.process_time() - processor, found.item()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(machine.threads())
    sys.stdout.write(
        f"{machine.threads()} threads\n\n| batch | loss | s | CPU s | gudhi / s | gudhi / CPU s |\n"
    )
    sys.stdout.write("|---|---|---|---|---|---|\n")
    for shape in SHAPES:
        given, target = batches(shape)
        steps = losses(target)
        for name, logits in given.items():
            taken = {
                key: timed(step, logits) for key, step in steps.items()
            }  # compiled, and libraries loaded
            assert abs(taken[OURS][2] / taken[GUDHI][2] - 1) < 1e-4, taken
            runs = [{key: timed(step, logits) for key, step in steps.items()} for _ in range(repeats)]
            least = {key: [min(run[key][clock] for run in runs) for clock in (0, 1)] for key in steps}
            for key, (seconds, processor) in least.items():
                more = [of / own for of, own in zip(least[GUDHI], (seconds, processor), strict=True)]
                sys.stdout.write(
                    f"| {shape} {name} | {key} | {seconds:.3f} | {processor:.3f} | {more[0]:.1f} | {more[1]:.1f} |\n"
                )
                sys.stdout.flush()


if __name__ == "__main__":
    main()
