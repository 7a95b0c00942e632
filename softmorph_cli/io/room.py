"""Refusing what cannot fit into memory by what a header says, before a voxel is read or unpacked."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Final

from softmorph_cli import machine
from softmorph_cli.errors import InputError

# What is larger has no end as a float.
_MOST: Final = 1 << 100


def check_room(
    shape: Sequence[int], itemsize: int, path: str | Path, *, packed: bool = False, advice: str | None = None
) -> None:
    """Refuse a map that does not fit, and that the system would otherwise end the process for.

    Args:
        shape: The map's, or that of the part of it that is read.
        itemsize: Bytes of a voxel, in all forms in which the map is held at once.
        path: What it is called.
        packed: Whether all of it has to be unpacked, whatever is taken of it then.
        advice: What helps, where a part cannot be read by itself.

    Raises:
        InputError: If it takes more memory than this process may use.
    """
    needed, allowed = prod(map(int, shape)) * itemsize, machine.memory()
    if allowed is None or needed <= allowed:
        return
    if advice is None:
        first = f"unpack it first ({shlex.join(['gunzip', '--keep', str(path)])}), then " if packed else ""
        advice = (
            f"{first}cut out a part with --region or take one channel with --channel, or filter tile by tile into a "
            ".zarr with --memory 4GB"
        )
    raise InputError(
        f"{path} holds {' x '.join(map(str, shape))} values, which take about {min(needed, _MOST) / 2**30:.1f} GiB, "
        f"and {allowed / 2**30:.1f} GiB may be used: {advice}."
    )
