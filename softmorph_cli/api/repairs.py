"""The public function `repair`, which repairs the topology of a map."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar, Unpack, overload

from softmorph_cli.api.images import (
    Array,
    Image,
    Placed,
    as_given,
    as_volume,
    at_level,
    is_placed,
    named_after,
)
from softmorph_cli.errors import SoftmorphWarning
from softmorph_cli.pipeline.steps.repair_job import Asked, check_effort, job_of
from softmorph_cli.system import lengths
from softmorph_cli.system.parameters import below_one, named

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from softmorph_cli.metrics.certificate import Certificate
    from softmorph_cli.topology.betti import Betti
    from softmorph_cli.topology.prior import Prior
    from softmorph_cli.topology.repair import Stopped
    from softmorph_cli.volume import Volume

T = TypeVar("T")


@dataclass(frozen=True, repr=False)
class Repair(Generic[T]):
    """Result of `repair`: the repaired map, with the Betti numbers before and after.

    Attributes:
        image: The repaired map, an array or a tensor as the input; a `Volume` if the input was a `Volume` or a path.
        stopped: Why the repair stopped: "reached", "stuck" if no change was left to try, or "max_steps".
        steps: Number of steps that were taken.
        best_step: Index of the step that gave the map, 0 for the input.
        priors: The Betti numbers that were asked for, with their channels.
        change: `voxels_flipped` across the threshold for each prior, `sum_abs`, `max_abs` and `mean_squared` of the
            probabilities.
        certificate: Betti numbers before and after the repair, of the region (if one was given) and of the whole map.
    """

    image: T
    stopped: Stopped
    steps: int
    best_step: int
    priors: tuple[Prior, ...]
    change: Mapping[str, Any]
    certificate: Certificate

    @property
    def reached(self) -> bool:
        """Whether the repaired map has the requested Betti numbers."""
        return self.certificate.reached(self.priors)

    @property
    def betti(self) -> tuple[Betti, ...]:
        """The Betti numbers of the repaired map for each prior, within the region if one was given."""
        return self.certificate.asked

    def __repr__(self) -> str:
        """Return a short text: whether the Betti numbers were reached, the steps and the number of flipped voxels."""
        found = "; ".join(",".join(map(str, one.numbers)) for one in self.betti)
        flipped = sum(self.change["voxels_flipped"])
        how = "reached" if self.reached else f"not reached ({self.stopped})"
        return f"<Repair: {how}, Betti numbers {found}, steps {self.steps}, voxels flipped {flipped:,}>"

    def as_dict(self) -> dict[str, Any]:
        """Return the result as the JSON object of `softmorph topology repair`, without the entries on files."""
        return {
            "reached": self.reached,
            "stop_reason": self.stopped,
            "iterations": self.steps,
            "best_iteration": self.best_step,
            "change": dict(self.change),
            "certificate": {"priors": self.certificate.as_list(self.priors)},
        }


class Options(TypedDict, total=False):
    """The keyword arguments that `repair` takes for every image, for type checkers; `repair` documents them."""

    threshold: float
    connectivity: int | None
    region: str | None
    weight: float
    max_steps: int
    smooth: float | str


class ArrayOptions(Options, total=False):
    """The keyword arguments that `repair` takes for arrays: `Options`, and the voxel size, which an array lacks."""

    spacing: Sequence[float] | None
    unit: str | None


@overload
def repair(image: Array, betti: Asked, **options: Unpack[ArrayOptions]) -> Repair[npt.NDArray[Any]]: ...
@overload
def repair(image: Tensor, betti: Asked, **options: Unpack[ArrayOptions]) -> Repair[Tensor]: ...
@overload
def repair(image: Placed, betti: Asked, **options: Unpack[Options]) -> Repair[Volume]: ...
def repair(
    image: Image,
    betti: Asked,
    *,
    threshold: float = 0.5,
    connectivity: int | None = None,
    region: str | None = None,
    weight: float = 0.1,
    max_steps: int = 100,
    smooth: float | str = 1.0,
    spacing: Sequence[float] | None = None,
    unit: str | None = None,
) -> Repair[Any]:
    """Change a map as little as need be until its mask has given Betti numbers.

    Gaps are bridged and specks erased, loops opened, cavities filled, whatever takes less. The loss is that of
    Clough et al., TPAMI 2020. Where the numbers are not reached, a `SoftmorphWarning` says so and the best map is
    returned.

    Args:
        image: Probabilities, (Y, X) or (Z, Y, X), as an array or a tensor; a `Volume`, which may have channels; or a
            path. It is never written to.
        betti: The numbers of components, loops (in 2D holes) and in 3D cavities, such as (1, 0, 0) for one tree; None
            for any number. Of several channels a mapping from a channel's name or number, or several of them for their
            union, such as {"artery": (1, 0, 0), ("artery", "vein"): (1, None, None)}.
        threshold: Between 0 and 1: a voxel above it is foreground.
        connectivity: Of the foreground: 8 (default) or 4 in 2D, 26 (default) or 6 in 3D.
        region: "z0:z1,y0:y1,x0:x1" in voxels, ends open at will: only this box changes, and the numbers are its own.
        weight: Lambda, the weight of the squared change summed over the voxels, at least 0.
        max_steps: Give up after so many steps.
        smooth: Standard deviation of the change around a voxel that moves: voxels, or a length such as "0.5mm".
        spacing: Of an array: voxel size along each axis, in array order.
        unit: Of `spacing`: "mm", "um" or "nm".

    Returns:
        `Repair`: `.image` of the kind that was given, with its floating-point type; `.reached`, `.betti`, `.change`,
        `.as_dict()`.

    Raises:
        FileError: If a file cannot be read.
        InputError: If the image is no map, `betti` does not fit it, or it is 0 everywhere.
        UsageError: If an argument is wrong whatever the image.

    >>> import numpy as np
    >>> broken = np.full((7, 15), 0.1); broken[3, 1:6] = broken[3, 8:14] = 0.9
    >>> found = repair(broken, betti=(1, 0))
    >>> found.reached, found.betti[0].numbers, found.change["voxels_flipped"]
    (True, (1, 0), [2])
    >>> betti_numbers(found.image).numbers
    (1, 0)
    """
    below_one("threshold", threshold)
    check_effort(weight, max_steps)
    width = smooth if isinstance(smooth, str) else f"{smooth:g}vox"
    lengths.parse(width, named("smooth"))
    volume = as_volume(image, spacing, unit)
    cut, _ = at_level(threshold, volume)
    with named_after(volume):
        job = job_of(
            volume,
            betti,
            region=region,
            smooth=width,
            threshold=cut,
            connectivity=connectivity,
            weight=weight,
            max_steps=max_steps,
        )
        found = job.run()
    result = volume.with_array(found.array.reshape(volume.array.shape))
    made: Repair[Any] = Repair(
        result if is_placed(image) else as_given(result.array, image),
        found.stopped,
        found.steps,
        found.best_step,
        job.priors,
        job.changes(found.array),
        job.certificate(found.array),
    )
    if not made.reached:
        asked = "; ".join(prior.text for prior in job.priors)
        best = "; ".join(",".join(map(str, one.numbers)) for one in made.betti)
        warnings.warn(
            f"the Betti numbers {asked} were not reached ({found.stopped}): the best map has {best}.",
            SoftmorphWarning,
            stacklevel=2,
        )
    return made
