"""Steps as people write them: on the command line, and in a TOML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from softmorph_cli import toml
from softmorph_cli.errors import FileError, RuleError, UsageError
from softmorph_cli.filters.settings import Settings
from softmorph_cli.level_sets import parse_levels
from softmorph_cli.steps.operations import OPERATIONS, Operation, make
from softmorph_cli.steps.step import LABELS, Step

_YES: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_KINDS: Final = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """Return the operation and the parameters of a step such as `close:iterations=2,connectivity=26`.

    A flag stands for itself, as in `skeletonize:hard` and `skeletonize:no-finish`. A value may hold commas, as in
    `resample:spacing=2mm,1mm,1mm`: what follows a comma and names no key belongs to the value before. A dash in a
    key is an underscore.

    Raises:
        UsageError: If there is no such operation or key, or a value is not of its type.
    """
    name, _, rest = text.partition(":")
    operation = _operation(name.strip(), text)
    given: dict[str, str] = {}
    last: str | None = None
    for part in rest.split(",") if rest else ():
        key, equals, value = part.partition("=")
        key = key.strip().replace("-", "_")
        flag = key.removeprefix("no_")
        is_flag = not equals and operation.keys.get(flag) is bool
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
    return name.strip(), {key: _typed(operation, key, value, text) for key, value in given.items()}


@dataclass(frozen=True)
class Spec:
    """A step as data, which can be sent to another process.

    Attributes:
        text: How it was written, for messages.
        operation: Its name.
        given: Its parameters.
    """

    text: str
    operation: str
    given: Mapping[str, Any]


def specs(texts: Sequence[str]) -> list[Spec]:
    """Return the steps of a chain, each as for `parse`.

    Raises:
        UsageError: If one is wrong.
    """
    return [Spec(text, *parse(text)) for text in texts]


def pipeline(path: Path) -> list[Spec]:
    """Return the steps of a TOML file: tables `[[step]]` with `operation` and its parameters.

    Raises:
        FileError: If it cannot be read.
        RuleError: If it is no TOML, or holds anything else.
        UsageError: If a step is wrong.
    """
    try:
        held = toml.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise RuleError(f"{path} is no TOML: {error}.") from error
    tables = held.get("step")
    if (
        set(held) != {"step"}
        or not isinstance(tables, list)
        or not all(isinstance(t, Mapping) for t in tables)
    ):
        raise RuleError(
            f'{path}: a pipeline holds tables [[step]] and nothing else, each with operation = "NAME".'
        )
    found = []
    for number, table in enumerate(tables, 1):
        given = {key.replace("-", "_"): value for key, value in table.items()}
        name, where = str(given.pop("operation", "")), f"{path}, step {number}"
        operation = _operation(name, where)
        checked = {key: _checked(operation, key, value, where) for key, value in given.items()}
        found.append(Spec(where, name, checked))
    return found


def build(found: Sequence[Spec], settings: Settings, *, method: str | None = None) -> list[Step]:
    """Return the steps of a chain, ready to run.

    Args:
        found: What they are.
        settings: How they run where they do not say.
        method: The method of those that have one and do not say.

    Raises:
        UsageError: If there is none, a value is out of range, or one that gives labels is not the last.
    """
    if not found:
        names = ", ".join(OPERATIONS)
        raise UsageError(f"a chain needs a step, such as close:iterations=2; there are {names}.")
    made = []
    for spec in found:
        try:
            own = method if OPERATIONS[spec.operation].methods else None
            made.append(make(spec.operation, spec.given, settings, method=own))
        except UsageError as error:
            raise UsageError(f"step {spec.text!r}: {error}") from error
    for spec, step in zip(found[:-1], made[:-1], strict=True):
        if step.gives == LABELS:
            raise UsageError(
                f"step {spec.text!r} gives labels, which nothing can be done to: make it the last."
            )
    return made


def _operation(name: str, where: str) -> Operation:
    if name not in OPERATIONS:
        raise UsageError(f"step {where!r}: there is no operation {name!r}; use {', '.join(OPERATIONS)}.")
    return OPERATIONS[name]


def _key(operation: Operation, key: str, where: str) -> Any:
    if key not in operation.keys:
        # As the README spells them: the long options.
        right = ", ".join(name.replace("_", "-") for name in operation.keys) or "no parameters"
        raise UsageError(f"step {where!r}: there is no {key!r}; it takes {right}.")
    return operation.keys[key]


def _typed(operation: Operation, key: str, value: str, where: str) -> Any:
    kind = _key(operation, key, where)
    try:
        return _YES[value.lower()] if kind is bool else kind(value)
    except UsageError as error:
        raise UsageError(f"step {where!r}: {error}") from None
    except (KeyError, ValueError):
        raise UsageError(f"step {where!r}: {key} is {_KINDS[kind]}, not {value!r}.") from None


def _checked(operation: Operation, key: str, value: Any, where: str) -> Any:
    kind = _key(operation, key, where)
    if kind is parse_levels:
        try:
            return parse_levels(value)
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from None
    # TOML has types of its own; a whole number is a number too, but true is no whole number.
    if isinstance(value, bool) != (kind is bool) or not isinstance(
        value, (kind, int) if kind is float else kind
    ):
        raise UsageError(f"{where}: {key} is {_KINDS[kind]}, not {value!r}.")
    return kind(value)
