"""A pass of one tile: a few iterations. Request and outcome are picklable, so that any process can run the pass.

The tile is read with a halo as wide as the reach of the iterations, from images of the previous pass (never of the
running pass), and only the core (the tile without the halo) is stored: so the core equals the same voxels of the whole
map after these iterations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from softmorph_cli.filters.method import Scheme
from softmorph_cli.filters.run import FilterJob, floor_of, pack, to_ranks
from softmorph_cli.io.blocks import Array, BoxReader
from softmorph_cli.kernels.backend import Field
from softmorph_cli.kernels.bitplanes import WORD
from softmorph_cli.kernels.thread_pool import Pool
from softmorph_cli.tiled.plane_store import ImageKey, PlaneStore
from softmorph_cli.tiled.region_backend import RegionBackend, ValueTypes, check_probabilities
from softmorph_cli.tiled.tile_boxes import Box, hull, within
from softmorph_cli.tiled.tiled_filter import Part, TiledFilter
from softmorph_cli.workers import raise_if_cancelled


@dataclass(frozen=True)
class PassRequest:
    """A request to run a pass of a tile.

    Attributes:
        part: Index of the part of the filter (a sequence of iterations on one image).
        passes: Number of complete passes of the part; in the first pass (0) the image of the part is computed from the
            map, or from the last image of the previous part if `Part.follows`.
        tile: Index of the tile.
        focus: A box in the map that contains the voxels of the tile which may change.
        length: Number of iterations of the pass.
        last: The last iteration of this pass that is known to have changed a voxel of any tile, from 1; 0 if no change
            is known. The pass need not search for changes in iterations up to this one.
        versions: Maps each tile that is read to the number of the pass that wrote the image to read: a pass of the
            part, or of the previous part in the first pass of a part with `Part.follows`.
    """

    part: int
    passes: int
    tile: int
    focus: Box
    length: int
    last: int
    versions: Mapping[int, int]


@dataclass(frozen=True)
class PassOutcome:
    """The outcome of a pass of a tile.

    Attributes:
        live: A box in the map that contains the voxels of the tile which the last iteration changed; None if no voxel
            changed.
        new: Whether an image of the tile was written to the store.
        dead: Whether no voxel of the tile can change any more.
        last: The last iteration that changed a voxel of the tile, or `PassRequest.last` if this is later.
        changed: Number of voxels of the tile that the last iteration changed.
    """

    live: Box | None = None
    new: bool = False
    dead: bool = False
    last: int = 0
    changed: int = 0


class TilePass:
    """A runner for passes of the tiles of one map.

    Args:
        work: The filter, prepared for tiles.
        source: The map, from which boxes of voxels are read.
        kind: The dtypes of the map's values.
        store: The store of tile images between passes.
        threads: Number of threads that filter a tile.
    """

    def __init__(
        self, work: TiledFilter, source: BoxReader, kind: ValueTypes, store: PlaneStore, threads: int
    ) -> None:
        self.work, self.source, self.kind = work, source, kind
        self.store, self.tiling, self.threads = store, store.tiling, threads

    def run(self, request: PassRequest) -> PassOutcome:
        """Run the requested pass of a tile, write the new image to the store if it changed, and return the outcome.

        Raises:
            InputError: If the values of the map are no probabilities.
            FileError: If a stored image is missing or damaged, or cannot be written.
        """
        part, layout = self.work.parts[request.part], self.store.layouts[request.part]
        core, focus, first = self.tiling.core(request.tile), request.focus, request.passes == 0
        region = self.tiling.grown(focus, layout.margin)
        backend = RegionBackend(self.threads, region, self.tiling.shape)
        image = self._load(request, part, backend)
        if _dead(part, image[within(focus, region)]):
            # In the first pass the focus is the core; later the stored image is unchanged.
            return self._keep(request, image[within(core, region)] if first else None)
        field = backend.field(image)
        # The field releases it, as memory is not enough for a third buffer.
        del image
        try:
            field.begin(part.steps, self._floor(part, backend))
            moved, last, change = self._iterations(field, part, focus, region, request)
            final = field.image()[within(focus, region)]
            if focus == core:
                kept = self._keep(request, final if moved or first else None)
                return replace(kept, live=change.box, last=last, changed=change.count)
            inner = final.copy() if moved else None
        finally:
            field.close()
        del field, final
        if inner is None:
            return PassOutcome(last=last)
        tiled = self._stored(request.part, core, request.versions)
        tiled[within(focus, core)] = inner
        return replace(self._keep(request, tiled), live=change.box, last=last, changed=change.count)

    def _keep(self, request: PassRequest, image: Array | None) -> PassOutcome:
        if image is None:
            return PassOutcome()
        bits = image.view(self.store.layouts[request.part].dtype)
        self.store.write(ImageKey(request.part, request.tile, request.passes + 1), bits)
        return PassOutcome(new=True, dead=_dead(self.work.parts[request.part], image))

    def _stored(self, part: int, region: Box, versions: Mapping[int, int]) -> Array:
        kind = self.work.parts[part].type_for(self.kind.wide)
        return self.store.read(region, part, versions).view(kind)

    def _load(self, request: PassRequest, part: Part, backend: RegionBackend) -> Array:
        """Return the image of the backend's region before the requested pass."""
        if request.passes:
            return self._stored(request.part, backend.region, request.versions)
        if part.follows:
            before = self._stored(request.part - 1, backend.region, request.versions)
            if self.work.parts[request.part - 1].ranked:
                return before
            return backend.count(before, WORD, np.empty(0, part.dtype))
        values = self.kind.read(self.source, backend.region)
        check_probabilities(backend, values)
        return self._packed(part, backend, values)

    def _packed(self, part: Part, backend: RegionBackend, values: Array) -> Array:
        if self.work.hard:
            return backend.pack_mask(values, self.work.cut)
        job = FilterJob(self.work.name, (part.phase,), self.work.settings, backend)
        if self.work.method.scheme is not Scheme.NESTED:
            return np.asarray(pack(job, values, part.word))
        if part.ranked:
            # Numbers of levels are exact in both types.
            return np.asarray(to_ranks(job, values), part.type_for(values.dtype))
        sets = self.work.settings.level_sets
        assert sets is not None
        return backend.pack_nested(values, sets)

    def _floor(self, part: Part, backend: RegionBackend) -> Array | None:
        if not part.phase.prunes:
            return None
        # Computed from the map in every pass: the images stored between passes no longer hold the map's values.
        values = self.kind.read(self.source, backend.region)
        job = FilterJob(self.work.name, (part.phase,), self.work.settings, backend)
        return np.asarray(floor_of(job, values), part.type_for(values.dtype))

    def _iterations(
        self, field: Field, part: Part, focus: Box, region: Box, request: PassRequest
    ) -> tuple[int, int, _Change]:
        """Run the iterations of a pass on a region (the box `focus` with its halo).

        Returns:
            The number of changes of voxels in the region, halo included; the last iteration known to have changed a
            voxel of any tile; and the voxels of the focus that the last iteration changed.
        """
        total, last, change = 0, request.last, _Change()
        for iteration in range(1, request.length + 1):
            raise_if_cancelled()
            # Values in the halo may be wrong, and comparing the focus takes time: it is compared only if no change in
            # an iteration as late as this one is known.
            watched = focus != region and (iteration == request.length or iteration > last)
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
        # If a rule only deletes or only adds, no step undoes another.
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
    """Return whether all voxels of `core` have a value that the rule of the part never changes."""
    absorbing = part.phase.rule.absorbing
    if absorbing is None:
        return False
    value = core.dtype.type(np.iinfo(core.dtype).max if absorbing else 0)
    return not any(bool((plane != value).any()) for plane in core)


@dataclass(frozen=True)
class _Change:
    """The number of voxels that changed (`count`), and a box that contains these voxels (`box`)."""

    count: int = 0
    box: Box | None = None

    def __add__(self, other: _Change) -> _Change:
        return _Change(
            self.count + other.count, hull(box for box in (self.box, other.box) if box is not None)
        )


def _bounds(mask: Array) -> Box:
    """Return the smallest box that contains all true voxels of a mask, which has at least one true voxel."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        places = np.flatnonzero(mask.any(axis=others))
        box.append(slice(int(places[0]), int(places[-1]) + 1))
    return tuple(box)
