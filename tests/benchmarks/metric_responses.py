"""Prints the response of each metric to one error of a prediction: the table of README.md.

Run: `python tests/benchmarks/metric_responses.py`
"""

from __future__ import annotations

import sys
from pathlib import Path

_TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_TESTS), str(_TESTS / "metrics")]

from helpers_drawn import CHANGES, is_moved, responses  # noqa: E402


def main() -> None:
    flat, solid = responses(2), responses(3)
    head = ["2D / 3D", "nothing", *CHANGES]
    print("| " + " | ".join(head) + " |")  # noqa: T201
    print("|" + "---|" * len(head))  # noqa: T201
    for name in solid["none"]:
        cells = []
        for case in ("none", *CHANGES):
            both = [cell(name, answers["none"][name], answers[case][name]) for answers in (flat, solid)]
            cells.append(both[0] if both[0] == both[1] else " / ".join(both))
        print(f"| `{name}` | " + " | ".join(cells) + " |")  # noqa: T201


def cell(name: str, perfect: float | None, value: float | None) -> str:
    if value is None:
        return "-"
    text = f"{value:.2g}" if name == "smd" or "hd" in name else f"{round(value, 2):g}"
    return f"**{text}**" if is_moved(name, perfect, value) else text


if __name__ == "__main__":
    main()
