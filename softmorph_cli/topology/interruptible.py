"""Long calls of a library that a person can interrupt."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


def interruptible(work: Callable[[], Any]) -> Any:
    """Return what a long call returns, and let Ctrl-C and signals end the wait for it.

    Python hears of signals between its own instructions, and gudhi may take minutes within one. It leaves other
    threads alone meanwhile, so that the main thread can listen.
    """
    done: list[Any] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            done.append(work())
        except BaseException as error:
            failed.append(error)

    # By this name the command line knows what it must not wait for when it ends.
    thread = threading.Thread(target=run, name="softmorph computing", daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]
