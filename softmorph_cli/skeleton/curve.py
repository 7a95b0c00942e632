"""Which voxels are the curve: the centreline of a map, or a skeleton thinned to one voxel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from softmorph_cli.compiler import RANKS, compile_rule
from softmorph_cli.compiler.deletions import table_of
from softmorph_cli.filters.filter import Report
from softmorph_cli.filters.operations import Skeleton
from softmorph_cli.kernels.level_sets import LevelSets, nested_finished
from softmorph_cli.rules import catalog
from softmorph_cli.skeleton.cavities import filled
from softmorph_cli.skeleton.kind import MAP, SKELETON, exact_levels
from softmorph_cli.skeleton.trace import Voxels
from softmorph_cli.system.parameters import named
from softmorph_cli.volume import Volume

# Less than this share of its voxels is left of a mass when it is thinned; of a curve nearly all are.
CURVE: Final = 0.3
# Voxels whose neighbours are looked at together.
_BLOCK: Final = 1 << 18


@dataclass(frozen=True)
class Found:
    """The voxels of a curve, the map without its cavities, and what was seen on the way."""

    voxels: Voxels
    image: npt.NDArray[Any] | None = None
    binary: bool = False
    # Whether the voxels are those of a level of a nested skeleton, as they are.
    level: bool = False
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def _curve(image: npt.NDArray[Any], threshold: float, threads: int | None, progress: Report | None) -> Voxels:
    """Return the voxels of the exact centreline, one voxel wide, in C order."""
    hard = Skeleton(hard=True, threshold=threshold, threads=threads)
    return np.argwhere(hard(image, progress).image)


def nested_curve(volume: Volume, threshold: float) -> npt.NDArray[np.bool_] | None:
    """Return {p > threshold} of a nested skeleton: a curve one voxel wide, which needs no thinning.

    That a file says so is not believed alone, since other programs copy what it says to what they make of it.

    Args:
        volume: What was read of a file, no mapped axes.
        threshold: One of its levels.

    Returns:
        None for anything but a finished nested skeleton.
    """
    levels = exact_levels(volume)
    if volume.source is None or levels is None or not nested_finished(volume.source.provenance):
        return None
    above = volume.array > threshold
    # Where each value is a level, those that fewer bits make equal are one, and what held a voxel cannot be seen.
    kept = np.dtype(volume.source.dtype)
    seen = isinstance(levels, LevelSets) or (kept.kind == "f" and kept.itemsize >= 4)
    return above if not seen or _is_finished(volume.array, above, levels) else None


def _is_finished(
    image: npt.NDArray[Any], above: npt.NDArray[np.bool_], levels: LevelSets | Literal["exact"]
) -> bool:
    """Return whether no voxel of a mask may be deleted from the highest level set that holds it."""
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
) -> Found:
    """Return the exact centreline of what is above the threshold, cavities filled."""
    image, cavities, voxels = filled(volume.array, threshold)
    notes, warnings = [], []
    if cavities:
        many = f"{cavities:,} cavities" if cavities > 1 else "1 cavity"
        size = f"{voxels:,} voxels in all" if voxels > 1 else "1 voxel"
        notes.append(
            f"{many} inside the object ({size}) counted as filled: a centreline cannot pass "
            "through a closed shell."
        )
    curve = _curve(image, threshold, threads, progress)
    if len(curve) == 0:
        top = float(volume.array.max())
        lower = f"; try {named('threshold', _below(top))}" if top > 0 else ": the map is 0 everywhere"
        warnings.append(f"nothing is above {threshold:g}, the largest value is {top:.3g}{lower}.")
    return Found(curve, image, notes=tuple(notes), warnings=tuple(warnings))


def of_skeleton(
    volume: Volume, threshold: float, threads: int | None = None, progress: Report | None = None
) -> Found:
    """Return a skeleton thinned to one voxel, and say what that did to it; a finished nested one as it is."""
    from scipy.ndimage import label

    array = volume.array
    above = array > threshold
    count = int(np.count_nonzero(above))
    binary = bool(((array == 0) | (array == 1)).all())
    exact = nested_curve(volume, threshold)
    curve = _curve(array, threshold, threads, progress) if exact is None else np.argwhere(exact)
    top = float(array.max())
    if count == 0:
        why = (
            "the file is 0 everywhere"
            if top == 0
            else f"its largest value is {top:.3g}; try a lower {named('threshold')}"
        )
        return Found(curve, binary=binary, warnings=(f"the skeleton is empty above {threshold:g}: {why}.",))
    if exact is not None:
        return Found(curve, binary=binary, level=True)
    notes = []
    if exact_levels(volume) is not None and volume.source and nested_finished(volume.source.provenance):
        notes.append(
            "its file says that it is a finished nested skeleton, but it was changed or cut since: it is thinned again."
        )
    if len(curve) < CURVE * count:
        told = (
            f"thinning left {len(curve):,} of {count:,} voxels: this is no skeleton but a solid object; "
            f"leave out {named('kind', SKELETON, option='as')}, or add {named('kind', MAP, option='as')}."
        )
        return Found(curve, binary=binary, notes=tuple(notes), warnings=(told,))
    # A soft skeleton may be above 0 nearly everywhere.
    before, after = (label(mask, np.ones((3,) * array.ndim))[1] for mask in (array > 0, above))
    warnings = []
    if before != after or len(curve) != count:
        warnings.append(
            f"cut at {threshold:g} and thinned to one voxel, the skeleton has {_pieces(after)} and {len(curve):,} "
            f"voxels; above 0 it had {_pieces(before)} and {int(np.count_nonzero(array)):,}."
        )
    return Found(curve, binary=binary, notes=tuple(notes), warnings=tuple(warnings))


def _pieces(count: int) -> str:
    return f"{count:,} component{'s' if count != 1 else ''}"


def _below(top: float) -> float:
    """Return a threshold to try for a map of this maximum: half of it, as people write it."""
    return float(f"{top / 2:.1g}")
