"""A map's values on their way into the kernels, region by region."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, product
from math import prod
from typing import Any, Final, TypeVar, cast

import numpy as np

from softmorph_cli.errors import InputError
from softmorph_cli.filters.arrays import check_kind
from softmorph_cli.io.boxes import BoxReader
from softmorph_cli.io.raw import Array
from softmorph_cli.kernels import bitplanes, source
from softmorph_cli.kernels.backend import Backend
from softmorph_cli.kernels.numba_cpu import NumbaBackend, NumbaField
from softmorph_cli.kernels.thread_pool import Pool
from softmorph_cli.tiled.tiling import Box

_M_ARENA_MAX: Final = -8

Item = TypeVar("Item")
Value = TypeVar("Value")


class Window(NumbaBackend):
    """The CPU, for a region of a larger map: random draws and subfields are those of the voxel's place in the map.

    Args:
        threads: How many threads share the work.
        region: Where the images lie in the map.
        shape: The map's.
    """

    def __init__(self, threads: int, region: Box, shape: tuple[int, ...]) -> None:
        """Keep where the region lies."""
        super().__init__(threads)
        self.region, self.shape = region, shape

    def field(self, image: Array) -> NumbaField:
        """Begin a filter."""
        return NumbaField(image, threads=self.threads, origin=tuple(part.start for part in self.region))

    def pack_samples(self, image: Array, draws: int, chunk: int, seed: int, index: int) -> Array:
        """Return Bernoulli draws as planes, row by row: along a row the numbers of voxels follow each other."""
        planes = np.empty(image.shape, bitplanes.word_of(draws))
        text = bitplanes.SAMPLER.format(dtype=image.dtype.name, word=planes.dtype.name)
        draw = source.load(f"sampler_{image.dtype.name}_{planes.dtype.name}", text).draw
        key, bits = bitplanes.seed_key(seed, index), bitplanes.bits_in_chunk(draws, chunk)
        width = image.shape[-1]
        rows, out = np.ascontiguousarray(image).reshape(-1, width), planes.reshape(-1, width)
        strides = [prod(self.shape[axis + 1 :]) for axis in range(len(self.shape))]
        starts = [
            sum(
                place * stride
                for place, stride in zip((*places, self.region[-1].start), strides, strict=True)
            )
            for places in product(*(range(part.start, part.stop) for part in self.region[:-1]))
        ]
        first_draw, until = np.uint64(bitplanes.WORD * chunk), np.uint64(width)

        def part(first: int, last: int) -> None:
            for row in range(first, last):
                # The kernel counts voxels from 0: what is missing goes into the key, modulo 2^64.
                moved = key + (starts[row] << 20) * bitplanes.GOLDEN & (1 << 64) - 1
                draw(rows[row], out[row], np.uint64(moved), first_draw, np.uint64(bits), np.uint64(0), until)

        Pool(self.threads, image.size).share(part, len(rows))
        return planes


@dataclass(frozen=True)
class Kind:
    """Of what type a map's values are.

    Attributes:
        wide: What they are computed in.
        own: What the result is of.
    """

    wide: np.dtype[Any]
    own: np.dtype[Any]

    @classmethod
    def of(cls, source: BoxReader) -> Kind:
        """Look at one voxel of a map.

        Raises:
            InputError: If its values are no floating-point numbers.
        """
        probe = np.asarray(source.read((slice(0, 1),) * len(source.shape)))
        check_kind(probe)
        # As the whole map would be: see filters.arrays.
        floating = probe.dtype.kind == "f"
        return cls(
            wide=np.dtype(np.float64 if floating and probe.dtype.itemsize > 4 else np.float32),
            own=probe.dtype if floating else np.dtype(np.float32),
        )

    def read(self, source: BoxReader, region: Box) -> Array:
        """Return a region as it is computed in."""
        return np.ascontiguousarray(source.read(region), self.wide)


def check_proper(backend: Backend, values: Any) -> None:
    """Refuse values that are no probabilities.

    Raises:
        InputError: With the extremes found.
    """
    if not backend.is_probability(values):
        low, high = backend.extremes(values)
        raise InputError(f"probabilities lie in [0, 1]; this image has values from {low:g} to {high:g}.")


def give_back_memory() -> None:
    """Hand freed memory back to the system, where the C library (glibc) would keep it for later.

    Tiles are of many sizes: what one leaves in the heap, the next may not fit into.
    """
    if (trim := _of_the_heap("malloc_trim")) is not None:
        trim(0)


def share_one_heap() -> None:
    """Let the threads that this process starts from now on share one heap, where glibc gives each its own.

    What is free in one heap is of no use in another. Those of the threads that read a Zarr store held 80 MB for
    nothing, and more after every tile.
    """
    if (tune := _of_the_heap("mallopt")) is not None:
        tune(_M_ARENA_MAX, 1)


@cache
def _of_the_heap(name: str) -> Callable[..., object] | None:
    try:
        return cast("Callable[..., object]", getattr(ctypes.CDLL(None), name))
    except (OSError, AttributeError, TypeError):
        return None


def ahead(load: Callable[[Item], Value], items: Iterable[Item]) -> Iterator[tuple[Item, Value]]:
    """Yield items with what was loaded for them; the next is loaded by a thread meanwhile."""
    listed = list(items)
    with ThreadPoolExecutor(1, thread_name_prefix="softmorph-ahead") as thread:
        waiting = thread.submit(load, listed[0]) if listed else None
        for item, following in pairwise((*listed, None)):
            assert waiting is not None
            assert item is not None
            value = waiting.result()
            waiting = None if following is None else thread.submit(load, following)
            yield item, value
            del value
