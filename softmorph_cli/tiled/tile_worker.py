"""`TileWorker` holds the data that a process needs to filter any tile of a run: map, filter, plan and targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from softmorph_cli.filters.method import Scheme
from softmorph_cli.filters.run import standard_error
from softmorph_cli.io.blocks import Array, BoxReader, BoxWriter
from softmorph_cli.kernels.bitplanes import WORD, bits_in_chunk
from softmorph_cli.kernels.numba_cpu import NumbaBackend
from softmorph_cli.tiled.plan import TilePlan
from softmorph_cli.tiled.plane_store import ImageLayout, PlaneStore
from softmorph_cli.tiled.region_backend import ValueTypes
from softmorph_cli.tiled.single_pass import SinglePass, TileFacts
from softmorph_cli.tiled.tile_boxes import Box, Tiling
from softmorph_cli.tiled.tile_pass import PassOutcome, PassRequest, TilePass
from softmorph_cli.tiled.tiled_filter import TiledFilter
from softmorph_cli.workers import raise_if_cancelled

# A tile whose passes are complete, with the pass that wrote its image for each part that no other followed.
Settled = tuple[int, Mapping[int, int]]


@dataclass(frozen=True)
class TileWorker:
    """A worker that filters any tile of a run; it can be pickled if its source and targets can.

    Attributes:
        work: The filter, prepared for tiles.
        plan: The shape of the tiles, their halo and the number of iterations per pass.
        source: The map, from which boxes of voxels are read.
        target: The target that the result is written to.
        kind: The dtypes of the map's values.
        folder: The folder that stores the images of tiles between passes.
        threads: Number of threads that filter a tile.
        error_target: The target that the standard error of method `sampled` is written to; None to discard this.
    """

    work: TiledFilter
    plan: TilePlan
    source: BoxReader
    target: BoxWriter
    kind: ValueTypes
    folder: Path
    threads: int
    error_target: BoxWriter | None = None

    def __reduce__(self) -> tuple[type[TileWorker], tuple[object, ...]]:
        """Return the constructor and the fields for pickle, so that cached properties are not pickled."""
        given = self.work, self.plan, self.source, self.target, self.kind, self.folder, self.threads
        return TileWorker, (*given, self.error_target)

    @cached_property
    def tiling(self) -> Tiling:
        """The division of the map into tiles."""
        return Tiling(self.plan.shape, self.plan.tile)

    @cached_property
    def store(self) -> PlaneStore:
        """The store of tile images between passes."""
        wides = [part.type_for(self.kind.wide) for part in self.work.parts]
        layouts = [
            ImageLayout(self.plan.halo_of(part), np.dtype(f"uint{8 * wide.itemsize}"))
            for part, wide in zip(self.work.parts, wides, strict=True)
        ]
        return PlaneStore(self.folder, self.tiling, layouts, self.threads)

    @cached_property
    def tile_pass(self) -> TilePass:
        """The object that runs one pass of a tile."""
        return TilePass(self.work, self.source, self.kind, self.store, self.threads)

    @cached_property
    def single_pass(self) -> SinglePass:
        """The object that filters a tile in a single pass."""
        return SinglePass(self.work, self.tiling, self.plan.halo, self.threads)

    def run_pass(self, request: PassRequest) -> PassOutcome:
        """Run the requested pass of a tile, and return the outcome."""
        return self.tile_pass.run(request)

    def read(self, tile: int) -> Array:
        """Return the values of the map in a tile and its halo, as input for `filter`."""
        return self.kind.read(self.source, self.single_pass.region(tile))

    def filter(self, tile: int, values: Array) -> TileFacts:
        """Filter a tile in a single pass, write the result, and return the facts that warnings depend on."""
        image, error, facts = self.single_pass.filter(tile, values)
        self._write(tile, image, error)
        return facts

    def finish(self, settled: Settled) -> None:
        """Compute the result of a tile whose passes are complete from the stored images, and write it."""
        self._write(settled[0], *self._result(*settled))

    def _result(self, tile: int, versions: Mapping[int, int]) -> tuple[Array, Array | None]:
        core, backend = self.tiling.core(tile), NumbaBackend(self.threads)
        if self.work.method.scheme is Scheme.NESTED:
            ((number, version),) = versions.items()
            return self._nested(core, number, self.store.read(core, number, {tile: version}), backend), None
        levels, like = self.work.settings.planes, np.empty(0, self.kind.wide)
        # In the order, and with the arithmetic, of the mean of a whole map.
        mean: Array | None = None
        for number, version in versions.items():
            bits = bits_in_chunk(levels, self.work.parts[number].word)
            counted = backend.count(self.store.read(core, number, {tile: version}), bits, like)
            mean = counted if mean is None else mean + counted
        assert mean is not None
        mean /= levels
        drawn = self.work.method.scheme is Scheme.SAMPLES
        return mean, standard_error(mean, levels) if drawn and self.error_target else None

    def _nested(self, core: Box, number: int, kept: Array, backend: NumbaBackend) -> Array:
        part = self.work.parts[number]
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
