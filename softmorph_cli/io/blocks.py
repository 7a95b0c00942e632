"""Maps larger than memory: read and written block by block, with the same rules as whole ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import FileError, InputError, UsageError
from softmorph_cli.io import select
from softmorph_cli.io.exclusive import numbered, told_of_blocks
from softmorph_cli.io.formats import read_raw
from softmorph_cli.io.lazy import Lazy
from softmorph_cli.io.mapped import check_whole
from softmorph_cli.io.npz import NAME as NNUNET
from softmorph_cli.io.options import DEFAULT, ReadOptions
from softmorph_cli.io.provenance import read_with
from softmorph_cli.io.raw import Affine, Array, Kept, Raw
from softmorph_cli.io.values import check_type, full_scale, no_label, probabilities
from softmorph_cli.system.parameters import named
from softmorph_cli.volume import Source, class_axis

_SINGLE = np.dtype(np.float32)


@dataclass(frozen=True)
class Blocks:
    """One image of a file, of which blocks are read; any number of threads may do so.

    Pickled blocks open the file again where they arrive, by its absolute path.

    Attributes:
        path: The file.
        shape: Along the axes of space.
        axes: "ZYX" or "YX".
        spacing: As in `Volume`.
        unit: As in `Volume`.
        affine: As in `Volume`.
        dtype: The element type on disk.
        chunks: The extent of what the file stores in one piece; blocks made of whole ones are read fastest.
        in_memory: Whether the format keeps no pieces, so that all of the file is held in memory.
        source: As in `Volume`.
        notes: What had to be decided.
        mapped: The letters of the axes that hold no more than this one image; `read` has them before those of
            space.
        channels: As in `Volume`, where one of them is that of channels.
    """

    path: Path
    shape: tuple[int, ...]
    axes: str
    spacing: tuple[float, ...] | None
    unit: str | None
    affine: Affine | None
    dtype: str
    chunks: tuple[int, ...]
    in_memory: bool
    source: Source
    notes: tuple[str, ...]
    mapped: str = ""
    channels: tuple[str, ...] | None = None
    _read: Callable[[tuple[slice, ...]], Array] = field(repr=False, kw_only=True)
    _differ: Callable[[int], tuple[str, ...]] = field(repr=False, kw_only=True)
    _options: ReadOptions = field(repr=False, kw_only=True)
    _divisor: float | None = field(repr=False, kw_only=True)

    def __reduce__(self) -> tuple[Callable[..., Blocks], tuple[object, ...]]:
        """Pickle how to open it again, from any working folder, without going through all of it again."""
        return _reopen, (self.path.absolute(), self._options.absolute(), self._divisor, self.shape)

    @property
    def dropped(self) -> str | None:
        """The letter of the axis of space of size one that is left out, or None."""
        kept = self.source.header
        return kept.dropped if isinstance(kept, Kept) else None

    def read(self, slices: Sequence[slice]) -> npt.NDArray[np.float32]:
        """Read a block as probabilities.

        Args:
            slices: A range for each axis of space, without steps.

        Returns:
            float32 in [0, 1], nobody else's.

        Raises:
            FileError: If the file is damaged there.
            InputError: If the values there are no probabilities.
        """
        cuts = tuple(slice(*part.indices(size)[:2]) for part, size in zip(slices, self.shape, strict=True))
        return self._read(cuts)

    def told(self, voxels: int) -> tuple[str, ...]:
        """Return what `exclusive.told` says of the map; that reads all of the file's channels once.

        Args:
            voxels: How many are held at once, of all channels together.

        Raises:
            FileError: If the file is damaged.
            InputError: If the values are no probabilities.
        """
        return self._differ(voxels)


def open_blocks(path: str | Path, options: ReadOptions = DEFAULT) -> Blocks:
    """Open a map without reading it: OME-Zarr, TIFF, uncompressed NIfTI or .npy in parts, others whole.

    The blocks together are what `read_map` returns. Integers that no option explains are gone through once here,
    because their largest decides what they mean.

    Raises:
        FileError: As `read_map`.
        InputError: As `read_map`, or if more than one image is left: blocks are those of one.
        UsageError: If an option is not known where a map is read block by block.
    """
    for unknown in options.whole_only:
        raise UsageError(f"{unknown} is not known tile by tile.")
    return _open(Path(path), options)


def _reopen(path: Path, given: ReadOptions, divisor: float | None, shape: tuple[int, ...]) -> Blocks:
    blocks = _open(path, given, settled=True, divisor=divisor)
    if blocks.shape != shape:
        raise FileError(f"{path} is another map now, of shape {blocks.shape} instead of {shape}.")
    return blocks


def _open(path: Path, given: ReadOptions, *, settled: bool = False, divisor: float | None = None) -> Blocks:
    """Open a map; `settled` says that what no block can tell alone is known, its divisor among it."""
    name = str(path)
    label, from_logits = given.label, given.from_logits
    family, raw = read_raw(path, given, lazy=True)
    if family.name == NNUNET:
        raise InputError(f"{name} is an .npz, which is read as a whole only.")
    in_memory = not isinstance(raw.array, Lazy | np.memmap)
    check_type(raw, name)
    raw = replace(raw, array=_in_parts(raw.array))
    softmax = from_logits == "softmax"
    picked = given.channel is not None and not softmax
    raw = select.name_axes(raw, name, axes=given.axes, channel_axis=given.channel_axis, picked=picked)
    filed = raw.axes or ""
    raw = select.arrange(raw)
    if given.time is not None:
        raw = select.pick_time(raw, given.time, name)
    full = select.spatial(raw)
    inside = _Mask(Path(given.mask), raw, name) if given.mask is not None else None
    if given.region is not None:
        raw, cuts = select.crop(raw, given.region, name)
        if inside is not None:
            inside.crop(cuts)
    along = select.letter_of(given.channel_axis, filed)
    every = raw
    raw, kept, channels = _one_image(raw, name, given.channel, along, softmax=softmax)
    full_spacing = raw.spacing
    raw, array, dropped = select.drop_singleton(raw, raw.array)
    raw = replace(raw, array=array)
    letters = select.spatial(raw)
    place = [letter for letter in full if letter != dropped]
    mapped = raw.array.ndim - len(letters)

    def stored(cuts: tuple[slice, ...]) -> tuple[Raw, Array | None]:
        index: tuple[Any, ...] = (..., *cuts)
        part = replace(raw, array=np.asarray(raw.array[index]))
        return part, inside.read(dict(zip(place, cuts, strict=True)), cuts) if inside is not None else None

    notes: list[str] = []
    if not settled:
        divisor = given.divide_by
        integers = raw.array.dtype.kind in "iub" and raw.slope == 1 and raw.inter == 0
        if label is not None or (divisor is None and from_logits is None and integers):
            parts = (stored(cuts) for cuts in cast(Lazy, raw.array).boxes())
            divisor, notes = _settle(raw, parts, name, divisor, label, given.clip)

    # The divisor that was found out is that of every block.
    meant = replace(given, divide_by=divisor) if divisor is not None else given

    def read_block(cuts: tuple[slice, ...]) -> Array:
        part, seen = stored(cuts)
        where = ", ".join(f"{a.lower()} {c.start}:{c.stop}" for a, c in zip(letters, cuts, strict=True))
        values, _ = probabilities(
            part,
            f"{name} (block {where})",
            _SINGLE,
            meant,
            inside=seen,
            corner=(0,) * mapped + tuple(cut.start for cut in cuts),
        )
        if softmax and given.channel is not None:
            values = select.pick_channel(replace(part, array=values), given.channel, name).array
        return np.ascontiguousarray(values.reshape(values.shape[-len(cuts) :]))

    def differ(voxels: int) -> tuple[str, ...]:
        # Sigmoids of logits, and the mask of a label, are no classes.
        if given.channel is None or from_logits == "sigmoid" or label is not None:
            return ()
        all_of_it, array, _ = select.drop_singleton(every, every.array)
        shape = array.shape[-len(letters) :]
        letter, channel_read = select.channel_index(every, given.channel, name, along)
        axis = class_axis(all_of_it.axes or "", array.shape, every.format)
        if axis is None or (all_of_it.axes or "")[axis] != letter:
            return ()

        def cut(part: slice) -> tuple[slice, ...]:
            return part, *(slice(0, size) for size in shape[1:])

        def seen(cuts: tuple[slice, ...]) -> Array | None:
            return None if inside is None else inside.read(dict(zip(place, cuts, strict=True)), cuts)

        def of_logits(kept: Any, index: Any) -> Array:
            part = replace(all_of_it, array=np.asarray(kept[index]))
            values, _ = probabilities(part, name, _SINGLE, given, inside=seen(index[-len(shape) :]))
            return values

        labels = None
        if softmax:
            array = cast(Array, Lazy(array, cast(Lazy, array).chunks, of_logits))
            all_of_it = replace(all_of_it, slope=1.0, inter=0.0, full_scale=False)
            labels = numbered(every.channels, array.shape[axis])
        return told_of_blocks(
            replace(all_of_it, array=array),
            channel_read,
            lambda part: read_block(cut(part)),
            labels=labels,
            divide_by=given.divide_by,
            inside=lambda part: seen(cut(part)),
            voxels=voxels,
        )

    return Blocks(
        path=path,
        shape=raw.array.shape[mapped:],
        axes=letters,
        spacing=tuple(raw.spacing[a] for a in letters) if set(letters) <= set(raw.spacing) else None,
        unit=raw.unit,
        affine=raw.affine,
        dtype=raw.dtype,
        chunks=cast(Lazy, raw.array).chunks[mapped:],
        in_memory=in_memory,
        source=Source(
            path,
            family.name,
            raw.shape,
            raw.dtype,
            Kept(family.name, raw.native, filed, full_spacing, dropped, time_step=raw.time_step),
            read_with(raw.provenance, divide_by=given.divide_by, from_logits=from_logits),
        ),
        notes=(*raw.notes, *notes),
        mapped=kept,
        channels=channels,
        _read=read_block,
        _differ=differ,
        _options=given,
        _divisor=divisor,
    )


class _Mask:
    """Where values count, read along with each block."""

    def __init__(self, path: Path, raw: Raw, name: str) -> None:
        _, other = read_raw(path, lazy=True)
        check_type(other, str(path))
        other = replace(other, array=_in_parts(other.array))
        other = select.arrange(select.name_axes(other, str(path)))
        letters = select.spatial(raw)
        shape, found = raw.array.shape[-len(letters) :], other.array.shape
        if [size for size in found if size > 1] != [size for size in shape if size > 1]:
            raise InputError(
                f"{named('mask')} {path} has shape {found}; {name} has {shape}: a mask needs one value for each voxel."
            )
        self._array = other.array[tuple(slice(None) if size > 1 else 0 for size in found)]
        self._letters = [a for a, size in zip(letters, shape, strict=True) if size > 1]
        self._all = letters

    def crop(self, cuts: tuple[slice, ...]) -> None:
        """Cut the same region out."""
        kept = [cut for letter, cut in zip(self._all, cuts, strict=True) if letter in self._letters]
        self._array = self._array[tuple(kept)]

    def read(self, cuts: Mapping[str, slice], shape: Sequence[slice]) -> Array:
        """Read a block; an axis that has no range of its own has one voxel."""
        part = np.asarray(self._array[tuple(cuts.get(letter, slice(0, 1)) for letter in self._letters)])
        return np.asarray(part != 0).reshape([cut.stop - cut.start for cut in shape])


def _in_parts(array: Any) -> Array:
    """An array in memory or in a mapped file as one that is read part by part, always into a copy."""
    if isinstance(array, Lazy):
        return cast(Array, array)
    chunks = (*(1 for _ in array.shape[:-2]), *array.shape[-2:])

    def read(stored: Any, index: Any) -> Array:
        check_whole(stored)
        return np.array(stored[index])

    return cast(Array, Lazy(array, chunks, read))


def _one_image(
    raw: Raw, name: str, channel: int | str | None, along: str | None, *, softmax: bool
) -> tuple[Raw, str, tuple[str, ...] | None]:
    """Leave the mapped axes out, of size one each; for softmax keep the channels, if one is chosen later.

    Returns:
        The image; the mapped axes that `read` would leave, and the names of the channels there.
    """
    if channel is not None and not softmax:
        raw = select.pick_channel(raw, channel, name, along)
    mapped, channels = (raw.axes or "").removesuffix(select.spatial(raw)), raw.channels
    left = mapped.replace("C", "") if softmax and channel is not None else mapped
    sizes = dict(zip(raw.axes or "", raw.array.shape, strict=True))
    kept = {"C"} if softmax and (channel is not None or sizes.get("C") == 1) else set()
    dropped = [letter for letter in mapped if letter not in kept]
    if many := [letter for letter in dropped if sizes[letter] > 1]:
        held = " and ".join(f"{sizes[letter]} images along axis {letter}" for letter in many)
        raise InputError(
            f"{name} holds {held}, and what is read in parts is one image; choose one with "
            f"{select.first_along(*(many if {*many} <= {'T', 'C'} else many[:1]))}."
        )
    for letter in dropped:
        axes = raw.axes or ""
        array = raw.array.take(0, axis=axes.index(letter))
        raw = replace(raw, array=array, axes=axes.replace(letter, ""), channels=None)
    return raw, left, channels if "C" in left else None


def _settle(
    raw: Raw,
    parts: Iterable[tuple[Raw, Array | None]],
    name: str,
    divide_by: float | None,
    label: int | None,
    clip: bool,
) -> tuple[float | None, list[str]]:
    """What no block can tell alone: whether the label is there, or what integers mean."""
    low, high = 0, 0
    for number, (part, seen) in enumerate(parts):
        array = part.array if seen is None else np.where(seen, part.array, np.zeros((), part.array.dtype))
        if label is None:
            here = int(array.min()), int(array.max())
            low, high = here if number == 0 else (min(low, here[0]), max(high, here[1]))
        elif (np.rint(array * np.float64(raw.slope) + raw.inter) == label).any():
            return divide_by, []
    if label is not None:
        raise no_label(raw.array, name, label)
    if low >= 0 and high <= 1:
        return 1, ["it holds only 0 and 1 and is taken as a mask."]
    return full_scale(raw, name, low, high, clip=clip), []
