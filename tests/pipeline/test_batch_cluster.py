"""A batch on a cluster: the same files as without one, also when workers die."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
from helpers_batch import FatalOnB, folder, recipe, request, task

from softmorph_cli.errors import ClusterError, UsageError
from softmorph_cli.filters.settings import Settings
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.pipeline.batch import on_cluster as module
from softmorph_cli.pipeline.batch.engine import WorkerStatus
from softmorph_cli.pipeline.batch.on_cluster import cluster_engine, on_cluster
from softmorph_cli.pipeline.batch.plan import FileJob, FileSelection
from softmorph_cli.pipeline.batch.recipe import Recipe
from softmorph_cli.pipeline.batch.request import BatchRequest
from softmorph_cli.pipeline.batch.run import carry_out
from softmorph_cli.pipeline.batch.task import Outcome, run_task
from softmorph_cli.workers.cluster import Cluster, ClusterOptions

NAMES = ("a.npy", "b.npy", "c.npy", "d.npy", "e.npy")


@dataclass
class Seen:
    """A watcher that records its calls, and calls a function at every sign."""

    act: Callable[[], None] = lambda: None
    signs: list[WorkerStatus] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    workers: int = 0

    def begin(self, files: int, workers: int) -> None:
        self.workers = workers

    def sign(self, sign: WorkerStatus | None) -> None:
        self.act()
        if sign is not None:
            self.signs.append(sign)

    def outcome(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def note(self, message: str) -> None:
        self.notes.append(message)


def on(cluster: Cluster) -> Any:
    return lambda jobs, made, workers: (cluster_engine(cluster), None)


def files(path: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in path.iterdir() if one.suffix == ".npy"}


def test_the_same_files_as_without_one(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workers have another working folder; relative paths are those of this process."""
    monkeypatch.chdir(tmp_path)
    folder(Path("in"), *NAMES)
    Path("in/broken.npy").write_bytes(b"\x93NUMPY")
    np.save("mask.npy", (np.load("in/a.npy") > 0.3).astype(np.uint8))
    Path("my.toml").write_text('dimensions = 3\naction = "delete"\nwhen = "~[0,0,1]"\n', encoding="utf-8")
    made = recipe("apply:rule=my.toml", reading=ReadOptions(mask=Path("mask.npy")))
    asked = BatchRequest(FileSelection(Path("in"), Path("out")), made)
    seen = Seen()
    done = carry_out(asked, seen, on(cluster))
    assert done.counts == {"done": 5, "failed": 1}
    # Messages have the paths as they were typed, which are relative.
    (bad,) = done.bad
    assert (bad.error or "").startswith("in/broken.npy")
    assert {str(one.task.source) for one in seen.outcomes} == {f"in/{n}" for n in (*NAMES, "broken.npy")}
    assert seen.workers == cluster.workers
    assert {sign.worker for sign in seen.signs} == set(range(2))
    Path("in/broken.npy").unlink()
    assert not carry_out(
        replace(asked, selection=FileSelection(Path("in"), Path("beside")), workers=1), Seen()
    ).bad
    assert files(Path("out")) == files(Path("beside"))
    # The manifest has the state of every file.
    again = carry_out(replace(asked, resume=True, workers=1), Seen())
    assert again.counts == {"skipped": 5}


@pytest.mark.posix
def test_the_file_of_a_killed_worker_is_repeated(cluster: Cluster, tmp_path: Path) -> None:
    folder(tmp_path / "in", *NAMES)
    mark = tmp_path / "mark"
    made = Recipe((FatalOnB(mark=str(mark)),), Settings())
    asked = replace(request(tmp_path), recipe=made)
    killed: list[int] = []

    def kill() -> None:
        if mark.exists() and not killed:
            assert not (tmp_path / "out" / "b.npy").exists()
            killed.append(int(mark.read_text()))
            os.kill(killed[0], signal.SIGKILL)

    done = carry_out(asked, Seen(kill), on(cluster))
    assert len(killed) == 1
    assert done.counts == {"done": 5}
    for name in NAMES:
        assert run_task(task(tmp_path / "in" / name, tmp_path / "beside" / name)).error is None
    assert files(tmp_path / "out") == files(tmp_path / "beside")
    assert not list((tmp_path / "out").glob(".softmorph-*"))


@pytest.mark.posix
def test_only_the_file_that_kills_every_worker_fails(cluster: Cluster, tmp_path: Path) -> None:
    folder(tmp_path / "in", "a.npy", "b.npy", "c.npy")
    made = Recipe((FatalOnB(mark=str(tmp_path / "mark"), always=True),), Settings())
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
        done = carry_out(replace(request(tmp_path), recipe=made), Seen(), on(cluster))
    assert done.counts == {"done": 2, "failed": 1}
    (bad,) = done.bad
    assert bad.error == (
        f"{tmp_path}/in/b.npy: all 2 workers that had it died, most likely because memory ran out; "
        "use workers with more memory, or cut out a part with --region."
    )
    assert set(files(tmp_path / "out")) == {"a.npy", "c.npy"}
    assert not list((tmp_path / "out").glob(".softmorph-*"))


def test_closing_cancels_running_tasks(cluster: Cluster, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((48, 48, 48), dtype=np.float32))
    long = recipe("erode:iterations=1000000")
    left: list[bool] = []

    class EnoughError(Exception):
        pass

    def watch(sign: Any) -> None:
        if sign is not None and sign.progress is not None:
            raise EnoughError

    engine = cluster_engine(cluster, lambda: left.append(True))
    with pytest.raises(EnoughError):
        list(engine.outcomes(iter([task(tmp_path / "a.npy", tmp_path / "out" / "a.npy", long)]), watch))
    assert left == [True]
    # The worker has stopped, and is free again.
    done = list(engine.outcomes(iter([task(tmp_path / "a.npy", tmp_path / "a2.npy")]), lambda sign: None))
    assert [one.error for one in done] == [None]
    assert not list((tmp_path / "out").iterdir())


def test_a_file_that_is_too_large_for_a_worker(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(tmp_path, "a.npy")
    monkeypatch.setattr(Cluster, "memory", 1000)
    (done,) = cluster_engine(cluster).outcomes(
        iter([task(tmp_path / "a.npy", tmp_path / "b.npy")]), lambda sign: None
    )
    assert "may be used: cut out a part with --region, or use fewer or larger workers" in (done.error or "")


def test_the_scheduler_is_lost(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path / "in", "a.npy")

    def lost(*given: Any, **more: Any) -> Any:
        yield from ()
        raise ClusterError("the cluster at tcp://a:1 is gone: its scheduler no longer answers.")

    monkeypatch.setattr(Cluster, "map_unordered", lost)
    with pytest.raises(
        ClusterError, match=r"no longer answers; what is done .* the same command with --resume goes on\.$"
    ):
        carry_out(request(tmp_path), Seen(), on(cluster))
    monkeypatch.undo()
    assert carry_out(replace(request(tmp_path), resume=True), Seen(), on(cluster)).counts == {"done": 1}


def test_a_cluster_is_connected_to_when_files_are_to_be_processed(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(tmp_path / "in", *NAMES)
    asked: list[Any] = []

    @contextmanager
    def connected(where: ClusterOptions, **more: Any) -> Any:
        asked.append((where, more["memory"], more["threads"]) if "memory" in more else where)
        yield cluster
        asked.append("left")

    monkeypatch.setattr(module, "connected", connected)
    selection = request(tmp_path).selection
    with on_cluster(ClusterOptions(), selection, lambda message: None) as make:
        # A batch without files to process needs no cluster.
        assert asked == []
        carry_out(request(tmp_path, workers=2), Seen(), make)
        ((where, _, threads), ended) = asked
    assert where == ClusterOptions(workers=2)
    assert threads >= 1
    assert ended == "left"
    asked.clear()
    with on_cluster(ClusterOptions("tcp://a:1"), selection, lambda message: None) as make:
        carry_out(replace(request(tmp_path), force=True), Seen(), make)
    assert asked == [ClusterOptions("tcp://a:1"), "left"]
    with (
        on_cluster(ClusterOptions(), selection, lambda message: None) as make,
        pytest.raises(UsageError, match="leave out --local-cluster to use --device cuda"),
    ):
        make([], recipe(settings=Settings(device="cuda")), None)
    # The folder exists on the worker, without the disk that should be mounted on it.
    empty = tmp_path / "in" / "only here.npy"
    with (
        on_cluster(ClusterOptions("tcp://a:1"), selection, lambda message: None) as make,
        pytest.raises(
            ClusterError, match=r"does not see .*only here\.npy; use a folder that all machines share"
        ),
    ):
        make([FileJob(empty.name, empty, tmp_path / "out" / empty.name)], recipe(), None)
