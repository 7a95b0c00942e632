"""What a file is to an inspection: a map or a skeleton, one image of it, and whether two lie at the same place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError
from softmorph_cli.graphs.frame import Frame
from softmorph_cli.level_sets import LevelSets, nested_levels
from softmorph_cli.volume import Volume

MAP, SKELETON = "map", "skeleton"
# Above it a voxel belongs to the curve, where nothing else is asked for.
THRESHOLDS: Final = {MAP: 0.5, SKELETON: 0.25}


def is_skeleton(volume: Volume) -> bool:
    """Say whether softmorph wrote a file as a skeleton; nothing is guessed from its values."""
    return made_as_skeleton(volume.source.provenance if volume.source else {})


def made_as_skeleton(made: Mapping[str, Any]) -> bool:
    """Say whether a file's provenance is that of a skeleton."""
    command, parameters = made.get("command"), made.get("parameters")
    parameters = parameters if isinstance(parameters, Mapping) else {}
    if parameters.get("argmax"):
        return False  # labels of several
    if command in ("softmorph chain", "softmorph batch"):
        steps = parameters.get("steps")
        last = steps[-1] if isinstance(steps, list) and steps else None
        return isinstance(last, Mapping) and last.get("operation") == "skeletonize"
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
    shape = volume.array.shape[: -volume.spatial_dims]
    if sum(size > 1 for size in shape) > 1:
        held = " x ".join(
            f"{size} along {axis}" for axis, size in zip(volume.mapped_axes, shape, strict=True)
        )
        raise InputError(
            f"it holds {held}, and one is taken at a time: write that one to a file of its own first."
        )
    for axis, size in zip(volume.mapped_axes, shape, strict=True):
        if size > 1:
            names = f" ({', '.join(volume.channels)})" if axis == "C" and volume.channels else ""
            what = {"C": "channels", "T": "times", "S": "slices"}.get(axis, f"images along {axis}")
            choose = {
                "C": "add --channel 0",
                "S": "leave out --per-slice, or take one slice with --region, such as --region 3:4,:,:",
            }.get(axis, f"add --channel-axis {axis} --channel 0")
            raise InputError(f"it holds {size} {what}{names}, and one is taken at a time: {choose}.")
    return replace(volume, array=volume.array[(0,) * len(shape)], axes=volume.spatial_axes, channels=None)


def fitting(reference: Volume, volume: Volume) -> Volume:
    """Return the reference if it lies on the skeleton's grid.

    Raises:
        InputError: If it does not.
    """
    if reference.array.shape != volume.array.shape:
        raise InputError(
            f"the map's shape is {reference.array.shape} and the skeleton's {volume.array.shape}: "
            "--map takes the map that this skeleton was made from."
        )
    ours, theirs = Frame.of(volume), Frame.of(reference)
    first = np.zeros(volume.spatial_dims)
    # As many places as tell two affine maps apart.
    places = np.vstack([first, np.diag(np.array(volume.array.shape) - 1.0)])
    # A tenth of a voxel: less is the rounding of file formats.
    near = 0.1 * ours.finest
    if ours.unit == theirs.unit and not np.allclose(
        ours.world(places), theirs.world(places), rtol=0, atol=near
    ):
        raise InputError(
            "the map and the skeleton lie at different places: the first voxel is at "
            f"{_place(theirs.world(first))} in the map and at {_place(ours.world(first))} in the skeleton, the last at "
            f"{_place(theirs.world(places.sum(axis=0)))} and at {_place(ours.world(places.sum(axis=0)))}."
        )
    return reference


def _place(place: npt.NDArray[np.float64]) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in place) + ")"
