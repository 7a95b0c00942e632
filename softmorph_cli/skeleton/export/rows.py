"""What is said of a branch: the columns of the table, and the same names in JSON and GraphML."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from softmorph_cli.skeleton.frame import Frame
from softmorph_cli.skeleton.graph import CERTAINTY, LEVELS, RADIUS, Branch

Cell = int | float | str | None


def columns(frame: Frame) -> dict[str, Callable[[Branch], Cell]]:
    """Return the columns, in order: a name, and how to get its value from a branch, None where it is unknown.

    Names of lengths end in their unit, `frame.suffix`; `start_z_voxel` and its kin are array indices, `start_x_mm`
    and its kin the place of that voxel in the world.
    """
    unit = frame.suffix
    found: dict[str, Callable[[Branch], Cell]] = {
        "branch": lambda branch: branch.number,
        "component": lambda branch: branch.component,
        "kind": lambda branch: branch.kind,
        "start_node": lambda branch: branch.nodes[0],
        "end_node": lambda branch: branch.nodes[1],
        f"length_{unit}": lambda branch: float(branch.length),
        f"chord_{unit}": lambda branch: float(branch.chord),
        "tortuosity": lambda branch: branch.tortuosity,
        f"radius_mean_{unit}": _spread(RADIUS, "mean"),
        f"radius_min_{unit}": _spread(RADIUS, "min"),
        f"radius_max_{unit}": _spread(RADIUS, "max"),
        "certainty_mean": _spread(CERTAINTY, "mean"),
        "certainty_min": _spread(CERTAINTY, "min"),
        "levels_mean": _spread(LEVELS, "mean"),
        "levels_min": _spread(LEVELS, "min"),
        "voxels": lambda branch: len(branch.voxels),
    }
    ends = {"start": 0, "end": -1}
    found |= {
        f"{end}_{letter}_voxel": _index(at, axis)
        for end, at in ends.items()
        for axis, letter in enumerate(axis_letters(frame))
    }
    found |= {
        f"{end}_{letter}_{unit}": _coordinate(frame, at, axis)
        for end, at in ends.items()
        for axis, letter in enumerate("xyz")
    }
    return found


def axis_letters(frame: Frame) -> str:
    """Return a letter for each array axis: "zyx" or "yx"."""
    return "zyx"[-frame.dims :]


def _spread(quantity: str, part: str) -> Callable[[Branch], Cell]:
    def get(branch: Branch) -> Cell:
        spread = branch.spread(quantity)
        return None if spread is None else float(getattr(spread, part))

    return get


def _index(at: int, axis: int) -> Callable[[Branch], Cell]:
    return lambda branch: int(branch.voxels[at, axis])


def _coordinate(frame: Frame, at: int, axis: int) -> Callable[[Branch], Cell]:
    # Of the voxel, not of the smoothed curve: they differ where a ring begins.
    return lambda branch: float(frame.world(np.asarray(branch.voxels[at]))[axis])
