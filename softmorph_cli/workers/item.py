"""What the function of an item may do while it runs: send progress, and end early when it is cancelled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final


class Cancelled(BaseException):
    """Raised in an item whose result is no longer wanted."""


@dataclass
class Link:
    """Connects the item that runs in this thread with the process that waits for its result.

    Attributes:
        send: Sends a value to that process.
        cancelled: Returns whether the item is cancelled.
        interval: Least time in seconds between two values that are sent.
        last: Time at which the last value was sent, in seconds of a monotonic clock.
    """

    send: Callable[[Any], object]
    cancelled: Callable[[], bool] = lambda: False
    interval: float = 0.2
    last: float = field(default_factory=time.monotonic)


_link: Final[ContextVar[Link | None]] = ContextVar("link", default=None)


@contextmanager
def linked(link: Link) -> Iterator[None]:
    """Let `send_progress` and `cancelled` use this link in this thread."""
    token = _link.set(link)
    try:
        yield
    finally:
        _link.reset(token)


def send_progress(value: object) -> None:
    """Send a value to the process that waits for the running item, unless one was sent just before.

    Outside an item nothing happens. The value has to be small and picklable.
    """
    link, now = _link.get(), time.monotonic()
    if link is not None and now - link.last >= link.interval:
        link.last = now
        link.send(value)


def cancelled() -> bool:
    """Whether the item that runs in this thread is cancelled: it should end soon, and leave no files behind."""
    link = _link.get()
    return link is not None and link.cancelled()


def raise_if_cancelled() -> None:
    """Raise `Cancelled` if the item that runs in this thread is cancelled.

    Raises:
        Cancelled: If so.
    """
    if cancelled():
        raise Cancelled
