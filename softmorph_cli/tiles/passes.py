"""A few iterations at a time: bit planes are brought to rest tile by tile, and kept compressed in between.

A pass of k iterations reads each tile with a halo as wide as k iterations look, from what the pass before left
(never from this pass), and keeps the core: so the core is what the whole map would hold after k iterations.

Which tiles a pass visits. If no tile around changed in the *last* iteration of a pass, the region was the same
before and after that iteration; so were all regions that follow from it, and the core stays as it is for
another pass. Hence a tile is visited only if a tile that its region touches changed in the last iteration.

When it stops. The whole map stops after an iteration in which nothing changes. `Word.last` is the last iteration
of a pass that changed a core; below the pass's length, the one after it changed nothing anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from softmorph_cli.filters.run import Job, pack
from softmorph_cli.kernels.backend import Field
from softmorph_cli.kernels.workers import Pool
from softmorph_cli.tiles.blocks import Array, Source
from softmorph_cli.tiles.manifest import Manifest, State, Word
from softmorph_cli.tiles.plan import Plan
from softmorph_cli.tiles.progress import Report, TileProgress
from softmorph_cli.tiles.spec import Task
from softmorph_cli.tiles.store import Key, Store
from softmorph_cli.tiles.tiling import Box, Tiling, within
from softmorph_cli.tiles.window import Kind, Window, check_proper


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
                    Word(version=blank, live=[True] * len(blank), dead=[False] * len(blank))
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
        visited = [tile for tile in range(len(self.tiling)) if self._may_change(word, tile)]
        for tile in visited:
            if tile in word.done:
                continue
            changed = self._visit(number, word, tile, length)
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
                    live=sum(live for live, _, _ in word.done.values()),
                    changed=changed,
                )
            )
        self._finish(word, length, cap)
        # Before the old planes go: a run that ends here must find those that its manifest names.
        self.manifest.save(self.state)
        self.store.keep(self.kept())

    def _may_change(self, word: Word, tile: int) -> bool:
        if word.dead[tile]:
            return False
        around = self.tiling.touched(self.tiling.grown(self.tiling.core(tile), self.plan.halo))
        return any(word.live[other] for other in around)

    def _finish(self, word: Word, length: int, cap: int) -> None:
        word.passes += 1
        word.live = [False] * len(self.tiling)
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

    def _visit(self, number: int, word: Word, tile: int, length: int) -> int:
        core = self.tiling.core(tile)
        region = self.tiling.grown(core, self.plan.halo)
        inner = within(core, region)
        planes = self._load(number, word, region)
        first = word.passes == 0
        if self._dead(planes[inner]):
            self._keep(number, word, tile, planes[inner] if first else None, live=False, dead=True)
            return 0
        field = self.job.backend.field(planes)
        # The field lets go of it: there is no room for a third buffer.
        del planes
        try:
            field.begin(self.steps)
            moved, changed = self._iterations(field, inner, word, length, exact=region == core)
            final = field.image()[inner]
            new = final if moved or first else None
            self._keep(number, word, tile, new, live=changed > 0, dead=self._dead(final))
        finally:
            field.close()
        return changed

    def _keep(
        self, number: int, word: Word, tile: int, planes: Array | None, *, live: bool, dead: bool
    ) -> None:
        if planes is not None:
            self.store.write(Key(number, tile, word.passes + 1), planes)
        word.done[tile] = live, planes is not None, dead

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
        self, field: Field, inner: Box, word: Word, length: int, *, exact: bool
    ) -> tuple[int, int]:
        """Run a pass over a region.

        Returns:
            How many changes there were in the region at all, halo included, and how many voxels of the core
            the last iteration changed.
        """
        total = changed = 0
        for iteration in range(1, length + 1):
            # The core alone tells, and looking at it takes time: it is looked at where nobody knows yet of a
            # change as late as this.
            watched = not exact and (iteration == length or iteration > word.last)
            moved, changed = self._iterate(field, inner, watched)
            total += moved
            if not moved:
                return total, 0
            changed = moved if exact else changed
            if changed:
                word.last = max(word.last, iteration)
        return total, changed

    def _iterate(self, field: Field, inner: Box, watched: bool) -> tuple[int, int]:
        # Of a rule that only deletes or only adds, no step undoes another.
        units = [self.steps] if self.absorbing is not None else [(step,) for step in self.steps]
        moved = changed = 0
        for steps in units:
            before = field.image()[inner].copy() if watched else None
            for step in steps:
                field.sweep(step)
                moved += field.changed
            if before is not None and moved:
                changed += self._differing(before, field.image()[inner])
        return moved, changed

    def _differing(self, before: Array, after: Array) -> int:
        def part(first: int, last: int) -> int:
            pairs = zip(before[first:last], after[first:last], strict=True)
            return sum(int(np.count_nonzero(a != b)) for a, b in pairs)

        return sum(self._shared(part, before))

    def _dead(self, core: Array) -> bool:
        """Say whether all voxels have a value that the rule never changes."""
        if self.absorbing is None:
            return False
        value = core.dtype.type(np.iinfo(core.dtype).max if self.absorbing else 0)
        return not any(bool((plane != value).any()) for plane in core)

    def _shared(self, work: Callable[[int, int], Any], image: Array) -> list[Any]:
        return Pool(self.threads, image.size).share(work, len(image))
