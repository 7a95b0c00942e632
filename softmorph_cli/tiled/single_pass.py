"""`SinglePass` filters a tile in a single pass, with a halo as wide as the reach of all iterations together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from softmorph_cli.filters.method import Scheme
from softmorph_cli.filters.operations.skeletonize import Skeleton
from softmorph_cli.filters.run import (
    CLAMPED,
    NEGLIGIBLE,
    FilterJob,
    Phase,
    below_zero,
    fuzzy,
    nested_binary,
    run,
    run_difference,
    signed_difference,
)
from softmorph_cli.filters.settings import Result
from softmorph_cli.filters.skeleton import cldice, faded
from softmorph_cli.io.blocks import Array
from softmorph_cli.tiled.region_backend import RegionBackend, check_probabilities
from softmorph_cli.tiled.tile_boxes import Box, Tiling, within
from softmorph_cli.tiled.tiled_filter import TiledFilter
from softmorph_cli.workers import raise_if_cancelled


@dataclass(frozen=True)
class TileFacts:
    """Sums and maxima over one or several tiles of a result, which the warnings for the whole map depend on.

    Attributes:
        below: Sum of the negative values of a difference, which are set to 0 in the result.
        before: Maximum of the map, for skeletons that may fade (have lower values than the map).
        after: Maximum of the skeleton, for such skeletons.
    """

    below: float = 0.0
    before: float = 0.0
    after: float = 0.0

    def __add__(self, other: TileFacts) -> TileFacts:
        """Return the facts of the tiles of both objects together."""
        return TileFacts(
            self.below + other.below, max(self.before, other.before), max(self.after, other.after)
        )


@dataclass(frozen=True)
class SinglePass:
    """A filter that is applied to each tile in a single pass.

    Attributes:
        work: The filter, prepared for tiles.
        tiling: The division of the map into tiles.
        halo: The width of the halo along each axis: the reach of the whole filter.
        threads: Number of threads that filter a tile.
    """

    work: TiledFilter
    tiling: Tiling
    halo: tuple[int, ...]
    threads: int

    def region(self, tile: int) -> Box:
        """Return the box in the map that contains a tile and its halo."""
        return self.tiling.grown(self.tiling.core(tile), self.halo)

    def filter(self, tile: int, values: Array) -> tuple[Array, Array | None, TileFacts]:
        """Return the result of a tile, the standard error (None unless the method is `sampled`), and the tile's facts.

        Args:
            tile: Index of the tile.
            values: The values of the map in the region of the tile (with the halo).

        Raises:
            InputError: If the values are no probabilities.
        """
        region = self.region(tile)
        inner = within(self.tiling.core(tile), region)
        backend = RegionBackend(self.threads, region, self.tiling.shape)
        check_probabilities(backend, values)
        result = self._run(backend, values)
        image, facts = result.image[inner], TileFacts()
        if self._signed:
            facts = TileFacts(below=below_zero(backend, image))
            image = image.clip(min=0)
        elif self._fading:
            facts = TileFacts(before=backend.extremes(values[inner])[1], after=backend.extremes(image)[1])
        error = result.standard_error
        return image, None if error is None else error[inner], facts

    def warnings(self, facts: TileFacts) -> tuple[str, ...]:
        """Return the warnings for the whole map, given the facts of all tiles together."""
        if self._signed:
            return (CLAMPED,) if facts.below > NEGLIGIBLE else ()
        fuzzy_rules = [
            warning for phases in self.work.sequences for warning in fuzzy(self.work.method, phases)
        ]
        return (*fuzzy_rules, *(faded(facts.before, facts.after) if self._fading else ()))

    @property
    def _signed(self) -> bool:
        # Differences of level sets and of draws are differences of binary images.
        exact = self.work.method.scheme in (Scheme.LEVELS, Scheme.SAMPLES)
        return len(self.work.sequences) == 2 and not exact

    @property
    def _fading(self) -> bool:
        stepwise = self.work.method.scheme in (Scheme.STEPWISE, Scheme.SMOOTH_LEVELS)
        return isinstance(self.work.filter, Skeleton) and stepwise

    def _run(self, backend: RegionBackend, values: Any) -> Result:
        work = self.work

        def job(phases: tuple[Phase, ...]) -> FilterJob:
            return FilterJob(
                work.name, phases, work.settings, backend, progress=lambda _: raise_if_cancelled()
            )

        jobs = [job(phases) for phases in work.sequences]
        if work.method.scheme is Scheme.POOLING:
            assert work.iterations is not None
            return cldice(job(()), values, work.iterations, len(work.shape))
        if work.hard:
            return nested_binary(jobs[0], values, work.cut)
        if self._signed:
            return signed_difference(jobs[0], jobs[1], values)
        return run(jobs[0], values) if len(jobs) == 1 else run_difference(jobs[0], jobs[1], values)
