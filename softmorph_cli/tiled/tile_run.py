"""A tiled run that filters each tile of a map in a single pass."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from softmorph_cli.filters.settings import Result
from softmorph_cli.tiled.manifest import RunState, TileManifest
from softmorph_cli.tiled.progress import OnTile, TileProgress
from softmorph_cli.tiled.tile_executor import TileExecutor
from softmorph_cli.tiled.tile_worker import TileWorker


@dataclass(frozen=True)
class TileRun:
    """A tiled run that filters each tile of a map in a single pass.

    Attributes:
        worker: The map, filter, plan and targets of the run.
        executor: The executor that filters the tiles.
        manifest: The file that the state of the run is saved to.
        state: The state of the run, such as which tiles are complete.
        report: A callback that is called with the progress after every tile.
    """

    worker: TileWorker
    executor: TileExecutor
    manifest: TileManifest
    state: RunState
    report: OnTile

    def run(self) -> Result:
        """Filter all tiles whose result has not been written, and return the filter's result without an image."""
        work, tiles = self.worker.work, self.unwritten()
        coming = self.executor.map_unordered(self.worker, TileWorker.filter, tiles, TileWorker.read)
        with closing(coming):
            for tile, facts in coming:
                self.state.facts += facts
                self.written(tile, "filter")
        assert work.iterations is not None
        warnings = self.worker.single_pass.warnings(self.state.facts)
        return Result(None, iterations=work.iterations, radius=work.radius, warnings=warnings)

    def unwritten(self) -> list[int]:
        """Return the indices of the tiles whose result has not been written."""
        done = set(self.state.written)
        return [tile for tile in range(len(self.worker.tiling)) if tile not in done]

    def written(self, tile: int, stage: str) -> None:
        """Record in the state that the result of a tile has been written, and report this as progress of `stage`."""
        self.state.written.append(tile)
        self.manifest.save_sometimes(self.state)
        self.report(
            TileProgress(
                operation=self.worker.work.name,
                stage=stage,
                tile=tile,
                done=len(self.state.written),
                total=len(self.worker.tiling),
                passes=max((course.passes for course in self.state.courses), default=1),
            )
        )
