"""Rules by name or file. The bundled ones are a TOML file each in `bundled/`, in the format of users' rules."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path

from softmorph_cli.errors import RuleError
from softmorph_cli.rules.rule import Rule
from softmorph_cli.rules.rulefile import load, loads, named_file
from softmorph_cli.rules.simple_points import SUFFIX, with_simple

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


def load_rule(rule: str | Path | Rule, dimensions: int | None = None) -> Rule:
    """Return a rule by its name or file.

    Args:
        rule: A rule, the name of a bundled one, or the path of a TOML file (ending in ".toml" or with a slash). With
            the suffix "+simple": the rule restricted to simple points, subfield by subfield.
        dimensions: 2 or 3, to choose between the forms of a bundled rule.

    Raises:
        RuleError: If there is no such rule, it is malformed, or "+simple" follows a rule that does not delete.
        FileError: If the file cannot be read.
    """
    if isinstance(rule, Rule):
        return rule
    path, name = named_file(rule), str(rule).removesuffix(SUFFIX)
    found = bundled(name, dimensions) if path is None else load(path)
    return found if name == str(rule) else with_simple(found)


def load_forms(rule: str | Path | Rule) -> list[Rule]:
    """Return the forms of a rule: a bundled rule named without dimensions may have a 2D and a 3D form.

    Raises:
        RuleError: If there is no such rule or it is malformed.
        FileError: If its file cannot be read.
    """
    if isinstance(rule, Rule):
        return [rule]
    name = str(rule).removesuffix(SUFFIX)
    suffix = str(rule).removeprefix(name)
    return [load_rule(form + suffix) for form in forms(name)] or [load_rule(rule)]
