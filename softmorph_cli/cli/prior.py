"""softmorph prior: learned shape priors (NISF)."""

from __future__ import annotations

from collections.abc import Callable

import typer

from softmorph_cli.cli.command import Group, add
from softmorph_cli.cli.prior_evaluate import evaluate
from softmorph_cli.cli.prior_info import info
from softmorph_cli.cli.prior_segment import segment
from softmorph_cli.cli.prior_train import train

_COMMANDS: tuple[tuple[str, Callable[..., None], str, str], ...] = (
    (
        "train",
        train,
        "softmorph prior train maps heart.safetensors --preview heart.png",
        "softmorph prior train labels heart.safetensors --label 1 --label 2 --images images --resume",
    ),
    (
        "info",
        info,
        "softmorph prior info heart.safetensors",
        "softmorph prior info heart.safetensors --json > heart.json",
    ),
    (
        "evaluate",
        evaluate,
        "softmorph prior evaluate heart.safetensors others --hide every:4",
        "softmorph prior evaluate heart.safetensors others --hide gap:4 --hide end:4 --csv table.csv",
    ),
    (
        "segment",
        segment,
        "softmorph prior segment image.nii.gz heart.nii.gz --prior heart.safetensors",
        "softmorph prior segment image.nii.gz labels.nii.gz --prior heart.safetensors --argmax --preview heart.png",
    ),
)

prior = typer.Typer(
    cls=Group,
    help="Shape priors learned from complete maps: they fill missing slices, and segment images.",
    epilog="Examples:\n\n" + "\n\n".join(command[2] for command in _COMMANDS[::2]),
    no_args_is_help=True,
)
for _command in _COMMANDS:
    add(prior, *_command)
