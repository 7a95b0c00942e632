"""What a file is to an inspection: a map or a skeleton, one image of it, and whether two lie at the same place."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError
from softmorph_cli.filters.operations import Skeleton
from softmorph_cli.io import classes
from softmorph_cli.io.select import first_along
from softmorph_cli.level_sets import LevelSets, nested_levels
from softmorph_cli.skeleton.frame import Frame
from softmorph_cli.system.parameters import in_shell, named
from softmorph_cli.system.units import MILLIMETRES
from softmorph_cli.volume import SLICE, Volume

MAP, SKELETON = "map", "skeleton"
# Above it a voxel belongs to the curve, where nothing else is asked for.
THRESHOLDS: Final = {MAP: 0.5, SKELETON: 0.25}


def is_skeleton(volume: Volume) -> bool:
    """Say whether softmorph wrote a file as a skeleton; nothing is guessed from its values."""
    return made_as_skeleton(volume.source.provenance if volume.source else {})


def kind_of(volume: Volume) -> tuple[str, tuple[str, ...]]:
    """Return what a volume is taken as where nothing is said, and a note on it."""
    if not is_skeleton(volume):
        return MAP, ()
    return SKELETON, (
        "softmorph wrote this file as a skeleton, and it is taken as one; add "
        f"{named('kind', MAP, option='as')} if it is not.",
    )


def made_as_skeleton(made: Mapping[str, Any]) -> bool:
    """Say whether a file's provenance is that of a skeleton."""
    command, parameters = made.get("command"), made.get("parameters")
    parameters = parameters if isinstance(parameters, Mapping) else {}
    if parameters.get("argmax"):
        return False  # labels of several
    if command in ("softmorph chain", "softmorph batch"):
        steps = parameters.get("steps")
        last = steps[-1] if isinstance(steps, list) and steps else None
        return isinstance(last, Mapping) and last.get("operation") == Skeleton.operation
    return command == "softmorph skeletonize" or (
        command == "softmorph inspect" and parameters.get("image") == "skeleton"
    )


def exact_levels(volume: Volume) -> LevelSets | Literal["exact"] | None:
    """Return the level sets at which a volume is a nested skeleton that softmorph wrote, None where it is none.

    Provenance may have been copied to a map that another program changed: what has values that no skeleton of these
    levels has is none.
    """
    levels = nested_levels(volume.source.provenance if volume.source else {})
    if isinstance(levels, LevelSets):
        array = volume.array
        if bool(((array > 0) & (array <= levels.thresholds[0])).any()):
            return None
    return levels


def single(volume: Volume) -> Volume:
    """Return a volume without its mapped axes, as it is inspected.

    Raises:
        InputError: If one of them is longer than 1.
    """
    found = several(volume)
    if found is not None:
        held, choose = found
        raise InputError(f"it holds {held}, and one is taken at a time: {choose}.")
    return volume.single()


def several(volume: Volume) -> tuple[str, str] | None:
    """Return in words what images a map holds and how one of them is chosen; None where it holds one."""
    sizes = [
        (axis, size) for axis, size in zip(volume.mapped_axes, volume.array.shape, strict=False) if size > 1
    ]
    if not sizes:
        return None
    if len(sizes) > 1:
        held = " x ".join(f"{size} along {axis}" for axis, size in sizes)
        if {axis for axis, _ in sizes} <= {"T", "C"}:
            return held, take_one(volume, first_along(*(axis for axis, _ in sizes)))
        return held, "write that one to a file of its own first" if in_shell() else "pass one of them"
    ((axis, size),) = sizes
    names = f" ({', '.join(volume.channels)})" if axis == "C" and volume.channels else ""
    option = class_option(volume)
    if option is not None:
        return f"{size} {'channels' if axis == 'C' else 'images'}{names}", take_one(volume, option)
    what = {"T": "times", "S": "slices"}.get(axis, f"images along {axis}")
    choose = take_one(volume, first_along(axis))
    if axis == SLICE and in_shell():
        choose = "leave out --per-slice, or take one slice with --region, such as --region 3:4,:,:"
    return f"{size} {what}{names}", choose


def take_one(volume: Volume, options: str) -> str:
    """Return how to take one map of several.

    Args:
        volume: All of them.
        options: Options, such as "--channel 0 (or 1)", or in Python keywords of `read`.
    """
    if in_shell():
        return f"add {options}"
    if volume.source is None or SLICE in volume.axes:
        return "pass one of them"
    return f"pass one of them, such as read({str(volume.source.path)!r}, {options})"


def class_option(volume: Volume) -> str | None:
    """Return the option that takes one class of a map, the background left out; None where it has no axis of them."""
    source = volume.source
    axis = volume.class_axis()
    if axis is None or volume.axes[axis] == SLICE:
        return None
    count = volume.array.shape[axis]
    names = volume.channels or (source.numbers if source else ()) or range(count)
    labels = classes(volume).labels if len(volume.mapped_axes) == 1 else range(1, count + 1)
    known = labels if len(labels) == count else range(1, count + 1)
    first, *others = (name for name, label in zip(names, known, strict=True) if label)
    if not in_shell():
        return named("channel", first)
    option = named("channel", shlex.quote(str(first)))
    return f"{option} (or {', '.join(shlex.quote(str(name)) for name in others)})" if others else option


def fitting(reference: Volume, volume: Volume) -> Volume:
    """Return the reference if it lies on the skeleton's grid.

    Raises:
        InputError: If it does not.
    """
    if reference.array.shape != volume.array.shape:
        raise InputError(
            f"the map's shape is {reference.array.shape} and the skeleton's {volume.array.shape}: "
            f"{named('map')} takes the map that this skeleton was made from."
        )
    ours, theirs = Frame.of(volume), Frame.of(reference)
    first = np.zeros(volume.spatial_dims)
    # As many places as tell two affine maps apart.
    places = np.vstack([first, np.diag(np.array(volume.array.shape) - 1.0)])
    # A tenth of a voxel: less is the rounding of file formats.
    near = 0.1 * ours.finest
    if (ours.unit is None) != (theirs.unit is None):
        return reference
    scale = MILLIMETRES[theirs.unit] / MILLIMETRES[ours.unit] if ours.unit and theirs.unit else 1.0
    if not np.allclose(ours.world(places), theirs.world(places) * scale, rtol=0, atol=near):
        last = places.sum(axis=0)
        raise InputError(
            f"the map and the skeleton lie at different places: the first voxel is, in {ours.suffix}, at "
            f"{_place(theirs.world(first) * scale)} in the map and at {_place(ours.world(first))} in the skeleton, the "
            f"last at {_place(theirs.world(last) * scale)} and at {_place(ours.world(last))}."
        )
    return reference


def _place(place: npt.NDArray[np.float64]) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in place) + ")"
