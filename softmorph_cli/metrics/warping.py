"""Warping: a mask is changed towards another mask without a change of topology; topological differences remain.

A voxel is simple if flipping it between foreground and background changes no component, loop or cavity, which its 8 or
26 neighbours determine (Bertrand & Malandain, A new characterization of three-dimensional simple points, 1994). A mask
is warped to another by flipping simple voxels in which the masks differ until no such voxel is left (Jain et al.,
Boundary learning by optimization with topological constraints, CVPR 2010).
"""

from __future__ import annotations

import itertools
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
Voxels = npt.NDArray[np.intp]


class Neighbourhood(NamedTuple):
    """The 8 or 26 neighbours of a voxel, each of which has a bit in integers that encode sets of neighbours.

    Attributes:
        offsets: Offset from the central voxel to each neighbour, shape (N, d); neighbour k has bit k.
        faces: Bits of the neighbours that share a face with the central voxel.
        wide: For each neighbour, bits of the neighbours that touch it.
        narrow: For each neighbour, bits of the neighbours that share a face with it.
        reach: Bits of the neighbours that a path through faces may use: all but the corners of a cube.
    """

    offsets: npt.NDArray[np.intp]
    faces: int
    wide: tuple[int, ...]
    narrow: tuple[int, ...]
    reach: int


@cache
def neighbourhood(dims: int) -> Neighbourhood:
    """Return the neighbourhood of a voxel in 2D or 3D (`dims`)."""
    places = np.array([p for p in itertools.product((-1, 0, 1), repeat=dims) if any(p)])
    apart = np.abs(places[:, None] - places[None])

    def bits(chosen: npt.NDArray[np.bool_]) -> int:
        return sum(1 << int(k) for k in np.flatnonzero(chosen))

    return Neighbourhood(
        offsets=places,
        faces=bits(np.abs(places).sum(axis=1) == 1),
        wide=tuple(bits(row == 1) for row in apart.max(axis=2)),
        narrow=tuple(bits(row == 1) for row in apart.sum(axis=2)),
        # All neighbours in 2D.
        reach=bits(np.abs(places).sum(axis=1) <= 2),
    )


def simple(codes: Codes, dims: int, connectivity: int) -> Mask:
    """Return for each voxel whether it is simple, that is, whether it can be flipped without a change of topology.

    Args:
        codes: Neighbourhoods of the voxels, shape (N,): bit k is set if neighbour k of `neighbourhood(dims)` is
            foreground.
        dims: Number of axes: 2 or 3.
        connectivity: Connectivity of the foreground: 4 or 8 in 2D, 6 or 26 in 3D.
    """
    # Foreground and background must each be connected in the neighbourhood, one of them through faces.
    around = neighbourhood(dims)
    codes, back = np.unique(codes, return_inverse=True)
    everything = np.int32((1 << len(around.offsets)) - 1)
    through_faces, touching = codes, codes ^ everything
    if connectivity == len(around.offsets):
        through_faces, touching = touching, codes
    one = (touching != 0) & (_flood(touching & -touching, touching, around.wide) == touching)
    nodes = through_faces & around.reach
    seeds = nodes & around.faces
    reached = _flood(seeds & -seeds, nodes, around.narrow)
    return np.asarray((one & (seeds != 0) & (seeds & ~reached == 0))[back])


def _flood(reached: Codes, nodes: Codes, adjacent: tuple[int, ...]) -> Codes:
    """Return the nodes that are connected to the nodes in `reached`; each set of nodes is the bits of an integer."""
    while True:
        further = reached.copy()
        for k, bits in enumerate(adjacent):
            # -1 has all bits set.
            further |= -((reached >> k) & 1) & np.int32(bits)
        further &= nodes
        if (further == reached).all():
            return reached
        reached = further


def warp(start: Mask, target: Mask, connectivity: int) -> Mask:
    """Return a mask with the topology of `start`, changed as far as possible towards `target`.

    Simple voxels are flipped in layers, beginning beside voxels where both masks agree, so that remaining differences
    are thin and central. Both masks have shape (Y, X) or (Z, Y, X); `connectivity` is the connectivity of the
    foreground: 4 or 8 in 2D, 6 or 26 in 3D.
    """
    around = neighbourhood(start.ndim)
    # Outside the image is background that is never changed.
    image, wanted = np.pad(start, 1).ravel(), np.pad(target, 1).ravel()
    shape = tuple(size + 2 for size in start.shape)
    steps = np.array(
        [np.ravel_multi_index(tuple(p), shape) for p in around.offsets + 1]
    ) - np.ravel_multi_index((1,) * start.ndim, shape)
    left = np.flatnonzero(image != wanted)
    fresh = np.ones(image.size, bool)
    while True:
        # A layer: voxels next to one that already has their target value.
        now = left[fresh[left]]
        fresh[now] = False
        layer = now[np.logical_or.reduce([image[now + step] == wanted[now] for step in steps])]
        # Voxels of one parity class are not adjacent: each can be flipped independently.
        parity = 2 ** np.arange(start.ndim) @ (np.stack(np.unravel_index(layer, shape)) % 2)
        flipped = [np.zeros(0, np.intp)]
        for turn in range(2**start.ndim):
            now = layer[parity == turn]
            codes = np.zeros(len(now), np.int32)
            for k, step in enumerate(steps):
                codes |= image[now + step].astype(np.int32) << k
            now = now[simple(codes, start.ndim, connectivity)]
            image[now] = wanted[now]
            flipped.append(now)
        done = np.concatenate(flipped)
        if len(done) == 0:
            inside = (slice(1, -1),) * start.ndim
            result: Mask = image.reshape(shape)[inside]
            return result
        for step in steps:
            fresh[done + step] = True
        left = left[image[left] != wanted[left]]
