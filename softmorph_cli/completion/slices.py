"""The slices of a stack that are missing or hidden: as the user names them, or those that are empty."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.system.parameters import named

# The value of --missing for slices that are 0 throughout.
EMPTY: Final = "empty"
_PART: Final = re.compile(r"\s*(-?\d{1,18})?\s*(:)?\s*(-?\d{1,18})?\s*(?::\s*(\d{1,18})\s*)?")

# A number of slices, or a share of all of them.
_AMOUNT: Final = r"[1-9]\d{0,5}(?:/[1-9]\d{0,5})?"
_GAP: Final = re.compile(rf"(every):([1-9]\d{{0,5}})|(end|gap):({_AMOUNT})|gap:({_AMOUNT})\+({_AMOUNT})")

Slices = npt.NDArray[np.bool_]
# Whether each of a number of slices is observed.
Gap = Callable[[int], Slices]


@dataclass(frozen=True)
class Stack:
    """The slices of a map along one axis.

    Attributes:
        observed: For each slice whether it is observed, and not missing; shape (n,).
        notes: Notes for the user, one sentence each.
        outer: The indices of the empty slices at the ends, which are taken as observed.
    """

    observed: Slices
    notes: tuple[str, ...] = ()
    outer: tuple[int, ...] = ()

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


def gap(text: str, name: str = "hide") -> Gap:
    """Return which slices of a number of slices are observed, as a function of this number.

    Args:
        text: "every:N", where one slice of N is kept; "gap:N", where N in the middle are hidden; "gap:START+N", where N
            from START on are hidden, between two slices that are kept; "end:N", where the last N are hidden. Apart from
            that of "every", N and START are a number of slices, or a share of all slices such as 1/4.
        name: The name of the parameter, for messages.

    Raises:
        UsageError: If the text is none of these.

    >>> gap("every:4")(8).tolist()
    [True, False, False, False, True, False, False, False]
    >>> gap("gap:1/2+1/4")(8).tolist()
    [True, True, True, True, False, False, True, True]
    """
    match = _GAP.fullmatch(text)
    every, number, kind, alone, start, after = match.groups() if match else (None,) * 6
    amounts = [one for one in (alone, start, after) if one is not None]
    if match is None or number == "1" or any("/" in one and Fraction(one) >= 1 for one in amounts):
        raise UsageError(
            f"{named(name)} {text!r}: give every:N, gap:N or end:N, such as every:4, which keeps one slice of four, or "
            "end:1/4, which hides a quarter of them."
        )

    def observed(count: int) -> Slices:
        slices = np.arange(count)
        if every:
            return np.asarray(slices % int(number or 1) == 0)
        hidden = max(1, int(_amount(alone or after, count)))
        first = count - hidden if kind == "end" else (count - hidden) // 2
        if start:
            first = max(1, min(round(_amount(start, count)), count - 1 - hidden))
        return np.asarray((slices < first) | (slices >= first + hidden))

    return observed


def _amount(text: str | None, count: int) -> Fraction:
    """Return a number of slices that is stated as a number or as a share."""
    return Fraction(text or 0) * (count if text and "/" in text else 1)


def _parts(text: str, name: str = "missing") -> list[tuple[slice | int, str]]:
    """Return slices, each with the part of the text that names it."""
    found: list[tuple[slice | int, str]] = []
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if (
            match is None
            or not part.strip()
            or (match[2] is None and (match[1] is None or match[3] or match[4]))
        ):
            shown = text if len(text) <= 60 else f"{text[:57]}..."
            raise UsageError(
                f"{named(name)} {shown!r} names no slices: give indices from 0 and ranges without their end, such as "
                f"{named(name, '5:9,12')} for slices 5 to 8 and 12, or {named(name, EMPTY)}."
            )
        first, last, step = (int(number) if number else None for number in match.group(1, 3, 4))
        if step == 0:
            raise UsageError(f"{named(name)} {text!r}: a step of 0 names no slices; leave it out.")
        found.append((slice(first, last, step) if match[2] else int(match[1]), part.strip()))
    return found


def words(indices: Sequence[int]) -> str:
    """Return slice indices in ascending order as text in the form of --missing, such as "5:9,12"."""
    return ",".join(str(first) if first == last else f"{first}:{last + 1}" for first, last in _runs(indices))


def prose(indices: Sequence[int]) -> str:
    """Return slice indices in ascending order as a sentence names them.

    >>> prose([5, 6, 7, 8, 12]), prose([15])
    ('slices 5 to 8 and 12', 'slice 15')
    """
    parts = [str(first) if first == last else f"{first} to {last}" for first, last in _runs(indices)]
    listed = f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
    return f"{'slice' if len(indices) == 1 else 'slices'} {listed}"


def _runs(indices: Sequence[int]) -> list[list[int]]:
    """Return the first and the last index of each run of successive indices."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return runs


def stack(array: npt.NDArray[Any], axis: int, missing: str | None, letter: str) -> Stack:
    """Find the missing slices of a map along an axis.

    Without `missing` every slice is observed, and a note names those between others that are empty.

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
        return Stack(np.ones(count, np.bool_), _taken(array, axis, letter))
    if missing == EMPTY:
        return _empty(array, axis, letter)
    observed = np.ones(count, np.bool_)
    for part, typed in _parts(missing):
        ends = (
            (part, part)
            if isinstance(part, int)
            else (part.start, None if part.stop is None else part.stop - 1)
        )
        for end in ends:
            if end is not None and not -count <= end < count:
                raise InputError(
                    f"{named('missing')} {missing}: there is no slice {end} along {letter}, which has {count}: name "
                    f"slices from 0 to {count - 1}."
                )
        if isinstance(part, slice) and not observed[part].size:
            raise InputError(
                f"{named('missing')} {missing}: {typed} holds no slice; give a range that ends after its start."
            )
        observed[part] = False
    if not observed.any():
        raise InputError(
            f"{named('missing')} {missing} names every slice along {letter}, and nothing is left to interpolate from: "
            "name fewer."
        )
    return Stack(observed, _replaced(array, axis, letter, observed))


def _empty(array: npt.NDArray[Any], axis: int, letter: str) -> Stack:
    """Return the stack whose empty slices between others are missing."""
    held = _held(array, axis)
    if not held.any():
        raise InputError(
            f"every slice along {letter} is empty, and there is nothing to interpolate from: give another map."
        )
    first, last = np.flatnonzero(held)[[0, -1]]
    outer = [*range(first), *range(last + 1, len(held))]
    notes: tuple[str, ...] = ()
    if outer:
        notes = (
            f"{prose(outer)} along {letter}, at the {_ends(outer)} of the stack, {_are(outer)} empty too and taken as "
            f"observed; {named('missing', words(outer))} would fill {_them(outer)}.",
        )
    observed = held.copy()
    observed[outer] = True
    return Stack(observed, notes, tuple(outer))


def empty_ends(outer: Sequence[int], letter: str) -> str:
    """Return the error message on a stack whose only empty slices are at its ends."""
    return (
        f"{prose(outer)} along {letter}, at the {_ends(outer)} of the stack, {_are(outer)} empty, and no slice between "
        f"others is: {named('missing', words(outer))} fills {_them(outer)}."
    )


def _taken(array: npt.NDArray[Any], axis: int, letter: str) -> tuple[str, ...]:
    """Return a note on empty slices between others, which nothing says are missing."""
    held = _held(array, axis)
    known = np.flatnonzero(held)
    inner = [int(k) for k in np.flatnonzero(~held) if known.size and known[0] < k < known[-1]]
    if not inner:
        return ()
    return (
        f"{prose(inner)} along {letter} {_are(inner)} empty and taken as observed; {named('missing', EMPTY)} fills "
        f"{_them(inner)}.",
    )


def _replaced(array: npt.NDArray[Any], axis: int, letter: str, observed: Slices) -> tuple[str, ...]:
    """Return a note on slices that are named as missing although something is in them."""
    missing = np.flatnonzero(~observed)
    full = missing[_held(np.take(array, missing, axis), axis)].tolist()
    if not full:
        return ()
    one = len(full) == 1
    return (
        f"{prose(full)} along {letter} {_are(full)} not empty; {'it is' if one else 'they are'} replaced.",
    )


def _held(array: npt.NDArray[Any], axis: int) -> Slices:
    """Return for each slice whether it holds a value other than 0."""
    return np.asarray(array.any(axis=tuple(k for k in range(array.ndim) if k != axis % array.ndim)))


def _ends(outer: Sequence[int]) -> str:
    """Return "end", or "ends" if slices lie at both."""
    return "end" if len(_runs(outer)) == 1 else "ends"


def _are(indices: Sequence[int]) -> str:
    return "is" if len(indices) == 1 else "are"


def _them(indices: Sequence[int]) -> str:
    return "it" if len(indices) == 1 else "them"
