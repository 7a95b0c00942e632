"""What channels are to each other: bringing their sum back to 1, and one label image of all of them.

Filters work on each channel by itself, so classes that excluded each other may afterwards claim a voxel together, or
none of them may. What that means depends on what the channels are, which `softmorph_cli.io.classes` says of the map
as it was read:

- "complete": one class at each voxel, the background is one of the channels, they sum to 1;
- "rest": one class at each voxel, the background is what the channels leave of 1;
- "overlapping": each channel by itself;
- "nested": the same, but where several are above one half the last one counts (nnU-Net's regions).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError
from softmorph_cli.system.parameters import named
from softmorph_cli.volume import Volume

Kind = Literal["complete", "rest", "overlapping", "nested"]

# How far from 1 a sum of channels may be: float16 has 11 bits, and errors add up over the classes.
_SUM: Final = 0.02
_HALF: Final = 0.5


def renormalize(volume: Volume, *, before: Volume, kind: Kind) -> Volume:
    """Return the map with channels that again are probabilities of classes that exclude each other.

    With "complete", where the channels of `before` summed to 1 they do so again: each is divided by their sum, and
    where all of them have become 0 the values of `before` come back, for no class has a better claim. Where they
    did not sum to 1 (under a mask) they stay. With "rest" the background takes what the filter took away, so that
    the sum with it is 1 as it stands; only where the channels sum to more than 1 are they divided by their sum.

    Args:
        volume: What the filter returned.
        before: The map that was filtered, of the same shape.
        kind: What the channels are, see the module.

    Raises:
        InputError: If the channels overlap, or the shapes differ.
    """
    if kind not in ("complete", "rest"):
        raise InputError(
            f"these channels overlap, so they need not sum to 1; leave {named('renormalize')} out."
        )
    if before.array.shape != volume.array.shape:
        raise InputError(
            f"a map of shape {volume.array.shape} does not come from one of {before.array.shape}."
        )
    axis = volume.channel_axis()
    if axis is None:
        return volume
    total = volume.array.sum(axis=axis, keepdims=True)
    if kind == "rest":
        divide = total > 1
    else:
        whole = np.abs(before.array.sum(axis=axis, keepdims=True) - 1) <= _SUM
        divide = whole & (total > 0)
    array = volume.array / np.where(divide, total, 1)
    if kind == "complete":
        np.copyto(array, before.array, where=whole & (total <= 0))
    # A quotient of rounded numbers can be one step above 1.
    return volume.with_array(np.minimum(array, 1, out=array).astype(volume.array.dtype, copy=False))


def argmax(
    volume: Volume, *, kind: Kind, labels: Sequence[int] | None = None, threshold: float | None = None
) -> npt.NDArray[Any]:
    """Return the label of each voxel, 0 for the background, as an array without the axis of channels.

    With "complete" it is the label of the largest channel (the lowest of several); with "rest" that of the largest
    if it is above what all of them leave of 1, else 0; with "overlapping" that of the largest if it is above one
    half, else 0; with "nested" that of the last one above one half, else 0. Where all channels are 0 it is 0.

    Args:
        volume: A map with an axis of channels; without one it is a single channel.
        kind: What the channels are, see the module.
        labels: The label of each channel; by default 0, 1, 2, ... where `kind` is "complete", else 1, 2, 3, ...
        threshold: In (0, 1): labels count only above it, whatever the background's probability.

    Returns:
        uint8, uint16 or uint32; `volume.channel(0)` is the map that `write_labels` wants beside it.

    Raises:
        InputError: If labels and channels differ in number, a label is negative, or the threshold is out of range.
    """
    if threshold is not None and not 0 < threshold < 1:
        raise InputError(f"a threshold of probability is between 0 and 1, not {threshold:g}.")
    axis = volume.channel_axis()
    array = volume.array[np.newaxis] if axis is None else np.moveaxis(volume.array, axis, 0)
    first = 0 if kind == "complete" else 1
    numbers = list(range(first, first + len(array))) if labels is None else [int(label) for label in labels]
    if len(numbers) != len(array):
        raise InputError(f"{len(array)} channels need as many labels, not {len(numbers)}.")
    if min(numbers) < 0:
        raise InputError(f"labels are integers from 0, not {min(numbers)}.")
    dtype = np.min_scalar_type(max(numbers))
    chosen = np.zeros(array.shape[1:], dtype)
    if kind == "nested":
        for channel, label in zip(array, numbers, strict=True):
            np.copyto(chosen, dtype.type(label), where=channel > (threshold or _HALF))
        return chosen
    best = np.zeros(array.shape[1:], array.dtype)
    # As an evaluation decides: the background is not always the first channel.
    for label, channel in sorted(zip(numbers, array, strict=True), key=lambda one: one[0]):
        larger = channel > best
        np.copyto(chosen, dtype.type(label), where=larger)
        np.copyto(best, channel, where=larger)
    if threshold is not None:
        chosen[best <= threshold] = 0
    elif kind == "overlapping":
        chosen[best <= _HALF] = 0
    elif kind == "rest":
        chosen[best <= 1 - array.sum(axis=0, dtype=np.float64)] = 0
    return chosen
