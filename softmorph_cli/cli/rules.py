"""softmorph rules."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from softmorph_cli.cli import answer, common, report
from softmorph_cli.cli.report import table
from softmorph_cli.io import documents
from softmorph_cli.system.files import check_writable
from softmorph_cli.system.printable import printable

if TYPE_CHECKING:
    from softmorph_cli.rules.rule import Rule


def _choices(begun: str) -> list[str]:
    from softmorph_cli.rules import catalog

    return [name for name in catalog.choices() if name.startswith(begun)]


def rules(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="A bundled rule or a TOML file to draw.",
            show_default=False,
            autocompletion=_choices,
        ),
    ] = None,
    *,
    json: Annotated[bool, common.JSON] = False,
    json_file: Annotated[Path | None, common.JSON_FILE] = None,
    force: Annotated[bool, common.FORCE] = False,
    quiet: Annotated[bool, common.QUIET] = False,
    verbose: Annotated[bool, common.VERBOSE] = False,
) -> None:
    """List the bundled Boolean rules; with a name, draw one with its citation.

    Marks: 1 foreground, 0 background, . either, x at least one of these foreground, * the voxel itself.

    A 3D picture has the slices z-1, z and z+1 side by side.

    NAME+simple is a deleting rule at simple points alone, subfield by subfield, here and for softmorph apply.
    """
    from softmorph_cli.rules import catalog

    if json_file is not None:
        check_writable(json_file, force=force)
    started = time.perf_counter()
    found = [catalog.bundled(one) for one in catalog.names()] if name is None else [*catalog.load_forms(name)]
    seconds = {"read": time.perf_counter() - started}
    document = documents.document("rules", {"rules": [*map(_described, found)]}, seconds=seconds)
    answer.give(document, answer.Wanted(json, json_file, force))
    if json or quiet:
        return
    if name is None:
        lines = [[rule.name, f"{rule.dimensions}D", rule.title] for rule in found]
        table(
            "bundled rules",
            ("name", "", "what it does"),
            lines,
            err=False,
            footer="softmorph rules NAME draws one",
        )
        return
    _draw(found)


def _described(rule: Rule) -> dict[str, Any]:
    """Return what the JSON says of a rule; its templates are text, with a line for each row of voxels."""
    return {
        "rule": rule.name,
        "title": rule.title,
        "citation": rule.citation or None,
        "dimensions": rule.dimensions,
        "action": rule.action,
        "condition": " ".join(rule.condition.split()),
        "sub_iterations": len(rule.sub_iterations),
        "iterations": rule.iterations,
        "outside": rule.outside,
        "templates": {label: str(template) for label, template in rule.templates},
    }


def _draw(rules: Sequence[Rule]) -> None:
    from softmorph_cli.rules.picture import Template
    from softmorph_cli.rules.simple_points import MEANING

    for rule in rules:
        report.echo(printable(f"{rule.name}: {rule.title}"), bold=True)
        if rule.citation:
            report.echo(printable(f"Source: {rule.citation}"))
        where = {"delete": "deletes a voxel where", "add": "adds a voxel where", "set": "sets a voxel to"}
        report.echo(f"\n{rule.dimensions}D; {where[rule.action]}:\n  {' '.join(rule.condition.split())}")
        if re.search(r"\bsimple\b", " ".join(map(str, (rule.condition, *dict(rule.templates).values())))):
            report.echo(f"  (simple: {MEANING[rule.dimensions]})")
        passes = " ".join(sub.label for sub in rule.sub_iterations)
        fields = rule.sub_iterations[0].subfield is not None
        turned = len({sub.rotation for sub in rule.sub_iterations}) > 1
        which = ["drawn for the first"] if turned or not fields else []
        which += ["each over the voxels whose index has this parity"] if fields else []
        times = "until nothing changes" if rule.iterations is None else f"{rule.iterations} by default"
        report.echo(
            f"one iteration: {len(rule.sub_iterations)} sub-iteration{'s' * (len(rule.sub_iterations) > 1)}"
            f" ({'; '.join((passes, *which))}); iterations: {times}; outside the image: {rule.outside}"
        )
        for label, template in rule.templates:
            turns = isinstance(template, Template) and template.quarter_turn is not None
            report.echo(f"\n{label}{' and its quarter turns' if turns else ''}:")
            for line in str(template).splitlines():
                report.echo(f"    {line}")
        report.echo("")
