"""The reference of options, JSON fields and exit statuses, as Markdown made of their declarations.

`python -m softmorph_cli.cli.reference docs/reference.md` writes it.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from softmorph_cli.cli.document_fields import OBJECTS, UNIT, Fields
from softmorph_cli.cli.document_list import ALWAYS, DOCUMENTS
from softmorph_cli.cli.option_list import CommandOption, options
from softmorph_cli.errors import STATUSES

_HEAD = """# Reference: exit statuses, JSON, options

Made from the code; `python -m softmorph_cli.cli.reference docs/reference.md` renews it."""
_JSON = f"""## JSON (schema 2)

With `--json` every command prints one JSON object on stdout, and nothing else goes there; `--json-file PATH` writes it
to a file. The sentence of an error goes to stderr in any case, and with `--json` the object has the field `error`.

`or null` marks what may be unknown. `{UNIT}` stands for mm, um, nm, ..., or for voxels (2D: pixels) where the file does
not say how large they are. A field that does not apply is left out. *any* is an object or a list that the meaning
describes. The plural of a noun is a list of such objects, and a number where an object counts them (`graph`,
`component`, `counts`)."""
_OPTIONS = """## Options

Options with the same name, type and meaning stand in one row; the last column has the commands, or their number."""
_FEW = 4


def reference(program: object) -> str:
    """Return the reference of a program that Typer has made, as Markdown."""
    sections = [_HEAD, "\n".join(_statuses()), _JSON, "\n\n".join(_documents()), _OPTIONS]
    return "\n\n".join([*sections, "\n".join(_options(options(program)))]) + "\n"


def _statuses() -> Iterator[str]:
    yield from ("## Exit statuses", "", "| status | `error.kind` | meaning |", "|---|---|---|")
    for code, (kind, meaning) in STATUSES.items():
        yield f"| {code} | {kind} | {meaning} |"
    yield from ("", "128 + N is the end by another signal N.")


def _documents() -> Iterator[str]:
    yield "### In every document\n\n" + _table(ALWAYS)
    named: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for command, fields in DOCUMENTS.items():
        named[tuple(f"{name} {one.kind} {one.meaning}" for name, one in fields.items())].append(command)
    for commands in named.values():
        yield f"### {', '.join(f'`{name}`' for name in commands)}\n\n" + _table(DOCUMENTS[commands[0]])
    yield "### Objects inside of documents"
    for name, fields in OBJECTS.items():
        yield f"#### {name}\n\n" + _table(fields)


def _table(fields: Fields) -> str:
    rows = [f"| `{name}` | {one.kind} | {_cell(one.meaning)} |" for name, one in fields.items()]
    return "\n".join(["| field | type | meaning |", "|---|---|---|", *rows])


def _options(found: Iterable[CommandOption]) -> Iterator[str]:
    commands: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for one in found:
        kind = f"{one.kind}, repeated" if one.repeated else one.kind
        flags = " ".join(f"`{flag}`" for flag in one.flags)
        commands[flags, kind, one.meaning].append(one.command or "softmorph")
    yield from ("| option | type | meaning | commands |", "|---|---|---|---|")
    for (flags, kind, meaning), several in sorted(commands.items()):
        where = ", ".join(several) if len(several) <= _FEW else f"{len(several)} commands"
        yield f"| {flags} | {kind} | {_cell(meaning)} | {where} |"


def _cell(text: str) -> str:
    """Return a text for a cell of a table, in which a vertical bar would end the cell."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    import typer

    from softmorph_cli.cli.app import app

    Path(sys.argv[1]).write_text(reference(typer.main.get_command(app)), encoding="utf-8")
