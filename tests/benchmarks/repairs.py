"""What a repair takes, beside gradient descent on the whole topological loss, on drawn maps.

Run: `python tests/benchmarks/repairs.py` (some minutes, all of them Adam's).

The descent is that of Adam (step 0.1) on logits z = z0 + Gaussian(u), with `softmorph_cli.topology.loss` and lambda
times the summed squared change; it stops, as the repair does, at the first step that has the prior.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers_topology import broken_ring, vessels

from softmorph_cli.topology.betti import betti_numbers
from softmorph_cli.topology.loss import topological_loss
from softmorph_cli.topology.prior import Prior
from softmorph_cli.topology.repair import Settings, repair

MOST = 150


def smoothed(u: torch.Tensor, sigma: float) -> torch.Tensor:
    """Return the convolution with a Gaussian that ends at 4 standard deviations."""
    reach = int(4 * sigma + 0.5)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(u)
    for axis in range(u.ndim):
        lines = u.movedim(axis, -1)
        rows = lines.reshape(-1, 1, lines.shape[-1])
        u = (
            torch.nn.functional.conv1d(rows, kernel[None, None], padding=reach)
            .reshape(lines.shape)
            .movedim(-1, axis)
        )
    return u


def descend(
    p: np.ndarray, prior: tuple[int, ...], sigma: float, weight: float
) -> tuple[int, np.ndarray, bool]:
    """Return the steps taken, the map, and whether it has the prior."""
    start = torch.from_numpy(p)
    logits = torch.logit(start.clamp(1e-4, 1 - 1e-4))
    u = torch.zeros_like(logits, requires_grad=True)
    adam = torch.optim.Adam([u], lr=0.1)
    for step in range(MOST + 1):
        q = torch.sigmoid(logits + smoothed(u, sigma))
        reached = betti_numbers(q.detach().numpy() > 0.5).numbers == prior
        if reached or step == MOST:
            break
        loss = topological_loss(q, prior) + weight * (q - start).square().sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return step, q.detach().numpy(), reached


def told(p: np.ndarray, q: np.ndarray, steps: int, reached: bool, seconds: float) -> str:
    """Return a cell of the table."""
    flips = int(((p > 0.5) != (q > 0.5)).sum())
    return f"{flips} flipped, {steps} steps, {seconds:.1f} s" if reached else f"not in {steps} steps"


def main() -> None:
    """Print the table."""
    torch.set_num_threads(2)
    maps = [
        ("ring 72²", broken_ring(), (1, 1)),
        ("ring 72², gap of 0.01", broken_ring(gap=0.01), (1, 1)),
        ("ring 72², noise", broken_ring(noise=2.0), (1, 1)),
        ("vessels 32³", vessels(32), (1, 0, 0)),
        ("vessels 32³, noise", vessels(32, noise=1.5), (1, 0, 0)),
    ]
    runs = ((2.0, 0.0), (2.0, 0.1), (1.0, 0.0))
    heads = [f"Adam, smooth {sigma:g}, lambda {weight:g}" for sigma, weight in runs]
    print(f"| map | from, to | repair | {' | '.join(heads)} |")  # noqa: T201
    print("|---" * (3 + len(runs)) + "|")  # noqa: T201
    for name, p, prior in maps:
        before = ",".join(map(str, betti_numbers(p > 0.5).numbers))
        began = time.perf_counter()
        found = repair(p[None], [Prior((0,), prior)], Settings(max_steps=MOST))
        cells = [
            told(p, found.array[0], found.steps, found.stopped == "reached", time.perf_counter() - began)
        ]
        for sigma, weight in runs:
            began = time.perf_counter()
            steps, q, reached = descend(p, prior, sigma, weight)
            cells.append(told(p, q, steps, reached, time.perf_counter() - began))
        after = ",".join(map(str, prior))
        print(f"| {name} | {before} to {after} | {' | '.join(cells)} |", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
