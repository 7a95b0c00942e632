"""Forward and backward of the Betti matching loss of batches, beside the topological loss, which matches nothing.

Run: OMP_NUM_THREADS=2 python tests/benchmarks/betti_matching.py [--repeats 3]     (a minute)

The losses take turns in one run, and the smallest time of each counts: seconds, and CPU seconds of all threads. The
batches are those of topological_loss.py; targets are the drawn vessels above 0.5.
"""

from __future__ import annotations

import argparse
import sys

import torch
from topological_loss import SHAPES, batches, timed

from softmorph_cli.losses import BettiMatchingLoss, TopologicalLoss
from softmorph_cli.system import machine


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(machine.threads())
    sys.stdout.write(
        f"{machine.threads()} threads\n\n| batch | matching / s | CPU s | topological / s | CPU s |\n"
    )
    sys.stdout.write("|---|---|---|---|---|\n")
    for shape in SHAPES:
        given, target = batches(shape)
        matching = BettiMatchingLoss(sigmoid=True)
        topological = TopologicalLoss((1, 0, 0)[: len(shape) - 2], sigmoid=True)
        steps = (lambda logits, of=target, by=matching: by(logits, of), topological)
        for name, logits in given.items():
            # Once before, so that kernels are compiled.
            runs = [[timed(step, logits)[:2] for step in steps] for _ in range(repeats + 1)][1:]
            least = [min(run[k][clock] for run in runs) for k in range(2) for clock in range(2)]
            sys.stdout.write(f"| {shape} {name} | " + " | ".join(f"{taken:.3f}" for taken in least) + " |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
