"""A cluster as executor: one item at a time on each worker, also when workers die."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import dask
import pytest
from helpers_workers import (
    endless_once,
    killed_at_three,
    process_and_threads,
    slow,
    square,
    until_cancelled,
    wrong,
)

from softmorph_cli.workers import Lost, cancelled, send_progress
from softmorph_cli.workers.cluster import Cluster


def test_every_item_has_its_result(cluster: Cluster) -> None:
    assert dict(cluster.map_unordered(square, iter(range(20)))) == {n: n * n for n in range(20)}
    assert list(cluster.map_unordered(square, iter(()))) == []
    assert cluster.threads == 1
    assert cluster.memory is None or cluster.memory > 0


def test_an_item_is_drawn_when_a_worker_is_free_for_it(cluster: Cluster) -> None:
    drawn, ended, most = 0, 0, 0

    def items() -> Iterator[int]:
        nonlocal drawn, most
        for number in range(8):
            drawn += 1
            most = max(most, drawn - ended)
            yield number

    for _ in cluster.map_unordered(process_and_threads, items()):
        ended += 1
    assert (drawn, ended) == (8, 8)
    assert most <= 2


def test_workers_share_the_work_and_know_their_threads(cluster: Cluster) -> None:
    done = [value for _, value in cluster.map_unordered(process_and_threads, iter(range(6)))]
    processes = Counter(value[0] for value in done if not isinstance(value, Lost))
    assert len(processes) == 2
    assert os.getpid() not in processes
    assert {value[1] for value in done if not isinstance(value, Lost)} == {"1"}


def test_progress_comes_with_its_item_and_not_too_often(cluster: Cluster) -> None:
    received: list[tuple[int, Any]] = []
    ticks: list[float] = []
    assert sorted(
        cluster.map_unordered(
            slow,
            iter(range(2)),
            on_progress=lambda item, value: received.append((item, value)),
            tick=lambda: ticks.append(time.monotonic()),
        )
    ) == [(0, 0), (1, 1)]
    assert {(0, ("at", 0)), (1, ("at", 1))} == set(received)
    # Not every 20 ms: with a thousand workers that would overload the scheduler.
    assert all(count <= 3 for count in Counter(item for item, _ in received).values())
    assert ticks


def test_progress_outside_an_item_is_ignored() -> None:
    send_progress("value")
    assert not cancelled()


def test_exceptions_of_the_function_are_raised(cluster: Cluster) -> None:
    with pytest.raises(ValueError, match="1 is wrong"):
        list(cluster.map_unordered(wrong, iter([1])))


@pytest.mark.posix
def test_the_item_of_a_killed_worker_is_repeated(cluster: Cluster, tmp_path: Path) -> None:
    marks = [tmp_path / name for name in ("a", "b", "c", "d")]
    for mark in marks[1:]:
        mark.touch()
    killed: list[int] = []

    def kill() -> None:
        if not killed and marks[0].exists():
            killed.append(int(marks[0].read_text()))
            os.kill(killed[0], signal.SIGKILL)

    found = cluster.map_unordered(endless_once, iter(marks), tick=kill)
    assert dict(found) == {mark: mark.name for mark in marks}
    assert len(killed) == 1


@pytest.mark.posix
def test_only_the_item_that_kills_every_worker_is_lost(cluster: Cluster) -> None:
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
        found = dict(cluster.map_unordered(killed_at_three, iter(range(6))))
    assert found == {0: 0, 1: 1, 2: 2, 3: Lost(2), 4: 4, 5: 5}


def test_closing_cancels_running_items(cluster: Cluster, tmp_path: Path) -> None:
    marks = [tmp_path / "a", tmp_path / "b"]

    class EnoughError(Exception):
        pass

    def tick() -> None:
        if all(mark.exists() for mark in marks):
            raise EnoughError

    with (
        closing(cluster.map_unordered(until_cancelled, iter(marks), tick=tick)) as running,
        pytest.raises(EnoughError),
    ):
        list(running)
    # Both are cancelled and waited for.
    assert all(mark.with_suffix(".ended").exists() for mark in marks)
    assert dict(cluster.map_unordered(square, iter([4]))) == {4: 16}
