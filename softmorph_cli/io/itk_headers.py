"""Functions that NRRD and MetaImage share: parsing a text header, and geometry in LPS coordinates.

Headers are not trusted: every number is checked before it is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Final

import numpy as np

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.io.provenance import SIGNATURE, as_text
from softmorph_cli.io.raw import LABELS, ONE, REVERSED, Affine, Array, Encoding, time_step_of
from softmorph_cli.system.units import MILLIMETRES, TimeStep
from softmorph_cli.volume import Volume, places

# Changes between the LPS coordinates of these files and RAS.
LPS: Final = np.diag([-1.0, -1.0, 1.0, 1.0])
MOST_AXES: Final = 16
LONGEST_HEADER: Final = 1 << 22
# The largest integer that a header field may hold.
_MOST: Final = 1 << 62
_WRITTEN_AT_ONCE = 1 << 24


@dataclass(frozen=True)
class Fields:
    """The fields of a header, with methods that parse and check their values.

    Attributes:
        path: The path of the file.
        title: The name of the file format, for messages.
        texts: The unparsed value of each field, by the name of the field.
    """

    path: Path
    title: str
    texts: Mapping[str, str]

    def __contains__(self, name: str) -> bool:
        """Return whether the header has a field of this name."""
        return name in self.texts

    def refused(self, name: str, wanted: str) -> FileError:
        """Return an error that states the field's name and value, and the kind of value that is valid (`wanted`)."""
        found = f"{name} {shown(self.texts[name])!r}" if name in self.texts else f"no {name}"
        return FileError(
            f"{self.path} has a {self.title} header with {found}, where {wanted} belongs; "
            "correct it, or write the file again from its source."
        )

    def words(self, name: str, count: int | None = None) -> list[str]:
        """Return the words of a field, separated at white space.

        Raises:
            FileError: If the number of words is not `count`.
        """
        found = self.texts.get(name, "").split()
        if count is not None and len(found) != count:
            raise self.refused(name, "one word" if count == 1 else f"a list of {count}")
        return found

    def whole(self, name: str, count: int, *, least: int, most: int = _MOST) -> list[int]:
        """Return the integers in a field.

        Raises:
            FileError: If the field does not hold exactly `count` integers from `least` to `most`.
        """
        words = self.words(name)
        right = all(re.fullmatch(r"[+-]?\d{1,19}", word) and least <= int(word) <= most for word in words)
        if len(words) != count or not right:
            what = "a whole number" if count == 1 else f"a list of {count} whole numbers"
            raise self.refused(name, f"{what} from {least} {'on' if most == _MOST else f'to {most}'}")
        return [int(word) for word in words]

    def one_of(self, name: str, known: dict[str, Any]) -> Any:
        """Return the entry of `known` for the value of a field, compared in lower case.

        Raises:
            FileError: If the value is not a key of `known`.
        """
        word = " ".join(self.texts.get(name, "").split()).lower()
        if word not in known:
            firsts = {value: key for key, value in reversed(known.items())}
            raise self.refused(name, f"one of {', '.join(reversed(firsts.values()))}")
        return known[word]

    def reals(self, name: str, count: int) -> list[float]:
        """Return the real numbers in a field, with NaN in place of words that are not finite numbers.

        Raises:
            FileError: If the number of words is not `count`.
        """
        return [real(word) for word in self.words(name, count)]


def real(word: str) -> float:
    """Return a word parsed as a finite number, or NaN if the word is not a finite number."""
    try:
        number = float(word)
    except ValueError:
        return float("nan")
    return number if isfinite(number) else float("nan")


def shown(text: str, most: int = 60) -> str:
    """Return a text from a file in one line, with control characters escaped, truncated to `most` characters."""
    plain = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    return plain if len(plain) <= most else f"{plain[:most]}..."


def decoded(text: bytes) -> str:
    """Decode text as UTF-8, or as Latin-1 if it is not valid UTF-8."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


@dataclass(frozen=True)
class FiledGrid:
    """An array in the axis order of NRRD and MetaImage files, and the geometry to be written.

    Attributes:
        array: The stored numbers, with the slowest axis first and channels as the last axis.
        axes: A letter for each axis of `array`.
        steps: The step vector along each spatial axis in LPS, one row per axis, x first; None if unknown.
        origin: The position of the centre of the first voxel in LPS, or None if unknown.
        sizes: The voxel size along each spatial axis, x first, or None.
        unit: The unit of `steps`, `origin` and `sizes`, or None if unknown.
        time: The time step, or None.
        lost: Notes on properties of the map that the format cannot store, one sentence each.
    """

    array: Array
    axes: str
    steps: Affine | None
    origin: Affine | None
    sizes: tuple[float, ...] | None
    unit: str | None
    time: TimeStep | None
    lost: list[str]

    @property
    def letters(self) -> str:
        """The letters of the spatial and time axes, the fastest axis first."""
        return self.axes.replace("C", "")[::-1]


def as_grid(volume: Volume, array: Array, title: str, unit: str | None) -> FiledGrid:
    """Convert a map to the axis order, coordinates and unit of a NRRD or MetaImage file.

    Args:
        volume: The map.
        array: The values of the map, encoded as they are stored.
        title: The name of the file format, for messages.
        unit: The unit of length to write, or None to keep the unit of the map.

    Raises:
        InputError: If the map has more than one non-spatial axis besides the channel axis.
    """
    others = volume.mapped_axes.replace("C", "")
    if len(others) > 1:
        raise InputError(f"{title} holds one axis beside channels and space, not {others!r}; write .npy.")
    axes, affine, lost = volume.axes, volume.affine, []
    known = volume.unit in MILLIMETRES or volume.spacing is None
    own = volume.unit if volume.unit in MILLIMETRES else "mm"
    unit = unit or own
    assert own is not None
    assert unit is not None
    sizes = volume.spacing
    if sizes is not None and known:
        sizes = tuple(size * (MILLIMETRES[own] / MILLIMETRES[unit]) for size in sizes)
    if not known:
        lost.append(f"the unit of its voxel size is unknown; {title} readers take it as mm.")
    world = np.eye(4) if affine is None else (LPS @ affine)[:, REVERSED]
    world[:3] /= MILLIMETRES[unit]
    if volume.spatial_dims == 2 and (others or (affine is not None and not _in_plane(affine))):
        array, axes = np.expand_dims(array, -3), f"{volume.mapped_axes}ZYX"
        depth = 1.0 if affine is None else float(np.linalg.norm(world[:3, 2]))
        sizes = None if sizes is None else (depth, *sizes)
    if "C" in axes:
        array, axes = np.moveaxis(array, axes.index("C"), -1), f"{axes.replace('C', '')}C"
    if volume.channels:
        lost.append(f"{title} cannot hold the channel names {', '.join(volume.channels)}.")
    steps = origin = None
    if affine is not None:
        dims = 3 if "Z" in axes else 2
        steps, origin = world[:dims, :dims].T, world[:dims, 3]
        sizes = tuple(np.linalg.norm(steps, axis=1).tolist())
    elif sizes is not None:
        sizes = tuple(reversed(sizes))
    return FiledGrid(
        np.ascontiguousarray(array),
        axes,
        steps,
        origin,
        sizes,
        unit if known else None,
        time_step_of(volume),
        lost,
    )


def signed(texts: Mapping[str, str], array: Array, encoding: Encoding) -> dict[str, str]:
    """Return the source's header texts, with softmorph's keys (value of 1, highest label, provenance) replaced.

    Args:
        texts: The header texts of the source, by key.
        array: The stored numbers.
        encoding: The meaning of the stored numbers: the number for 1, or labels, and the provenance.
    """
    provenance = encoding.provenance
    own = {
        ONE: str(encoding.one) if encoding.one != 1 else "",
        LABELS: str(array.max()) if encoding.labels else "",
        SIGNATURE: as_text(provenance) if provenance else texts.get(SIGNATURE, ""),
    }
    kept = {key: text for key, text in texts.items() if key not in own}
    return {**kept, **{key: text for key, text in own.items() if text}}


def misplaced(affine: Affine, directions: str, origin: str) -> str | None:
    """Return the field, `directions` or `origin`, that makes an affine invalid; None if the affine is valid."""
    if places(affine):
        return None
    turned = affine.copy()
    turned[:, 3] = 0, 0, 0, 1
    return origin if places(turned) else directions


def pieces(array: Array) -> Iterator[Any]:
    """Yield the little-endian bytes of a contiguous array in pieces of limited size."""
    flat: Any = array.astype(array.dtype.newbyteorder("<"), copy=False).reshape(-1).view(np.uint8)
    for start in range(0, len(flat), _WRITTEN_AT_ONCE):
        yield flat[start : start + _WRITTEN_AT_ONCE]


def affine_of(steps: Affine, origin: Affine) -> Affine:
    """Return the affine from the array index (z, y, x, 1) to RAS coordinates.

    Args:
        steps: The step vectors along x, y (and z) in LPS, one row each. For a plane in 3D space, the step along z
            becomes the unit normal of the plane (the cross product of x and y).
        origin: The position of the centre of the first voxel in LPS.
    """
    affine = np.eye(4)
    affine[: steps.shape[1], : len(steps)] = steps.T
    affine[: len(origin), 3] = origin
    if steps.shape == (2, 3):
        across = np.cross(*steps)
        affine[:3, 2] = across / (np.linalg.norm(across) or 1)
    return (LPS @ affine)[:, REVERSED]


def colours(array: Array, axis: int) -> bool:
    """Return whether an axis may hold colour samples: the type is uint8 and the axis has a size of 3 or 4."""
    return array.dtype == np.uint8 and array.shape[axis] in (3, 4)


def _in_plane(affine: Affine) -> bool:
    """Return whether an affine places a 2D image in the plane z = 0, so that two coordinates are enough."""
    return bool(np.allclose(affine[2, 1:], 0) and np.allclose(affine[:2, 0], 0))


def numbers(values: Any) -> str:
    """Format numbers as the shortest decimals that parse to the same values."""
    return " ".join(repr(float(value)).removesuffix(".0") for value in values)
