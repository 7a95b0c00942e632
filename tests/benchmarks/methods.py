"""Results of all methods on the sample vessel tree: the figures in the README's tables of methods.

Run: python tests/benchmarks/methods.py
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path

import numpy as np
from scipy import ndimage

import softmorph_cli

SAMPLE = Path(__file__).parents[2] / "sample_data" / "vessel_tree.nii.gz"
BLOCK = np.ones((3, 3, 3), bool)
RUNS = (
    ("nested", None),
    ("levels", None),
    ("smooth-levels", 8),
    ("sampled", None),
    ("multilinear", 3),
    ("multilinear", 8),
    ("product", 3),
    ("product", 8),
    ("cldice", 10),
)


def count(image: np.ndarray) -> str:
    """Return the voxels and the components above 0.5."""
    above = image > 0.5
    return f"{above.sum():,}, {ndimage.label(above, BLOCK)[1]}"


def volumes(volume: softmorph_cli.Volume) -> list[str]:
    """Return rows about filters that change volumes."""
    rows = ["| filter | method | voxels, components above 0.5 | expected volume |", "|---|---|---|---|"]
    size = float(np.prod(volume.spacing or ()))
    image = volume.array
    rows.append(f"| the map | | {count(image)} | {image.sum(dtype=float) * size:,.0f} mm³ |")
    for method in ("minmax", "levels", "multilinear", "product"):
        spacing = volume.spacing
        for name, made in (
            (
                "close, radius 1.5 mm",
                softmorph_cli.closing(image, radius=1.5, spacing=spacing, method=method),
            ),
            ("open, once", softmorph_cli.opening(image, method=method)),
        ):
            rows.append(f"| {name} | `{method}` | {count(made)} | {made.sum(dtype=float) * size:,.0f} mm³ |")
    return rows


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore", softmorph_cli.SoftmorphWarning)
    volume = softmorph_cli.read(SAMPLE)
    image = volume.array
    hard = softmorph_cli.skeletonize(image, hard=True) > 0
    reference = softmorph_cli.skeletonize(image, method="levels")
    near = ndimage.binary_dilation(hard, BLOCK)
    rows = [
        "| method | iterations | voxels, components above 0.5 | correlation with `levels` | hard skeleton found "
        "| stays within | maximum | seconds |"
    ]
    rows.append("|---|---|---|---|---|---|---|---|")
    for method, iterations in RUNS:
        softmorph_cli.skeletonize(
            image[:8, :8, :8], method=method, iterations=1
        )  # compile before the clock starts
        started = time.perf_counter()
        soft = softmorph_cli.skeletonize(image, method=method, iterations=iterations)
        seconds = time.perf_counter() - started
        bright = soft > 0.15
        found = ndimage.binary_dilation(bright, BLOCK)[hard].mean()
        within = near[bright].mean() if bright.any() else float("nan")
        correlation = np.corrcoef(soft.ravel(), reference.ravel())[0, 1]
        rows.append(
            f"| `{method}` | {iterations or 'to the end'} | {count(soft)} | {correlation:.2f} "
            f"| {found:.0%} | {within:.0%} | {soft.max():.2f} | {seconds:.2f} |"
        )
    sys.stdout.write("\n".join(rows) + "\n")
    sys.stdout.write(
        "found: share of the hard skeleton within 1 voxel of a value above 0.15; "
        "stays within: share of the voxels above 0.15 that lie within 1 voxel of the hard skeleton\n\n"
    )
    sys.stdout.write("\n".join(volumes(volume)) + "\n")


if __name__ == "__main__":
    main()
