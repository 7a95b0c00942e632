"""Parsing of axes, voxel size, unit, affine and time step in NRRD headers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np

from softmorph_cli.io import itk_headers
from softmorph_cli.io.itk_headers import Fields
from softmorph_cli.io.raw import Affine
from softmorph_cli.system.units import MILLIMETRES, TimeStep, length, time_step

# Kinds of an axis of space or time, and of an axis that holds the components of a voxel.
_DOMAIN: Final = ("domain", "space", "time", "", "???", "none")
_COMPONENTS = re.compile(
    r"list|point|vector|covariant-vector|normal|stub|scalar|complex|quaternion"
    r"|([234]|rgb|hsv|xyz|rgba)-(vector|colou?r|gradient|normal)|[23]d-[a-z-]*(matrix|tensor)"
)
_SPACES: Final = {
    "ras": "right-anterior-superior",
    "las": "left-anterior-superior",
    "lps": "left-posterior-superior",
}
_VECTOR = re.compile(r"\(([^()]*)\)|(\S+)")


@dataclass(frozen=True)
class Place:
    """The axes of a NRRD array and their geometry, in the coordinates and the unit of the file.

    Attributes:
        letters: A letter for each axis, the fastest axis first; None if the header does not determine the axes.
        steps: The step vector along each spatial axis, one row per axis; None if the header has no directions.
        sizes: The voxel size along each spatial axis, NaN if unknown.
        at: The indices of the spatial axes among all axes of the file.
        time_step: The step along the time axis, or None.
    """

    letters: str | None
    steps: Affine | None
    sizes: list[float]
    at: list[int]
    time_step: TimeStep | None = None


def read_kinds(fields: Fields, count: int) -> list[str]:
    """Return the NRRD kind of each of `count` axes in lower case, or "" for each axis if the header has no kinds."""
    if "kinds" not in fields:
        return [""] * count
    return [word.lower() for word in fields.words("kinds", count)]


def locate(fields: Fields, count: int, notes: list[str]) -> Place:
    """Return the geometry of the `count` axes of a header; append notes for the user to `notes`."""
    kinds = read_kinds(fields, count)
    for axis, kind in enumerate(kinds):
        if kind not in _DOMAIN and not _COMPONENTS.fullmatch(kind):
            notes.append(f"its kind of axis {itk_headers.shown(kind)!r} is not known, and is left out.")
            kinds[axis] = ""
    rows = _directions(fields, count) if "space directions" in fields else None
    components = [axis for axis, kind in enumerate(kinds) if kind not in _DOMAIN]
    times = [axis for axis, kind in enumerate(kinds) if kind == "time"]
    # An axis without a direction and a kind holds components if it is the fastest one, else it is time.
    for axis, row in enumerate(rows or ()):
        if row is None and axis not in (*components, *times):
            (components if axis == 0 else times).append(axis)
        elif row is not None and len(row) == 4 and not any(row[:3]) and axis not in times:
            times.append(axis)
    space = [axis for axis in range(count) if axis not in (*components, *times)]
    if len(space) == 4 and not times:
        times = [space.pop()]
    if len(components) > 1 or len(times) > 1 or len(space) not in (2, 3):
        return Place(None, None, [], [])
    named = dict(zip(space, "XYZ", strict=False)) | dict.fromkeys(components, "C") | dict.fromkeys(times, "T")
    letters = "".join(named[axis] for axis in range(count))
    spacings = [float("nan")] * count
    if "spacings" in fields and (rows is None or times):
        spacings = fields.reals("spacings", count)
    step = _time_step_along(fields, times[0], rows, spacings) if times else None
    chosen = [rows[axis] for axis in space] if rows is not None else [None]
    found = [row[:3] for row in chosen if row is not None]
    if len(found) == len(space):
        steps = np.array(found, dtype=np.float64)
        return Place(letters, steps, np.linalg.norm(steps, axis=1).tolist(), space, step)
    return Place(letters, None, [abs(spacings[axis]) for axis in space], space, step)


def _time_step_along(
    fields: Fields, axis: int, rows: list[list[float] | None] | None, spacings: list[float]
) -> TimeStep | None:
    """Return the time step along `axis`; the unit is the fourth of "space units", else that axis's entry in "units"."""
    row = rows[axis] if rows is not None else None
    size = abs(row[3]) if row is not None and len(row) == 4 else abs(spacings[axis])
    units, space_units = _spelt(fields, "units"), _spelt(fields, "space units")
    unit = units[axis] if len(units) == len(spacings) else ""
    return time_step(size, space_units[3] if len(space_units) == 4 else unit)


def _directions(fields: Fields, count: int) -> list[list[float] | None]:
    """Return the direction vector of each axis, None for an axis whose direction is "none"."""
    parts = _VECTOR.findall(fields.texts["space directions"])
    found = [
        [itk_headers.real(word) for word in inside.split(",")] if not other else None
        for inside, other in parts
    ]
    # "(nan,nan,nan)" is another way to write "none".
    found = [None if row is not None and all(np.isnan(row)) else row for row in found]
    dims = {len(row) for row in found if row is not None}
    named = {other.lower() for _, other in parts} <= {"", "none"}
    if not named or len(found) != count or len(dims) > 1 or not dims <= {2, 3, 4}:
        raise fields.refused("space directions", f"a vector or none for each of {count} axes")
    return found


def world(fields: Fields, place: Place, notes: list[str]) -> tuple[float, str | None, Affine | None]:
    """Return the unit of length and the affine of a header; append notes for the user to `notes`.

    A header that names a space but no unit is taken to be in millimetres. The affine is None if the header names no
    space or the unit is unknown.

    Returns:
        The factor that converts stored lengths to the unit, the unit or None, and the affine in mm or None.
    """
    space = fields.texts.get("space", "").strip()
    named = _length_units(fields, place)
    found = {length(1.0, name) for name in named} or {(1.0, "mm" if space else None)}
    factor, unit = found.pop()
    if found or (named and unit is None):
        units = ", ".join(dict.fromkeys(itk_headers.shown(name) for name in named))
        wrong = "differ from axis to axis" if found else "are not known"
        lost = "the unit, orientation and origin are dropped" if space else "the unit is dropped"
        notes.append(f"its units of length, {units}, {wrong}: {lost}.")
        return 1.0, None, None
    if not space and place.steps is not None:
        straight = np.eye(*place.steps.shape) * np.array(place.sizes)[:, None]
        if any(_origin(fields)) or not np.allclose(place.steps, straight):
            notes.append("it names no space for its directions: orientation and origin are dropped.")
    if not space or unit is None or place.steps is None:
        return factor, unit, None
    affine = _affine(fields, place.steps, space, notes)
    affine[:3] *= factor * MILLIMETRES[unit]
    if field := itk_headers.misplaced(affine, "directions", "origin"):
        notes.append(
            f"its space {field} {itk_headers.shown(fields.texts[f'space {field}'])} place{'s' * (field == 'origin')} "
            "no voxels (not finite, or without an inverse): orientation and origin are dropped."
        )
        return factor, unit, None
    return factor, unit, affine


def _origin(fields: Fields) -> list[float]:
    inside = fields.texts.get("space origin", "0").strip("() ").split(",")
    return [itk_headers.real(number) for number in inside[:3]]


def _affine(fields: Fields, steps: Affine, name: str, notes: list[str]) -> Affine:
    """Return the affine to RAS, in the unit of the file, from step vectors `steps` in the space called `name`."""
    space = name.lower().removesuffix("-time")
    space = _SPACES.get(space.removesuffix("t") if len(space) == 4 else space, space)
    signs = np.ones(3)
    if space in _SPACES.values():
        towards = space.split("-")
        signs[:2] = (-1 if towards[0] == "right" else 1), (-1 if towards[1] == "anterior" else 1)
    else:
        notes.append(
            f"its space, {itk_headers.shown(name)}, names no sides of a body: it is taken as {_SPACES['lps']}."
        )
    origin = np.zeros(3)
    if "space origin" in fields:
        found = _origin(fields)
        origin[: len(found)] = found
    else:
        notes.append("it says no space origin: its first voxel is taken to lie at 0, 0, 0.")
    if steps.shape[1] == 2:
        steps = np.pad(steps, ((0, 0), (0, 1)))
    return itk_headers.affine_of(steps * signs, origin * signs)


def states_unit(fields: Fields, place: Place) -> bool:
    """Return whether a header states the unit of lengths; one that does not is in mm by convention."""
    return bool(_length_units(fields, place))


def _length_units(fields: Fields, place: Place) -> list[str]:
    """Return the units of the spatial axes as the header spells them, without empty units."""
    for key in ("space units", "units"):
        spelt = _spelt(fields, key)
        if key == "units" and place.letters and len(spelt) == len(place.letters):
            spelt = [spelt[axis] for axis in place.at]
        elif len(spelt) == 4:
            del spelt[3]  # that of time
        if named := [word for word in spelt if word not in ("", "???", "none")]:
            return named[:3]
    return []


def _spelt(fields: Fields, key: str) -> list[str]:
    return [word.strip() for word in re.findall(r'"([^"]*)"', fields.texts.get(key, ""))]
