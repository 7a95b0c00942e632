"""From a file to a Volume: raw, then the part that is meant, then values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, Concatenate, Final, NamedTuple, ParamSpec

import numpy as np

from softmorph_cli.errors import InputError
from softmorph_cli.io import nnunet, select
from softmorph_cli.io.exclusive import Exclusive, channel_name, look, numbered
from softmorph_cli.io.formats import read_raw
from softmorph_cli.io.lazy import Lazy
from softmorph_cli.io.mapped import held
from softmorph_cli.io.masks import is_inside, nan_notes
from softmorph_cli.io.npz import NAME as NNUNET
from softmorph_cli.io.options import DEFAULT, ReadOptions
from softmorph_cli.io.provenance import read_with
from softmorph_cli.io.raw import Array, Format, Kept, Raw
from softmorph_cli.io.room import beside, check_room
from softmorph_cli.io.values import check_type, label_numbers, probabilities
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
        path: NIfTI, TIFF, PNG, NRRD, MetaImage, .npy, nnU-Net's .npz or OME-Zarr; told apart by content. A path
            into a store, such as map.zarr/1 or map.zarr/labels/cells, names one of its arrays or images.
        options: How.

    Returns:
        The map, its geometry, and in `notes` what had to be decided.

    Raises:
        FileError: If the file is missing, empty, damaged, mislabelled or of an unknown type.
        InputError: If its values are no probabilities or an option does not fit it.
    """
    return _map(_opened(Path(path), options), options)


def _map(file: _File, options: ReadOptions) -> Volume:
    path, family, raw = file.path, file.family, file.raw
    name = str(path)
    channel, from_logits, divide_by = options.channel, options.from_logits, options.divide_by
    late = _late(options)
    network = family.name == NNUNET
    if network:
        with beside(_in_memory(raw)):
            raw = nnunet.place(raw, path, options.like, from_logits=from_logits)
        if from_logits is None and divide_by is None and not options.clip:
            nnunet.refuse_logits(raw, name)
    elif options.like is not None:
        raise InputError(
            f"{name} is no .npz of nnU-Net and says itself where it lies; leave {named('like', option='reference')} "
            "out."
        )
    whole = raw
    raw, cuts = _cropped(raw, options, name)
    if file.held is not None:
        raw = replace(raw, array=file.held)
    wanted = _dtype(options, raw)
    along = select.letter_of(options.channel_axis, file.filed_axes)
    # Sigmoids of logits, and the mask of a label, are no classes.
    looked = options.exclusive and from_logits != "sigmoid" and options.label is None
    found: Exclusive | None = None
    filed = raw
    if not late:
        raw = _one_channel(raw, channel, name, along)
    # Nothing below is read before what it takes was counted; `look` keeps a label for each voxel.
    mask = _with_mask(options, raw, wanted, whole, cuts, name, labels=looked, known=file.mask)
    inside = mask.inside
    if looked and not late:
        found = look(filed, labels=_known(filed), divide_by=divide_by, inside=inside)
    # Only what was chosen of a store is read, and only here.
    raw = replace(raw, array=held(raw.array, wanted))
    values, notes = probabilities(raw, name, wanted, options, inside=inside)
    # A mask of one label is the same at every threshold.
    provenance = read_with(raw.provenance, divide_by=divide_by, from_logits=from_logits)
    raw = replace(raw, array=values, provenance=provenance)
    if late:
        if looked:
            stored = replace(raw, slope=1.0, inter=0.0, full_scale=False)
            found = look(stored, labels=_known(raw) or numbered(raw.channels, _count(raw)), inside=inside)
        if network or channel is not None:
            raw = _one_channel(raw, channel, name, along)
    numbers = _numbers(filed, channel, name, along)
    if found is not None:
        found = replace(found, labels=tuple(found.labels[number] for number in numbers))
    volume = _volume(raw, raw.array, file, options, notes=(*notes, *mask.notes), exclusive=found)
    assert volume.source is not None
    source = replace(volume.source, numbers=numbers, channel=_called(filed, numbers))
    return replace(volume, source=source)


def _by_keywords(make: Callable[P, ReadOptions]) -> Callable[Concatenate[str | Path, P], Volume]:
    """Return `read_map` with the options as keyword arguments."""

    def read(path: str | Path, *args: P.args, **kwargs: P.kwargs) -> Volume:
        return read_map(path, make(*args, **kwargs))

    adopt_signature(read, read_map, declared(make).values(), _EXAMPLE)
    # The path may be given by name too, which no ParamSpec can say.
    return read  # type: ignore[return-value]


read = _by_keywords(ReadOptions)


def read_labels(
    path: str | Path, options: ReadOptions = DEFAULT, *, surely: bool = False
) -> tuple[Array, Volume] | None:
    """Read the labels of a label map, all of them; a mask is one with label 1, or with whichever it has.

    Args:
        path: As for `read_map`.
        options: How; those about values, and the channel, are not looked at.
        surely: Whether whole numbers are labels, also where they look like grey values.

    Returns:
        The labels, integers from 0, and a map of the same shape that is 1 where there is any label, as `write_labels`
        takes them; None where the file holds no labels, but probabilities or something else.

    Raises:
        FileError: If the file is missing, empty, damaged, mislabelled or of an unknown type.
        InputError: If an option does not fit it.
    """
    found = _labels(_opened(Path(path), options), options, surely=surely)
    return None if isinstance(found, _File) else found


@dataclass(frozen=True)
class EitherKind:
    """A file that may hold labels or a map, decoded once whichever it is.

    Attributes:
        labels: As `read_labels` returns them.
        read_map: Returns the file as `read_map` does, once.
    """

    labels: tuple[Array, Volume] | None
    read_map: Callable[[], Volume]


def read_either(path: str | Path, options: ReadOptions, *, surely: bool = False) -> EitherKind:
    """Read labels, and where a file holds none what it takes to read it as a map; see `read_labels`."""
    found = _labels(_opened(Path(path), options), options, surely=surely)
    if isinstance(found, _File):
        return EitherKind(None, lambda: _map(found, options))
    return EitherKind(found, lambda: read_map(path, options))


class _Mask(NamedTuple):
    """Where values count (everywhere if None), and notes on the mask."""

    inside: Array | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _File:
    """A file whose axes are named and in order.

    Attributes:
        path: The file.
        family: Its format.
        raw: What it holds.
        filed_axes: Letters of the axes as they were filed.
        held: The values of the part that is meant, where they have been read.
        mask: The mask there, where it has been read.
    """

    path: Path
    family: Format
    raw: Raw
    filed_axes: str
    held: Array | None = None
    mask: _Mask | None = None


def _opened(path: Path, options: ReadOptions) -> _File:
    name = str(path)
    family, raw = read_raw(path, options)
    check_type(raw, name)
    picked = options.channel is not None and not _late(options)
    raw = select.name_axes(raw, name, axes=options.axes, channel_axis=options.channel_axis, picked=picked)
    filed_axes = raw.axes or ""
    raw = select.arrange(raw)
    return _File(
        path, family, raw if options.time is None else select.pick_time(raw, options.time, name), filed_axes
    )


def _late(options: ReadOptions) -> bool:
    """Whether a channel is chosen after the values are known: softmax needs all of them; else it is dearer."""
    return options.from_logits == "softmax"


def _labels(file: _File, options: ReadOptions, *, surely: bool) -> tuple[Array, Volume] | _File:
    """Return the labels of a file; where it holds none, the file with its values."""
    if file.family.name == NNUNET or file.raw.colour:
        return file
    name = str(file.path)
    raw, cuts = _cropped(file.raw, options, name)
    mask = _with_mask(options, raw, np.dtype(np.float32), file.raw, cuts, name)
    inside = mask.inside
    raw = replace(raw, array=held(raw.array, raw.array.dtype))
    labels = label_numbers(raw, surely=surely)
    if labels is None:
        return replace(file, held=raw.array, mask=mask)
    if inside is not None:
        labels = np.where(inside, labels, np.zeros((), labels.dtype))
    any_label = (labels > 0).astype(np.float32)
    like = _volume(raw, any_label, file, options, notes=mask.notes)
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
                    )
                ),
                raw.provenance,
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
    known: _Mask | None = None,
) -> _Mask:
    """Refuse a map that does not fit into memory together with its mask, and read the mask.

    Args:
        options: They name the mask, if there is one.
        raw: The part of the map that is read.
        wanted: What its values become.
        whole: All of the map.
        cuts: Which part of the whole it is, for each spatial axis.
        name: What the map is called.
        labels: Whether a label is kept for each voxel.
        known: The mask, if it has been read.
    """
    mask = options.mask
    stored = raw.array.dtype
    each = wanted.itemsize if stored == wanted else wanted.itemsize + stored.itemsize
    voxels = prod(raw.array.shape[-len(select.spatial(raw)) :])
    with beside(voxels * ((mask is not None) + labels)):
        check_room(raw.array.shape, each, name)
    if mask is None or known is not None:
        return known or _Mask(None)
    with beside(_in_memory(whole)):
        return _mask(Path(mask), whole, cuts, name)


def _in_memory(raw: Raw) -> int:
    """Return how many bytes a map takes before it is read: all of it where its format has no parts."""
    return 0 if isinstance(raw.array, Lazy | np.memmap) else raw.array.nbytes


def _known(raw: Raw) -> tuple[int, ...] | None:
    """Return the labels of all channels where the file says that they exclude each other."""
    found = raw.native.classes if isinstance(raw.native, nnunet.Network) else None
    return found.labels if found is not None and found.kind == "complete" else None


def _count(raw: Raw) -> int:
    return int(raw.array.shape[(raw.axes or "").index("C")]) if "C" in (raw.axes or "") else 1


def _numbers(filed: Raw, channel: int | str | None, name: str, along: str | None) -> tuple[int, ...]:
    """Return which channels of a file are read, as it counts them; nothing where it has no axis of them."""
    if filed.format == NNUNET:
        return nnunet.chosen(filed, channel, name)
    axis = class_axis(filed.axes or "", filed.array.shape, filed.format)
    if channel is not None:
        letter, index = select.channel_index(filed, channel, name, along)
        # One index of another axis leaves all channels.
        if axis is None or (filed.axes or "")[axis] == letter:
            return (index,)
    return () if axis is None else tuple(range(filed.array.shape[axis]))


def _called(filed: Raw, numbers: tuple[int, ...]) -> str | None:
    """Return what the one channel that is read of several is called."""
    several = class_axis(filed.axes or "", filed.array.shape, filed.format) is not None
    if len(numbers) != 1 or not several:
        return None
    return channel_name(filed, numbers[0])


def _one_channel(raw: Raw, channel: int | str | None, name: str, axis: str | None = None) -> Raw:
    if raw.format == NNUNET:
        return nnunet.choose(raw, channel, name)
    if channel is not None:
        return select.pick_channel(raw, channel, name, axis)
    if raw.colour:
        count = raw.array.shape[(raw.axes or "").index("C")]
        first, *names = select.sample_names(raw)
        names = [f"{number} ({sample})" for number, sample in enumerate(names, 1)]
        others = ", ".join([f"({first})", *names[:-1]]) + f" or {names[-1]}"
        raise InputError(
            f"{name} holds a colour image of {count} samples per pixel; choose one with {named('channel', 0)} "
            f"{others}, or name the axes with {named('axes')} if they are no colours."
        )
    return raw


def _dtype(options: ReadOptions, raw: Raw) -> np.dtype[Any]:
    if options.dtype is not None:
        return np.dtype(options.dtype)
    return np.dtype(
        np.float64 if raw.format == "npy" and raw.dtype.endswith(("float64", "f8")) else np.float32
    )


def _mask(path: Path, raw: Raw, cuts: Sequence[slice] | None, name: str) -> _Mask:
    """Read a mask in the part of the map that is read."""
    _, other = read_raw(path)
    check_type(other, str(path))
    other = select.arrange(select.name_axes(other, str(path)))
    shape, found = raw.array.shape[-len(select.spatial(raw)) :], other.array.shape
    if [size for size in found if size > 1] != [size for size in shape if size > 1]:
        raise InputError(
            f"{named('mask')} {path} has shape {found}; {name} has {shape}: a mask needs one value for each voxel."
        )
    if cuts is None:
        cuts = [slice(0, size) for size in shape]
    # Axes of size one may be others in the mask than in the map.
    long = iter(cut for cut, size in zip(cuts, shape, strict=True) if size > 1)
    part = other.array[tuple(next(long) if size > 1 else slice(None) for size in found)]
    check_room(part.shape, part.dtype.itemsize + 1, path)
    values = held(part, part.dtype)
    inside = is_inside(values).reshape([cut.stop - cut.start for cut in cuts])
    return _Mask(inside, nan_notes(path, [values]))
