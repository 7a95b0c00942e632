"""Changes of the centreline metrics of 20 drawn pairs by the finishing pass.

    python tests/benchmarks/finishing.py

Each pair is a drawn vessel network and the same with noise in its logits. Mean, and the largest change of a pair.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers_topology import noisy, vessels

import softmorph_cli.filters.skeleton as skeleton
from softmorph_cli.metrics.pair import Pair
from softmorph_cli.metrics.registry import METRICS
from softmorph_cli.volume import Volume

NAMES = ("cldice", "soft_cldice", "smd", "opt_j_f1")


def measured(seed: int) -> dict[str, float]:
    """Return the metrics of one pair."""
    truth = vessels(40, radius=1.5 + 0.1 * (seed % 10), gap=1.0)
    prediction, reference = (
        Volume(one.astype(np.float32), "ZYX", (1.0,) * 3, "mm")
        for one in (noisy(truth, 1.0, seed), truth > 0.5)
    )
    pair = Pair(prediction, reference)
    values: dict[str, Any] = {}
    for metric in METRICS:
        if set(NAMES) & set(metric.names):
            values.update(metric.compute(pair).values)
    return {name: float(values[name]) for name in NAMES}


def main() -> None:
    """Print the table."""
    finished = [measured(seed) for seed in range(20)]
    phases: Any = skeleton.thinning_phases
    skeleton.thinning_phases = lambda *arguments: phases(*arguments)[:1]
    bare = [measured(seed) for seed in range(20)]
    lines = ["| metric | not finished | finished | largest change of a pair |", "|---|---|---|---|"]
    for name in NAMES:
        before, after = (np.array([row[name] for row in rows]) for rows in (bare, finished))
        change = np.abs(after - before).max()
        lines.append(f"| `{name}` | {before.mean():.4f} | {after.mean():.4f} | {change:.4f} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
