"""The voxel size and the unit that options of reading state for files that do not state them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import isclose

import numpy as np

from softmorph_cli.errors import InputError
from softmorph_cli.io import select
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.io.raw import Affine, Raw
from softmorph_cli.system.lengths import parse_sides
from softmorph_cli.system.parameters import named
from softmorph_cli.system.units import MILLIMETRES, SIZELESS, sign, typed

# Headers hold voxel sizes as float32 or as decimals of a few digits.
_SAME = 1e-3


def completed(raw: Raw, name: str, options: ReadOptions) -> Raw:
    """Return a decoded file with the voxel size and the unit that `options` state; the file itself if they state none.

    Args:
        raw: The content of the file, with its axes named and in order.
        name: The name of the file, for messages.
        options: The options of reading, of which `voxel_size` and `unit` are used.

    Raises:
        InputError: If the file states another voxel size or unit, or the options do not fit its axes.
    """
    unit = typed(options.unit) if options.unit is not None else None
    if options.voxel_size is None:
        return by_convention(raw) if unit is None else _in_unit(raw, name, unit)
    sides, own = parse_sides(options.voxel_size, named("voxel_size"))
    unit = own or unit
    assert unit is not None
    spacing, stated = _by_axis(raw, name, options.voxel_size, sides), _stated(raw)
    if stated is not None:
        factor = MILLIMETRES[unit] / MILLIMETRES[stated]
        if any(not isclose(spacing.get(a, 0) * factor, raw.spacing[a], rel_tol=_SAME) for a in raw.spacing):
            raise InputError(
                f"{name} states that its voxels are {_words(raw, raw.spacing, stated)}, and {named('voxel_size')} "
                f"that they are {_words(raw, spacing, unit)}: leave {named('voxel_size')} out, or correct the header."
            )
        if raw.spacing.keys() >= spacing.keys():
            return raw
    note = f"its voxels are taken to be {_words(raw, spacing, unit)}, as {named('voxel_size')} says"
    if stated is None and raw.spacing:
        note += f"; its own numbers, {_words(raw, raw.spacing)}, have no unit"
    kept = tuple(one for one in raw.notes if SIZELESS not in one)
    affine = None if raw.affine is None else _scaled(raw.affine, spacing, unit)
    return replace(raw, spacing=spacing, unit=unit, affine=affine, notes=(*kept, f"{note}."))


def by_convention(raw: Raw) -> Raw:
    """Return a file with a note if its lengths are in mm by convention only.

    ITK's images are in mm, and ITK and 3D Slicer read MetaImage and NRRD without a unit so, although MetaIO's own
    `DistanceUnits` is "?" (unknown) until a file names one, and NRRD's `space units` may be left out.
    """
    if raw.format not in ("metaimage", "nrrd") or raw.unit_stated or raw.unit != "mm" or not raw.spacing:
        return raw
    note = (
        f"its header names no unit of length, and mm is taken, as ITK does; {named('unit', 'um')} takes µm."
    )
    return replace(raw, notes=(*raw.notes, note))


def _in_unit(raw: Raw, name: str, unit: str) -> Raw:
    missing = [
        a
        for a, size in zip(select.spatial(raw), _shape(raw), strict=True)
        if a not in raw.spacing and size > 1
    ]
    stated = _stated(raw)
    if stated is not None and stated != unit:
        raise InputError(
            f"{name} states its voxel size in {sign(stated)}, and {named('unit')} that it is in {sign(unit)}: leave "
            f"{named('unit')} out, or correct the header."
        )
    if missing:
        raise InputError(
            f"{name} states no voxel size along {' and '.join(missing).lower()}, which {named('unit')} could be the "
            f"unit of: give the size instead, such as {named('voxel_size', f'1{unit}')}."
        )
    if raw.unit == unit:
        return raw
    affine = None
    if raw.affine is not None:
        affine = raw.affine.copy()
        affine[:3] *= MILLIMETRES[unit]
    note = f"its voxels are taken to be {_words(raw, raw.spacing, unit)}, as {named('unit')} says."
    return replace(raw, unit=unit, affine=affine, notes=(*raw.notes, note))


def _stated(raw: Raw) -> str | None:
    """Return the unit that the file itself states, not that of its format's convention; None if it states none."""
    return raw.unit if raw.unit_stated else None


def _shape(raw: Raw) -> tuple[int, ...]:
    return raw.array.shape[-len(select.spatial(raw)) :]


def _by_axis(raw: Raw, name: str, text: str, sides: tuple[float, ...]) -> dict[str, float]:
    """Return the sides by the letter of their axis; axes of size one may be left out."""
    letters, shape = select.spatial(raw), _shape(raw)
    long = "".join(letter for letter, size in zip(letters, shape, strict=True) if size > 1)
    if len(sides) == 1:
        return dict.fromkeys(letters, sides[0])
    for axes in (letters, long):
        if len(sides) == len(axes):
            return dict(zip(axes, sides, strict=True))
    raise InputError(
        f"{named('voxel_size')} {text!r} gives {len(sides)} sizes, and {name} has {len(letters)} axes in space, "
        f"{letters} of {shape}: give one for each."
    )


def _scaled(affine: Affine, spacing: Mapping[str, float], unit: str) -> Affine:
    """Return an affine whose steps have these lengths; the origin of the world stays at the same voxel."""
    scaled = affine.copy()
    for column, letter in enumerate("ZYX"):
        if letter in spacing:
            step = affine[:3, column]
            scaled[:3, column] = step * (spacing[letter] * MILLIMETRES[unit] / np.linalg.norm(step))
    scaled[:3, 3] = scaled[:3, :3] @ np.linalg.solve(affine[:3, :3], affine[:3, 3])
    return scaled


def _words(raw: Raw, spacing: Mapping[str, float], unit: str = "") -> str:
    letters = [letter for letter in select.spatial(raw) if letter in spacing]
    sizes = " × ".join(f"{spacing[letter]:.6g}" for letter in letters)
    return f"{sizes}{f' {sign(unit)}' if unit else ''} ({', '.join(letters).lower()})"
