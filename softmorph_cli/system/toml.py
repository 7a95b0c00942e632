"""Parsing untrusted TOML."""

from __future__ import annotations

import tomllib
from typing import Any


def parse(text: str) -> dict[str, Any]:
    """Return the table of a TOML document.

    Raises:
        ValueError: If it is malformed; the text is one clause with the reason.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError:
        # The only other cause is Python's limit on the digits of an integer.
        raise ValueError("it holds an integer of thousands of digits") from None
