"""Units of length, time and memory: their spellings, and conversion to mm, seconds and bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Final

# The units of a voxel size, in mm.
MILLIMETRES: Final = {"mm": 1.0, "um": 1e-3, "nm": 1e-6}

# What lengths are counted in where the unit is unknown, by the number of spatial axes.
COUNTED: Final = {2: "pixels", 3: "voxels"}

# Every spelling of a unit, the usual one first, as a multiple of one of the units above.
_UNITS: Final = (
    ("m meter meters metre metres", "mm", 1e3),
    ("cm centimeter centimeters centimetre centimetres", "mm", 10.0),
    ("mm millimeter millimeters millimetre millimetres", "mm", 1.0),
    ("in inch inches", "mm", 25.4),
    # The letter u, the micro sign, the Greek letter, and ImageJ's escape of the micro sign.
    (
        "um \u00b5m \u03bcm \\u00b5m micron microns micrometer micrometers micrometre micrometres",
        "um",
        1.0,
    ),
    ("nm nanometer nanometers nanometre nanometres", "nm", 1.0),
    # The letter and the sign.
    ("angstrom angstroms \u00c5 \u212b", "nm", 0.1),
)
_SPELLINGS: Final = {
    spelling: (unit, factor) for spellings, unit, factor in _UNITS for spelling in spellings.split()
}
# What users may type. Inches are what printers count in, and are read from files only.
_TYPED: Final = {
    spelling: spellings.split()[0]
    for spellings, *_ in (*_UNITS, ("vox voxel voxels px pixel pixels",))
    for spelling in spellings.split()
    if not spellings.startswith("in ")
}


def length(value: float, unit: str | None) -> tuple[float, str | None]:
    """Convert a length to mm, um or nm; return the converted number and its unit.

    If the unit is unknown, the number is unchanged and None is returned for the unit.
    """
    spelling = (unit or "").strip()
    name, factor = _SPELLINGS.get(spelling) or _SPELLINGS.get(spelling.lower()) or (None, 1.0)
    return value * factor, name


def typed(unit: str) -> str | None:
    """Return the usual spelling of a unit that a user typed, "um" for micron and µm, "vox" for voxels and px.

    Returns:
        The unit; None if it is unknown. Words are accepted in any case, abbreviations as they are: Mm is no mm.

    >>> typed("Microns"), typed("px"), typed("furlong")
    ('um', 'vox', None)
    """
    return _TYPED.get(unit.lower() if len(unit) > 2 else unit)


def millimetres(unit: str | None) -> float | None:
    """Return the length of a unit, given in any spelling, in millimetres; None if the unit is unknown."""
    factor, name = length(1.0, unit)
    return None if name is None else factor * MILLIMETRES[name]


def in_one_unit(sizes: Mapping[str, tuple[float, Any]]) -> tuple[dict[str, float], str | None]:
    """Convert voxel sizes, which may have different units, to the first known unit among them.

    Args:
        sizes: The voxel size along each axis and its unit in any spelling, by axis letter.

    Returns:
        The sizes by axis letter, and the unit. Axes with an unknown unit are left out; if all units are unknown, the
        sizes are unchanged and the unit is None.
    """
    known = {axis: length(size, str(unit or "")) for axis, (size, unit) in sizes.items()}
    unit = next((name for _, name in known.values() if name is not None), None)
    if unit is None:
        return {axis: size for axis, (size, _) in sizes.items()}, None
    one = MILLIMETRES[unit]
    return {axis: size * (MILLIMETRES[name] / one) for axis, (size, name) in known.items() if name}, unit


def sign(unit: str) -> str:
    """Return a unit in typographic form: µm for um, mm² for mm^2, µm³ for um^3."""
    return unit.replace("^2", "²").replace("^3", "³").replace("um", "µm")


def lengths_in(suffix: str, counted: str | None = None) -> str:
    """Return what lengths are in, for the facts of a page: "µm", or "voxels, as the unit is not known".

    Args:
        suffix: What names of columns of lengths end with: a unit, or what is counted where no unit is known.
        counted: What is counted, in more words.

    >>> lengths_in("um"), lengths_in("pixels")
    ('µm', 'pixels, as the unit is not known')
    """
    return f"{counted or suffix}, as the unit is not known" if suffix in COUNTED.values() else sign(suffix)


# Part of the note that `sizeless` returns.
SIZELESS: Final = "is in no known unit, and is left out: lengths are in voxels."


def sizeless(axes: Iterable[str]) -> list[str]:
    """Return a list with a note on axes whose voxel size has no known unit; empty if there are no such axes."""
    named = " and ".join(axis.lower() for axis in axes)
    if not named:
        return []
    return [f"its voxel size along {named} {SIZELESS}"]


_SECONDS: Final = {
    spelling: factor
    for spellings, factor in (
        ("ns nanosecond nanoseconds", 1e-9),
        ("us \u00b5s \u03bcs usec microsecond microseconds", 1e-6),
        ("ms msec millisecond milliseconds", 1e-3),
        ("s sec second seconds", 1.0),
        ("min minute minutes", 60.0),
        ("h hour hours", 3600.0),
        ("d day days", 86400.0),
    )
    for spelling in spellings.split()
}


@dataclass(frozen=True)
class TimeStep:
    """The time between two images of a series.

    Attributes:
        size: The length of the step; in seconds where the unit is known.
        known: Whether the unit of the step is known.
    """

    size: float
    known: bool


def time_step(size: float, unit: str | None) -> TimeStep | None:
    """Return a time step, converted to seconds if its unit is known.

    Returns:
        The time step; None if `size` is not positive and finite, or is 1 without a known unit, which files hold that
        state no time step.
    """
    if not 0 < size < inf:
        return None
    factor = _SECONDS.get((unit or "").strip().lower())
    if factor is None:
        return None if size == 1 else TimeStep(size, known=False)
    # Without the last bits of the product: 0.3, not 0.30000000000000004.
    return TimeStep(float(f"{size * factor:.15g}"), known=True)


# Bytes: the units of a thousand and those of 1024.
BYTES: Final = {
    "B": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("kMGT", 1)},
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", 1)},
}


def bytes_of(text: str) -> int | None:
    """Parse a memory size such as 4GB or 512MiB, in any case, to a number of bytes; None if it is malformed."""
    number = text.strip().rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
    unit = text.strip()[len(number) :].strip().lower()
    factor = next((factor for name, factor in BYTES.items() if name.lower() in (unit, f"{unit}b")), None)
    try:
        count = float(number) * (factor or 0)
    except ValueError:
        return None
    return int(count) if unit and 1 <= count < 2**63 else None
