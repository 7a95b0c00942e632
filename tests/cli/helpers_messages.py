"""The messages of the source that advise something to type, found in the source itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import softmorph_cli
from softmorph_cli.system.parameters import named, named_as_options

PACKAGE = Path(softmorph_cli.__file__).parent
# An option, a command of softmorph, or another program's line.
_TYPED = re.compile(
    r"(?<![\w-])--[a-z][a-z-]*|\bsoftmorph [a-z]+ [A-Z{<-]|\bsoftmorph (?:chain|threshold|resample|rules)\b"
    r"|\b(?:pip install|gunzip|unzip|mv|git -C|chmod|nib-convert) "
)
_OFFENDER = re.compile(r"^--[a-z-]+")
# What is said by --help, in definitions and in drawn or generated texts is no message.
_NO_MESSAGES = {
    "Option",
    "Parameter",
    "Argument",
    "Metric",
    "Typer",
    "getLogger",
    "add_typer",
    "Context",
    "switch",
    "choice",
}
# Declarations of fields, and the page that is made of them.
_DECLARED = ("document_fields.py", "document_list.py", "reference.py")
_HELP = {"help", "epilog", "definition", "title", "short_help", "examples"}


def messages() -> dict[str, list[str]]:
    """Return the messages by where they are, each as the texts between what is filled in."""
    found: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        # Examples of --help, and phrases that messages elsewhere hold.
        if path.name in ("app.py", "parameters.py", *_DECLARED):
            continue
        tree = ast.parse(path.read_text())
        for node in _spoken(tree):
            parts = _parts(node)
            text = "{}".join(parts)
            # One word and options alone are parts of a message, or names.
            # What a message begins with is what it refuses.
            words = re.findall(r"[a-z]{2,}", re.sub(r"--[a-z-]+", "", text))
            if _TYPED.search(_OFFENDER.sub("", text)) and len(words) > 2:
                found[f"{path.relative_to(PACKAGE)}:{node.lineno}"] = parts
    return found


def _spoken(tree: ast.AST) -> Iterator[ast.Constant | ast.JoinedStr]:
    """Every text but docstrings, help and the pieces of a longer text."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.JoinedStr) or (
            isinstance(node, ast.Constant) and isinstance(node.value, str)
        ):
            yield node
            if isinstance(node, ast.JoinedStr):
                waiting += [one.value for one in node.values if isinstance(one, ast.FormattedValue)]
            continue
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if (
            isinstance(node, ast.Call)
            and getattr(node.func, "attr", getattr(node.func, "id", "")) in _NO_MESSAGES
        ):
            continue
        if isinstance(node, ast.keyword) and node.arg in _HELP:
            continue
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(one, ast.Name) and one.id in _HELP for one in targets):
                continue
        waiting += ast.iter_child_nodes(node)


def _parts(node: ast.Constant | ast.JoinedStr) -> list[str]:
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    parts = [""]
    for one in node.values:
        if isinstance(one, ast.Constant):
            parts[-1] += str(one.value)
        else:
            text = _named(one)
            if text is None:
                parts.append("")
            else:
                known, _, more = text.partition("{}")
                parts[-1] += known
                parts += [more] if "{}" in text else []
    return parts


def _named(filled: ast.AST) -> str | None:
    """Return what a call of `parameters` stands for in a shell, {} for what is no constant; None for anything else."""
    call = filled.value if isinstance(filled, ast.FormattedValue) else None
    phrases = {"how_to_select": "add --channel {}", "take_a_part": "cut out a part with --region"}
    called = getattr(call.func, "attr", getattr(call.func, "id", "")) if isinstance(call, ast.Call) else ""
    if called in phrases:
        return phrases[called]
    if not isinstance(call, ast.Call) or getattr(call.func, "id", "") != "named":
        return None
    given: list[Any] = [one.value if isinstance(one, ast.Constant) else "{}" for one in call.args]
    option = [str(one.value.value) for one in call.keywords if isinstance(one.value, ast.Constant)]
    with named_as_options():
        return named(*given, option=option[0] if option else None)


def options_and_commands() -> tuple[set[str], set[str]]:
    """Return every option and every command that there is."""
    from typer.main import get_command

    from softmorph_cli.cli.app import app

    options, commands, waiting = {"--help", "--help-all"}, set(), [get_command(app)]
    while waiting:
        one = waiting.pop()
        options |= {name for parameter in one.params for name in (*parameter.opts, *parameter.secondary_opts)}
        inside = getattr(one, "commands", {})
        commands |= set(inside)
        waiting += inside.values()
    return options, commands
