"""The bundled rules: a TOML file each in `bundled/`, in the format of users' rules."""

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
    """Return the full names of the 2D and 3D forms of a bundled rule."""
    return tuple(form for form in (f"{name}-2d", f"{name}-3d") if form in names())


@cache
def bundled(name: str, dimensions: int | None = None) -> Rule:
    """Return a bundled rule.

    Args:
        name: The name; without the suffix "-2d" or "-3d" if `dimensions` are given.
        dimensions: 2 or 3, to choose between two forms of a rule.

    Raises:
        RuleError: If there is no such rule; the message lists all.
    """
    for candidate in (name, f"{name}-{dimensions}d"):
        if candidate in names():
            text = (_FOLDER / f"{candidate}.toml").read_text(encoding="utf-8")
            return loads(text, name=candidate, origin=candidate)
    raise RuleError(f"there is no rule {name!r}; the bundled ones are {', '.join(names())}.")
