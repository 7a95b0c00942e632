"""A few iterations at a time: bit planes are brought to rest pass by pass, and kept compressed in between.

What a pass visits. If the *last* iteration of a pass changed nothing within k iterations' reach of a voxel, the
next k find there what that iteration found, and leave the voxel alone. So of each tile a box is kept that holds
what the last iteration changed; the next pass computes what of a tile lies in reach of such boxes, if any does.

When it stops. The whole map stops after an iteration in which nothing changes. `Word.last` is the last iteration
of a pass that changed a core; below the pass's length, the one after it changed nothing anywhere.

Only this process knows and writes down how far the map is. Who does the visits is told all that a visit needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from math import prod

from softmorph_cli.tiles.crew import Crew
from softmorph_cli.tiles.manifest import Corners, Manifest, State, Word
from softmorph_cli.tiles.progress import Report, TileProgress
from softmorph_cli.tiles.site import Site
from softmorph_cli.tiles.store import Key
from softmorph_cli.tiles.tiling import Box, hull, overlap, size
from softmorph_cli.tiles.visits import Visit


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
        self.work, self.tiling, self.length = site.work, site.tiling, site.plan.pass_length

    def run(self) -> None:
        """Bring every word of planes to its end."""
        self.site.store.keep(self._kept())
        for number in range(self.site.words):
            if number == len(self.state.words):
                blank = [0] * len(self.tiling)
                self.state.words.append(
                    Word(
                        version=blank,
                        live=[_corners(self.tiling.core(tile)) for tile in range(len(blank))],
                        dead=[False] * len(blank),
                    )
                )
            while not self.state.words[number].reason:
                self._pass(number, self.state.words[number])

    def _kept(self) -> Iterator[Key]:
        """Yield the planes that are still needed."""
        for number, word in enumerate(self.state.words):
            yield from (Key(number, tile, version) for tile, version in enumerate(word.version) if version)
            yield from (Key(number, tile, word.passes + 1) for tile, done in word.done.items() if done[1])

    def _pass(self, number: int, word: Word) -> None:
        cap = self.work.iterations or self.work.settings.max_iterations
        length = min(self.length, cap - word.iterations)
        focused = ((tile, self._focus(word, tile)) for tile in range(len(self.tiling)))
        visited = {tile: focus for tile, focus in focused if focus is not None}
        left = [(tile, focus) for tile, focus in visited.items() if tile not in word.done]
        if self.crew.workers > 1:
            # What takes longest goes first, so that nobody waits long for the last.
            left.sort(key=lambda one: -prod(size(one[1])))
        # Made when it is drawn: it knows then what was found out so far.
        visits = (self._visit(number, word, tile, focus, length) for tile, focus in left)
        with closing(self.crew.each(self.site, Site.visit, visits)) as coming:
            for visit, found in coming:
                live = None if found.live is None else _corners(found.live)
                word.done[visit.tile] = live, found.new, found.dead
                word.last = max(word.last, found.last)
                self.manifest.save_sometimes(self.state)
                self.report(
                    TileProgress(
                        operation=self.work.name,
                        stage="pass",
                        tile=visit.tile,
                        done=len(word.done),
                        total=len(visited),
                        passes=word.passes + 1,
                        iterations=word.iterations,
                        word=number + 1,
                        words=self.site.words,
                        live=sum(live is not None for live, _, _ in word.done.values()),
                        changed=found.changed,
                    )
                )
        self._finish(word, length, cap)
        # Before the old planes go: a run that ends here must find those that its manifest names.
        self.manifest.save(self.state)
        self.site.store.keep(self._kept())

    def _visit(self, number: int, word: Word, tile: int, focus: Box, length: int) -> Visit:
        near = {tile, *self.tiling.touched(self.tiling.grown(focus, self.site.plan.halo))}
        versions = {other: word.version[other] for other in near}
        return Visit(number, word.passes, tile, focus, length, word.last, versions)

    def _focus(self, word: Word, tile: int) -> Box | None:
        """Return what of a tile the next pass may change; None for nothing."""
        if word.dead[tile]:
            return None
        core, halo = self.tiling.core(tile), self.site.plan.halo
        parts = []
        for other in self.tiling.touched(self.tiling.grown(core, halo)):
            corners = word.live[other]
            if corners is not None:
                live = tuple(slice(first, last) for first, last in corners)
                parts.append(overlap(core, self.tiling.grown(live, halo)))
        return hull(part for part in parts if part is not None)

    def _finish(self, word: Word, length: int, cap: int) -> None:
        word.passes += 1
        word.live = [None] * len(self.tiling)
        for tile, (live, new, dead) in word.done.items():
            word.live[tile], word.dead[tile] = live, dead
            if new:
                word.version[tile] = word.passes
        rested = word.last < length
        # Asked for a number of iterations, a map at rest has run the others too: they change nothing.
        if self.work.iterations is not None:
            word.iterations = cap if rested else word.iterations + length
            word.reason = "iterations" if word.iterations == cap else ""
        else:
            word.iterations += word.last + 1 if rested else length
            word.reason = "stable" if rested else "max_iterations" if word.iterations == cap else ""
        word.last, word.done = 0, {}


def _corners(box: Box) -> Corners:
    return [[part.start, part.stop] for part in box]
