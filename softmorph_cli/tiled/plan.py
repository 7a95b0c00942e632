"""How a map is cut so that memory is enough, and what that will take: decided before anything is read."""

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
from softmorph_cli.tiled.prepared import Part, Task, task
from softmorph_cli.tiled.tiling import Tiling

# What the process holds beside the tile: Python, NumPy, and the compiler that loads the kernels.
BASE: Final = 190 << 20

# And what Dask takes in a worker's process.
_DASK: Final = 60 << 20

# What is counted here is this share of what is really held: padding, pages, and what is small.
_SHARE: Final = 0.92

# Arrays below glibc's largest threshold lie in its heap and leave gaps there.
_HEAP: Final = 32 << 20

# Nanoseconds on one core: of a voxel in one iteration (planes and what is listed by rank thin out, probabilities do
# not), of a voxel that is read, packed or unpacked; and the iterations that a map of unknown content takes, and
# those of what follows, at a guess.
_SWEEP_PLANES, _SWEEP_FLOATS, _SWEEP_RANKS, _MOVE = 14.0, 16.0, 20.0, 14.0
_GUESS, _GUESS_FOLLOWING = 30, 8
# What is left after compression of bit planes, of numbers of levels and of other values, at a guess on the safe side.
_COMPRESSED, _COMPRESSED_NUMBERS, _COMPRESSED_VALUES = 0.15, 0.3, 0.85
# Of ranked steps, bytes of a voxel beside its own value, a copy of it and its new one: when its neighbours changed,
# the list of voxels that are left, and of those that change.
_RANKS: Final = 12

_LONGEST_PASS: Final = 8
_SMALLEST: Final = 16


@dataclass(frozen=True)
class Plan:
    """How a map will be filtered.

    Attributes:
        shape: The map's.
        tile: Voxels of a tile along each axis.
        halo: What is read around a tile on each side, along each axis, at most.
        tiles: How many tiles.
        pass_length: Iterations of a pass; None where every tile is done at once.
        peak_bytes: Memory of the whole process, or of each, at most, estimated.
        scratch_bytes: Disk for what lies between passes, at a guess.
        seconds: At a guess; it depends on the map.
        workers: How many tiles are worked on at once, by a process each.
        threads: How many threads work on a tile.
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
        """Return what a pass of a part reads around a tile."""
        return tuple((self.pass_length or 0) * reach for reach in part.reach())


# Tiles, halo and length of a pass.
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
) -> Plan:
    """Decide how to cut a map.

    Args:
        chosen: The filter; it says how many threads there are.
        shape: The map's.
        memory: Bytes that a process may take; None for most of what the machine allows.
        chunks: What is stored together.
        itemsize: Bytes of a probability.
        workers: How many processes work on tiles of their own.
        like: How an earlier run of the same cut it: taken again where memory is enough for it.

    Raises:
        InputError: If no tile is small enough.
        SoftmorphError: As `work.task`.
    """
    return cut(task(chosen, shape), memory, chunks, itemsize, workers, like)


def cut(
    work: Task,
    memory: int | None,
    chunks: tuple[int, ...] | None,
    itemsize: int,
    workers: int = 1,
    like: Cut | None = None,
) -> Plan:
    """Decide how to cut a map for a filter that is ready. See `plan`."""
    allowed = memory or (machine.memory() or 4 << 30) * 3 // 4
    best: Plan | None = None
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


def _ways(work: Task) -> Iterator[tuple[tuple[int, ...], int | None]]:
    """Yield halos and lengths of a pass to choose from."""
    if work.halo is not None:
        yield work.halo, None
    if work.parts:
        longest = min(_LONGEST_PASS, work.iterations or work.filter.max_iterations)
        for length in range(1, longest + 1):
            yield tuple(length * reach for reach in work.reach), length


def _tiles(shape: tuple[int, ...], chunks: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield tiles from large to small: of nearly equal sides, whole chunks where those are no longer."""
    edge = max(shape)
    seen: set[tuple[int, ...]] = set()
    while edge >= _SMALLEST or not seen:
        tile = []
        for extent, chunk in zip(shape, chunks, strict=True):
            count = ceil(extent / min(edge, extent))
            even = ceil(extent / count)
            step = chunk if chunk <= edge else 8
            # Whole chunks; and no tile at the far border that is a mere sliver.
            tile.append(min(max(even // step, 1) * step if edge < extent else extent, extent))
        if tuple(tile) not in seen:
            seen.add(tuple(tile))
            yield tuple(tile)
        edge = min(edge - 1, int(edge / 1.08))


def _plan(
    work: Task,
    tile: tuple[int, ...],
    halo: tuple[int, ...],
    length: int | None,
    itemsize: int,
    workers: int,
) -> Plan:
    tiling = Tiling(work.shape, tile)
    whole = len(tiling) == 1 and length is not None
    if whole:
        # Nothing to wait for: the one tile runs until it is done.
        halo, length = (0,) * len(halo), work.iterations or work.filter.max_iterations
    threads = work.filter.threads or machine.threads()
    if length is None:
        held, spent = _at_once(work, tiling, halo, itemsize, threads)
    else:
        parts = [_in_passes(part, tiling, length, itemsize, threads) for part in work.parts]
        held, spent = max(most for most, _ in parts), sum(each for _, each in parts)
    # Of equal pieces, none begun before a worker is free, what the last of them makes the others wait at most
    # (R. L. Graham, Bell System Technical Journal 45, 1966).
    spent *= 1 / workers + (1 - 1 / workers) / len(tiling)
    return Plan(
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


def _looked_at(tiling: Tiling, halo: tuple[int, ...]) -> tuple[int, int]:
    """Return how many voxels the largest region has, and all of them together.

    Along each axis by itself: a map may have a million tiles.
    """
    sizes = []
    for extent, tile, reach in zip(tiling.shape, tiling.tile, halo, strict=True):
        first = np.arange(0, extent, tile)
        last = np.minimum(first + tile, extent)
        sizes.append(np.minimum(last + reach, extent) - np.maximum(first - reach, 0))
    return prod(int(along.max()) for along in sizes), prod(int(along.sum()) for along in sizes)


def _at_once(
    work: Task, tiling: Tiling, halo: tuple[int, ...], itemsize: int, threads: int
) -> tuple[float, float]:
    """Return the bytes that are held where every tile is done at once, and the nanoseconds."""
    region, read = _looked_at(tiling, halo)
    scheme, settings = work.method.scheme, work.settings
    planes = scheme in (Scheme.NESTED, Scheme.LEVELS, Scheme.SAMPLES)
    per_voxel = 4 if work.hard else settings.bytes_per_voxel(itemsize)
    if len(work.sequences) == 2:
        per_voxel += 2 * (word_of(settings.planes).itemsize if planes else itemsize)
    # The map's region, the next one (it is read meanwhile), what the filter holds, and what is written.
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


def _in_passes(part: Part, tiling: Tiling, length: int, itemsize: int, threads: int) -> tuple[float, float]:
    """Return the bytes that are held in passes of so many iterations, and the nanoseconds of all of them."""
    region, read = _looked_at(tiling, tuple(length * reach for reach in part.reach()))
    core, voxel = prod(tiling.tile), part.dtype.itemsize if part.dtype else itemsize
    iterations = part.phase.iterations or (_GUESS_FOLLOWING if part.follows else _GUESS)
    sweep = _SWEEP_RANKS if part.ranked else _SWEEP_PLANES
    # Two buffers take turns, and every run has a few numbers of its own, about one byte a voxel.
    sweeping = region * (2 * voxel + (_RANKS if part.ranked else 1))
    if part.phase.prunes:
        sweeping += region * 2 * voxel
    if len(tiling) > 1:
        # The core is kept for comparison.
        sweeping += voxel * core
    # The map's region and what is made of it come before the second buffer.
    held = max(sweeping, region * (itemsize + voxel), 3 * voxel * core // 2, core * (3 * itemsize + voxel))
    return held, read * (sweep * iterations / threads + _MOVE * ceil(iterations / length))


def _kept(work: Task, itemsize: int) -> float:
    """Return the bytes of a voxel between passes, at a guess: what a pass reads and what it writes."""
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
