"""The voxel values of a region of a map: their dtypes, the check of their range, and the backend that filters them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np

from softmorph_cli.errors import InputError
from softmorph_cli.filters.arrays import check_kind
from softmorph_cli.io.blocks import Array, BoxReader
from softmorph_cli.kernels import bitplanes, source_cache
from softmorph_cli.kernels.backend import Backend
from softmorph_cli.kernels.numba_cpu import NumbaBackend, NumbaField
from softmorph_cli.kernels.thread_pool import Pool
from softmorph_cli.tiled.tile_boxes import Box


class RegionBackend(NumbaBackend):
    """A CPU backend for a region of a map, where random draws and subfields depend on the voxel's position in the map.

    Args:
        threads: Number of threads.
        region: The region of the map (a box) that the images cover.
        shape: The map's shape.
    """

    def __init__(self, threads: int, region: Box, shape: tuple[int, ...]) -> None:
        super().__init__(threads)
        self.region, self.shape = region, shape

    def field(self, image: Array) -> NumbaField:
        """Return a field (an image to which steps are applied) whose origin is the first voxel of the region."""
        return NumbaField(image, threads=self.threads, origin=tuple(part.start for part in self.region))

    def pack_samples(self, image: Array, draws: int, chunk: int, seed: int, index: int) -> Array:
        """Return Bernoulli draws of the voxels of a region as bit planes, equal to the draws for the whole map.

        The arguments are the probabilities, the number of draws for each voxel, the index of the word of up to 64
        draws that is returned, the seed, and the index of the image, which gives each image other random numbers.
        """
        planes = np.empty(image.shape, bitplanes.word_of(draws))
        text = bitplanes.SAMPLER.format(dtype=image.dtype.name, word=planes.dtype.name)
        draw = source_cache.load(f"sampler_{image.dtype.name}_{planes.dtype.name}", text).draw
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
                # The kernel numbers the voxels of a row from 0; the offset is added to the key, modulo 2^64.
                moved = key + (starts[row] << 20) * bitplanes.GOLDEN & (1 << 64) - 1
                draw(rows[row], out[row], np.uint64(moved), first_draw, np.uint64(bits), np.uint64(0), until)

        Pool(self.threads, image.size).share(part, len(rows))
        return planes


@dataclass(frozen=True)
class ValueTypes:
    """The dtypes of the voxel values of a map.

    Attributes:
        wide: The floating-point dtype that a filter computes in.
        own: The floating-point dtype of the result.
    """

    wide: np.dtype[Any]
    own: np.dtype[Any]

    @classmethod
    def of(cls, source: BoxReader) -> ValueTypes:
        """Return the dtypes for a map, according to the dtype of one voxel that is read.

        Raises:
            InputError: If the values are neither floating-point numbers nor Boolean.
        """
        probe = np.asarray(source.read((slice(0, 1),) * len(source.shape)))
        check_kind(probe)
        # As for a whole map, see filters.arrays.
        floating = probe.dtype.kind == "f"
        return cls(
            wide=np.dtype(np.float64 if floating and probe.dtype.itemsize > 4 else np.float32),
            own=probe.dtype if floating else np.dtype(np.float32),
        )

    def read(self, source: BoxReader, region: Box) -> Array:
        """Return the values of a region of `source` as a contiguous array of dtype `wide`."""
        return np.ascontiguousarray(source.read(region), self.wide)


def check_probabilities(backend: Backend, values: Any) -> None:
    """Raise an error if the values are no probabilities.

    Raises:
        InputError: If a value lies outside [0, 1].
    """
    if not backend.is_probability(values):
        low, high = backend.extremes(values)
        raise InputError(f"probabilities lie in [0, 1]; this image has values from {low:g} to {high:g}.")
