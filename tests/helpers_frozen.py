"""Compares what softmorph writes with what it wrote before, kept in `frozen/`.

A text changes only with a decision to change it: then set SOFTMORPH_FREEZE=1, run these tests, and read the diff.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from softmorph_cli import __version__

TEXTS: Final = Path(__file__).parent / "frozen"
_DIGITS: Final = 6
# Values that differ from run to run or from machine to machine.
_VOLATILE: Final = frozenset(
    (
        "seconds",
        "seconds_read",
        "seconds_filter",
        "seconds_write",
        "when",
        "size",
        "mtime_ns",
        "output_size",
        "version",
        "fingerprint",
        "network_sha256",
    )
)
_VERSION: Final = re.compile(rf"\b{re.escape(__version__)}\b")


def normalized(value: Any, key: str = "") -> Any:
    """Return a JSON value without what may differ: times, sizes on disk, the version, the last digits of numbers."""
    if key in _VOLATILE:
        return f"<{key}>"
    if isinstance(value, Mapping):
        return {name: normalized(one, name) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [normalized(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    return _VERSION.sub("<version>", value) if isinstance(value, str) else value


def as_text(value: Any) -> str:
    """Return a value as it is kept; the order of keys is part of it."""
    text = json.dumps(normalized(value), indent=1, allow_nan=False) + "\n"
    # Lists of plain values stand in one line.
    return re.sub(r"\[\s+([^][{}]*?)\s+\]", lambda found: "[" + re.sub(r",\n\s+", ", ", found[1]) + "]", text)


def agrees(name: str, value: Any, folder: Path = TEXTS) -> None:
    """Assert that a value is the one that was kept under this name."""
    path, text = folder / f"{name}.json", as_text(value)
    if os.environ.get("SOFTMORPH_FREEZE") == "1":
        folder.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text.splitlines() == path.read_text(encoding="utf-8").splitlines()
