"""Responses of the metrics to single errors: the table of README.md."""

from __future__ import annotations

from functools import cache

import pytest
from helpers_drawn import CHANGES, is_moved, responses

BETTI = {
    *("betti_1_error", "betti_1_error_patches", "betti_matching_1_error", "soft_betti_matching_1_error"),
    *("euler_error", "euler_ratio", "diu"),
}
CAVITY = {name.replace("_1_", "_2_") for name in BETTI}
CENTRELINES = {"cldice", "soft_cldice", "opt_j_f1", "smd"}
VOXELS = {"dice", "iou", "soft_dice"}
DETECTED = {"tree_length_detected", "branches_detected"}
LINES = {"centreline_f1", "centreline_hd_mm", "centreline_hd95_mm"}
MISSING = {"recall", "centreline_recall", "betti_0_error_patches"}
SURFACES = {"hd95_mm", "assd_mm", "nsd"}
MOVED = {
    "a hole in the trunk": {
        2: BETTI | LINES | DETECTED | {"opt_j_f1", "centreline_precision", "centreline_recall"},
        3: CAVITY | DETECTED,
    },
    "a bridge between two branches": {
        2: BETTI
        | CENTRELINES
        | LINES
        | {"iou", "precision", "nsd", "hd95_mm", "leakage", "centreline_precision"},
        3: BETTI | CENTRELINES | LINES | {"centreline_precision"},
    },
    "a branch missing": {
        2: CENTRELINES | VOXELS | SURFACES | DETECTED | LINES | MISSING,
        3: CENTRELINES | VOXELS | SURFACES | DETECTED | LINES | MISSING,
    },
    "all vessels 1.5 voxels thicker": {
        2: VOXELS
        | SURFACES
        | LINES - {"centreline_f1"}
        | {"precision", "accuracy", "leakage", "betti_0_error_patches"},
        3: VOXELS
        | SURFACES
        | LINES
        | {"precision", "accuracy", "opt_j_f1", "leakage", "centreline_precision"},
    },
}


answers = cache(responses)


def moved(dims: int, change: str) -> set[str]:
    """Return the metrics that a change moves."""
    perfect, changed = answers(dims)["none"], answers(dims)[change]
    return {name for name in perfect if is_moved(name, perfect[name], changed[name])}


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_moves_the_metrics_it_should_and_no_others(change: str, dims: int) -> None:
    assert moved(dims, change) == MOVED[change][dims]
