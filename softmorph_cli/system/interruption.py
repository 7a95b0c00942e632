"""Who hears a Ctrl-C: long calls of a library do, through the thread that waits; what a process starts does not."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

# SIGHUP, of a terminal that is closed, is not known to Windows.
_ENDING: Final = ("SIGTERM", "SIGHUP")
_THREAD: Final = "softmorph computing"


def ending_signals() -> list[signal.Signals]:
    """Return the signals that ask this process to end, without those that are ignored, as nohup does."""
    known = (getattr(signal, name) for name in _ENDING if hasattr(signal, name))
    return [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]


def send(number: int) -> None:
    """Send this process a signal for which it has a handler."""
    if sys.platform == "win32":  # whose os.kill ends the process without calling the handler
        signal.raise_signal(number)
    else:
        os.kill(os.getpid(), number)


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

    thread = threading.Thread(target=run, name=_THREAD, daemon=True)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]


def still_computing() -> bool:
    """Return whether such a call goes on although nobody waits for it any more."""
    return any(thread.name == _THREAD for thread in threading.enumerate())


@contextmanager
def deaf() -> Iterator[None]:
    """Start threads and processes that a Ctrl-C, which goes to all of them, does not reach: their parent ends them."""
    if sys.platform == "win32":  # where a process that is started sees to it itself
        yield
        return
    from multiprocessing import resource_tracker

    # It unblocks signals when it starts, so it has to be there before.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
