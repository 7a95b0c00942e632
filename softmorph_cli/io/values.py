"""Converts stored numbers to probabilities, or raises an error that names the option that would read them."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, Final

import numpy as np

from softmorph_cli.errors import InputError, SoftmorphWarning
from softmorph_cli.io.content import NOTED_OVERSHOOT, examine, judge, nearest_integers, type_maximum
from softmorph_cli.io.lazy import Lazy
from softmorph_cli.io.nature import look
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.io.raw import Array, Raw
from softmorph_cli.system.parameters import named

MOST_AXES: Final = 5
# A label, or the labels whose union is a region.
Label = int | tuple[int, ...]
SILENT_OVERSHOOT: Final = 1e-6


def check_type(raw: Raw, name: str) -> None:
    """Raise an error unless an array holds real numbers, is not empty, and has 2 to 5 axes.

    Raises:
        InputError: If the array does not; the message states its type or shape.
    """
    array = raw.array
    if array.dtype.kind == "c":
        raise InputError(
            f"{name} holds complex numbers ({array.dtype}); probabilities are real: save the part or the "
            "magnitude you mean as float32."
        )
    if array.dtype.kind == "O":
        raise InputError(
            f"{name} holds Python objects (dtype object), which are never unpickled; "
            "save plain numbers: numpy.save(path, array.astype('float32'))."
        )
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} holds {array.dtype}, which are no numbers; save floats or integers.")
    if array.size == 0:
        raise InputError(f"{name} is empty: its shape is {array.shape}.")
    if not 2 <= array.ndim <= MOST_AXES:
        axes = "axis" if array.ndim == 1 else "axes"
        raise InputError(
            f"{name} has {array.ndim} {axes}, its shape is {array.shape}; maps have 2 to {MOST_AXES}: "
            "(Y, X) or (Z, Y, X), and before them time or channel."
        )


def probabilities(
    raw: Raw,
    name: str,
    dtype: np.dtype[Any],
    options: ReadOptions,
    *,
    inside: Array | None = None,
    corner: tuple[int, ...] | None = None,
) -> tuple[Array, list[str]]:
    """Convert stored numbers to an array of `dtype` in [0, 1]; the array of `raw` is overwritten if it is writeable.

    Args:
        raw: The content of the file, with named axes.
        name: The name of the file, for messages.
        dtype: The type of the result, float32 or float64; no intermediate array is wider.
        options: The options of reading that state what the numbers mean; softmax is over axis "C".
        inside: A mask, broadcastable to the array; the result is 0 where the mask is False.
        corner: The index in the whole map of the first value of the array, if the array is a block of the map.

    Returns:
        The probabilities, and notes on assumptions.

    Raises:
        InputError: If the values are no probabilities; the message names the option that helps.
    """
    divide_by, label, clip, from_logits = (
        options.divide_by,
        options.label_number,
        options.clip,
        options.from_logits,
    )
    array, stored = raw.array, raw.slope == 1 and raw.inter == 0
    integers = stored and array.dtype.kind in "iub"
    notes: list[str] = []
    if integers and from_logits is None and divide_by is None:
        if inside is not None:
            array = np.where(inside, array, np.zeros((), array.dtype))
        low, high = int(array.min()), int(array.max())
        if label is not None:
            return _label_mask(array, raw, name, label, dtype, block=corner is not None), notes
        if low >= 0 and high <= 1:
            return array.astype(dtype), ["it holds only 0 and 1 and is taken as a mask."]
        divide_by = full_scale(replace_array(raw, array), name, low, high, clip=clip)
    values = _scaled(raw, array, dtype, divide_by)
    if inside is not None:
        np.copyto(values, 0, where=~inside)
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(_not_finite(values, raw, name, corner))
    if label is not None:
        return _label_mask(values, raw, name, label, dtype, block=corner is not None), notes
    if from_logits is not None:
        if corner is None:
            warn_of_probabilities(low, high, name)
        _logits_to_probabilities(values, raw, name, from_logits)
        if inside is not None:
            np.copyto(values, 0, where=~inside)
        return values, notes
    overshoot = max(float(-low), float(high) - 1)
    if overshoot > NOTED_OVERSHOOT and not clip:
        raise InputError(_refusal(replace_array(raw, values), name, divided=divide_by))
    if overshoot > 0:
        np.clip(values, 0, 1, out=values)
    if overshoot > SILENT_OVERSHOOT:
        notes.append(f"values outside [0, 1] by up to {overshoot:.2g} were clipped.")
    return values, notes


def warn_of_probabilities(low: float, high: float, name: str) -> None:
    """Warn if all values of a map that is read as logits lie in [0, 1], as probabilities do.

    Args:
        low: The smallest value of the map.
        high: The largest value of the map.
        name: The name of the file.
    """
    if low >= 0 and high <= 1:
        warnings.warn(
            f"{name} holds values from {low:g} to {high:g}, which look like probabilities, and "
            f"{named('from_logits')} turns them into others: leave {named('from_logits')} out if it is wrong.",
            SoftmorphWarning,
            stacklevel=2,
        )


def label_numbers(raw: Raw, *, surely: bool = False) -> Array | None:
    """Return the labels of a label map as unsigned integers, or None if a file holds no labels.

    Args:
        raw: The content of the file.
        surely: Whether integers are taken as labels even if they look like grey values.
    """
    content = examine(raw.array, raw.slope, raw.inter, asked=surely)
    if not content.integers or not content.low >= 0 or content.nans or content.infinities:
        return None
    kind = judge(content, raw).kind
    # 0 and one other number are a mask, whatever the number; 255 is 1 where the format says so.
    mask = content.distinct is not None and set(content.distinct) <= {0.0, content.high}
    if not (surely or kind in ("labels", "mask") or (mask and kind != "probability")):
        return None
    numbers = raw.array
    if raw.slope != 1 or raw.inter != 0 or numbers.dtype.kind == "f":
        numbers = np.rint(numbers * np.float64(raw.slope) + raw.inter)
    return np.asarray(numbers.astype(np.min_scalar_type(int(content.high))))


def full_scale(raw: Raw, name: str, low: int, high: int, *, clip: bool = False) -> int:
    """Return the stored integer that represents 1: the maximum of the type, where the format defines it so.

    Args:
        raw: The content of the file, or a part of it.
        name: The name of the file, for messages.
        low: The smallest stored number.
        high: The largest stored number.
        clip: Whether the option to clip values was given, for messages.

    Raises:
        InputError: If the format does not define such a number, or all numbers are far below the maximum of their type.
    """
    if not (raw.full_scale and low >= 0 and high > type_maximum(raw) >> 2):
        raise InputError(_refusal(raw, name, clip=clip))
    return type_maximum(raw)


def replace_array(raw: Raw, array: Array) -> Raw:
    """Return the content of a file with the numbers of `array`, to which slope and intercept are already applied."""
    return replace(raw, array=array, slope=1.0, inter=0.0)


def _scaled(raw: Raw, array: Array, dtype: np.dtype[Any], divide_by: float | None) -> Array:
    # A value beyond float32 becomes infinite here and is refused by the caller.
    with np.errstate(over="ignore", invalid="ignore"):
        # A writeable array is not shared (see `Raw`), so floats need no second copy.
        values = np.array(array, dtype=dtype, order="C", copy=None if array.flags.writeable else True)
        if raw.slope != 1:
            values *= dtype.type(raw.slope)
        if raw.inter != 0:
            values += dtype.type(raw.inter)
        if divide_by is not None:
            values /= dtype.type(divide_by)
    return values


def _label_mask(
    array: Array, raw: Raw, name: str, label: Label, dtype: np.dtype[Any], *, block: bool
) -> Array:
    if array.dtype.kind == "f":
        nearest = nearest_integers(array, asked=True)
        if nearest is None:
            found = array.reshape(-1)[np.abs(array - np.rint(array)).argmax()]
            raise InputError(
                f"{name} holds numbers that are not whole, such as {found:g}, so it is no label map; "
                f"leave {named('label')} out."
            )
        array = nearest
    chosen = array == label if isinstance(label, int) else np.isin(array, label)
    if not block and not chosen.any():
        raise no_label(array, name, label)
    return np.asarray(chosen.astype(dtype))


def no_label(array: Array | Lazy, name: str, label: Label) -> InputError:
    """Return the error for a label map that does not contain a label; the message lists labels that it contains."""
    shown, first = held_labels(array)
    wanted = label if isinstance(label, int) else " nor ".join(map(str, label))
    return InputError(
        f"{name} has no label {wanted}; it holds {shown}: choose one of them, such as {named('label', first)}."
    )


def held_labels(array: Array | Lazy) -> tuple[str, int]:
    """Return the labels that an image contains, as messages list them, and the first of them."""
    # 0 is the background, and no object.
    present = [int(value) for value in (examine(array).distinct or ()) if value][:12]
    return ", ".join(map(str, present)) or "too many values to list", present[0] if present else 1


def _logits_to_probabilities(values: Array, raw: Raw, name: str, how: str) -> None:
    """Convert logits to probabilities in place, by "sigmoid" or by "softmax" over axis "C"."""
    if how == "sigmoid":
        with np.errstate(over="ignore"):
            np.negative(values, out=values)
            np.exp(values, out=values)
        values += 1
        np.reciprocal(values, out=values)
        return
    axis = (raw.axes or "").find("C")
    if axis < 0:
        raise InputError(
            f"{name} has no channel axis for softmax, its axes are {raw.axes}; "
            f"name it with {named('channel_axis')}, or use {named('from_logits', 'sigmoid')}."
        )
    values -= values.max(axis=axis, keepdims=True)
    np.exp(values, out=values)
    values /= values.sum(axis=axis, keepdims=True)


def _not_finite(values: Array, raw: Raw, name: str, corner: tuple[int, ...] | None) -> str:
    content = examine(values)
    first = content.first_bad or ()
    at = [i + start for i, start in zip(first, corner or (0,) * len(first), strict=True)]
    place = ", ".join(f"{a.lower()}={i}" for a, i in zip(raw.axes or "", at, strict=False))
    parts = []
    if content.nans:
        parts.append(
            f"{content.nans} {'value that is' if content.nans == 1 else 'values that are'} not a number (NaN)"
        )
    if content.infinities:
        parts.append(f"{content.infinities} infinite {'value' if content.infinities == 1 else 'values'}")
    return (
        f"{name} holds {' and '.join(parts)}, the first at ({place}); probabilities are finite: "
        f"set these voxels to 0, or leave them out with {named('mask', 'FILE')}."
    )


def _refusal(raw: Raw, name: str, *, clip: bool = False, divided: float | None = None) -> str:
    """Return the message on values that are no probabilities: what was found, what is accepted, what to type next."""
    content = examine(raw.array)
    verdict = judge(content, raw)
    nature = look(raw, content, verdict)
    if divided is not None:
        return (
            f"{name} reaches from {content.low:g} to {content.high:g} after dividing by {divided:g}; "
            f"probabilities lie in [0, 1]: divide by a larger number or add {named('clip', True)}."
        )
    if nature.kind in ("scores", "distances") and nature.sure:
        return f"{name} holds {nature.found}; probabilities lie in [0, 1]: give {nature.needs}."
    advice = {
        "labels": f"choose one label with {verdict.option}, or, if they are none, "
        f"name what 1 is stored as with {named('divide_by', round(content.high))}.",
        "logits": f"convert them with {named('from_logits', 'sigmoid')} (or softmax over the channels), or use "
        f"{named('clip', True)}.",
        "probability": f"cut them to [0, 1] with {named('clip', True)}.",
    }.get(verdict.kind, f"scale them with {verdict.option}." if verdict.option else "give a probability map.")
    found = verdict.found
    if raw.full_scale and raw.array.dtype.kind in "ui" and verdict.kind == "image" and content.low >= 0:
        bits = int(content.high).bit_length()
        found = f"{found}, {bits} bits in a {raw.array.dtype} that ends at {type_maximum(raw)}"
        advice = (
            f"name what 1 is stored as, with {verdict.option}, or {named('divide_by', type_maximum(raw))} if it is "
            "faint."
        )
    if verdict.kind == "image" and content.low < 0 and clip:
        found += f" ({named('clip', True)} is for small overshoot of real numbers)"
    return f"{name} holds {found}; probabilities lie in [0, 1]: {advice}"
