"""Simple points by their definition, with SciPy's labels, for many neighbourhoods at once."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from softmorph_cli.rules.neighborhood import CONNECTIVITIES, block, neighbors


def _components(members: np.ndarray, wanted: np.ndarray, connectivity: int) -> np.ndarray:
    """Count in each of many blocks the components of `members` that hold any of `wanted`."""
    dimensions = members.ndim - 1
    element = np.zeros((3,) * members.ndim, int)
    for offset in block(dimensions):
        element[(1, *(1 + o for o in offset))] = offset in neighbors(connectivity, dimensions)
    labels, count = ndimage.label(members, element)
    owner = np.zeros(count + 1, int)
    owner[labels[members]] = np.nonzero(members)[0]
    found = np.unique(labels[members & wanted])
    return np.bincount(owner[found], minlength=len(members))


def is_simple(rings: np.ndarray) -> np.ndarray:
    """Bertrand & Malandain's definition for rings of shape (N, 8) or (N, 26)."""
    dimensions = 2 if rings.shape[1] == 8 else 3
    smallest, *_, largest = CONNECTIVITIES[dimensions]
    cubes = np.zeros((len(rings), 3**dimensions), bool)
    cubes[:, [k for k, offset in enumerate(block(dimensions)) if any(offset)]] = rings
    cubes = cubes.reshape(-1, *(3,) * dimensions)
    distance = np.array([sum(map(abs, o)) for o in block(dimensions)]).reshape(cubes.shape[1:])
    near = (distance > 0) & (distance <= 2)
    foreground = _components(cubes, np.ones_like(cubes), largest)
    background = _components(~cubes & near, np.broadcast_to(distance == 1, cubes.shape), smallest)
    return np.asarray((foreground == 1) & (background == 1))
