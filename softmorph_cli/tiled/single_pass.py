"""Every tile at once: a fixed number of iterations looks no further than a halo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from softmorph_cli.filters.method import Family
from softmorph_cli.filters.operations import Skeleton
from softmorph_cli.filters.run import (
    CLAMPED,
    NEGLIGIBLE,
    Job,
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
from softmorph_cli.io.raw import Array
from softmorph_cli.tiled.prepared import Task
from softmorph_cli.tiled.region_backend import Window, check_proper
from softmorph_cli.tiled.tiling import Box, Tiling, within
from softmorph_cli.workers import raise_if_cancelled


@dataclass(frozen=True)
class Facts:
    """What is known of a tile, or of all of them, for warnings.

    Attributes:
        below: How much of a difference was negative, summed.
        before: The map's maximum, where a skeleton may fade.
        after: The skeleton's.
    """

    below: float = 0.0
    before: float = 0.0
    after: float = 0.0

    def __add__(self, other: Facts) -> Facts:
        """Return what is known of both."""
        return Facts(self.below + other.below, max(self.before, other.before), max(self.after, other.after))


@dataclass(frozen=True)
class Once:
    """A filter that does a tile in one go.

    Attributes:
        work: The filter.
        tiling: How the map is cut.
        halo: How far the filter looks.
        threads: How many threads compute.
    """

    work: Task
    tiling: Tiling
    halo: tuple[int, ...]
    threads: int

    def region(self, tile: int) -> Box:
        """Return what a tile looks at."""
        return self.tiling.grown(self.tiling.core(tile), self.halo)

    def filter(self, tile: int, values: Array) -> tuple[Array, Array | None, Facts]:
        """Return a tile of the result, for random draws of its standard error, and what is known of it.

        Args:
            tile: Which.
            values: The map on the tile's region.

        Raises:
            InputError: If the values are no probabilities.
        """
        region = self.region(tile)
        inner = within(self.tiling.core(tile), region)
        window = Window(self.threads, region, self.tiling.shape)
        check_proper(window, values)
        result = self._run(window, values)
        image, facts = result.image[inner], Facts()
        if self._signed:
            facts = Facts(below=below_zero(window, image))
            image = image.clip(min=0)
        elif self._fading:
            facts = Facts(before=window.extremes(values[inner])[1], after=window.extremes(image)[1])
        error = result.standard_error
        return image, None if error is None else error[inner], facts

    def warnings(self, facts: Facts) -> tuple[str, ...]:
        """Return what a person should know of the whole."""
        if self._signed:
            return (CLAMPED,) if facts.below > NEGLIGIBLE else ()
        told = [warning for phases in self.work.sequences for warning in fuzzy(self.work.method, phases)]
        return (*told, *(faded(facts.before, facts.after) if self._fading else ()))

    @property
    def _signed(self) -> bool:
        # Of level sets and draws by themselves a difference is one of binary images.
        exact = self.work.method.family in (Family.LEVELS, Family.SAMPLES)
        return len(self.work.sequences) == 2 and not exact

    @property
    def _fading(self) -> bool:
        stepwise = self.work.method.family in (Family.STEPWISE, Family.SMOOTH_LEVELS)
        return isinstance(self.work.filter, Skeleton) and stepwise

    def _run(self, window: Window, values: Any) -> Result:
        work = self.work

        def job(phases: tuple[Phase, ...]) -> Job:
            return Job(work.name, phases, work.settings, window, progress=lambda _: raise_if_cancelled())

        jobs = [job(phases) for phases in work.sequences]
        if work.method.family is Family.POOLING:
            assert work.iterations is not None
            return cldice(job(()), values, work.iterations, len(work.shape))
        if work.hard:
            return nested_binary(jobs[0], values, work.cut)
        if self._signed:
            return signed_difference(jobs[0], jobs[1], values)
        return run(jobs[0], values) if len(jobs) == 1 else run_difference(jobs[0], jobs[1], values)
