"""Maps with several channels: renormalization of their sum to 1, and a label image of all channels.

Filters process each channel separately, so the probabilities of mutually exclusive classes may afterwards sum to more
or less than 1. The relation of the channels is one of these kinds:

- "complete": mutually exclusive classes including the background; they sum to 1;
- "rest": mutually exclusive classes without the background, whose probability is the rest to 1;
- "overlapping": independent channels;
- "nested": independent channels; if several are above one half, the last of these channels gives the label
  (nnU-Net's regions).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from softmorph_cli.classes import SUM
from softmorph_cli.errors import InputError
from softmorph_cli.system.parameters import named
from softmorph_cli.volume import Volume

Kind = Literal["complete", "rest", "overlapping", "nested"]

_HALF: Final = 0.5


def renormalize(volume: Volume, *, before: Volume, kind: Kind) -> Volume:
    """Return the map renormalized, so that its channels are probabilities of mutually exclusive classes again.

    With "complete", voxels where the channels of `before` summed to 1 have each channel divided by the new sum, or the
    values of `before` restored if all channels have become 0; voxels where the channels did not sum to 1 (under a
    mask) stay as they are. With "rest" the background takes the rest to 1; channels are divided by their sum only
    where this sum is above 1.

    Args:
        volume: The result of the filter.
        before: The map that was filtered, of the same shape.
        kind: The relation of the channels; the docstring of this module lists the kinds.

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
        whole = np.abs(before.array.sum(axis=axis, keepdims=True) - 1) <= SUM
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

    With "complete" a voxel gets the label of its largest channel (the lowest label of equal channels); with "rest" the
    same if that channel is above the rest to 1, else 0; with "overlapping" the same if that channel is above one half,
    else 0; with "nested" the label of the last channel above one half, else 0. Voxels with all channels 0 get 0.

    Args:
        volume: A map with an axis of channels, or a single channel.
        kind: The relation of the channels; the docstring of this module lists the kinds.
        labels: The label of each channel; by default 0, 1, 2, ... where `kind` is "complete", else 1, 2, 3, ...
        threshold: Probability in (0, 1) above which a voxel gets a label, whatever the background's probability.

    Returns:
        Array of uint8, uint16 or uint32; `write_labels` writes it with `volume.channel(0)` as the corresponding map.

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
