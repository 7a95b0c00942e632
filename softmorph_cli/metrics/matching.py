"""Betti matching: which components, loops and cavities of two masks are the same ones."""

from __future__ import annotations

import itertools
from typing import Final

import numpy as np

from softmorph_cli.metrics.loops import common_loops
from softmorph_cli.metrics.metric import Metric, Reading
from softmorph_cli.metrics.pair import Mask, Pair
from softmorph_cli.topology import components

_NAMES: Final = ("betti_matching_0_error", "betti_matching_1_error", "betti_matching_2_error")


def _matching(pair: Pair) -> Reading:
    foreground, background = components.connectivities(pair.dims, pair.settings.connectivity)
    predicted, truth = pair.predicted, pair.truth
    matched = [_both_in(predicted, truth, foreground)]
    if pair.dims == 3:
        matched.append(common_loops(predicted, truth, foreground))
    matched.append(_around_both(predicted, truth, background))
    unmatched = [
        p + g - 2 * m for p, g, m in zip(*(betti.numbers for betti in pair.betti), matched, strict=True)
    ]
    return Reading(dict(itertools.zip_longest(_NAMES, unmatched)))


def _both_in(first: Mask, second: Mask, connectivity: int) -> int:
    """Return how many components of the union of two masks have voxels of both."""
    labels, _ = components.label_components(first | second, connectivity)
    return len(np.intersect1d(labels[first], labels[second]))


def _around_both(first: Mask, second: Mask, connectivity: int) -> int:
    """Return how many cavities, in 2D holes, of the union both masks have, told by background (Alexander duality).

    Those that hang together in the background of one of the masks count as one, and not at all with what is outside.
    """
    # One voxel of background around it joins all background that touches the border.
    outside = [~np.pad(mask, 1) for mask in (first, second)]
    both = outside[0] & outside[1]
    ends = [components.label_components(mask, connectivity)[0][both] for mask in outside]
    pairs = np.unique(np.stack(ends), axis=1)
    nodes, edges = np.unique(pairs * [[1], [-1]], return_inverse=True)
    return components.count_graph_components(len(nodes), *edges.reshape(2, -1)) - 1


METRICS: Final = (
    Metric(
        names=_NAMES,
        title="Betti matching errors",
        definition=(
            "betti_matching_k_error = b_k(P) + b_k(G) - 2 m_k: the components, loops (in 2D holes) and cavities of "
            "either mask that have no counterpart in the other. They correspond where they are the same in the union: "
            "m_k is the dimension of the common part of the images of H_k(P) and H_k(G) in H_k(P or G). A component "
            "that only P has and another one that only G has are two errors here and none for betti_0_error. The "
            "published algorithm orders the voxels of equal value and matches a little more where that order lets it; "
            "what is counted here depends on no order. null for k = 2 in 2D; an empty mask has nothing to match."
        ),
        source=(
            "Stucki et al., Topologically faithful image segmentation via induced matching of persistence barcodes, "
            "ICML 2023. Components and cavities by labelling, in 2D holes too; loops in 3D by gudhi's persistence of "
            "both masks thinned"
        ),
        unit="count",
        better="lower",
        cost="3 s; of noise a minute or more",
        compute=_matching,
        asked_by=("expensive",),
    ),
)
