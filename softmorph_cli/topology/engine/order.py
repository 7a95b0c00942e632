"""The order of bars: one quick sort with the result of several stable ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def lexicographic(*keys: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Return the indices that sort by the last key, and where that is equal by the key before it, and so on.

    The result is that of `np.lexsort`, which sorts by every key in turn. Here the other keys are read only where the
    last one has equal values.

    Args:
        keys: Arrays of shape (N,); the last one without NaN.
    """
    order = np.argsort(keys[-1])
    ascending = keys[-1][order]
    same = ascending[1:] == ascending[:-1]
    tied = np.zeros(len(order), bool)
    tied[1:] |= same
    tied[:-1] |= same
    if tied.any():
        # The bars of one value stay in the places of that value.
        among = np.sort(order[tied])
        order[tied] = among[np.lexsort([key[among] for key in keys])]
    return order
