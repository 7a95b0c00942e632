"""Timing of tasks that run in turn, so that other load on the machine slows them all alike."""

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
        run: The timed function; its argument is the result of `prepare`. Freeing its result is not timed.
        prepare: Called before each run, not timed.
    """

    run: Callable[[Any], object]
    prepare: Callable[[], Any] = _nothing

    def __call__(self) -> object:
        """Prepare and run once."""
        return self.run(self.prepare())


@dataclass(frozen=True)
class Timing:
    """The run times of a task.

    Attributes:
        first: Seconds of the first run, which compiles a kernel or loads it from the cache.
        warm: Seconds of each later run.
    """

    first: float
    warm: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """The shortest warm run."""
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
    """Time every task once, then all of them in turn, round after round.

    Args:
        tasks: By name.
        repeats: Rounds after the first run, at least 1.
        least: Tasks whose warm runs took fewer seconds than this in total get more rounds, up to ten times as many.
        patience: Tasks whose warm runs took more seconds than this in total get no more rounds.
        settle: Waits until the device is idle; called before and after each run.
        clock: Returns seconds.
        report: Called with the name of each task before it runs, except in the additional rounds.

    Returns:
        The timings, and the errors of the tasks that raised one.
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
