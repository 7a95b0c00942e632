"""softmorph topology: Betti numbers of maps, and repair."""

from __future__ import annotations

from collections.abc import Callable

import typer

from softmorph_cli.cli.command import Group, add
from softmorph_cli.cli.topology_numbers import numbers
from softmorph_cli.cli.topology_repair import repair
from softmorph_cli.cli.topology_simplify import simplify

_COMMANDS: tuple[tuple[str, Callable[..., None], str, str], ...] = (
    (
        "numbers",
        numbers,
        "softmorph topology numbers vessels.nii.gz --plot bars.png",
        "softmorph topology numbers roads.png --threshold 0.4 --connectivity 4 --json > roads.json",
    ),
    (
        "repair",
        repair,
        "softmorph topology repair vessels.nii.gz one.nii.gz --betti 1,0,0 --preview one.png",
        "softmorph topology repair softmax.nii.gz tree.nii.gz --priors priors.toml --smooth 0.5mm",
    ),
    (
        "simplify",
        simplify,
        "softmorph topology simplify vessels.nii.gz calm.nii.gz --persistence 0.1",
        "softmorph topology simplify roads.png calm.png --persistence 0.2 --preview calm-preview.png",
    ),
)

topology = typer.Typer(
    cls=Group,
    help="Betti numbers and persistence bars of a map; repairing it; cancelling short bars.",
    epilog="Examples:\n\n" + "\n\n".join(command[2] for command in _COMMANDS[:2]),
    no_args_is_help=True,
)
for _command in _COMMANDS:
    add(topology, *_command)
