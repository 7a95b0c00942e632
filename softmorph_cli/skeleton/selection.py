"""Volumes with several images: a check for a single image, and advice on selecting a channel, a time or a slice."""

from __future__ import annotations

import shlex

from softmorph_cli.errors import InputError
from softmorph_cli.io.nnunet import classes
from softmorph_cli.io.select import first_along
from softmorph_cli.system.parameters import in_shell, named
from softmorph_cli.volume import SLICE, Volume


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
            return held, how_to_select(volume, first_along(*(axis for axis, _ in sizes)))
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
        options: Options that select one map, such as "--channel 0 (or 1)"; in Python, keyword arguments of `read`.
    """
    if in_shell():
        return f"add {options}"
    if volume.source is None or SLICE in volume.axes:
        return "pass one of them"
    return f"pass one of them, such as read({str(volume.source.path)!r}, {options})"


def class_option(volume: Volume) -> str | None:
    """Return the options that select each class but the background, such as "--channel 1 (or 2)"; None if none."""
    source = volume.source
    axis = volume.class_axis()
    if axis is None or volume.axes[axis] == SLICE:
        return None
    count = volume.array.shape[axis]
    names = volume.channels or (source.numbers if source else ()) or range(count)
    labels = classes(volume).labels if len(volume.mapped_axes) == 1 else range(1, count + 1)
    known = labels if len(labels) == count else range(1, count + 1)
    first, *others = (name for name, label in zip(names, known, strict=True) if label)
    if not in_shell():
        return named("channel", first)
    option = named("channel", shlex.quote(str(first)))
    return f"{option} (or {', '.join(shlex.quote(str(name)) for name in others)})" if others else option
