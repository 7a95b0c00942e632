"""Prints the errors of the lengths of `softmorph inspect`: the figures of README.md.

Run: `python tests/benchmarks/lengths.py`
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

_TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_TESTS), str(_TESTS / "inspection")]

from test_accuracy import FLAT, ISOTROPIC, UNEVEN, errors, graph_of, line_errors, ring  # noqa: E402


def main() -> None:
    for spacing in (FLAT, ISOTROPIC, UNEVEN):
        smoothed, raw = (100 * e for e in errors(spacing))
        lines = 100 * line_errors(spacing)
        print(  # noqa: T201
            f"{spacing}: 20 trees {smoothed.mean():+.1f} % in the mean, {smoothed[np.abs(smoothed).argmax()]:+.1f} % "
            f"at worst; raw chains {raw.mean():+.1f} %, {raw[np.abs(raw).argmax()]:+.1f} %; "
            f"straight lines at most {lines.max():+.1f} %"
        )
    for radius in (4, 5, 6, 8, 12, 20):
        error = graph_of(ring(radius), FLAT).length / (2 * np.pi * radius) - 1
        print(f"ring of radius {radius}: {100 * error:+.1f} %")  # noqa: T201


if __name__ == "__main__":
    main()
