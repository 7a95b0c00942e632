"""Maps larger than memory, read in blocks (boxes of voxels); also exports the classes that write blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from softmorph_cli.classes import numbered
from softmorph_cli.errors import FileError, InputError, UsageError
from softmorph_cli.io import named_classes, select
from softmorph_cli.io.boxes import Box, clipped, extent
from softmorph_cli.io.boxes import BoxReader as BoxReader
from softmorph_cli.io.boxes import BoxWriter as BoxWriter
from softmorph_cli.io.exclusive import class_notes_of_blocks
from softmorph_cli.io.formats import read_raw
from softmorph_cli.io.lazy import Index, Lazy
from softmorph_cli.io.mapped import check_whole
from softmorph_cli.io.masks import MaskFile
from softmorph_cli.io.new_blocks import BlockWriter as BlockWriter
from softmorph_cli.io.new_blocks import create_blocks as create_blocks
from softmorph_cli.io.npz import NAME as NNUNET
from softmorph_cli.io.options import DEFAULT, ReadOptions
from softmorph_cli.io.provenance import read_with
from softmorph_cli.io.raw import Affine, Kept, Raw
from softmorph_cli.io.raw import Array as Array
from softmorph_cli.io.values import check_type, full_scale, no_label, probabilities, warn_of_probabilities
from softmorph_cli.io.voxel_sizes import completed
from softmorph_cli.io.zarr_writing import chunks_of_tiles as chunks_of_tiles
from softmorph_cli.volume import Source, class_axis

_SINGLE = np.dtype(np.float32)


@dataclass(frozen=True)
class Blocks:
    """One image of a file that is read in blocks (boxes of voxels), by any number of threads.

    A `Blocks` that is pickled opens the file again, by its absolute path, when it is unpickled.

    Attributes:
        path: The path of the file.
        shape: The number of voxels along each spatial axis.
        axes: The letters of the spatial axes: "ZYX" or "YX".
        spacing: The voxel size along each spatial axis, or None if unknown.
        unit: The unit of `spacing`, or None if unknown.
        affine: The 4 x 4 matrix from the array index (z, y, x, 1) to RAS+ coordinates, or None if unknown.
        dtype: The element type on disk.
        chunks: The shape of a chunk that the file stores together; blocks of whole chunks are read fastest.
        in_memory: Whether the format can only be read as a whole, so that the whole file is held in memory.
        source: The file and its metadata, as in `Volume`.
        notes: The assumptions of the reader that the user should know, one sentence each.
        mapped: The letters of the non-spatial axes, each of size one, that `read_map` would put before `axes`.
        channels: The names of the channels if `mapped` has the axis "C", or None.
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
    _image: _BlockSource = field(repr=False, kw_only=True)
    _read: Callable[[Box], Array] = field(repr=False, kw_only=True)

    def __reduce__(self) -> tuple[Callable[..., Blocks], tuple[object, ...]]:
        """Pickle the path and the options with the divisor that was found, so that unpickling skips the search."""
        given = self._image.given.absolute()
        return _reopen, (self.path.absolute(), given, self._image.settled.divide_by, self.shape)

    @property
    def ndim(self) -> int:
        """The number of spatial axes of the map."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of voxels of the map."""
        return prod(self.shape)

    @property
    def dropped(self) -> str | None:
        """The letter of the spatial axis of size one that was removed, or None."""
        kept = self.source.header
        return kept.dropped if isinstance(kept, Kept) else None

    def read(self, box: Sequence[slice]) -> npt.NDArray[np.float32]:
        """Read a block as probabilities.

        Args:
            box: A slice for each spatial axis, without steps.

        Returns:
            The probabilities as float32: a new array, or a view of the slab in memory after `in_slabs`.

        Raises:
            FileError: If the file is damaged in this block.
            InputError: If the values in this block are no probabilities.
        """
        return self._read(clipped(box, self.shape))

    def __getitem__(self, index: Any) -> Any:
        """Read a part of the map, indexed like an array by integers and slices without steps."""
        parts = index if isinstance(index, tuple) else (index,)
        if not parts:
            return self
        box = [part if isinstance(part, slice) else slice(part, part + 1) for part in parts]
        values = self.read([*box, *[slice(None)] * (self.ndim - len(box))])
        return values[tuple(slice(None) if isinstance(part, slice) else 0 for part in parts)]

    def in_slabs(self, voxels: int) -> Blocks:
        """Return a copy for reading along the first axis that holds a slab of about `voxels` voxels in memory."""
        return replace(self, _read=_Slab(self, self._slab_rows(voxels)))

    def slabs(self, voxels: int) -> Iterator[npt.NDArray[np.float32]]:
        """Read the map along the first axis in consecutive slabs of about `voxels` voxels."""
        rows, rest = self._slab_rows(voxels), [slice(None)] * (self.ndim - 1)
        for first in range(0, self.shape[0], rows):
            yield self.read([slice(first, first + rows), *rest])

    def _slab_rows(self, voxels: int) -> int:
        rows = voxels // prod(self.shape[1:])
        # Whole chunks where they fit: a chunk in two slabs is decompressed twice.
        return max(1, rows // self.chunks[0] * self.chunks[0] or rows)

    def class_notes(self, voxels: int) -> tuple[str, ...]:
        """Return a note if the channel's mask at 0.5 differs from argmax over all channels, which are read once.

        Args:
            voxels: The number of voxels held in memory at once, summed over all channels.

        Raises:
            FileError: If the file is damaged.
            InputError: If the values are no probabilities.
        """
        return self._image.class_notes(voxels)


class _Slab:
    """A function that returns blocks from a slab (a range of the first axis) that it holds in memory."""

    def __init__(self, blocks: Blocks, rows: int) -> None:
        self._blocks, self._rows = blocks, rows
        self._begin, self._values = 0, np.zeros((0, *blocks.shape[1:]), np.float32)

    def __call__(self, box: Box) -> Array:
        first, *rest = box
        if not self._begin <= first.start <= first.stop <= self._begin + len(self._values):
            self._begin = first.start // self._rows * self._rows
            end = max(first.stop, self._begin + self._rows)
            self._values = np.zeros(0, np.float32)  # two slabs are never held at once
            whole = [slice(None)] * (self._blocks.ndim - 1)
            self._values = self._blocks.read((slice(self._begin, end), *whole))
        return self._values[(slice(first.start - self._begin, first.stop - self._begin), *rest)]


def open_blocks(path: str | Path, options: ReadOptions = DEFAULT) -> Blocks:
    """Open a map to read it in blocks: OME-Zarr, TIFF, uncompressed NIfTI and .npy lazily, other formats as a whole.

    The blocks together hold the values that `read_map` returns. A map of integers whose scale no option states is read
    once here, because its maximum decides whether the integers are a mask or scaled probabilities.

    Raises:
        FileError: If the file is missing, damaged or of an unsupported type.
        InputError: If the file holds no map of probabilities, or several images and no option selects one.
        UsageError: If an option is not available when a map is read in blocks.
    """
    for unknown in options.whole_only:
        raise UsageError(f"{unknown} is not known tile by tile.")
    return _open(Path(path), options)


def _reopen(path: Path, given: ReadOptions, divisor: float | None, shape: tuple[int, ...]) -> Blocks:
    blocks = _open(path, given, settled=replace(given, divide_by=divisor))
    if blocks.shape != shape:
        raise FileError(f"{path} is another map now, of shape {blocks.shape} instead of {shape}.")
    return blocks


def _open(path: Path, given: ReadOptions, *, settled: ReadOptions | None = None) -> Blocks:
    """Open a map to read it in blocks.

    Args:
        path: The path of the file.
        given: The options of reading, as the user gave them.
        settled: The options `given` with the divisor of integers filled in; None if the divisor is not known yet.
    """
    name = str(path)
    softmax = given.from_logits == "softmax"
    family, raw = read_raw(path, given, lazy=True)
    if family.name == NNUNET:
        raise InputError(f"{name} is an .npz, which is read as a whole only.")
    in_memory = not isinstance(raw.array, Lazy | np.memmap)
    check_type(raw, name)
    raw = replace(raw, array=_in_parts(raw.array))
    picked = given.channel is not None and not softmax
    raw = select.name_axes(raw, name, axes=given.axes, channel_axis=given.channel_axis, picked=picked)
    filed_axes = raw.axes or ""
    raw = completed(select.arrange(raw), name, given)
    if given.time is not None:
        raw = select.pick_time(raw, given.time, name)
    given = named_classes.with_number(given, raw, path)
    settled = settled and replace(settled, label=given.label)
    filed_spatial = select.spatial(raw)
    mask = None if given.mask is None else MaskFile.open(Path(given.mask), raw, name, lazy=True)
    if given.region is not None:
        raw, cuts = select.crop(raw, given.region, name)
        mask = mask and mask.cropped(cuts)
    spatial_shape = raw.array.shape[-len(filed_spatial) :]
    along = select.letter_of(given.channel_axis, filed_axes)
    one, mapped, channels = _one_image(raw, name, given.channel, along, softmax=softmax)
    filed_spacing = one.spacing
    one, array, dropped = select.drop_singleton(one, one.array)
    one = replace(one, array=array)
    axes = select.spatial(one)
    filed_spatial = "".join(letter for letter in filed_spatial if letter != dropped)
    image = _BlockSource(name, given, settled or given, raw, one, mask, filed_spatial, along)
    notes = [] if mask is None else [*mask.notes(tuple(slice(0, size) for size in spatial_shape))]
    if settled is None:
        divisor, scale_notes = _settle(image)
        notes = [*scale_notes, *notes]
        image = replace(image, settled=replace(given, divide_by=divisor))
        if given.from_logits is not None:
            _warn_of_probabilities(image)
    return Blocks(
        path=path,
        shape=one.array.shape[-len(axes) :],
        axes=axes,
        spacing=tuple(one.spacing[a] for a in axes) if set(axes) <= set(one.spacing) else None,
        unit=one.unit,
        affine=one.affine,
        dtype=one.dtype,
        chunks=cast(Lazy, one.array).chunks[-len(axes) :],
        in_memory=in_memory,
        source=Source(
            path,
            family.name,
            one.shape,
            one.dtype,
            Kept(family.name, one.native, filed_axes, filed_spacing, dropped, time_step=one.time_step),
            read_with(one.provenance, divide_by=given.divide_by, from_logits=given.from_logits),
        ),
        notes=(*one.notes, *notes),
        mapped=mapped,
        channels=channels,
        _image=image,
        _read=image.read,
    )


@dataclass(frozen=True)
class _BlockSource:
    """The stored numbers of an image, converted to probabilities block by block.

    Attributes:
        name: The path of the file, for messages.
        given: The options of reading, as the user gave them.
        settled: The options `given` with the divisor of integers filled in.
        every: The image with all of its channels.
        one: The image that is read: the spatial axes, preceded by the channel axis if softmax needs all channels.
        mask: The mask outside of which the map is 0, or None.
        filed_axes: The letters of the spatial axes as named in `every`.
        along: The letter of the axis along which the channel is picked, or None for the default axis.
    """

    name: str
    given: ReadOptions
    settled: ReadOptions
    every: Raw
    one: Raw
    mask: MaskFile | None
    filed_axes: str
    along: str | None

    def stored(self, box: Box) -> Raw:
        """Return the stored numbers of a block."""
        index: tuple[Any, ...] = (..., *box)
        return replace(self.one, array=np.asarray(self.one.array[index]))

    def inside(self, box: Box) -> Array | None:
        """Return the mask in a block, or None if the map has no mask."""
        if self.mask is None:
            return None
        cuts = dict(zip(self.filed_axes, box, strict=True))
        every_axis = tuple(cuts.get(letter, slice(0, 1)) for letter in select.spatial(self.every))
        return self.mask.read(every_axis).reshape(extent(box))

    def read(self, box: Box) -> Array:
        """Return the probabilities of a block."""
        part, axes = self.stored(box), select.spatial(self.one)
        where = ", ".join(f"{a.lower()} {c.start}:{c.stop}" for a, c in zip(axes, box, strict=True))
        corner = (0,) * (part.array.ndim - len(box)) + tuple(cut.start for cut in box)
        name = f"{self.name} (block {where})"
        values, _ = probabilities(part, name, _SINGLE, self.settled, inside=self.inside(box), corner=corner)
        if self.given.from_logits == "softmax" and self.given.channel is not None:
            part = replace(part, array=values)
            values = select.pick_channel(part, self.given.channel, self.name).array
        return np.ascontiguousarray(values.reshape(values.shape[-len(box) :]))

    def class_notes(self, voxels: int) -> tuple[str, ...]:
        """Return the notes of `Blocks.class_notes`, holding at most `voxels` voxels of all channels at once."""
        given = self.given
        # Sigmoids of logits, and the mask of a label, are no classes.
        if given.channel is None or given.from_logits == "sigmoid" or given.label is not None:
            return ()
        raw, array, _ = select.drop_singleton(self.every, self.every.array)
        raw = replace(raw, array=array)
        letter, number = select.channel_index(self.every, given.channel, self.name, self.along)
        axis = class_axis(raw.axes or "", array.shape, raw.format)
        if axis is None or (raw.axes or "")[axis] != letter:
            return ()
        labels = None
        if given.from_logits == "softmax":
            raw = self._softmax(raw)
            labels = numbered(raw.channels, array.shape[axis])
        rest = tuple(slice(0, size) for size in array.shape[-len(self.filed_axes) :][1:])
        return class_notes_of_blocks(
            raw,
            number,
            lambda rows: self.read((rows, *rest)),
            labels=labels,
            divide_by=given.divide_by,
            inside=lambda rows: self.inside((rows, *rest)),
            voxels=voxels,
        )

    def _softmax(self, logits: Raw) -> Raw:
        """Return the softmax of the logits as a lazy array, computed for each part when the part is read."""

        def read(stored: Any, index: Index) -> Array:
            part = replace(logits, array=np.asarray(stored[index]))
            box = cast(Box, index[-len(self.filed_axes) :])
            corner = (0,) * part.array.ndim
            return probabilities(
                part, self.name, _SINGLE, self.given, inside=self.inside(box), corner=corner
            )[0]

        stored = cast(Lazy, logits.array)
        values = cast(Array, Lazy(stored, stored.chunks, read))
        return replace(logits, array=values, slope=1.0, inter=0.0, full_scale=False)


def _in_parts(array: Any) -> Array:
    """Return an array as a `Lazy` array; parts of an array in memory or of a mapped file are copied when read."""
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
    """Remove the non-spatial axes, each of size one; for softmax keep the channel axis to pick a channel later.

    Returns:
        The image; the letters of the non-spatial axes that `read_map` would keep; and the names of their channels.

    Raises:
        InputError: If a non-spatial axis is longer than one.
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
            f"{select.first_along(*(many if {*many} <= {'T', 'C'} else many[:1]), names=channels)}."
        )
    for letter in dropped:
        axes = raw.axes or ""
        array = raw.array.take(0, axis=axes.index(letter))
        raw = replace(raw, array=array, axes=axes.replace(letter, ""), channels=None)
    return raw, left, channels if "C" in left else None


def _warn_of_probabilities(image: _BlockSource) -> None:
    """Warn if all values of a map that is read as logits lie in [0, 1]; stop reading at the first block outside."""
    low, high = np.inf, -np.inf
    for box in cast(Lazy, image.one.array).boxes():
        values = image.stored(box).array * np.float64(image.one.slope) + image.one.inter
        low, high = min(low, values.min()), max(high, values.max())
        if not (low >= 0 and high <= 1):
            return
    warn_of_probabilities(low, high, image.name)


def _settle(image: _BlockSource) -> tuple[float | None, list[str]]:
    """Read the whole map, where needed, to check that the label exists or to find the divisor of integers.

    Returns:
        The divisor of the stored numbers, or None if they are not divided; and notes for the user.

    Raises:
        InputError: If the label is missing, or the integers are no probabilities.
    """
    given, raw = image.given, image.one
    integers = raw.array.dtype.kind in "iub" and raw.slope == 1 and raw.inter == 0
    explained = given.divide_by is not None or given.from_logits is not None or not integers
    if given.label is None and explained:
        return given.divide_by, []
    low, high = 0, 0
    for number, box in enumerate(cast(Lazy, raw.array).boxes()):
        array, inside = image.stored(box).array, image.inside(box)
        if inside is not None:
            array = np.where(inside, array, np.zeros((), array.dtype))
        if given.label is None:
            here = int(array.min()), int(array.max())
            low, high = here if number == 0 else (min(low, here[0]), max(high, here[1]))
        elif np.isin(np.rint(array * np.float64(raw.slope) + raw.inter), np.array(given.label_number)).any():
            return None, []
    if given.label_number is not None:
        raise no_label(raw.array, image.name, given.label_number)
    if low >= 0 and high <= 1:
        return 1, ["it holds only 0 and 1 and is taken as a mask."]
    return full_scale(raw, image.name, low, high, clip=given.clip), []
