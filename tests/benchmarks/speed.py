"""How fast the filters are, as ratios to well-known functions measured in the same run.

Run: python tests/benchmarks/speed.py [THREADS]   (default 2)

Both sides take turns, and the smallest time of each counts: what else the machine does only ever adds time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
from scipy import ndimage
from skimage.morphology import skeletonize as skimage_skeletonize

import softmorph_cli

TURNS = 7


def against(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """Return the smallest time of each, in seconds, after one run that compiles."""
    ours()
    theirs()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(TURNS):
        for work, measured in zip((ours, theirs), times, strict=True):
            started = time.perf_counter()
            work()
            measured.append(time.perf_counter() - started)
    return min(times[0]), min(times[1])


def vessels(size: int, count: int) -> np.ndarray:
    """Draw soft tubes along random walks."""
    rng = np.random.default_rng(1)
    mask = np.zeros((size,) * 3, bool)
    for _ in range(count):
        place, course, radius = rng.random(3) * size, rng.normal(size=3), rng.uniform(1.5, 5)
        for _ in range(2 * size):
            course += 0.08 * rng.normal(size=3)
            course /= np.linalg.norm(course)
            place += course
            if (place < 0).any() or (place >= size - 1).any():
                break
            low = np.maximum(place - radius - 1, 0).astype(int)
            high = np.minimum(place + radius + 2, size).astype(int)
            box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
            grid = np.ogrid[box]
            mask[box] |= sum((g - p) ** 2 for g, p in zip(grid, place, strict=True)) <= radius**2
    inside = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
    return (1 / (1 + np.exp(-inside / 0.8))).astype(np.float32)


def main() -> None:
    """Print the table."""
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    rows = ["| work | softmorph | compared with | its time | ratio |", "|---|---|---|---|---|"]

    random = np.random.default_rng(0).random((128,) * 3, dtype=np.float32)
    cross = ndimage.generate_binary_structure(3, 1)

    def whole_call() -> None:
        softmorph_cli.skeletonize(random, method="multilinear", iterations=1, threads=threads)

    def ruler() -> None:
        ndimage.grey_erosion(random, footprint=cross)

    tree = vessels(256, 160)
    work = (
        (
            "multilinear skeletonize, one iteration, dense 128^3",
            whole_call,
            "scipy grey_erosion, cross",
            ruler,
        ),
        (
            f"levels to the end, vessels 256^3 ({(tree > 0.5).mean():.1%} above 0.5)",
            lambda: softmorph_cli.skeletonize(tree, threads=threads),
            "scikit-image skeletonize of one mask",
            lambda: skimage_skeletonize(tree > 0.5),
        ),
    )
    for name, ours, other, theirs in work:
        mine, its = against(ours, theirs)
        rows.append(f"| {name} | {mine * 1e3:.1f} ms | {other} | {its * 1e3:.1f} ms | {mine / its:.2f} |")
    sys.stdout.write("\n".join(rows) + f"\n{threads} threads, smallest of {TURNS} runs in turn\n")


if __name__ == "__main__":
    main()
