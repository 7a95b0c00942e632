"""Runs in turn and the times that count, with a clock that the tasks themselves advance."""

from __future__ import annotations

import pytest

from softmorph_cli.bench.clock import TimedTask, Timing, take_turns
from softmorph_cli.errors import InputError


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def task(self, *seconds: float, prepare: float = 0.0) -> TimedTask:
        """Return a task with these run times, the last of which is that of all later runs."""
        left = list(seconds)

        def run(_: object) -> None:
            self.now += left.pop(0) if len(left) > 1 else left[0]

        def prepared() -> None:
            self.now += prepare

        return TimedTask(run, prepared)


def test_the_first_run_is_separate_and_the_shortest_other_counts() -> None:
    clock = Clock()
    timings, refused = take_turns({"a": clock.task(9, 3, 2, 4)}, repeats=3, clock=clock)
    assert timings == {"a": Timing(9, (3, 2, 4))}
    assert timings["a"].seconds == 2
    assert refused == {}


def test_tasks_run_in_turn() -> None:
    clock = Clock()
    heard: list[str] = []
    take_turns({"a": clock.task(1), "b": clock.task(1)}, repeats=2, clock=clock, report=heard.append)
    assert heard == ["a", "b"] * 3


def test_preparation_is_not_timed() -> None:
    clock = Clock()
    timings, _ = take_turns({"a": clock.task(1, prepare=50)}, repeats=1, clock=clock)
    assert timings["a"] == Timing(1, (1,))


def test_waiting_for_the_device_is_timed_after_the_run_only() -> None:
    clock = Clock()
    queued = [0.0]

    def settle() -> None:
        clock.now += queued[0]
        queued[0] = 0.0

    def run(_: object) -> None:
        queued[0] += 5

    def prepare() -> None:
        queued[0] += 100

    timings, _ = take_turns({"a": TimedTask(run, prepare)}, repeats=1, settle=settle, clock=clock)
    assert timings["a"].seconds == 5


def test_slow_tasks_get_fewer_rounds_and_quick_ones_more() -> None:
    clock = Clock()
    tasks = {"long": clock.task(30), "plain": clock.task(1), "quick": clock.task(0.1)}
    timings, _ = take_turns(tasks, repeats=4, least=0.95, patience=20, clock=clock)
    assert {name: len(timing.warm) for name, timing in timings.items()} == {
        "long": 1,
        "plain": 4,
        "quick": 10,
    }


def test_at_most_ten_times_as_many_rounds() -> None:
    clock = Clock()
    timings, _ = take_turns({"a": clock.task(0.0)}, repeats=2, least=1, clock=clock)
    assert len(timings["a"].warm) == 20


def test_errors_are_returned_but_bugs_are_raised() -> None:
    def refuse(_: object) -> None:
        raise InputError("too large.")

    def fail(_: object) -> None:
        raise ZeroDivisionError

    clock = Clock()
    timings, refused = take_turns({"no": TimedTask(refuse), "yes": clock.task(1)}, repeats=1, clock=clock)
    assert list(timings) == ["yes"]
    assert str(refused["no"]) == "too large."
    with pytest.raises(ZeroDivisionError):
        take_turns({"bug": TimedTask(fail)}, repeats=1, clock=clock)
