"""softmorph rules."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from softmorph_cli.cli import common, report
from softmorph_cli.cli.report import table
from softmorph_cli.system.printable import printable


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
    verbose: Annotated[bool, common.VERBOSE] = False,
) -> None:
    """List the bundled Boolean rules; with a name, draw one with its citation.

    Marks: 1 foreground, 0 background, . either, x at least one of these foreground, * the voxel itself.

    A 3D picture has the slices z-1, z and z+1 side by side.

    NAME+simple is a deleting rule at simple points alone, subfield by subfield, here and for softmorph apply.
    """
    from softmorph_cli.rules import catalog

    if name is None:
        found = [catalog.bundled(one) for one in catalog.names()]
        lines = [[rule.name, f"{rule.dimensions}D", rule.title] for rule in found]
        table(
            "bundled rules",
            ("name", "", "what it does"),
            lines,
            err=False,
            footer="softmorph rules NAME draws one",
        )
        return
    _draw(name)


def _draw(name: str) -> None:
    from softmorph_cli.rules import catalog
    from softmorph_cli.rules.picture import Template
    from softmorph_cli.rules.simple_points import MEANING

    for rule in catalog.load_forms(name):
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
