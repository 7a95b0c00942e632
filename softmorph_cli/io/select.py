"""Which part of a file is meant: names of axes, a region, a channel, a mask. Geometry moves along."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from softmorph_cli.errors import InputError
from softmorph_cli.io.options import ranges
from softmorph_cli.io.raw import Affine, Array, Raw
from softmorph_cli.system.parameters import named

_COLOURS = ("red", "green", "blue", "alpha")
# As many channels as a last axis without a name may have; an axis of space is longer.
_FEW = 4


def channels_last(shape: tuple[int, ...]) -> bool:
    """Whether the last axis of an array whose axes have no names is too short for one of space: 2 to 4 channels."""
    return len(shape) > 2 and 2 <= shape[-1] <= _FEW < min(shape[-3:-1])


def usual_axes(shape: tuple[int, ...]) -> tuple[str | None, list[str]]:
    """The letters of axes without names, or None where there are several ways, and what had to be decided."""
    if len(shape) == 3 and channels_last(shape):
        note = f"its last axis, of {shape[-1]}, is taken as channels; --axes ZYX changes it."
        return "YXC", [note]
    return {2: "YX", 3: "ZYX"}.get(len(shape)), []


def likely_axes(shape: tuple[int, ...]) -> str:
    """The letters to propose for axes without names."""
    return ("TZYXC" if channels_last(shape) else "TCZYX")[-len(shape) :]


def name_axes(
    raw: Raw,
    name: str,
    *,
    axes: str | None = None,
    channel_axis: int | str | None = None,
    picked: bool = False,
) -> Raw:
    """Settle what each axis is; their order stays.

    Args:
        raw: As the format read it.
        name: The file, for messages.
        axes: A letter for each axis of `raw.array`, instead of what the file says.
        channel_axis: Which axis holds channels: its letter, or its number among the axes of `raw.array`.
        picked: Whether one index along `channel_axis` is picked by `pick_channel`: a mapped axis then keeps its name,
            and so does that of the channels beside it.

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
            f"say what they are with --axes, for example --axes {likely_axes(raw.array.shape)}."
        )
    if len(letters) != count:
        raise InputError(
            f"{name} has {count} axes, its shape is {raw.array.shape}, and {letters} names {len(letters)}; give a "
            f"letter for each, for example --axes {likely_axes(raw.array.shape)}."
        )
    if channel_axis is not None:
        named = _with_channel(letters, channel_axis, name)
        beside = letters[named.index("C")] if "C" in letters else "C"
        if picked and beside == "T":
            raise InputError(
                f"{name} names its axis T as time, and its channels: take one time with --time 0 and leave out "
                "--channel-axis."
            )
        letters = letters if picked and beside not in "CZYX" else named
    if axes is not None or letters != raw.axes:
        # What was taken for granted has been said.
        raw = replace(raw, notes=tuple(note for note in raw.notes if "--axes" not in note))
    colour = raw.colour and axes is None
    if raw.channels and ((raw.colour and not colour) or _moved(raw.axes or "", letters)):
        raw = replace(raw, channels=None)  # they are not those of this axis
    if (raw.axes or letters).find("T") != letters.find("T"):
        raw = replace(raw, time_step=None)
    return replace(_rename(raw, letters), colour=colour)


def arrange(raw: Raw) -> Raw:
    """Bring named axes into order: mapped ones first, then Z, Y, X."""
    letters = raw.axes or ""
    wanted = [a for a in letters if a not in "ZYX"] + [a for a in "ZYX" if a in letters]
    array = raw.array.transpose([letters.index(a) for a in wanted])
    return replace(raw, array=array, axes="".join(wanted))


def _moved(old: str, new: str) -> bool:
    """Whether the axis of channels is another one."""
    return "C" in new and old.find("C") != new.index("C")


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
    # What was the axis of channels becomes what this one was, if that may stand there.
    other = "V"
    if letters[position] in "ZYX":
        # A spatial letter was wrong for this axis: the others keep their order and count from the last.
        spatial = [a for a in others if a in "ZYX"]
        if len(spatial) < 2:
            raise InputError(f"{name} has axes {letters}; without {letters[position]} no image is left.")
        names = iter("ZYX"[-len(spatial) :])
        others = "".join(next(names) if a in "ZYX" else a for a in others)
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
    affine, told = raw.affine, []
    if raw.spacing:
        told.append(f"voxel size {'kept' if len(spacing) == len(source) else 'dropped'}")
    if affine is not None:
        # Axes of space that changed places take their columns along; any other axis has none.
        permuted = set(source) == set(source.values())
        affine = affine[:, [*("ZYX".index(source.get(a, a)) for a in "ZYX"), 3]] if permuted else None
        told.append(f"orientation and origin {'kept' if permuted else 'dropped'}")
    note = f"its axes, slowest first, were read as {letters} instead of {raw.axes}: {', '.join(told)}."
    notes = (*raw.notes, note) if told else raw.notes
    return replace(raw, axes=letters, spacing=spacing, affine=affine, notes=notes)


def spatial(raw: Raw) -> str:
    """The trailing spatial letters of arranged axes."""
    return "".join(axis for axis in raw.axes or "" if axis in "ZYX")


def crop(raw: Raw, region: str, name: str) -> tuple[Raw, tuple[slice, ...]]:
    """Cut out a region, one `start:stop` for each spatial axis in array order.

    Returns:
        The smaller file, its affine moved along, and the spatial slices.

    Raises:
        UsageError: If `region` is not written as "z0:z1,y0:y1,x0:x1".
        InputError: If it does not fit the shape.
    """
    letters = spatial(raw)
    cuts = box(region, letters, raw.array.shape[-len(letters) :], name)
    affine = raw.affine
    if affine is not None:
        corner = [0.0] * (3 - len(cuts)) + [float(cut.start) for cut in cuts]
        affine = affine.copy()
        affine[:3, 3] += affine[:3, :3] @ corner
    index: tuple[Any, ...] = (..., *cuts)
    return replace(raw, array=raw.array[index], affine=affine), cuts


def box(region: str, letters: str, shape: tuple[int, ...], name: str) -> tuple[slice, ...]:
    """Return the slices that a region names.

    Args:
        region: "z0:z1,y0:y1,x0:x1", ends open at will.
        letters: The spatial axes.
        shape: Their sizes.
        name: What the map is called.

    Raises:
        UsageError: If it is not written so.
        InputError: If it does not fit the shape.
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
    """The letter of an axis that is given by its letter or its number, None where none is given."""
    if channel_axis is None or not letters:
        return None
    if isinstance(channel_axis, int):
        return letters[channel_axis % len(letters)]
    return channel_axis.upper()


def sample_names(raw: Raw) -> tuple[str, ...]:
    """The names of the channels, as far as there are any."""
    return raw.channels or (_COLOURS[: raw.array.shape[(raw.axes or "").index("C")]] if raw.colour else ())


def choosing(letter: str) -> str:
    """The option that keeps one index of a mapped axis, as it is typed."""
    return {"T": "--time 0", "C": "--channel 0"}.get(letter, f"--channel-axis {letter} --channel 0")


def pick_time(raw: Raw, time: int, name: str) -> Raw:
    """Keep one index along the axis of time.

    Raises:
        InputError: If there is no such axis or index.
    """
    axes = raw.axes or ""
    if "T" not in axes:
        raise InputError(f"{name} has no axis of time, its axes are {axes}; leave --time out.")
    count = raw.array.shape[axes.index("T")]
    if not -count <= time < count:
        raise InputError(f"{name} has no time {time}; choose --time 0 to {count - 1}.")
    array = raw.array.take(time % count, axis=axes.index("T"))
    return replace(raw, array=array, axes=axes.replace("T", ""))


def pick_channel(raw: Raw, channel: int | str, name: str, along: str | None = None) -> Raw:
    """Keep one channel, by number or by name; of a file with a single mapped axis, one index along that.

    Args:
        raw: Its axes in order.
        channel: Which one.
        name: The file, for messages.
        along: The letter of the axis it is picked along, where that is not the one of channels.

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
    """Return the axis that a channel is picked along, and which of them is meant; see `pick_channel`.

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
            "name it with --channel-axis, or leave --channel out."
        )
    count = raw.array.shape[axes.index(axis)]
    names = sample_names(raw) if axis == "C" else ()
    if isinstance(channel, int) and -count <= channel < count:
        index = channel
    else:
        # Channels may be named by numbers, such as wavelengths.
        index = names.index(str(channel)) if str(channel) in names else count
    if not -count <= index < count:
        known = f" or {', '.join(names)}" if names else ""
        raise InputError(f"{name} has no channel {channel!r}; choose --channel 0 to {count - 1}{known}.")
    return axis, index % count


def drop_singleton(raw: Raw, array: Array) -> tuple[Raw, Array, str | None]:
    """Take a volume with a spatial axis of size one as an image: filters then work in 2-D.

    The affine keeps a column for the missing axis, now the first, so that it stays 4 x 4.
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
    """Undo what `drop_singleton` did to the affine's columns."""
    return affine[:, np.argsort(_columns(letter))]


def _columns(letter: str) -> list[int]:
    first = "ZYX".index(letter)
    return [first, *(i for i in range(3) if i != first), 3]
