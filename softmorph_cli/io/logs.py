"""The log messages of libraries, which become notes of a map."""

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
    """Collect the warnings of a logger in the list that is yielded, instead of printing them."""
    logger, collector = logging.getLogger(name), _Collector()
    before = logger.handlers, logger.propagate, logger.disabled
    logger.handlers, logger.propagate, logger.disabled = [collector], False, False
    try:
        yield collector.messages
    finally:
        logger.handlers, logger.propagate, logger.disabled = before
