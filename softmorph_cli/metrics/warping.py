"""Changing one mask towards another without changing its topology: what is left over is where they differ in it.

A voxel is simple where flipping it changes no component, loop or cavity; whether it is, its 8 or 26 neighbours tell
(Bertrand & Malandain, A new characterization of three-dimensional simple points, 1994). A mask is warped to another by
flipping simple voxels in which they differ until none is left (Jain et al., Boundary learning by optimization with
topological constraints, CVPR 2010).
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
    """The 8 or 26 neighbours of a voxel, one bit each.

    Attributes:
        offsets: Shape (N, d), each neighbour's place.
        faces: The bits of those that share a face with the voxel in the middle.
        wide: For each neighbour the bits of those neighbours that touch it.
        narrow: The same of those that share a face with it.
        reach: The bits of those that a path through faces may go through: all but the corners of a cube.
    """

    offsets: npt.NDArray[np.intp]
    faces: int
    wide: tuple[int, ...]
    narrow: tuple[int, ...]
    reach: int


@cache
def neighbourhood(dims: int) -> Neighbourhood:
    """Return the neighbourhood of 2 or 3 axes."""
    places = np.array([p for p in itertools.product((-1, 0, 1), repeat=dims) if any(p)])
    apart = np.abs(places[:, None] - places[None])
    # A path through faces stays within two faces of the middle: in an image all neighbours, of a cube not its corners.
    near = np.abs(places).sum(axis=1) <= 2

    def bits(chosen: npt.NDArray[np.bool_]) -> int:
        return sum(1 << int(k) for k in np.flatnonzero(chosen))

    return Neighbourhood(
        offsets=places,
        faces=bits(np.abs(places).sum(axis=1) == 1),
        wide=tuple(bits(row == 1) for row in apart.max(axis=2)),
        narrow=tuple(bits(row == 1) for row in apart.sum(axis=2)),
        reach=bits(near),
    )


def simple(codes: Codes, dims: int, connectivity: int) -> Mask:
    """Say of each voxel whether it is simple, from which of its neighbours are foreground.

    Args:
        codes: Bit k is set where neighbour k of `neighbourhood(dims)` is foreground, shape (N,).
        dims: 2 or 3.
        connectivity: Of the foreground: 4 or 8, 6 or 26; the background has the other one.
    """
    # The foreground's neighbours must hang together, and the background's: one touching, the other through faces.
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
    found: Mask = (one & (seeds != 0) & (seeds & ~reached == 0))[back]
    return found


def _flood(reached: Codes, nodes: Codes, adjacent: tuple[int, ...]) -> Codes:
    """Return the nodes that can be reached from some of them."""
    while True:
        further = reached.copy()
        for k, bits in enumerate(adjacent):
            # All bits of minus one are set.
            further |= -((reached >> k) & 1) & np.int32(bits)
        further &= nodes
        if (further == reached).all():
            return reached
        reached = further


def warp(start: Mask, target: Mask, connectivity: int) -> Mask:
    """Return a mask of the topology of the first that is as much of the second as can be reached by simple flips.

    The change goes on in layers from where both agree, so that what cannot be changed is thin and in the middle.

    Args:
        start: Shape (Y, X) or (Z, Y, X).
        target: The same.
        connectivity: Of the foreground: 4 or 8, 6 or 26.
    """
    around = neighbourhood(start.ndim)
    # Outside is background, and nothing is ever changed there.
    image, wanted = np.pad(start, 1).ravel(), np.pad(target, 1).ravel()
    shape = tuple(size + 2 for size in start.shape)
    steps = np.array(
        [np.ravel_multi_index(tuple(p), shape) for p in around.offsets + 1]
    ) - np.ravel_multi_index((1,) * start.ndim, shape)
    left = np.flatnonzero(image != wanted)
    fresh = np.ones(image.size, bool)
    while True:
        # A layer: those that are next to where the mask has their wanted value already.
        now = left[fresh[left]]
        fresh[now] = False
        layer = now[np.logical_or.reduce([image[now + step] == wanted[now] for step in steps])]
        # No two voxels of one class are neighbours: each can be flipped whatever the others do.
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
