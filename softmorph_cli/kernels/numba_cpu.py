"""Runs programs on the CPU: generated straight-line source, compiled by Numba, vectorised and multi-threaded.

There are three algorithms:

- `_Runs`, for any program. The image is in a flat buffer with a padding of one voxel, so that a neighbour is a linear
  offset; two such buffers alternate. The unit of work is a run: contiguous voxels along the last axis. A run is
  skipped, exactly, if nothing in it or in its neighbouring runs has changed since the same step was last applied, and
  in all later sweeps if it is settled: all its voxels have a value that the steps never change. The remaining runs are
  listed for each sweep and distributed evenly to the threads.
- `folds.Folds`, for erosion and dilation: rows without padding, several iterations for each pass over memory.
- `Ranks`, for ranked steps (on values by their order): the voxels above 0 one by one, by a look-up table.

The source is generated in `numba_source` and `numba_folds`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import prod
from typing import Any

import numpy as np

from softmorph_cli.compiler.compile import Step
from softmorph_cli.compiler.necessary_conditions import needs
from softmorph_cli.compiler.program import Program
from softmorph_cli.kernels import bitplanes, numba_source, source_cache
from softmorph_cli.kernels.buffers import SCRATCH, Array, BufferLayout
from softmorph_cli.kernels.folds import Folds
from softmorph_cli.kernels.level_sets import LevelSets, round_down
from softmorph_cli.kernels.numba_ranks import Ranks
from softmorph_cli.kernels.thread_pool import Pool


@cache
def _sweep_kernel(
    program: Program, dtype: np.dtype[Any], needs: Any, centre: int | None, subfield: bool
) -> Callable[..., int]:
    text = numba_source.sweep_text(program, dtype, needs, centre, subfield=subfield)
    return source_cache.load(f"sweep_{program.fingerprint}_{dtype.name}", text).sweep  # type: ignore[no-any-return]


@cache
def _select_kernel() -> Callable[..., tuple[int, int]]:
    return source_cache.load("select", numba_source.SELECT).select  # type: ignore[no-any-return]


@cache
def _enter_kernel(dtype: np.dtype[Any], tiny: float) -> Callable[..., None]:
    text = numba_source.ENTER.format(dtype=dtype.name, tiny=repr(tiny))
    return source_cache.load(f"enter_{dtype.name}", text).enter  # type: ignore[no-any-return]


@cache
def _improper_kernel(dtype: np.dtype[Any]) -> Callable[..., int]:
    text = numba_source.IMPROPER.format(dtype=dtype.name)
    return source_cache.load(f"improper_{dtype.name}", text).improper  # type: ignore[no-any-return]


class Sweeps:
    """The kernels of the steps of an iteration, and the state of the runs (contiguous voxels along the last axis).

    Attributes:
        last_change: For each run the index of the last sweep that changed the run or a neighbouring run.
        settled: For each run, 1 if the steps can never change the run again.
        numbers: The indices of all runs.
        changed: The number of voxels that the last sweep changed.
    """

    def __init__(self, layout: BufferLayout, dtype: np.dtype[Any], steps: tuple[Step, ...]) -> None:
        self.layout, self.dtype, self.steps = layout, dtype, steps
        # Looked up once: hashing a program takes longer than a sweep over a small image.
        self._ready = [
            (step, self._kernel(step), layout.offsets(step), layout.sizes_for(step)) for step in steps
        ]
        self.last_change = np.zeros(prod(layout.runs), np.int32)
        self.settled = np.zeros(prod(layout.runs), np.uint8)
        self.numbers = layout.numbers()
        self.changed = 0

    def _kernel(self, step: Step) -> Callable[..., int]:
        subfield = step.subfield is not None
        return _sweep_kernel(step.program, self.dtype, self.needs(step), step.centre, subfield)

    def needs(self, step: Step) -> tuple[tuple[int, int], ...]:
        """Return the necessary conditions for a change by a step that the kernels test, two at most."""
        return needs(step, bits=self.dtype.kind == "u")[:2]

    def fill_padding(self, flat: Array, pool: Pool, image: Array | None = None) -> None:
        """Write the value outside the image into the padding of a buffer and, if given, `image` into the interior.

        Several threads share the work: the first access to new memory waits until the system has cleared it.
        """
        value = self.steps[0].outside * (1 if self.dtype.kind == "f" else np.iinfo(self.dtype).max)
        padded = self.layout.image(flat)
        copy_in = None if image is None else self._copy_in(np.ascontiguousarray(image), flat)

        def part(first: int, last: int) -> None:
            planes = padded[first + 1 : last + 1]
            for axis in range(1, planes.ndim):
                face = np.moveaxis(planes, axis, 0)
                face[0] = face[-1] = value
            if copy_in is not None:
                copy_in(first, last)

        pool.share(part, self.layout.shape[0])
        padded[0] = padded[-1] = value
        flat[self.layout.size :] = 0

    def _copy_in(self, image: Array, flat: Array) -> Callable[[int, int], None]:
        if self.dtype.kind == "u":
            target = self.layout.image(flat)[self.layout.inside]
            return lambda first, last: np.copyto(target[first:last], image[first:last])
        exact = all(step.program.is_increasing for step in self.steps)
        kernel = _enter_kernel(self.dtype, 0.0 if exact else float(np.finfo(self.dtype).tiny))
        source, sizes = image.reshape(-1), self.layout.row_sizes
        # Rows for each index of the first axis: in 2D one.
        height = self.layout.rows // self.layout.shape[0]
        return lambda first, last: kernel(
            source, flat, sizes, np.uint64(first * height), np.uint64(last * height)
        )

    def copy_out(self, flat: Array, pool: Pool) -> Array:
        """Return a copy of the image in a buffer, without the padding."""
        image = self.layout.image(flat)[self.layout.inside]
        result = np.empty(image.shape, image.dtype)
        pool.share(lambda first, last: np.copyto(result[first:last], image[first:last]), len(image))
        return result

    def sweep_runs(
        self, step: Step, source: Array, target: Array, runs: Array, count: int, now: int, pool: Pool
    ) -> None:
        """Apply a step to the first `count` runs whose indices are listed in `runs`.

        Args:
            step: One of the steps of the iteration.
            source: The buffer with the current image.
            target: The buffer for the new image.
            runs: Indices of runs.
            count: The number of runs in `runs` to be processed.
            now: The index of the sweep, written to `last_change` around runs that change.
            pool: The threads.
        """
        kernel, offsets, sizes = next((k, o, s) for ready, k, o, s in self._ready if ready is step)
        last_change, settled, clock = self.last_change, self.settled, np.int32(now)

        def part(first: int, last: int) -> int:
            bounds = np.uint64(first), np.uint64(last)
            return kernel(source, target, offsets, sizes, runs, *bounds, last_change, settled, clock)

        self.changed = sum(pool.share(part, count))

    def sweep_all(self, step: Step, source: Array, target: Array, pool: Pool) -> None:
        """Apply a step to all runs: read the buffer `source`, write the buffer `target`."""
        self.sweep_runs(step, source, target, self.numbers, len(self.numbers), 0, pool)


class _Runs:
    """The algorithm for any program: each sweep visits only the runs of voxels that may change."""

    def __init__(
        self, image: Array, steps: tuple[Step, ...], pool: Pool, origin: tuple[int, ...] | None
    ) -> None:
        self._pool = pool
        self._layout = BufferLayout(image.shape, numba_source.run_length(image.dtype), origin)
        self._sweeps = Sweeps(self._layout, image.dtype, steps)
        # Bit planes are not kept for reuse: they are as large as the map and short-lived.
        self._recycled = image.dtype.kind == "f"
        self._current = self._buffer()
        self._sweeps.fill_padding(self._current, pool, image)
        self._next: Array | None = None
        self._unsettled = self._sweeps.numbers
        self._active = np.empty_like(self._unsettled)
        # A run is settled for all steps if they have the same condition on the voxel itself.
        own = {self._sweeps.needs(step)[:1] for step in steps}
        self._same = len(own) == 1 and len({step.program for step in steps}) == 1
        self._depth = len(steps)
        self._done = 0

    def _buffer(self) -> Array:
        length, dtype = self._layout.length, self._sweeps.dtype
        return SCRATCH.take(length, dtype) if self._recycled else np.empty(length, dtype)

    @property
    def changed(self) -> int:
        return self._sweeps.changed

    def sweep(self, step: Step) -> None:
        sweeps = self._sweeps
        if self._next is None:
            # Allocated late: the caller's image may be freed by now. The first sweep writes every run, so only the
            # padding has to be set.
            self._next = self._buffer()
            sweeps.fill_padding(self._next, self._pool)
        self._done += 1
        if not self._same:
            sweeps.settled.fill(0)
        since = np.int32(self._done - self._depth)
        unsettled, count = _select_kernel()(
            self._unsettled, sweeps.last_change, sweeps.settled, since, self._active
        )
        self._unsettled = self._unsettled[:unsettled]
        sweeps.sweep_runs(step, self._current, self._next, self._active, count, self._done, self._pool)
        self._current, self._next = self._next, self._current

    def image(self) -> Array:
        # A buffer that may be reused by another filter is copied; a large one is not.
        if self._recycled and SCRATCH.keeps(self._current):
            return self._sweeps.copy_out(self._current, self._pool)
        return self._layout.image(self._current)[self._layout.inside]

    def close(self) -> None:
        for buffer in (self._current, self._next):
            if self._recycled and buffer is not None:
                SCRATCH.give(buffer)


class NumbaField:
    """A field (`backend.Field`) on the CPU, swept by kernels that Numba compiles.

    Args:
        image: An array (Y, X) or (Z, Y, X) of float32 or float64 probabilities, or of unsigned integers as bit
            planes; not modified.
        threads: The number of threads.
        origin: The index, in the whole map, of the image's first voxel; None if the image is the whole map.
        carry: Whether ranked steps record the voxel from which each value comes.
    """

    def __init__(
        self, image: Array, *, threads: int, origin: tuple[int, ...] | None = None, carry: bool = False
    ) -> None:
        self._image: Array | None = image
        self._pool = Pool(threads, image.size)
        self._origin, self._carry = origin, carry
        self._algorithm: _Runs | Folds | Ranks | None = None

    @property
    def changed(self) -> int:
        """The number of voxels that the last sweep changed."""
        return 0 if self._algorithm is None else self._algorithm.changed

    def begin(self, steps: tuple[Step, ...], floor: Array | None = None) -> None:
        """Set the steps that will be swept in turn, and the floor of ranked steps; choose the algorithm."""
        folds = all(step.fold is not None for step in steps)
        if folds and isinstance(self._algorithm, Folds):
            return
        image, origins = self.image(), self.origins() if self._carry else None
        self.close()
        self._image = None
        if steps[0].ranked:
            self._algorithm = Ranks(
                image, steps, self._pool, self._origin, carry=self._carry, origins=origins, floor=floor
            )
        elif folds:
            self._algorithm = Folds(image, self._pool)
        else:
            self._algorithm = _Runs(image, steps, self._pool, self._origin)

    def sweep(self, step: Step) -> None:
        """Apply a step (compiled sub-iteration) to all voxels at once."""
        assert self._algorithm is not None
        self._algorithm.sweep(step)

    def image(self) -> Array:
        """Return the current image, which is valid until the next sweep."""
        image = self._image if self._algorithm is None else self._algorithm.image()
        assert image is not None
        return image

    def origins(self) -> Array | None:
        """Return the raster index of the voxel from which each value comes, or -1; None unless steps are ranked."""
        return self._algorithm.origins() if isinstance(self._algorithm, Ranks) else None

    def close(self) -> None:
        """Release the buffers of the field."""
        if self._algorithm is not None:
            self._algorithm.close()
            self._algorithm = None


class NumbaBackend:
    """The backend (`backend.Backend`) without a gradient on the CPU; bit planes have the narrowest possible type."""

    name = "numba_cpu"
    batches = False
    traces = False
    prunes = True

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def array(self, image: Any) -> Array:
        """Return an image as a NumPy array; a tensor is detached from autograd."""
        return image if isinstance(image, np.ndarray) else image.detach().cpu().numpy()

    def field(self, image: Array) -> NumbaField:
        """Start a filter of an image; return the field that is swept."""
        return NumbaField(image, threads=self.threads)

    def traced(self, image: Array) -> NumbaField:
        """Start a filter by ranked steps that records the voxel from which each value comes; return the field."""
        return NumbaField(image, threads=self.threads, carry=True)

    def is_probability(self, image: Array) -> bool:
        """Return whether all values lie in [0, 1], in one pass over memory."""
        kernel, flat = _improper_kernel(image.dtype), np.ascontiguousarray(image).reshape(-1)

        def part(first: int, last: int) -> int:
            return kernel(flat, np.uint64(first), np.uint64(last))

        return not any(Pool(self.threads, flat.size).share(part, flat.size))

    def extremes(self, image: Array) -> tuple[float, float]:
        """Return the minimum and the maximum of an image; both are NaN if the image contains NaN."""
        return float(image.min()), float(image.max())

    def _by_slices(self, work: Callable[..., None], *arrays: Array) -> None:
        """Call `work` on corresponding slices of the arrays along the first axis, in several threads."""

        def part(first: int, last: int) -> None:
            work(*(array[first:last] for array in arrays))

        Pool(self.threads, arrays[0].size).share(part, len(arrays[0]))

    def pack_levels(self, image: Array, levels: int, chunk: int) -> Array:
        """Return the level sets {p > (k + 1/2) / levels}, for k from 64 chunk on, as bit planes."""
        planes = np.empty(image.shape, bitplanes.word_of(levels))
        self._by_slices(lambda values, out: bitplanes.pack_levels(values, levels, chunk, out), image, planes)
        return planes

    def pack_samples(self, image: Array, draws: int, chunk: int, seed: int, index: int) -> Array:
        """Return independent Bernoulli draws, from draw 64 chunk on, as bit planes."""
        planes = np.empty(image.shape, bitplanes.word_of(draws))
        text = bitplanes.SAMPLER.format(dtype=image.dtype.name, word=planes.dtype.name)
        draw = source_cache.load(f"sampler_{image.dtype.name}_{planes.dtype.name}", text).draw
        key, bits = bitplanes.seed_key(seed, index), bitplanes.bits_in_chunk(draws, chunk)
        flat, out = np.ascontiguousarray(image).reshape(-1), planes.reshape(-1)
        fixed = tuple(map(np.uint64, (key, bitplanes.WORD * chunk, bits)))

        def part(first: int, last: int) -> None:
            draw(flat, out, *fixed, np.uint64(first), np.uint64(last))

        Pool(self.threads, flat.size).share(part, flat.size)
        return planes

    def pack_nested(self, image: Array, sets: LevelSets) -> Array:
        """Return the level sets {p > t_k} as bit planes; the lowest threshold t_0 is the highest bit of a word."""
        planes = np.empty(image.shape, bitplanes.word_of(sets.count))
        self._by_slices(lambda values, out: bitplanes.pack_nested(values, sets, out), image, planes)
        return planes

    def bins(self, image: Array, sets: LevelSets) -> Array:
        """Return the number of thresholds below each value."""
        found = np.empty(image.shape, image.dtype)

        def count(part: Array, part_found: Array) -> None:
            # Slice by slice: temporaries stay in the processor's cache.
            for values, out in zip(part, part_found, strict=True):
                out[...] = bitplanes.bins_of(values, sets)

        self._by_slices(count, image, found)
        return found

    def refine(self, image: Array, counts: Array, sets: LevelSets) -> Array:
        """Return the map lowered to the upper end of each voxel's bin (interval between thresholds)."""
        refined = np.empty(image.shape, image.dtype)
        self._by_slices(
            lambda values, kept, out: bitplanes.refine(values, kept, sets, out), image, counts, refined
        )
        return refined

    def above(self, image: Array, threshold: float) -> Array:
        """Return the map where it is above a threshold, and 0 elsewhere."""
        found: Array = np.where(image > round_down(threshold, image.dtype), image, image.dtype.type(0))
        return found

    def pack_mask(self, image: Array, threshold: float) -> Array:
        """Return the binary image {p > threshold} as bit planes in which all bits are equal."""
        return np.where(image > threshold, np.uint8(255), np.uint8(0))

    def count(self, planes: Array, bits: int, like: Array) -> Array:
        """Return the number of set bits among the lowest `bits` bits of each voxel, in the type of `like`."""
        counted = np.empty(planes.shape, like.dtype)
        room = 8 * planes.dtype.itemsize
        used = planes.dtype.type((1 << min(bits, room)) - 1)

        def count(part: Array, part_counted: Array) -> None:
            for plane, out in zip(part, part_counted, strict=True):
                out[...] = np.bitwise_count(plane & used if bits < room else plane)

        self._by_slices(count, planes, counted)
        return counted

    def logits(self, image: Array) -> Array:
        """Return the logits of probabilities, clipped to [-16, 16]."""
        from scipy.special import logit

        found: Array = logit(np.clip(image, *map(image.dtype.type, bitplanes.LOGIT_RANGE)))
        return found

    def sharpen(self, logits: Array, level: float, sharpness: float) -> Array:
        """Return sigmoid(sharpness * (logits - logit(level))), a steep sigmoid around a level."""
        from scipy.special import expit, logit

        sharpened: Array = expit(logits.dtype.type(sharpness) * (logits - logits.dtype.type(logit(level))))
        return sharpened

    def streamed(self, work: Callable[[Array], Array], image: Array) -> Array:
        """Return `work(image)`; this backend has no gradient."""
        return work(image)

    def total(self, image: Array) -> float:
        """Return the sum of an image in float64, in NumPy's fixed order."""
        return float(image.sum(dtype=np.float64))

    def distance(self, first: Array, second: Array) -> float:
        """Return the sum of absolute differences of two images, in float64."""
        return float(np.abs(np.subtract(first, second, dtype=np.float64)).sum())
