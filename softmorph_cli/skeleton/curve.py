"""The voxels of the curve that is traced: the exact centreline of a map, or a skeleton thinned to one voxel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from softmorph_cli.compiler.compile import RANKS, compile_rule
from softmorph_cli.compiler.deletions import table_of
from softmorph_cli.filters.filter import Report
from softmorph_cli.filters.operations.skeletonize import Skeleton
from softmorph_cli.kernels.level_sets import LevelSets, nested_finished
from softmorph_cli.rules import catalog
from softmorph_cli.skeleton.cavities import filled
from softmorph_cli.skeleton.frame import Frame
from softmorph_cli.skeleton.graph import SkeletonGraph, measure
from softmorph_cli.skeleton.image_kind import MAP, SKELETON, exact_levels
from softmorph_cli.skeleton.trace import Voxels, trace
from softmorph_cli.system.parameters import named
from softmorph_cli.system.printable import plural
from softmorph_cli.volume import Volume

# Thinning leaves less than this share of the voxels of a solid object, but nearly all voxels of a curve.
CURVE: Final = 0.3
# Number of voxels whose neighbourhoods are read at once.
_BLOCK: Final = 1 << 18


@dataclass(frozen=True)
class CurveVoxels:
    """The voxels of a curve one voxel wide, with remarks on how the curve was made.

    Attributes:
        voxels: Array indices of the voxels, shape (N, d), in C order.
        image: The map with its cavities filled; None if the input is a skeleton.
        level: Whether the voxels are a level set {p > t} of a nested skeleton, which needs no further thinning.
        notes: Remarks on how the image was processed, one sentence each.
        warnings: Remarks on doubtful results, one sentence each.
    """

    voxels: Voxels
    image: npt.NDArray[Any] | None = None
    level: bool = False
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def centreline_mask(volume: Volume, threshold: float, threads: int | None = None) -> npt.NDArray[np.bool_]:
    """Return the exact centreline of {p > threshold} as a mask one voxel wide.

    A finished nested skeleton (every level set of which is a centreline) needs no thinning: its level set is returned.
    """
    level = nested_curve(volume, threshold)
    return _thinned(volume.array, threshold, threads) if level is None else level


def centreline_voxels(volume: Volume, threshold: float, threads: int | None = None) -> Voxels:
    """Return the voxels of the exact centreline of {p > threshold}, shape (N, d), with cavities filled first."""
    level = nested_curve(volume, threshold)
    return of_map(volume, threshold, threads).voxels if level is None else np.argwhere(level)


def graph_of(voxels: Voxels, frame: Frame, shape: tuple[int, ...]) -> SkeletonGraph:
    """Return the graph of the voxels of a centreline, shape (N, d), without pruning."""
    return measure(trace(voxels), frame, shape, {})


def _thinned(
    image: npt.NDArray[Any], threshold: float, threads: int | None, progress: Report | None = None
) -> npt.NDArray[np.bool_]:
    hard = Skeleton(hard=True, threshold=threshold, threads=threads)
    return np.asarray(hard(image, progress).image.view(bool))


def nested_curve(volume: Volume, threshold: float) -> npt.NDArray[np.bool_] | None:
    """Return {p > threshold} of a finished nested skeleton: a curve one voxel wide that needs no thinning.

    The metadata of the file (provenance) alone are no proof, as other programs copy them to changed images.

    Args:
        volume: The image as read from a file, without channel or time axes.
        threshold: One of the levels at which the nested skeleton is exact.

    Returns:
        The level set as a mask; None if the image is not a finished nested skeleton.
    """
    levels = exact_levels(volume)
    if volume.source is None or levels is None or not nested_finished(volume.source.provenance):
        return None
    above = volume.array > threshold
    # If each value is a level, a type of few bits merges levels, and the check below is not possible.
    stored = np.dtype(volume.source.dtype)
    checkable = isinstance(levels, LevelSets) or (stored.kind == "f" and stored.itemsize >= 4)
    return above if not checkable or _is_finished(volume.array, above, levels) else None


def _is_finished(
    image: npt.NDArray[Any], above: npt.NDArray[np.bool_], levels: LevelSets | Literal["exact"]
) -> bool:
    """Return whether no voxel of the mask `above` could be thinned away in the highest level set that contains it."""
    # The condition is the same in every subfield.
    step = compile_rule(catalog.bundled("thinning-subfields", image.ndim), RANKS)[0]
    table = table_of(step)
    padded, places = np.pad(image, 1), np.argwhere(above)

    def order(voxels: Voxels) -> npt.NDArray[Any]:
        values = padded[tuple(voxels.T)]
        return levels.bins(values) if isinstance(levels, LevelSets) else values

    for start in range(0, len(places), _BLOCK):
        at = places[start : start + _BLOCK] + 1
        own, configuration = order(at), np.zeros(len(at), np.uint32)
        for bit, neighbour in enumerate(table.neighbours):
            configuration |= (order(at + step.offsets[neighbour]) >= own).astype(np.uint32) << np.uint32(bit)
        if (table.bits[configuration >> 3] >> (configuration & 7) & 1).any():
            return False
    return True


def of_map(
    volume: Volume, threshold: float, threads: int | None = None, progress: Report | None = None
) -> CurveVoxels:
    """Return the voxels of the exact centreline of {p > threshold}, with the cavities filled before thinning."""
    image, cavities, voxels = filled(volume.array, threshold)
    notes, warnings = [], []
    if cavities:
        many = f"{cavities:,} cavities" if cavities > 1 else "1 cavity"
        size = f"{voxels:,} voxels in all" if voxels > 1 else "1 voxel"
        notes.append(
            f"{many} inside the object ({size}) counted as filled: a centreline cannot pass "
            "through a closed shell."
        )
    curve = np.argwhere(_thinned(image, threshold, threads, progress))
    if len(curve) == 0:
        top = float(volume.array.max())
        # Half of the maximum, rounded to one digit.
        lower = (
            f"; try {named('threshold', float(f'{top / 2:.1g}'))}" if top > 0 else ": the map is 0 everywhere"
        )
        warnings.append(f"nothing is above {threshold:g}, the largest value is {top:.3g}{lower}.")
    return CurveVoxels(curve, image, notes=tuple(notes), warnings=tuple(warnings))


def of_skeleton(
    volume: Volume, threshold: float, threads: int | None = None, progress: Report | None = None
) -> CurveVoxels:
    """Return the voxels of a skeleton thinned to one voxel, or of the level set of a finished nested skeleton."""
    array = volume.array
    above = array > threshold
    count = int(np.count_nonzero(above))
    level = nested_curve(volume, threshold)
    curve = np.argwhere(_thinned(array, threshold, threads, progress) if level is None else level)
    if count == 0:
        top = float(array.max())
        why = (
            "the file is 0 everywhere"
            if top == 0
            else f"its largest value is {top:.3g}; try a lower {named('threshold')}"
        )
        return CurveVoxels(curve, warnings=(f"the skeleton is empty above {threshold:g}: {why}.",))
    if level is not None:
        return CurveVoxels(curve, level=True)
    notes: tuple[str, ...] = ()
    if exact_levels(volume) is not None and volume.source and nested_finished(volume.source.provenance):
        notes = (
            "its file says that it is a finished nested skeleton, but it was changed or cut since: it is thinned "
            "again.",
        )
    return CurveVoxels(curve, notes=notes, warnings=_loss(array, above, count, len(curve), threshold))


def _loss(
    array: npt.NDArray[Any], above: npt.NDArray[np.bool_], count: int, left: int, threshold: float
) -> tuple[str, ...]:
    """Return a warning if thinning or thresholding changed a skeleton too much; otherwise an empty tuple.

    Args:
        array: The image of the skeleton.
        above: Mask of the voxels above the threshold.
        count: Number of voxels above the threshold.
        left: Number of voxels left after thinning.
        threshold: The threshold.
    """
    if left < CURVE * count:
        return (
            f"thinning left {left:,} of {count:,} voxels: this is no skeleton but a solid object; "
            f"leave out {named('kind', SKELETON, option='as')}, or add {named('kind', MAP, option='as')}.",
        )
    from scipy.ndimage import label

    # A soft skeleton may be above 0 nearly everywhere.
    before, after = (label(mask, np.ones((3,) * array.ndim))[1] for mask in (array > 0, above))
    if before == after and left == count:
        return ()
    return (
        f"cut at {threshold:g} and thinned to one voxel, the skeleton has {plural(after, 'component')} and {left:,} "
        f"voxels; above 0 it had {plural(before, 'component')} and {int(np.count_nonzero(array)):,}.",
    )
