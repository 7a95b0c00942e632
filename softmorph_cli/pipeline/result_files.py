"""The types that results are stored as, and the paths of intermediate results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from softmorph_cli.errors import UsageError
from softmorph_cli.filters.filter import LABELS, MASK, PROBABILITY, Filter
from softmorph_cli.filters.operations.skeletonize import Skeleton
from softmorph_cli.io.formats import check_target
from softmorph_cli.io.options import WriteOptions
from softmorph_cli.pipeline.outputs import ResultOptions
from softmorph_cli.pipeline.steps.registry import changing
from softmorph_cli.system.files import make_folder

OUTPUT_TYPES: Final = ("float32", "float16", "uint8", "uint16")
_DEFAULT_TYPES: Final = {".png": "uint16"}


def default_type(target: Path) -> str:
    """Return the default type that probabilities are stored as in a file, except .npy, which keeps the map's dtype."""
    return _DEFAULT_TYPES.get(target.suffix.lower(), "float32")


def stored_type(steps: Sequence[Filter], target: Path, options: ResultOptions) -> str | None:
    """Return the type that the result of a chain is stored as: "mask", "labels", or the option `output_type`.

    Raises:
        UsageError: If the chosen type is unknown, does not suit the values, or cannot represent each level set.
    """
    chosen, last = options.output_type, changing(steps)[-1]
    if chosen not in (None, *OUTPUT_TYPES):
        raise UsageError(f"--output-type {chosen}: use float32, float16, uint8 or uint16.")
    if (options.renormalize or options.argmax) and last.gives != PROBABILITY:
        raise UsageError(
            f"--renormalize and --argmax need probabilities, and {last.operation} gives none here: leave them out."
        )
    if options.argmax or last.gives == LABELS:
        if chosen is not None:
            raise UsageError("labels take the smallest type that holds them: leave out --output-type.")
        return "labels"
    if last.gives == MASK:
        if chosen not in (None, "uint8"):
            name = "a hard skeleton" if isinstance(last, Skeleton) else "a mask"
            raise UsageError(f"{name} is written as uint8 0 and 1, not {chosen}.")
        return "mask"
    method = None if options.renormalize else last.method_in_force
    if last.settings is not None and method == "nested" and last.settings.level_sets is not None:
        last.settings.level_sets.bounds(chosen or default_type(target))
    return chosen


def stage_paths(folder: Path, steps: Sequence[Filter], suffix: str) -> list[Path]:
    """Return the paths of the intermediate results in a folder, such as 01-close.nii.gz: of each step that has one."""
    changes = changing(steps)
    return [folder / f"{number:02d}-{step.operation}{suffix}" for number, step in enumerate(changes, 1)]


def make_stages(folder: Path, paths: Sequence[Path], *, force: bool) -> None:
    """Create the folder of intermediate results if it is missing, and check that the results can be written there.

    Args:
        folder: The folder.
        paths: The paths of the intermediate results.
        force: Whether existing files may be replaced.

    Raises:
        FileError: If the folder cannot be created, or one of the files exists and `force` is False.
    """
    make_folder(folder)
    for path in paths:
        check_target(path, WriteOptions(force=force))
