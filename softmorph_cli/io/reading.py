"""Reads a file as a `Volume`: decodes the content, selects a part of it, and converts its values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec

import numpy as np

from softmorph_cli.classes import numbered
from softmorph_cli.errors import InputError
from softmorph_cli.io import named_classes, nnunet, select
from softmorph_cli.io.exclusive import Exclusive, channel_name, find_exclusive
from softmorph_cli.io.first_image import first_image
from softmorph_cli.io.formats import read_raw
from softmorph_cli.io.lazy import Lazy
from softmorph_cli.io.mapped import held
from softmorph_cli.io.masks import MaskFile
from softmorph_cli.io.memory_check import beside, check_room
from softmorph_cli.io.npz import NAME as NNUNET
from softmorph_cli.io.options import DEFAULT, ReadOptions
from softmorph_cli.io.provenance import read_with
from softmorph_cli.io.raw import Array, Format, Kept, Raw
from softmorph_cli.io.unnamed_axes import ask_about_channels
from softmorph_cli.io.values import check_type, label_numbers, probabilities
from softmorph_cli.io.voxel_sizes import completed
from softmorph_cli.system.parameters import adopt_signature, declared, named
from softmorph_cli.volume import SLICE, Source, Volume, class_axis

P = ParamSpec("P")
_EXAMPLE: Final = """
>>> import numpy as np
>>> np.save("map.npy", np.array([[0, 51], [102, 255]], np.uint8))
>>> read("map.npy", divide_by=255).array[1]
array([0.4, 1. ], dtype=float32)
""".strip()


def read_map(path: str | Path, options: ReadOptions = DEFAULT) -> Volume:
    """Read a probability map.

    Args:
        path: A NIfTI, TIFF, PNG, NRRD, MetaImage, .npy, nnU-Net's .npz, HDF5 or OME-Zarr; the content decides which. A
            path into a Zarr store, such as map.zarr/1 or map.zarr/labels/cells, names an array or image in the store;
            one into an HDF5 file, such as maps.h5:/exported_data, names a dataset.
        options: How it is read.

    Returns:
        The map with its geometry; its `notes` list the assumptions that were necessary.

    Raises:
        FileError: If the file is missing, empty, damaged, mislabelled or of an unknown type.
        InputError: If the values are no probabilities or an option does not fit the file.
    """
    return _read_map(_open(Path(path), options), options)


def _read_map(file: _File, options: ReadOptions) -> Volume:
    path, family, raw = file.path, file.family, file.raw
    name = str(path)
    channel, from_logits, divide_by = options.channel, options.from_logits, options.divide_by
    late = _picked_late(options)
    network = family.name == NNUNET
    if network:
        with beside(_in_memory(raw)):
            raw = nnunet.place(raw, path, options.like, from_logits=from_logits)
        raw = completed(raw, name, options)
        if from_logits is None and divide_by is None and not options.clip:
            nnunet.refuse_logits(raw, name)
    elif options.like is not None:
        raise InputError(
            f"{name} is no .npz of nnU-Net and says itself where it lies; leave {named('like', option='reference')} "
            "out."
        )
    whole = raw
    raw, cuts = _cropped(raw, options, name)
    raw = raw if file.held is None else replace(raw, array=file.held)
    options = named_classes.with_number(options, raw, path)
    raw = named_classes.applied(raw, path, options)
    wanted = _dtype(options, raw)
    along = select.letter_of(options.channel_axis, file.filed_axes)
    # Sigmoids of logits, and the mask of a label, are no classes.
    search = options.exclusive and from_logits != "sigmoid" and options.label is None
    found: Exclusive | None = None
    filed = raw
    if not late:
        raw = _one_channel(raw, channel, name, along)
    # The memory is checked before anything is read; `find_exclusive` keeps a label for each voxel.
    mask = _with_mask(options, raw, wanted, whole, cuts, name, labels=search, known=file.mask)
    inside, mask_notes = mask
    if options.exclusive and options.label is None and not late:
        found = nnunet.painted(filed, divide_by, inside)
    if search and not late and found is None:
        found = find_exclusive(filed, labels=nnunet.known_labels(filed), divide_by=divide_by, inside=inside)
    # Only the selected part of a store is read, and only here.
    raw = replace(raw, array=held(raw.array, wanted))
    values, notes = probabilities(raw, name, wanted, options, inside=inside)
    provenance = read_with(raw.provenance, divide_by=divide_by, from_logits=from_logits)
    raw = replace(raw, array=values, provenance=provenance)
    if late:
        if search:
            stored = replace(raw, slope=1.0, inter=0.0, full_scale=False)
            found = find_exclusive(
                stored,
                labels=nnunet.known_labels(raw) or numbered(raw.channels, _channel_count(raw)),
                inside=inside,
            )
        if network or channel is not None:
            raw = _one_channel(raw, channel, name, along)
    numbers = _channel_numbers(filed, channel, name, along)
    if found is not None:
        found = replace(found, labels=tuple(found.labels[number] for number in numbers))
    volume = _volume(raw, raw.array, file, options, notes=(*notes, *mask_notes), exclusive=found)
    assert volume.source is not None
    source = replace(volume.source, numbers=numbers, channel=_channel_name(filed, numbers))
    return replace(volume, source=source)


def _by_keywords(make: Callable[P, ReadOptions]) -> Callable[Concatenate[str | Path, P], Volume]:
    """Return a function like `read_map` that takes the options as keyword arguments."""

    def read(path: str | Path, *args: P.args, **kwargs: P.kwargs) -> Volume:
        return read_map(path, make(*args, **kwargs))

    adopt_signature(read, read_map, declared(make).values(), _EXAMPLE)
    # The path may be given by name too, which no ParamSpec can say.
    return read  # type: ignore[return-value]


read = _by_keywords(ReadOptions)


def read_grid(path: str | Path) -> Volume:
    """Return the grid of an image of any kind, its spatial shape, voxel size and position, as a map of zeros.

    Raises:
        FileError: If the file is missing, empty, damaged, mislabelled or of an unknown type.
        InputError: If the axes are unclear.
    """
    file = _open(Path(path), DEFAULT)
    letters = select.spatial(file.raw)
    shape = file.raw.array.shape[-len(letters) :]
    check_room(shape, 4, str(path))
    raw = replace(file.raw, array=np.zeros(shape, np.float32), axes=letters)
    return _volume(raw, raw.array, file, DEFAULT, notes=())


def read_labels(
    path: str | Path, options: ReadOptions = DEFAULT, *, surely: bool = False
) -> tuple[Array, Volume] | None:
    """Read all labels of a label map; a mask is a label map with a single label.

    Args:
        path: A file of any format that `read_map` reads.
        options: The options of reading; the channel and options about values are ignored.
        surely: Whether integers are taken as labels even if they look like grey values.

    Returns:
        The labels (integers from 0), and a map of equal shape that is 1 at voxels with a label other than 0, as
        arguments for `write_labels`; None if the file holds no labels.

    Raises:
        FileError: If the file is missing, empty, damaged, mislabelled or of an unknown type.
        InputError: If an option does not fit the file.
    """
    found = _labels(_open(Path(path), options), options, surely=surely)
    return None if isinstance(found, _File) else found


def read_image(
    path: str | Path, options: ReadOptions = DEFAULT, *, first: bool = False
) -> tuple[Array, Volume]:
    """Read a grey image, whose numbers may have any range and sign.

    Args:
        path: A file of any format that `read_map` reads, but no .npz of nnU-Net.
        options: The options of reading; those about values and the mask are ignored.
        first: Whether colours become grey, and the first of several channels or times is taken; the notes say so.

    Returns:
        The numbers as the file means them, slope and intercept applied, in float32, of shape (Y, X) or (Z, Y, X); and a
        volume of that shape that is 0 everywhere, with the geometry of the image.

    Raises:
        FileError: If the file is missing, empty, damaged, mislabelled or of an unknown type.
        InputError: If it holds several images, NaN or infinity, or an option does not fit it.
    """
    file, name = _open(Path(path), options), str(path)
    if file.family.name == NNUNET:
        raise InputError(f"{name} holds the output of a network; give the image that the network was given.")
    raw, cuts = _cropped(file.raw, options, name)
    letter = select.letter_of(options.channel_axis, file.filed_axes)
    raw = first_image(raw) if first else _one_channel(raw, options.channel, name, letter)
    kind = np.dtype(np.float32)
    _with_mask(replace(options, mask=None), raw, kind, file.raw, cuts, name)
    stored = held(raw.array, raw.array.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        values = np.asarray(stored * raw.slope + raw.inter, kind)
    if not np.isfinite(values).all():
        raise InputError(f"{name} holds values that are no finite numbers; replace them in the image first.")
    like = _volume(raw, np.zeros(values.shape, kind), file, options, notes=())
    try:
        single = like.single()
    except InputError as error:
        raise InputError(
            f"{name}: {error} Choose it with {named('channel', 'N')} or {named('time', 'N')}."
        ) from error
    return values.reshape(single.array.shape), single


@dataclass(frozen=True)
class EitherKind:
    """A file that holds either labels or a probability map, decoded once.

    Attributes:
        labels: The labels and their map, as `read_labels` returns; None if the file holds no labels.
        read_map: A function that returns the file as a probability map; to be called at most once.
    """

    labels: tuple[Array, Volume] | None
    read_map: Callable[[], Volume]


def read_either(path: str | Path, options: ReadOptions, *, surely: bool = False) -> EitherKind:
    """Read the labels of a file, or prepare reading it as a map if it holds no labels.

    Args:
        path: A file of any format that `read_map` reads.
        options: The options of reading.
        surely: Whether integers are taken as labels even if they look like grey values.
    """
    found = _labels(_open(Path(path), options), options, surely=surely)
    if isinstance(found, _File):
        return EitherKind(None, lambda: _read_map(found, options))
    return EitherKind(found, lambda: read_map(path, options))


# Where the mask is not 0, None for no mask; and notes on it.
_ReadMask = tuple[Array | None, tuple[str, ...]]


@dataclass(frozen=True)
class _File:
    """A decoded file whose axes are named and ordered.

    Attributes:
        path: The path of the file.
        family: The format of the file.
        raw: The content of the file.
        filed_axes: The letters of the axes in the order of the file.
        held: The stored numbers of the selected part, if they have been read.
        mask: The mask in the selected part with notes, if it has been read.
    """

    path: Path
    family: Format
    raw: Raw
    filed_axes: str
    held: Array | None = None
    mask: _ReadMask | None = None


def _open(path: Path, options: ReadOptions) -> _File:
    name = str(path)
    family, raw = read_raw(path, options)
    check_type(raw, name)
    picked = options.channel is not None and not _picked_late(options)
    if options.channel is None and options.axes is None and options.channel_axis is None:
        ask_about_channels(raw, name)
    raw = select.name_axes(raw, name, axes=options.axes, channel_axis=options.channel_axis, picked=picked)
    filed_axes = raw.axes or ""
    raw = select.arrange(raw)
    if family.name != NNUNET:
        raw = completed(raw, name, options)
    return _File(
        path, family, raw if options.time is None else select.pick_time(raw, options.time, name), filed_axes
    )


def _picked_late(options: ReadOptions) -> bool:
    """Return whether the channel is selected after the values are calculated, because softmax needs all channels."""
    return options.from_logits == "softmax"


def _labels(file: _File, options: ReadOptions, *, surely: bool) -> tuple[Array, Volume] | _File:
    """Return the labels of a file and their map; if the file holds no labels, the file with its stored numbers."""
    if file.family.name == NNUNET or file.raw.colour:
        return file
    name = str(file.path)
    raw, cuts = _cropped(file.raw, options, name)
    inside, mask_notes = mask = _with_mask(options, raw, np.dtype(np.float32), file.raw, cuts, name)
    raw = replace(raw, array=held(raw.array, raw.array.dtype))
    labels = label_numbers(raw, surely=surely)
    if labels is None:
        return replace(file, held=raw.array, mask=mask)
    if inside is not None:
        labels = np.where(inside, labels, np.zeros((), labels.dtype))
    any_label = (labels > 0).astype(np.float32)
    like = _volume(raw, any_label, file, options, notes=mask_notes)
    return labels.reshape(like.array.shape), like


def _cropped(raw: Raw, options: ReadOptions, name: str) -> tuple[Raw, tuple[slice, ...] | None]:
    return (raw, None) if options.region is None else select.crop(raw, options.region, name)


def _volume(
    raw: Raw,
    values: Array,
    file: _File,
    options: ReadOptions,
    *,
    notes: Sequence[str],
    exclusive: Exclusive | None = None,
) -> Volume:
    path, family, name = file.path, file.family, str(file.path)
    full_spacing = raw.spacing
    raw, values, dropped = select.drop_singleton(raw, values)
    letters = raw.axes or ""
    if exclusive is not None:
        dims = len(select.spatial(raw))
        exclusive = replace(exclusive, winner=exclusive.winner.reshape(values.shape[-dims:]))
    if options.per_slice and letters.endswith("ZYX"):
        letters = letters[:-3] + SLICE + "YX"
        # Also without the note that says how the axes were interpreted and that this option changes it.
        raw = replace(raw, notes=tuple(note for note in raw.notes if named("per_slice", True) not in note))
    spatial = "ZYX" if letters.endswith("ZYX") else "YX"
    try:
        return Volume(
            array=np.ascontiguousarray(values),
            axes=letters,
            spacing=tuple(raw.spacing[a] for a in spatial) if set(spatial) <= set(raw.spacing) else None,
            unit=raw.unit,
            affine=raw.affine,
            channels=raw.channels if "C" in letters else None,
            source=Source(
                path,
                family.name,
                raw.shape,
                raw.dtype,
                nnunet.keep(
                    Kept(
                        family.name,
                        raw.native,
                        file.filed_axes,
                        full_spacing,
                        dropped,
                        exclusive,
                        raw.time_step,
                        raw.label_names,
                    )
                ),
                raw.provenance,
                channel=_channel_name(raw, ()),
            ),
            notes=(*raw.notes, *notes),
        )
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _with_mask(
    options: ReadOptions,
    raw: Raw,
    wanted: np.dtype[Any],
    whole: Raw,
    cuts: Sequence[slice] | None,
    name: str,
    *,
    labels: bool = False,
    known: _ReadMask | None = None,
) -> _ReadMask:
    """Check that a map and its mask fit into memory, and read the mask.

    Args:
        options: The options of reading.
        raw: The selected part of the map.
        wanted: The element type of the values.
        whole: The whole map.
        cuts: The slices of the selected part along the spatial axes; None for the whole map.
        name: The name of the file, for messages.
        labels: Whether a label for each voxel is in memory too.
        known: The mask, if it has been read.
    """
    stored = raw.array.dtype
    each = wanted.itemsize if stored == wanted else wanted.itemsize + stored.itemsize
    shape = raw.array.shape[-len(select.spatial(raw)) :]
    with beside(prod(shape) * ((options.mask is not None) + labels)):
        check_room(raw.array.shape, each, name)
    if options.mask is None or known is not None:
        return known or (None, ())
    with beside(_in_memory(whole)):
        mask = MaskFile.open(Path(options.mask), whole, name)
        box = tuple(cuts or (slice(0, size) for size in shape))
        return mask.read(box), mask.notes(box)


def _in_memory(raw: Raw) -> int:
    """Return the bytes of memory that a map occupies before its values are read: 0 if its values are read lazily."""
    return 0 if isinstance(raw.array, Lazy | np.memmap) else raw.array.nbytes


def _channel_count(raw: Raw) -> int:
    return int(raw.array.shape[(raw.axes or "").index("C")]) if "C" in (raw.axes or "") else 1


def _channel_numbers(filed: Raw, channel: int | str | None, name: str, along: str | None) -> tuple[int, ...]:
    """Return the indices in the file of the channels that are read; empty if the file has no channel axis."""
    if filed.format == NNUNET:
        return nnunet.chosen(filed, channel, name)
    axis = class_axis(filed.axes or "", filed.array.shape, filed.format)
    if channel is not None:
        letter, index = select.channel_index(filed, channel, name, along)
        # One index of another axis keeps all channels.
        if axis is None or (filed.axes or "")[axis] == letter:
            return (index,)
    return () if axis is None else tuple(range(filed.array.shape[axis]))


def _channel_name(filed: Raw, numbers: tuple[int, ...]) -> str | None:
    """Return the name of the channel that is read if it is one of several; None if all channels are read.

    An image that the file names, although it has no channel axis, has that name.
    """
    if len(filed.channels or ()) == 1 and "C" not in (filed.axes or ""):
        return channel_name(filed, 0)
    if len(numbers) != 1 or class_axis(filed.axes or "", filed.array.shape, filed.format) is None:
        return None
    return channel_name(filed, numbers[0])


def _one_channel(raw: Raw, channel: int | str | None, name: str, axis: str | None = None) -> Raw:
    if raw.format == NNUNET:
        return nnunet.choose(raw, channel, name)
    if channel is not None:
        return select.pick_channel(raw, channel, name, axis)
    if raw.colour:
        select.refuse_colours(raw, name)
    return raw


def _dtype(options: ReadOptions, raw: Raw) -> np.dtype[Any]:
    wide = raw.format == "npy" and raw.dtype.endswith(("float64", "f8"))
    return np.dtype(options.dtype or (np.float64 if wide else np.float32))
