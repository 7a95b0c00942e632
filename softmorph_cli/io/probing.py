"""Describes the content of a file, also of files that `read` refuses, and suggests a command that reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from softmorph_cli.classes import complete, first_is_largest
from softmorph_cli.errors import InputError
from softmorph_cli.io import named_classes, nnunet, select
from softmorph_cli.io.content import Content, examine, judge
from softmorph_cli.io.formats import detect, read_raw, target_suffix
from softmorph_cli.io.named_classes import Network
from softmorph_cli.io.nature import Nature, look, middle_of
from softmorph_cli.io.npz import NAME as NNUNET
from softmorph_cli.io.raw import Format, Raw
from softmorph_cli.io.shapes import Shape, shape_of
from softmorph_cli.io.unnamed_axes import doubtful_channels, likely_axes
from softmorph_cli.io.values import MOST_AXES
from softmorph_cli.io.voxel_sizes import by_convention
from softmorph_cli.system.parameters import named, named_as_options
from softmorph_cli.system.printable import typed
from softmorph_cli.system.units import COUNTED, SIZELESS

# Of how many slices two channels are compared.
_SAMPLE: Final = 16


@dataclass(frozen=True)
class Probe:
    """A description of the content of a file.

    Attributes:
        path: The path of the file.
        format: The name of the file format, as in `Source.format`.
        shape: The size of the array along each axis, in the order of `axes`.
        dtype: The element type in the file.
        axes: A letter for each axis in the order of `read`, or None where the file does not name them.
        spacing: Voxel size by axis letter, for axes along which it is known.
        unit: The unit of `spacing`: "mm", "um", "nm" or None.
        low: The smallest finite value, after slope and intercept of the file; None if the file has no finite number.
        high: The largest finite value, or None as for `low`.
        nans: The number of NaNs.
        infinities: The number of infinite values.
        integers: Whether every finite value is an integer.
        distinct: The number of distinct values, or None where it exceeds the argument `limit` of `probe`.
        kind: The kind of content: "probability", "mask", "labels", "logits", "scores" (test statistics), "distances",
            "image", "rgb", "complex", "other" or "empty".
        found: The reason for `kind` in words.
        suggestion: The command line to try next, "" if there is no suggestion.
        title: The kind in words, with "perhaps" where it is uncertain.
        sure: Whether no other kind is as likely.
        structure: What lies above one half: "lines" of at most two voxels, "vessels", "blobs", or None if unclear.
        needs: What softmorph takes in place of a file that is no map, or "".
        notes: Assumptions that the reader of the file made, one sentence each.
        provenance: The record (command, version, parameters) that softmorph wrote into the file, or empty.
        channels: The names of the indices of axis "C", for --channel; empty where the file has no names.
    """

    path: Path
    format: str
    shape: tuple[int, ...]
    dtype: str
    axes: str | None
    spacing: dict[str, float]
    unit: str | None
    low: float | None
    high: float | None
    nans: int
    infinities: int
    integers: bool
    distinct: int | None
    kind: str
    found: str
    suggestion: str
    title: str = ""
    sure: bool = True
    structure: Shape | None = None
    needs: str = ""
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    channels: tuple[str, ...] = ()


# What it suggests is a command, also in Python.
@named_as_options()
def probe(path: str | Path, *, limit: int = 1024) -> Probe:
    """Describe the content of a file, which need not be a probability map.

    Args:
        path: The path of the file.
        limit: The largest number of distinct values that is counted.

    Raises:
        FileError: If the file is missing, empty, damaged or of an unknown type.
    """
    path = Path(path)
    try:
        family, raw = read_raw(path)
    except InputError as error:
        raw = Raw(np.empty(()), None, detect(path).name, (), "")
        return _describe(path, raw, "other", str(error))
    doubt = doubtful_channels(raw)
    try:
        raw = select.arrange(select.name_axes(raw, str(path)))
    except InputError:
        raw = replace(raw, axes=None)
    raw = by_convention(raw)
    if raw.format == NNUNET and raw.array.size and raw.array.dtype.kind in "fiub":
        raw = nnunet.describe(raw, path)
    if raw.format != NNUNET or (raw.unit is None and isinstance(raw.native, Network)):
        # The voxel size of an .npz is that of the image beside it.
        raw = _told_of_lengths(raw)
    if raw.array.size == 0:
        return _describe(path, raw, "empty", "no voxels")
    if raw.array.dtype.kind not in "fiub":
        kind = "complex" if raw.array.dtype.kind == "c" else "other"
        return _describe(path, raw, kind, f"values of type {raw.array.dtype}")
    content = examine(raw.array, raw.slope, raw.inter, cap=limit)
    verdict = judge(content, raw)
    if raw.format == NNUNET:
        verdict = nnunet.advise(verdict, raw)
    else:
        named = named_classes.applied(raw, path)
        raw = replace(raw, channels=named.channels, notes=named.notes)
        axes = raw.axes or ""
        if named.channels and "T" in axes and "C" not in axes:
            # NIfTI's fourth axis is time, but softmorph wrote classes along it.
            raw = replace(raw, axes=axes.replace("T", "C"))
        if verdict.kind == "labels" and named.channels:
            # All of them are read, as the channels of a network's output are.
            verdict = replace(verdict, option="")
    nature = look(raw, content, verdict)
    shape = _shape(raw, content, nature)
    background = _background(raw, nature)
    if background:
        raw = replace(raw, notes=(*raw.notes, background[0]))
    suggestion = _suggestion(path, family, raw, nature, shape, content.nans + content.infinities)
    if background and suggestion:
        suggestion += f" {background[1]}"
    if doubt is not None and suggestion:
        suggestion += f" --axes {doubt[1]}"
        raw = replace(
            raw, notes=(*raw.notes, f"its {doubt[0]} channels have no names and may be something else.")
        )
    described = _describe(path, raw, nature.kind, nature.found, content, suggestion)
    return replace(described, title=nature.title, sure=nature.sure, structure=shape, needs=nature.needs)


def _background(raw: Raw, nature: Nature) -> tuple[str, str] | None:
    """Return a note and an option if one of two channels without names is 1 minus the other; None else."""
    axes = raw.axes or ""
    if nature.kind != "probability" or raw.channels or "C" not in axes or raw.format == NNUNET:
        return None
    axis = axes.index("C")
    if raw.array.shape[axis] != 2:
        return None
    # A sample of the slices tells it.
    first = next(k for k, letter in enumerate(axes) if letter in "ZYX")
    count = raw.array.shape[first]
    some = range(0, count, max(1, count // _SAMPLE))
    cuts = [(slice(None),) * first + (slice(k, k + 1),) for k in some]
    pair = np.moveaxis(np.concatenate([np.asarray(raw.array[cut]) for cut in cuts], axis=first), axis, 0)
    values = pair * np.float64(raw.slope) + raw.inter
    if pair.dtype.kind in "iu" and raw.slope == 1:
        values /= np.iinfo(pair.dtype).max
    if not complete(values):
        return None
    options = [named("channel", k) for k in (0, 1)]
    take = options[1 if first_is_largest(values) else 0]
    return (
        f"its two channels sum to 1, so that one is the background: take the other, {' or '.join(options)}.",
        take,
    )


def _told_of_lengths(raw: Raw) -> Raw:
    """Return a file with a note on how to state the voxel size, or its unit, if it is not known."""
    space = select.spatial(raw) if raw.axes else ""
    sides = [size for letter, size in zip(raw.axes or "", raw.array.shape, strict=False) if letter in "ZYX"]
    if not space or raw.unit is not None or not any(size > 1 for size in sides) or raw.array.ndim > MOST_AXES:
        return raw
    counted = COUNTED[2 if 1 in sides else len(space)]
    if raw.spacing and not any(SIZELESS in note for note in raw.notes):
        note = f"the unit of its voxel size is unknown: lengths are in {counted}, or state it, such as --unit um."
    else:
        example = f"--voxel-size 0.5um{'x0.25' * (len(sides) - 1)}"
        note = f"its voxel size is unknown: lengths are in {counted}, or state it along {', '.join(space.lower())}, "
        note += f"such as {example}."
    return replace(raw, notes=(*raw.notes, note))


def _describe(
    path: Path, raw: Raw, kind: str, found: str, content: Content | None = None, suggestion: str = ""
) -> Probe:
    finite = content is not None and content.low <= content.high
    return Probe(
        path=path,
        format=raw.format,
        shape=raw.array.shape,
        dtype=raw.dtype,
        axes=raw.axes,
        spacing=dict(raw.spacing),
        unit=raw.unit,
        low=content.low if content and finite else None,
        high=content.high if content and finite else None,
        nans=content.nans if content else 0,
        infinities=content.infinities if content else 0,
        integers=content.integers if content else False,
        distinct=len(content.distinct) if content and content.distinct is not None else None,
        kind=kind,
        found=found,
        suggestion=suggestion,
        title=kind,
        notes=raw.notes,
        provenance=raw.provenance,
        channels=raw.channels or (),
    )


def _shape(raw: Raw, content: Content, nature: Nature) -> Shape | None:
    """Return what lies above one half in the fullest image that is mostly background; None if that is unclear."""
    if nature.kind not in ("probability", "mask") or not nature.sure or raw.axes is None:
        return None
    space = [at for at, letter in enumerate(raw.axes) if letter in "ZYX"]
    if len(space) not in (2, 3) or space != list(range(raw.array.ndim - len(space), raw.array.ndim)):
        return None
    half = content.high / 2 if content.high > 1.1 else 0.5
    masks = middle_of(raw, len(space)) > half
    images = masks.reshape(-1, *masks.shape[-len(space) :])
    shares = [float(image.mean()) for image in images]
    best = max(range(len(shares)), key=lambda at: shares[at] if shares[at] < 0.5 else 0)
    image, sizes = images[best], [raw.spacing.get(raw.axes[at], 1.0) for at in space]
    if len(space) == 3 and 1 in image.shape:
        flat = image.shape.index(1)
        image = image.take(0, axis=flat)
        del sizes[flat]
    return shape_of(image, tuple(sizes)) if 1 not in image.shape else None


def _suggestion(path: Path, family: Format, raw: Raw, nature: Nature, shape: Shape | None, bad: int) -> str:
    """Return a command line that would read the file; "" where none is of use."""
    if nature.needs or nature.kind == "empty" or (nature.kind == "image" and not nature.option):
        return ""
    if not 2 <= raw.array.ndim <= MOST_AXES:
        return ""
    words = [nature.option] if nature.option else []
    if raw.axes is None:
        words.append(f"--axes {likely_axes(raw.array.shape)}")
    if bad:
        words.append("--mask MASK")
    if shape == "blobs":
        return " ".join([typed("softmorph", "stats", path), *words])
    images = raw.array.size // prod(raw.array.shape[-len(select.spatial(raw)) :]) if raw.axes else 2
    if shape == "lines" and images == 1 and not bad:
        return " ".join([typed("softmorph", "inspect", path), *words])
    target = f"skeleton{target_suffix(path, family)}"
    target = f"new_{target}" if path.name == target else target
    return " ".join([typed("softmorph", "skeletonize", path), target, *words])
