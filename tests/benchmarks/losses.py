"""Forward and backward of Dice + clDice beside MONAI's, in time and memory: the figures in the README.

Run: python tests/benchmarks/losses.py [--repeats 5]     (OMP_NUM_THREADS=1 for one thread: all of them heed it)

The losses take turns in one run, the smallest time of each counts. Memory is that of a fresh process, beyond the
batch. "vessels" are a good prediction of drawn vessels, "noise" one of which nothing is settled: the worst case.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from softmorph_cli.bench import maps, peak
from softmorph_cli.bench.clock import TimedTask, take_turns
from softmorph_cli.losses import SkeletonRecallLoss, SoftDiceCLDiceLoss
from softmorph_cli.system import machine

SHAPES = ((2, 1, 64, 64, 64), (2, 1, 256, 256))
MONAI = "MONAI, pool"


def _monai() -> nn.Module:
    from monai.losses.cldice import SoftDiceclDiceLoss

    return SoftDiceclDiceLoss()


LOSSES: dict[str, Callable[[], nn.Module]] = {
    MONAI: _monai,
    "pool": SoftDiceCLDiceLoss,
    "smooth-levels, 16 levels": lambda: SoftDiceCLDiceLoss(3, 0.5, "smooth-levels"),
    "smooth-levels, 4 levels": lambda: SoftDiceCLDiceLoss(3, 0.5, "smooth-levels", smooth_levels=4),
    "nested, exact": lambda: SoftDiceCLDiceLoss(method="nested", levels="exact"),
    "nested, 16 levels": lambda: SoftDiceCLDiceLoss(method="nested", levels=16, surrogate=True),
    "skeleton recall": SkeletonRecallLoss,
}


def _batch(drawn: str, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return a prediction and its target."""
    truth = np.stack([maps.vessels(shape[2:], seed) for seed in range(shape[0])])[:, None]
    given = truth if drawn == "vessels" else maps.noise(shape)
    return torch.from_numpy(given), torch.from_numpy(truth > 0.5).float()


def _step(loss: nn.Module, given: Tensor, target: Tensor) -> Tensor:
    leaf = given.clone().requires_grad_()
    loss(leaf, target).backward()
    assert leaf.grad is not None
    return leaf.grad


def _task(make: Callable[[], nn.Module], given: Tensor, target: Tensor) -> TimedTask:
    loss = make()
    return TimedTask(lambda _: _step(loss, given, target))


def _held(name: str, drawn: str, shape: tuple[int, ...]) -> int:
    """Return the bytes that a step holds beyond its batch, in a process of its own."""
    words = [
        sys.executable,
        __file__,
        "--held",
        name,
        drawn,
        "x".join(map(str, shape)),
    ]
    # As in softmorph_cli.bench.peak: what is freed goes back at once, or its reuse would not be seen.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    return int(
        subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout.split()[-1]
    )


def _tell_held(name: str, drawn: str, extents: str) -> None:
    shape = tuple(map(int, extents.split("x")))
    loss = LOSSES[name]()
    _step(loss, *_batch(drawn, (*shape[:2], *(16,) * (len(shape) - 2))))  # compiled, and libraries loaded
    sys.stdout.write(f"{peak.held(partial(_step, loss, *_batch(drawn, shape)))}\n")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--held", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(machine.threads())
    if options.held:
        _tell_held(*options.held)
        return
    sys.stdout.write(f"{machine.threads()} threads\n\n")
    sys.stdout.write("| batch | loss | seconds | x MONAI | MB | x MONAI |\n|---|---|---|---|---|---|\n")
    for shape in SHAPES:
        for drawn in ("vessels", "noise"):
            given, target = _batch(drawn, shape)
            tasks = {name: _task(make, given, target) for name, make in LOSSES.items()}
            timings, refused = take_turns(tasks, repeats=options.repeats, patience=30)
            assert not refused, refused
            held = {name: _held(name, drawn, shape) / 1e6 for name in LOSSES}
            for name in LOSSES:
                seconds, megabytes = timings[name].seconds, held[name]
                sys.stdout.write(
                    f"| {shape} {drawn} | {name} | {seconds:.3f} | {seconds / timings[MONAI].seconds:.2f} "
                    f"| {megabytes:.0f} | {megabytes / held[MONAI]:.2f} |\n"
                )
                sys.stdout.flush()


if __name__ == "__main__":
    main()
