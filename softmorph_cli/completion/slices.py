"""The slices of a stack that are missing: as the user names them, or those that are empty."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.system.parameters import named

# The value of --missing for slices that are 0 throughout.
EMPTY: Final = "empty"
_PART: Final = re.compile(r"\s*(-?\d+)?\s*(:)?\s*(-?\d+)?\s*(?::\s*(\d+)\s*)?")

Slices = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Stack:
    """The slices of a map along one axis.

    Attributes:
        observed: For each slice whether it is observed, and not missing; shape (n,).
        notes: Notes for the user, one sentence each.
    """

    observed: Slices
    notes: tuple[str, ...] = ()

    @property
    def missing(self) -> list[int]:
        """The indices of the missing slices."""
        return np.flatnonzero(~self.observed).tolist()

    @property
    def beyond(self) -> list[int]:
        """The indices of the missing slices before the first observed slice and after the last."""
        known = np.flatnonzero(self.observed)
        return [index for index in self.missing if not known[0] < index < known[-1]]


def check(name: str, text: str) -> None:
    """Raise `UsageError` unless a text names slices, such as "5:9,12", or is "empty"."""
    if text != EMPTY:
        _parts(text, name)


def _parts(text: str, name: str = "missing") -> list[slice | int]:
    found: list[slice | int] = []
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if (
            match is None
            or not part.strip()
            or (match[2] is None and (match[1] is None or match[3] or match[4]))
        ):
            raise UsageError(
                f"{named(name)} {text!r} names no slices: give indices from 0 and ranges without their end, such as "
                f"{named(name, '5:9,12')} for slices 5 to 8 and 12, or {named(name, EMPTY)}."
            )
        first, last, step = (int(number) if number else None for number in match.group(1, 3, 4))
        if step == 0:
            raise UsageError(f"{named(name)} {text!r}: a step of 0 names no slices; leave it out.")
        found.append(slice(first, last, step) if match[2] else int(match[1]))
    return found


def words(indices: list[int]) -> str:
    """Return slice indices in ascending order as text in the form of --missing, such as "5:9,12"."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and runs[-1][1] == index:
            runs[-1][1] = index + 1
        else:
            runs.append([index, index + 1])
    return ",".join(str(first) if last == first + 1 else f"{first}:{last}" for first, last in runs)


def stack(array: npt.NDArray[Any], axis: int, missing: str | None, letter: str) -> Stack:
    """Find the missing slices of a map along an axis.

    Empty slices before the first slice that is not empty, and after the last, are usually true: nothing is there. They
    count as observed, and a note says so.

    Args:
        array: The map, of any shape; a slice holds all images (times, channels) at one position.
        axis: The axis of the slices, an index of the array's axes.
        missing: The missing slices as `--missing` takes them: "5:9,12" for 5 to 8 and 12, "empty", or None for none.
        letter: The letter of the axis, for messages.

    Returns:
        Which slices are observed, and notes.

    Raises:
        InputError: If an index is out of range, or every slice is missing or empty.
    """
    count = array.shape[axis]
    if missing is None:
        return Stack(np.ones(count, np.bool_))
    if missing == EMPTY:
        return _empty(array, axis, letter)
    observed = np.ones(count, np.bool_)
    for part in _parts(missing):
        ends = (
            (part, part)
            if isinstance(part, int)
            else (part.start, None if part.stop is None else part.stop - 1)
        )
        for end in ends:
            if end is not None and not -count <= end < count:
                raise InputError(
                    f"{named('missing')} {missing}: there is no slice {end} along {letter}, which has {count}, "
                    f"0 to {count - 1}."
                )
        if isinstance(part, slice) and not observed[part].size:
            raise InputError(f"{named('missing')} {missing}: {part.start}:{part.stop} holds no slice.")
        observed[part] = False
    if not observed.any():
        raise InputError(
            f"{named('missing')} {missing} names every slice along {letter}: nothing is left to interpolate from."
        )
    return Stack(observed)


def _empty(array: npt.NDArray[Any], axis: int, letter: str) -> Stack:
    """Return the stack whose empty slices between others are missing."""
    held = np.asarray(array.any(axis=tuple(k for k in range(array.ndim) if k != axis % array.ndim)))
    if not held.any():
        raise InputError(f"every slice along {letter} is empty: there is nothing to interpolate from.")
    first, last = np.flatnonzero(held)[[0, -1]]
    outer = [*range(first), *range(last + 1, len(held))]
    notes: tuple[str, ...] = ()
    if outer:
        notes = (
            f"slices {words(outer)} along {letter}, at the ends of the stack, are empty too and taken as observed; "
            f"{named('missing', words(outer))} would fill them.",
        )
    observed = held.copy()
    observed[outer] = True
    return Stack(observed, notes)
