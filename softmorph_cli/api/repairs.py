"""The public function `repair`, which repairs the topology of a map, and `job_of`, which the command uses too."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
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
from softmorph_cli.errors import InputError, SoftmorphWarning, UsageError
from softmorph_cli.system import lengths
from softmorph_cli.system.parameters import below_one, in_shell, named

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from softmorph_cli.metrics.certificate import Certificate
    from softmorph_cli.topology.betti import Betti
    from softmorph_cli.topology.prior import Prior
    from softmorph_cli.topology.repair import Kind, Repaired, Repairer, Stopped
    from softmorph_cli.volume import Volume

T = TypeVar("T")

Asked = Sequence[int | None] | Mapping[int | str | tuple[int | str, ...], Sequence[int | None]]


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


@dataclass(frozen=True)
class Job:
    """A map to be repaired, with the requested Betti numbers and the parameters of the repair.

    Attributes:
        array: The probabilities, shape (C, Y, X) or (C, Z, Y, X).
        priors: The Betti numbers that are asked for.
        repairer: The parameters of the repair.
    """

    array: npt.NDArray[Any]
    priors: tuple[Prior, ...]
    repairer: Repairer

    def run(self, report: Callable[[int, int, Sequence[Betti]], None] | None = None) -> Repaired:
        """Return the repaired map; `report` receives, at each step, its index, `max_steps` and the Betti numbers."""
        return self.repairer.repair(self.array, self.priors, report)

    def changes(self, after: npt.NDArray[Any]) -> dict[str, Any]:
        """Return how much the map `after`, of the same shape, differs from the map of the job, as a JSON object."""
        from softmorph_cli.metrics.certificate import changes

        return changes(self.array, after, self.priors, self.repairer)

    def certificate(self, after: npt.NDArray[Any]) -> Certificate:
        """Return the Betti numbers of the map of the job and of the map `after`, which has the same shape."""
        from softmorph_cli.metrics.certificate import Certificate

        return Certificate.of(self.array, after, self.priors, self.repairer)


def job_of(volume: Volume, betti: Asked | Path, *, region: str | None, smooth: str, **settings: Any) -> Job:
    """Return the job that repairs a map.

    Args:
        volume: The map, which may have several channels.
        betti: The Betti numbers as for `repair`, or the path of a TOML file of priors.
        region: The box that may change, as for `repair`; None for the whole map.
        smooth: Standard deviation of the change around a voxel that moves: a length such as "1vox" or "0.5mm".
        **settings: Further fields of `topology.repair.Repairer`.

    Raises:
        FileError: If the file cannot be read.
        InputError: If the priors, the region or the length do not fit the map.
    """
    from softmorph_cli.topology.prior import Prior
    from softmorph_cli.topology.repair import Repairer

    array, kind = _channels(volume)
    if isinstance(betti, Path):
        priors = Prior.read_all(betti, volume.channels, len(array), volume.spatial_dims)
    else:
        priors = _priors(betti, volume, len(array))
    box = _box(region, volume)
    return Job(array, priors, Repairer(smooth=_smoothing(smooth, volume), region=box, kind=kind, **settings))


def check_effort(weight: float, max_steps: int) -> None:
    """Raise UsageError if the weight or the maximum number of steps is out of range."""
    if not 0 <= weight < float("inf"):
        raise UsageError(f"{named('weight', option='lambda')} {weight:g}: it must be at least 0 and finite.")
    if max_steps < 0:
        raise UsageError(f"{named('max_steps')} {max_steps}: it must be at least 0.")


def _channels(volume: Volume) -> tuple[npt.NDArray[Any], Kind]:
    """Return the array of a map with the channel axis first, and how the channels relate to each other.

    The relation is "apart", "complete" or "rest", as in `topology.repair.Repairer`.
    """
    from softmorph_cli.io import select
    from softmorph_cli.io.nnunet import classes

    mapped = volume.array.shape[: -volume.spatial_dims]
    if sum(size > 1 for size in mapped) > 1:
        held = " x ".join(
            f"{size} along {axis}" for axis, size in zip(volume.mapped_axes, mapped, strict=True)
        )
        other = next(a for a, size in zip(volume.mapped_axes, mapped, strict=True) if size > 1 and a != "C")
        advice = select.how_to_select(volume, select.first_along(other))
        raise InputError(f"it holds {held}, and one map of them is repaired: {advice}.")
    array = volume.array.reshape(-1, *volume.array.shape[-volume.spatial_dims :])
    if len(array) == 1:
        return array, "apart"
    kind = classes(volume).kind
    return array, kind if kind in ("complete", "rest") else "apart"


def _one_prior(betti: Sequence[int | None], volume: Volume, count: int) -> tuple[Prior, ...]:
    from softmorph_cli.io import select
    from softmorph_cli.topology.prior import Prior

    if count > 1:
        names = f" ({', '.join(volume.channels)})" if volume.channels else ""
        # One of the mapped axes is longer than 1.
        axis = next(a for a, size in zip(volume.axes, volume.array.shape, strict=True) if size > 1)
        option = select.class_option(volume)
        what = "channels" if option or axis == "C" else f"maps along {axis}"
        each = "or give each its prior as betti={0: (...), 1: (...)}"
        if in_shell():
            each = "or give each its prior with --priors FILE"
        advice = select.how_to_select(volume, option or select.first_along(axis))
        raise InputError(f"it holds {count} {what}{names}: {advice}, {each}.")
    return (Prior.of((0,), betti, volume.spatial_dims),)


def _smoothing(length: str, volume: Volume) -> tuple[float, ...]:
    """Parse a length and return it in voxels along each spatial axis of a map."""
    number, unit = lengths.parse(length, named("smooth"))
    if unit == "vox":
        return (number,) * volume.spatial_dims
    if volume.spacing is None:
        raise InputError(
            f"it does not say how large its voxels are: give {named('smooth')} {length} in voxels, such as "
            f"{named('smooth', '1vox')}."
        )
    own = lengths.in_unit((number, unit), volume.unit)
    return tuple(own / size for size in volume.spacing)


def _box(region: str | None, volume: Volume) -> tuple[slice, ...] | None:
    from softmorph_cli.io.select import box

    if region is None:
        return None
    return box(region, volume.spatial_axes, volume.array.shape[-volume.spatial_dims :], "the map")


def _priors(betti: Asked, volume: Volume, count: int) -> tuple[Prior, ...]:
    from softmorph_cli.topology.prior import Prior

    if not isinstance(betti, Mapping):
        return _one_prior(tuple(betti), volume, count)
    if not betti:
        raise UsageError("betti is empty: give the numbers of each channel, such as {0: (1, 0, 0)}.")
    return tuple(
        Prior.from_table(
            {"channels": list(one) if isinstance(one, tuple) else [one], "betti": list(asked)},
            volume.channels,
            count,
            volume.spatial_dims,
        )
        for one, asked in betti.items()
    )
