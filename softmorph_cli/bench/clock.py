"""Works that take turns before one clock: what else the machine does only ever adds time, to all alike."""

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
    """Something to be measured.

    Attributes:
        run: What the clock sees; gets what `prepare` returned. Freeing its result is not part of it.
        prepare: Run before each time, unseen.
    """

    run: Callable[[Any], object]
    prepare: Callable[[], Any] = _nothing

    def __call__(self) -> object:
        """Do it once."""
        return self.run(self.prepare())


@dataclass(frozen=True)
class Timing:
    """What the clock saw of one task.

    Attributes:
        first: Seconds of the first run, which compiles a kernel or loads it from the cache.
        warm: Seconds of each run after it.
    """

    first: float
    warm: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """The smallest of the warm runs."""
        return min(self.warm)


def take_turns(
    tasks: Mapping[str, TimedTask],
    *,
    repeats: int,
    least: float = 0,
    patience: float = float("inf"),
    settle: Callable[[], None] = _nothing,
    clock: Callable[[], float] = time.perf_counter,
    tell: Callable[[str], None] = lambda name: None,
) -> tuple[dict[str, Timing], dict[str, SoftmorphError]]:
    """Run every task once, then all of them in turn, round after round.

    Args:
        tasks: By name.
        repeats: Rounds after the first run, at least 1.
        least: What was too quick for the clock, its runs below so many seconds in all, gets more rounds, up
            to ten times as many.
        patience: A task whose warm runs took longer than this in all, in seconds, sits the rest out.
        settle: Waits until the device is done; called on both sides of the clock.
        clock: Returns seconds.
        tell: Hears the name of each task before it runs; not that of the quick ones in the further rounds.

    Returns:
        The timings, and why the others refused to run.
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
        tell(name)
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
                tell(name)
            seconds.append(measure(name))
    return {name: Timing(first[name], tuple(seconds)) for name, seconds in warm.items()}, refused
