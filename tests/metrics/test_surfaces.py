"""Distances between surfaces: on paper, against a slow direct computation, and against MONAI."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers_drawn import pair
from helpers_maps import vessels
from scipy.spatial.distance import cdist
from skimage import measure

from softmorph_cli import Volume
from softmorph_cli.filters.resample import resampled
from softmorph_cli.metrics import surfaces
from softmorph_cli.metrics.pair import Pair

SKIMAGE: Any = measure
HD95, ASSD, NSD = surfaces.METRICS
# It warns of itself.
MONAI = pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
SHAPES = [
    ((40, 44), (1.0, 1.0)),
    ((40, 44), (2.0, 0.5)),
    ((16, 18, 20), (1.0,) * 3),
    ((16, 18, 20), (2.0, 0.5, 0.7)),
]


def values(one: Pair) -> dict[str, Any]:
    """Return the metrics of surfaces; None is a value that is not defined."""
    return {name: value for metric in surfaces.METRICS for name, value in metric.compute(one).values.items()}


def masks(shape: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    return vessels(shape, seed) > 0.5, np.roll(vessels(shape, seed), 2, axis=-1) > 0.3


def elements(mask: np.ndarray, spacing: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the places and areas of a surface's elements, each contoured for itself."""
    padded = np.pad(mask, 1).astype(float)
    places, areas = [], []
    for corner in itertools.product(*(range(size - 1) for size in padded.shape)):
        cell = padded[tuple(slice(c, c + 2) for c in corner)]
        if cell.min() == cell.max():
            continue
        places.append(np.array(corner) * spacing)
        areas.append(contour(cell, np.array(spacing)))
    return np.array(places), np.array(areas)


def contour(cell: np.ndarray, spacing: np.ndarray) -> float:
    if cell.ndim == 3:
        vertices, faces, _, _ = SKIMAGE.marching_cubes(cell, 0.5, spacing=tuple(spacing), method="lorensen")
        return float(SKIMAGE.mesh_surface_area(vertices, faces))
    lines = [line * spacing for line in SKIMAGE.find_contours(cell, 0.5)]
    return sum(float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum()) for line in lines)


def quantile(distances: np.ndarray, areas: np.ndarray, share: float) -> float:
    """Return the least distance within which a share of the area lies, by trying all of them."""
    return min(
        float(d) for d in distances if areas[distances <= d].sum() >= share * areas.sum() * (1 - 1e-12)
    )


@pytest.mark.parametrize(("shape", "spacing"), SHAPES)
def test_the_definitions_computed_directly(shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    predicted, truth = masks(shape, 4)
    (at, area), (at_truth, area_truth) = (elements(mask, spacing) for mask in (predicted, truth))
    apart = cdist(at, at_truth)
    there, back = apart.min(axis=1), apart.min(axis=0)
    got = values(pair(predicted, truth, spacing, tolerance=0.9))
    hd95 = max(quantile(there, area, 0.95), quantile(back, area_truth, 0.95))
    assd = (there @ area + back @ area_truth) / (area.sum() + area_truth.sum())
    near = area[there <= 0.9].sum() + area_truth[back <= 0.9].sum()
    assert got["hd95_mm"] == pytest.approx(hd95, rel=1e-9)
    # Marching cubes can cut an ambiguous cube in two ways.
    assert got["assd_mm"] == pytest.approx(assd, rel=2e-3)
    assert got["nsd"] == pytest.approx(near / (area.sum() + area_truth.sum()), rel=2e-3)


@MONAI
@pytest.mark.parametrize(("shape", "spacing"), SHAPES)
def test_the_same_definitions_in_monai(shape: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    import torch
    from monai.metrics import surface_dice, utils

    predicted, truth = masks(shape, 5)
    got = values(pair(predicted, truth, spacing, tolerance=0.9))
    tensors = [torch.from_numpy(mask) for mask in (predicted, truth)]
    monai: Any = utils
    edges, distances, areas = monai.get_edge_surface_distance(
        *tensors, spacing=spacing, use_subvoxels=True, symmetric=True
    )
    there, back = (np.asarray(d, float) for d in distances)
    area, area_truth = (np.asarray(a, float)[np.asarray(e)] for a, e in zip(areas, edges, strict=True))
    hd95 = max(quantile(there, area, 0.95), quantile(back, area_truth, 0.95))
    assd = (there @ area + back @ area_truth) / (area.sum() + area_truth.sum())
    batch = [torch.stack([~t, t])[None] for t in tensors]
    monai = surface_dice
    nsd = monai.compute_surface_dice(
        *batch, class_thresholds=[0.9], spacing=spacing, use_subvoxels=True
    ).item()
    assert got == pytest.approx({"hd95_mm": hd95, "assd_mm": assd, "nsd": nsd}, rel=1e-5)


@MONAI
@pytest.mark.parametrize(("shape", "spacing"), SHAPES)
def test_the_unweighted_percentile_of_monai_is_within_a_voxel(
    shape: tuple[int, ...], spacing: tuple[float, ...]
) -> None:
    import torch
    from monai.metrics import hausdorff_distance

    # Its surface is made of voxels inside of the mask and each counts once; ours lies between voxels.
    for seed in range(3):
        predicted, truth = masks(shape, seed)
        batch = [torch.from_numpy(mask)[None, None] for mask in (predicted, truth)]
        monai: Any = hausdorff_distance
        theirs = monai.compute_hausdorff_distance(
            *batch, include_background=True, percentile=95, spacing=spacing
        ).item()
        assert abs(values(pair(predicted, truth, spacing))["hd95_mm"] - theirs) <= np.linalg.norm(spacing)


def box(shape: tuple[int, ...], *sides: tuple[int, int]) -> np.ndarray:
    image = np.zeros(shape)
    image[tuple(slice(*side) for side in sides)] = 1
    return image


def test_a_shifted_box_on_paper() -> None:
    # 24 voxels of 0.5 mm long and moved along by 4: on either side the end is 2 mm away, 10 % of the area and more.
    truth = box((20, 40), (5, 10), (4, 28))
    got = values(pair(box((20, 40), (5, 10), (8, 32)), truth, (1.0, 0.5), tolerance=2.0))
    assert got["hd95_mm"] == pytest.approx(2.0)
    assert got["nsd"] == 1
    assert values(pair(truth, truth)) == {"hd95_mm": 0, "assd_mm": 0, "nsd": 1}


def test_the_larger_one_of_both_directions_counts() -> None:
    # All of the small box lies on the large one's border; the large one's far end is 20 away.
    small, large = box((9, 40), (2, 7), (4, 9)), box((9, 40), (2, 7), (4, 29))
    for one in (pair(small, large), pair(large, small)):
        assert values(one)["hd95_mm"] > 15


def test_the_contour_of_a_rectangle_has_its_length() -> None:
    # Sides of (10 - 1) x 2 and (6 - 1) x 0.5 mm, and a diagonal of half a voxel at each corner.
    found = pair(box((20, 20), (3, 13), (4, 10)), box((20, 20), (3, 13), (4, 10)), (2.0, 0.5)).surfaces
    assert found["surfel_areas_pred"].sum() == pytest.approx(2 * 18 + 2 * 2.5 + 4 * np.hypot(1, 0.25))


def test_a_tolerance_that_rounding_would_miss() -> None:
    truth = box((20, 40), (5, 10), (4, 28))
    one = pair(np.roll(truth, 3, axis=1), truth, 0.1, tolerance=0.3)
    assert values(one)["nsd"] == 1


def test_empty_masks_have_no_surface() -> None:
    some, blank = box((9, 9), (2, 5), (2, 5)), np.zeros((9, 9))
    assert values(pair(blank, blank)) == {"hd95_mm": 0, "assd_mm": 0, "nsd": 1}
    for one, which in ((pair(blank, some), "prediction"), (pair(some, blank), "reference")):
        assert values(one) == {"hd95_mm": None, "assd_mm": None, "nsd": 0}
        assert which in HD95.compute(one).notes[0]


def test_without_a_voxel_size_there_are_no_millimetres() -> None:
    truth = box((20, 40), (5, 10), (4, 28))
    one = pair(np.roll(truth, 3, axis=1), truth, None)
    known = values(pair(np.roll(truth, 3, axis=1), truth, 1.0))
    assert values(one) == {
        "hd95_pixels": known["hd95_mm"],
        "assd_pixels": known["assd_mm"],
        "nsd": known["nsd"],
    }
    for metric in surfaces.METRICS:
        assert "size of a voxel is unknown" in metric.compute(one).notes[0]
        assert metric.compute(one).notes[0].endswith("are in pixels.")
    assert values(pair(np.zeros_like(truth), truth, None)) == {
        "hd95_pixels": None,
        "assd_pixels": None,
        "nsd": 0.0,
    }


def test_a_note_names_the_unit_of_distances_of_uneven_voxels() -> None:
    truth = box((20, 40), (5, 10), (4, 28))
    mine, its = (
        Volume(np.asarray(one, np.float32), "YX", (5.0, 2.0), None)
        for one in (np.roll(truth, 3, axis=0), truth)
    )
    one = Pair(mine, its)
    (note,) = HD95.compute(one).notes
    assert note.endswith("are in pixels along x, of which one along y counts 2.5.")
    assert HD95.compute(one).values["hd95_pixels"] == pytest.approx(7.5)


@pytest.mark.parametrize("unit", ["um", "nm"])
def test_distances_are_in_the_unit_of_the_file(unit: str) -> None:
    truth = box((20, 40), (5, 10), (4, 28))
    moved = np.roll(truth, 4, axis=1)
    here, there = (Volume(a.astype(np.float32), "YX", (0.5, 0.5), unit) for a in (moved, truth))
    known = values(pair(moved, truth, 0.5))
    found = values(Pair(here, there))
    assert found == {f"hd95_{unit}": known["hd95_mm"], f"assd_{unit}": known["assd_mm"], "nsd": known["nsd"]}
    assert found[f"hd95_{unit}"] == pytest.approx(2.0)
    # One micrometre is the tolerance of a map in micrometres.
    assert 0 < found["nsd"] < 1
    assert values(Pair(replace(here, array=np.zeros_like(here.array)), there)) == {
        f"hd95_{unit}": None,
        f"assd_{unit}": None,
        "nsd": 0.0,
    }


def test_sheared_voxels_have_no_distances() -> None:
    affine = np.eye(4)
    affine[0, 1] = 0.3
    one = pair(np.ones((4, 4, 4)), np.ones((4, 4, 4)))
    sheared = Pair(replace(one.prediction, affine=affine), one.reference)
    assert values(sheared) == {"hd95_mm": None, "assd_mm": None, "nsd": None}
    assert "sheared" in NSD.compute(sheared).notes[0]
    # The advice works: a slab moves two of its voxels along z, which leans by 0.3 along y.
    slab = np.zeros((2, 24, 12, 12), np.float32)
    slab[0, 6:9], slab[1, 8:11] = 1, 1
    mine, its = (resampled(Volume(one, "ZYX", (1, 1, 1), "mm", affine), (0.25, 1, 1)) for one in slab)
    assert values(Pair(mine, its))["hd95_mm"] == pytest.approx(2 / np.sqrt(1.09), abs=0.13)
    turned = np.eye(4)
    turned[:2, :2] = np.array([[0.6, -0.8], [0.8, 0.6]])
    assert values(Pair(replace(one.prediction, affine=turned), one.reference))["nsd"] == 1
