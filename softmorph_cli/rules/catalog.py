"""The bundled rules: one TOML file each in `bundled/`, written like any user's own."""

from __future__ import annotations

from functools import cache
from importlib import resources

from softmorph_cli.errors import RuleError
from softmorph_cli.rules.rule import Rule
from softmorph_cli.rules.rulefile import loads

_FOLDER = resources.files("softmorph_cli.rules") / "bundled"


@cache
def names() -> tuple[str, ...]:
    """Return the names of all bundled rules, sorted."""
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in _FOLDER.iterdir()))


def forms(name: str) -> tuple[str, ...]:
    """Return the names of the bundled rules that have this name and their dimensions after it."""
    return tuple(one for one in names() if one in (f"{name}-2d", f"{name}-3d"))


@cache
def bundled(name: str, dimensions: int | None = None) -> Rule:
    """Return a bundled rule.

    Args:
        name: Its name; without the "-2d" or "-3d" at its end if `dimensions` are given.
        dimensions: 2 or 3, to choose between the forms of a rule that has both.

    Raises:
        RuleError: If there is no such rule; the message lists those there are.
    """
    for candidate in (name, f"{name}-{dimensions}d"):
        if candidate in names():
            text = (_FOLDER / f"{candidate}.toml").read_text(encoding="utf-8")
            return loads(text, name=candidate, origin=candidate)
    raise RuleError(f"there is no rule {name!r}; the bundled ones are {', '.join(names())}.")
