"""The comparison can fail: on a value, an order of keys, a type; it does not on times and versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers_frozen import agrees, as_text

from softmorph_cli import __version__

KEPT = {"softmorph_version": __version__, "seconds": 1.5, "values": [0.1, 2], "name": "a"}


@pytest.mark.parametrize(
    "other",
    [
        {**KEPT, "values": [0.1001, 2]},
        {**KEPT, "values": [0.1, 2.0]},
        {**KEPT, "name": "b"},
        dict(reversed(KEPT.items())),
        {name: value for name, value in KEPT.items() if name != "seconds"},
    ],
    ids=["a value", "a type", "a text", "an order", "a key"],
)
def test_a_difference_is_found(
    other: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOFTMORPH_FREEZE", raising=False)
    (tmp_path / "kept.json").write_text(as_text(KEPT), encoding="utf-8")
    agrees("kept", KEPT, tmp_path)
    with pytest.raises(AssertionError):
        agrees("kept", other, tmp_path)


def test_times_and_last_digits_may_differ() -> None:
    assert as_text(KEPT) == as_text({**KEPT, "seconds": 9, "values": [0.1 + 1e-12, 2]})
