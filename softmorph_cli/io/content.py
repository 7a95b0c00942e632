"""Guessing from range and spacing of stored numbers whether they are probabilities, labels, logits or an image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

import numpy as np

from softmorph_cli.io.lazy import Lazy
from softmorph_cli.io.raw import Array, Raw
from softmorph_cli.system.parameters import named

NOTED_OVERSHOOT: Final = 1e-4
# The largest overshoot of interpolation and sharpening; numbers further outside [0, 1] mean something else.
_RINGING = 0.1
_SCALES = (100, 255, 1000, 1023, 4095, 10000, 16383, 32767, 65535)
_BLOCK = 1 << 20
_USUAL_LABELS = 64
# Of real numbers: float64 holds every whole number up to here; above, all numbers are whole.
_LARGEST_LABEL = 2.0**53
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
    """A guess at the content of an array.

    Attributes:
        kind: The kind of content: "mask", "probability", "labels", "logits", "image", "rgb" or "empty".
        found: The reason for the guess, in words.
        option: The option that reads such an array as a map, or "" if none is needed.
    """

    kind: str
    found: str
    option: str = ""


def nearest_integers(values: Array, *, asked: bool = False) -> Array | None:
    """Return the nearest integers if all values are integers up to rounding errors, else None.

    A label that went through a float slope is not exactly an integer any more: 3 is stored as 30 times 0.1.

    Args:
        values: An array of finite numbers.
        asked: Whether the user states that the values are labels, which allows larger deviations from integers.
    """
    nearest = np.rint(values)
    near = _LABEL_TOLERANCE if asked else np.minimum(_SLOPE_TOLERANCE * np.abs(values), _LABEL_TOLERANCE)
    return nearest if bool((np.abs(values - nearest) <= near).all()) else None


def examine(
    array: Array | Lazy, slope: float = 1.0, inter: float = 0.0, *, cap: int = _CAP, asked: bool = False
) -> Content:
    """Measure an array of real numbers, block by block.

    Args:
        array: The stored numbers.
        slope: The factor that a stored number is multiplied by.
        inter: The intercept that is added to that product.
        cap: The limit above which distinct values are no longer listed.
        asked: Whether the user states that the values are labels, as for `nearest_integers`.
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
    """Yield pairs: a function from a position in a flat block to the array index, and the flat block of values."""
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
    """Return the probable kind of an array by its statistics, with the option that reads it as a map."""
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
            and high > (top := type_maximum(raw)) >> 2
        ):
            return Verdict("probability", f"{spread} of a type that ends at {top}")
        exact = raw.array.dtype.kind in "ui" or high <= _LARGEST_LABEL
        if exact and _like_labels(content):
            return _label_verdict(content, "integers that look like labels")
        scale = next((scale for scale in _SCALES if high <= scale), int(high) if high < 1e15 else float(high))
        return Verdict("image", f"integers from {low:.15g} to {high:.15g}", named("divide_by", scale))
    if low >= -_RINGING and high <= 1 + _RINGING:
        return Verdict("probability", f"{spread}, slightly outside [0, 1]", named("clip", True))
    if low < 0:
        if content.integers:
            return Verdict("image", f"integers from {low:.15g} to {high:.15g}, which are no probabilities")
        return Verdict("logits", f"{spread}, which look like logits", named("from_logits", "sigmoid"))
    # A huge number is written with an exponent.
    above = ceil(high) if high < 1e15 else float(high)
    # Divided by a scale of many times its maximum, a map would be nearly empty.
    divisor = next((scale for scale in _SCALES if high <= scale <= 20 * high), above)
    return Verdict("image", spread, named("divide_by", divisor))


def _label_verdict(content: Content, what: str) -> Verdict:
    if content.distinct is None:
        # Only the highest is known to be there.
        highest = int(content.high)
        return Verdict("labels", f"{what} (up to {highest})", named("label", highest))
    values = [int(value) for value in content.distinct if value]
    shown = ", ".join(map(str, values[:8])) + (", ..." if len(values) > 8 else "")
    return Verdict("labels", f"{what} ({shown})", named("label", values[0]))


def type_maximum(raw: Raw) -> int:
    """Return the largest number that an integer type holds."""
    return int(np.iinfo(raw.array.dtype).max)


def _like_labels(content: Content) -> bool:
    distinct = content.distinct
    if distinct is None or (set(distinct) <= {0.0, content.high} and content.high in (*_SCALES, 254)):
        return False
    # Every label has a region, so there are many voxels per label; label numbers also leave gaps.
    many = len(distinct) * _VOXELS_PER_LABEL <= content.size
    return many and (len(distinct) <= _USUAL_LABELS or len(distinct) < 0.25 * (content.high + 1))
