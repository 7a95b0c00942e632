"""Runs a filter in tiles, by this process or by a cluster, and as a whole."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from helpers_boxes import ArrayReader, ArrayWriter
from helpers_maps import same_bits

from softmorph_cli.filters.filter import MASK, SoftFilter
from softmorph_cli.filters.settings import Result
from softmorph_cli.io import create_blocks, open_blocks, read
from softmorph_cli.io.storing import chunks_of_tiles
from softmorph_cli.tiled import Plan, TileProgress, filter_tiles
from softmorph_cli.tiled.crew import Crew
from softmorph_cli.tiled.prepared import task
from softmorph_cli.workers.cluster import Cluster

# Every other tile reaches from border to border along some axis.
CUTS = {3: ((24, 16, 32), (32, 64, 17)), 2: ((16, 32), (23, 90))}


@dataclass
class Tiled:
    """What came of a run in tiles."""

    image: np.ndarray
    error: np.ndarray
    result: Result
    progress: list[Any] = field(default_factory=list)


def whole(chosen: SoftFilter, image: np.ndarray) -> Result:
    """Return the result of the whole image."""
    return chosen(image)


def cut_by_hand(spec: SoftFilter, shape: tuple[int, ...], tile: tuple[int, ...], length: int | None) -> Plan:
    """Return a plan with these tiles; `length` iterations a pass, or every tile at once."""
    work = task(spec, shape)
    halo = work.halo if length is None else tuple(length * reach for reach in work.reach)
    assert halo is not None
    return Plan(shape, tile, halo, 0, length, 0, 0, 0.0)


def tiled(
    spec: SoftFilter, image: np.ndarray, tile: tuple[int, ...], length: int | None = None, **more: Any
) -> Tiled:
    """Run a filter in tiles of a given size."""
    kind = np.uint8 if spec.gives == MASK else image.dtype
    made = Tiled(np.full(image.shape, 77, kind), np.full(image.shape, 77, image.dtype), Result(None))
    made.result = filter_tiles(
        ArrayReader(image),
        ArrayWriter(made.image),
        spec,
        plan=cut_by_hand(spec, image.shape, tile, length),
        progress=made.progress.append,
        error_target=ArrayWriter(made.error),
        **more,
    )
    return made


def check(
    spec: SoftFilter, image: np.ndarray, length: int | None = None, cuts: Sequence[tuple[int, ...]] = ()
) -> Result:
    """Filter a map as a whole and in tiles, and compare; return what was said of the whole."""
    wanted = whole(spec, image)
    for tile in cuts or CUTS[image.ndim]:
        got = tiled(spec, image, tile, length)
        assert same_bits(got.image, wanted.image)
        if wanted.standard_error is not None:
            assert same_bits(got.error, wanted.standard_error)
        told = got.result
        assert (told.iterations, told.stop_reason) == (wanted.iterations, wanted.stop_reason)
        assert (told.radius, told.warnings, told.image) == (wanted.radius, wanted.warnings, None)
        assert told.finished == wanted.finished
    return wanted


@dataclass(frozen=True)
class Once:
    """A source, or a target, of which the first that has to do with it is never done."""

    of: Any
    mark: Path

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.of.shape)

    @property
    def chunks(self) -> tuple[int, ...]:
        return tuple(self.of.chunks)

    def read(self, box: Any) -> Any:
        # The first read is that of one voxel, by whoever asks for all of it.
        if any(part.stop - part.start > 1 for part in box):
            self._wait()
        return self.of.read(box)

    def write(self, box: Any, values: Any) -> None:
        self.of.write(box, values)
        self._wait()

    def _wait(self) -> None:
        try:
            with self.mark.open("x") as file:
                file.write(str(os.getpid()))
        except FileExistsError:
            return
        time.sleep(60)
        raise AssertionError("nobody ended it")


def on_cluster(
    cluster: Cluster,
    spec: SoftFilter,
    folder: Path,
    image: np.ndarray,
    tile: tuple[int, ...],
    length: int | None = None,
    *,
    source: Any = lambda blocks: blocks,
    target: Any = lambda written: written,
    **more: Any,
) -> Tiled:
    """Run a filter in tiles of a given size on a cluster, from a file and into stores."""
    np.save(folder / "in.npy", image)
    blocks = open_blocks(folder / "in.npy")
    made = Tiled(np.empty(0), np.empty(0), Result(None))
    store: dict[str, Any] = {
        "chunks": chunks_of_tiles(image.shape, "ZYX"[-image.ndim :], tile),
        "force": True,
    }
    with (
        create_blocks(folder / "error.zarr", blocks, **store) as errors,
        create_blocks(
            folder / "out.zarr", blocks, dtype="mask" if spec.gives == MASK else "float32", **store
        ) as written,
    ):
        drawn = spec.settings.method == "sampled"
        made.result = filter_tiles(
            source(blocks),
            target(written),
            spec,
            plan=cut_by_hand(spec, image.shape, tile, length),
            error_target=errors if drawn else None,
            crew=Crew(cluster, [folder / "in.npy"], [folder]),
            **{"progress": made.progress.append, **more},
        )
        if not drawn:
            whole_map = tuple(slice(0, size) for size in image.shape)
            errors.write(whole_map, np.zeros(image.shape, np.float32))
    made.image, made.error = read(folder / "out.zarr").array, read(folder / "error.zarr").array
    return made


class StopError(Exception):
    """Comes from outside, at any time."""


def until(count: int, seen: list[Any]) -> Any:
    """Return what keeps each report of progress and stops at so many."""

    def report(progress: TileProgress) -> None:
        seen.append(progress)
        if len(seen) == count:
            raise StopError

    return report
