"""Judges by their distribution whether numbers are probabilities, logits, scores, distances, labels or an image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any, Final

import numpy as np

from softmorph_cli.io.content import Content, Verdict
from softmorph_cli.io.raw import Array, Raw

# What a file needs that holds no prediction.
PREDICTION: Final = (
    "a prediction: softmorph takes the probability map that a segmentation network, or a program such as ilastik, "
    "makes of such an image"
)
_SCORES: Final = "a map of probabilities: softmorph does not turn test statistics into them"
_MASK: Final = "the mask or probability map that the distances were measured from"

# The most values that are looked at, and the most voxels of the box in which neighbours are compared.
_MOST: Final = 1 << 21
# By NIfTI's intent code. 1 is none, 2 to 24 are statistics, 1001 and above say what an image holds.
_STATISTICS: Final = {
    2: "correlations",
    3: "t-scores",
    4: "F-scores",
    5: "z-scores",
    6: "chi-squared values",
    22: "p-values",
    23: "logarithms of p-values",
    24: "logarithms of p-values",
}
# The sigmoid of larger numbers is 0 or 1 in float32: networks' logits are smaller.
_LARGEST_LOGIT: Final = 100
# Shares of values. A prediction is near 0 or 1 nearly everywhere; an image has most of its values between.
_DECIDED, _BETWEEN, _IMAGE = 0.8, 0.55, 0.65
_AT_ZERO, _AROUND_ZERO, _LOGITS_AROUND_ZERO = 0.05, 0.5, 0.25
# Float32 holds no multiple of larger numbers.
_LARGEST: Final = 1e30
_ALONG_DISTANCE: Final = 0.85
_FOREGROUND: Final = 0.4
# Fewer values say nothing of their distribution.
_FEW: Final = 1000


@dataclass(frozen=True)
class Nature:
    """What an array probably is.

    Attributes:
        kind: As in `Verdict`, also "scores" (test statistics) and "distances".
        found: The reasons, in words.
        option: The option that reads it as a map; "" if none is needed, or none is advised.
        sure: Whether the reasons leave no other kind that is as likely.
        needs: What softmorph takes in place of such a file; "" if it takes the file.
    """

    kind: str
    found: str
    option: str = ""
    sure: bool = True
    needs: str = ""

    @property
    def title(self) -> str:
        """The kind in words, with "perhaps" where it is uncertain."""
        words = {
            "probability": "probability map",
            "labels": "label map",
            "image": "image, not a probability map",
            "scores": "test statistics, not a probability map",
            "distances": "distance map, not a probability map",
            "rgb": "colour image",
        }.get(self.kind, self.kind)
        if self.sure:
            return words
        return {
            "image": "image or probability map",
            "logits": "logits or test statistics",
            "scores": "test statistics or logits",
            "labels": "label map or image",
        }.get(self.kind, f"perhaps a {words}")


def look(raw: Raw, content: Content, verdict: Verdict) -> Nature:
    """Judge an array by the distribution of its values, beyond their range.

    Args:
        raw: The content of the file, with named axes where they are known.
        content: Its statistics.
        verdict: The guess by range and type, which is refined here.
    """
    found = Nature(verdict.kind, verdict.found, verdict.option)
    if verdict.kind not in ("probability", "labels", "logits", "image") or raw.array.size == 0:
        return found
    if max(-content.low, content.high) > _LARGEST:
        return found
    if statistic := _intent(raw):
        said = f"{verdict.found.removesuffix(', which look like logits')}; its header says {statistic}"
        return Nature("scores", said, needs=_SCORES)
    values = _sample(raw)
    if values.size == 0:
        return found
    if content.high > 1 + 1e-3 and not content.integers and _is_distance(raw):
        said = f"values from {content.low:g} to {content.high:g} that change by one voxel's size from voxel to voxel"
        return Nature("distances", said, needs=_MASK)
    if verdict.kind == "logits":
        return _signed(values, content, found)
    if verdict.kind == "labels":
        return _labelled(raw, found)
    if content.distinct is not None and set(content.distinct) == {0.0, content.high} and content.high > 1:
        return replace(found, kind="mask", found=f"only 0 and {content.high:.15g}")
    if content.low < 0 and verdict.kind == "image":
        ct = _as_low_as_ct(content) and content.high > 200
        said = f"integers from {content.low:.15g} to {content.high:.15g}"
        return Nature("image", f"{said}, as in CT (Hounsfield units)" if ct else said, needs=PREDICTION)
    classes = max(
        (size for size, axis in zip(raw.array.shape, raw.axes or "", strict=False) if axis in "TC"), default=1
    )
    return _positive(values, content, found, alone=classes == 1)


def _intent(raw: Raw) -> str | None:
    """Return which statistics a NIfTI header says that its values are, or None."""
    if raw.format != "nifti" or raw.native is None:
        return None
    code = int(raw.native["intent_code"])
    return _STATISTICS.get(code) or (f"test statistics (intent code {code})" if 2 <= code <= 24 else None)


def _as_low_as_ct(content: Content) -> bool:
    """Return whether the smallest value is that of air in Hounsfield units, or of what scanners write outside."""
    return -2100 < content.low <= -900


def _signed(values: Array, content: Content, found: Nature) -> Nature:
    """Judge real numbers on both sides of 0."""
    spread = f"values from {content.low:g} to {content.high:g}"
    # Beyond 100 voxels that is also where a distance map in other units ends.
    if max(-content.low, content.high) > _LARGEST_LOGIT:
        why = (
            "as in CT (Hounsfield units)" if _as_low_as_ct(content) else "larger than the logits of networks"
        )
        return Nature("image", f"{spread}, {why}", needs=PREDICTION)
    zero, near = float((values == 0).mean()), float((np.abs(values) < 1).mean())
    if zero > _AT_ZERO:
        said = f"{spread}, {zero:.0%} of them exactly 0, which as logits were a probability of one half"
        scores = Nature("scores", f"{said}: z- or t-scores, or a masked image", needs=_SCORES)
        # A distance map's or an image's background is 0 too, but scores lie on both sides of it.
        both = min(float((values < 0).mean()), float((values > 0).mean()))
        return scores if both > 0.02 else replace(scores, kind="image", needs=PREDICTION)
    if near > _AROUND_ZERO:
        said = f"{spread}, {near:.0%} of them within 1 of 0: logits of a network lie further out"
        return Nature("scores", f"{said}; z- or t-scores, or an image of mean 0", found.option, sure=False)
    if near > _LOGITS_AROUND_ZERO:
        said = f"{found.found}, {near:.0%} of them within 1 of 0, as in scores"
        return replace(found, found=said, sure=False)
    return found


def _positive(values: Array, content: Content, found: Nature, *, alone: bool) -> Nature:
    """Judge numbers from 0 on: probabilities, maybe scaled, or an image."""
    scaled = values / content.high if content.high > 1.1 else values
    present = scaled[scaled > 0.02]
    decided = float(((scaled < 0.1) | (scaled > 0.9)).mean())
    between = float(((present > 0.2) & (present < 0.8)).mean()) if present.size else 0.0
    what = f"{between:.0%} of the values that are not 0 lie in the middle of their range"
    if decided >= _DECIDED and between <= _BETWEEN:
        if found.kind == "image":
            why = f"{found.found}; {decided:.0%} near 0 or near the highest, as in scaled probabilities"
            return replace(found, kind="probability", found=why, sure=content.integers)
        if content.high < 0.5:
            return replace(found, found=f"{found.found}: none is above one half", sure=False)
        # Of several classes one is the background.
        if alone and (above := float((scaled > 0.5).mean())) > _FOREGROUND:
            return replace(found, found=f"{found.found}; {above:.0%} are in its upper half", sure=False)
        return found
    # Real numbers in [0, 1] are what predictions are stored as, and networks may be undecided.
    stored = content.high <= 1.1 or between < _IMAGE or values.size < _FEW
    if stored:
        return replace(
            found, found=f"{found.found}; {what}, as in an image or an undecided prediction", sure=False
        )
    how = f"{found.option} reads it" if found.option else "filters take it as it is"
    needs = f"{PREDICTION}; if it is a prediction all the same, {how}"
    return Nature("image", f"{found.found}; {what}, as in a scan or micrograph", needs=needs)


def _labelled(raw: Raw, found: Nature) -> Nature:
    """Doubt labels whose neighbours mostly differ: labels have regions."""
    if raw.labels:
        return found
    box = middle_of(raw, raw.array.ndim)
    first, second = box[..., :-1], box[..., 1:]
    inside = (first != 0) | (second != 0)
    if not inside.any() or float((first == second)[inside].mean()) >= 0.3:
        return found
    return replace(found, found=f"{found.found}, but most neighbours differ, as in an image", sure=False)


def _is_distance(raw: Raw) -> bool:
    """Return whether values change by the distance between voxels, as those of a distance map do."""
    box = middle_of(raw, raw.array.ndim).astype(np.float64)
    space = [at for at, letter in enumerate(raw.axes or "") if letter in "ZYX"]
    if len(space) < 2 or min(box.shape[at] for at in space) < 3:
        return False
    sizes = [float(raw.spacing.get((raw.axes or "")[at], 0)) for at in space]
    for steps in ([1.0] * len(space), sizes):
        if min(steps) <= 0:
            continue
        slopes = [np.gradient(box, step, axis=at) for at, step in zip(space, steps, strict=True)]
        steep = np.sqrt(sum(slope**2 for slope in slopes))
        # At 0 an unsigned distance map is flat, beside it half as steep.
        inside = np.abs(box) > 1.5 * max(steps)
        if inside.sum() >= 64 and float((np.abs(steep[inside] - 1) < 0.2).mean()) > _ALONG_DISTANCE:
            return True
    return False


def _sample(raw: Raw) -> Array:
    """Return finite values from all over an array, as the file means them, at most about `_MOST`."""
    array: Any = raw.array
    if array.size > _MOST and isinstance(array, np.ndarray):
        step = int(np.ceil((array.size / _MOST) ** (1 / array.ndim)))
        array = array[tuple(slice(None, None, step) for _ in array.shape)]
    elif array.size > _MOST:
        array = array[_middle(array.shape)]
    values = _meant(np.asarray(array), raw).reshape(-1)
    return np.asarray(values[np.isfinite(values)])


def middle_of(raw: Raw, space: int) -> Array:
    """Return the values of the middle of an array, along the last `space` axes; NaN and infinities are 0."""
    shape: tuple[int, ...] = raw.array.shape
    whole = [slice(0, size) for size in shape[: len(shape) - space]]
    middle = (*whole, *_middle(shape[len(shape) - space :], prod(shape[: len(shape) - space])))
    return np.nan_to_num(_meant(np.asarray(raw.array[middle]), raw), posinf=0, neginf=0)


def _middle(shape: tuple[int, ...], images: int = 1) -> tuple[slice, ...]:
    edge = max(32, int((_MOST / max(1, images)) ** (1 / len(shape))))
    return tuple(
        slice(max(0, (size - edge) // 2), max(0, (size - edge) // 2) + min(size, edge)) for size in shape
    )


def _meant(array: Array, raw: Raw) -> Array:
    # NaNs, also signalling ones, are left out later.
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(array.astype(np.float32) * np.float32(raw.slope) + np.float32(raw.inter))
