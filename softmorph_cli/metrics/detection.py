"""Metrics of the airway challenges: how much of the reference's tree a prediction holds, and how far it leaks.

The definitions are those of ATM'22 and AIIB23. The published evaluation of ATM'22 (`evaluation_atm_22.py`, MIT licence)
counts the reference's centreline voxels inside the mask that it is given, and a branch from a share of 0.8 on, 0.8
included; the challenge's page says that only the largest component of a prediction is evaluated so. The code that the
organisers of AIIB23 published (`airway_metric.py`, in the same repository) takes the largest component of voxels that
share faces for all three measures. The centreline and the branches are this package's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.metrics.metric import Metric, Reading
from softmorph_cli.metrics.overlap import share
from softmorph_cli.metrics.pair import Mask, Pair
from softmorph_cli.skeleton.cavities import filled
from softmorph_cli.skeleton.graph import SkeletonGraph

# The share of a branch's centreline from which on the branch is detected.
DETECTED: Final = 0.8


def branch_voxels(graph: SkeletonGraph) -> Iterator[npt.NDArray[np.intp]]:
    """Yield the array indices of the voxels of each branch of a graph, shape (N, d), each voxel once.

    The voxels of junctions, which several branches share, are left out, unless a branch has no others. An isolated
    voxel counts as a branch.
    """
    at_junctions = [node.voxels for node in graph.nodes if node.degree > 2]
    shared = _flat(np.concatenate(at_junctions), graph) if at_junctions else np.empty(0, np.intp)
    for branch in graph.branches:
        flat = np.unique(_flat(branch.voxels, graph))
        own = flat[~np.isin(flat, shared)]
        yield np.stack(np.unravel_index(own if len(own) else flat, graph.shape), axis=1)
    yield from (node.voxels for node in graph.nodes if node.degree == 0)


def _flat(voxels: npt.NDArray[np.intp], graph: SkeletonGraph) -> npt.NDArray[np.intp]:
    return np.asarray(np.ravel_multi_index(tuple(voxels.T), graph.shape))


def _holding(pair: Pair) -> Mask:
    """Return the mask of the voxels where the prediction holds a centreline of the reference.

    These are its own, and in the cavities of the reference, which its centreline may pass, those of its cavities too.
    """
    found, lines = pair.main_part, pair.lines.reference
    if pair.truth[tuple(lines.T)].all():
        return found
    return np.where(pair.truth, found, filled(found, 0)[0])


def _length(pair: Pair) -> Reading:
    inside = _holding(pair)[tuple(pair.lines.reference.T)]
    value = share(float(np.count_nonzero(inside)), len(inside), _without_reference(pair))
    return Reading({"tree_length_detected": value})


def _branches(pair: Pair) -> Reading:
    held, graph = _holding(pair), pair.graphs.reference
    detected = [bool(held[tuple(voxels.T)].mean() >= DETECTED) for voxels in branch_voxels(graph)]
    return Reading({"branches_detected": share(sum(detected), len(detected), _without_reference(pair))})


def _leakage(pair: Pair) -> Reading:
    truth, outside = (int(np.count_nonzero(mask)) for mask in (pair.truth, pair.main_part & ~pair.truth))
    if truth == 0 and outside:
        why = "the reference is empty, so leakage, a share of its voxels, is not defined."
        return Reading({"leakage": None}, (why,))
    return Reading({"leakage": share(outside, truth, 0.0)})


def _without_reference(pair: Pair) -> float:
    """Return the value of a detected share of an empty reference: 1 if the prediction is empty too."""
    return float(not pair.predicted.any())


_PART: Final = (
    "P is the largest component (voxels that share faces) of the prediction above the threshold, with --all-components "
    "all of it; G is the reference."
)
_CHALLENGES: Final = (
    "Zhang et al., Multi-site, multi-domain airway tree modeling (ATM'22), Medical Image Analysis 90, 2023; "
    "Nan et al., AIIB23, 2023 (arXiv:2312.13752)"
)
_OWN: Final = (
    "The challenges thin with scikit-image's skeletonize_3d; another centreline gives slightly other values."
)

METRICS: Final = (
    Metric(
        names=("tree_length_detected",),
        title="Tree length detected",
        definition=(
            "The share of the reference's centreline that the prediction holds (TD, TLD, DLR), |S(G) and P| / |S(G)| "
            f"in voxels. {_PART} S(G) is the exact centreline with cavities filled (softmorph inspect). {_OWN} The "
            "code of AIIB23 passes over a largest component that hardly meets the reference (IoU below 0.1); here it "
            "counts. Both masks empty: 1; one of them: 0."
        ),
        source=_CHALLENGES,
        unit="1",
        better="higher",
        cost="10 ms beside smd",
        compute=_length,
    ),
    Metric(
        names=("branches_detected",),
        title="Branches detected",
        definition=(
            "The share of the reference's branches that the prediction holds (BD, DBR): those with at least "
            f"{DETECTED:.0%} of their centreline voxels in P. {_PART} Branches are those of softmorph inspect, between "
            "end points and junctions, with cavities filled and nothing pruned; the voxels of junctions count for none "
            "of their branches, an isolated voxel is a branch. The challenges cut the tree by a parsing of their own, "
            f"which may join or leave out short branches. {_OWN} Both masks empty: 1; one of them: 0."
        ),
        source=_CHALLENGES,
        unit="1",
        better="higher",
        cost="10 ms beside smd",
        compute=_branches,
    ),
    Metric(
        names=("leakage",),
        title="Leakage",
        definition=(
            f"What the prediction has outside of the reference, |P without G| / |G| in voxels. {_PART} "
            "It may exceed 1. Both masks empty: 0; the prediction: 0; the reference: null."
        ),
        source="Nan et al., AIIB23, 2023 (arXiv:2312.13752)",
        unit="1",
        better="lower",
        cost="10 ms",
        compute=_leakage,
    ),
)
