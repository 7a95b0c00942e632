"""Loads rules by name or file. Each bundled rule is a TOML file in `bundled/`, in the same format as a user's rule."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path

from softmorph_cli.errors import RuleError
from softmorph_cli.rules.rule import Rule
from softmorph_cli.rules.rulefile import load, loads, named_file
from softmorph_cli.rules.simple_points import SUFFIX, with_simple
from softmorph_cli.system.printable import meant

_FOLDER = resources.files("softmorph_cli.rules") / "bundled"


@cache
def names() -> tuple[str, ...]:
    """Return the names of all bundled rules, sorted."""
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in _FOLDER.iterdir()))


def forms(name: str) -> tuple[str, ...]:
    """Return the names of the 2D and 3D versions of a bundled rule, such as "thinning-2d" and "thinning-3d"."""
    return tuple(form for form in (f"{name}-2d", f"{name}-3d") if form in names())


def choices() -> tuple[str, ...]:
    """Return the names of the bundled rules, and those without -2d or -3d that stand for both versions."""
    both = (name.removesuffix("-2d") for name in names() if name.endswith("-2d"))
    return (*(name for name in both if len(forms(name)) == 2), *names())


@cache
def bundled(name: str, dimensions: int | None = None) -> Rule:
    """Return the bundled rule with the given name.

    Args:
        name: The name of the rule; the suffix "-2d" or "-3d" may be left out if `dimensions` is given.
        dimensions: The number of axes of the rule, 2 or 3, to choose between the versions "-2d" and "-3d".

    Raises:
        RuleError: If no bundled rule has the name; the message lists the names of all bundled rules.
    """
    for candidate in (name, f"{name}-{dimensions}d"):
        if candidate in names():
            text = (_FOLDER / f"{candidate}.toml").read_text(encoding="utf-8")
            return loads(text, name=candidate, origin=candidate)
    short = dict.fromkeys(one.removesuffix("-2d").removesuffix("-3d") for one in names())
    near = meant(name, [*short, *names()])
    raise RuleError(f"there is no rule {name!r}{near}; the bundled ones are {', '.join(names())}.")


def load_rule(rule: str | Path | Rule, dimensions: int | None = None) -> Rule:
    """Return the rule with the given name or in the given file; a `Rule` object is returned unchanged.

    Args:
        rule: A `Rule`, the name of a bundled rule, or the path of a TOML file (ending in ".toml" or with a slash). A
            name or path may end in "+simple": the rule is then restricted to simple points, whose deletion keeps the
            topology, and applied subfield by subfield.
        dimensions: The number of axes, 2 or 3, to choose between the versions "-2d" and "-3d" of a bundled rule.

    Raises:
        RuleError: If the rule does not exist or is malformed, or if "+simple" follows a rule that does not delete.
        FileError: If the file cannot be read.
    """
    if isinstance(rule, Rule):
        return rule
    path, name = named_file(rule), str(rule).removesuffix(SUFFIX)
    found = bundled(name, dimensions) if path is None else load(path)
    return found if name == str(rule) else with_simple(found)


def load_forms(rule: str | Path | Rule) -> list[Rule]:
    """Return a rule as a list: the 2D and 3D versions of a bundled rule named without "-2d" or "-3d", else one rule.

    Args:
        rule: A `Rule`, the name of a bundled rule, or the path of a TOML file.

    Raises:
        RuleError: If the rule does not exist or is malformed.
        FileError: If the rule's file cannot be read.
    """
    if isinstance(rule, Rule):
        return [rule]
    name = str(rule).removesuffix(SUFFIX)
    suffix = str(rule).removeprefix(name)
    return [load_rule(form + suffix) for form in forms(name)] or [load_rule(rule)]
