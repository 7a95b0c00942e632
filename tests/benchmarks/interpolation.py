"""Interpolation between slices of the MNI tissue maps: Dice and absolute error of each method on the hidden slices.

Run: python tests/benchmarks/interpolation.py
"""

from __future__ import annotations

import sys
import time
from importlib import import_module, resources
from typing import Any

import numpy as np

from softmorph_cli.completion.between import METHODS, fill

nibabel: Any = import_module("nibabel")


def main() -> None:
    """Print the table."""
    rows = [
        "| tissue, slices kept | method | Dice | of linear | error | of linear | seconds |",
        "|---" * 7 + "|",
    ]
    for tissue in ("gm", "wm"):
        file = f"mni_icbm152_{tissue}_tal_nlin_sym_09a_converted.nii.gz"
        path = resources.files("nilearn") / "datasets" / "data" / file
        whole = np.asarray(nibabel.Nifti1Image.from_filename(str(path)).dataobj, np.float32).T / 255
        for step in (4, 8):
            hidden = np.arange(len(whole)) % step > 0
            # Behind the last slice that is kept there is nothing to interpolate to.
            hidden[(len(whole) - 1) // step * step :] = False
            truth, found = whole[hidden], {}
            for method in METHODS:
                started = time.perf_counter()
                made = fill(whole[np.newaxis], ~hidden, 0, method)[0][hidden]
                seconds = time.perf_counter() - started
                both = (made > 0.5).sum() + (truth > 0.5).sum()
                dice = 2 * ((made > 0.5) & (truth > 0.5)).sum() / both
                found[method] = dice, np.abs(made - truth).mean(), seconds
            usual, usual_error, _ = found["linear"]
            rows += [
                f"| {tissue}, every {step}th | {method} | {dice:.4f} | {dice - usual:+.4f} | {error:.5f} | "
                f"{error / usual_error:.3f} | {seconds:.2f} |"
                for method, (dice, error, seconds) in found.items()
            ]
    sys.stdout.write("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
