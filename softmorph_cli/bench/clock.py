"""Timing of tasks that run in turn, so that other load on the machine slows all tasks alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from softmorph_cli.errors import SoftmorphError


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class TimedTask:
    """A task to be timed.

    Attributes:
        run: The timed function, which takes the result of `prepare`. Freeing what it returns is not timed.
        prepare: Function that is called before each run and not timed.
    """

    run: Callable[[Any], object]
    prepare: Callable[[], Any] = _nothing

    def __call__(self) -> object:
        """Prepare the task, run it once and return its result, without timing."""
        return self.run(self.prepare())


@dataclass(frozen=True)
class Timing:
    """The run times of a task.

    Attributes:
        first: Seconds that the first run took, which compiles a kernel or loads it from the cache.
        warm: Seconds that each later run (a warm run) took.
    """

    first: float
    warm: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """Seconds that the shortest warm run took."""
        return min(self.warm)


def take_turns(
    tasks: Mapping[str, TimedTask],
    *,
    repeats: int,
    least: float = 0,
    patience: float = float("inf"),
    settle: Callable[[], None] = _nothing,
    clock: Callable[[], float] = time.perf_counter,
    report: Callable[[str], None] = lambda name: None,
) -> tuple[dict[str, Timing], dict[str, SoftmorphError]]:
    """Return the run times of tasks: each task is run once, then all tasks in turn, round after round.

    Args:
        tasks: The tasks to time, by name.
        repeats: Number of rounds after the first run, at least 1.
        least: Least total seconds of warm runs: quicker tasks get more rounds, up to ten times as many.
        patience: Total seconds of warm runs after which a task gets no more rounds.
        settle: Function that waits until the device is idle; called before and after each run.
        clock: Function that returns the time in seconds.
        report: Callback that gets the name of each task before it runs, except in the additional rounds.

    Returns:
        The run times by task, and the errors of the tasks that raised an error.
    """
    first: dict[str, float] = {}
    refused: dict[str, SoftmorphError] = {}
    warm: dict[str, list[float]] = {}

    def measure(name: str) -> float:
        prepared = tasks[name].prepare()
        settle()
        started = clock()
        result = tasks[name].run(prepared)
        settle()
        seconds = clock() - started
        del result, prepared
        return seconds

    for name in tasks:
        report(name)
        try:
            first[name] = measure(name)
        except SoftmorphError as error:
            refused[name] = error
        else:
            warm[name] = []
    for turn in range(10 * repeats):
        for name, seconds in warm.items():
            if seconds and sum(seconds) >= (patience if turn < repeats else least):
                continue
            if turn < repeats:
                report(name)
            seconds.append(measure(name))
    return {name: Timing(first[name], tuple(seconds)) for name, seconds in warm.items()}, refused
