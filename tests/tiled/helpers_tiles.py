"""Runs a filter in tiles, in this process or on a cluster, and on the whole map."""

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
from softmorph_cli.io.blocks import open_blocks
from softmorph_cli.io.new_blocks import create_blocks
from softmorph_cli.io.reading import read
from softmorph_cli.io.zarr_writing import chunks_of_tiles
from softmorph_cli.tiled import TileExecutor, TilePlan, TileProgress, filter_tiles
from softmorph_cli.tiled.tiled_filter import tiled_filter
from softmorph_cli.workers.cluster import Cluster

# Some tiles extend over the whole map along an axis.
CUTS = {3: ((24, 16, 32), (32, 64, 17)), 2: ((16, 32), (23, 90))}


@dataclass
class Tiled:
    """The result of a run in tiles."""

    image: np.ndarray
    error: np.ndarray
    result: Result
    progress: list[Any] = field(default_factory=list)


def whole(chosen: SoftFilter, image: np.ndarray) -> Result:
    """Return the result of the whole image."""
    return chosen(image)


def cut_by_hand(
    spec: SoftFilter, shape: tuple[int, ...], tile: tuple[int, ...], length: int | None
) -> TilePlan:
    """Return a plan with these tiles, in passes of `length` iterations or in a single pass."""
    work = tiled_filter(spec, shape)
    halo = work.halo if length is None else tuple(length * reach for reach in work.reach)
    assert halo is not None
    return TilePlan(shape, tile, halo, 0, length, 0, 0, 0.0)


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
        cut_by_hand(spec, image.shape, tile, length),
        progress=made.progress.append,
        error_target=ArrayWriter(made.error),
        **more,
    )
    return made


def check(
    spec: SoftFilter, image: np.ndarray, length: int | None = None, cuts: Sequence[tuple[int, ...]] = ()
) -> Result:
    """Check that a map filtered in tiles equals the whole one; return the result of the latter."""
    wanted = whole(spec, image)
    for tile in cuts or CUTS[image.ndim]:
        got = tiled(spec, image, tile, length)
        assert same_bits(got.image, wanted.image)
        if wanted.standard_error is not None:
            assert same_bits(got.error, wanted.standard_error)
        found = got.result
        assert (found.iterations, found.stop_reason) == (wanted.iterations, wanted.stop_reason)
        assert (found.radius, found.warnings, found.image) == (wanted.radius, wanted.warnings, None)
        assert found.finished == wanted.finished
    return wanted


@dataclass(frozen=True)
class WaitsOnce:
    """A source or target that, on its first use, writes its process's number into a file and waits to be killed."""

    of: Any
    mark: Path

    @property
    def resumed(self) -> bool:
        return bool(self.of.resumed)

    def has(self, box: Any) -> bool:
        return bool(self.of.has(box))

    def flush(self) -> None:
        self.of.flush()

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.of.shape)

    @property
    def chunks(self) -> tuple[int, ...]:
        return tuple(self.of.chunks)

    def read(self, box: Any) -> Any:
        # The type of the map is found by reading one voxel.
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
        raise AssertionError("the process was not killed")


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
            cut_by_hand(spec, image.shape, tile, length),
            error_target=errors if drawn else None,
            executor=TileExecutor(cluster, [folder / "in.npy"], [folder]),
            **{"progress": made.progress.append, **more},
        )
        if not drawn:
            whole_map = tuple(slice(0, size) for size in image.shape)
            errors.write(whole_map, np.zeros(image.shape, np.float32))
    made.image, made.error = read(folder / "out.zarr").array, read(folder / "error.zarr").array
    return made


class StopError(Exception):
    """Interrupts a run."""


def until(count: int, seen: list[Any]) -> Any:
    """Return a callback that collects reports and raises `StopError` at the given number."""

    def report(progress: TileProgress) -> None:
        seen.append(progress)
        if len(seen) == count:
            raise StopError

    return report
