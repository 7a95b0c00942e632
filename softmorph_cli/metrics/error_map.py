"""Topological errors of a prediction: the metric DIU, which counts them, and the error map, which locates them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.metrics.loops import kept_loops
from softmorph_cli.metrics.metric import Metric, Reading
from softmorph_cli.metrics.pair import Mask, Pair
from softmorph_cli.metrics.warping import warp
from softmorph_cli.topology import components
from softmorph_cli.topology.betti import betti_numbers
from softmorph_cli.volume import Volume

# The labels of the error map and their meaning; 0 is correct topology.
KINDS: Final = {
    1: "extra piece: a component of the prediction without any voxel of the reference",
    2: "missed piece: a component of the reference without any voxel of the prediction",
    3: "false link: predicted voxels that join what is apart in the reference, or close a loop or wall",
    4: "gap: voxels missing where the reference hangs together, closes a loop or a wall",
    5: "filled hole: a hole of the reference (in 3D a cavity) that the prediction covers wholly",
    6: "false hole: a hole of the prediction (in 3D a cavity) where the reference has none",
}
EXTRA, MISSED, LINK, GAP, FILLED, HOLE = KINDS


@dataclass(frozen=True)
class ErrorMap:
    """A label map of the topological errors of a prediction.

    Attributes:
        labels: Array of uint8 and the map's shape: 0 where the topology is correct, else a key of `KINDS`.
        regions: Number of connected regions of each kind of error, by label.
        place: The prediction, whose voxel size and affine the error map has.
    """

    labels: npt.NDArray[np.uint8]
    regions: Mapping[int, int]
    place: Volume

    def as_list(self) -> list[dict[str, Any]]:
        """Return the label, the meaning and the number of regions of each kind of error, as JSON objects."""
        return [{"label": kind, "what": what, "regions": self.regions[kind]} for kind, what in KINDS.items()]


def _diu(pair: Pair) -> Reading:
    either, both = pair.predicted | pair.truth, pair.predicted & pair.truth
    foreground, background = components.connectivities(pair.dims, pair.settings.connectivity)
    # One voxel of background around it joins all background that touches the border.
    outer, inner = (~np.pad(mask, 1) for mask in (either, both))
    count = _unpaired(both, either, foreground) + _unpaired(outer, inner, background)
    if pair.dims == 3:
        loops = sum(betti_numbers(mask, foreground).b1 for mask in (both, either))
        count += loops - 2 * kept_loops(both, either, foreground, pair.settings.threads)
    return Reading({"diu": count})


def _unpaired(small: Mask, large: Mask, connectivity: int) -> int:
    """Return how many components of two nested masks have no counterpart.

    The number is dim ker + dim coker of H0(small) -> H0(large). The mask `small` lies within the mask `large`; the map
    between their homology groups is that of the inclusion.
    """
    labels, count = components.label_components(large, connectivity)
    hit = np.count_nonzero(np.bincount(labels[small], minlength=count + 1)[1:])
    return int(components.label_components(small, connectivity)[1] + count - 2 * hit)


def error_map(pair: Pair) -> ErrorMap:
    """Return the map of the voxels where the topology of the prediction is wrong.

    Each mask is warped towards the other mask by flips of simple voxels, which change no topology; the remaining
    differences are topological errors. An error map without errors means that all Betti numbers agree.
    """
    foreground, background = components.connectivities(pair.dims, pair.settings.connectivity)
    predicted, truth = pair.predicted, pair.truth
    wrong = warp(truth, predicted, foreground) ^ predicted
    wrong |= warp(predicted, truth, foreground) ^ truth
    extra, missing = wrong & predicted, wrong & truth
    labels = np.zeros(pair.shape, np.uint8)
    labels[extra], labels[missing] = LINK, GAP
    # Outside the map is background: a component connected to it is no hole.
    no_truth, not_predicted = (~np.pad(mask, 1) for mask in (truth, predicted))
    inside = (slice(1, -1),) * pair.dims
    labels[extra & _alone(no_truth, not_predicted, background)[inside]] = FILLED
    labels[missing & _alone(not_predicted, no_truth, background)[inside]] = HOLE
    labels[extra & _alone(predicted, truth, foreground)] = EXTRA
    labels[missing & _alone(truth, predicted, foreground)] = MISSED
    full = 3**pair.dims - 1
    regions = {kind: components.label_components(labels == kind, full)[1] for kind in KINDS}
    return ErrorMap(labels, regions, pair.prediction)


def _alone(mask: Mask, other: Mask, connectivity: int) -> Mask:
    """Return a mask of the components of `mask` that have no voxel in common with `other`."""
    labels, count = components.label_components(mask, connectivity)
    met = np.zeros(count + 1, bool)
    met[0] = True
    met[labels[other]] = True
    return np.asarray(~met[labels])


METRICS: Final = (
    Metric(
        names=("diu",),
        title="Discrepancy between intersection and union",
        definition=(
            "What is lost and what is new, in topology, on the way from the voxels in both masks to those in either: "
            "components that become one with another, components that hold nothing of the smaller mask, and the same "
            "of loops and cavities. In the words of homology: the sum over k of dim ker + dim coker of the map from "
            "H_k(P and G) to H_k(P or G) that the inclusion induces. Unlike a Betti error it counts a missed piece and "
            "an extra one elsewhere as two. It can be 0 all the same where topology differs: of a loop that only the "
            "prediction closes and only the reference fills. Both masks empty: 0; one of them: the Betti numbers of "
            "the other, added up."
        ),
        source=(
            "Lux et al., Topograph, ICLR 2025, which names the metric. Components and cavities by labelling, in 2D "
            "holes too; loops in 3D by persistence"
        ),
        unit="count",
        better="lower",
        cost="0.4 s; of noise 3 s",
        compute=_diu,
    ),
)
