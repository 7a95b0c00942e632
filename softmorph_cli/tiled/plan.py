"""`plan` chooses the tile shape for a map so that memory is enough, with estimates of memory, disk space and time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, prod
from typing import Final

import numpy as np

from softmorph_cli.errors import InputError
from softmorph_cli.filters.filter import SoftFilter
from softmorph_cli.filters.method import Scheme
from softmorph_cli.kernels.bitplanes import chunks as words_of
from softmorph_cli.kernels.bitplanes import word_of
from softmorph_cli.system import machine
from softmorph_cli.tiled.tile_boxes import Tiling
from softmorph_cli.tiled.tiled_filter import Part, TiledFilter, tiled_filter

# Memory of the process without a tile: Python, NumPy, and the compiler that loads the kernels.
BASE: Final = 190 << 20

# Additional memory of a Dask worker.
_DASK: Final = 60 << 20

# Arrays that are counted here as a share of all memory: the rest is padding, pages and small objects.
_SHARE: Final = 0.92

# Arrays below glibc's largest mmap threshold are in its heap and leave gaps there.
_HEAP: Final = 32 << 20

# Nanoseconds of one core for a voxel in one iteration (in planes and ranked values fewer voxels change with time), and
# for a voxel that is read, packed or unpacked. Estimated iterations of a first part and of one that follows.
_SWEEP_PLANES, _SWEEP_FLOATS, _SWEEP_RANKS, _MOVE = 14.0, 16.0, 20.0, 14.0
_GUESS, _GUESS_FOLLOWING = 30, 8
# Estimated compression ratios of bit planes, of numbers of levels and of other values, on the safe side.
_COMPRESSED, _COMPRESSED_NUMBERS, _COMPRESSED_VALUES = 0.15, 0.3, 0.85
# Bytes for a voxel of ranked values, beside two buffers: the step at which its neighbourhood last changed, the list of
# remaining voxels and that of changing ones.
_RANKS: Final = 12

_LONGEST_PASS: Final = 8
_SMALLEST: Final = 16


@dataclass(frozen=True)
class TilePlan:
    """A division of a map into tiles, with estimates of memory, disk space and time.

    Attributes:
        shape: The map's shape.
        tile: The shape of a tile.
        halo: The largest width of a tile's halo along each axis, on each side.
        tiles: Number of tiles.
        pass_length: Number of iterations in a pass; None if each tile is filtered in a single pass.
        peak_bytes: Estimated peak memory of the process, or of each process.
        scratch_bytes: Estimated disk space for the images that are stored between passes.
        seconds: Estimated run time; the actual time depends on the values of the map.
        workers: Number of processes, each of which filters one tile at a time.
        threads: Number of threads that filter a tile.
    """

    shape: tuple[int, ...]
    tile: tuple[int, ...]
    halo: tuple[int, ...]
    tiles: int
    pass_length: int | None
    peak_bytes: int
    scratch_bytes: int
    seconds: float
    workers: int = 1
    threads: int = 1

    def halo_of(self, part: Part) -> tuple[int, ...]:
        """Return the width of the halo of a tile along each axis, in a pass of `part`; 0 in a single-pass run."""
        return tuple((self.pass_length or 0) * reach for reach in part.reach())


# Shape of a tile, halo and length of a pass.
Cut = tuple[tuple[int, ...], tuple[int, ...], int | None]


def plan(
    chosen: SoftFilter,
    shape: tuple[int, ...],
    *,
    memory: int | None = None,
    chunks: tuple[int, ...] | None = None,
    itemsize: int = 4,
    workers: int = 1,
    like: Cut | None = None,
) -> TilePlan:
    """Return the fastest plan (tile shape, halo and pass length) that fits into memory, according to estimates.

    Args:
        chosen: The filter, with its number of threads.
        shape: The map's shape.
        memory: Bytes of memory that a process may use; None for three quarters of what the machine allows.
        chunks: The shape of the chunks in which the map is stored; None if the map is not stored in chunks.
        itemsize: Bytes of a probability.
        workers: Number of processes, each of which filters one tile at a time.
        like: The tile shape, halo and pass length of an interrupted run, which are chosen again if they fit into
            memory.

    Raises:
        InputError: If memory is too little for any tile.
        SoftmorphError: If the filter does not suit the map's shape, or cannot run on tiles.
    """
    work = tiled_filter(chosen, shape)
    allowed = memory or (machine.memory() or 4 << 30) * 3 // 4
    best: TilePlan | None = None
    least: int | None = None
    for halo, length in _ways(work):
        for tile in _tiles(work.shape, chunks or (1,) * len(work.shape)):
            found = _plan(work, tile, halo, length, itemsize, workers)
            if (found.tile, found.halo, found.pass_length) == like and found.peak_bytes <= allowed:
                return found
            least = found.peak_bytes if least is None else min(least, found.peak_bytes)
            if found.peak_bytes <= allowed and (best is None or found.seconds < best.seconds):
                best = found
    if best is None:
        assert least is not None
        raise InputError(
            f"{_words(allowed)} is too little memory for {work.name} of a map of {_times(work.shape)} voxels: "
            f"at least {_words(least)} are needed, such as --memory {ceil(least / 10**6)}MB."
        )
    return best


def _ways(work: TiledFilter) -> Iterator[tuple[tuple[int, ...], int | None]]:
    """Yield candidates for the halo along each axis and the number of iterations of a pass (None: a single pass)."""
    if work.halo is not None:
        yield work.halo, None
    if work.parts:
        longest = min(_LONGEST_PASS, work.iterations or work.filter.max_iterations)
        for length in range(1, longest + 1):
            yield tuple(length * reach for reach in work.reach), length


def _tiles(shape: tuple[int, ...], chunks: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield nearly cubic tile shapes from large to small, of whole chunks along axes where a chunk fits in a tile."""
    edge = max(shape)
    seen: set[tuple[int, ...]] = set()
    while edge >= _SMALLEST or not seen:
        tile = []
        for extent, chunk in zip(shape, chunks, strict=True):
            count = ceil(extent / min(edge, extent))
            even = ceil(extent / count)
            step = chunk if chunk <= edge else 8
            # Whole chunks, and no thin tile at the far border.
            tile.append(min(max(even // step, 1) * step if edge < extent else extent, extent))
        if tuple(tile) not in seen:
            seen.add(tuple(tile))
            yield tuple(tile)
        edge = min(edge - 1, int(edge / 1.08))


def _plan(
    work: TiledFilter,
    tile: tuple[int, ...],
    halo: tuple[int, ...],
    length: int | None,
    itemsize: int,
    workers: int,
) -> TilePlan:
    tiling = Tiling(work.shape, tile)
    whole = len(tiling) == 1 and length is not None
    if whole:
        # The only tile runs to the end in one pass.
        halo, length = (0,) * len(halo), work.iterations or work.filter.max_iterations
    threads = work.filter.threads or machine.threads()
    if length is None:
        held, spent = _single_pass(work, tiling, halo, itemsize, threads)
    else:
        parts = [_multi_pass(part, tiling, length, itemsize, threads) for part in work.parts]
        held, spent = max(most for most, _ in parts), sum(each for _, each in parts)
    # List scheduling of equal tasks: the bound on the time until the last one ends (R. L. Graham, Bell System Technical
    # Journal 45, 1966).
    spent *= 1 / workers + (1 - 1 / workers) / len(tiling)
    return TilePlan(
        shape=work.shape,
        tile=tile,
        halo=halo,
        tiles=len(tiling),
        pass_length=length,
        peak_bytes=int(BASE + (_DASK if workers > 1 else 0) + held / _SHARE + min(held / 2, _HEAP)),
        scratch_bytes=0 if length is None else int(prod(work.shape) * _kept(work, itemsize)),
        seconds=spent * 1e-9,
        workers=workers,
        threads=threads,
    )


def _region_sizes(tiling: Tiling, halo: tuple[int, ...]) -> tuple[int, int]:
    """Return the number of voxels of the largest region (a tile with its halo), and the total over all regions.

    Regions are products of intervals, so the sum is computed along each axis: a map may have a million tiles.
    """
    sizes = []
    for extent, tile, reach in zip(tiling.shape, tiling.tile, halo, strict=True):
        first = np.arange(0, extent, tile)
        last = np.minimum(first + tile, extent)
        sizes.append(np.minimum(last + reach, extent) - np.maximum(first - reach, 0))
    return prod(int(along.max()) for along in sizes), prod(int(along.sum()) for along in sizes)


def _single_pass(
    work: TiledFilter, tiling: Tiling, halo: tuple[int, ...], itemsize: int, threads: int
) -> tuple[float, float]:
    """Return the estimated bytes of memory and nanoseconds of a filter that runs in a single pass."""
    region, read = _region_sizes(tiling, halo)
    scheme, settings = work.method.scheme, work.settings
    planes = scheme in (Scheme.NESTED, Scheme.LEVELS, Scheme.SAMPLES)
    per_voxel = 4 if work.hard else settings.bytes_per_voxel(itemsize)
    if len(work.sequences) == 2:
        per_voxel += 2 * (word_of(settings.planes).itemsize if planes else itemsize)
    # The region, the next one (which is read meanwhile), the filter's buffers, and the result.
    held = region * (2 * itemsize + per_voxel) + 2 * prod(tiling.tile) * itemsize
    words = 1
    if scheme in (Scheme.LEVELS, Scheme.SAMPLES):
        words = len(words_of(settings.planes))
    elif scheme is Scheme.SMOOTH_LEVELS:
        words = settings.smooth_levels
    sweep = (
        _SWEEP_RANKS
        if any(part.ranked for part in work.parts)
        else _SWEEP_PLANES
        if planes
        else _SWEEP_FLOATS
    )
    return held, read * words * (sweep * (work.iterations or _GUESS) / threads + _MOVE)


def _multi_pass(part: Part, tiling: Tiling, length: int, itemsize: int, threads: int) -> tuple[float, float]:
    """Return the estimated bytes of memory and nanoseconds of a part that runs in passes of `length` iterations."""
    region, read = _region_sizes(tiling, tuple(length * reach for reach in part.reach()))
    core, voxel = prod(tiling.tile), part.dtype.itemsize if part.dtype else itemsize
    iterations = part.phase.iterations or (_GUESS_FOLLOWING if part.follows else _GUESS)
    sweep = _SWEEP_RANKS if part.ranked else _SWEEP_PLANES
    # Two alternating buffers, and about one byte a voxel for the lists of active runs.
    sweeping = region * (2 * voxel + (_RANKS if part.ranked else 1))
    if part.phase.prunes:
        sweeping += region * 2 * voxel
    if len(tiling) > 1:
        # A copy of the core, for comparison.
        sweeping += voxel * core
    # While the region is read and packed, there is no second buffer.
    held = max(sweeping, region * (itemsize + voxel), 3 * voxel * core // 2, core * (3 * itemsize + voxel))
    return held, read * (sweep * iterations / threads + _MOVE * ceil(iterations / length))


def _kept(work: TiledFilter, itemsize: int) -> float:
    """Return the estimated bytes per voxel on disk of the images that a pass reads and the images that it writes."""
    sizes = [_compressed(part, itemsize) for part in work.parts]
    if any(part.follows for part in work.parts):
        return 2 * max(sizes)
    return sum(sizes) + max(sizes)


def _compressed(part: Part, itemsize: int) -> float:
    if part.dtype is None:
        return itemsize * _COMPRESSED_VALUES
    return part.dtype.itemsize * (_COMPRESSED_NUMBERS if part.ranked else _COMPRESSED)


def _words(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
