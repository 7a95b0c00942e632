"""All that one process needs to work on any tile of a run: the map, the filter, how it is cut, where results go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from softmorph_cli.filters.method import Family
from softmorph_cli.filters.run import standard_error
from softmorph_cli.io.boxes import BoxReader, BoxWriter
from softmorph_cli.io.raw import Array
from softmorph_cli.kernels.bitplanes import WORD, bits_in_chunk
from softmorph_cli.kernels.numba_cpu import NumbaBackend
from softmorph_cli.tiled.plan import Plan
from softmorph_cli.tiled.plane_store import Form, Store
from softmorph_cli.tiled.prepared import Task
from softmorph_cli.tiled.region_backend import Kind
from softmorph_cli.tiled.single_pass import Facts, Once
from softmorph_cli.tiled.tile_pass import Visit, Visited, Visits
from softmorph_cli.tiled.tiling import Box, Tiling
from softmorph_cli.workers import raise_if_cancelled


@dataclass(frozen=True)
class Left:
    """A tile whose passes are over.

    Attributes:
        tile: Which.
        versions: For each part that no other has followed: of each tile that is looked at, the pass that wrote its
            image.
    """

    tile: int
    versions: Mapping[int, Mapping[int, int]]


@dataclass(frozen=True)
class Site:
    """A run, as far as a tile's work needs it. It can be pickled where its source and targets can.

    Attributes:
        work: The filter.
        plan: How the map is cut.
        source: The map.
        target: Takes the result.
        kind: Of what type values are.
        folder: Where images lie between passes.
        threads: How many threads compute.
        error_target: Takes the standard error of method `sampled`.
    """

    work: Task
    plan: Plan
    source: BoxReader
    target: BoxWriter
    kind: Kind
    folder: Path
    threads: int
    error_target: BoxWriter | None = None

    def __reduce__(self) -> tuple[type[Site], tuple[object, ...]]:
        """Pickle what is given; the rest is made where it is needed."""
        given = self.work, self.plan, self.source, self.target, self.kind, self.folder, self.threads
        return Site, (*given, self.error_target)

    @cached_property
    def tiling(self) -> Tiling:
        """How the map is cut."""
        return Tiling(self.plan.shape, self.plan.tile)

    @cached_property
    def store(self) -> Store:
        """What lies between passes."""
        wides = [part.type_for(self.kind.wide) for part in self.work.parts]
        forms = [
            Form(self.plan.halo_of(part), np.dtype(f"uint{8 * wide.itemsize}"))
            for part, wide in zip(self.work.parts, wides, strict=True)
        ]
        return Store(self.folder, self.tiling, forms, self.threads)

    @cached_property
    def visits(self) -> Visits:
        """A tile in one pass."""
        return Visits(self.work, self.source, self.kind, self.store, self.threads)

    @cached_property
    def once(self) -> Once:
        """A tile in one go."""
        return Once(self.work, self.tiling, self.plan.halo, self.threads)

    def visit(self, visit: Visit) -> Visited:
        """Bring a tile one pass further."""
        return self.visits.do(visit)

    def read(self, tile: int) -> Array:
        """Return what a tile that is done in one go looks at."""
        return self.kind.read(self.source, self.once.region(tile))

    def filter(self, tile: int, values: Array) -> Facts:
        """Filter a tile in one go and write it; return what is known of it."""
        image, error, facts = self.once.filter(tile, values)
        self._write(tile, image, error)
        return facts

    def finish(self, left: Left) -> None:
        """Write what the passes left of a tile."""
        self._write(left.tile, *self._result(left))

    def _result(self, left: Left) -> tuple[Array, Array | None]:
        core, backend = self.tiling.core(left.tile), NumbaBackend(self.threads)
        if self.work.method.family is Family.NESTED:
            return self._nested(left, core, backend), None
        levels, like = self.work.settings.planes, np.empty(0, self.kind.wide)
        # In the order, and with the arithmetic, of the whole map's mean.
        mean: Array | None = None
        for number, versions in left.versions.items():
            bits = bits_in_chunk(levels, self.work.parts[number].word)
            counted = backend.count(self.store.read(core, number, versions), bits, like)
            mean = counted if mean is None else mean + counted
        assert mean is not None
        mean /= levels
        drawn = self.work.method.family is Family.SAMPLES
        return mean, standard_error(mean, levels) if drawn and self.error_target else None

    def _nested(self, left: Left, core: Box, backend: NumbaBackend) -> Array:
        ((number, versions),) = left.versions.items()
        part, kept = self.work.parts[number], self.store.read(core, number, versions)
        if self.work.hard:
            return np.not_equal(kept, 0)
        if part.ranked:
            kept = kept.view(part.type_for(self.kind.wide))
        else:
            kept = backend.count(kept, WORD, np.empty(0, self.kind.wide))
        sets = self.work.settings.level_sets
        return kept if sets is None else backend.refine(self.kind.read(self.source, core), kept, sets)

    def _write(self, tile: int, image: Array, error: Array | None) -> None:
        raise_if_cancelled()
        box = self.tiling.core(tile)
        own = np.dtype(np.uint8) if image.dtype == np.bool_ else self.kind.own
        self.target.write(box, np.ascontiguousarray(image, own))
        if error is not None and self.error_target is not None:
            self.error_target.write(box, np.ascontiguousarray(error, self.kind.own))
