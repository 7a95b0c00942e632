"""Whether the channels of a file are classes that exclude each other, and which one is most probable at each voxel.

Such classes are decided by argmax and not by one half: of three at 0.4, 0.3 and 0.3 none is above it. That takes all
channels, whichever is read in the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.io.raw import SLICE, Array, Raw
from softmorph_cli.volume import Volume

# The share of voxels at which channels that exclude each other sum to 1.
_SURE: Final = 0.999
# A class is named in a note where argmax and 0.5 differ at more than this share of its voxels.
_TOLD: Final = 0.01
_BLOCK: Final = 1 << 22
_BACKGROUND: Final = ("background", "bg")
HALF: Final = 0.5


@dataclass(frozen=True)
class Exclusive:
    """Classes that exclude each other.

    Attributes:
        winner: The label of the most probable class at each voxel; of equally probable ones the lowest.
        labels: The labels of the channels that were read, in the order of the channels.
    """

    winner: Array
    labels: tuple[int, ...]

    def mask(self, label: int) -> npt.NDArray[np.bool_]:
        """Return where a class is the most probable one."""
        return np.asarray(self.winner == label)


def class_axis(axes: str, shape: Sequence[int], family: str) -> int | None:
    """Return the axis of the classes; None where there is one map only, or where the axis has another meaning.

    Args:
        axes: Letters, those of space last.
        shape: One size for each.
        family: The format: a NIfTI has no name for its fourth axis.
    """
    long = [
        k
        for k, (letter, size) in enumerate(zip(axes, shape, strict=True))
        if letter not in "ZYX" and size > 1
    ]
    if len(long) != 1:
        return None
    return long[0] if axes[long[0]] in ("C", SLICE) or family == "nifti" else None


def numbered(names: Sequence[str] | None, count: int) -> tuple[int, ...]:
    """Return the labels of channels that sum to 1: 0 for the background, which is the one of that name or the first."""
    named = [k for k, name in enumerate(names or ()) if name.lower() in _BACKGROUND]
    background = named[0] if len(named) == 1 else 0
    return tuple(0 if k == background else k + (k < background) for k in range(count))


def look(
    raw: Raw,
    *,
    labels: Sequence[int] | None = None,
    divide_by: float | None = None,
    inside: Array | None = None,
) -> Exclusive | None:
    """Return the most probable class of each voxel where channels exclude each other, else None.

    They do where the file says so, or where they sum to 1, within the rounding of the stored type, at 99.9 % of the
    voxels.

    Args:
        raw: What the file holds, axes in order, all channels.
        labels: Of the channels, where the file says that they exclude each other; without 0 the background is what they
            leave of 1.
        divide_by: What the value 1 is stored as, where that was asked for.
        inside: Where values count.
    """
    axes = raw.axes or ""
    axis = class_axis(axes, raw.array.shape, raw.format)
    if axis is None or axes[axis] == SLICE or raw.colour or raw.array.dtype.kind not in "fiu":
        return None
    count, dims = raw.array.shape[axis], sum(letter in "ZYX" for letter in axes)
    known = labels is not None
    numbers = np.array(numbered(raw.channels, count) if labels is None else labels)
    one = divide_by or _one(raw)
    near = count * _rounding(raw, one)
    order = np.argsort(numbers, kind="stable")
    winner = np.zeros(raw.array.shape[-dims:], np.min_scalar_type(int(numbers.max())))
    left = (1 - _SURE) * (
        winner.size if inside is None else np.count_nonzero(np.broadcast_to(inside, winner.shape))
    )
    for part in _slabs(winner.shape):
        index = (*(slice(None) if k == axis else slice(0, 1) for k in range(len(axes) - dims)), part)
        values = np.asarray(raw.array[index]).reshape(count, *winner[part].shape)[order].astype(np.float32)
        values = (values * np.float32(raw.slope) + np.float32(raw.inter)) / np.float32(one)
        if inside is not None:
            values = np.where(np.broadcast_to(inside, winner.shape)[part], values, np.float32(0))
        total = values.sum(axis=0, dtype=np.float64)
        if not known:
            wrong = ~(np.abs(total - 1) <= near)
            left -= np.count_nonzero(
                wrong if inside is None else wrong & np.broadcast_to(inside, winner.shape)[part]
            )
            if left < 0:
                return None
        found = numbers[order][values.argmax(axis=0)]
        if 0 not in numbers:
            found[values.max(axis=0) <= 1 - total] = 0
        found[total == 0] = 0
        winner[part] = found
    return Exclusive(winner, tuple(map(int, numbers)))


def told(volume: Volume) -> tuple[str, ...]:
    """Say in one sentence for which classes the voxels above 0.5 are not those where the class is most probable.

    Args:
        volume: As it was read, with its `Exclusive`.
    """
    found = of(volume)
    if found is None:
        return ()
    shape = found.winner.shape
    channels = volume.array.reshape(-1, *shape)
    alone = volume.source.channel if volume.source else None
    names = volume.channels or ((alone,) if alone else ())
    said = []
    for k, (label, channel) in enumerate(zip(found.labels, channels, strict=True)):
        most, above = found.mask(label), channel > HALF
        either = np.count_nonzero(most | above)
        if np.count_nonzero(most ^ above) > _TOLD * either:
            name = names[k] if k < len(names) else f"class {label}"
            said.append(
                f"{name} has {np.count_nonzero(above):,} voxels above 0.5 and is the most probable class at "
                f"{np.count_nonzero(most):,}"
            )
    if not said:
        return ()
    return (
        f"its classes exclude each other: {'; '.join(said)}. Here 0.5 decides; softmorph evaluate and --argmax take "
        "the most probable class.",
    )


def of(volume: Volume) -> Exclusive | None:
    """Return what `look` found of the file that a map was read from."""
    kept = volume.source.header if volume.source else None
    found = getattr(kept, "exclusive", None)
    return found if isinstance(found, Exclusive) else None


def _one(raw: Raw) -> float:
    """Return the stored number that means 1: the maximum of the type in formats that define it so."""
    full = raw.full_scale and raw.array.dtype.kind in "ui" and raw.slope == 1
    return float(np.iinfo(raw.array.dtype).max) if full else 1.0


def _rounding(raw: Raw, one: float) -> float:
    """Return the largest rounding error of one stored probability."""
    kind = raw.array.dtype
    if kind.kind != "f":
        # Half a step, and float32 that it was rounded from.
        return 0.5 * abs(raw.slope) / one + float(np.finfo(np.float32).eps)
    return float(max(np.finfo(kind).eps, np.finfo(np.float32).eps))


def _slabs(shape: tuple[int, ...]) -> Iterator[Any]:
    rows = max(1, _BLOCK // max(1, int(np.prod(shape[1:]))))
    for start in range(0, shape[0], rows):
        yield slice(start, min(shape[0], start + rows))
