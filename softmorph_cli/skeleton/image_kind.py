"""The kind of an image by its metadata (provenance): a map, a skeleton, or a nested skeleton with exact level sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from softmorph_cli.filters.operations.skeletonize import Skeleton
from softmorph_cli.kernels.level_sets import LevelSets, nested_levels
from softmorph_cli.system.parameters import named
from softmorph_cli.volume import Volume

if TYPE_CHECKING:
    from softmorph_cli.io.blocks import Blocks

MAP, SKELETON = "map", "skeleton"
# Default thresholds: values above belong to the foreground.
THRESHOLDS: Final = {MAP: 0.5, SKELETON: 0.25}

# Voxels read at once of a map that is larger than memory.
_SLAB: Final = 1 << 22


def kind_of(volume: Volume) -> tuple[str, tuple[str, ...]]:
    """Return MAP or SKELETON, and a note if the image is a skeleton.

    The kind depends only on whether the metadata say that softmorph wrote the file as a skeleton, not on the values.
    """
    if not made_as_skeleton(volume.source.provenance if volume.source else {}):
        return MAP, ()
    return SKELETON, (
        "softmorph wrote this file as a skeleton, and it is taken as one; add "
        f"{named('kind', MAP, option='as')} if it is not.",
    )


def made_as_skeleton(provenance: Mapping[str, Any]) -> bool:
    """Return whether the provenance of a file (softmorph's command and parameters) says that it is a skeleton."""
    command, parameters = provenance.get("command"), provenance.get("parameters")
    parameters = parameters if isinstance(parameters, Mapping) else {}
    if parameters.get("argmax"):
        return False  # labels of several classes
    changed = provenance.get("read_with")
    if isinstance(changed, Mapping) and "resolution" in changed:
        return False  # a coarser one, whose voxels are means, or maxima in lines that may be wider than one voxel
    if command in ("softmorph chain", "softmorph batch"):
        steps = parameters.get("steps")
        last = steps[-1] if isinstance(steps, list) and steps else None
        return isinstance(last, Mapping) and last.get("operation") == Skeleton.operation
    return command == "softmorph skeletonize" or (
        command == "softmorph inspect" and parameters.get("image") == "skeleton"
    )


def exact_levels(image: Volume | Blocks) -> LevelSets | Literal["exact"] | None:
    """Return the level sets at which a nested skeleton written by softmorph is exact; None for any other image.

    Another program may have copied the metadata to a changed map, so an image with values between 0 and the lowest
    level (inclusive) is not accepted as a nested skeleton.
    """
    levels = nested_levels(image.source.provenance if image.source else {})
    if isinstance(levels, LevelSets):
        lowest = levels.thresholds[0]
        parts = [image.array] if isinstance(image, Volume) else image.slabs(_SLAB)
        if any(bool(((part > 0) & (part <= lowest)).any()) for part in parts):
            return None
    return levels
