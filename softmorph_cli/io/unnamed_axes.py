"""What the axes of a file may be that does not name them, or calls slices channels."""

from __future__ import annotations

from softmorph_cli.errors import InputError
from softmorph_cli.io.raw import Raw
from softmorph_cli.system.parameters import named

# The largest number of channels along an unnamed last axis; spatial axes are longer.
_MAX_CHANNELS = 4
# More channels than this in a TIFF that does not name them are as likely slices or times.
_SURE_CHANNELS = 8


def channels_last(shape: tuple[int, ...]) -> bool:
    """Return whether the last of unnamed axes holds channels: it has size 2 to 4, and the two before are longer."""
    return len(shape) > 2 and 2 <= shape[-1] <= _MAX_CHANNELS < min(shape[-3:-1])


def usual_axes(shape: tuple[int, ...]) -> tuple[str | None, list[str]]:
    """Return the usual letters of unnamed axes, None if they are ambiguous, and a list of notes on assumptions."""
    if len(shape) == 3 and channels_last(shape):
        note = f"its last axis, of {shape[-1]}, is taken as channels; {named('axes', 'ZYX')} changes it."
        return "YXC", [note]
    return {2: "YX", 3: "ZYX"}.get(len(shape)), []


def likely_axes(shape: tuple[int, ...]) -> str:
    """Return the axis letters that messages suggest for an array of this shape with unnamed axes."""
    return ("TZYXC" if channels_last(shape) else "TCZYX")[-len(shape) :]


def doubtful_channels(raw: Raw) -> tuple[int, str, str] | None:
    """Return how many channels a TIFF states that may be something else, and what; None if they are not in doubt.

    Programs that write stacks of pages often call slices channels, or the rows of an image whose channels are last.

    Args:
        raw: The content of the file, its axes in the order of the file.

    Returns:
        The number of channels, the axes if they are something else, and what they then are, in words.
    """
    axes = raw.axes or ""
    # What this program wrote has the channels of what it read.
    if raw.format != "tiff" or raw.colour or raw.channels or raw.provenance or "C" not in axes[:-1]:
        return None
    count = raw.array.shape[axes.index("C")]
    if channels_last(raw.array.shape):
        return count, likely_axes(raw.array.shape), "if its last axis holds the channels"
    if count <= _SURE_CHANNELS:
        return None
    other, what = ("T", "if they are images in time") if "Z" in axes else ("Z", "if they are slices")
    return count, axes.replace("C", "V" if other in axes else other), what


def ask_about_channels(raw: Raw, name: str) -> None:
    """Refuse a TIFF whose nameless channels are in doubt, unless its user says what they are.

    Raises:
        InputError: If they are; the message names the options.
    """
    doubt = doubtful_channels(raw)
    if doubt is not None:
        count, axes, what = doubt
        raise InputError(
            f"{name} states {count} channels without names, each of which would be a map of its own: choose one with "
            f"{named('channel', 0)}, or say what they are: {named('axes', axes)} {what}, {named('axes', raw.axes)} if "
            "they are channels."
        )
