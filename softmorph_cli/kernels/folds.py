"""Runs consecutive erosions and dilations with temporal blocking: several of them for each pass over memory.

An erosion takes a fraction of the time of reading an image from memory. So erosions and dilations ("folds") are
queued until their result is needed, and then run in a pipeline: while the first fold is at a plane, the second is at
the plane before, which is still in the processor's cache, and so on. Two buffers alternate as if each fold had
processed the whole image. Row indices are continuous through all planes: the rows on which a row depends are at most
`lag` rows away.

Threads process slabs of rows. In a slab each stage (fold of the pipeline) is narrower by `lag` rows on either side
than the previous stage, so that it does not depend on the neighbouring slabs; the remaining wedges between slabs are
processed afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numpy as np

from softmorph_cli.compiler.compile import Fold, Step
from softmorph_cli.kernels import numba_folds, source_cache
from softmorph_cli.kernels.buffers import Array
from softmorph_cli.kernels.thread_pool import Pool
from softmorph_cli.rules.neighborhood import Offset

# Bytes of both buffers that a thread accesses between the first and the last use of a row: a part of the cache.
_WINDOW: Final = 1 << 23
# Voxels that a stage processes before the next stage.
_CHUNK: Final = 1 << 16

Stage = Callable[[int, int], None]


@cache
def _kernel(fold: Fold, offsets: tuple[Offset, ...], dtype: np.dtype[Any]) -> Callable[..., None]:
    name = f"fold_{fold.op}_{len(offsets)}_{dtype.name}"
    return source_cache.load(name, numba_folds.fold_text(fold, offsets, dtype)).fold  # type: ignore[no-any-return]


class Folds:
    """Consecutive folds (erosions and dilations) of an image; implements `backend.Field` except for `begin`.

    Args:
        image: The image, (Y, X) or (Z, Y, X) without padding; not modified.
        pool: The threads.
    """

    def __init__(self, image: Array, pool: Pool) -> None:
        self._image = np.ascontiguousarray(image)
        self._spare: Array | None = None
        self._own = False
        self._pool = pool
        self._queue: list[Step] = []
        self._before = self._image
        self._nz, self._ny, nx = (1, *image.shape)[-3:]
        self._rows, self._lag = self._nz * self._ny, self._ny + 1 if self._nz > 1 else 1
        self._chunk = max(1, _CHUNK // nx)
        fitting = _WINDOW // (2 * self._lag * nx * image.itemsize)
        self._depth = max(1, min(fitting, self._rows // (2 * self._lag * pool.threads)))

    @property
    def changed(self) -> int:
        """The number of voxels that the last sweep changed."""
        self._run()
        return int(np.count_nonzero(self._image != self._before))

    def sweep(self, step: Step) -> None:
        """Queue a step that has a fold; the queue is run when it is long enough."""
        self._queue.append(step)
        if len(self._queue) == self._depth:
            self._run()

    def image(self) -> Array:
        """Run the queued folds and return the current image, which is valid until the next sweep."""
        self._run()
        return self._image

    def close(self) -> None:
        """Release the spare buffer and the queue; the current image stays available."""
        self._before, self._spare, self._queue = self._image, None, []

    def _run(self) -> None:
        if not self._queue:
            return
        steps, self._queue = self._queue, []
        first = np.empty_like(self._image) if self._spare is None else self._spare
        second = self._image if self._own or len(steps) == 1 else np.empty_like(first)
        targets = [(first, second)[number % 2] for number in range(len(steps))]
        stages = [
            self._stage(step, before, after)
            for step, before, after in zip(steps, [self._image, *targets], targets, strict=False)
        ]
        self._follow(stages)
        kept = second if self._own or len(steps) > 1 else None
        self._before = targets[-2] if len(targets) > 1 else self._image
        self._image, self._spare = (first, kept) if targets[-1] is first else (second, first)
        self._own = True

    def _stage(self, step: Step, before: Array, after: Array) -> Stage:
        assert step.fold is not None
        kernel = _kernel(step.fold, tuple(sorted(step.offsets)), before.dtype)
        nz, ny, nx = self._nz, self._ny, np.uint64(before.shape[-1])
        src, dst = before.reshape(-1), after.reshape(-1)
        return lambda first, last: kernel(src, dst, nz, ny, nx, first, last)

    def _follow(self, stages: list[Stage]) -> None:
        parts = min(self._pool.threads, self._rows)
        seams = [self._rows * part // parts for part in range(parts + 1)]

        def slabs(first: int, last: int) -> None:
            for part in range(first, last):
                self._slab(stages, *seams[part : part + 2])

        def wedges(first: int, last: int) -> None:
            for seam in seams[first + 1 : last + 1]:
                self._wedge(stages, seam)

        self._pool.share(slabs, parts)
        if len(stages) > 1 and parts > 1:
            self._pool.share(wedges, parts - 1)

    def _slab(self, stages: list[Stage], low: int, high: int) -> None:
        """Run all stages on rows `low` to `high` without the wedges; each stage follows the previous stage by a lag."""
        lag, rows = self._lag, self._rows
        ends = [rows if high == rows else high - number * lag for number in range(len(stages))]
        done = [low + number * lag if low else 0 for number in range(len(stages))]
        while done[-1] < ends[-1]:
            for number, stage in enumerate(stages):
                if number == 0:
                    ready = min(done[0] + self._chunk, ends[0])
                else:
                    ready = ends[number] if done[number - 1] == ends[number - 1] else done[number - 1] - lag
                if ready > done[number]:
                    stage(done[number], ready)
                    done[number] = ready

    def _wedge(self, stages: list[Stage], seam: int) -> None:
        """Run the stages on the wedge of rows around the boundary `seam` between two slabs."""
        for number, stage in enumerate(stages[1:], start=1):
            stage(seam - number * self._lag, seam + number * self._lag)
