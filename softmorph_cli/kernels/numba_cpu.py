"""Programs on the CPU: generated straight-line source, compiled by Numba, vectorised, multi-threaded.

Three ways through an image:

- `_Runs`, for any program. The image lies in a flat buffer with one voxel of padding, so that a neighbour is
  a linear offset; two such buffers take turns. Work goes in runs of voxels along the last axis. A run is left
  alone, exactly, if it is settled (nothing in it or in its neighbouring runs has changed since the same step
  was last applied), and for ever if every voxel of it has a value that the steps never change. The runs that
  remain are listed for each sweep and dealt to the threads in equal numbers.
- `folds.Folds`, for erosion and dilation: rows of plain arrays, several iterations for each pass over memory.
- `Ranks`, for steps on values by their order alone: the voxels above 0 one by one, by table.

Generated in `numba_text` and `numba_folds`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import prod
from typing import Any

import numpy as np

from softmorph_cli.compiler import Step
from softmorph_cli.compiler.needs import needs
from softmorph_cli.compiler.program import Program
from softmorph_cli.kernels import bitplanes, numba_text, source
from softmorph_cli.kernels.buffers import SCRATCH, Array, BufferLayout
from softmorph_cli.kernels.folds import Folds
from softmorph_cli.kernels.level_sets import LevelSets, round_down
from softmorph_cli.kernels.numba_ranks import Ranks
from softmorph_cli.kernels.thread_pool import Pool


@cache
def _sweep_kernel(
    program: Program, dtype: np.dtype[Any], needs: Any, centre: int | None, subfield: bool
) -> Callable[..., int]:
    text = numba_text.sweep_text(program, dtype, needs, centre, subfield=subfield)
    return source.load(f"sweep_{program.fingerprint}_{dtype.name}", text).sweep  # type: ignore[no-any-return]


@cache
def _select_kernel() -> Callable[..., tuple[int, int]]:
    return source.load("select", numba_text.SELECT).select  # type: ignore[no-any-return]


@cache
def _enter_kernel(dtype: np.dtype[Any], tiny: float) -> Callable[..., None]:
    text = numba_text.ENTER.format(dtype=dtype.name, tiny=repr(tiny))
    return source.load(f"enter_{dtype.name}", text).enter  # type: ignore[no-any-return]


@cache
def _improper_kernel(dtype: np.dtype[Any]) -> Callable[..., int]:
    text = numba_text.IMPROPER.format(dtype=dtype.name)
    return source.load(f"improper_{dtype.name}", text).improper  # type: ignore[no-any-return]


class Sweeps:
    """The kernels of some steps that are swept in turn, and the buffers they work on.

    Args:
        grid: Where the voxels lie.
        dtype: Their type.
        steps: The steps of one iteration.
    """

    def __init__(self, grid: BufferLayout, dtype: np.dtype[Any], steps: tuple[Step, ...]) -> None:
        """Find or compile the kernels."""
        self.grid, self.dtype, self.steps = grid, dtype, steps
        # Hashing a program takes longer than a sweep over a small image: kernels are found once.
        self._ready = [(step, self._kernel(step), grid.offsets(step), grid.sizes_for(step)) for step in steps]
        self.near = np.zeros(prod(grid.runs), np.int32)
        self.dead = np.zeros(prod(grid.runs), np.uint8)
        self.numbers = grid.numbers()
        self.changed = 0

    def _kernel(self, step: Step) -> Callable[..., int]:
        subfield = step.subfield is not None
        return _sweep_kernel(step.program, self.dtype, self.needs(step), step.centre, subfield)

    def needs(self, step: Step) -> tuple[tuple[int, int], ...]:
        """Return what a voxel's change needs, as far as the kernels look at it."""
        return needs(step, bits=self.dtype.kind == "u")[:2]

    def surround(self, flat: Array, pool: Pool, image: Array | None = None) -> None:
        """Put the steps' value outside into the padding of a buffer, and an image within.

        By several threads: the first to touch new memory waits until the system has cleared it.
        """
        value = self.steps[0].outside * (1 if self.dtype.kind == "f" else np.iinfo(self.dtype).max)
        padded = self.grid.image(flat)
        enter = None if image is None else self._enter(np.ascontiguousarray(image), flat)

        def part(first: int, last: int) -> None:
            planes = padded[first + 1 : last + 1]
            for axis in range(1, planes.ndim):
                face = np.moveaxis(planes, axis, 0)
                face[0] = face[-1] = value
            if enter is not None:
                enter(first, last)

        pool.share(part, self.grid.shape[0])
        padded[0] = padded[-1] = value
        flat[self.grid.size :] = 0

    def _enter(self, image: Array, flat: Array) -> Callable[[int, int], None]:
        if self.dtype.kind == "u":
            target = self.grid.image(flat)[self.grid.inside]
            return lambda first, last: np.copyto(target[first:last], image[first:last])
        compared = all(step.program.is_increasing for step in self.steps)
        kernel = _enter_kernel(self.dtype, 0.0 if compared else float(np.finfo(self.dtype).tiny))
        source, sizes = image.reshape(-1), self.grid.row_sizes
        # In 3D a plane has many rows; in 2D the first axis counts rows.
        height = self.grid.rows // self.grid.shape[0]
        return lambda first, last: kernel(
            source, flat, sizes, np.uint64(first * height), np.uint64(last * height)
        )

    def leave(self, flat: Array, pool: Pool) -> Array:
        """Return a copy of the image in a buffer."""
        image = self.grid.image(flat)[self.grid.inside]
        result = np.empty(image.shape, image.dtype)
        pool.share(lambda first, last: np.copyto(result[first:last], image[first:last]), len(image))
        return result

    def some(
        self, step: Step, source: Array, target: Array, runs: Array, count: int, now: int, pool: Pool
    ) -> None:
        """Apply a step to the first `count` of some runs; `changed` then says how many voxels did."""
        kernel, offsets, sizes = next((k, o, s) for ready, k, o, s in self._ready if ready is step)
        near, dead, clock = self.near, self.dead, np.int32(now)

        def part(first: int, last: int) -> int:
            bounds = np.uint64(first), np.uint64(last)
            return kernel(source, target, offsets, sizes, runs, *bounds, near, dead, clock)

        self.changed = sum(pool.share(part, count))

    def everywhere(self, step: Step, source: Array, target: Array, pool: Pool) -> None:
        """Apply a step to all runs."""
        self.some(step, source, target, self.numbers, len(self.numbers), 0, pool)


class _Runs:
    """Any program, run by run, where something may change."""

    def __init__(
        self, image: Array, steps: tuple[Step, ...], pool: Pool, origin: tuple[int, ...] | None
    ) -> None:
        self._pool = pool
        self.grid = BufferLayout(image.shape, numba_text.run_length(image.dtype), origin)
        self._sweeps = Sweeps(self.grid, image.dtype, steps)
        # Planes are large and short-lived beside the map they came from: they would only fill memory.
        self._recycled = image.dtype.kind == "f"
        self._current = self._buffer()
        self._sweeps.surround(self._current, pool, image)
        self._next: Array | None = None
        self._live = self._sweeps.numbers
        self._active = np.empty_like(self._live)
        # A run that one step leaves alone for ever is dead only if the others do so, too.
        own = {self._sweeps.needs(step)[:1] for step in steps}
        self._drop = len(own) == 1 and len({step.program for step in steps}) == 1
        self._depth = len(steps)
        self._done = 0

    def _buffer(self) -> Array:
        length, dtype = self.grid.length, self._sweeps.dtype
        return SCRATCH.take(length, dtype) if self._recycled else np.empty(length, dtype)

    @property
    def changed(self) -> int:
        return self._sweeps.changed

    def sweep(self, step: Step) -> None:
        sweeps = self._sweeps
        if self._next is None:
            # Not before it is needed: the image that was entered is gone by now. The first sweep writes every
            # run, so only the padding has to be right before it.
            self._next = self._buffer()
            sweeps.surround(self._next, self._pool)
        self._done += 1
        if not self._drop:
            sweeps.dead.fill(0)
        since = np.int32(self._done - self._depth)
        live, count = _select_kernel()(self._live, sweeps.near, sweeps.dead, since, self._active)
        self._live = self._live[:live]
        sweeps.some(step, self._current, self._next, self._active, count, self._done, self._pool)
        self._current, self._next = self._next, self._current

    def image(self) -> Array:
        # A buffer that another filter may get is not shown; a large one is not copied.
        if self._recycled and SCRATCH.keeps(self._current):
            return self._sweeps.leave(self._current, self._pool)
        return self.grid.image(self._current)[self.grid.inside]

    def close(self) -> None:
        for buffer in (self._current, self._next):
            if self._recycled and buffer is not None:
                SCRATCH.give(buffer)


class NumbaField:
    """One image on its way through the sweeps of a filter.

    Args:
        image: (Y, X) or (Z, Y, X); float32 or float64 probabilities, or unsigned integers holding one binary
            image in each bit. It is never written to.
        threads: How many threads share a sweep.
        origin: The index of the image's first voxel in the whole map, of which it is a part.
        carry: Whether ranked steps keep for each value the voxel that it comes from.
    """

    def __init__(
        self, image: Array, *, threads: int, origin: tuple[int, ...] | None = None, carry: bool = False
    ) -> None:
        """Start from an image."""
        self._image: Array | None = image
        self._pool = Pool(threads, image.size)
        self._origin, self._carry = origin, carry
        self._way: _Runs | Folds | Ranks | None = None

    @property
    def changed(self) -> int:
        """How many voxels the last sweep altered."""
        return 0 if self._way is None else self._way.changed

    def begin(self, steps: tuple[Step, ...], floor: Array | None = None) -> None:
        """Say which steps will now be swept in turn, so that settled runs can be told."""
        folds = all(step.fold is not None for step in steps)
        if folds and isinstance(self._way, Folds):
            return
        image, origins = self.image(), self.origins() if self._carry else None
        self.close()
        self._image = None
        if steps[0].ranked:
            self._way = Ranks(
                image, steps, self._pool, self._origin, carry=self._carry, origins=origins, floor=floor
            )
        elif folds:
            self._way = Folds(image, self._pool)
        else:
            self._way = _Runs(image, steps, self._pool, self._origin)

    def sweep(self, step: Step) -> None:
        """Apply one sub-iteration to all voxels at once; `changed` then counts the voxels it altered."""
        assert self._way is not None
        self._way.sweep(step)

    def image(self) -> Array:
        """Return the image as it is now (valid until the next sweep)."""
        image = self._image if self._way is None else self._way.image()
        assert image is not None
        return image

    def origins(self) -> Array | None:
        """Return for each voxel the raster index of the voxel its value comes from, -1 where it is 0.

        None before ranked steps.
        """
        return self._way.origins() if isinstance(self._way, Ranks) else None

    def close(self) -> None:
        """Give back the buffers."""
        if self._way is not None:
            self._way.close()
            self._way = None


class NumbaBackend:
    """See `softmorph_cli.kernels.backend.Backend`. Planes have the narrowest type that holds them.

    Args:
        threads: How many threads share the work.
    """

    name = "numba_cpu"
    batches = False
    traces = False
    prunes = True

    def __init__(self, threads: int) -> None:
        """Keep the number of threads."""
        self.threads = threads

    def array(self, image: Any) -> Array:
        """Return a NumPy array; a tensor gives up its place in autograd."""
        return image if isinstance(image, np.ndarray) else image.detach().cpu().numpy()

    def field(self, image: Array) -> NumbaField:
        """Begin a filter."""
        return NumbaField(image, threads=self.threads)

    def traced(self, image: Array) -> NumbaField:
        """Begin a filter by ranked steps that says where its values come from."""
        return NumbaField(image, threads=self.threads, carry=True)

    def proper(self, image: Array) -> bool:
        """Say whether all values lie in [0, 1], in one pass over memory."""
        kernel, flat = _improper_kernel(image.dtype), np.ascontiguousarray(image).reshape(-1)

        def part(first: int, last: int) -> int:
            return kernel(flat, np.uint64(first), np.uint64(last))

        return not any(self._share(part, flat.size, flat.size))

    def extremes(self, image: Array) -> tuple[float, float]:
        """Return the smallest and the largest value; NaN for both where there is one."""
        return float(image.min()), float(image.max())

    def pack_levels(self, image: Array, levels: int, chunk: int) -> Array:
        """Return level sets as planes."""
        planes = np.empty(image.shape, bitplanes.word_of(levels))

        def part(first: int, last: int) -> None:
            bitplanes.pack_levels(image[first:last], levels, chunk, planes[first:last])

        self._share(part, len(image), image.size)
        return planes

    def pack_samples(self, image: Array, draws: int, chunk: int, seed: int, index: int) -> Array:
        """Return Bernoulli draws as planes."""
        planes = np.empty(image.shape, bitplanes.word_of(draws))
        text = bitplanes.SAMPLER.format(dtype=image.dtype.name, word=planes.dtype.name)
        draw = source.load(f"sampler_{image.dtype.name}_{planes.dtype.name}", text).draw
        key, bits = bitplanes.seed_key(seed, index), bitplanes.bits_in_chunk(draws, chunk)
        flat, out = np.ascontiguousarray(image).reshape(-1), planes.reshape(-1)
        fixed = tuple(map(np.uint64, (key, bitplanes.WORD * chunk, bits)))

        def part(first: int, last: int) -> None:
            draw(flat, out, *fixed, np.uint64(first), np.uint64(last))

        self._share(part, flat.size, flat.size)
        return planes

    def pack_nested(self, image: Array, sets: LevelSets) -> Array:
        """Return nested level sets as planes."""
        planes = np.empty(image.shape, bitplanes.word_of(sets.count))

        def part(first: int, last: int) -> None:
            bitplanes.pack_nested(image[first:last], sets, planes[first:last])

        self._share(part, len(image), image.size)
        return planes

    def bins(self, image: Array, sets: LevelSets) -> Array:
        """Return how many thresholds lie below each value."""
        found = np.empty(image.shape, image.dtype)

        def part(first: int, last: int) -> None:
            for values, out in zip(image[first:last], found[first:last], strict=True):
                out[...] = bitplanes.bins_of(values, sets)

        self._share(part, len(image), image.size)
        return found

    def refine(self, image: Array, counts: Array, sets: LevelSets) -> Array:
        """Return the map lowered to the top of each voxel's bin."""
        refined = np.empty(image.shape, image.dtype)

        def part(first: int, last: int) -> None:
            bitplanes.refine(image[first:last], counts[first:last], sets, refined[first:last])

        self._share(part, len(image), image.size)
        return refined

    def above(self, image: Array, threshold: float) -> Array:
        """Return the map where it is above a threshold."""
        found: Array = np.where(image > round_down(threshold, image.dtype), image, image.dtype.type(0))
        return found

    def pack_mask(self, image: Array, threshold: float) -> Array:
        """Return {p > threshold} as planes."""
        return np.where(image > threshold, np.uint8(255), np.uint8(0))

    def count(self, planes: Array, bits: int, like: Array) -> Array:
        """Return the number of set bits."""
        counted = np.empty(planes.shape, like.dtype)
        room = 8 * planes.dtype.itemsize
        used = planes.dtype.type((1 << min(bits, room)) - 1)

        def part(first: int, last: int) -> None:
            for plane, out in zip(planes[first:last], counted[first:last], strict=True):
                out[...] = np.bitwise_count(plane & used if bits < room else plane)

        self._share(part, len(planes), planes.size)
        return counted

    def _share(self, work: Callable[[int, int], Any], total: int, voxels: int) -> list[Any]:
        return Pool(self.threads, voxels).share(work, total)

    def logits(self, image: Array) -> Array:
        """Return the logits, clipped."""
        from scipy.special import logit

        found: Array = logit(np.clip(image, *map(image.dtype.type, bitplanes.LOGIT_RANGE)))
        return found

    def sharpen(self, logits: Array, level: float, sharpness: float) -> Array:
        """Return the map seen through a steep sigmoid around a level."""
        from scipy.special import expit, logit

        sharpened: Array = expit(logits.dtype.type(sharpness) * (logits - logits.dtype.type(logit(level))))
        return sharpened

    def streamed(self, work: Callable[[Array], Array], image: Array) -> Array:
        """Return `work(image)`: there is no gradient here."""
        return work(image)

    def total(self, image: Array) -> float:
        """Return the sum, in NumPy's fixed order."""
        return float(image.sum(dtype=np.float64))

    def distance(self, first: Array, second: Array) -> float:
        """Return the summed absolute difference."""
        return float(np.abs(np.subtract(first, second, dtype=np.float64)).sum())
