"""Capturing the log messages of libraries, so that they become notes of a map."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextmanager
def captured_log(name: str) -> Iterator[list[str]]:
    """Yield a list that collects the warnings of the logger `name`, which are not printed meanwhile."""
    logger, collector = logging.getLogger(name), _Collector()
    before = logger.handlers, logger.propagate, logger.disabled
    logger.handlers, logger.propagate, logger.disabled = [collector], False, False
    try:
        yield collector.messages
    finally:
        logger.handlers, logger.propagate, logger.disabled = before
