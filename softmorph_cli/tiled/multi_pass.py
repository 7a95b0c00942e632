"""A few iterations at a time: part by part, an image is brought to rest in passes, and kept compressed in between.

What a pass visits. If the *last* iteration of a pass changed nothing within k iterations' reach of a voxel, the
next k find there what that iteration found, and leave the voxel alone. So of each tile a box is kept that holds
what the last iteration changed; the next pass computes what of a tile lies in reach of such boxes, if any does.

When it stops. A part stops after an iteration in which nothing changes anywhere. `Course.last` is the last iteration
of a pass that changed a core; below the pass's length, the one after it changed nothing anywhere.

Only this process knows and writes down how far the map is. Who does the visits is told all that a visit needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from math import prod

from softmorph_cli.tiled.crew import Crew
from softmorph_cli.tiled.manifest import Corners, Course, Manifest, State
from softmorph_cli.tiled.plane_store import Key
from softmorph_cli.tiled.progress import Report, TileProgress
from softmorph_cli.tiled.tile_pass import Visit
from softmorph_cli.tiled.tile_worker import Site
from softmorph_cli.tiled.tiling import Box, hull, overlap, size


class Passes:
    """The passes over one map.

    Args:
        site: The map, the filter and how it is cut.
        crew: Who visits the tiles.
        manifest: Where it is written how far this is.
        state: How far it is.
        report: Called after every tile.
    """

    def __init__(self, site: Site, crew: Crew, manifest: Manifest, state: State, report: Report) -> None:
        """Keep what takes part."""
        assert site.plan.pass_length is not None
        self.site, self.crew, self.manifest, self.state, self.report = site, crew, manifest, state, report
        self.parts, self.tiling, self.length = site.work.parts, site.tiling, site.plan.pass_length

    def run(self) -> None:
        """Bring every part to its end; one that follows another begins where that one came to rest."""
        courses = self.state.courses
        self.site.store.keep(self._kept())
        for number, part in enumerate(self.parts):
            if part.follows and courses[number - 1].reason != "stable":
                break
            if number == len(courses):
                blank = [0] * len(self.tiling)
                courses.append(
                    Course(
                        version=blank,
                        live=[_corners(self.tiling.core(tile)) for tile in range(len(blank))],
                        dead=[False] * len(blank),
                    )
                )
            while not courses[number].reason:
                self._pass(number, courses[number])

    def last(self) -> list[int]:
        """Return the parts that no other followed: what they left is the result."""
        begun = range(len(self.state.courses))
        return [one for one in begun if one + 1 not in begun or not self.parts[one + 1].follows]

    def _kept(self) -> Iterator[Key]:
        """Yield the images that are still needed."""
        courses = self.state.courses
        for number, course in enumerate(courses):
            yield from (Key(number, tile, course.passes + 1) for tile, done in course.done.items() if done[1])
            if number in self.last() or not courses[number + 1].passes:
                yield from (
                    Key(number, tile, version) for tile, version in enumerate(course.version) if version
                )

    def _cap(self, number: int) -> int:
        return self.parts[number].phase.iterations or self.site.work.filter.max_iterations

    def _pass(self, number: int, course: Course) -> None:
        length = min(self.length, self._cap(number) - course.iterations)
        focused = ((tile, self._focus(number, course, tile)) for tile in range(len(self.tiling)))
        visited = {tile: focus for tile, focus in focused if focus is not None}
        left = [(tile, focus) for tile, focus in visited.items() if tile not in course.done]
        if self.crew.workers > 1:
            # What takes longest goes first, so that nobody waits long for the last.
            left.sort(key=lambda one: -prod(size(one[1])))
        # Made when it is drawn: it knows then what was found out so far.
        visits = (self._visit(number, course, tile, focus, length) for tile, focus in left)
        with closing(self.crew.each(self.site, Site.visit, visits)) as coming:
            for visit, found in coming:
                live = None if found.live is None else _corners(found.live)
                course.done[visit.tile] = live, found.new, found.dead
                course.last = max(course.last, found.last)
                self.manifest.save_sometimes(self.state)
                self.report(
                    TileProgress(
                        operation=self.site.work.name,
                        stage="pass",
                        tile=visit.tile,
                        done=len(course.done),
                        total=len(visited),
                        part=self.parts[number].name,
                        passes=course.passes + 1,
                        iterations=course.iterations,
                        live=sum(box is not None for box, _, _ in course.done.values()),
                        changed=found.changed,
                    )
                )
        self._finish(number, course, length)
        # Before the old images go: a run that ends here must find those that its manifest names.
        self.manifest.save(self.state)
        self.site.store.keep(self._kept())

    def _visit(self, number: int, course: Course, tile: int, focus: Box, length: int) -> Visit:
        near = {tile, *self.tiling.touched(self.tiling.grown(focus, self._halo(number)))}
        begins = not course.passes and self.parts[number].follows
        known = self.state.courses[number - 1] if begins else course
        versions = {other: known.version[other] for other in near}
        return Visit(number, course.passes, tile, focus, length, course.last, versions)

    def _halo(self, number: int) -> tuple[int, ...]:
        return self.site.plan.halo_of(self.parts[number])

    def _focus(self, number: int, course: Course, tile: int) -> Box | None:
        """Return what of a tile the next pass may change; None for nothing."""
        if course.dead[tile]:
            return None
        core, halo = self.tiling.core(tile), self._halo(number)
        parts = []
        for other in self.tiling.touched(self.tiling.grown(core, halo)):
            corners = course.live[other]
            if corners is not None:
                live = tuple(slice(first, last) for first, last in corners)
                parts.append(overlap(core, self.tiling.grown(live, halo)))
        return hull(part for part in parts if part is not None)

    def _finish(self, number: int, course: Course, length: int) -> None:
        cap = self._cap(number)
        course.passes += 1
        course.live = [None] * len(self.tiling)
        for tile, (live, new, dead) in course.done.items():
            course.live[tile], course.dead[tile] = live, dead
            if new:
                course.version[tile] = course.passes
        rested = course.last < length
        # Asked for a number of iterations, a map at rest has run the others too: they change nothing.
        if self.parts[number].phase.iterations is not None:
            course.iterations = cap if rested else course.iterations + length
            course.reason = "iterations" if course.iterations == cap else ""
        else:
            course.iterations += course.last + 1 if rested else length
            course.reason = "stable" if rested else "max_iterations" if course.iterations == cap else ""
        course.last, course.done = 0, {}


def _corners(box: Box) -> Corners:
    return [[part.start, part.stop] for part in box]
