"""How many levels a nested skeleton should have: voxels and end points above 0.5, and times.

Run: python tests/benchmarks/levels.py
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import convolve

import softmorph_cli
from softmorph_cli.bench.maps import vessels
from softmorph_cli.topology.betti import betti_numbers

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers_topology import noisy

SAMPLE = Path(__file__).parents[2] / "sample_data" / "vessel_tree.nii.gz"
WHITE_MATTER = "mni_icbm152_wm_tal_nlin_sym_09a_converted.nii.gz"
WAYS: tuple[dict[str, Any], ...] = (
    {"hard": True},
    {"levels": 8},
    {"levels": 16},
    {"levels": 64},
    {"levels": "exact", "lowest": 1 / 128},
)


def maps() -> Iterator[tuple[str, np.ndarray]]:
    """Yield a name and a map."""
    tree = softmorph_cli.read(SAMPLE).array
    yield "sample tree", tree
    for strength in (1.0, 1.5):
        yield f"sample tree, noise of sd {strength:g} in its logits", noisy(tree, strength, 0)
    yield "drawn vessels 128³", vessels((128,) * 3)
    import nibabel

    path = resources.files("nilearn") / "datasets" / "data" / WHITE_MATTER
    white_matter: Any = nibabel.load(str(path))
    yield "MNI white matter", np.asarray(white_matter.dataobj, np.float32) / 255


def main() -> None:
    """Print the table."""
    heads = ["hard", "8", "16", "64", "exact above 1/128"]
    rows = [f"| map, Betti numbers above 0.5 | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for name, image in maps():
        wanted = betti_numbers(image > 0.5)
        cells = []
        for way in WAYS:
            softmorph_cli.skeletonize(image[:8, :8, :8], **way)  # compile before the clock starts
            started = time.perf_counter()
            above = softmorph_cli.skeletonize(image, **way) > 0.5
            seconds = time.perf_counter() - started
            neighbours = convolve(above.astype(np.uint8), np.ones((3, 3, 3), np.uint8), mode="constant")
            same = "" if betti_numbers(above) == wanted else ", other Betti numbers"
            cells.append(f"{above.sum():,} ({(above & (neighbours == 2)).sum()}), {seconds:.2f} s{same}")
        rows.append(f"| {name}: {wanted.numbers} | {' | '.join(cells)} |")
    sys.stdout.write("\n".join(rows) + "\nvoxels above 0.5 (end points)\n")


if __name__ == "__main__":
    main()
