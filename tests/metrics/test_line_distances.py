"""Distances between centrelines: on paper, and against all pairs of voxels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers_drawn import pair
from helpers_maps import vessels
from scipy import ndimage
from scipy.spatial.distance import cdist, directed_hausdorff

import softmorph_cli as sm
from softmorph_cli.metrics import line_distances


def values(predicted: np.ndarray, truth: np.ndarray, spacing: Any = 1.0, **settings: Any) -> dict[str, Any]:
    one = pair(predicted, truth, spacing, **settings)
    return {name: v for metric in line_distances.METRICS for name, v in metric.compute(one).values.items()}


def test_two_lines_on_paper() -> None:
    truth = np.zeros((9, 60), bool)
    truth[4, 5:55] = True
    predicted = np.zeros_like(truth)
    # 20 of 40 voxels lie one row aside, which is 2 mm; the reference's last ten are 1 to 10 voxels of 0.5 mm further.
    predicted[4, 5:25] = predicted[5, 25:45] = True
    found = values(predicted, truth, (2.0, 0.5), tolerance=1.0)
    assert found["centreline_precision"] == 20 / 40
    # At x = 25 and 26 the predicted line's part in the row itself is still 0.5 and 1 mm away.
    assert found["centreline_recall"] == 22 / 50
    assert found["centreline_f1"] == pytest.approx(2 * 0.5 * 0.44 / 0.94)
    assert found["centreline_hd_mm"] == pytest.approx(np.hypot(2, 10 * 0.5))
    # 5 % of 50 voxels are two and a half: two are left out.
    assert found["centreline_hd95_mm"] == pytest.approx(np.hypot(2, 8 * 0.5))
    assert values(predicted, truth, (2.0, 0.5), tolerance=2.0)["centreline_precision"] == 1


@pytest.mark.parametrize(
    ("shape", "spacing"), [((60, 64), (2.0, 0.5)), ((24, 26, 28), (1.0, 0.7, 0.7)), ((24, 26, 28), None)]
)
def test_all_pairs_of_voxels(shape: tuple[int, ...], spacing: tuple[float, ...] | None) -> None:
    predicted, truth = vessels(shape, 3) > 0.5, np.roll(vessels(shape, 3), 2, axis=-1) > 0.4
    # Without their cavities, of which 2D has none.
    solid = (ndimage.binary_fill_holes(mask) if mask.ndim == 3 else mask for mask in (predicted, truth))
    mine, its = (
        np.argwhere(sm.skeletonize(mask.astype(np.float32), hard=True)) * (spacing or (1,) * len(shape))
        for mask in solid
    )
    apart = cdist(mine, its)
    there, back = apart.min(axis=1), apart.min(axis=0)
    found = values(predicted, truth, spacing, tolerance=1.5)
    assert found["centreline_precision"] == (there <= 1.5).mean()
    assert found["centreline_recall"] == (back <= 1.5).mean()
    unit = "mm" if spacing else "voxels"
    farthest = max(directed_hausdorff(mine, its)[0], directed_hausdorff(its, mine)[0])
    assert found[f"centreline_hd_{unit}"] == pytest.approx(farthest, rel=1e-12)
    wanted = max(min(d for d in one if (one <= d).mean() >= 0.95) for one in (there, back))
    assert found[f"centreline_hd95_{unit}"] == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(("count", "shares", "distance"), [(1, 0, None), (2, 1, 0)])
def test_empty_masks(count: int, shares: float, distance: float | None) -> None:
    line, blank = np.zeros((9, 12), bool), np.zeros((9, 12), bool)
    line[4] = True
    found = list(values(blank, blank if count == 2 else line).values())
    assert found == [shares] * 3 + [distance] * 2
