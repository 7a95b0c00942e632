"""Engines of batches: every task has its outcome, also when workers die."""

from __future__ import annotations

import pickle
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from helpers_batch import SIDE, EndlessErosion, FatalErosion, folder, recipe, task
from typer.testing import CliRunner

from softmorph_cli.cli.app import app
from softmorph_cli.errors import UsageError
from softmorph_cli.filters.settings import Settings
from softmorph_cli.pipeline.batch import resources
from softmorph_cli.pipeline.batch.engine import Engine, process_engine, thread_engine
from softmorph_cli.pipeline.batch.plan import FileJob
from softmorph_cli.pipeline.batch.recipe import Recipe
from softmorph_cli.pipeline.batch.resources import choose, shares
from softmorph_cli.pipeline.batch.task import FileTask, run_task
from softmorph_cli.system import machine
from softmorph_cli.workers import Processes, Threads

ENGINES = [process_engine(2, 1), thread_engine(2)]


def fatal(number: int) -> Recipe:
    return Recipe((FatalErosion(signal=number),), Settings())


def outcomes(engine: Engine, tasks: list[FileTask]) -> dict[str, str | None]:
    return {one.task.name: one.error for one in engine.outcomes(iter(tasks), lambda sign: None)}


def tasks_in(path: Path, *names: str) -> list[FileTask]:
    folder(path, *names)
    return [task(path / name, path / "out" / name) for name in names]


@pytest.mark.parametrize("engine", ENGINES)
def test_every_file_and_a_broken_one(tmp_path: Path, engine: Engine) -> None:
    tasks = tasks_in(tmp_path, "a.npy", "b.npy", "c.npy", "d.npy")
    (tmp_path / "b.npy").write_bytes(b"\x93NUMPY")
    found = outcomes(engine, tasks)
    assert set(found) == {"a.npy", "b.npy", "c.npy", "d.npy"}
    assert [name for name, error in found.items() if error] == ["b.npy"]
    assert str(tmp_path / "b.npy") in (found["b.npy"] or "")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.npy", "c.npy", "d.npy"]


@pytest.mark.parametrize("engine", ENGINES)
def test_tasks_are_drawn_when_a_worker_is_free(tmp_path: Path, engine: Engine) -> None:
    taken, ended, most = 0, 0, 0

    def tasks() -> Iterator[FileTask]:
        nonlocal taken, most
        for one in tasks_in(tmp_path, *(f"{n}.npy" for n in range(8))):
            taken += 1
            most = max(most, taken - ended)
            yield one

    for _ in engine.outcomes(tasks(), lambda sign: None):
        ended += 1
    assert ended == 8
    assert most <= 2


@pytest.mark.posix
@pytest.mark.parametrize(
    ("made", "says"),
    [
        (fatal(signal.SIGKILL), "was killed (SIGKILL), most likely because memory ran out"),
        (fatal(signal.SIGSEGV), "died of SIGSEGV"),
        (fatal(0), "ended with status 3"),
    ],
)
def test_a_worker_that_dies_fails_only_its_own_file(tmp_path: Path, made: Recipe, says: str) -> None:
    tasks = tasks_in(tmp_path, "a.npy", "b.npy", "c.npy", "d.npy", "e.npy")
    tasks[1] = replace(tasks[1], recipe=made)
    found = outcomes(process_engine(2, 1), tasks)
    assert {name for name, error in found.items() if error} == {"b.npy"}
    assert says in (found["b.npy"] or "")
    assert (found["b.npy"] or "").startswith(f"{tmp_path / 'b.npy'}: ")
    if "softmorph chain" in (found["b.npy"] or ""):
        alone = ["chain", str(tasks[1].source), str(tmp_path / "alone.npy"), "erode"]
        assert CliRunner().invoke(app, alone).exit_code == 0


@pytest.mark.posix
def test_all_workers_die(tmp_path: Path) -> None:
    made = fatal(signal.SIGKILL)
    tasks = [replace(one, recipe=made) for one in tasks_in(tmp_path, "a.npy", "b.npy", "c.npy")]
    assert all(outcomes(process_engine(2, 1), tasks).values())


def test_closing_ends_running_tasks(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    endless = Recipe((EndlessErosion(mark=str(mark)),), Settings())
    tasks = tasks_in(tmp_path, "a.npy", "b.npy")
    tasks[1] = replace(tasks[1], recipe=endless)
    running = process_engine(2, 1).outcomes(iter(tasks), lambda sign: None)
    assert next(running).task.name == "a.npy"
    while not mark.exists():
        time.sleep(0.01)
    started = time.monotonic()
    running.close()
    assert time.monotonic() - started < 4
    assert not (tmp_path / "out" / "b.npy").exists()


def test_threads_are_cancelled_between_iterations(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((64, 64, 64), dtype=np.float32))
    long = recipe("dilate:iterations=100000")

    class EnoughError(Exception):
        pass

    def watch(sign: Any) -> None:
        if sign is not None and sign.progress is not None:
            raise EnoughError

    with pytest.raises(EnoughError):
        list(thread_engine(1).outcomes(iter([task(tmp_path / "a.npy", tmp_path / "b.npy", long)]), watch))
    assert not (tmp_path / "b.npy").exists()


def test_the_lock_is_held_while_a_step_runs(tmp_path: Path) -> None:
    held: list[int] = []

    class Lock:
        def __enter__(self) -> None:
            held.append(1)

        def __exit__(self, *about: object) -> None:
            held.append(-1)

    (one,) = tasks_in(tmp_path, "a.npy")
    one = replace(one, recipe=recipe("erode", "dilate"))
    assert run_task(one, computing=Lock()).error is None
    assert held == [1, -1, 1, -1]


def test_tasks_and_outcomes_can_be_pickled(tmp_path: Path) -> None:
    (one,) = tasks_in(tmp_path, "a.npy")
    outcome = pickle.loads(pickle.dumps(run_task(pickle.loads(pickle.dumps(one)))))
    assert outcome.error is None
    assert outcome.output_size == (tmp_path / "out" / "a.npy").stat().st_size
    assert outcome.row["shape"] == [SIDE] * 3


def test_a_file_that_is_too_large_for_one_worker(tmp_path: Path) -> None:
    (one,) = tasks_in(tmp_path, "a.npy")
    error = run_task(replace(one, memory=1000)).error or ""
    assert "use fewer --workers" in error


def test_resources_are_divided_among_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images: Any = nibabel  # has no types
    image = images.Nifti1Image(np.zeros((100, 100, 100), np.uint8), np.eye(4))
    image.to_filename(tmp_path / "a.nii.gz")
    images.Nifti2Image(np.zeros((10, 20), np.float32), np.eye(4)).to_filename(tmp_path / "b.nii")
    (tmp_path / "c.nii.gz").write_bytes(b"\x1f\x8bbroken")
    per_voxel = 12 + Settings().bytes_per_voxel(4)
    assert resources.most_needed([tmp_path / "a.nii.gz"], recipe()) == 10**6 * per_voxel
    assert resources.most_needed([tmp_path / "b.nii"], recipe()) == 200 * per_voxel
    assert resources.most_needed([tmp_path / "c.nii.gz", tmp_path / "none"], recipe()) == 0

    jobs = [FileJob(str(n), tmp_path / "a.nii.gz", tmp_path / "o") for n in range(10)]
    monkeypatch.setattr(machine, "threads", lambda: 8)
    monkeypatch.setattr(machine, "memory", lambda: 64 << 30)
    made = shares(jobs, recipe(), None)
    assert (made.workers, made.threads, made.memory, made.note) == (8, 1, 8 << 30, None)
    made = shares(jobs[:3], recipe(), None)
    assert (made.workers, made.threads) == (3, 2)
    made = shares(jobs, recipe(settings=Settings(threads=4)), None)
    assert (made.workers, made.threads) == (2, 4)
    monkeypatch.setattr(machine, "memory", lambda: 1 << 30)
    made = shares(jobs, recipe(), None)
    assert made.workers == 3
    assert "3 workers instead of 8" in (made.note or "")
    assert shares(jobs, recipe(), 5).workers == 5
    for device in ("auto", "cuda"):
        with pytest.raises(UsageError):
            choose(jobs, recipe(settings=Settings(device=device)), 0)
    assert isinstance(choose(jobs, recipe(), 1)[0].executor, Processes)
    assert isinstance(choose(jobs, recipe(settings=Settings(device="cuda:1")), None)[0].executor, Threads)
