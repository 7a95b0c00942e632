"""The check that probabilities of nnU-Net and the label image beside the .npz are from the same prediction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from softmorph_cli.errors import InputError
from softmorph_cli.io.content import nearest_integers
from softmorph_cli.io.nnunet_metadata import Classes
from softmorph_cli.io.raw import Array, Raw
from softmorph_cli.system.parameters import named

# float16 has 11 bits.
_ROUNDING: Final = {"float16": 1e-3}


def check_labels(
    array: Array, image: Raw, found: Classes, logits: bool, path: Path, beside: Path
) -> tuple[Classes, list[str]]:
    """Check that the classes of highest probability are the labels in the label image beside an .npz.

    Args:
        array: The probabilities or logits, with the channel axis first.
        image: The content of the label image.
        found: The classes that the channels stand for.
        logits: Whether `array` holds logits.
        path: The path of the .npz, for messages.
        beside: The path of the label image, for messages.

    Returns:
        The classes, renumbered from 0 if the label image uses consecutive labels; and notes.

    Raises:
        InputError: If the labels differ from the classes of highest probability.
    """
    if found.kind == "overlapping":
        return found, ["its regions have no order, so they are not compared with the labels beside it."]
    labels = image.array
    if image.slope != 1 or image.inter != 0:
        labels = labels * image.slope + image.inter
        nearest = nearest_integers(labels)
        labels = labels if nearest is None else nearest
    wrong = _disagreement(array, labels, found, logits)
    counted = Classes(tuple(range(len(found.labels))), found.kind)
    if (
        wrong
        and found.kind == "complete"
        and counted != found
        and not _disagreement(array, labels, counted, logits)
    ):
        return counted, [f"{beside.name} numbers the classes from 0, not as dataset.json does."]
    if wrong:
        size = labels.size
        what = "most probable class" if found.kind == "complete" else "last region above one half"
        raise InputError(
            f"{path} and {beside} disagree in {wrong} of {size} voxels ({100 * wrong / size:.3g} %): its {what} "
            f"is not the label there; bring the two files of one prediction together, or use only the "
            f"geometry with {named('like', beside, option='reference')}, of several cases with "
            f"{named('like', beside.parent, option='reference')} (labels that were edited or postprocessed)."
        )
    return found, []


def paint(channels: Array, labels: Sequence[int], half: float) -> Array:
    """Return the label image of regions as nnU-Net paints it: the label of the last region above `half`, else 0.

    Args:
        channels: The values of the regions, in the order in which they are painted, along the first axis.
        labels: The label of each region.
        half: The value of a probability of one half: 0 for logits.
    """
    painted = np.zeros(channels.shape[1:], np.min_scalar_type(max(labels)))
    for channel, label in zip(channels, labels, strict=True):
        painted[channel > half] = label
    return painted


def _disagreement(array: Array, labels: Array, found: Classes, logits: bool) -> int:
    """Return the number of voxels whose label differs from the class by the probabilities, apart from rounding.

    Rounding creates ties but reverses no order, so it matters only for values next to one half, in nested regions.
    """
    wrong, tolerance = 0, _ROUNDING.get(str(array.dtype), 1e-6)
    half = 0.0 if logits else 0.5
    for index in range(array.shape[1]):
        block, here = array[:, index].astype(np.float32), labels[index]
        if found.kind == "nested":
            painted = paint(block, found.labels, half)
            close = (np.abs(block - half) <= tolerance).any(axis=0)
            wrong += int(np.count_nonzero((painted != here) & ~close))
        else:
            own = np.full(here.shape, -np.inf, np.float32)
            for channel, label in zip(block, found.labels, strict=True):
                np.copyto(own, channel, where=here == label)
            wrong += int(np.count_nonzero(own < block.max(axis=0)))
    return wrong
