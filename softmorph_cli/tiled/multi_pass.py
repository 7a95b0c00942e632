"""Tiled runs in several passes of a few iterations, between which the images of the tiles are stored compressed.

Tiles that a pass visits: if the *last* iteration of a pass changed no voxel within the reach of k iterations around a
voxel, the next k iterations do not change that voxel. So for each tile the state has a box that contains the voxels
which the last iteration changed; the next pass computes the voxels of a tile within reach of such boxes, if any.

End of a part (a sequence of iterations on one image): a part stops after an iteration in which no voxel changes.
`PartState.last` is the last iteration of a pass that changed the core of a tile (the tile without its halo); if this
is below the number of iterations of the pass, the next iteration changed no voxel.

Only this process keeps the state of the run. Workers receive all data that a pass of a tile needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from math import prod

from softmorph_cli.filters.settings import Result, warn_if_capped
from softmorph_cli.tiled.manifest import REASONS, Corners, PartState
from softmorph_cli.tiled.plane_store import ImageKey
from softmorph_cli.tiled.progress import TileProgress
from softmorph_cli.tiled.tile_boxes import Box, hull, overlap, size
from softmorph_cli.tiled.tile_pass import PassRequest
from softmorph_cli.tiled.tile_run import TileRun
from softmorph_cli.tiled.tile_worker import TileWorker


@dataclass(frozen=True)
class MultiPass(TileRun):
    """A tiled run in passes: each pass applies a few iterations to every tile that can still change."""

    def run(self) -> Result:
        """Run every part of the filter to its end, write the result of all tiles, and return it without an image."""
        self._run_parts()
        courses, last = self.state.courses, self._last_parts()
        settled = (
            (tile, {number: courses[number].version[tile] for number in last}) for tile in self.unwritten()
        )
        with closing(self.executor.map_unordered(self.worker, TileWorker.finish, settled)) as coming:
            for (tile, _), _ in coming:
                self.written(tile, "write")
        # The iterations of parts that follow each other add up.
        before = (0, *(part + 1 for part in last))
        chains = (courses[first:end] for first, end in pairwise(before))
        result = Result(
            None,
            iterations=max(sum(course.iterations for course in chain) for chain in chains),
            stop_reason=max((course.reason for course in courses), key=REASONS.index),
        )
        return warn_if_capped(result, self.worker.work.settings)

    def _run_parts(self) -> None:
        """Run every part to its end; a part that starts from another part's result runs only if this is stable."""
        courses, tiling = self.state.courses, self.worker.tiling
        self.worker.store.keep(self._needed())
        for number, part in enumerate(self.worker.work.parts):
            if part.follows and courses[number - 1].reason != "stable":
                break
            if number == len(courses):
                count = len(tiling)
                live: list[Corners | None] = [_corners(tiling.core(tile)) for tile in range(count)]
                courses.append(PartState(version=[0] * count, live=live, dead=[False] * count))
            while not courses[number].reason:
                self._pass(number, courses[number])

    def _last_parts(self) -> list[int]:
        """Return the indices of the parts from whose images the result is computed: no begun part follows these."""
        begun, parts = range(len(self.state.courses)), self.worker.work.parts
        return [one for one in begun if one + 1 not in begun or not parts[one + 1].follows]

    def _needed(self) -> Iterator[ImageKey]:
        """Yield the keys of the stored images that later passes or the result need."""
        courses = self.state.courses
        for number, course in enumerate(courses):
            yield from (
                ImageKey(number, tile, course.passes + 1) for tile, done in course.done.items() if done[1]
            )
            if number in self._last_parts() or not courses[number + 1].passes:
                yield from (
                    ImageKey(number, tile, version) for tile, version in enumerate(course.version) if version
                )

    def _cap(self, number: int) -> int:
        return self.worker.work.parts[number].phase.iterations or self.worker.work.filter.max_iterations

    def _pass(self, number: int, course: PartState) -> None:
        assert self.worker.plan.pass_length is not None
        length = min(self.worker.plan.pass_length, self._cap(number) - course.iterations)
        focused = ((tile, self._focus(number, course, tile)) for tile in range(len(self.worker.tiling)))
        visited = {tile: focus for tile, focus in focused if focus is not None}
        left = [(tile, focus) for tile, focus in visited.items() if tile not in course.done]
        if self.executor.workers > 1:
            # The largest first, so that workers wait as little as possible for the last tile.
            left.sort(key=lambda one: -prod(size(one[1])))
        # Made when it is drawn, with the state at that time.
        requests = (self._request(number, course, tile, focus, length) for tile, focus in left)
        with closing(self.executor.map_unordered(self.worker, TileWorker.run_pass, requests)) as coming:
            for request, outcome in coming:
                live = None if outcome.live is None else _corners(outcome.live)
                course.done[request.tile] = live, outcome.new, outcome.dead
                course.last = max(course.last, outcome.last)
                self.manifest.save_sometimes(self.state)
                self.report(
                    TileProgress(
                        operation=self.worker.work.name,
                        stage="pass",
                        tile=request.tile,
                        done=len(course.done),
                        total=len(visited),
                        part=self.worker.work.parts[number].name,
                        passes=course.passes + 1,
                        iterations=course.iterations,
                        live=sum(box is not None for box, _, _ in course.done.values()),
                        changed=outcome.changed,
                    )
                )
        self._finish(number, course, length)
        # Saved before old images are removed: a resumed run needs those that its manifest names.
        self.manifest.save(self.state)
        self.worker.store.keep(self._needed())

    def _request(self, number: int, course: PartState, tile: int, focus: Box, length: int) -> PassRequest:
        near = {tile, *self.worker.tiling.touched(self.worker.tiling.grown(focus, self._halo(number)))}
        begins = not course.passes and self.worker.work.parts[number].follows
        known = self.state.courses[number - 1] if begins else course
        versions = {other: known.version[other] for other in near}
        return PassRequest(number, course.passes, tile, focus, length, course.last, versions)

    def _halo(self, number: int) -> tuple[int, ...]:
        return self.worker.plan.halo_of(self.worker.work.parts[number])

    def _focus(self, number: int, course: PartState, tile: int) -> Box | None:
        """Return a box that contains the voxels of a tile which the next pass may change; None if it changes none."""
        if course.dead[tile]:
            return None
        core, halo = self.worker.tiling.core(tile), self._halo(number)
        parts = []
        for other in self.worker.tiling.touched(self.worker.tiling.grown(core, halo)):
            corners = course.live[other]
            if corners is not None:
                live = tuple(slice(first, last) for first, last in corners)
                parts.append(overlap(core, self.worker.tiling.grown(live, halo)))
        return hull(part for part in parts if part is not None)

    def _finish(self, number: int, course: PartState, length: int) -> None:
        cap = self._cap(number)
        course.passes += 1
        course.live = [None] * len(self.worker.tiling)
        for tile, (live, new, dead) in course.done.items():
            course.live[tile], course.dead[tile] = live, dead
            if new:
                course.version[tile] = course.passes
        stable = course.last < length
        # If a number of iterations was asked for, the remaining ones of a stable map count too.
        if self.worker.work.parts[number].phase.iterations is not None:
            course.iterations = cap if stable else course.iterations + length
            course.reason = "iterations" if course.iterations == cap else ""
        else:
            course.iterations += course.last + 1 if stable else length
            course.reason = "stable" if stable else "max_iterations" if course.iterations == cap else ""
        course.last, course.done = 0, {}


def _corners(box: Box) -> Corners:
    return [[part.start, part.stop] for part in box]
