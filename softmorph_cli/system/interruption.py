"""Handling of signals: long library calls can be interrupted, and child processes do not receive Ctrl-C."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

# Windows has no SIGHUP, which is sent when a terminal is closed.
_ENDING: Final = ("SIGTERM", "SIGHUP")
_THREAD: Final = "softmorph computing"


def ending_signals() -> list[signal.Signals]:
    """Return the signals that ask this process to end (SIGTERM, SIGHUP), except signals ignored as under nohup."""
    known = (getattr(signal, name) for name in _ENDING if hasattr(signal, name))
    return [number for number in known if signal.getsignal(number) is not signal.SIG_IGN]


def send(number: int) -> None:
    """Send this process the signal `number`, for which the process has a handler."""
    if sys.platform == "win32":  # where os.kill ends the process without calling the handler
        signal.raise_signal(number)
    else:
        os.kill(os.getpid(), number)


def interruptible(work: Callable[[], Any]) -> Any:
    """Call `work` in a thread and return the result; the main thread waits and can handle signals meanwhile.

    Python handles signals in the main thread between two bytecode instructions, and a call of a kernel may take
    long. Kernels release the interpreter lock, so that the main thread can handle signals during the call.
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
    """Return whether a call that `interruptible` started is still running, as after an interruption."""
    return any(thread.name == _THREAD for thread in threading.enumerate())


@contextmanager
def block_sigint() -> Iterator[None]:
    """Block SIGINT in threads and processes started within the block; on Ctrl-C their parent process ends them."""
    if sys.platform == "win32":  # where child processes ignore it themselves
        yield
        return
    from multiprocessing import resource_tracker

    # It unblocks signals when it starts, so it is started before.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
