"""Which voxels are the curve: the centreline of a map, or a skeleton thinned to one voxel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli import machine
from softmorph_cli.filters.settings import Settings
from softmorph_cli.filters.skeleton import thinning
from softmorph_cli.graphs.trace import Voxels
from softmorph_cli.inspection.cavities import filled
from softmorph_cli.inspection.kind import exact_levels
from softmorph_cli.level_sets import LevelSets, nested_finished
from softmorph_cli.volume import Volume

# Less than this share of its voxels is left of a mass when it is thinned; of a curve nearly all are.
CURVE: Final = 0.3


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


def _curve(image: npt.NDArray[Any], threshold: float, settings: Settings) -> Voxels:
    """Return the voxels of the exact centreline, in C order.

    Where it forks, the parallel thinning leaves clumps in which single voxels look like ends of their own. Lee's
    sequential one, which takes any voxel whose loss changes no topology, leaves none of them.
    """
    from skimage.morphology import skeletonize

    centreline = thinning(image, settings, hard=True, threshold=threshold).image
    thin: Callable[..., npt.NDArray[np.bool_]] = skeletonize
    return np.argwhere(thin(centreline.view(bool), method="lee"))


def nested_curve(volume: Volume, threshold: float, settings: Settings) -> npt.NDArray[np.bool_] | None:
    """Return {p > threshold} of a nested skeleton: a curve one voxel wide, which needs no thinning.

    That a file says so is not believed alone, since other programs copy what it says to what they make of it: to
    finish a finished skeleton again changes nothing.

    Args:
        volume: What was read of a file, no mapped axes.
        threshold: One of its levels.
        settings: Threads.

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
    if not above.any() or not seen:
        return above
    where = np.nonzero(above)
    box = tuple(slice(int(along.min()), int(along.max()) + 1) for along in where)
    values = volume.array[where]
    order: Any = levels.bins(values) + 1 if isinstance(levels, LevelSets) else values
    ranks = np.zeros(above[box].shape, np.float64)
    ranks[above[box]] = order / order.max()
    settings = replace(settings, method="nested", levels="exact", lowest=None, finish=True, prune_contrast=0)
    allowed = machine.memory()
    if allowed is not None and ranks.size * (8 + settings.bytes_per_voxel(8)) > allowed:
        return above
    return above if np.array_equal(thinning(ranks, settings).image, ranks) else None


def of_map(volume: Volume, threshold: float, settings: Settings) -> Found:
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
    curve = _curve(image, threshold, settings)
    if len(curve) == 0:
        top = float(volume.array.max())
        lower = f"; try --threshold {_below(top):g}" if top > 0 else ": the map is 0 everywhere"
        warnings.append(f"nothing is above {threshold:g}, the largest value is {top:.3g}{lower}.")
    return Found(curve, image, notes=tuple(notes), warnings=tuple(warnings))


def of_skeleton(volume: Volume, threshold: float, settings: Settings) -> Found:
    """Return a skeleton thinned to one voxel, and say what that did to it; a finished nested one as it is."""
    from scipy.ndimage import label

    array = volume.array
    above = array > threshold
    count = int(np.count_nonzero(above))
    binary = bool(((array == 0) | (array == 1)).all())
    exact = nested_curve(volume, threshold, settings)
    curve = _curve(array, threshold, settings) if exact is None else np.argwhere(exact)
    top = float(array.max())
    if count == 0:
        why = (
            "the file is 0 everywhere"
            if top == 0
            else f"its largest value is {top:.3g}; try a lower --threshold"
        )
        return Found(curve, binary=binary, warnings=(f"the skeleton is empty above {threshold:g}: {why}.",))
    if exact is not None:
        return Found(curve, binary=binary, level=True)
    if len(curve) < CURVE * count:
        told = (
            f"thinning left {len(curve):,} of {count:,} voxels: this is no skeleton but a solid object; "
            "leave out --as skeleton, or add --as map."
        )
        return Found(curve, binary=binary, warnings=(told,))
    notes = []
    if exact_levels(volume) is not None and volume.source and nested_finished(volume.source.provenance):
        notes.append(
            "its file says that it is a finished nested skeleton, but it was changed or cut since: it is thinned again."
        )
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
