"""Classes that exclude each other: which channel of a map is the background, and which label each channel has.

The background is the one channel of the name "background" or "bg". Without such a name it is the first channel, if the
channels sum to 1; if they do not, the map holds no background, which then is 1 minus the sum of the channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

BACKGROUND: Final = "background"
_NAMES: Final = (BACKGROUND, "bg")
# The tolerance of a sum of 1: float16 has 11 bits, and errors add up over the classes.
SUM: Final = 0.02
# The share of voxels at which channels that exclude each other sum to 1.
SUFFICIENT: Final = 0.999


def numbered(names: Sequence[str] | None, count: int) -> tuple[int, ...]:
    """Return the labels of `count` classes: 0 for the background (found by name, else the first), then 1, 2, ..."""
    background = named_background(names) or 0
    return tuple(0 if k == background else k + (k < background) for k in range(count))


def complete(maps: npt.NDArray[Any]) -> bool:
    """Return whether channels are classes with their background: they sum to 1, at 99.9 % of the voxels.

    Voxels at which all channels are 0 lie outside of a mask and do not count. Of masks of foreground classes, which are
    0 in the background too, they count: channels of 0 and 1 alone must sum to 1 there as well.

    Args:
        maps: Probabilities, of shape (channels, ...).

    >>> soft = np.array([[0.75, 0.5, 0.0], [0.25, 0.5, 0.0]])
    >>> complete(soft), complete(np.round(soft))
    (True, False)
    """
    if len(maps) < 2:
        return False
    total = maps.sum(axis=0)
    wrong = int(np.count_nonzero(~(np.abs(total - 1) <= SUM)))
    if wrong <= (1 - SUFFICIENT) * total.size:
        return True
    empty = int(np.count_nonzero(total == 0))
    return wrong - empty <= (1 - SUFFICIENT) * (total.size - empty) and bool(((maps > 0) & (maps < 1)).any())


def background(maps: npt.NDArray[Any], names: Sequence[str] | None) -> int | None:
    """Return the index of the channel that is the background; None if no channel is.

    Args:
        maps: Probabilities of classes that exclude each other, of shape (channels, ...).
        names: The name of each channel, or None.

    >>> background(np.array([[0.25, 0.0], [0.25, 0.5]]), ("vessel", "BG"))
    1
    >>> background(np.array([[0.25, 0.0], [0.25, 0.5]]), ("artery", "vein"))
    """
    called = named_background(names)
    if called is not None:
        return called
    return 0 if complete(maps) else None


def first_is_largest(maps: npt.NDArray[Any]) -> bool:
    """Return whether no channel has a larger sum than the first, as where the first is the background.

    >>> first_is_largest(np.array([[0.75, 0.5], [0.25, 0.5]])), first_is_largest(np.array([[0.25, 0.5], [0.75, 0.5]]))
    (True, False)
    """
    sums = [float(one.sum(dtype=np.float64)) for one in maps]
    return sums[0] == max(sums)


def named_background(names: Sequence[str] | None) -> int | None:
    """Return the index of the one channel that has the name of a background; None if there is none.

    >>> named_background(("Background", "artery")), named_background(None)
    (0, None)
    """
    called = _called(names)
    return called[0] if len(called) == 1 else None


def _called(names: Sequence[str] | None) -> list[int]:
    return [k for k, name in enumerate(names or ()) if name.strip().lower() in _NAMES]
