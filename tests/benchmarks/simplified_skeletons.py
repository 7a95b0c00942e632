"""Print how many voxels a nested skeleton of a noisy map has, by the persistence that is cancelled before.

The map is the sample tree; noise, smoothed with a Gaussian of one voxel, is added to its logits. Noise inside a vessel
makes loops and cavities that last shortly, and the nested skeleton keeps a disc or a ball for each.

Usage: python tests/benchmarks/simplified_skeletons.py [--picture FOLDER]
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.ndimage import convolve, gaussian_filter

import softmorph_cli as sm

TREE: Final = Path(__file__).parents[2] / "sample_data" / "vessel_tree.nii.gz"
NOISE: Final = (0.0, 1.0, 1.5)
PERSISTENCES: Final = (0.0, 0.05, 0.1, 0.2)
LEVELS: Final = (16, 64)


def noisy(image: npt.NDArray[Any], deviation: float) -> npt.NDArray[np.float32]:
    """Return a map with smooth noise of a standard deviation (in logits) added; 0 stays 0."""
    noise = gaussian_filter(np.random.default_rng(0).standard_normal(image.shape), 1)
    inside = np.clip(image.astype(np.float64), 1e-6, 1 - 1e-6)
    logits = np.log(inside / (1 - inside)) + deviation * noise / noise.std()
    return np.where(image > 0, 1 / (1 + np.exp(-logits)), 0).astype(np.float32)


def ends(mask: npt.NDArray[np.bool_]) -> int:
    """Return the number of voxels of a mask that have one neighbour."""
    return int(
        np.count_nonzero(mask & (convolve(mask.astype(int), np.ones((3, 3, 3), int), mode="constant") == 2))
    )


def main() -> None:
    """Print the table; with --picture draw each skeleton of the noisy map."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", type=Path, help="folder for pictures of the skeletons at noise of 1")
    folder = parser.parse_args().picture
    volume = sm.read(TREE)
    warnings.simplefilter("ignore", sm.SoftmorphWarning)
    heads = [f"L = {levels}, above 0.5 (ends)" for levels in LEVELS]
    columns = [
        "noise",
        "P",
        "short bars",
        "left",
        "largest change",
        "sum",
        *heads,
        "b0, b1, b2 at 0.5",
        "CPU",
    ]
    print(f"| {' | '.join(columns)} |")  # noqa: T201
    print("|---" * len(columns) + "|")  # noqa: T201
    for deviation in NOISE:
        image = volume.with_array(noisy(volume.array, deviation))
        for persistence in PERSISTENCES:
            started = time.process_time()
            before = after = ""
            change, calm = {"max_abs": 0.0, "sum_abs": 0.0}, image
            if persistence:
                found = sm.simplify(image, persistence)
                calm, change = found.image, dict(found.change)
                before, after = (", ".join(map(str, one)) for one in (found.before, found.after))
            seconds = time.process_time() - started
            cells = []
            for levels in LEVELS:
                skeleton = sm.skeletonize(calm, levels=levels)
                above = skeleton.array > 0.5
                cells.append(f"{np.count_nonzero(above):,} ({ends(above)})")
                if folder is not None and deviation == 1:
                    sm.draw(skeleton, folder / f"simplified-{levels}-{persistence:g}.png")
            betti = ", ".join(map(str, sm.betti_numbers(calm).numbers))
            changes = f"{change['max_abs']:.3f} | {change['sum_abs']:.0f}"
            row = f"| {deviation:g} | {persistence:g} | {before} | {after} | {changes} | {' | '.join(cells)}"
            print(f"{row} | {betti} | {seconds:.1f} s |", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
