"""Metrics of topology: Betti errors of whole masks and of patches, Euler characteristic, Betti matching errors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import numpy as np

from softmorph_cli.metrics.loops import common_loops
from softmorph_cli.metrics.metric import Metric, Reading
from softmorph_cli.metrics.pair import PATCH, Mask, Pair
from softmorph_cli.topology.betti import betti_numbers
from softmorph_cli.topology.components import connectivities, count_graph_components, label_components
from softmorph_cli.topology.matching import match

_NAMES: Final = ("betti_0_error", "betti_1_error", "betti_2_error")
_MATCHING: Final = ("betti_matching_0_error", "betti_matching_1_error", "betti_matching_2_error")
_SOFT: Final = tuple(f"soft_{name}" for name in _MATCHING)


def _whole(pair: Pair) -> Reading:
    predicted, truth = pair.betti
    errors = [abs(p - g) for p, g in zip(predicted.numbers, truth.numbers, strict=True)]
    return Reading({**_named(_NAMES, errors), "euler_error": abs(predicted.euler - truth.euler)})


def _ratio(pair: Pair) -> Reading:
    predicted, truth = (betti.euler for betti in pair.betti)
    if truth:
        return Reading({"euler_ratio": predicted / truth})
    if predicted == 0:
        return Reading({"euler_ratio": 1.0})
    why = f"the reference's Euler characteristic is 0 and the prediction's {predicted}: euler_ratio is not defined."
    return Reading({"euler_ratio": None}, (why,))


def _named(names: Sequence[str], numbers: Sequence[float]) -> dict[str, float | None]:
    """Return the numbers by name; the last name has the value None in 2D, where there are only two numbers."""
    return dict(itertools.zip_longest(names, numbers))


def _patches(pair: Pair) -> Reading:
    rng = np.random.default_rng(pair.settings.seed)
    count = pair.settings.patch_count
    size = np.minimum(pair.shape, PATCH[pair.dims])
    total = np.zeros(pair.dims)
    for corner in rng.integers(0, np.array(pair.shape) - size + 1, (count, pair.dims)):
        box = tuple(slice(a, a + n) for a, n in zip(corner, size, strict=True))
        predicted, truth = (
            betti_numbers(mask[box], pair.settings.connectivity).numbers
            for mask in (pair.predicted, pair.truth)
        )
        total += np.abs(np.subtract(predicted, truth))
    return Reading(_named([f"{name}_patches" for name in _NAMES], (total / count).tolist()))


def _matching(pair: Pair) -> Reading:
    foreground, background = connectivities(pair.dims, pair.settings.connectivity)
    predicted, truth = pair.predicted, pair.truth
    matched = [_both_in(predicted, truth, foreground)]
    if pair.dims == 3:
        matched.append(common_loops(predicted, truth, foreground, pair.settings.threads))
    matched.append(_around_both(predicted, truth, background))
    unmatched = [
        p + g - 2 * m for p, g, m in zip(*(betti.numbers for betti in pair.betti), matched, strict=True)
    ]
    return Reading(_named(_MATCHING, unmatched))


def _soft_matching(pair: Pair) -> Reading:
    arrays = [volume.array for volume in (pair.prediction, pair.reference)]
    wide = np.float64 if any(array.dtype.itemsize > 4 for array in arrays) else np.float32
    predicted, truth = (array.astype(wide, copy=False) for array in arrays)
    matching = match(predicted, truth, pair.settings.connectivity, pair.settings.threads)
    return Reading(_named(_SOFT, [matched.loss for matched in matching.dimensions]))


def _both_in(first: Mask, second: Mask, connectivity: int) -> int:
    """Return the number of components of the union of two masks that contain voxels of both masks."""
    labels, _ = label_components(first | second, connectivity)
    return len(np.intersect1d(labels[first], labels[second]))


def _around_both(first: Mask, second: Mask, connectivity: int) -> int:
    """Return the number of cavities (2D: holes) that two masks have in common in their union, by Alexander duality.

    Cavities of the union that are connected in the background of one of the masks count as one cavity; cavities that
    are connected to the outside there do not count.
    """
    # Padding joins all background that touches the border.
    outside = [~np.pad(mask, 1) for mask in (first, second)]
    both = outside[0] & outside[1]
    ends = [label_components(mask, connectivity)[0][both] for mask in outside]
    pairs = np.unique(np.stack(ends), axis=1)
    nodes, edges = np.unique(pairs * [[1], [-1]], return_inverse=True)
    return count_graph_components(len(nodes), *edges.reshape(2, -1)) - 1


METRICS: Final = (
    Metric(
        names=(*_NAMES, "euler_error"),
        title="Betti errors",
        definition=(
            "betti_k_error = |b_k(P) - b_k(G)| of the whole masks: b_0 counts connected components, b_1 loops (in 2D "
            "holes), b_2 cavities (in 3D only). euler_error is the same of the Euler characteristic chi = b_0 "
            "- b_1 + b_2. Outside of the map is background. Equal numbers do not mean equal places: see diu. An empty "
            "mask has only zeros."
        ),
        source="Shit et al., clDice, CVPR 2021; numbers by labelling and by counting cells",
        unit="count",
        better="lower",
        cost="0.1 s",
        compute=_whole,
        solid=_NAMES[2:],
    ),
    Metric(
        names=("euler_ratio",),
        title="Euler ratio",
        definition=(
            "chi(P) / chi(G), the ratio of the clDice paper's supplement; its text has the difference, which is "
            "euler_error. 1 where both are 0; null where only chi(G) is 0, as of a single ring."
        ),
        source="Shit et al., clDice, CVPR 2021, supplement",
        unit="1",
        better="one",
        cost="none beside betti_0_error",
        compute=_ratio,
    ),
    Metric(
        names=tuple(f"{name}_patches" for name in _NAMES),
        title="Betti errors of patches",
        definition=(
            "The mean of betti_k_error over random patches, in which what the patch cuts off is background: 64 x 64 in "
            "2D, 48 x 48 x 48 in 3D, as in the clDice paper. Their places are drawn with --seed, all equally likely "
            "and wholly inside the map; they may overlap. Along an axis shorter than a patch all of it is taken."
        ),
        source="Hu et al., Topology-preserving deep image segmentation, NeurIPS 2019; Shit et al., clDice, CVPR 2021",
        unit="count",
        better="lower",
        cost="0.7 s for 100 patches",
        compute=_patches,
        asked_by=("expensive", "patches"),
        solid=(f"{_NAMES[2]}_patches",),
    ),
    Metric(
        names=_MATCHING,
        title="Betti matching errors",
        definition=(
            "betti_matching_k_error = b_k(P) + b_k(G) - 2 m_k: the components, loops (in 2D holes) and cavities of "
            "either mask that have no counterpart in the other. They correspond where they are the same in the union: "
            "m_k is the dimension of the common part of the images of H_k(P) and H_k(G) in H_k(P or G). A component "
            "that only P has and another one that only G has are two errors here and none for betti_0_error. The "
            "published algorithm orders the voxels of equal value and matches a little more where that order lets it; "
            "what is counted here depends on no order. k = 2 is left out in 2D; an empty mask has nothing to match."
        ),
        source=(
            "Stucki et al., Topologically faithful image segmentation via induced matching of persistence barcodes, "
            "ICML 2023. Components and cavities by labelling, in 2D holes too; loops in 3D by persistence"
        ),
        unit="count",
        better="lower",
        cost="2 s; of noise 10 s",
        compute=_matching,
        asked_by=("expensive",),
        solid=_MATCHING[2:],
    ),
    Metric(
        names=_SOFT,
        title="Soft Betti matching errors",
        definition=(
            "The Betti matching loss of the probabilities p and the reference's values g as they are, without a "
            "threshold, by dimension: the sum of 2 ((b - b')^2 + (d - d')^2) over matched persistence bars, with "
            "births b, b' and deaths d, d', and of (b - d)^2 over all others of p and of g. Bars are matched if their "
            "images in max(p, g) die with the same bar there. Of two masks it is betti_matching_k_error. It is a sum "
            "over bars, those of noise among them. k = 2 is left out in 2D; an empty map has no bars."
        ),
        source=(
            "Stucki et al., Topologically faithful image segmentation via induced matching of persistence barcodes, "
            "ICML 2023; image persistence by union-find and, of loops in 3D, on discrete gradients"
        ),
        unit="1",
        better="lower",
        cost="4 s, 0.3 GB; of noise 20 s, 0.8 GB",
        compute=_soft_matching,
        asked_by=("expensive",),
        solid=_SOFT[2:],
    ),
)
