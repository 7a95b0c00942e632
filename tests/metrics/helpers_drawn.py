"""A drawn network of vessels, and predictions of it with one error each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from softmorph_cli import Volume
from softmorph_cli.metrics.metric import Reading
from softmorph_cli.metrics.pair import MetricSettings, Pair
from softmorph_cli.metrics.registry import METRICS

# A vessel: its begin and end in the last two axes, and its radius in voxels.
Segment = tuple[tuple[int, int], tuple[int, int], float]
TRUNK: Segment = ((64, 8), (64, 70), 6.0)
SEGMENTS: tuple[Segment, ...] = (
    TRUNK,
    ((64, 70), (30, 112), 4.0),
    ((64, 70), (100, 112), 4.0),
    ((64, 30), (20, 54), 3.0),
    ((64, 46), (110, 64), 3.0),
)
LEFT_OUT = SEGMENTS[3]
# Between two vessels that are close to each other.
BRIDGE: Segment = ((47, 91), (83, 91), 2.0)
HOLE: Segment = ((64, 20), (64, 21), 2.0)


def pair(
    predicted: np.ndarray,
    reference: np.ndarray,
    spacing: float | tuple[float, ...] | None = 1.0,
    **settings: Any,
) -> Pair:
    """Return a pair of maps of a voxel size in mm; None for an unknown one."""
    dims = np.ndim(predicted)
    size = (spacing,) * dims if isinstance(spacing, float) else spacing
    mine, its = (
        Volume(np.asarray(array, np.float32), "ZYX"[-dims:], size, None if size is None else "mm")
        for array in (predicted, reference)
    )
    return Pair(mine, its, MetricSettings(**settings))


def measured(one: Pair) -> Reading:
    """Return all metrics that the settings of a pair include."""
    readings = [metric.compute(one) for metric in METRICS if metric.wanted(one.settings)]
    values = {name: value for reading in readings for name, value in reading.values.items()}
    return Reading(values, tuple(note for reading in readings for note in reading.notes))


def inside(segment: Segment, dims: int) -> np.ndarray:
    """Return the depth of each voxel inside a vessel, in voxels: the radius at the axis, 0 at the surface."""
    shape = (128, 128) if dims == 2 else (24, 128, 128)
    middle = () if dims == 2 else (12,)
    begin, end = (np.array((*middle, *point), float) for point in segment[:2])
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    along = np.clip((places - begin) @ (end - begin) / ((end - begin) @ (end - begin)), 0, 1)
    return np.asarray(segment[2] - np.linalg.norm(places - begin - along[..., None] * (end - begin), axis=-1))


def drawn(
    dims: int,
    segments: tuple[Segment, ...] = SEGMENTS,
    *,
    grown: float = 0.0,
    without: tuple[Segment, ...] = (),
) -> np.ndarray:
    """Return the soft map of vessels, thicker by `grown` voxels, without some segments."""
    depth = np.max([inside(segment, dims) for segment in segments], axis=0) + grown
    for segment in without:
        depth = np.minimum(depth, -inside(segment, dims))
    return np.asarray(1 / (1 + np.exp(-8 * depth)))


# Errors of a prediction, by name.
CHANGES: dict[str, Callable[[int], np.ndarray]] = {
    "a hole in the trunk": lambda dims: drawn(dims, without=(HOLE,)),
    "a bridge between two branches": lambda dims: drawn(dims, (*SEGMENTS, BRIDGE)),
    "a branch missing": lambda dims: drawn(dims, tuple(s for s in SEGMENTS if s is not LEFT_OUT)),
    "all vessels 1.5 voxels thicker": lambda dims: drawn(dims, grown=1.5),
}


def responses(dims: int) -> dict[str, dict[str, float | None]]:
    """Return every metric of a perfect prediction and of each change of it."""
    truth = drawn(dims)
    cases = {"none": truth, **{name: change(dims) for name, change in CHANGES.items()}}
    return {
        name: dict(measured(pair(map_, truth > 0.5, patches=20, expensive=True)).values)
        for name, map_ in cases.items()
    }


# Smallest change that counts: a fortieth of a ratio, a tenth of a count, half a voxel.
LEAST = {
    "smd": 0.0025,
    **dict.fromkeys(("hd95_mm", "assd_mm", "centreline_hd_mm", "centreline_hd95_mm"), 0.5),
}
RATIO, COUNT = 0.025, 0.1


def is_moved(name: str, perfect: float | None, changed: float | None) -> bool:
    """Return whether a metric differs enough from that of a perfect prediction."""
    if perfect is None or changed is None:
        return False
    count = name.startswith("betti") or name in ("euler_error", "diu")
    return abs(changed - perfect) > LEAST.get(name, COUNT if count else RATIO)
