"""A map filtered in tiles by several processes equals, bit for bit, the map filtered as a whole."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_boxes import ArrayReader, ArrayWriter
from helpers_filters import made
from helpers_maps import same_bits, vessels
from helpers_tiles import StopError, Tiled, WaitsOnce, cut_by_hand, on_cluster, tiled, until, whole

from softmorph_cli.errors import ClusterError, InputError
from softmorph_cli.filters.filter import SoftFilter
from softmorph_cli.filters.settings import Settings
from softmorph_cli.io.blocks import open_blocks
from softmorph_cli.io.new_blocks import create_blocks
from softmorph_cli.rules import catalog
from softmorph_cli.tiled import TileExecutor, filter_tiles
from softmorph_cli.workers import Lost
from softmorph_cli.workers.cluster import Cluster

RNG = np.random.default_rng(5)
TUBES = vessels((61, 49, 73), 1, noise=0.08).astype(np.float32)
EVEN = (0.2 * RNG.random((83, 90), np.float32) + np.float32(0.7)).astype(np.float32)
TILE, LENGTH = (32, 32, 40), 2
LEVELS = made("skeletonize", Settings("levels", levels=16))


def check(made: Tiled, spec: SoftFilter, image: np.ndarray) -> None:
    wanted = whole(spec, image)
    assert same_bits(made.image, np.asarray(wanted.image, np.float32))
    if wanted.standard_error is not None:
        assert same_bits(made.error, wanted.standard_error)
    found = made.result
    assert (found.iterations, found.stop_reason) == (wanted.iterations, wanted.stop_reason)
    assert (found.radius, found.warnings) == (wanted.radius, wanted.warnings)
    assert found.finished == wanted.finished


@pytest.mark.parametrize(
    ("spec", "length"),
    [
        (made("skeletonize", Settings("levels", levels=128), iterations=4), 3),
        (made("skeletonize", hard=True, threshold=0.3), 3),
        (made("skeletonize", Settings("nested")), 3),
        (made("skeletonize", Settings("nested", levels="exact")), 2),
        (made("skeletonize", Settings("sampled", levels=64, seed=4)), 3),
        (made("erosion", Settings("multilinear"), dilation=26, iterations=2), None),
        (made("apply", Settings("levels", levels=8), rule=catalog.bundled("thinning", 3), iterations=3), 2),
    ],
    ids=["levels", "hard", "nested", "exact", "sampled", "erosion", "rule"],
)
def test_the_same_result(spec: SoftFilter, length: int | None, cluster: Cluster, tmp_path: Path) -> None:
    # First here, so that the kernels are compiled once.
    alone = tiled(spec, TUBES, TILE, length)
    made = on_cluster(cluster, spec, tmp_path, TUBES, TILE, length)
    check(made, spec, TUBES)
    # The same number of tiles in each pass; only their order may differ.
    assert Counter((p.stage, p.part, p.passes) for p in made.progress) == Counter(
        (p.stage, p.part, p.passes) for p in alone.progress
    )


def test_facts_of_all_tiles_are_combined(cluster: Cluster, tmp_path: Path) -> None:
    spec = made("tophat", Settings("multilinear"))
    assert whole(spec, EVEN).warnings
    check(on_cluster(cluster, spec, tmp_path, EVEN, (32, 48)), spec, EVEN)


def killer(mark: Path) -> threading.Thread:
    """Start a thread that kills the process whose number is written into a file."""

    def kill() -> None:
        while not (mark.exists() and mark.read_text()):
            time.sleep(0.01)
        os.kill(int(mark.read_text()), signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread


@pytest.mark.posix
@pytest.mark.parametrize("when", ["source", "target"])
def test_the_tile_of_a_killed_worker_is_repeated(when: str, cluster: Cluster, tmp_path: Path) -> None:
    """It is killed while it reads a tile, or after it has written the tile but before that is reported."""
    mark = tmp_path / "mark"
    thread = killer(mark)
    made = on_cluster(cluster, LEVELS, tmp_path, TUBES, TILE, LENGTH, **{when: partial(WaitsOnce, mark=mark)})
    thread.join(0)
    assert not thread.is_alive()
    check(made, LEVELS, TUBES)


@pytest.mark.parametrize("first", ["cluster", "alone"])
def test_a_run_is_resumed_on_a_cluster_and_off_it(first: str, cluster: Cluster, tmp_path: Path) -> None:
    scratch, image = tmp_path / "scratch", np.full_like(TUBES, 77)
    before, after = list[Any](), list[Any]()

    def run(by: str, **more: Any) -> Tiled:
        if by == "cluster":
            return on_cluster(
                cluster, LEVELS, tmp_path, TUBES, TILE, LENGTH, scratch=scratch, fingerprint="x", **more
            )
        plan = cut_by_hand(LEVELS, TUBES.shape, TILE, LENGTH)
        result = filter_tiles(
            ArrayReader(TUBES),
            ArrayWriter(image),
            LEVELS,
            plan,
            scratch=scratch,
            fingerprint="x",
            **more,
        )
        return Tiled(image, image, result)

    with pytest.raises(StopError):
        run(first, progress=until(20, before))
    made = run("alone" if first == "cluster" else "cluster", progress=after.append, resume=True)
    check(made, LEVELS, TUBES)
    assert len(before) + len(after) == len(tiled(LEVELS, TUBES, TILE, LENGTH).progress)
    assert not scratch.exists()


def test_errors_of_a_tile_are_raised(cluster: Cluster, tmp_path: Path) -> None:
    wrong = TUBES.copy()
    wrong[60, 48, 72] = 7
    with pytest.raises(InputError, match=r"values from 0 to 7"):
        on_cluster(cluster, LEVELS, tmp_path, wrong, TILE, LENGTH)
    assert [path.name for path in tmp_path.iterdir()] == ["in.npy"]


def test_tiles_that_share_a_chunk_are_refused_on_a_cluster(cluster: Cluster, tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", TUBES)
    blocks = open_blocks(tmp_path / "in.npy")
    spec = made("erosion")
    with (
        pytest.raises(InputError, match="not made of whole chunks is written by one process only"),
        create_blocks(tmp_path / "out.zarr", blocks, chunks=(16, 16, 16)) as written,
    ):
        filter_tiles(
            blocks,
            written,
            spec,
            cut_by_hand(spec, TUBES.shape, TILE, None),
            executor=TileExecutor(cluster, [], [tmp_path]),
        )


def test_an_array_in_memory_cannot_be_written_by_other_processes(cluster: Cluster, tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", TUBES)
    spec = made("erosion")
    with pytest.raises(TypeError, match="in memory"):
        filter_tiles(
            open_blocks(tmp_path / "in.npy"),
            ArrayWriter(np.empty_like(TUBES)),
            spec,
            cut_by_hand(spec, TUBES.shape, TILE, None),
            executor=TileExecutor(cluster),
        )


def test_a_folder_that_a_worker_does_not_see_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    spec = made("erosion")
    np.save(tmp_path / "in.npy", TUBES)
    with pytest.raises(
        ClusterError, match=r"a worker does not see .*other\.npy; use a folder that all machines"
    ):
        filter_tiles(
            open_blocks(tmp_path / "in.npy"),
            ArrayWriter(np.empty_like(TUBES)),
            spec,
            cut_by_hand(spec, TUBES.shape, TILE, None),
            executor=TileExecutor(cluster, [tmp_path / "other.npy"]),
        )


def test_a_tile_that_kills_every_worker_ends_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class LosesAll:
        workers, in_process = 2, False

        def check_folders(self, *folders: Any) -> None:
            pass

        def map_unordered(self, function: Any, items: Any) -> Any:
            yield next(items), Lost(4)

    np.save(tmp_path / "in.npy", TUBES)
    executor: Any = LosesAll()
    with pytest.raises(ClusterError, match=r"all 4 workers that had one of the tiles died.*; start again\.$"):
        on_cluster(executor, LEVELS, tmp_path, TUBES, TILE, LENGTH)
