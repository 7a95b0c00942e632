"""What napari opens: soft maps as images, skeletons (SWC, and the tables of softmorph inspect) as shapes and points.

napari finds `get_reader` by the manifest napari.yaml. World coordinates of all layers are those of the SWC file, the
slowest axis first: in mm for maps in mm, in um for maps in um or nm, and in voxels for maps without a unit.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import FileError
from softmorph_cli.system.units import COUNTED
from softmorph_cli.volume import Volume

# As napari takes them: the data, keyword arguments of the layer, and its type.
Layer = tuple[Any, dict[str, Any], str]

# Columns by which a table of branches is known, and the one that names the unit.
_TABLE: Final = ("branch", "component", "kind", "start_node", "end_node")
_START: Final = re.compile(r"start_x_(?!voxel$)(\w+)")
_LONGEST_HEAD: Final = 1 << 16
_COLUMNS: Final = 7


def get_reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[Layer]] | None:
    """Return the function that reads a file for napari, or None for a file that is none of softmorph's.

    Args:
        path: The path of a file or store, or a list of paths, which is not read as one stack.
    """
    if not isinstance(path, str):
        return None
    suffix = Path(path).suffix.lower()
    if suffix == ".csv":
        return _table_layers if set(_TABLE) <= set(_head(path).split(",")) else None
    return _tree_layers if suffix == ".swc" else _map_layers


def _map_layers(path: str | Sequence[str]) -> list[Layer]:
    """Read a map: an image layer for each channel, with its voxel size and position."""
    from softmorph_cli.io.reading import read

    assert isinstance(path, str)
    volume = read(path)
    axis = volume.mapped_axes.find("C")
    channels = [volume] if axis < 0 else [volume.channel(index) for index in range(volume.array.shape[axis])]
    stem = Path(path).name
    names = volume.channels or tuple(f"channel {index}" for index in range(len(channels)))
    layers: list[Layer] = []
    for name, one in zip(names, channels, strict=True):
        place, unit = _placed(one)
        told = {
            "unit": unit,
            "voxel_size": one.spacing,
            "voxel_unit": one.unit,
            "axes": one.axes,
            "notes": volume.notes,
        }
        shown = {
            "name": stem if axis < 0 else f"{stem} {name}",
            "contrast_limits": (0.0, 1.0),
            "metadata": told,
        }
        layers.append((one.array, {**shown, **place}, "image"))
    return layers


def _placed(volume: Volume) -> tuple[dict[str, Any], str]:
    """Return the scale of a layer, or its affine where the file states an orientation; and the unit of the world."""
    from softmorph_cli.skeleton.frame import Frame

    frame, count = Frame.of(volume), len(volume.mapped_axes)
    unit, factor = _world_unit(frame.suffix)
    if volume.affine is None or volume.spatial_dims == 2:
        return {"scale": (*(1.0,) * count, *(frame.sides * factor))}, unit
    affine = np.eye(count + 4)
    affine[count:-1, count:-1] = frame.matrix[::-1] * factor
    affine[count:-1, -1] = frame.origin[::-1] * factor
    return {"affine": affine}, unit


def _world_unit(unit: str) -> tuple[str, float]:
    """Return the unit of world coordinates for a map in `unit`, and how many of it that unit has."""
    return ("um", 1e-3) if unit == "nm" else (unit, 1.0)


def _tree_layers(path: str | Sequence[str]) -> list[Layer]:
    """Read an SWC file: its unbranched pieces as paths, and its roots, junctions and end points as points."""
    assert isinstance(path, str)
    rows, unit = _samples(path)
    number = {int(row[0]): index for index, row in enumerate(rows)}
    parents = [number.get(int(row[6]), -1) for row in rows]
    children: dict[int, list[int]] = defaultdict(list)
    for index, parent in enumerate(parents):
        if parent >= 0:
            children[parent].append(index)
    places = rows[:, 4:1:-1]
    paths, radii = [], []
    ends = [index for index, parent in enumerate(parents) if parent < 0 or len(children[index]) != 1]
    for start in ends:
        for index in children[start]:
            piece = [start, index]
            # A piece has no more samples than the file, also where a file has a circle of parents.
            while len(children[piece[-1]]) == 1 and len(piece) <= len(rows):
                piece.append(children[piece[-1]][0])
            paths.append(places[piece])
            radii.append(float(rows[piece, 5].mean()))
    kinds = ["root" if parents[k] < 0 else "junction" if children[k] else "end point" for k in ends]
    told, name = {"unit": unit}, Path(path).name
    layers: list[Layer] = []
    if paths:
        width = 0.5 * float(np.median(radii)) or 1.0
        lines = {"shape_type": "path", "edge_width": width, "features": {"mean_radius": radii}}
        layers.append((paths, {"name": name, "metadata": told, **lines}, "shapes"))
    size = 2 * float(np.median(rows[ends, 5])) or 1.0
    dots = {"size": size, "features": {"kind": kinds, "radius": rows[ends, 5]}}
    layers.append((places[ends], {"name": f"{name} points", "metadata": told, **dots}, "points"))
    return layers


def _samples(path: str) -> tuple[npt.NDArray[np.float64], str]:
    """Return the rows of an SWC file (number, type, x, y, z, radius, parent) and the unit that its header names."""
    unit, rows = "um", []
    try:
        with Path(path).open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("# unit:"):
                    unit = line.partition(":")[2].strip()
                if line.strip() and not line.startswith("#"):
                    rows.append([float(word) for word in line.split()[:_COLUMNS]])
        found = np.array(rows, dtype=np.float64)
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise FileError(f"{path} is no SWC file: each line has the 7 numbers of a sample.") from error
    if found.ndim != 2 or found.shape[1] != _COLUMNS or not np.isfinite(found).all():
        raise FileError(f"{path} is no SWC file: each line has the 7 numbers of a sample.")
    return found, unit


def _table_layers(path: str | Sequence[str]) -> list[Layer]:
    """Read a table of branches (softmorph inspect --csv): the start and the end of each branch as points."""
    assert isinstance(path, str)
    with Path(path).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = [match[1] for name in (rows[0] if rows else ()) if (match := _START.fullmatch(name))]
    try:
        places = [
            [float(row[f"{end}_{axis}_{found[0]}"]) for axis in "zyx"]
            for row in rows
            for end in ("start", "end")
        ]
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise FileError(f"{path} is no table of softmorph inspect: a place is missing.") from error
    unit, factor = _world_unit(found[0] if found else COUNTED[3])
    twice = [row for row in rows for _ in range(2)]
    features = {name: [row[name] for row in twice] for name in ("branch", "component", "kind")}
    told = {"name": Path(path).name, "features": features, "metadata": {"unit": unit}}
    return [(np.array(places).reshape(-1, 3) * factor, told, "points")]


def _head(path: str) -> str:
    """Return the first line of a text file; "" if it cannot be read."""
    try:
        with Path(path).open(encoding="utf-8", errors="replace") as file:
            return file.readline(_LONGEST_HEAD).strip()
    except OSError:
        return ""
