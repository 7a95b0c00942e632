"""Whether the channels of a file are classes that exclude each other, and the most probable one at each voxel.

Such classes are decided by argmax, not by a threshold of one half: of 0.4, 0.3 and 0.3 none exceeds it. That needs all
channels, also where only one of them is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.io.raw import Array, Raw
from softmorph_cli.system.printable import printable
from softmorph_cli.volume import SLICE, Volume, class_axis

# The share of voxels at which channels that exclude each other sum to 1.
_SUFFICIENT: Final = 0.999
# A class is named in a note where argmax and 0.5 differ at more than this share of its voxels.
_NOTABLE: Final = 0.01
_BLOCK: Final = 1 << 22
_BACKGROUND: Final = ("background", "bg")
HALF: Final = 0.5


@dataclass(frozen=True)
class Exclusive:
    """Classes that exclude each other.

    Attributes:
        winner: The label of the most probable class at each voxel; the lowest of equally probable ones.
        labels: The labels of the channels that were read, in the order of the channels.
    """

    winner: Array
    labels: tuple[int, ...]

    def mask(self, label: int) -> npt.NDArray[np.bool_]:
        """Return where a class is the most probable one."""
        return np.asarray(self.winner == label)


def numbered(names: Sequence[str] | None, count: int) -> tuple[int, ...]:
    """Return the labels of channels that sum to 1: 0 for the background, by name or else the first, then 1, 2, ..."""
    named = [k for k, name in enumerate(names or ()) if name.lower() in _BACKGROUND]
    background = named[0] if len(named) == 1 else 0
    return tuple(0 if k == background else k + (k < background) for k in range(count))


def find_exclusive(
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
        labels: The labels of the channels, where the file says that they exclude each other; if none is 0, the
            background is 1 minus the sum of the channels.
        divide_by: As in `ReadOptions`.
        inside: A mask; elsewhere values are 0.
    """
    winner: Array | None = None
    shape = _spatial(raw)
    mask = None if inside is None else np.broadcast_to(inside, shape)
    search = _Search.begin(raw, labels, divide_by)
    if search is None:
        return None
    for rows in _slabs(shape, _BLOCK):
        found = search.most_probable(rows, None if mask is None else mask[rows])
        if found is None:
            return None
        winner = np.zeros(shape, found.dtype) if winner is None else winner
        winner[rows] = found
    if winner is None or not search.conclusive:
        return None
    return Exclusive(winner, tuple(map(int, search.numbers)))


class _Search:
    """A search for classes that exclude each other, through all channels, slab by slab along the first spatial axis.

    Attributes:
        numbers: The label of each channel.
    """

    def __init__(self, raw: Raw, axis: int, labels: Sequence[int] | None, divide_by: float | None) -> None:
        self._raw, self._axis, self._known = raw, axis, labels is not None
        self._count = raw.array.shape[axis]
        self.numbers = np.array(numbered(raw.channels, self._count) if labels is None else labels)
        self._order = np.argsort(self.numbers, kind="stable")
        self._one = divide_by or _full_scale(raw)
        self._near = self._count * _rounding(raw, self._one)
        self._wrong = self._seen = 0

    @classmethod
    def begin(cls, raw: Raw, labels: Sequence[int] | None, divide_by: float | None) -> _Search | None:
        """Return a new search; None where a file has no channels that could be classes."""
        axes = raw.axes or ""
        axis = class_axis(axes, raw.array.shape, raw.format)
        if axis is None or axes[axis] == SLICE or raw.colour or raw.array.dtype.kind not in "fiu":
            return None
        return cls(raw, axis, labels, divide_by)

    @property
    def conclusive(self) -> bool:
        """Whether the channels sum to 1 at enough of the voxels that were seen."""
        return self._wrong <= (1 - _SUFFICIENT) * self._seen

    def most_probable(self, rows: slice, inside: Array | None) -> Array | None:
        """Return the labels of the most probable classes; None where the channels are known not to exclude each other.

        Args:
            rows: The slab.
            inside: The mask there.
        """
        shape, raw = _spatial(self._raw), self._raw
        before = raw.array.ndim - len(shape)
        index = (*(slice(None) if k == self._axis else slice(0, 1) for k in range(before)), rows)
        stored = np.asarray(raw.array[index])
        values = stored.reshape(self._count, *stored.shape[before:])[self._order].astype(np.float32)
        values = (values * np.float32(raw.slope) + np.float32(raw.inter)) / np.float32(self._one)
        if inside is not None:
            values = np.where(inside, values, np.float32(0))
        total = values.sum(axis=0, dtype=np.float64)
        if not self._known:
            wrong = ~(np.abs(total - 1) <= self._near)
            self._wrong += int(np.count_nonzero(wrong if inside is None else wrong & inside))
            self._seen += total.size if inside is None else int(np.count_nonzero(inside))
            if self._wrong > (1 - _SUFFICIENT) * prod(shape):
                return None
        found = self.numbers[self._order][values.argmax(axis=0)]
        if 0 not in self.numbers:
            found[values.max(axis=0) <= 1 - total] = 0
        found[total == 0] = 0
        return np.asarray(found, np.min_scalar_type(int(self.numbers.max())))


@dataclass
class _ClassCount:
    """Counts of voxels: class most probable, class above one half, either of these, exactly one of these."""

    name: str
    most: int = 0
    above: int = 0
    either: int = 0
    differ: int = 0

    def add(self, most: Array, above: Array) -> None:
        """Count the voxels of a part of the map."""
        self.most += int(np.count_nonzero(most))
        self.above += int(np.count_nonzero(above))
        self.either += int(np.count_nonzero(most | above))
        self.differ += int(np.count_nonzero(most ^ above))


def class_notes(volume: Volume) -> tuple[str, ...]:
    """Return a note on the classes whose voxels above 0.5 differ from those where the class is most probable.

    Args:
        volume: A map as it was read, with its `Exclusive`.
    """
    found = exclusive_classes(volume)
    if found is None:
        return ()
    channels = volume.array.reshape(-1, *found.winner.shape)
    alone = volume.source.channel if volume.source else None
    names = volume.channels or ((alone,) if alone else ())
    counts = []
    for k, (label, channel) in enumerate(zip(found.labels, channels, strict=True)):
        count = _ClassCount(names[k] if k < len(names) else f"class {label}")
        count.add(found.mask(label), channel > HALF)
        counts.append(count)
    return _notes(counts)


def class_notes_of_blocks(
    raw: Raw,
    channel: int,
    read: Callable[[slice], Array],
    *,
    labels: Sequence[int] | None = None,
    divide_by: float | None = None,
    inside: Callable[[slice], Array | None] = lambda part: None,
    voxels: int = _BLOCK,
) -> tuple[str, ...]:
    """Return the note of `class_notes` on one channel of a map that is larger than memory.

    Args:
        raw: What the file holds, axes in order, all channels.
        channel: The number of the channel that is read.
        read: Returns the probabilities of that channel in a slab along the first spatial axis.
        labels: As for `find_exclusive`.
        divide_by: As for `find_exclusive`.
        inside: Returns the mask in a slab.
        voxels: How many are held at once, of all channels together.
    """
    search = _Search.begin(raw, labels, divide_by)
    if search is None:
        return ()
    count, label = _ClassCount(channel_name(raw, channel)), int(search.numbers[channel])
    for rows in _slabs(_spatial(raw), voxels // len(search.numbers)):
        most = search.most_probable(rows, inside(rows))
        if most is None:
            return ()
        count.add(most == label, (read(rows) > HALF).reshape(most.shape))
    return _notes([count]) if search.conclusive else ()


def channel_name(raw: Raw, channel: int) -> str:
    """Return the name of one of several channels, printable; "channel N" where it has none."""
    names = raw.channels or ()
    return printable(names[channel] if channel < len(names) else f"channel {channel}")


def _notes(counts: Sequence[_ClassCount]) -> tuple[str, ...]:
    different = [
        f"{one.name} has {one.above:,} voxels above 0.5 and is the most probable class at {one.most:,}"
        for one in counts
        if one.differ > _NOTABLE * one.either
    ]
    if not different:
        return ()
    return (
        f"its classes exclude each other: {'; '.join(different)}. Here 0.5 decides; softmorph evaluate and --argmax "
        "take the most probable class.",
    )


def exclusive_classes(volume: Volume) -> Exclusive | None:
    """Return the most probable classes of the file that a map was read from, where they were searched."""
    kept = volume.source.header if volume.source else None
    found = getattr(kept, "exclusive", None)
    return found if isinstance(found, Exclusive) else None


def _full_scale(raw: Raw) -> float:
    """Return the stored number that means 1: the maximum of the type in formats that define it so."""
    full = raw.full_scale and raw.array.dtype.kind in "ui" and raw.slope == 1
    return float(np.iinfo(raw.array.dtype).max) if full else 1.0


def _rounding(raw: Raw, one: float) -> float:
    """Return the largest rounding error of one stored probability."""
    kind = raw.array.dtype
    if kind.kind != "f":
        # Half a step, and the rounding of the float32 that was stored.
        return 0.5 * abs(raw.slope) / one + float(np.finfo(np.float32).eps)
    return float(max(np.finfo(kind).eps, np.finfo(np.float32).eps))


def _spatial(raw: Raw) -> tuple[int, ...]:
    dims = sum(letter in "ZYX" for letter in raw.axes or "")
    return tuple(raw.array.shape[-dims:])


def _slabs(shape: tuple[int, ...], voxels: int) -> Iterator[slice]:
    rows = max(1, voxels // max(1, prod(shape[1:])))
    for start in range(0, shape[0], rows):
        yield slice(start, min(shape[0], start + rows))
