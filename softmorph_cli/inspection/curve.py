"""Which voxels are the curve: the centreline of a map, or a skeleton thinned to one voxel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.filters.settings import Settings
from softmorph_cli.filters.skeleton import thinning
from softmorph_cli.graphs.trace import Voxels
from softmorph_cli.inspection.cavities import filled
from softmorph_cli.volume import Volume

# Less than this share of its voxels is left of a mass when it is thinned; of a curve nearly all are.
CURVE: Final = 0.3


@dataclass(frozen=True)
class Found:
    """The voxels of a curve, the map without its cavities, and what was seen on the way."""

    voxels: Voxels
    image: npt.NDArray[Any] | None = None
    binary: bool = False
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
    """Return a skeleton thinned to one voxel, and say what that did to it."""
    from scipy.ndimage import label

    array = volume.array
    above = array > threshold
    count = int(np.count_nonzero(above))
    binary = bool(((array == 0) | (array == 1)).all())
    curve = _curve(array, threshold, settings)
    top = float(array.max())
    if count == 0:
        why = (
            "the file is 0 everywhere"
            if top == 0
            else f"its largest value is {top:.3g}; try a lower --threshold"
        )
        return Found(curve, binary=binary, warnings=(f"the skeleton is empty above {threshold:g}: {why}.",))
    if len(curve) < CURVE * count:
        told = (
            f"thinning left {len(curve):,} of {count:,} voxels: this is no skeleton but a solid object; "
            "leave out --as skeleton, or add --as map."
        )
        return Found(curve, binary=binary, warnings=(told,))
    # A soft skeleton may be above 0 nearly everywhere.
    before, after = (label(mask, np.ones((3,) * array.ndim))[1] for mask in (array > 0, above))
    warnings = []
    if before != after or len(curve) != count:
        warnings.append(
            f"cut at {threshold:g} and thinned to one voxel, the skeleton has {_pieces(after)} and {len(curve):,} "
            f"voxels; above 0 it had {_pieces(before)} and {int(np.count_nonzero(array)):,}."
        )
    return Found(curve, binary=binary, warnings=tuple(warnings))


def _pieces(count: int) -> str:
    return f"{count:,} component{'s' if count != 1 else ''}"


def _below(top: float) -> float:
    """Return a threshold to try for a map of this maximum: half of it, as people write it."""
    return float(f"{top / 2:.1g}")
