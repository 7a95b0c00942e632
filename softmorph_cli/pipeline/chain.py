"""The parser for the steps of a chain: filters that are given as text on the command line, or in a TOML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from softmorph_cli.errors import RuleError, UsageError
from softmorph_cli.filters.filter import LABELS, Filter
from softmorph_cli.filters.settings import Settings
from softmorph_cli.pipeline.steps.registry import STEPS, changing, find
from softmorph_cli.system.files import read_toml
from softmorph_cli.system.parameters import Declared
from softmorph_cli.system.printable import meant


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """Parse a step such as `close:iterations=2,connectivity=26`, and return its operation and parameters.

    A flag has no value, as in `skeletonize:hard` and `skeletonize:no-finish`. A value may contain commas, as in
    `resample:spacing=2mm,1mm,1mm`: text after a comma that contains no `=` belongs to the value before the comma.
    Parameter names may be written with dashes or underscores.

    Raises:
        UsageError: If the operation or a parameter is unknown, or a value has the wrong type.
    """
    name, _, rest = text.partition(":")
    keys = _operation(name.strip(), text).keys()
    given: dict[str, str] = {}
    last: str | None = None
    for part in rest.split(",") if rest else ():
        key, equals, value = part.partition("=")
        key = key.strip().replace("-", "_")
        key = _names(keys).get(key, key)
        flag = key.removeprefix("no_")
        is_flag = not equals and flag in keys and keys[flag].kind is bool
        if not equals and last is not None and not is_flag:
            given[last] += f",{part}"
            continue
        if not key:
            raise UsageError(f"step {text!r}: give each parameter as key=value.")
        if is_flag:
            key, equals, value = flag, "=", str(key == flag)
        if key in given:
            raise UsageError(f"step {text!r} gives {key} twice.")
        given[key] = value.strip() if equals else "true"
        last = key
    typed = {}
    for key, value in given.items():
        one = _key(keys, key, text)
        try:
            typed[key] = one.from_text(value)
        except UsageError as error:
            raise UsageError(f"step {text!r}: {error}") from None
    return name.strip(), typed


def filters(texts: Sequence[str], settings: Settings) -> list[Filter]:
    """Return the filters of a chain.

    Args:
        texts: The steps, such as "close:iterations=2", which `parse` parses.
        settings: Default settings for parameters that a step does not set.

    Raises:
        UsageError: If a step is wrong, or a step before the last returns labels.
    """
    return _checked([_made(*parse(text), text, settings) for text in texts], list(texts))


def pipeline(path: Path, settings: Settings) -> list[Filter]:
    """Return the filters of a chain in a TOML file: tables `[[step]]` with the key `operation` and its parameters.

    Args:
        path: The TOML file.
        settings: Default settings for parameters that a step does not set.

    Raises:
        FileError: If the file cannot be read.
        RuleError: If the file is not TOML, or contains anything but such tables.
        UsageError: If a step is wrong, or a step before the last returns labels.
    """
    held = read_toml(path, RuleError)
    tables = held.get("step")
    if (
        set(held) != {"step"}
        or not isinstance(tables, list)
        or not all(isinstance(t, Mapping) for t in tables)
    ):
        raise RuleError(
            f'{path}: a pipeline holds tables [[step]] and nothing else, each with operation = "NAME".'
        )
    places = [f"{path}, step {number}" for number in range(1, len(tables) + 1)]
    made = []
    for table, where in zip(tables, places, strict=True):
        typed = {key.replace("-", "_"): value for key, value in table.items()}
        name = str(typed.pop("operation", ""))
        keys = _operation(name, where).keys()
        names = _names(keys)
        given = {}
        for key, value in ((names.get(key, key), value) for key, value in typed.items()):
            try:
                given[key] = _key(keys, key, where).from_toml(value)
            except UsageError as error:
                raise UsageError(f"{where}: {error}" if key in keys else str(error)) from None
        made.append(_made(name, given, where, settings))
    return _checked(made, places)


def _made(name: str, given: Mapping[str, Any], where: str, settings: Settings) -> Filter:
    try:
        return STEPS[name].make(given, settings)
    except UsageError as error:
        raise UsageError(f"step {where!r}: {error}") from error


def check(chosen: Sequence[Filter]) -> None:
    """Raise an error if a chain has no steps that change the map.

    Raises:
        UsageError: If the chain has no such step.
    """
    if not chosen:
        names = ", ".join(STEPS)
        raise UsageError(f"a chain needs a step, such as close:iterations=2; there are {names}.")
    if not changing(chosen):
        names = " and ".join(dict.fromkeys(one.operation for one in chosen))
        raise UsageError(
            f"{names} only measures, so that OUT would be a copy of IN: add a step that changes the map, such as "
            f"skeletonize, or give softmorph {chosen[0].operation} the file or folder with --csv TABLE."
        )


def _checked(made: list[Filter], places: list[str]) -> list[Filter]:
    for one, where in zip(made[:-1], places[:-1], strict=True):
        if one.gives == LABELS:
            raise UsageError(f"step {where!r} gives labels, which nothing can be done to: make it the last.")
    return made


def as_text(chosen: Filter, settings: Settings | None = None) -> str:
    """Return a filter as text that `parse` accepts, without parameters that equal their defaults or `settings`."""
    typed = []
    for key, value in chosen.given(settings).items():
        name = option(chosen.keys()[key]).replace("_", "-")
        typed.append(f"{'' if value else 'no-'}{name}" if isinstance(value, bool) else f"{name}={value}")
    return f"{chosen.operation}:{','.join(typed)}" if typed else chosen.operation


def _operation(name: str, where: str) -> type[Filter]:
    try:
        return find(name)
    except UsageError as error:
        raise UsageError(f"step {where!r}: {error}") from None


def _names(keys: Mapping[str, Declared]) -> dict[str, str]:
    """Return the name of each parameter by that of its long option, where the two differ, as `lambda` for `weight`."""
    return {spelling: name for name, one in keys.items() if (spelling := option(one)) != name}


def option(one: Declared) -> str:
    """Return the long option of a parameter without its dashes, with underscores."""
    flag = next((flag for flag in one.about.flags if flag.startswith("--")), one.name)
    return flag.partition("/")[0].lstrip("-").replace("-", "_")


def _key(keys: Mapping[str, Declared], key: str, where: str) -> Declared:
    if key not in keys:
        # As README spells them: the long options.
        right = [option(one).replace("_", "-") for one in keys.values()]
        near = meant(key.replace("_", "-"), right)
        raise UsageError(
            f"step {where!r}: there is no {key!r}{near}; it takes {', '.join(right) or 'no parameters'}."
        )
    return keys[key]
