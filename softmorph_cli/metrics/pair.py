"""A prediction and its reference, with all that several metrics need, made once and only where asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.filters import method as methods
from softmorph_cli.filters.defaults import THINNING
from softmorph_cli.filters.operations import Skeleton
from softmorph_cli.filters.settings import Settings as FilterSettings
from softmorph_cli.filters.skeleton import CLDICE_ITERATIONS
from softmorph_cli.metrics.distances import Distances, between
from softmorph_cli.skeleton.curve import nested_curve, of_map
from softmorph_cli.skeleton.frame import Frame
from softmorph_cli.skeleton.graph import SkeletonGraph, measure
from softmorph_cli.skeleton.trace import trace
from softmorph_cli.system.parameters import named
from softmorph_cli.topology import components
from softmorph_cli.topology.betti import Betti, betti_numbers
from softmorph_cli.volume import Volume

Mask = npt.NDArray[np.bool_]
T = TypeVar("T")

# A reference is cut here whatever the prediction is cut at: a mask has nothing between, and of a soft reference this is
# the majority.
TRUTH: Final = 0.5

# The side of a patch along each axis, as in the clDice paper, and how many there are where nobody says.
PATCH: Final = {2: 64, 3: 48}
PATCHES: Final = 100


class Both(NamedTuple, Generic[T]):
    """The same thing of the prediction and of the reference."""

    prediction: T
    reference: T


# Of maps that are cut at a threshold.
UNDECIDED: Final[Both[Mask | None]] = Both(None, None)


@dataclass(frozen=True)
class Settings:
    """What a person can choose about an evaluation.

    Attributes:
        threshold: A voxel of the prediction whose value is above it is foreground.
        connectivity: Of the foreground, 4 or 8 in 2D, 6 or 26 in 3D; the background has the other. None for 8 and 26.
        method: How soft skeletons are made, see `filters.method`.
        iterations: Of soft skeletons; None until nothing changes (`cldice`: 10).
        tolerance: Of the normalised surface Dice, in the unit of `Pair.spacing`; in voxels where that is unknown.
        expensive: Whether the metrics that take long are wanted too.
        patches: How many random patches Betti errors are averaged over; None for 100 where they are wanted.
        seed: Of their places.
        threads: On the CPU; None for as many as the machine allows.
    """

    threshold: float = 0.5
    connectivity: int | None = None
    method: str = THINNING
    iterations: int | None = None
    tolerance: float = 1.0
    expensive: bool = False
    patches: int | None = None
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        """Refuse what is wrong whatever the maps.

        Raises:
            UsageError: If a value is out of range.
        """
        methods.find(self.method)
        if not 0 <= self.threshold < 1:
            raise UsageError(f"{named('threshold')} {self.threshold:g}: it must be at least 0 and below 1.")
        if not 0 <= self.tolerance < math.inf:
            raise UsageError(f"{named('tolerance')} {self.tolerance:g}: a distance is at least 0.")
        if self.patches is not None and self.patches < 1:
            raise UsageError(f"{named('patches')} {self.patches}: at least 1 is needed.")
        if self.connectivity not in (None, 4, 8, 6, 26):
            raise UsageError(
                f"{named('connectivity')} {self.connectivity}: it is 4 or 8 in 2D, 6 or 26 in 3D."
            )
        if self.seed < 0:
            raise UsageError(f"{named('seed')} {self.seed}: it must be at least 0.")
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"{named('threads')} {self.threads}: at least 1 is needed.")
        if self.iterations is not None and self.iterations < 1:
            raise UsageError(f"{named('iterations')} {self.iterations}: at least 1 is needed.")

    @property
    def patch_count(self) -> int:
        """How many patches there are."""
        return PATCHES if self.patches is None else self.patches

    @property
    def _until(self) -> int | str:
        """When a soft skeleton ends that has no number of iterations."""
        if methods.find(self.method).family is methods.Family.POOLING:
            return CLDICE_ITERATIONS
        share = FilterSettings(self.method).relevant(until_stable=True).get("tolerance")
        least = "" if share is None else f", or by less than {share:g} of the map's sum"
        return f"until nothing changes{least}"

    def as_dict(self, dims: int) -> dict[str, Any]:
        """Return, for JSON, all that a metric of maps with 2 or 3 axes depends on, in words where it is a choice."""
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
            "expensive": self.expensive,
            "patches": self.patch_count if self.expensive or self.patches else None,
            "patch_shape": [PATCH[dims]] * dims,
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Pair:
    """A prediction and a reference on one grid.

    Attributes:
        prediction: Probabilities, shape (Y, X) or (Z, Y, X), no mapped axes.
        reference: A mask of 0 and 1 or a soft reference, of the same shape; only its values are used.
        settings: How they are compared.
        decided: Of classes that exclude each other, where this one is the most probable; None where a threshold
            decides.
    """

    prediction: Volume
    reference: Volume
    settings: Settings = field(default_factory=Settings)
    decided: Both[Mask | None] = UNDECIDED

    def __post_init__(self) -> None:
        """Check that the two can be compared voxel by voxel.

        Raises:
            InputError: If a volume has mapped axes, or the shapes differ.
            UsageError: If the connectivity does not go with them.
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
        """2 or 3."""
        return self.prediction.spatial_dims

    @property
    def shape(self) -> tuple[int, ...]:
        """Of both maps."""
        return self.prediction.array.shape

    @cached_property
    def frame(self) -> Frame:
        """Where the prediction's voxels lie, in its file's unit where that says one."""
        return Frame.of(self.prediction)

    @property
    def unit(self) -> str | None:
        """The unit of `spacing`: "mm", "um" or "nm", or None where it is unknown."""
        return self.frame.unit

    @property
    def spacing(self) -> tuple[float, ...]:
        """The sides of a voxel along each array axis; without a unit, in voxels (along x)."""
        return tuple(float(side) for side in np.linalg.norm(self.frame.matrix, axis=0))

    @cached_property
    def predicted(self) -> Mask:
        """Where the prediction is above the threshold, or its class the most probable one."""
        decided = self.decided.prediction
        return self.prediction.array > self.settings.threshold if decided is None else decided

    @cached_property
    def truth(self) -> Mask:
        """Where the reference is above one half, or its class the most probable one."""
        decided = self.decided.reference
        return self.reference.array > TRUTH if decided is None else decided

    @cached_property
    def soft(self) -> bool:
        """Whether the reference has values other than 0 and 1."""
        return not bool(((self.reference.array == 0) | (self.reference.array == 1)).all())

    @cached_property
    def skeletons(self) -> Both[Mask]:
        """The exact centrelines of both masks: one voxel wide, of the same topology as the masks (26 or 8)."""

        def skeleton(volume: Volume, cut: float) -> Mask:
            drawn = nested_curve(volume, cut)
            if drawn is not None:
                return drawn
            hard = Skeleton(hard=True, threshold=cut, threads=self.settings.threads)
            return np.asarray(hard(volume.array).image.view(bool))

        return Both(*(skeleton(volume, cut) for volume, cut in self._cut))

    @cached_property
    def soft_skeletons(self) -> Both[npt.NDArray[Any]]:
        """The soft skeletons of both maps by the chosen method."""
        how = self.settings
        soft = Skeleton(how.method, iterations=how.iterations, threads=how.threads)
        return Both(*(soft(volume.array).image for volume in (self.prediction, self.reference)))

    @cached_property
    def graphs(self) -> Both[SkeletonGraph]:
        """The graphs of both centrelines as `softmorph inspect` traces them: cavities filled, nothing pruned."""

        def graph(volume: Volume, cut: float) -> SkeletonGraph:
            drawn = nested_curve(volume, cut)
            voxels = (
                of_map(volume, cut, self.settings.threads).voxels if drawn is None else np.argwhere(drawn)
            )
            return measure(trace(voxels), self.frame, self.shape, {})

        return Both(*(graph(volume, cut) for volume, cut in self._cut))

    @cached_property
    def betti(self) -> Both[Betti]:
        """Betti numbers of both masks."""
        return Both(
            *(betti_numbers(mask, self.settings.connectivity) for mask in (self.predicted, self.truth))
        )

    @cached_property
    def surfaces(self) -> Distances:
        """How far both surfaces are apart, in the unit of `spacing`; neither mask may be empty."""
        return between(self.predicted, self.truth, self.spacing)

    @property
    def _cut(self) -> tuple[tuple[Volume, float], ...]:
        """The maps that have the two masks above the thresholds beside them."""
        prediction, reference = (
            volume if decided is None else volume.with_array(decided.astype(np.float32))
            for volume, decided in zip((self.prediction, self.reference), self.decided, strict=True)
        )
        threshold = self.settings.threshold if self.decided.prediction is None else TRUTH
        return (prediction, threshold), (reference, TRUTH)
