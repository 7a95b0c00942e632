"""Source text of a function that several kernels have in common: arrays that grow."""

from __future__ import annotations

from typing import Final

ROOM: Final = '''\
@njit("int64[::1](int64[::1], int64, int64)", nogil=True, cache=True)
def room(values, count, more):
    """Return an array with the first `count` values and room for `more`: `values` itself if it is large enough."""
    if count + more <= values.size:
        return values
    larger = np.empty(2 * (count + more), np.int64)
    larger[:count] = values[:count]
    return larger
'''
