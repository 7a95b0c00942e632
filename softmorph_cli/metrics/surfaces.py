"""Metrics of the distance between two surfaces, computed by DeepMind's surface-distance.

A surface element lies in the middle of 2 x 2 (x 2) voxels that are not all equal. Its area is that of the marching
cubes' surface inside these voxels, in 2D the length of the marching squares' contour.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from softmorph_cli.metrics.metric import Metric, Reading
from softmorph_cli.metrics.pair import Distances, Pair
from softmorph_cli.volume import rectangular

PERCENT: Final = 95.0
# Equal notes are shown once, so these name all metrics.
_NO_SIZE: Final = (
    "the size of a voxel is unknown: distances (hd95_{unit}, assd_{unit}, centreline_hd_{unit}) and the tolerance of "
    "nsd and of centrelines are in {counted}."
)
_SHEARED: Final = (
    "the voxels are sheared, so distances between surfaces are not computed: make both maps rectangular first, with "
    "softmorph resample IN OUT."
)


def _distance(name: str, measure: Callable[[Distances], float]) -> Callable[[Pair], Reading]:
    """Return a function that computes one distance of a pair of maps, for `Metric.compute`.

    Args:
        name: JSON name of the distance, without the unit that the returned function appends.
        measure: Function that computes the distance from the distances of all surface elements.
    """

    def compute(pair: Pair) -> Reading:
        unit = pair.frame.suffix
        key = f"{name}_{unit}"
        if not rectangular(pair.frame.matrix):
            return Reading({key: None}, (_SHEARED,))
        empty = empty_masks(pair)
        if len(empty) == 1:
            why = f"the {empty[0]} is empty: distances between surfaces (hd95_{unit}, assd_{unit}) are not defined."
            return Reading({key: None}, (why,))
        return Reading({key: 0.0 if empty else measure(pair.surfaces)}, unknown_size(pair))

    return compute


def _hausdorff(distances: Distances) -> float:
    import surface_distance

    return float(surface_distance.compute_robust_hausdorff(distances, PERCENT))


def _average(distances: Distances) -> float:
    """Return the mean distance over both surfaces, weighted by the areas of the elements."""
    away = np.concatenate([distances["distances_pred_to_gt"], distances["distances_gt_to_pred"]])
    areas = np.concatenate([distances["surfel_areas_pred"], distances["surfel_areas_gt"]])
    return float(np.average(away, weights=areas))


def within(pair: Pair) -> float:
    """Return the largest distance that is within the tolerance."""
    # In floating point three voxels of 0.1 are more than 0.3.
    return pair.settings.tolerance * (1 + 1e-9)


def _surface_dice(pair: Pair) -> Reading:
    if not rectangular(pair.frame.matrix):
        return Reading({"nsd": None}, (_SHEARED,))
    empty = empty_masks(pair)
    if empty:
        return Reading({"nsd": float(len(empty) == 2)})
    import surface_distance

    value = float(surface_distance.compute_surface_dice_at_tolerance(pair.surfaces, within(pair)))
    return Reading({"nsd": value}, unknown_size(pair))


def empty_masks(pair: Pair) -> list[str]:
    """Return "prediction" and "reference" for those of the two masks that are empty."""
    masks = {"prediction": pair.predicted, "reference": pair.truth}
    return [name for name, mask in masks.items() if not mask.any()]


def unknown_size(pair: Pair) -> tuple[str, ...]:
    """Return a note that lengths are in voxels or pixels, if the size of a voxel is unknown; else an empty tuple."""
    return () if pair.unit else (_NO_SIZE.format(unit=pair.frame.suffix, counted=pair.frame.counted),)


_SURFACES: Final = (
    "A surface's elements lie where 2 x 2 (x 2) voxels meet that are not all alike; each is weighted by its area on "
    "the marching cubes' surface (in 2D the contour's length), with voxels as large as the file says. Outside of the "
    "map is background."
)
_EMPTY: Final = (
    "Both masks empty: 0; one of them: null. In mm, or as {name}_um or {name}_nm where that is the prediction's unit, "
    "as {name}_voxels (in 2D {name}_pixels) where the size of a voxel is unknown; asked for as {name}_mm it is given "
    "in um and nm too."
)
_SOURCE: Final = "Nikolov et al., 2018 (arXiv:1809.04430); surface-distance 0.1 by DeepMind"

METRICS: Final = (
    Metric(
        names=("hd95_mm",),
        title="Hausdorff distance, 95 %",
        definition=(
            f"For each of the two surfaces, the least distance to the other one within which {PERCENT:g} % of its area "
            f"lie; hd95_mm is the larger of the two. {_SURFACES} {_EMPTY.format(name='hd95')}"
        ),
        source=_SOURCE,
        unit="mm",
        better="lower",
        cost="0.8 s; about 60 bytes for each voxel of the box around both masks, the most of all",
        compute=_distance("hd95", _hausdorff),
    ),
    Metric(
        names=("assd_mm",),
        title="Average symmetric surface distance",
        definition=(
            "The mean distance to the other surface over the elements of both surfaces together. "
            f"{_SURFACES} {_EMPTY.format(name='assd')}"
        ),
        source=_SOURCE,
        unit="mm",
        better="lower",
        cost="none beside hd95_mm",
        compute=_distance("assd", _average),
    ),
    Metric(
        names=("nsd",),
        title="Normalised surface Dice",
        definition=(
            "The share of both surfaces' area that is at most the tolerance (--distance-tolerance, 1 mm, or 1 voxel "
            "where the file is in um or nm, its voxels are smaller than 0.1 mm or their size is unknown) "
            f"from the other surface. {_SURFACES} Both masks empty: 1; one of them: 0."
        ),
        source=_SOURCE,
        unit="1",
        better="higher",
        cost="none beside hd95_mm",
        compute=_surface_dice,
    ),
)
