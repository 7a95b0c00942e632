"""Naming the axes of a decoded file, and selecting a region, a time or a channel; spacing and affine are adapted.

Also the check that a volume holds a single image, with advice on selecting one of several.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np

from softmorph_cli.classes import first_is_largest, named_background
from softmorph_cli.errors import InputError
from softmorph_cli.io.options import ranges
from softmorph_cli.io.raw import Affine, Array, Placed, Raw
from softmorph_cli.io.unnamed_axes import likely_axes
from softmorph_cli.system.parameters import in_shell, named
from softmorph_cli.system.printable import printable
from softmorph_cli.volume import SLICE, Volume

_COLOURS = ("red", "green", "blue", "alpha")
# How a note ends that says how unnamed axes were interpreted.
_ASSUMPTION = " changes it."
# Formats of programs whose classes have the order in which they were drawn, as ilastik's: the first need not be the
# background.
_DRAWN = ("hdf5", "tiff")


def name_axes(
    raw: Raw,
    name: str,
    *,
    axes: str | None = None,
    channel_axis: int | str | None = None,
    picked: bool = False,
) -> Raw:
    """Return a decoded file with a letter for each axis; the order of axes does not change.

    Args:
        raw: The content of the file.
        name: The name of the file, for messages.
        axes: A letter for each axis of `raw.array`, in place of the letters that the file states.
        channel_axis: The channel axis: its letter, or its index among the axes of `raw.array`.
        picked: Whether `pick_channel` will select one index along `channel_axis`: if this axis is a mapped axis, it
            then keeps its letter, and so does the channel axis that the file states.

    Raises:
        InputError: If the axes do not fit the file.
    """
    letters, count = raw.axes, raw.array.ndim
    if isinstance(channel_axis, int) and not -count <= channel_axis < count:
        raise InputError(f"{name} has no axis {channel_axis}; its shape is {raw.array.shape}.")
    if axes is not None:
        letters = axes.upper()
    if letters is None and isinstance(channel_axis, int):
        letters = {2: "YX", 3: "ZYX", 4: "TZYX"}.get(count - 1, "")
        position = channel_axis % count
        letters = letters[:position] + "C" + letters[position:]
    if letters is None:
        raise InputError(
            f"{name} has {count} axes, its shape is {raw.array.shape}, and does not name them; "
            f"say what they are with {named('axes')}, for example {named('axes', likely_axes(raw.array.shape))}."
        )
    if len(letters) != count:
        raise InputError(
            f"{name} has {count} axes, its shape is {raw.array.shape}, and {letters} names {len(letters)}; give a "
            f"letter for each, for example {named('axes', likely_axes(raw.array.shape))}."
        )
    if channel_axis is not None:
        changed = _with_channel(letters, channel_axis, name)
        replaced = letters[changed.index("C")] if "C" in letters else "C"
        if picked and replaced == "T":
            raise InputError(
                f"{name} names its axis T as time, and its channels: take one time with {named('time', 0)} and leave "
                f"out {named('channel_axis')}."
            )
        letters = letters if picked and replaced not in "CZYX" else changed
    if axes is not None or letters != raw.axes:
        raw = replace(raw, notes=tuple(note for note in raw.notes if not note.endswith(_ASSUMPTION)))
    colour = raw.colour and axes is None
    moved = "C" in letters and (raw.axes or "").find("C") != letters.index("C")
    if raw.channels and ((raw.colour and not colour) or moved):
        raw = replace(raw, channels=None)
    if (raw.axes or letters).find("T") != letters.find("T"):
        raw = replace(raw, time_step=None)
    return replace(_rename(raw, letters), colour=colour)


def arrange(raw: Raw) -> Raw:
    """Return a decoded file with its array transposed: mapped axes first, then Z, Y, X."""
    letters = raw.axes or ""
    wanted = [a for a in letters if a not in "ZYX"] + [a for a in "ZYX" if a in letters]
    array = raw.array.transpose([letters.index(a) for a in wanted])
    return replace(raw, array=array, axes="".join(wanted))


def _with_channel(letters: str, channel_axis: int | str, name: str) -> str:
    if isinstance(channel_axis, int):
        position = channel_axis % len(letters)
    elif channel_axis.upper() in set(letters):
        position = letters.index(channel_axis.upper())
    else:
        raise InputError(f"{name} has no axis {channel_axis}; its axes are {letters}.")
    if letters[position] == "C":
        return letters
    others = letters[:position] + letters[position + 1 :]
    # The former channel axis takes the letter of this one, unless that is spatial.
    other = "V"
    if letters[position] in "ZYX":
        # The remaining spatial axes are named anew, in their order, from the last one.
        spatial = [a for a in others if a in "ZYX"]
        if len(spatial) < 2:
            raise InputError(f"{name} has axes {letters}; without {letters[position]} no image is left.")
        free = iter("ZYX"[-len(spatial) :])
        others = "".join(next(free) if a in "ZYX" else a for a in others)
    else:
        other = letters[position]
    others = others.replace("C", other)
    return others[:position] + "C" + others[position:]


def _rename(raw: Raw, letters: str) -> Raw:
    if raw.axes is None or letters == raw.axes:
        return replace(raw, axes=letters)
    source = {new: old for old, new in zip(raw.axes, letters, strict=True) if new in "ZYX"}
    spacing = {new: raw.spacing[old] for new, old in source.items() if old in raw.spacing}
    if all(new == old for new, old in source.items()):
        return replace(raw, axes=letters, spacing=spacing)
    affine, changes = raw.affine, []
    if raw.spacing:
        changes.append(f"voxel size {'kept' if len(spacing) == len(source) else 'dropped'}")
    if affine is not None:
        # A permutation of the spatial axes permutes the columns; a mapped axis has no column.
        permuted = set(source) == set(source.values())
        affine = affine[:, [*("ZYX".index(source.get(a, a)) for a in "ZYX"), 3]] if permuted else None
        changes.append(f"orientation and origin {'kept' if permuted else 'dropped'}")
    note = f"its axes, slowest first, were read as {letters} instead of {raw.axes}: {', '.join(changes)}."
    notes = (*raw.notes, note) if changes else raw.notes
    return replace(raw, axes=letters, spacing=spacing, affine=affine, notes=notes)


def spatial(raw: Raw) -> str:
    """Return the letters of the spatial axes of a decoded file, in the order of its array."""
    return "".join(axis for axis in raw.axes or "" if axis in "ZYX")


def crop(raw: Raw, region: str, name: str) -> tuple[Raw, tuple[slice, ...]]:
    """Crop a decoded file to a region, which has one `start:stop` for each spatial axis in array order.

    Returns:
        The cropped content with adapted affine and metadata, and the slices along the spatial axes.

    Raises:
        UsageError: If `region` is not written as "z0:z1,y0:y1,x0:x1".
        InputError: If the region does not fit the shape.
    """
    letters = spatial(raw)
    cuts = box(region, letters, raw.array.shape[-len(letters) :], name)
    affine, native = raw.affine, raw.native
    if isinstance(native, Placed):
        native = native.cropped({letter: cut.start for letter, cut in zip(letters, cuts, strict=True)})
    if affine is not None:
        corner = [0.0] * (3 - len(cuts)) + [float(cut.start) for cut in cuts]
        affine = affine.copy()
        affine[:3, 3] += affine[:3, :3] @ corner
    index: tuple[Any, ...] = (..., *cuts)
    return replace(raw, array=raw.array[index], affine=affine, native=native), cuts


def box(region: str, letters: str, shape: tuple[int, ...], name: str) -> tuple[slice, ...]:
    """Parse a region and return its slices along the spatial axes.

    Args:
        region: The region as "z0:z1,y0:y1,x0:x1"; ends may be left out.
        letters: The letters of the spatial axes.
        shape: The size of the array along each spatial axis.
        name: The name of the file, for messages.

    Raises:
        UsageError: If the region is malformed.
        InputError: If the region does not fit the shape.
    """
    parts = ranges(region)
    if len(parts) != len(letters):
        raise InputError(
            f"{named('region')} {region!r} names {len(parts)} axes; {name} has {len(letters)}, {letters} of {shape}."
        )
    cuts = []
    for (start, end), size, letter in zip(parts, shape, letters, strict=True):
        stop = size if end is None else end
        if not 0 <= start < stop <= size:
            raise InputError(
                f"{named('region')} {region!r} does not fit: axis {letter} of {name} runs from 0 to {size}."
            )
        cuts.append(slice(start, stop))
    return tuple(cuts)


def letter_of(channel_axis: int | str | None, letters: str) -> str | None:
    """Return the letter of an axis that is given by letter or index; None if no axis is given."""
    if channel_axis is None or not letters:
        return None
    if isinstance(channel_axis, int):
        return letters[channel_axis % len(letters)]
    return channel_axis.upper()


def sample_names(raw: Raw) -> tuple[str, ...]:
    """Return the names of the channels, or of the samples (red, green, ...) of a colour image; empty without names."""
    return raw.channels or (_COLOURS[: raw.array.shape[(raw.axes or "").index("C")]] if raw.colour else ())


def first_along(*letters: str, names: Sequence[str] | None = None) -> str:
    """Return the options (in Python the keywords) that select one index along each of these mapped axes, for messages.

    Args:
        letters: The letters of the axes. The index is 0, of channels the first that is not the background.
        names: The names of the channels, if the file states them.
    """
    background = named_background(names)
    given = []
    for letter in letters:
        if letter not in "TC":
            given.append(named("channel_axis", letter))
        first = 1 if letter == "C" and background == 0 else 0
        given.append(named("time" if letter == "T" else "channel", first))
    return (" " if in_shell() else ", ").join(given)


def pick_time(raw: Raw, time: int, name: str) -> Raw:
    """Return a decoded file with only the image at index `time` of the time axis, without this axis.

    Raises:
        InputError: If the file has no time axis or no such index.
    """
    axes = raw.axes or ""
    if "T" not in axes:
        raise InputError(f"{name} has no axis of time, its axes are {axes}; leave {named('time')} out.")
    count = raw.array.shape[axes.index("T")]
    if not -count <= time < count:
        raise InputError(f"{name} has no time {time}; choose {named('time', 0)} to {count - 1}.")
    array = raw.array.take(time % count, axis=axes.index("T"))
    return replace(raw, array=array, axes=axes.replace("T", ""))


def pick_channel(raw: Raw, channel: int | str, name: str, along: str | None = None) -> Raw:
    """Return a decoded file with only one channel, without its channel axis.

    A file without axis "C" but with a single mapped axis has its channels along this axis.

    Args:
        raw: The content of the file, axes in order.
        channel: The index or the name of the channel.
        name: The name of the file, for messages.
        along: The letter of another mapped axis along which to select the index.

    Raises:
        InputError: If there is no such channel.
    """
    axis, index = channel_index(raw, channel, name, along)
    axes = raw.axes or ""
    array = raw.array.take(index, axis=axes.index(axis)) if raw.array.size else raw.array
    if axis != "C" and "C" in axes:
        return replace(raw, array=array, axes=axes.replace(axis, ""))
    return replace(raw, array=array, axes=axes.replace(axis, ""), channels=None, colour=False)


def channel_index(raw: Raw, channel: int | str, name: str, along: str | None = None) -> tuple[str, int]:
    """Return the letter of the axis along which `pick_channel` selects a channel, and the index on this axis.

    The arguments are those of `pick_channel`.

    Raises:
        InputError: If there is no such channel.
    """
    axes = raw.axes or ""
    mapped = axes.removesuffix(spatial(raw))
    axis = "C" if "C" in axes else mapped
    if along and along in mapped:
        axis = along
    if len(axis) != 1:
        raise InputError(
            f"{name} has no channel axis, its axes are {axes} of {raw.array.shape}; "
            f"name it with {named('channel_axis')}, or leave {named('channel')} out."
        )
    count = raw.array.shape[axes.index(axis)]
    names = sample_names(raw) if axis == "C" else ()
    if isinstance(channel, int) and -count <= channel < count:
        index = channel
    else:
        # The name of a channel may be a number, such as a wavelength.
        index = names.index(str(channel)) if str(channel) in names else count
    if not -count <= index < count:
        # Nobody looks for the background.
        left_out = named_background(names)
        first, last = int(left_out == 0), count - 1 - (left_out == count - 1)
        known = [one for k, one in enumerate(names) if k != left_out]
        words = f" or {', '.join(known)}" if known else ""
        to = f" to {last}" if last > first else ""
        raise InputError(f"{name} has no channel {channel!r}; choose {named('channel', first)}{to}{words}.")
    return axis, index % count


def drop_singleton(raw: Raw, array: Array) -> tuple[Raw, Array, str | None]:
    """Turn a 3D image with a spatial axis of size one into a 2D image; other images are not changed.

    The affine retains the column of the dropped axis, now as its first column, so that it stays 4 x 4.

    Args:
        raw: The content of the file.
        array: The values of the image, with the axes of `raw`.

    Returns:
        The image, its array, and the letter of the dropped axis; None if no axis was dropped.
    """
    axes = raw.axes or ""
    letter = next((a for a in spatial(raw) if array.shape[axes.index(a)] == 1), None)
    if letter is None or spatial(raw) != "ZYX":
        return raw, array, None
    kept = [a for a in "ZYX" if a != letter]
    new = dict(zip(kept, "YX", strict=True))
    spacing = {new[a]: raw.spacing[a] for a in kept if a in raw.spacing}
    affine = None if raw.affine is None else raw.affine[:, _columns(letter)]
    small = np.squeeze(array, axis=axes.index(letter))
    return replace(raw, axes=axes[:-3] + "YX", spacing=spacing, affine=affine), small, letter


def restore_affine(affine: Affine, letter: str) -> Affine:
    """Return an affine with its columns in the order before `drop_singleton` dropped the spatial axis `letter`."""
    return affine[:, np.argsort(_columns(letter))]


def _columns(letter: str) -> list[int]:
    first = "ZYX".index(letter)
    return [first, *(i for i in range(3) if i != first), 3]


def single(volume: Volume) -> Volume:
    """Return the single image of a volume, without the mapped axes (channel, time, slice).

    Raises:
        InputError: If a mapped axis is longer than 1.
    """
    found = several(volume)
    if found is not None:
        held, choose = found
        raise InputError(f"it holds {held}, and one is taken at a time: {choose}.")
    return volume.single()


def several(volume: Volume) -> tuple[str, str] | None:
    """Return, in words, which images a volume holds and how to select one of them; None if it holds a single image."""
    sizes = [
        (axis, size) for axis, size in zip(volume.mapped_axes, volume.array.shape, strict=False) if size > 1
    ]
    if not sizes:
        return None
    if len(sizes) > 1:
        held = " x ".join(f"{size} along {axis}" for axis, size in sizes)
        if {axis for axis, _ in sizes} <= {"T", "C"}:
            several = first_along(*(axis for axis, _ in sizes), names=volume.channels)
            return held, how_to_select(volume, several)
        return held, "write that one to a file of its own first" if in_shell() else "pass one of them"
    ((axis, size),) = sizes
    names = f" ({', '.join(volume.channels)})" if axis == "C" and volume.channels else ""
    option = class_option(volume)
    if option is not None:
        return f"{size} {'channels' if axis == 'C' else 'images'}{names}", how_to_select(volume, option)
    images = {"T": "times", "S": "slices"}.get(axis, f"images along {axis}")
    choose = how_to_select(volume, first_along(axis))
    if axis == SLICE and in_shell():
        choose = "leave out --per-slice, or take one slice with --region, such as --region 3:4,:,:"
    return f"{size} {images}{names}", choose


def how_to_select(volume: Volume, options: str) -> str:
    """Return advice, for error messages, on how to select one map of a volume with several maps.

    Args:
        volume: The volume.
        options: Options that select one map, such as "--channel 0 or 1"; in Python, keyword arguments of `read`.
    """
    if in_shell():
        return f"add {options}"
    if volume.source is None or SLICE in volume.axes:
        return "pass one of them"
    return f"pass one of them, such as read({str(volume.source.path)!r}, {options})"


def class_option(volume: Volume) -> str | None:
    """Return the options that select each class but the background, such as "--channel 1 or 2"; None if none."""
    from softmorph_cli.io.nnunet import classes  # which imports this module

    source = volume.source
    axis = volume.class_axis()
    if axis is None or volume.axes[axis] == SLICE:
        return None
    count = volume.array.shape[axis]
    names = volume.channels or (source.numbers if source else ()) or range(count)
    labels = classes(volume).labels if len(volume.mapped_axes) == 1 else range(1, count + 1)
    known = labels if len(labels) == count else range(1, count + 1)
    drawn = source is not None and source.format in _DRAWN and not volume.channels
    if drawn and 0 in known and not first_is_largest(np.moveaxis(volume.array, axis, 0)):
        known = range(1, count + 1)
    first, *others = (name for name, label in zip(names, known, strict=True) if label)
    if not in_shell():
        return named("channel", first)
    *rest, last = [named("channel", shlex.quote(str(first))), *(shlex.quote(str(name)) for name in others)]
    return f"{', '.join(rest)} or {last}" if rest else last


def named_text(option: str, text: str) -> str:
    """Return a parameter with a name from a file as its value, as it is typed: --label 'left lung', label='left lung'.

    A name in upper case, such as GM, is no placeholder.
    """
    return named(option, shlex.quote(printable(text))) if in_shell() else f"{option}={text!r}"


def part_name(volume: Volume, index: tuple[int, ...], least: int = 1) -> str:
    """Return the name of one of the mapped images, such as "T0 artery"; axes shorter than `least` are left out."""
    parts = zip(volume.mapped_axes, volume.array.shape, index, strict=False)
    return " ".join(
        volume.channels[number] if axis == "C" and volume.channels else f"{axis}{number}"
        for axis, size, number in parts
        if size >= least
    )


def refuse_colours(raw: Raw, name: str) -> NoReturn:
    """Refuse a colour image, of which one sample has to be chosen.

    Raises:
        InputError: Always; the message names the samples.
    """
    count = raw.array.shape[(raw.axes or "").index("C")]
    first, *names = sample_names(raw)
    names = [f"{number} ({sample})" for number, sample in enumerate(names, 1)]
    others = ", ".join([f"({first})", *names[:-1]]) + f" or {names[-1]}"
    raise InputError(
        f"{name} holds a colour image of {count} samples per pixel; choose one with {named('channel', 0)} "
        f"{others}, or name the axes with {named('axes')} if they are no colours."
    )
