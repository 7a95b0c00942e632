"""Reading and writing of voxel size, units, affine and time step in NIfTI headers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from softmorph_cli.io.raw import REVERSED, Affine, time_step_of
from softmorph_cli.system.units import MILLIMETRES, TimeStep, time_step
from softmorph_cli.volume import Volume, places

# The largest squared norm of (b, c, d) that is a unit quaternion up to rounding errors.
_LONGEST_QUATERNION = 1.01
# The largest distance between the positions by sform and by qform, in voxels, that is not reported.
_APART = 0.1
# Codes of xyzt_units: a length's unit here and its factor; the unit of time; the unit of a fourth axis other than time.
_UNITS = {1: ("mm", 1e3), 2: ("mm", 1.0), 3: ("um", 1.0)}
_TIMES = {0: None, 8: "s", 16: "ms", 24: "us"}
_NOT_TIME = {32: "Hz", 40: "ppm", 48: "rad/s"}
_LENGTH_BITS, _TIME_BITS = 0x07, 0x38
# NIfTI has no nm.
_WRITTEN_UNITS = {"mm": ("mm", "mm"), "um": ("um", "micron"), "nm": ("um", "micron")}


def read_geometry(
    header: Any, shape: tuple[int, ...]
) -> tuple[dict[str, float], str | None, Affine | None, list[str]]:
    """Return the voxel size by axis letter, its unit, the affine, and notes; reset an invalid sform or qform.

    Args:
        header: The header as a nibabel object; the code of an invalid sform or qform is set to 0.
        shape: The shape of the file's array, x first.
    """
    unit, factor = _UNITS.get(int(header["xyzt_units"]) & _LENGTH_BITS, (None, 1.0))
    affine, notes = _best_affine(header, shape)
    if affine is not None:
        # World coordinates are millimetres by the standard; many writers leave the unit field at zero.
        unit = unit or "mm"
        affine = affine[:, REVERSED]
        affine[:3] *= factor * MILLIMETRES[unit]
    stored = header["pixdim"].dtype.type
    steps = np.abs(_shortest(header["pixdim"][3:0:-1], stored)) * factor
    if affine is not None:
        from_affine = np.linalg.norm(affine[:3, :3], axis=0) / MILLIMETRES[unit or "mm"]
        used = min(int(header["dim"][0]), 3)
        if not np.allclose(from_affine[-used:], steps[-used:], rtol=1e-3):
            notes.append("its voxel size and its affine disagree; the affine is used.")
        # The length of an oblique column is rounded more often than the voxel size itself.
        steps = np.where(np.isclose(from_affine, steps, rtol=1e-5, atol=0), steps, from_affine)
    if not np.all(np.isfinite(steps) & (steps > 0)):
        return {}, unit, affine, [*notes, "its header gives no valid voxel size."]
    return dict(zip("ZYX", _shortest(steps, stored).tolist(), strict=True)), unit, affine, notes


def states_unit(header: Any) -> bool:
    """Return whether a header states the unit of lengths; in one that does not, affines are in mm by the standard."""
    return int(header["xyzt_units"]) & _LENGTH_BITS in _UNITS


def fourth_axis(header: Any) -> tuple[TimeStep | None, list[str]]:
    """Return the time step or None, and a note if the fourth axis has another unit than time."""
    count, sizes = int(header["dim"][0]), header["dim"][1:]
    if count < 4:
        return None, []
    code = int(header["xyzt_units"]) & _TIME_BITS
    step = float(_shortest(header["pixdim"][4:5], header["pixdim"].dtype.type)[0])
    if code in _TIMES:
        return time_step(step, _TIMES[code]), []
    if code not in _NOT_TIME or int(sizes[3]) == 1 or step == 0:
        return None, []
    unit = _NOT_TIME[code]
    return None, [
        f"its fourth axis is in {unit}, not in time: its step of {step:g} {unit} is kept in NIfTI only."
    ]


def write_geometry(header: Any, volume: Volume, *, fresh: bool) -> None:
    """Write the affine, the voxel size and the time step of a volume into a NIfTI header.

    Args:
        header: The header as a nibabel object, changed in place.
        volume: The map.
        fresh: Whether the header is new; in a header copied from the source, only differing fields are changed.
    """
    if fresh:
        _fill(header, volume)
        return
    if not states_unit(header) and volume.unit in ("um", "nm"):
        # The user stated what the source does not, and NIfTI has no nm.
        header.set_xyzt_units("micron", header.get_xyzt_units()[1])
    affine, placed = volume.affine, int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
    if affine is None or not placed:
        _resize(header, volume, forget=placed)
        return
    unit, factor = _UNITS.get(int(header["xyzt_units"]) & _LENGTH_BITS, ("mm", 1.0))
    wanted = affine[:, REVERSED].copy()
    wanted[:3] /= factor * MILLIMETRES[unit]
    present = _sform(header) if int(header["sform_code"]) > 0 else _qform(header)
    if np.allclose(wanted, present, rtol=1e-6, atol=1e-9):
        return
    if not np.allclose(wanted[:3, :3], present[:3, :3], rtol=1e-5, atol=1e-8):
        header.set_sform(wanted, code=int(header["sform_code"]) or "aligned")
        header.set_qform(wanted, code=0)
        return
    # A crop: the corner moves by whole voxels, in both transforms, which may differ.
    corner = np.linalg.lstsq(present[:3, :3], wanted[:3, 3] - present[:3, 3], rcond=None)[0]
    if int(header["qform_code"]) > 0:
        for letter, step in zip("xyz", _qform(header)[:3, :3] @ corner, strict=True):
            header[f"qoffset_{letter}"] = float(header[f"qoffset_{letter}"]) + step
    if int(header["sform_code"]) > 0:
        for letter, step in zip("xyz", _sform(header)[:3, :3] @ corner, strict=True):
            header[f"srow_{letter}"][3] = float(header[f"srow_{letter}"][3]) + step


def _qform(header: Any) -> Affine:
    """Return the affine of the qform, computed as in the standard's nifti1_io.c; NaN if the quaternion is invalid.

    A quaternion that is longer than 1 by rounding is accepted, unlike in nibabel's `get_qform`.
    """
    from nibabel.quaternions import quat2mat

    b, c, d = (float(header[f"quatern_{letter}"]) for letter in "bcd")
    square = b * b + c * c + d * d
    if not square < _LONGEST_QUATERNION:
        return np.full((4, 4), np.nan)
    sizes = np.asarray(header["pixdim"][1:4], dtype=np.float64)
    affine = np.eye(4)
    affine[:3, :3] = quat2mat([np.sqrt(max(0.0, 1 - square)), b, c, d]) * np.where(sizes > 0, sizes, 1)  # type: ignore[no-untyped-call]
    if header["pixdim"][0] < 0:
        affine[:3, 2] *= -1
    affine[:3, 3] = [header[f"qoffset_{letter}"] for letter in "xyz"]
    return affine


def _sform(header: Any) -> Affine:
    return np.array([*(header[f"srow_{letter}"] for letter in "xyz"), (0, 0, 0, 1)], dtype=np.float64)


_FORMS: dict[str, Callable[[Any], Affine]] = {"sform": _sform, "qform": _qform}


def _best_affine(header: Any, shape: tuple[int, ...]) -> tuple[Affine | None, list[str]]:
    """Return the affine of the sform, else of the qform, in the file's unit; reset the code of an invalid one to 0.

    Returns:
        The affine, or None if both codes are 0 (the standard's method 1: a voxel size without a position) or neither
        sform nor qform is valid; and notes on the sform and qform.
    """
    notes: list[str] = []
    forms = {name: form(header) for name, form in _FORMS.items() if int(header[f"{name}_code"]) > 0}
    valid = {name: affine for name, affine in forms.items() if places(affine)}
    invalid = [name for name in forms if name not in valid]
    for name in invalid:
        header[f"{name}_code"] = 0
    if invalid:
        instead = f"the {next(iter(valid))}" if valid else "its voxel size alone"
        notes.append(
            f"its {' and its '.join(invalid)} {'place' if len(invalid) > 1 else 'places'} no voxels (not finite, or "
            f"without an inverse): {instead} is used."
        )
    if "qform" in valid:
        _normalise_quaternion(header)
    if len(valid) == 2:
        corners = np.array([*product(*((0, max(size, 1) - 1) for size in (*shape, 1, 1, 1)[:3]))])
        by_sform, by_qform = (affine[:3, :3] @ corners.T + affine[:3, 3:] for affine in valid.values())
        apart = float(np.linalg.norm(by_sform - by_qform, axis=0).max())
        step = float(np.linalg.norm(valid["sform"][:3, :3], axis=0).min())
        if apart > _APART * step:
            notes.append(
                f"its sform and its qform put the image at different places, up to {apart / step:.3g} voxels apart: "
                "the sform is used."
            )
    return next(iter(valid.values()), None), notes


def _normalise_quaternion(header: Any) -> None:
    """Scale the header's quaternion to length 1 if it is longer, so that nibabel accepts the header."""
    parts = [f"quatern_{letter}" for letter in "bcd"]
    length = float(np.linalg.norm([float(header[part]) for part in parts]))
    if length > 1:
        for part in parts:
            header[part] = float(header[part]) / length


def _shortest(numbers: Any, stored: type[np.floating[Any]]) -> Affine:
    """Return the shortest decimals that round to the numbers in type `stored`: 0.8, not 0.800000011920929."""
    with np.errstate(over="ignore"):
        return np.array([float(str(stored(number))) for number in numbers])


def _fill(header: Any, volume: Volume) -> None:
    """Write the affine, voxel size, units and time step of a volume into a new header."""
    affine, spacing = volume.affine, volume.spacing
    known = spacing is None or volume.unit in MILLIMETRES
    unit, name = _WRITTEN_UNITS[(volume.unit if known else None) or "mm"]
    if known and (spacing is not None or affine is not None):
        header.set_xyzt_units(name)
    _set_time_step(header, volume)
    if affine is not None and known:
        affine = affine[:, REVERSED].copy()
        affine[:3] /= MILLIMETRES[unit]
        # nibabel's code for a given affine; other formats do not say which scanner or atlas space is meant.
        header.set_sform(affine, code="aligned")
        header["pixdim"][1:4] = np.linalg.norm(affine[:3, :3], axis=0)
    elif spacing is not None:
        # No position, as in the source: both codes stay 0, and readers use the voxel size (method 1).
        factor = MILLIMETRES[volume.unit or ""] / MILLIMETRES[unit] if known else 1.0
        header["pixdim"][1 : 1 + len(spacing)] = [size * factor for size in reversed(spacing)]


def _set_time_step(header: Any, volume: Volume) -> None:
    if step := time_step_of(volume):
        header["pixdim"][4] = step.size
        header["xyzt_units"] = int(header["xyzt_units"]) & _LENGTH_BITS | (8 if step.known else 0)


def _resize(header: Any, volume: Volume, *, forget: bool) -> None:
    """Write the voxel size of a volume into a header; `forget` removes an affine that no longer applies."""
    if forget:
        header["sform_code"] = header["qform_code"] = 0
        header["pixdim"][1:] = 1
        _set_time_step(header, volume)
    if volume.spacing is None:
        return
    code = int(header["xyzt_units"])
    if volume.unit == "mm" and code & _LENGTH_BITS == 0:
        header["xyzt_units"] = code | 2
    unit, factor = _UNITS.get(code & _LENGTH_BITS, (volume.unit, 1.0))
    if unit in MILLIMETRES and volume.unit in MILLIMETRES:
        factor *= MILLIMETRES[unit] / MILLIMETRES[volume.unit]
    sizes = np.array(volume.spacing[::-1]) / factor
    present = header["pixdim"][1 : 1 + len(sizes)]
    if not np.allclose(np.abs(present), sizes, rtol=1e-6, atol=0):
        present[:] = sizes
