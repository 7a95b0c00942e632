"""A few iterations at a time: bit planes are brought to rest tile by tile, and kept compressed in between.

A pass of k iterations reads each tile with a halo as wide as k iterations look, from what the pass before left
(never from this pass), and keeps the core: so the core is what the whole map would hold after k iterations.

What a pass visits. If the *last* iteration of a pass changed nothing within k iterations' reach of a voxel, the
next k find there what that iteration found, and leave the voxel alone. So of each tile a box is kept that holds
what the last iteration changed; the next pass computes what of a tile lies in reach of such boxes, if any does.

When it stops. The whole map stops after an iteration in which nothing changes. `Word.last` is the last iteration
of a pass that changed a core; below the pass's length, the one after it changed nothing anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from softmorph_cli.filters.run import Job, pack
from softmorph_cli.kernels.backend import Field
from softmorph_cli.kernels.workers import Pool
from softmorph_cli.tiles.blocks import Array, Source
from softmorph_cli.tiles.manifest import Corners, Manifest, State, Word
from softmorph_cli.tiles.plan import Plan
from softmorph_cli.tiles.progress import Report, TileProgress
from softmorph_cli.tiles.spec import Task
from softmorph_cli.tiles.store import Key, Store
from softmorph_cli.tiles.tiling import Box, Tiling, hull, overlap, within
from softmorph_cli.tiles.window import Kind, Window, check_proper, give_back_memory


class Passes:
    """The passes over one map.

    Args:
        work: The filter, of one phase, on bit planes.
        plan: How the map is cut.
        source: The map.
        kind: Of what type its values are.
        store: For the planes.
        manifest: Where it is written how far this is.
        state: How far it is.
        words: How many words of planes there are.
        threads: How many threads compute.
        report: Called after every tile.
    """

    def __init__(
        self,
        work: Task,
        plan: Plan,
        source: Source,
        kind: Kind,
        store: Store,
        manifest: Manifest,
        state: State,
        *,
        words: int,
        threads: int,
        report: Report,
    ) -> None:
        """Keep what takes part."""
        assert plan.pass_length is not None
        self.work, self.plan, self.source, self.kind = work, plan, source, kind
        self.store, self.manifest, self.state, self.report = store, manifest, state, report
        self.words, self.threads, self.length = words, threads, plan.pass_length
        self.tiling = Tiling(plan.shape, plan.tile)
        self.steps = work.steps
        self.absorbing = work.sequences[0][0].rule.absorbing
        self.job = Job(work.name, work.sequences[0], work.settings, Window(threads, (), plan.shape))

    def run(self) -> None:
        """Bring every word of planes to its end."""
        for number in range(self.words):
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

    def kept(self) -> Iterator[Key]:
        """Yield the planes that are still needed."""
        for number, word in enumerate(self.state.words):
            yield from (Key(number, tile, version) for tile, version in enumerate(word.version) if version)
            yield from (Key(number, tile, word.passes + 1) for tile, done in word.done.items() if done[1])

    def _pass(self, number: int, word: Word) -> None:
        cap = self.work.iterations or self.work.settings.max_iterations
        length = min(self.length, cap - word.iterations)
        focused = ((tile, self._focus(word, tile)) for tile in range(len(self.tiling)))
        visited = {tile: focus for tile, focus in focused if focus is not None}
        for tile, focus in visited.items():
            if tile in word.done:
                continue
            changed = self._visit(number, word, tile, focus, length)
            give_back_memory()
            self.manifest.save_sometimes(self.state)
            self.report(
                TileProgress(
                    operation=self.work.name,
                    stage="pass",
                    tile=tile,
                    done=len(word.done),
                    total=len(visited),
                    passes=word.passes + 1,
                    iterations=word.iterations,
                    word=number + 1,
                    words=self.words,
                    live=sum(live is not None for live, _, _ in word.done.values()),
                    changed=changed,
                )
            )
        self._finish(word, length, cap)
        # Before the old planes go: a run that ends here must find those that its manifest names.
        self.manifest.save(self.state)
        self.store.keep(self.kept())

    def _focus(self, word: Word, tile: int) -> Box | None:
        """Return what of a tile the next pass may change; None for nothing."""
        if word.dead[tile]:
            return None
        core = self.tiling.core(tile)
        parts = []
        for other in self.tiling.touched(self.tiling.grown(core, self.plan.halo)):
            corners = word.live[other]
            if corners is not None:
                live = tuple(slice(first, last) for first, last in corners)
                parts.append(overlap(core, self.tiling.grown(live, self.plan.halo)))
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

    def _visit(self, number: int, word: Word, tile: int, focus: Box, length: int) -> int:
        core, first = self.tiling.core(tile), word.passes == 0
        region = self.tiling.grown(focus, self.plan.halo)
        planes = self._load(number, word, region)
        if self._dead(planes[within(focus, region)]):
            # In the first pass the focus is the core; later this part of it is nothing new.
            self._keep(number, word, tile, planes[within(core, region)] if first else None, live=None)
            return 0
        field = self.job.backend.field(planes)
        # The field lets go of it: there is no room for a third buffer.
        del planes
        try:
            field.begin(self.steps)
            moved, change = self._iterations(field, focus, region, word, length)
            final = field.image()[within(focus, region)]
            if focus == core:
                self._keep(number, word, tile, final if moved or first else None, live=change.box)
                return change.count
            part = final.copy() if moved else None
        finally:
            field.close()
        del field, final
        if part is None:
            self._keep(number, word, tile, None, live=None)
            return 0
        tiled = self.store.read(core, number, word.version)
        tiled[within(focus, core)] = part
        self._keep(number, word, tile, tiled, live=change.box)
        return change.count

    def _keep(self, number: int, word: Word, tile: int, planes: Array | None, *, live: Box | None) -> None:
        if planes is not None:
            self.store.write(Key(number, tile, word.passes + 1), planes)
        dead = planes is not None and self._dead(planes)
        word.done[tile] = None if live is None else _corners(live), planes is not None, dead

    def _load(self, number: int, word: Word, region: Box) -> Array:
        if word.passes:
            return self.store.read(region, number, word.version)
        window = Window(self.threads, region, self.plan.shape)
        values = self.kind.read(self.source, region)
        check_proper(window, values)
        if self.work.spec.hard:
            return self.job.backend.pack_mask(values, self.work.spec.threshold)  # type: ignore[no-any-return]
        return pack(replace(self.job, backend=window), values, number)  # type: ignore[no-any-return]

    def _iterations(
        self, field: Field, focus: Box, region: Box, word: Word, length: int
    ) -> tuple[int, _Change]:
        """Run a pass over a region.

        Returns:
            How many changes there were in the region at all, halo included, and what the last iteration changed
            of the focus.
        """
        total, change = 0, _Change()
        for iteration in range(1, length + 1):
            # What lies in the halo is not to be believed, and looking at the focus takes time: it is looked at
            # where nobody knows yet of a change as late as this.
            watched = focus != region and (iteration == length or iteration > word.last)
            moved, change = self._iterate(field, focus, region, watched)
            total += moved
            if not moved:
                return total, _Change()
            if focus == region:
                change = _Change(moved, focus)
            if change.count:
                word.last = max(word.last, iteration)
        return total, change

    def _iterate(self, field: Field, focus: Box, region: Box, watched: bool) -> tuple[int, _Change]:
        # Of a rule that only deletes or only adds, no step undoes another.
        units = [self.steps] if self.absorbing is not None else [(step,) for step in self.steps]
        inner = within(focus, region)
        moved, change = 0, _Change()
        for steps in units:
            before = field.image()[inner].copy() if watched else None
            for step in steps:
                field.sweep(step)
                moved += field.changed
            if before is not None and moved:
                change += self._differing(before, field.image()[inner], focus)
        return moved, change

    def _differing(self, before: Array, after: Array, focus: Box) -> _Change:
        def part(first: int, last: int) -> _Change:
            found = _Change()
            for place in range(first, last):
                differs = before[place] != after[place]
                count = int(np.count_nonzero(differs))
                if count:
                    found += _Change(count, (slice(place, place + 1), *_bounds(differs)))
            return found

        found = sum(Pool(self.threads, before.size).share(part, len(before)), _Change())
        if found.box is None:
            return found
        placed = (
            slice(inner.start + outer.start, inner.stop + outer.start)
            for inner, outer in zip(found.box, focus, strict=True)
        )
        return _Change(found.count, tuple(placed))

    def _dead(self, core: Array) -> bool:
        """Say whether all voxels have a value that the rule never changes."""
        if self.absorbing is None:
            return False
        value = core.dtype.type(np.iinfo(core.dtype).max if self.absorbing else 0)
        return not any(bool((plane != value).any()) for plane in core)


@dataclass(frozen=True)
class _Change:
    """How many voxels changed, and a box that holds them."""

    count: int = 0
    box: Box | None = None

    def __add__(self, other: _Change) -> _Change:
        return _Change(
            self.count + other.count, hull(box for box in (self.box, other.box) if box is not None)
        )


def _bounds(mask: Array) -> Box:
    """Return the smallest box that holds what is true, which is something."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        places = np.flatnonzero(mask.any(axis=others))
        box.append(slice(int(places[0]), int(places[-1]) + 1))
    return tuple(box)


def _corners(box: Box) -> Corners:
    return [[part.start, part.stop] for part in box]
