"""Each metric answers to what it is for: the table of README.md."""

from __future__ import annotations

from functools import cache

import pytest
from helpers_drawn import CHANGES, responses

# How much a metric has to change to count as moved: a fortieth of a ratio, a tenth of a count, half a voxel.
LEAST = {"smd": 0.0025, "hd95_mm": 0.5, "assd_mm": 0.5}
RATIO, COUNT = 0.025, 0.1


def least(name: str) -> float:
    """Return how much a metric has to change to count as moved."""
    count = name.startswith("betti") or name in ("euler_error", "diu")
    return LEAST.get(name, COUNT if count else RATIO)


BETTI = {"betti_1_error", "betti_1_error_patches", "euler_error", "euler_ratio", "diu"}
CAVITY = {"betti_2_error", "betti_2_error_patches", "euler_error", "euler_ratio", "diu"}
CENTRELINES = {"cldice", "soft_cldice", "opt_j_f1", "smd"}
VOXELS = {"dice", "iou", "soft_dice"}
SURFACES = {"hd95_mm", "assd_mm", "nsd"}
MOVED = {
    "a hole in the trunk": {2: BETTI | {"opt_j_f1"}, 3: CAVITY},
    "a bridge between two branches": {
        2: BETTI | CENTRELINES | {"iou", "precision", "nsd", "hd95_mm"},
        3: BETTI | CENTRELINES,
    },
    "a branch missing": {
        2: CENTRELINES | VOXELS | SURFACES | {"recall", "betti_0_error_patches"},
        3: CENTRELINES | VOXELS | SURFACES | {"recall", "betti_0_error_patches"},
    },
    "all vessels 1.5 voxels thicker": {
        2: VOXELS | SURFACES | {"precision", "accuracy", "betti_0_error_patches"},
        3: VOXELS | SURFACES | {"precision", "accuracy", "opt_j_f1"},
    },
}


@cache
def answers(dims: int) -> dict[str, dict[str, float | None]]:
    return responses(dims)


def moved(dims: int, change: str) -> set[str]:
    """Return the metrics that a change moves."""
    perfect, changed = answers(dims)["none"], answers(dims)[change]
    known = [name for name, value in perfect.items() if value is not None]
    return {name for name in known if abs(changed[name] - perfect[name]) > least(name)}


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_moves_the_metrics_it_should_and_no_others(change: str, dims: int) -> None:
    assert moved(dims, change) == MOVED[change][dims]
