"""Every tile at once: a fixed number of iterations looks no further than a halo."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from softmorph_cli.filters.method import Family
from softmorph_cli.filters.run import (
    CLAMPED,
    NEGLIGIBLE,
    Job,
    below_zero,
    run,
    run_binary,
    run_difference,
    signed_difference,
)
from softmorph_cli.filters.settings import Result
from softmorph_cli.filters.skeleton import cldice, faded
from softmorph_cli.tiles.blocks import Array
from softmorph_cli.tiles.spec import SKELETONIZE, Task
from softmorph_cli.tiles.tiling import Box, Tiling, within
from softmorph_cli.tiles.window import Window, check_proper


@dataclass
class Once:
    """A filter that does a tile in one go.

    Attributes:
        work: The filter.
        tiling: How the map is cut.
        halo: How far the filter looks.
        threads: How many threads compute.
        facts: What is known of the whole map, for warnings; grows with every tile.
    """

    work: Task
    tiling: Tiling
    halo: tuple[int, ...]
    threads: int
    facts: dict[str, float]

    def region(self, tile: int) -> Box:
        """Return what a tile looks at."""
        return self.tiling.grown(self.tiling.core(tile), self.halo)

    def filter(self, tile: int, values: Array) -> tuple[Array, Array | None]:
        """Return a tile of the result and, for random draws, of its standard error.

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
        image = result.image[inner]
        if self._signed:
            self._add("below", below_zero(window, image))
            image = image.clip(min=0)
        elif self._fading:
            self._raise("before", window.extremes(values[inner])[1])
            self._raise("after", window.extremes(image)[1])
        error = result.standard_error
        return image, None if error is None else error[inner]

    def warnings(self) -> tuple[str, ...]:
        """Return what a person should know of the whole."""
        if self._signed:
            return (CLAMPED,) if self.facts.get("below", 0) > NEGLIGIBLE else ()
        return faded(self.facts["before"], self.facts["after"]) if self._fading and self.facts else ()

    @property
    def _signed(self) -> bool:
        return len(self.work.sequences) == 2 and not self.work.binary

    @property
    def _fading(self) -> bool:
        stepwise = self.work.method.family in (Family.STEPWISE, Family.SMOOTH_LEVELS)
        return self.work.spec.operation == SKELETONIZE and stepwise

    def _run(self, window: Window, values: Any) -> Result:
        work = self.work
        settings = replace(work.settings, progress=None)
        jobs = [Job(work.name, phases, settings, window) for phases in work.sequences]
        if work.method.family is Family.POOLING:
            assert work.iterations is not None
            return cldice(Job(work.name, (), settings, window), values, work.iterations, len(work.shape))
        if work.spec.hard:
            return run_binary(jobs[0], values, work.spec.threshold)
        if self._signed:
            return signed_difference(jobs[0], jobs[1], values)
        return run(jobs[0], values) if len(jobs) == 1 else run_difference(jobs[0], jobs[1], values)

    def _add(self, name: str, value: float) -> None:
        self.facts[name] = self.facts.get(name, 0.0) + value

    def _raise(self, name: str, value: float) -> None:
        self.facts[name] = max(self.facts.get(name, 0.0), value)
