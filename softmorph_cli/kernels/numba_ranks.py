"""Runs ranked steps (on values by their order) on the CPU: the exact nested skeleton, voxel by voxel.

A voxel is lowered to the highest value, among the voxel's own and the neighbours' lower values, at which the rule
does not delete the voxel if the neighbours of at least that value are taken as foreground. Between two neighbours'
values the configuration does not change, so the rule is applied to every level set, with the restriction that each
level set stays within the next lower one.

Values are compared as integers: non-negative floats have the same order as their bits, subnormal floats included.
Only voxels above 0 are listed, and a listed voxel is visited only if something in its neighbourhood has changed since
the same step was last applied. Changes are collected first and applied afterwards, so one buffer suffices and threads
do not interfere.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np

from softmorph_cli.compiler.compile import Step
from softmorph_cli.compiler.deletions import DeletionTable, table_of
from softmorph_cli.kernels import source_cache
from softmorph_cli.kernels.buffers import Array, BufferLayout
from softmorph_cli.kernels.thread_pool import Pool
from softmorph_cli.rules.neighborhood import Offset, block

# Listed voxels that a thread processes at a time.
_BLOCK: Final = 1 << 12

# Voxels for which 8-byte indices are in memory at once while the lists are made.
_AT_ONCE: Final = 1 << 18


class Ranks:
    """Ranked steps on an image; implements `backend.TracedField` except for `begin`.

    Args:
        image: An array (Y, X) or (Z, Y, X), float32 or float64, at least 0; not modified.
        steps: The steps of an iteration of a rule that only deletes.
        pool: The threads.
        origin: The index, in the whole map, of the image's first voxel; None if the image is the whole map.
        carry: Whether the raster index of the voxel from which each value comes is recorded.
        origins: The initial raster indices; None if each value comes from its own voxel.
        floor: The value below which each voxel is not lowered, as in `backend.Field.begin`; None for no limit.
    """

    def __init__(
        self,
        image: Array,
        steps: tuple[Step, ...],
        pool: Pool,
        origin: tuple[int, ...] | None = None,
        *,
        carry: bool = False,
        origins: Array | None = None,
        floor: Array | None = None,
    ) -> None:
        self._pool, self._dtype = pool, image.dtype
        self._layout = BufferLayout(image.shape, 1, origin)
        bits = np.dtype(f"int{8 * image.dtype.itemsize}")
        self._keys = np.zeros(self._layout.length, bits)
        if steps[0].outside:
            self._keys[:] = np.iinfo(bits).max
        inside = self._layout.image(self._keys)[self._layout.inside]
        image = np.ascontiguousarray(image)
        # The bits of -0.0 are those of a negative integer.
        pool.share(
            lambda first, last: np.maximum(image[first:last].view(bits), 0, out=inside[first:last]),
            len(image),
        )
        # The number of the sweep in which each voxel's neighbourhood last changed.
        self._touched = np.zeros(self._layout.length, np.int32)
        self._floor = np.zeros(0 if floor is None else self._layout.length, bits)
        if floor is not None:
            self._layout.image(self._floor)[self._layout.inside] = np.ascontiguousarray(floor).view(bits)
        self._around = self._places(block(len(image.shape)))
        self._ready = [(step, *self._prepared(step)) for step in steps]
        listed = self._listed()
        self._lists: dict[Offset | None, Array] = {
            field: self._in_subfield(field, listed)
            for field in dict.fromkeys(step.subfield for step in steps)
        }
        room = max(one.size for one in self._lists.values()) + pool.threads * _BLOCK
        self._where, self._values = np.empty(room, listed.dtype), np.empty(room, bits)
        self._origins = np.empty(0, np.int64)
        self._new_origins = np.empty(room if carry else 0, np.int64)
        if carry:
            self._origins = np.full(self._layout.length, -1, np.int64)
            start = np.arange(image.size).reshape(image.shape) if origins is None else origins
            self._layout.image(self._origins)[self._layout.inside] = start
        self._depth, self._done = len(steps), 0
        self.changed = 0

    def _places(self, offsets: tuple[Offset, ...]) -> Array:
        strides = self._layout.strides
        return np.array([sum(o * s for o, s in zip(one, strides, strict=True)) for one in offsets], np.int64)

    def _prepared(self, step: Step) -> tuple[Array, DeletionTable]:
        table = table_of(step)
        return self._places(tuple(step.offsets[k] for k in table.neighbours)), table

    def _listed(self) -> Array:
        """Return the positions in the buffer of all voxels above 0, in ascending order."""
        padded = self._layout.image(self._keys)
        layer = self._layout.strides[0]
        kind = np.uint32 if self._layout.length < 1 << 32 else np.int64
        depth = max(1, _AT_ONCE // layer)

        def part(first: int, last: int) -> list[Array]:
            return [slab(start, min(start + depth, last)) for start in range(first, last, depth)]

        def slab(first: int, last: int) -> Array:
            planes = np.zeros(padded[first + 1 : last + 1].shape, bool)
            inner = (slice(None), *self._layout.inside[1:])
            planes[inner] = padded[first + 1 : last + 1][inner] > 0
            return (np.flatnonzero(planes) + (first + 1) * layer).astype(kind)

        parts = self._pool.share(part, self._layout.shape[0])
        return np.concatenate([places for part in parts for places in part])

    def _in_subfield(self, subfield: Offset | None, listed: Array) -> Array:
        if subfield is None:
            return listed
        parities, found = self._layout.parity(subfield), []
        for places in np.array_split(listed, listed.size // _AT_ONCE + 1):
            chosen = np.ones(places.size, bool)
            for index, parity in zip(np.unravel_index(places, self._layout.padded), parities, strict=True):
                chosen &= (index - 1) & 1 == parity
            found.append(places[chosen])
        return np.concatenate(found)

    def sweep(self, step: Step) -> None:
        """Apply a step (compiled sub-iteration) to all voxels at once."""
        offsets, table = next((places, found) for ready, places, found in self._ready if ready is step)
        if self._done % self._depth == 0:
            self._lists = {name: one[self._keys[one] > 0] for name, one in self._lists.items()}
        self._done += 1
        index = self._lists[step.subfield]
        # A single thread is faster for few voxels.
        pool = self._pool if index.size > _BLOCK else Pool(1, 0)
        threads = pool.threads
        kernels = _kernels(len(offsets), self._keys.dtype, index.dtype)
        room = -(-index.size // (threads * _BLOCK)) * _BLOCK
        since, now = np.int32(self._done - self._depth), np.int32(self._done)

        def visit(one: int, _: int) -> tuple[int, int]:
            start = one * room
            outputs = (part[start:] for part in (self._where, self._values, self._new_origins))
            where, values, sources = outputs
            found = kernels.sweep(
                *(self._keys, index, one, threads, offsets, table.bits, table.border, self._touched, since),
                *(where, values, self._origins, sources, self._floor),
            )
            return start, start + found

        found = pool.share(visit, threads)

        def apply(one: int, _: int) -> None:
            part = slice(*found[one])
            kernels.apply(
                *(self._keys, self._where[part], self._values[part], self._touched, self._around, now),
                *(self._origins, self._new_origins[part]),
            )

        pool.share(apply, threads)
        self.changed = sum(end - start for start, end in found)

    def image(self) -> Array:
        """Return a view of the current image."""
        return self._layout.image(self._keys)[self._layout.inside].view(self._dtype)

    def origins(self) -> Array:
        """Return the raster index of the voxel from which each value comes; -1 where the value is 0."""
        found: Array = np.where(self.image() > 0, self._layout.image(self._origins)[self._layout.inside], -1)
        return found

    def close(self) -> None:
        """Do nothing: there are no buffers to release."""


@cache
def _kernels(count: int, key: np.dtype[Any], place: np.dtype[Any]) -> Any:
    lanes = -(-count // 8) * 8
    text = _TEXT.format(count=count, lanes=lanes, block=_BLOCK, key=key.name, place=place.name)
    return source_cache.load(f"ranks_{count}_{key.name}_{place.name}", text)


# The loops over lanes have a fixed length and no branches, so that they compile to a few vector operations.
_TEXT: Final = '''\
"""Generated by softmorph: steps on values by their order, {count} neighbours."""

from numba import njit, types
import numpy as np

BITS = np.array([1 << j if j < {count} else 0 for j in range({lanes})], np.uint32)

@njit(
    types.int64(
        types.{key}[::1], types.{place}[::1], types.int64, types.int64, types.int64[::1],
        types.Array(types.uint8, 1, "C", readonly=True), types.int64, types.int32[::1], types.int32,
        types.{place}[::1], types.{key}[::1], types.int64[::1], types.int64[::1], types.{key}[::1],
    ), nogil=True, cache=True,
)
def sweep(
    keys, index, thread, threads, offsets, table, border, near, since, where, values, origins, sources, floor
):
    v = np.full({lanes}, -1, keys.dtype)
    nothing = keys.dtype.type(0)
    found = 0
    for start in range(thread * {block}, index.size, threads * {block}):
        for q in range(start, min(start + {block}, index.size)):
            i = np.int64(index[q])
            own = keys[i]
            if near[i] < since or own <= 0:
                continue
            if border >= 0 and keys[i + offsets[border]] >= own:
                continue
            for j in range({count}):
                v[j] = keys[i + offsets[j]]
            c, kept = own, own
            lowest = floor[i] if floor.size else nothing
            while c > 0 and c >= lowest:
                config = np.uint32(0)
                below = nothing
                for j in range({lanes}):
                    config |= BITS[j] if v[j] >= c else np.uint32(0)
                    below = max(below, v[j] if v[j] < c else nothing)
                if (table[config >> np.uint32(3)] >> (config & np.uint32(7))) & 1:
                    kept = below if below >= lowest else c
                elif floor.size == 0:
                    break
                c = below
            c = kept
            if c != own:
                where[found] = index[q]
                values[found] = c
                if origins.size:
                    # Of several voxels with this value the first.
                    least = np.int64(-1)
                    for j in range({count}):
                        if v[j] == c and c > 0:
                            other = origins[i + offsets[j]]
                            least = other if least < 0 or other < least else least
                    sources[found] = least
                found += 1
    return found

@njit(
    "void({key}[::1], {place}[::1], {key}[::1], int32[::1], int64[::1], int32, int64[::1], int64[::1])",
    nogil=True, cache=True,
)
def apply(keys, where, values, near, around, now, origins, sources):
    for q in range(where.size):
        i = np.int64(where[q])
        keys[i] = values[q]
        if origins.size:
            origins[i] = sources[q]
        for place in around:
            near[i + place] = now
'''
