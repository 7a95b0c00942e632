"""Maps with several channels: renormalization of their sum to 1, and a label image of all channels.

Filters process each channel separately, so the probabilities of mutually exclusive classes may afterwards sum to more
or less than 1. The relation of the channels is one of these kinds:

- "complete": mutually exclusive classes including the background; they sum to 1;
- "rest": mutually exclusive classes without the background, whose probability is the rest to 1;
- "overlapping": independent channels;
- "nested": independent channels; of several above one half the last one counts (nnU-Net's regions).
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

# The tolerance of a sum of 1: float16 has 11 bits, and errors add up over the classes.
_SUM: Final = 0.02
_HALF: Final = 0.5


def renormalize(volume: Volume, *, before: Volume, kind: Kind) -> Volume:
    """Return the map with channels that are probabilities of mutually exclusive classes again.

    With "complete", where the channels of `before` summed to 1 each is divided by the sum, and where all have become 0
    the values of `before` are restored. Where they did not sum to 1 (under a mask) they are kept. With "rest" the
    background takes the rest to 1; only where the channels sum to more than 1 are they divided by their sum.

    Args:
        volume: The result of the filter.
        before: The map that was filtered, of the same shape.
        kind: The relation of the channels, see the module.

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
    # A quotient of rounded numbers can slightly exceed 1.
    return volume.with_array(np.minimum(array, 1, out=array).astype(volume.array.dtype, copy=False))


def argmax(
    volume: Volume, *, kind: Kind, labels: Sequence[int] | None = None, threshold: float | None = None
) -> npt.NDArray[Any]:
    """Return the label of each voxel, 0 for the background, as an array without the axis of channels.

    With "complete" it is the label of the largest channel (the lowest label of several); with "rest" that of the
    largest channel if it is above the rest to 1, else 0; with "overlapping" that of the largest channel if it is above
    one half, else 0; with "nested" that of the last channel above one half, else 0. Where all channels are 0 it is 0.

    Args:
        volume: A map with an axis of channels, or a single channel.
        kind: The relation of the channels, see the module.
        labels: The label of each channel; by default 0, 1, 2, ... where `kind` is "complete", else 1, 2, 3, ...
        threshold: In (0, 1): a label is given only above it, without regard to the background's probability.

    Returns:
        uint8, uint16 or uint32; `volume.channel(0)` is the corresponding map for `write_labels`.

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
    # By ascending label, as in evaluation: the background is not always the first channel.
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
