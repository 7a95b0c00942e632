"""Metrics of how far two surfaces are apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.metrics.distances import Distances, average, hausdorff, within
from softmorph_cli.metrics.metric import Metric, Reading
from softmorph_cli.metrics.pair import Pair
from softmorph_cli.volume import rectangular

PERCENT: Final = 95.0
# One sentence for all metrics, so that a person is told once.
_NO_SIZE: Final = (
    "the size of a voxel is unknown: distances between surfaces (hd95_voxels, assd_voxels) and the tolerance of nsd "
    "are in {counted}."
)
_SHEARED: Final = (
    "the voxels are sheared, so distances between surfaces are not computed: make both maps rectangular first, with "
    "softmorph resample IN OUT."
)


def _distance(name: str, measure: Callable[[Distances], float]) -> Callable[[Pair], Reading]:
    """Return what computes a distance, under a name that ends in its unit: that of the prediction, or voxels."""

    def compute(pair: Pair) -> Reading:
        unit = pair.frame.suffix
        key = f"{name}_{unit}"
        if not rectangular(pair.frame.matrix):
            return Reading({key: None}, (_SHEARED,))
        empty = [which for which, mask in _masks(pair) if not mask.any()]
        if len(empty) == 1:
            why = f"the {empty[0]} is empty: distances between surfaces (hd95_{unit}, assd_{unit}) are not defined."
            return Reading({key: None}, (why,))
        value = 0.0 if empty else measure(pair.surfaces)
        return Reading({key: value}, () if pair.unit else (_no_size(pair),))

    return compute


def _surface_dice(pair: Pair) -> Reading:
    if not rectangular(pair.frame.matrix):
        return Reading({"nsd": None}, (_SHEARED,))
    empty = [which for which, mask in _masks(pair) if not mask.any()]
    if empty:
        return Reading({"nsd": float(len(empty) == 2)})
    value = within(pair.surfaces, pair.settings.tolerance)
    return Reading({"nsd": value}, () if pair.unit else (_no_size(pair),))


def _no_size(pair: Pair) -> str:
    return _NO_SIZE.format(counted=pair.frame.counted)


def _masks(pair: Pair) -> tuple[tuple[str, npt.NDArray[np.bool_]], ...]:
    return ("prediction", pair.predicted), ("reference", pair.truth)


_SURFACES: Final = (
    "A surface's elements lie where 2 x 2 (x 2) voxels meet that are not all alike; each is weighted by its area on "
    "the marching cubes' surface (in 2D the contour's length), with voxels as large as the file says. Outside of the "
    "map is background."
)
_EMPTY: Final = (
    "Both masks empty: 0; one of them: null. In mm, or as {name}_um or {name}_nm where that is the prediction's unit, "
    "as {name}_voxels where the size of a voxel is unknown; asked for as {name}_mm it is given in any of them."
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
        compute=_distance("hd95", lambda found: hausdorff(found, PERCENT)),
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
        compute=_distance("assd", average),
    ),
    Metric(
        names=("nsd",),
        title="Normalised surface Dice",
        definition=(
            "The share of both surfaces' area that is at most the tolerance (--tolerance, 1 mm, or 1 voxel where the "
            "file is in um or nm, its voxels are smaller than 0.1 mm or their size is unknown) "
            f"from the other surface. {_SURFACES} Both masks empty: 1; one of them: 0."
        ),
        source=_SOURCE,
        unit="1",
        better="higher",
        cost="none beside hd95_mm",
        compute=_surface_dice,
    ),
)
