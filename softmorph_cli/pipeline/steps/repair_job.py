"""The job of a repair, for the function `repair`, the command `topology repair` and the step `repair` alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.system import lengths
from softmorph_cli.system.parameters import Parameter, below_one, in_shell, named

if TYPE_CHECKING:
    import numpy.typing as npt

    from softmorph_cli.metrics.certificate import Certificate
    from softmorph_cli.topology.betti import Betti
    from softmorph_cli.topology.prior import Prior
    from softmorph_cli.topology.repair import Kind, Repaired, Repairer
    from softmorph_cli.volume import Volume

Asked = Sequence[int | None] | Mapping[int | str | tuple[int | str, ...], Sequence[int | None]]


def _has_topology(name: str, connectivity: int) -> None:
    if connectivity not in (4, 6, 8, 26):
        raise UsageError(f"{named(name)} {connectivity} has no topology: use 8 or 4 in 2D, 26 or 6 in 3D.")


@dataclass(frozen=True, kw_only=True)
class MaskParameters:
    """The parameters of the mask of a map: threshold and connectivity."""

    threshold: Annotated[
        float, Parameter("A voxel above it is foreground.", "P", check=below_one, first=True)
    ] = 0.5
    connectivity: Annotated[
        int | None,
        Parameter(
            "Connectivity of the foreground: 8 or 4 in 2D, 26 or 6 in 3D; the background has the other "
            "one. (default: 8 or 26)",
            "N",
            check=_has_topology,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class GoalParameters:
    """The parameters of a repair: the requested Betti numbers and the allowed changes."""

    betti: Annotated[
        str | None,
        Parameter(
            "The Betti numbers that the mask should have: components, loops (in 2D holes), in 3D cavities; "
            "`any` for any number.",
            "B0,B1[,B2]",
            first=True,
        ),
    ] = None
    priors: Annotated[
        Path | None,
        Parameter(
            "Of several channels: Betti numbers of each and of unions, in a file as README.md shows.",
            "FILE.toml",
            first=True,
        ),
    ] = None
    weight: Annotated[
        float,
        Parameter(
            "Weight of the squared change, summed over the voxels: 0.5 changes a little less in a few more "
            "steps.",
            "WEIGHT",
            flags=("--lambda",),
        ),
    ] = 0.1
    max_steps: Annotated[
        int, Parameter("Stop after this many steps, with exit status 3 and the best step's map.", "N")
    ] = 100
    smooth: Annotated[
        str,
        Parameter(
            "How far the neighbours of a moved voxel follow it: the standard deviation of a Gaussian, such as 1vox "
            "or 0.5mm. Larger makes wider bridges and flips more voxels.",
            "LENGTH",
        ),
    ] = "1vox"

    @property
    def asked(self) -> Asked | Path:
        """The Betti numbers that are asked for, or the file of priors."""
        from softmorph_cli.topology.prior import Prior

        return self.priors or Prior.parse_betti(self.betti or "")

    def check_goal(self, neither_or_both: str, smooth: str) -> None:
        """Refuse parameters that are wrong for any map.

        Args:
            neither_or_both: The message if not exactly one of Betti numbers and priors is given.
            smooth: The name of the parameter `smooth` in messages.

        Raises:
            UsageError: If a parameter is invalid.
        """
        if (self.betti is None) == (self.priors is None):
            raise UsageError(neither_or_both)
        _ = self.asked  # which refuses Betti numbers that are none
        check_effort(self.weight, self.max_steps)
        lengths.parse(self.smooth, smooth)


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
        betti: The Betti numbers as for the function `repair`, or the path of a TOML file of priors.
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
