"""Interpolation between slices of the MNI tissue maps: Dice and absolute error of each method on the hidden slices.

Run: python tests/benchmarks/interpolation.py
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "completion"))

from helpers_mni import hidden_slices, judged, tissue

from softmorph_cli.completion.between import METHODS, fill
from softmorph_cli.examples import head, row, tell


def main() -> None:
    """Print the table."""
    for line in head("tissue, slices kept", "method", "Dice", "of linear", "error", "of linear", "seconds"):
        tell(line)
    for name in ("gm", "wm"):
        whole = tissue(name)
        for step in (4, 8):
            hidden, found = hidden_slices(len(whole), step), {}
            for method in METHODS:
                started = time.perf_counter()
                made = fill(whole[np.newaxis], ~hidden, 0, method)[0][hidden]
                seconds = time.perf_counter() - started
                found[method] = *judged(made, whole[hidden]), seconds
            usual, usual_error, _ = found["linear"]
            for method, (dice, error, seconds) in found.items():
                against = f"{dice - usual:+.4f}", f"{error:.5f}", f"{error / usual_error:.3f}"
                tell(row(f"{name}, every {step}th", method, f"{dice:.4f}", *against, f"{seconds:.2f}"))


if __name__ == "__main__":
    main()
