"""TOML that may have been written by anybody."""

from __future__ import annotations

import tomllib
from typing import Any


def parse(text: str) -> dict[str, Any]:
    """Return the table that a TOML document holds.

    Raises:
        ValueError: If it is none; its text is one clause that says why.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError:
        # The one other: Python's limit on the digits of an integer.
        raise ValueError("it holds an integer of thousands of digits") from None
