"""Time and memory of repairs: as commands, and compared with gradient descent on the whole topological loss.

Run: `python tests/benchmarks/repairs.py` (some minutes, most of them Adam's).

The first table is that of whole commands, each in a process of its own. The second compares on drawn maps: the
descent is that of Adam (step 0.1) on logits z = z0 + Gaussian(u), with `softmorph_cli.topology.loss` and lambda
times the summed squared change; it stops, as the repair does, at the first step that has the prior.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers_topology import broken_ring, vessels, vessels_and_shells

from softmorph_cli.io.reading import read
from softmorph_cli.topology.betti import betti_numbers
from softmorph_cli.topology.loss import topological_loss
from softmorph_cli.topology.prior import Prior
from softmorph_cli.topology.repair import Repairer

MOST = 150
# A process counts what its parent held when it began, so that the parent has to be a small one.
LAUNCHER = """
import resource, subprocess, sys
ended = subprocess.run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(ended.returncode)
"""
SAMPLE = Path(__file__).resolve().parents[2] / "sample_data" / "retina_vessels.tif"


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
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
    return step, q.detach().numpy(), reached


def command(*arguments: object) -> tuple[dict[str, Any], float, int]:
    """Run softmorph topology; return its JSON, seconds and the most bytes it held."""
    began = time.perf_counter()
    ended = subprocess.run(
        [
            *(sys.executable, "-c", LAUNCHER, sys.executable, "-m", "softmorph_cli", "topology"),
            *(*map(str, arguments), "--json", "--quiet"),
        ],
        capture_output=True,
        check=True,
        text=True,
    )
    seconds = time.perf_counter() - began
    return json.loads(ended.stdout), seconds, int(ended.stderr.splitlines()[-1]) * 1024


def commands() -> None:
    """Print what whole commands take."""
    whole, box = (), ("--region", "60:90,10:40,23:53")
    tree, tree_noisy = vessels(96, radius=3.0), vessels(96, radius=3.0, noise=1.5)
    repairs = [
        ("ring 72², gap and speck", broken_ring(), "1,1", whole),
        ("sample retina 705²", read(SAMPLE).array, "1,0", whole),
        ("vessels 96³, two gaps, box of 30³", tree, "1,0,0", box),
        ("vessels 96³, two gaps", tree, "1,0,0", whole),
        ("vessels 96³, two gaps, noise", tree_noisy, "1,0,0", whole),
        ("vessels and shells 128³", vessels_and_shells(128), "1,0,0", whole),
    ]
    print("| map | from, to | voxels flipped | steps | time | memory |")  # noqa: T201
    print("|---" * 6 + "|")  # noqa: T201
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.npy"), Path(folder, "out.npy")
        for name, p, prior, options in repairs:
            np.save(source, p)
            found, seconds, memory = command("repair", source, target, "--betti", prior, "--force", *options)
            (certificate,) = found["certificate"]["priors"]
            scope = certificate["region" if options else "whole_map"]
            ends = " to ".join(",".join(map(str, scope[end])) for end in ("before", "after"))
            (flips,) = found["change"]["voxels_flipped"]
            took = f"{found['iterations']} | {seconds:.1f} s | {memory / 1e9:.2f} GB"
            print(f"| `repair` {name} | {ends} | {flips} | {took} |")  # noqa: T201
        for size in (96, 128):
            np.save(source, vessels(size, radius=3.0, noise=1.5))
            for option in ([], ["--no-bars"]):
                found, seconds, memory = command("numbers", source, *option)
                numbers = ",".join(map(str, found["classes"][0]["betti"].values()))
                name = " ".join(["`numbers`", f"vessels {size}³, noise", *(f"`{o}`" for o in option)])
                print(  # noqa: T201
                    f"| {name} | {numbers} | | | {seconds:.1f} s | {memory / 1e9:.2f} GB |", flush=True
                )


def told(p: np.ndarray, q: np.ndarray, steps: int, reached: bool, seconds: float) -> str:
    """Return a cell of the table."""
    flips = int(((p > 0.5) != (q > 0.5)).sum())
    return f"{flips} flipped, {steps} steps, {seconds:.1f} s" if reached else f"not in {steps} steps"


def main() -> None:
    """Print the tables."""
    commands()
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
    print()  # noqa: T201
    print(f"| map | from, to | repair | {' | '.join(heads)} |")  # noqa: T201
    print("|---" * (3 + len(runs)) + "|")  # noqa: T201
    for name, p, prior in maps:
        before = ",".join(map(str, betti_numbers(p > 0.5).numbers))
        began = time.perf_counter()
        found = Repairer(max_steps=MOST).repair(p[None], [Prior((0,), prior)])
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
