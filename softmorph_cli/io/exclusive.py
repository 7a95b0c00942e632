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
    winner: Array | None = None
    shape = _spatial(raw)
    seen = None if inside is None else np.broadcast_to(inside, shape)
    looking = _Looking.at(raw, labels, divide_by)
    if looking is None:
        return None
    for part in _slabs(shape, _BLOCK):
        found = looking.most(part, None if seen is None else seen[part])
        if found is None:
            return None
        winner = np.zeros(shape, found.dtype) if winner is None else winner
        winner[part] = found
    if winner is None or not looking.sure:
        return None
    return Exclusive(winner, tuple(map(int, looking.numbers)))


class _Looking:
    """A search for classes that exclude each other: all channels are read, slab by slab along the first axis of space.

    Attributes:
        numbers: The label of each channel.
    """

    def __init__(self, raw: Raw, axis: int, labels: Sequence[int] | None, divide_by: float | None) -> None:
        self._raw, self._axis, self._known = raw, axis, labels is not None
        self._count = raw.array.shape[axis]
        self.numbers = np.array(numbered(raw.channels, self._count) if labels is None else labels)
        self._order = np.argsort(self.numbers, kind="stable")
        self._one = divide_by or _one(raw)
        self._near = self._count * _rounding(raw, self._one)
        self._wrong = self._seen = 0

    @classmethod
    def at(cls, raw: Raw, labels: Sequence[int] | None, divide_by: float | None) -> _Looking | None:
        """Return a search in a file that has seen no slab yet; None where it has no channels that could be classes."""
        axes = raw.axes or ""
        axis = class_axis(axes, raw.array.shape, raw.format)
        if axis is None or axes[axis] == SLICE or raw.colour or raw.array.dtype.kind not in "fiu":
            return None
        return cls(raw, axis, labels, divide_by)

    @property
    def sure(self) -> bool:
        """Whether the channels sum to 1 at enough of the voxels that were seen."""
        return self._wrong <= (1 - _SURE) * self._seen

    def most(self, part: slice, inside: Array | None) -> Array | None:
        """Return the label of the most probable class; None where the channels are known not to exclude each other.

        Args:
            part: Which slab.
            inside: Where values count there.
        """
        shape, raw = _spatial(self._raw), self._raw
        before = raw.array.ndim - len(shape)
        index = (*(slice(None) if k == self._axis else slice(0, 1) for k in range(before)), part)
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
            if self._wrong > (1 - _SURE) * prod(shape):
                return None
        found = self.numbers[self._order][values.argmax(axis=0)]
        if 0 not in self.numbers:
            found[values.max(axis=0) <= 1 - total] = 0
        found[total == 0] = 0
        return np.asarray(found, np.min_scalar_type(int(self.numbers.max())))


@dataclass
class _Class:
    """How many voxels have a class as the most probable one, above one half, as at least one of both, as just one."""

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


def told(volume: Volume) -> tuple[str, ...]:
    """Say in one sentence for which classes the voxels above 0.5 are not those where the class is most probable.

    Args:
        volume: As it was read, with its `Exclusive`.
    """
    found = of(volume)
    if found is None:
        return ()
    channels = volume.array.reshape(-1, *found.winner.shape)
    alone = volume.source.channel if volume.source else None
    names = volume.channels or ((alone,) if alone else ())
    counts = []
    for k, (label, channel) in enumerate(zip(found.labels, channels, strict=True)):
        count = _Class(names[k] if k < len(names) else f"class {label}")
        count.add(found.mask(label), channel > HALF)
        counts.append(count)
    return _sentence(counts)


def told_of_blocks(
    raw: Raw,
    channel: int,
    read: Callable[[slice], Array],
    *,
    labels: Sequence[int] | None = None,
    divide_by: float | None = None,
    inside: Callable[[slice], Array | None] = lambda part: None,
    voxels: int = _BLOCK,
) -> tuple[str, ...]:
    """Say what `told` says of one channel of a map that is larger than memory.

    Args:
        raw: What the file holds, axes in order, all channels.
        channel: Which of them is read, from 0.
        read: Returns a slab of that channel as it is read, along the first axis of space.
        labels: As for `look`.
        divide_by: As for `look`.
        inside: Where values count in a slab.
        voxels: How many are held at once, of all channels together.
    """
    looking = _Looking.at(raw, labels, divide_by)
    if looking is None:
        return ()
    count, label = _Class(called(raw, channel)), int(looking.numbers[channel])
    for part in _slabs(_spatial(raw), voxels // len(looking.numbers)):
        most = looking.most(part, inside(part))
        if most is None:
            return ()
        count.add(most == label, (read(part) > HALF).reshape(most.shape))
    return _sentence([count]) if looking.sure else ()


def called(raw: Raw, channel: int) -> str:
    """Return what one of several channels is called."""
    names = raw.channels or ()
    # It goes into comments and onto terminals.
    return printable(names[channel] if channel < len(names) else f"channel {channel}")


def _sentence(counts: Sequence[_Class]) -> tuple[str, ...]:
    said = [
        f"{one.name} has {one.above:,} voxels above 0.5 and is the most probable class at {one.most:,}"
        for one in counts
        if one.differ > _TOLD * one.either
    ]
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


def _spatial(raw: Raw) -> tuple[int, ...]:
    dims = sum(letter in "ZYX" for letter in raw.axes or "")
    return tuple(raw.array.shape[-dims:])


def _slabs(shape: tuple[int, ...], voxels: int) -> Iterator[slice]:
    rows = max(1, voxels // max(1, prod(shape[1:])))
    for start in range(0, shape[0], rows):
        yield slice(start, min(shape[0], start + rows))
