"""From a file to a Volume: raw, then the part that is meant, then values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError
from softmorph_cli.io import nnunet, select
from softmorph_cli.io.exclusive import Exclusive, called, class_axis, look, numbered
from softmorph_cli.io.formats import read_raw
from softmorph_cli.io.lazy import Lazy
from softmorph_cli.io.mapped import held
from softmorph_cli.io.npz import NAME as NNUNET
from softmorph_cli.io.provenance import read_with
from softmorph_cli.io.raw import SLICE, Array, Format, Kept, Raw
from softmorph_cli.io.room import beside, check_room
from softmorph_cli.io.values import check_type, label_numbers, probabilities
from softmorph_cli.volume import Source, Volume


def read(
    path: str | Path,
    *,
    axes: str | None = None,
    per_slice: bool = False,
    channel: int | str | None = None,
    channel_axis: int | str | None = None,
    divide_by: float | None = None,
    label: int | None = None,
    clip: bool = False,
    from_logits: str | None = None,
    region: str | None = None,
    mask: str | Path | None = None,
    like: str | Path | None = None,
    resolution: int | None = None,
    series: int | None = None,
    time: int | None = None,
    dtype: npt.DTypeLike | None = None,
    exclusive: bool = False,
) -> Volume:
    """Read a probability map.

    Args:
        path: NIfTI, TIFF, PNG, NRRD, MetaImage, .npy, nnU-Net's .npz or OME-Zarr; told apart by content. A path
            into a store, such as map.zarr/1 or map.zarr/labels/cells, names one of its arrays or images.
        axes: A letter for each axis of the array, such as "CZYX", instead of what the file says.
        per_slice: Take each slice along z as an image of its own; the axis is then called "S".
        channel: Keep one channel, by number or name.
        channel_axis: The axis that holds channels, by letter or number, where the file does not say.
        divide_by: What the value 1 is stored as, for example 255.
        label: Read a label map as the mask of this label.
        clip: Cut values outside [0, 1].
        from_logits: "sigmoid", or "softmax" over the channels, to turn logits into probabilities.
        region: "z0:z1,y0:y1,x0:x1", in voxels, one range for each spatial axis, ends open at will.
        mask: A file of the same spatial shape; voxels where it is 0 become 0, whatever they hold.
        like: For an .npz of nnU-Net: the image that says where it lies, instead of the labels beside it.
        resolution: Of an OME-Zarr with several: 0, the default, is the finest.
        series: Of a TIFF with several images: by default the first that is no smaller copy of another.
        time: Keep one index of the axis of time.
        dtype: float32 or float64; by default float32, and float64 where a .npy file is float64.
        exclusive: Whether it is found out if all channels exclude each other, see `softmorph_cli.io.exclusive`.

    Returns:
        The map, its geometry, and in `notes` what had to be decided.

    Raises:
        FileError: If the file is missing, empty, damaged, mislabelled or of an unknown type.
        InputError: If its values are no probabilities or an option does not fit it.
        UsageError: If an option is malformed or two exclude each other.

    >>> import numpy as np
    >>> made = Volume(np.full((2, 3, 4), 0.5, np.float32), "ZYX", spacing=(2.0, 1.0, 1.0), unit="mm")
    >>> lost = write(made, "map.nii.gz", force=True)
    >>> volume = read("map.nii.gz")
    >>> volume
    <Volume ZYX 2 x 3 x 4 float32, voxels 2 x 1 x 1 mm, from 'map.nii.gz'>
    >>> volume.array.shape, volume.array.max()
    ((2, 3, 4), np.float32(0.5))
    """
    path = Path(path)
    name = str(path)
    # Softmax needs all channels, so one of them is chosen after it; everything else is cheaper the other way.
    late = from_logits == "softmax"
    picked = channel is not None and not late
    family, raw, filed_axes = _named(path, axes, channel_axis, resolution, series, time, picked=picked)
    network = family.name == NNUNET
    if network:
        with beside(_in_memory(raw)):
            raw = nnunet.place(raw, path, like, from_logits=from_logits)
        if from_logits is None and divide_by is None and not clip:
            nnunet.refuse_logits(raw, name)
    elif like is not None:
        raise InputError(
            f"{name} is no .npz of nnU-Net and says itself where it lies; leave --reference out."
        )
    whole = raw
    raw, cuts = select.crop(raw, region, name) if region is not None else (raw, None)
    wanted = _dtype(dtype, raw)
    along = select.letter_of(channel_axis, filed_axes)
    # Sigmoids of logits, and the mask of a label, are no classes.
    looked = exclusive and from_logits != "sigmoid" and label is None
    found: Exclusive | None = None
    filed = raw
    if not late:
        raw = _one_channel(raw, channel, name, along)
    # Nothing below is read before what it takes was counted; `look` keeps a label for each voxel.
    inside = _with_mask(mask, raw, wanted, whole, cuts, name, labels=looked)
    if looked and not late:
        found = look(filed, labels=_known(filed), divide_by=divide_by, inside=inside)
    # Only what was chosen of a store is read, and only here.
    raw = replace(raw, array=held(raw.array, wanted))
    values, notes = probabilities(
        raw, name, wanted, inside=inside, divide_by=divide_by, label=label, clip=clip, from_logits=from_logits
    )
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
    volume = _volume(
        raw, raw.array, path, family, filed_axes, per_slice=per_slice, notes=notes, exclusive=found
    )
    assert volume.source is not None
    source = replace(volume.source, numbers=numbers, channel=_called(filed, numbers))
    return replace(volume, source=source)


def read_labels(
    path: str | Path,
    *,
    axes: str | None = None,
    per_slice: bool = False,
    channel_axis: int | str | None = None,
    region: str | None = None,
    mask: str | Path | None = None,
    resolution: int | None = None,
    series: int | None = None,
    time: int | None = None,
    surely: bool = False,
) -> tuple[Array, Volume] | None:
    """Read the labels of a label map, all of them; a mask is one with label 1, or with whichever it has.

    Args:
        path: As for `read`, and so are all others but the last.
        axes: Letters of axes.
        per_slice: Whether slices are images of their own.
        channel_axis: Which axis holds channels.
        region: What to cut out.
        mask: Where there is no label.
        resolution: Of an OME-Zarr.
        series: Of a TIFF.
        time: Which one.
        surely: Whether whole numbers are labels, also where they look like grey values.

    Returns:
        The labels, integers from 0, and a map of the same shape that is 1 where there is any label, as `write_labels`
        takes them; None where the file holds no labels, but probabilities or something else.

    Raises:
        FileError: If the file is missing, empty, damaged, mislabelled or of an unknown type.
        InputError: If an option does not fit it.
        UsageError: If an option is malformed.
    """
    path = Path(path)
    name = str(path)
    family, raw, filed_axes = _named(path, axes, channel_axis, resolution, series, time)
    if family.name == NNUNET or raw.colour:
        return None
    whole = raw
    raw, cuts = select.crop(raw, region, name) if region is not None else (raw, None)
    inside = _with_mask(mask, raw, np.dtype(np.float32), whole, cuts, name)
    raw = replace(raw, array=held(raw.array, raw.array.dtype))
    labels = label_numbers(raw, surely=surely)
    if labels is None:
        return None
    if inside is not None:
        labels = np.where(inside, labels, np.zeros((), labels.dtype))
    any_label = (labels > 0).astype(np.float32)
    like = _volume(raw, any_label, path, family, filed_axes, per_slice=per_slice, notes=[])
    return labels.reshape(like.array.shape), like


def _named(
    path: Path,
    axes: str | None,
    channel_axis: int | str | None,
    resolution: int | None,
    series: int | None,
    time: int | None,
    *,
    picked: bool = False,
) -> tuple[Format, Raw, str]:
    """Return a file whose axes are named and in order, and their letters as they were filed."""
    name = str(path)
    family, raw = read_raw(path, resolution=resolution, series=series)
    check_type(raw, name)
    raw = select.name_axes(raw, name, axes=axes, channel_axis=channel_axis, picked=picked)
    filed_axes = raw.axes or ""
    raw = select.arrange(raw)
    return family, raw if time is None else select.pick_time(raw, time, name), filed_axes


def _volume(
    raw: Raw,
    values: Array,
    path: Path,
    family: Format,
    filed_axes: str,
    *,
    per_slice: bool,
    notes: Sequence[str],
    exclusive: Exclusive | None = None,
) -> Volume:
    name = str(path)
    full_spacing = raw.spacing
    raw, values, dropped = select.drop_singleton(raw, values)
    letters = raw.axes or ""
    if exclusive is not None:
        dims = len(select.spatial(raw))
        exclusive = replace(exclusive, winner=exclusive.winner.reshape(values.shape[-dims:]))
    if per_slice and letters.endswith("ZYX"):
        letters = letters[:-3] + SLICE + "YX"
        raw = replace(raw, notes=tuple(note for note in raw.notes if "--per-slice" not in note))
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
                    Kept(family.name, raw.native, filed_axes, full_spacing, dropped, exclusive, raw.time_step)
                ),
                raw.provenance,
            ),
            notes=(*raw.notes, *notes),
        )
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _with_mask(
    mask: str | Path | None,
    raw: Raw,
    wanted: np.dtype[Any],
    whole: Raw,
    cuts: Sequence[slice] | None,
    name: str,
    *,
    labels: bool = False,
) -> Array | None:
    """Refuse a map that does not fit into memory together with its mask, and read the mask.

    Args:
        mask: Its file, or None.
        raw: The part of the map that is read.
        wanted: What its values become.
        whole: All of the map.
        cuts: Which part of the whole it is, for each spatial axis.
        name: What the map is called.
        labels: Whether a label is kept for each voxel.
    """
    stored = raw.array.dtype
    each = wanted.itemsize if stored == wanted else wanted.itemsize + stored.itemsize
    voxels = prod(raw.array.shape[-len(select.spatial(raw)) :])
    with beside(voxels * ((mask is not None) + labels)):
        check_room(raw.array.shape, each, name)
    if mask is None:
        return None
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
    return called(filed, numbers[0])


def _one_channel(raw: Raw, channel: int | str | None, name: str, axis: str | None = None) -> Raw:
    if raw.format == NNUNET:
        return nnunet.choose(raw, channel, name)
    if channel is not None:
        return select.pick_channel(raw, channel, name, axis)
    if raw.colour:
        count = raw.array.shape[(raw.axes or "").index("C")]
        names = [f"{number} ({sample})" for number, sample in enumerate(select.sample_names(raw))]
        raise InputError(
            f"{name} holds a colour image of {count} samples per pixel; choose one with --channel "
            f"{', '.join(names[:-1])} or {names[-1]}, or name the axes with --axes if they are no colours."
        )
    return raw


def _dtype(dtype: npt.DTypeLike | None, raw: Raw) -> np.dtype[Any]:
    if dtype is None:
        return np.dtype(
            np.float64 if raw.format == "npy" and raw.dtype.endswith(("float64", "f8")) else np.float32
        )
    wanted = np.dtype(dtype)
    if wanted not in (np.float32, np.float64):
        raise InputError(f"a map is read as float32 or float64, not {wanted}.")
    return wanted


def _mask(path: Path, raw: Raw, cuts: Sequence[slice] | None, name: str) -> Array:
    """Return where a mask is not 0, in the part of the map that is read."""
    _, other = read_raw(path)
    check_type(other, str(path))
    other = select.arrange(select.name_axes(other, str(path)))
    shape, found = raw.array.shape[-len(select.spatial(raw)) :], other.array.shape
    if [size for size in found if size > 1] != [size for size in shape if size > 1]:
        raise InputError(
            f"--mask {path} has shape {found}; {name} has {shape}: a mask needs one value for each voxel."
        )
    if cuts is None:
        cuts = [slice(0, size) for size in shape]
    # Axes of size one may be others in the mask than in the map.
    long = iter(cut for cut, size in zip(cuts, shape, strict=True) if size > 1)
    part = other.array[tuple(next(long) if size > 1 else slice(None) for size in found)]
    check_room(part.shape, part.dtype.itemsize + 1, path)
    return np.asarray(held(part, part.dtype) != 0).reshape([cut.stop - cut.start for cut in cuts])
