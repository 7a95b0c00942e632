"""Filters a tile in a single pass, which a halo as wide as the reach of all iterations makes possible."""

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
    """Facts of one or several tiles that warnings depend on.

    Attributes:
        below: Sum of the negative part of a difference.
        before: Maximum of the map, where a skeleton may fade.
        after: Maximum of the skeleton.
    """

    below: float = 0.0
    before: float = 0.0
    after: float = 0.0

    def __add__(self, other: TileFacts) -> TileFacts:
        """Return the facts of both."""
        return TileFacts(
            self.below + other.below, max(self.before, other.before), max(self.after, other.after)
        )


@dataclass(frozen=True)
class SinglePass:
    """Filters a tile in a single pass.

    Attributes:
        work: The filter.
        tiling: The tiles of the map.
        halo: The reach of the filter along each axis.
        threads: Number of threads.
    """

    work: TiledFilter
    tiling: Tiling
    halo: tuple[int, ...]
    threads: int

    def region(self, tile: int) -> Box:
        """Return a tile with its halo."""
        return self.tiling.grown(self.tiling.core(tile), self.halo)

    def filter(self, tile: int, values: Array) -> tuple[Array, Array | None, TileFacts]:
        """Return a tile of the result, its standard error for method `sampled`, and its facts.

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
        """Return the warnings for the whole map."""
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
