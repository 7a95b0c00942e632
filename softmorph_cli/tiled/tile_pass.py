"""One tile in one pass: what is asked is data and so is the answer, so that any process can be asked.

A visit reads the tile with a halo as wide as its iterations look, from what the pass before left (never from this
pass), and keeps the core: so the core is what the whole map would hold after these iterations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from softmorph_cli.filters.method import Family
from softmorph_cli.filters.run import Job, floor_of, pack, to_ranks
from softmorph_cli.io.boxes import BoxReader
from softmorph_cli.io.raw import Array
from softmorph_cli.kernels.backend import Field
from softmorph_cli.kernels.bitplanes import WORD
from softmorph_cli.kernels.workers import Pool
from softmorph_cli.tiled.plane_store import Key, Store
from softmorph_cli.tiled.prepared import Part, Task
from softmorph_cli.tiled.region_backend import Kind, Window, check_proper
from softmorph_cli.tiled.tiling import Box, hull, within
from softmorph_cli.workers import raise_if_cancelled


@dataclass(frozen=True)
class Visit:
    """What is asked.

    Attributes:
        part: Which part of the work.
        passes: How many passes of it are complete; before the first, its image is made from the map, or from what
            the part before left.
        tile: Which tile.
        focus: What of it may change.
        length: How many iterations.
        last: The last iteration of this pass that is known to have changed anything anywhere, from 1; 0 for none.
            Only later ones are of interest.
        versions: For each tile that is read: the pass that wrote its image; in the first pass of a part that
            follows another, the pass of the previous part.
    """

    part: int
    passes: int
    tile: int
    focus: Box
    length: int
    last: int
    versions: Mapping[int, int]


@dataclass(frozen=True)
class Visited:
    """What came of it.

    Attributes:
        live: A box in the map that holds what the last iteration changed of the tile; None for nothing.
        new: Whether an image was written.
        dead: Whether nothing can ever change in the tile.
        last: The last iteration that changed anything in the tile, as far as that is of interest.
        changed: How many voxels the last iteration changed.
    """

    live: Box | None = None
    new: bool = False
    dead: bool = False
    last: int = 0
    changed: int = 0


class Visits:
    """Visits to the tiles of one map.

    Args:
        work: The filter.
        source: The map.
        kind: Of what type its values are.
        store: For what lies between passes.
        threads: How many threads compute.
    """

    def __init__(self, work: Task, source: BoxReader, kind: Kind, store: Store, threads: int) -> None:
        """Keep what takes part."""
        self.work, self.source, self.kind = work, source, kind
        self.store, self.tiling, self.threads = store, store.tiling, threads

    def do(self, visit: Visit) -> Visited:
        """Bring a tile one pass further.

        Raises:
            InputError: If the values are no probabilities.
            FileError: If an image is missing or damaged, or cannot be written.
        """
        part, form = self.work.parts[visit.part], self.store.forms[visit.part]
        core, focus, first = self.tiling.core(visit.tile), visit.focus, visit.passes == 0
        region = self.tiling.grown(focus, form.margin)
        window = Window(self.threads, region, self.tiling.shape)
        image = self._load(visit, part, window)
        if _dead(part, image[within(focus, region)]):
            # In the first pass the focus is the core; later this part of it is nothing new.
            return self._keep(visit, image[within(core, region)] if first else None)
        field = window.field(image)
        # The field lets go of it: there is no room for a third buffer.
        del image
        try:
            field.begin(part.steps, self._floor(part, window))
            moved, last, change = self._iterations(field, part, focus, region, visit)
            final = field.image()[within(focus, region)]
            if focus == core:
                kept = self._keep(visit, final if moved or first else None)
                return replace(kept, live=change.box, last=last, changed=change.count)
            inner = final.copy() if moved else None
        finally:
            field.close()
        del field, final
        if inner is None:
            return Visited(last=last)
        tiled = self._stored(visit.part, core, visit.versions)
        tiled[within(focus, core)] = inner
        return replace(self._keep(visit, tiled), live=change.box, last=last, changed=change.count)

    def _keep(self, visit: Visit, image: Array | None) -> Visited:
        if image is None:
            return Visited()
        bits = image.view(self.store.forms[visit.part].dtype)
        self.store.write(Key(visit.part, visit.tile, visit.passes + 1), bits)
        return Visited(new=True, dead=_dead(self.work.parts[visit.part], image))

    def _stored(self, part: int, region: Box, versions: Mapping[int, int]) -> Array:
        kind = self.work.parts[part].type_for(self.kind.wide)
        return self.store.read(region, part, versions).view(kind)

    def _load(self, visit: Visit, part: Part, window: Window) -> Array:
        """Return what a visit looks at, as it is before."""
        if visit.passes:
            return self._stored(visit.part, window.region, visit.versions)
        if part.follows:
            before = self._stored(visit.part - 1, window.region, visit.versions)
            if self.work.parts[visit.part - 1].ranked:
                return before
            return window.count(before, WORD, np.empty(0, part.dtype))
        values = self.kind.read(self.source, window.region)
        check_proper(window, values)
        return self._packed(part, window, values)

    def _packed(self, part: Part, window: Window, values: Array) -> Array:
        if self.work.hard:
            return window.pack_mask(values, self.work.cut)
        job = Job(self.work.name, (part.phase,), self.work.settings, window)
        if self.work.method.family is not Family.NESTED:
            return np.asarray(pack(job, values, part.word))
        if part.ranked:
            # Where they are numbers of levels, they are the same in either type.
            return np.asarray(to_ranks(job, values), part.type_for(values.dtype))
        sets = self.work.settings.level_sets
        assert sets is not None
        return window.pack_nested(values, sets)

    def _floor(self, part: Part, window: Window) -> Array | None:
        if not part.phase.prunes:
            return None
        # Computed from the map in every pass: the images stored between passes no longer hold the map's values.
        values = self.kind.read(self.source, window.region)
        job = Job(self.work.name, (part.phase,), self.work.settings, window)
        return np.asarray(floor_of(job, values), part.type_for(values.dtype))

    def _iterations(
        self, field: Field, part: Part, focus: Box, region: Box, visit: Visit
    ) -> tuple[int, int, _Change]:
        """Run a pass over a region.

        Returns:
            How many changes there were in the region at all, halo included; the last iteration that is known to
            have changed anything; and what the last iteration of all changed of the focus.
        """
        total, last, change = 0, visit.last, _Change()
        for iteration in range(1, visit.length + 1):
            raise_if_cancelled()
            # What lies in the halo is not to be believed, and looking at the focus takes time: it is looked at
            # where nobody knows yet of a change as late as this.
            watched = focus != region and (iteration == visit.length or iteration > last)
            moved, change = self._iterate(field, part, focus, region, watched)
            total += moved
            if not moved:
                return total, last, _Change()
            if focus == region:
                change = _Change(moved, focus)
            if change.count:
                last = max(last, iteration)
        return total, last, change

    def _iterate(
        self, field: Field, part: Part, focus: Box, region: Box, watched: bool
    ) -> tuple[int, _Change]:
        # Of a rule that only deletes or only adds, no step undoes another.
        monotone = part.phase.rule.absorbing is not None
        units = [part.steps] if monotone else [(step,) for step in part.steps]
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
            change = _Change()
            for place in range(first, last):
                differs = before[place] != after[place]
                count = int(np.count_nonzero(differs))
                if count:
                    change += _Change(count, (slice(place, place + 1), *_bounds(differs)))
            return change

        found = sum(Pool(self.threads, before.size).share(part, len(before)), _Change())
        if found.box is None:
            return found
        placed = (
            slice(inner.start + outer.start, inner.stop + outer.start)
            for inner, outer in zip(found.box, focus, strict=True)
        )
        return _Change(found.count, tuple(placed))


def _dead(part: Part, core: Array) -> bool:
    """Say whether all voxels have a value that the rule never changes."""
    absorbing = part.phase.rule.absorbing
    if absorbing is None:
        return False
    value = core.dtype.type(np.iinfo(core.dtype).max if absorbing else 0)
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
