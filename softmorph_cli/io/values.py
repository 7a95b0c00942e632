"""Converting a file's numbers to probabilities, or refusing them with the option that reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, Final

import numpy as np

from softmorph_cli.errors import InputError
from softmorph_cli.io.lazy import Lazy
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.io.raw import Array, Raw
from softmorph_cli.system.parameters import named

MOST_AXES: Final = 5
SILENT_OVERSHOOT: Final = 1e-6
NOTED_OVERSHOOT: Final = 1e-4
# The largest overshoot of interpolation and sharpening; numbers further outside [0, 1] mean something else.
_RINGING = 0.1
_SCALES = (100, 255, 1000, 1023, 4095, 10000, 16383, 32767, 65535)
_BLOCK = 1 << 20
_USUAL_LABELS = 64
_VOXELS_PER_LABEL = 4
_CAP = 1024
# The relative error of a slope and an intercept of 24 bits; and the largest distance of a label from an integer.
_SLOPE_TOLERANCE: Final = 2.0**-21
_LABEL_TOLERANCE: Final = 1e-3


@dataclass(frozen=True)
class Content:
    """Statistics of an array of numbers.

    Attributes:
        size: The number of values.
        low: The smallest finite value, NaN if there is none.
        high: The largest finite value.
        nans: The number of NaNs.
        infinities: The number of infinite values.
        first_bad: The index of the first NaN or infinity.
        integers: Whether every finite value is an integer, up to the rounding of a float slope.
        distinct: The distinct values in order, or None where there are more than a limit.
    """

    size: int
    low: float
    high: float
    nans: int
    infinities: int
    first_bad: tuple[int, ...] | None
    integers: bool
    distinct: tuple[float, ...] | None


@dataclass(frozen=True)
class Verdict:
    """What an array probably holds, the reason in words, and the option that reads it ("" if none is needed)."""

    kind: str
    found: str
    option: str = ""


def nearest_integers(values: Array, *, asked: bool = False) -> Array | None:
    """Return the integers that floats stand for; None if they stand for others.

    A label that went through a float slope is not exactly an integer any more: 3 is stored as 30 times 0.1.

    Args:
        values: Finite numbers.
        asked: Whether the user says that they are labels; otherwise only rounding errors are allowed.
    """
    nearest = np.rint(values)
    near = _LABEL_TOLERANCE if asked else np.minimum(_SLOPE_TOLERANCE * np.abs(values), _LABEL_TOLERANCE)
    return nearest if bool((np.abs(values - nearest) <= near).all()) else None


def examine(
    array: Array | Lazy, slope: float = 1.0, inter: float = 0.0, *, cap: int = _CAP, asked: bool = False
) -> Content:
    """Measure an array of real numbers, block by block.

    Args:
        array: Stored numbers.
        slope: As in `Raw`.
        inter: As in `Raw`.
        cap: The most distinct values that are counted.
        asked: As for `nearest_integers`.
    """
    low, high, nans, infinities = np.inf, -np.inf, 0, 0
    first: tuple[int, ...] | None = None
    integers, seen = True, set[float]()
    for place, block in _pieces(array):
        if slope != 1 or inter != 0 or block.dtype.kind == "b":
            # NaNs, also signalling ones, are counted below.
            with np.errstate(invalid="ignore", over="ignore"):
                block = block * np.float64(slope) + inter
        if block.dtype.kind == "f":
            finite = np.isfinite(block)
            if not finite.all():
                missing = int(np.isnan(block).sum())
                nans += missing
                infinities += int((~finite).sum()) - missing
                first = first or place(int(np.argmin(finite)))
                block = block[finite]
            nearest = nearest_integers(block, asked=asked) if integers else None
            integers, block = nearest is not None, block if nearest is None else nearest
        if block.size:
            low, high = min(low, float(block.min())), max(high, float(block.max()))
            if len(seen) <= cap:
                # One value more than the limit is enough: no set of millions.
                seen.update(np.unique(block)[: cap + 1].tolist())
    return Content(
        size=array.size,
        low=low if low <= high else float("nan"),
        high=high if low <= high else float("nan"),
        nans=nans,
        infinities=infinities,
        first_bad=first,
        integers=integers,
        distinct=tuple(sorted(seen)) if len(seen) <= cap else None,
    )


def _pieces(array: Array | Lazy) -> Iterator[tuple[Callable[[int], tuple[int, ...]], Array]]:
    """Yield the values in flat blocks, with a function from a position in the block to an index of the array."""
    boxes = array.boxes() if isinstance(array, Lazy) else iter(((slice(0, None),) * array.ndim,))
    for box in boxes:
        corner = tuple(cut.start for cut in box)
        part = np.asarray(array[box])
        flat = part.reshape(-1)
        for start in range(0, flat.size, _BLOCK):

            def place(
                at: int, start: int = start, shape: tuple[int, ...] = part.shape, corner: Any = corner
            ) -> tuple[int, ...]:
                return tuple(
                    int(i) + c for i, c in zip(np.unravel_index(start + at, shape), corner, strict=True)
                )

            yield place, flat[start : start + _BLOCK]


def judge(content: Content, raw: Raw) -> Verdict:
    """Return what finite numbers like these probably are, and the option that reads them."""
    low, high = content.low, content.high
    if raw.colour:
        return Verdict("rgb", "a colour image", named("channel", 0))
    if np.isnan(low):
        return Verdict("empty", "no finite value")
    spread = f"values from {low:g} to {high:g}"
    if content.integers and low >= 0 and high <= 1:
        return Verdict("mask", "only 0 and 1")
    if low >= -NOTED_OVERSHOOT and high <= 1 + NOTED_OVERSHOOT:
        return Verdict("probability", spread)
    if content.integers and low >= 0 and raw.labels:
        return _label_verdict(content, "labels")
    if content.integers and low >= 0:
        if (
            raw.full_scale
            and raw.array.dtype.kind in "ui"
            and raw.slope == 1
            and high > (top := _type_maximum(raw)) >> 2
        ):
            return Verdict("probability", f"{spread} of a type that ends at {top}")
        if _like_labels(content):
            return _label_verdict(content, "integers that look like labels")
        scale = next((scale for scale in _SCALES if high <= scale), int(high))
        return Verdict("image", f"integers from {low:.15g} to {high:.15g}", named("divide_by", scale))
    if low >= -_RINGING and high <= 1 + _RINGING:
        return Verdict("probability", f"{spread}, slightly outside [0, 1]", named("clip", True))
    if low < 0:
        if content.integers:
            return Verdict("image", f"integers from {low:.15g} to {high:.15g}, which are no probabilities")
        return Verdict("logits", f"{spread}, which look like logits", named("from_logits", "sigmoid"))
    # A huge number is written with an exponent.
    above = ceil(high) if high < 1e15 else float(high)
    return Verdict("image", spread, named("divide_by", next((s for s in _SCALES if high <= s), above)))


def _label_verdict(content: Content, what: str) -> Verdict:
    if content.distinct is None:
        # Only the highest is known to be there.
        highest = int(content.high)
        return Verdict("labels", f"{what} (up to {highest})", named("label", highest))
    values = [int(value) for value in content.distinct if value]
    shown = ", ".join(map(str, values[:8])) + (", ..." if len(values) > 8 else "")
    return Verdict("labels", f"{what} ({shown})", named("label", values[0]))


def _type_maximum(raw: Raw) -> int:
    return int(np.iinfo(raw.array.dtype).max)


def _like_labels(content: Content) -> bool:
    distinct = content.distinct
    if distinct is None or (set(distinct) <= {0.0, content.high} and content.high in (*_SCALES, 254)):
        return False
    # Every label has a region, so there are many voxels per label; label numbers also leave gaps.
    many = len(distinct) * _VOXELS_PER_LABEL <= content.size
    return many and (len(distinct) <= _USUAL_LABELS or len(distinct) < 0.25 * (content.high + 1))


def check_type(raw: Raw, name: str) -> None:
    """Refuse arrays without real numbers, empty ones, and those with too few or too many axes.

    Raises:
        InputError: With the type or shape that was found.
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
        raw: What the file holds, its axes named.
        name: The file, for messages.
        dtype: float32 or float64; no intermediate array is wider.
        options: What the numbers mean; softmax is over axis "C".
        inside: A mask, broadcastable to the array; the result is 0 where it is False.
        corner: The index of the first value in the whole map, if the array is a block of it.

    Returns:
        The array, and notes on what was assumed.

    Raises:
        InputError: If the values are no probabilities; the message names the option that helps.
    """
    divide_by, label, clip, from_logits = (
        options.divide_by,
        options.label,
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


def label_numbers(raw: Raw, *, surely: bool = False) -> Array | None:
    """Return the numbers of a label map as unsigned integers, or None where a file holds something else.

    Args:
        raw: What the file holds.
        surely: Whether integers are labels, also where they look like grey values.
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
    """Return the stored number that stands for 1 in integers that are no mask, where the format defines it.

    Args:
        raw: What the file holds, or a part of it.
        name: The file, for messages.
        low: The smallest of its numbers.
        high: The largest.
        clip: As in `ReadOptions`.

    Raises:
        InputError: If the format does not define it, or all numbers are far below the maximum of their type.
    """
    if not (raw.full_scale and low >= 0 and high > _type_maximum(raw) >> 2):
        raise InputError(_refusal(raw, name, clip=clip))
    return _type_maximum(raw)


def replace_array(raw: Raw, array: Array) -> Raw:
    """Return the file with other numbers, to which its slope and intercept are applied already."""
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


def _label_mask(array: Array, raw: Raw, name: str, label: int, dtype: np.dtype[Any], *, block: bool) -> Array:
    if array.dtype.kind == "f":
        nearest = nearest_integers(array, asked=True)
        if nearest is None:
            found = array.reshape(-1)[np.abs(array - np.rint(array)).argmax()]
            raise InputError(
                f"{name} holds numbers that are not whole, such as {found:g}, so it is no label map; "
                f"leave {named('label')} out."
            )
        array = nearest
    chosen = array == label
    if not block and not chosen.any():
        raise no_label(array, name, label)
    return np.asarray(chosen.astype(dtype))


def no_label(array: Array | Lazy, name: str, label: int) -> InputError:
    """Return the error for a label map without this label."""
    present = [int(value) for value in (examine(array).distinct or ())[:12]]
    shown = ", ".join(map(str, present)) or "too many values to list"
    first = next((one for one in present if one), 1)
    return InputError(
        f"{name} has no label {label}; it holds {shown}: choose one of them, such as {named('label', first)}."
    )


def _logits_to_probabilities(values: Array, raw: Raw, name: str, how: str) -> None:
    """Convert logits to probabilities in place."""
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
    """Return a message: what was found, what is accepted, what to type next."""
    content = examine(raw.array)
    verdict = judge(content, raw)
    if divided is not None:
        return (
            f"{name} reaches from {content.low:g} to {content.high:g} after dividing by {divided:g}; "
            f"probabilities lie in [0, 1]: divide by a larger number or add {named('clip', True)}."
        )
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
        found = f"{found}, {bits} bits in a {raw.array.dtype} that ends at {_type_maximum(raw)}"
        advice = (
            f"name what 1 is stored as, with {verdict.option}, or {named('divide_by', _type_maximum(raw))} if it is "
            "faint."
        )
    if verdict.kind == "image" and content.low < 0 and clip:
        found += f" ({named('clip', True)} is for small overshoot of real numbers)"
    return f"{name} holds {found}; probabilities lie in [0, 1]: {advice}"
