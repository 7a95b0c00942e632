"""Functions for code that runs on a worker: it can send the progress of an item, and learn that this is cancelled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final


class Cancelled(BaseException):
    """An exception that is raised while an item runs, if the result of this item is no longer wanted."""


@dataclass
class Link:
    """A link from the item that runs in this thread to the process that waits for the result of this item.

    Attributes:
        send: Function that sends a value to the waiting process.
        cancelled: Function that returns whether the item is cancelled.
        interval: Minimum time in seconds between two values that are sent.
        last: Time at which the last value was sent, in seconds of a monotonic clock.
    """

    send: Callable[[Any], object]
    cancelled: Callable[[], bool] = lambda: False
    interval: float = 0.2
    last: float = field(default_factory=time.monotonic)


_link: Final[ContextVar[Link | None]] = ContextVar("link", default=None)


@contextmanager
def linked(link: Link) -> Iterator[None]:
    """Return a context manager within which `send_progress` and `cancelled` use `link` in this thread."""
    token = _link.set(link)
    try:
        yield
    finally:
        _link.reset(token)


def send_progress(value: object) -> None:
    """Send a value to the process that waits for the running item, unless a value was sent within `Link.interval`.

    A call outside a running item has no effect. The value has to be small and picklable.
    """
    link, now = _link.get(), time.monotonic()
    if link is not None and now - link.last >= link.interval:
        link.last = now
        link.send(value)


def cancelled() -> bool:
    """Return whether the item that runs in this thread is cancelled; if so, it should end and remove its files."""
    link = _link.get()
    return link is not None and link.cancelled()


def raise_if_cancelled() -> None:
    """Raise `Cancelled` if the item that runs in this thread is cancelled.

    Raises:
        Cancelled: If the item is cancelled.
    """
    if cancelled():
        raise Cancelled
