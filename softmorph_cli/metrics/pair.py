"""A prediction and its reference, with the masks, skeletons and graphs that metrics share, computed on demand."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.filters import method as methods
from softmorph_cli.filters.operations.skeletonize import Skeleton
from softmorph_cli.filters.settings import THINNING
from softmorph_cli.filters.settings import Settings as FilterSettings
from softmorph_cli.filters.skeleton import CLDICE_ITERATIONS
from softmorph_cli.metrics.curves import Curves
from softmorph_cli.skeleton import curve
from softmorph_cli.skeleton.frame import Frame
from softmorph_cli.skeleton.graph import SkeletonGraph
from softmorph_cli.skeleton.links import Voxels
from softmorph_cli.system.parameters import below_one, named
from softmorph_cli.topology import components
from softmorph_cli.topology.betti import Betti, betti_numbers
from softmorph_cli.volume import Volume

Mask = npt.NDArray[np.bool_]
T = TypeVar("T")
# Of surface-distance: by name, the distance of each surface element to the other surface, and its area.
Distances = Mapping[str, npt.NDArray[np.float64]]

# Threshold of the reference, whatever that of the prediction: of a soft reference it is the majority.
TRUTH: Final = 0.5

# Side of a patch, as in the clDice paper, and the default number of patches.
PATCH: Final = {2: 64, 3: 48}
PATCHES: Final = 100


class Both(NamedTuple, Generic[T]):
    """A pair of values, one for the prediction and one for the reference."""

    prediction: T
    reference: T


# Both maps are cut at a threshold.
UNDECIDED: Final[Both[Mask | None]] = Both(None, None)


@dataclass(frozen=True)
class MetricSettings:
    """Settings that affect the metrics.

    Attributes:
        threshold: Threshold in [0, 1); voxels of the prediction with a larger value are foreground.
        connectivity: Connectivity of the foreground, 4 or 8 in 2D, 6 or 26 in 3D; the background has the other one.
            None for 8 in 2D and 26 in 3D.
        method: Name of the method that makes soft skeletons.
        iterations: Number of iterations of soft skeletons; None to iterate until nothing changes (method `cldice`: 10).
        tolerance: Largest distance at which surfaces and centrelines agree, in the unit of the voxel size; in voxels if
            that is unknown.
        all_components: Whether the metrics of the airway challenges measure all of the prediction, rather than its
            largest component.
        expensive: Whether slow metrics are computed too.
        patches: Number of random patches over which Betti errors are averaged; None for 100 if `expensive`, else none.
        seed: Seed of the random generator that places the patches.
        threads: Number of CPU threads; None for as many as the machine allows.
    """

    threshold: float = 0.5
    connectivity: int | None = None
    method: str = THINNING
    iterations: int | None = None
    tolerance: float = 1.0
    all_components: bool = False
    expensive: bool = False
    patches: int | None = None
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        """Check that all settings are in range.

        Raises:
            UsageError: If a value is out of range.
        """
        methods.find(self.method)
        below_one("threshold", self.threshold)
        if not 0 <= self.tolerance < math.inf:
            raise UsageError(
                f"{named('tolerance', option='distance-tolerance')} {self.tolerance:g}: a distance is at least 0."
            )
        if self.connectivity not in (None, 4, 8, 6, 26):
            raise UsageError(
                f"{named('connectivity')} {self.connectivity}: it is 4 or 8 in 2D, 6 or 26 in 3D."
            )
        if self.seed < 0:
            raise UsageError(f"{named('seed')} {self.seed}: it must be at least 0.")
        for name in ("patches", "threads", "iterations"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{named(name)} {value}: at least 1 is needed.")

    @property
    def patch_count(self) -> int:
        """Number of random patches over which Betti errors are averaged."""
        return PATCHES if self.patches is None else self.patches

    @property
    def _until(self) -> int | str:
        """The stopping condition of soft skeletons, for JSON, when `iterations` is None: a number or a text."""
        if methods.find(self.method).scheme is methods.Scheme.POOLING:
            return CLDICE_ITERATIONS
        share = FilterSettings(self.method).relevant(until_stable=True).get("tolerance")
        least = "" if share is None else f", or by less than {share:g} of the map's sum"
        return f"until nothing changes{least}"

    def as_dict(self, dims: int) -> dict[str, Any]:
        """Return the settings that affect the metrics of 2D or 3D maps (`dims`), as a JSON object."""
        foreground, background = components.connectivities(dims, self.connectivity)
        return {
            "threshold": self.threshold,
            "reference_threshold": TRUTH,
            "ties": "a voxel whose value equals the threshold is background",
            "connectivity": foreground,
            "background_connectivity": background,
            "skeleton": "softmorph skeletonize --hard of the thresholded map: "
            + {2: "2D thinning", 3: "3D thinning by Palágyi & Kuba 1998"}[dims]
            + f", finished to one voxel by subfields, which keeps {3**dims - 1}-connected components and holes",
            "soft_skeleton": self.method,
            "soft_skeleton_iterations": self.iterations or self._until,
            "nsd_tolerance": self.tolerance,
            "all_components": self.all_components,
            "expensive": self.expensive,
            "patches": self.patch_count if self.expensive or self.patches else None,
            "patch_shape": [PATCH[dims]] * dims,
            "seed": self.seed,
        }


def largest_component(mask: Mask) -> Mask:
    """Return the largest component of a mask, of voxels that share faces (in 2D edges); of equal ones the first.

    >>> import numpy as np
    >>> largest_component(np.array([[1, 0, 1, 1]], bool)).astype(int).tolist()
    [[0, 0, 1, 1]]
    """
    labels, count = components.label_components(mask, 2 * mask.ndim)
    return mask if count < 2 else np.asarray(labels == np.bincount(labels[mask]).argmax())


@dataclass(frozen=True)
class Pair:
    """A prediction and a reference on the same voxel grid, with the masks and skeletons that metrics share.

    Attributes:
        prediction: Map of probabilities, shape (Y, X) or (Z, Y, X), without channel or time axes.
        reference: Mask of 0 and 1, or map of probabilities, of the same shape; only its values are used.
        settings: Settings of the metrics.
        decided: For each map the mask of the voxels where the class is the most probable of exclusive classes; None for
            a map that a threshold decides.
    """

    prediction: Volume
    reference: Volume
    settings: MetricSettings = field(default_factory=MetricSettings)
    decided: Both[Mask | None] = UNDECIDED

    def __post_init__(self) -> None:
        """Check that the maps can be compared voxel by voxel.

        Raises:
            InputError: If a volume has mapped axes, or the shapes differ.
            InputError: If the connectivity does not exist in the maps' dimension.
        """
        if self.prediction.mapped_axes or self.reference.mapped_axes:
            axes = f"{self.prediction.axes} and {self.reference.axes}"
            raise InputError(f"maps are compared one at a time, of axes YX or ZYX: these have {axes}.")
        if self.prediction.array.shape != self.reference.array.shape:
            raise InputError(
                f"the prediction's shape is {self.prediction.array.shape} and the reference's "
                f"{self.reference.array.shape}: they must be on one grid."
            )
        components.connectivities(self.dims, self.settings.connectivity)

    @property
    def dims(self) -> int:
        """Number of spatial axes: 2 or 3."""
        return self.prediction.spatial_dims

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of both maps."""
        return self.prediction.array.shape

    @cached_property
    def frame(self) -> Frame:
        """The affine map from array indices of the prediction to world coordinates."""
        return Frame.of(self.prediction)

    @property
    def unit(self) -> str | None:
        """The unit of `spacing`: "mm", "um" or "nm", or None where it is unknown."""
        return self.frame.unit

    @property
    def spacing(self) -> tuple[float, ...]:
        """The side lengths of a voxel along each array axis; relative to the side along x if the unit is unknown."""
        return tuple(self.frame.sides.tolist())

    @cached_property
    def predicted(self) -> Mask:
        """The mask of the prediction: above the threshold, or the most probable class."""
        decided = self.decided.prediction
        return self.prediction.array > self.settings.threshold if decided is None else decided

    @cached_property
    def truth(self) -> Mask:
        """The mask of the reference: above 0.5, or the most probable class."""
        decided = self.decided.reference
        return self.reference.array > TRUTH if decided is None else decided

    @cached_property
    def main_part(self) -> Mask:
        """The part of the prediction's mask that the metrics of the airway challenges measure.

        This is its largest component, of voxels that share faces (in 2D edges), of equal ones the first; all of it if
        the settings say so.
        """
        return self.predicted if self.settings.all_components else largest_component(self.predicted)

    @cached_property
    def skeletons(self) -> Both[Mask]:
        """The exact centrelines of both masks: one voxel wide, with the topology of the masks (8- or 26-connected)."""
        threads = self.settings.threads
        return Both(*(curve.centreline_mask(volume, cut, threads) for volume, cut in self._cut))

    @cached_property
    def soft_skeletons(self) -> Both[npt.NDArray[Any]]:
        """The soft skeletons of both maps, made by the method that the settings name."""
        settings = self.settings
        soft = Skeleton(settings.method, iterations=settings.iterations, threads=settings.threads)
        return Both(*(soft(volume.array).image for volume in (self.prediction, self.reference)))

    @cached_property
    def lines(self) -> Both[Voxels]:
        """The voxels of both centrelines, shape (N, d), of the masks with their cavities filled."""
        threads = self.settings.threads
        return Both(*(curve.centreline_voxels(volume, cut, threads) for volume, cut in self._cut))

    @cached_property
    def line_distances(self) -> Both[npt.NDArray[np.float64]]:
        """The distance of each voxel of `lines` to the nearest one of the other map; neither may be empty.

        Distances are between the centres of voxels, in the unit of `frame`.
        """
        from scipy.spatial import cKDTree

        mine, its = (self.frame.world(voxels) for voxels in self.lines)
        return Both(
            *(np.asarray(cKDTree(to).query(of)[0], np.float64) for of, to in ((mine, its), (its, mine)))
        )

    @cached_property
    def graphs(self) -> Both[SkeletonGraph]:
        """The graphs of both centrelines, traced as by `softmorph inspect` with cavities filled and nothing pruned."""
        return Both(*(curve.graph_of(voxels, self.frame, self.shape) for voxels in self.lines))

    @cached_property
    def curves(self) -> Both[Curves]:
        """The nodes and smoothed branches of both graphs, in units of the shortest side of a voxel."""
        return Both(*map(Curves.of, self.graphs))

    @cached_property
    def betti(self) -> Both[Betti]:
        """The Betti numbers of both masks, for the connectivity of the settings."""
        return Both(
            *(betti_numbers(mask, self.settings.connectivity) for mask in (self.predicted, self.truth))
        )

    @cached_property
    def surfaces(self) -> Distances:
        """Distances between the surfaces of both masks, in the unit of `spacing`; neither mask may be empty.

        Everything outside the map is background. The computation takes about 60 bytes for each voxel of the bounding
        box of both masks.
        """
        import surface_distance

        with warnings.catch_warnings():
            # surface-distance 0.1 calls scipy.ndimage by deprecated names.
            warnings.filterwarnings("ignore", "Please (import|use)", DeprecationWarning)
            found: Distances = surface_distance.compute_surface_distances(
                self.truth, self.predicted, self.spacing
            )
        return found

    @property
    def _cut(self) -> tuple[tuple[Volume, float], ...]:
        """For the prediction and the reference, a map and the threshold at which it gives the mask of that image."""
        prediction, reference = (
            volume if decided is None else volume.with_array(decided.astype(np.float32))
            for volume, decided in zip((self.prediction, self.reference), self.decided, strict=True)
        )
        threshold = self.settings.threshold if self.decided.prediction is None else TRUTH
        return (prediction, threshold), (reference, TRUTH)
