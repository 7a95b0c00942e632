"""A run over the tiles of a map, each filtered in a single pass."""

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
    """A run over the tiles of a map.

    Attributes:
        worker: The map, the filter and how it is cut.
        executor: Filters the tiles.
        manifest: The file that the state is saved in.
        state: The state of the run.
        report: Called after every tile.
    """

    worker: TileWorker
    executor: TileExecutor
    manifest: TileManifest
    state: RunState
    report: OnTile

    def run(self) -> Result:
        """Filter the tiles whose result has not been written."""
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
        """Return the tiles whose result has not been written."""
        done = set(self.state.written)
        return [tile for tile in range(len(self.worker.tiling)) if tile not in done]

    def written(self, tile: int, stage: str) -> None:
        """Record and report that the result of a tile has been written."""
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
