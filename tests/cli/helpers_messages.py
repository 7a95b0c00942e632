"""The messages of the source that advise something to type, found in the source itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import softmorph_cli
from softmorph_cli.parameters import named, named_as_options

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
_HELP = {"help", "epilog", "definition", "title", "short_help", "examples"}


def messages() -> dict[str, list[str]]:
    """Return the messages by where they are, each as the texts between what is filled in."""
    found: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        # Examples of --help.
        if path.name == "app.py":
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
        elif (found := _named(one)) is not None:
            parts[-1] += found[0]
            parts += found[1:]
        else:
            parts.append("")
    return parts


def _named(filled: ast.AST) -> list[str] | None:
    """Return the option that `named` stands for in a shell, a value filled in; None for anything else filled in."""
    call = filled.value if isinstance(filled, ast.FormattedValue) else None
    if not isinstance(call, ast.Call) or getattr(call.func, "id", "") != "named":
        return None
    if not all(isinstance(one, ast.Constant) for one in call.args[:1]):
        return None
    constants = [one.value for one in call.args if isinstance(one, ast.Constant)]
    with named_as_options():
        option = named(*constants)
    return [option] if len(constants) == len(call.args) else [f"{option} ", ""]


def options_and_commands() -> tuple[set[str], set[str]]:
    """Return every option and every command that there is."""
    from typer.main import get_command

    from softmorph_cli.cli.app import app

    options, commands, waiting = {"--help"}, set(), [get_command(app)]
    while waiting:
        one = waiting.pop()
        options |= {name for parameter in one.params for name in (*parameter.opts, *parameter.secondary_opts)}
        inside = getattr(one, "commands", {})
        commands |= set(inside)
        waiting += inside.values()
    return options, commands
