"""The contract of all executors: each item has its result, is drawn when a worker is free, and can be cancelled."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from helpers_workers import exit_at_three, logged, slow, square, threads, until_cancelled, wrong

from softmorph_cli.workers import Executor, Lost, Processes, Serial, Threads
from softmorph_cli.workers.cluster import Cluster


@pytest.fixture(params=["serial", "threads", "processes", "cluster"])
def executor(request: pytest.FixtureRequest) -> Executor:
    if request.param == "cluster":
        made: Cluster = request.getfixturevalue("cluster")
        return made
    local: dict[str, Executor] = {"serial": Serial(), "threads": Threads(2), "processes": Processes(2, 3)}
    return local[request.param]


def test_every_item_has_its_result(executor: Executor) -> None:
    assert dict(executor.map_unordered(square, range(12))) == {n: n * n for n in range(12)}
    assert list(executor.map_unordered(square, [])) == []
    assert executor.workers == (1 if isinstance(executor, Serial) else 2)


def test_none_may_be_an_item(executor: Executor) -> None:
    assert list(executor.map_unordered(bool, [None, None])) == [(None, False), (None, False)]


def test_an_item_is_drawn_when_a_worker_is_free_for_it(executor: Executor) -> None:
    drawn, ended, most = 0, 0, 0

    def items() -> Iterator[int]:
        nonlocal drawn, most
        for number in range(6):
            drawn += 1
            most = max(most, drawn - ended)
            yield number

    for _ in executor.map_unordered(square, items()):
        ended += 1
    assert (drawn, ended) == (6, 6)
    assert most <= executor.workers


def test_progress_comes_with_its_item_and_not_too_often(executor: Executor) -> None:
    received: list[tuple[int, Any]] = []
    ticks: list[float] = []
    found = executor.map_unordered(
        slow,
        range(2),
        on_progress=lambda item, value: received.append((item, value)),
        tick=lambda: ticks.append(time.monotonic()),
    )
    assert dict(found) == {0: 0, 1: 1}
    assert set(received) == {(0, ("at", 0)), (1, ("at", 1))}
    assert all(count <= 7 for count in Counter(item for item, _ in received).values())
    assert ticks


def test_a_worker_process_logs_no_more_than_its_parent() -> None:
    log = logging.getLogger("softmorph_cli")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        assert dict(Processes(1, 1).map_unordered(logged, [0])) == {0: logging.ERROR}
    finally:
        log.setLevel(before)


def test_exceptions_of_the_function_are_raised(executor: Executor) -> None:
    with pytest.raises(ValueError, match="1 is wrong"):
        list(executor.map_unordered(wrong, [1]))


@pytest.mark.parametrize("executor", ["threads", "processes", "cluster"], indirect=True)
def test_running_items_are_cancelled_and_waited_for(executor: Executor, tmp_path: Path) -> None:
    marks = [tmp_path / str(number) for number in range(executor.workers)]

    class EnoughError(Exception):
        pass

    def enough() -> None:
        if all(mark.exists() for mark in marks):
            raise EnoughError

    started = time.monotonic()
    with (
        closing(executor.map_unordered(until_cancelled, marks, tick=enough)) as running,
        pytest.raises(EnoughError),
    ):
        list(running)
    assert all(mark.with_suffix(".ended").exists() for mark in marks)
    assert time.monotonic() - started < 30


def test_exceptions_of_on_progress_end_an_item_of_this_thread() -> None:
    class EnoughError(Exception):
        pass

    def enough(item: int, value: Any) -> None:
        raise EnoughError

    with pytest.raises(EnoughError):
        list(Serial().map_unordered(slow, [0], on_progress=enough))


def test_a_process_that_dies_loses_only_its_own_item() -> None:
    found = dict(Processes(2).map_unordered(exit_at_three, range(6)))
    assert found == {0: 0, 1: 1, 2: 2, 3: Lost(status=7), 4: 4, 5: 5}


def test_processes_know_their_share_of_the_threads() -> None:
    assert list(Processes(1, 3).map_unordered(threads, [0])) == [(0, "3")]


def test_folders_of_this_machine_are_seen_by_its_workers(tmp_path: Path) -> None:
    for local in (Serial(), Threads(1), Processes(1)):
        local.check_folders([tmp_path / "missing"])
