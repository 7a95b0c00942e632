"""Detection of channels that are mutually exclusive classes, and the most probable class at each voxel.

Mutually exclusive classes are decided by argmax, not by a threshold of one half: of 0.4, 0.3 and 0.3 none exceeds 0.5.
The argmax needs all channels, even if only one channel is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.classes import SUFFICIENT, numbered
from softmorph_cli.io.raw import Array, Raw
from softmorph_cli.system.printable import printable
from softmorph_cli.volume import SLICE, Volume, class_axis

# A class is named in a note where argmax and 0.5 differ at more than this share of its voxels.
_NOTABLE: Final = 0.01
_BLOCK: Final = 1 << 22
HALF: Final = 0.5


@dataclass(frozen=True)
class Exclusive:
    """The class at each voxel of a file whose channels decide it together.

    This is the most probable of several mutually exclusive classes, or what nnU-Net paints of several regions.

    Attributes:
        winner: The label of the most probable class at each voxel; the lowest label of equally probable classes. Of
            regions, the label of the last one above one half.
        labels: The labels of the channels that were read, in the order of the channels.
        regions: Of regions, by the label that each is painted with, the labels whose union it is; otherwise empty.
    """

    winner: Array
    labels: tuple[int, ...]
    regions: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    def mask(self, label: int) -> npt.NDArray[np.bool_]:
        """Return a mask of the voxels of the class or the region with this label."""
        return np.isin(self.winner, self.regions.get(label, (label,)))


def find_exclusive(
    raw: Raw,
    *,
    labels: Sequence[int] | None = None,
    divide_by: float | None = None,
    inside: Array | None = None,
) -> Exclusive | None:
    """Return the most probable class of each voxel if the channels are mutually exclusive classes, else None.

    Channels are mutually exclusive if the file says so (`labels`), or if they sum to 1, within the rounding of the
    stored type, at 99.9 % of the voxels.

    Args:
        raw: The content of the file with all channels and the axes in order.
        labels: The labels of the channels if the file states that the classes are mutually exclusive, else None; if no
            label is 0, the background is 1 minus the sum of the channels.
        divide_by: The stored number that means 1, or None to take it from the format.
        inside: A mask outside of which values count as 0, or None.
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
    """A search for mutually exclusive classes through all channels, in slabs along the first spatial axis.

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
        """Return a new search, or None if the file has no channels that could be classes."""
        axes = raw.axes or ""
        axis = class_axis(axes, raw.array.shape, raw.format)
        if axis is None or axes[axis] == SLICE or raw.colour or raw.array.dtype.kind not in "fiu":
            return None
        return cls(raw, axis, labels, divide_by)

    @property
    def conclusive(self) -> bool:
        """Whether the channels sum to 1 at enough of the voxels that were read so far."""
        return self._wrong <= (1 - SUFFICIENT) * self._seen

    def most_probable(self, rows: slice, inside: Array | None) -> Array | None:
        """Return the label of the most probable class at each voxel of a slab; None if the channels are not exclusive.

        Args:
            rows: The range of the first spatial axis that the slab covers.
            inside: The mask in the slab, or None.
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
            if self._wrong > (1 - SUFFICIENT) * prod(shape):
                return None
        found = self.numbers[self._order][values.argmax(axis=0)]
        if 0 not in self.numbers:
            found[values.max(axis=0) <= 1 - total] = 0
        found[total == 0] = 0
        return np.asarray(found, np.min_scalar_type(int(self.numbers.max())))


@dataclass
class _ClassCount:
    """Counts of the voxels where a class is selected by argmax and by the threshold 0.5.

    Attributes:
        name: The name of the class.
        most: The number of voxels where the class is the most probable one.
        above: The number of voxels where its probability exceeds 0.5.
        either: The number of voxels where at least one of the two conditions holds.
        differ: The number of voxels where exactly one of the two conditions holds.
    """

    name: str
    most: int = 0
    above: int = 0
    either: int = 0
    differ: int = 0

    def add(self, most: Array, above: Array) -> None:
        """Add the counts of a part of the map, given its two masks: class most probable, and class above 0.5."""
        self.most += int(np.count_nonzero(most))
        self.above += int(np.count_nonzero(above))
        self.either += int(np.count_nonzero(most | above))
        self.differ += int(np.count_nonzero(most ^ above))


def class_notes(volume: Volume) -> tuple[str, ...]:
    """Return a note that names the classes whose mask at 0.5 differs from argmax; empty if there are none.

    Args:
        volume: A map as it was read, with the result of the search for exclusive classes in `Source.header`.
    """
    found = exclusive_classes(volume)
    if found is None or found.regions:
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
        raw: The content of the file with all channels and the axes in order.
        channel: The index of the channel that is read.
        read: A function that returns the probabilities of the channel in a range of the first spatial axis.
        labels: The labels of the channels if the file states that the classes are mutually exclusive, else None.
        divide_by: The stored number that means 1, or None to take it from the format.
        inside: A function that returns the mask, or None, in a range of the first spatial axis.
        voxels: The number of voxels held in memory at once, summed over all channels.
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
    """Return the printable name of the channel with index `channel`, or "channel N" if it has no name."""
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
    """Return the exclusive classes of the file that a map was read from, or None if none were found or searched."""
    kept = volume.source.header if volume.source else None
    found = getattr(kept, "exclusive", None)
    return found if isinstance(found, Exclusive) else None


def _full_scale(raw: Raw) -> float:
    """Return the stored number that means 1: the maximum of the integer type in some formats, else 1."""
    full = raw.full_scale and raw.array.dtype.kind in "ui" and raw.slope == 1
    return float(np.iinfo(raw.array.dtype).max) if full else 1.0


def _rounding(raw: Raw, one: float) -> float:
    """Return the largest rounding error of one stored probability, if the stored number `one` means 1."""
    kind = raw.array.dtype
    if kind.kind != "f":
        # Half a step, and the rounding of the float32 that was stored. A mask of 0 and 1 was not rounded.
        step = abs(raw.slope) / one
        return (0.5 * step if step < HALF else 0.0) + float(np.finfo(np.float32).eps)
    return float(max(np.finfo(kind).eps, np.finfo(np.float32).eps))


def _spatial(raw: Raw) -> tuple[int, ...]:
    dims = sum(letter in "ZYX" for letter in raw.axes or "")
    return tuple(raw.array.shape[-dims:])


def _slabs(shape: tuple[int, ...], voxels: int) -> Iterator[slice]:
    rows = max(1, voxels // max(1, prod(shape[1:])))
    for start in range(0, shape[0], rows):
        yield slice(start, min(shape[0], start + rows))
