"""Parsing of nnU-Net's JSON files: labels (dataset.json), image reader (plans.json) and the spacing of a TIFF."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.io.git_pointers import check_fetched

ClassKind = Literal["complete", "rest", "overlapping", "nested"]

# The readers that leave the axes as they are in the file.
READERS: Final = ("SimpleITKIO", "NibabelIO", "Tiff3DIO", "NaturalImage2DIO")
# Predictions may lie in trainer/fold_0/validation below the folder of dataset.json and plans.json.
_PARENTS: Final = 3
# The highest label: nnU-Net writes label images with 8 or 16 bits.
_HIGHEST: Final = 65535


@dataclass(frozen=True)
class Classes:
    """The classes that the channels of a map stand for.

    Attributes:
        labels: The label of each channel, in order; a single label for a map without a channel axis.
        kind: "complete": mutually exclusive classes including the background, so that the channels sum to 1;
            "rest": mutually exclusive classes where the background is 1 minus the sum of the channels;
            "overlapping": independent channels; "nested": regions of nnU-Net, independent channels of which the last
            channel above one half gives the label.
        regions: For regions of nnU-Net, the labels whose union each channel is; otherwise empty. `labels` then holds
            the label that a label image has in each region.
    """

    labels: tuple[int, ...]
    kind: ClassKind
    regions: tuple[tuple[int, ...], ...] = ()

    def only(self, *indices: int, kind: ClassKind | None = None) -> Classes:
        """Return the classes of the channels with these indices, with the same kind or the kind `kind`."""
        regions = tuple(self.regions[k] for k in indices) if self.regions else ()
        return Classes(tuple(self.labels[k] for k in indices), kind or self.kind, regions)


def overlapping(count: int) -> Classes:
    """Return the classes of `count` independent channels, with the labels 1, 2, ..."""
    return Classes(tuple(range(1, count + 1)), "overlapping")


def read_description(path: Path, name: str, key: str) -> Mapping[str, Any]:
    """Return the content of dataset.json or plans.json from the folder of a prediction or a parent; empty if missing.

    Args:
        path: The path of the prediction.
        name: The name of the JSON file.
        key: A key that the JSON file must have, because other programs use the same file names.

    Raises:
        FileError: If the file exists and cannot be read.
    """
    folder = path.absolute().parent
    for place in (folder, *list(folder.parents)[:_PARENTS]):
        file = place / name
        check_fetched(file)
        try:
            if not file.is_file():
                continue
            found = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise FileError(
                f"{file}, which describes {path.name}, cannot be read ({error}); "
                "copy it again from the folder of the trained model."
            ) from error
        if isinstance(found, dict) and key in found:
            return found
    return {}


def named_classes(
    dataset: Mapping[str, Any], path: Path, count: int
) -> tuple[tuple[str, ...], Classes | None, list[str]]:
    """Return the channels' names, their classes, and notes; ((), None, notes) if dataset.json is missing or differs.

    Args:
        dataset: The content of dataset.json, or empty.
        path: The path of the prediction, for messages.
        count: The number of channels.

    Raises:
        InputError: If the labels or the region order in dataset.json are malformed.
    """
    if not dataset:
        return (), None, ["there is no dataset.json beside it, so its classes have no names."]
    names, found, notes = dataset_classes(dataset, path)
    if len(names) != count:
        note = f"it has {count} channels, but dataset.json names {len(names)} ({', '.join(names)}): names are not used."
        return (), None, [note]
    return names, found, notes


def dataset_classes(dataset: Mapping[str, Any], path: Path) -> tuple[tuple[str, ...], Classes, list[str]]:
    """Return the names of the classes or regions in dataset.json, what they stand for, and notes.

    Args:
        dataset: The content of dataset.json.
        path: The path of the prediction, for messages.

    Raises:
        InputError: If the labels or the region order in dataset.json are malformed.
    """
    listed = dataset["labels"]
    if not isinstance(listed, dict):
        raise _bad_labels(listed, path)
    pairs = list(listed.items())
    if all(name.isdecimal() and isinstance(value, str) for name, value in pairs):
        pairs = [(name, label) for label, name in pairs]  # nnU-Net 1 maps labels to names
    pairs = [(name, value) for name, value in pairs if name != "ignore"]
    values = [(name, _labels(name, value, path)) for name, value in pairs]
    notes: list[str] = []
    if any(isinstance(value, list) and len(value) > 1 for _, value in pairs):
        names = tuple(name for name, value in values if value != (0,))
        order = _region_order(dataset.get("regions_class_order"), path, len(names))
        regions = tuple(value for _, value in values if value != (0,))
        found = Classes(order, "nested", regions)
        if len(set(order) - {0}) != len(names) or len(order) != len(names):
            found = replace(overlapping(len(names)), regions=regions)
            notes.append(
                "its dataset.json gives no regions_class_order with a label of its own for each region."
            )
    else:
        by_label: dict[int, str] = {}
        for name, (label,) in sorted(values, key=lambda item: item[1]):
            by_label[label] = f"{by_label[label]} / {name}" if label in by_label else name
        names, found = tuple(by_label.values()), Classes(tuple(by_label), "complete")
    return names, found, notes


def image_reader(dataset: Mapping[str, Any], plans: Mapping[str, Any], path: Path) -> str:
    """Return the name of nnU-Net's reader class for the image, from plans.json, else dataset.json, else the default.

    Raises:
        InputError: If the entry in the JSON file is not a string.
    """
    for key, file, found in (
        ("image_reader_writer", "plans.json", plans),
        ("overwrite_image_reader_writer", "dataset.json", dataset),
    ):
        name = found.get(key)
        if not isinstance(name, str | None):
            raise InputError(
                f"the {key} in the {file} of {path} must be the name of a class, such as {READERS[0]}, not "
                f"{json.dumps(name)[:120]}; copy it again from the folder of the trained model."
            )
        # nnU-Net treats the text "None" as no entry.
        if name and name != "None":
            return name
    return READERS[0]


def tiff_spacing(image: Path) -> tuple[dict[str, float], list[str]]:
    """Return the voxel size by axis letter from the JSON file beside a TIFF, and a note if the entry is malformed."""
    file = image.with_suffix(".json")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))["spacing"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}, []
    try:
        sizes = [0.0 if isinstance(size, bool) else float(size) for size in found]
    except (ValueError, TypeError, OverflowError):
        sizes = []
    if isinstance(found, list) and len(sizes) == 3 and all(0 < size < math.inf for size in sizes):
        return dict(zip("ZYX", sizes, strict=True)), []
    return {}, [
        f"the spacing in {file.name} must be three numbers above 0, not {json.dumps(found)[:120]}: the voxel size is "
        "unknown."
    ]


def _region_order(order: Any, path: Path, count: int) -> tuple[int, ...]:
    listed = order if isinstance(order, list) else [] if order is None else [order]
    try:
        return tuple(map(_label, listed))
    except ValueError as error:
        raise InputError(
            f"the regions_class_order in the dataset.json of {path} must be one number for each of the {count} "
            f"regions, the label that it is painted with, not {json.dumps(order)[:120]}; correct it there."
        ) from error


def _labels(name: str, value: Any, path: Path) -> tuple[int, ...]:
    """Return the label of the class `name`, or the labels whose union is the region `name`."""
    try:
        found = sorted({_label(one) for one in (value if isinstance(value, list) else [value])})
        if not found:
            raise ValueError("a region of nothing")
    except ValueError as error:
        raise _bad_labels({name: value}, path) from error
    return tuple(found)


def _bad_labels(found: Any, path: Path) -> InputError:
    return InputError(
        f"the labels in the dataset.json of {path} must be a whole number from 0 to {_HIGHEST}, or a list of them, for "
        f"each name, not {json.dumps(found)[:120]}; copy it again from the folder of the trained model."
    )


def _label(value: Any) -> int:
    """Return a JSON value as a label: 1, 1.0 and "1" all give 1; 1.5, true and -1 are invalid.

    Raises:
        ValueError: If the value is no label.
    """
    if isinstance(value, str):
        is_whole = value.isdecimal()
    else:
        is_whole = value.is_integer() if isinstance(value, float) else type(value) is int
    if not is_whole or not 0 <= int(value) <= _HIGHEST:
        raise ValueError(f"{value!r} is no label")
    return int(value)
