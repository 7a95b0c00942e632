"""NRRD: a header of text, then the voxels or the names of their files (teem.sourceforge.net/nrrd/format.html)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from softmorph_cli.errors import FileError
from softmorph_cli.io import stored, voxel_data
from softmorph_cli.io.damage import ENDS_EARLY, Damaged, Unsupported
from softmorph_cli.io.families import FAMILIES
from softmorph_cli.io.provenance import SIGNATURE, parse
from softmorph_cli.io.raw import LABELS, ONE, Affine, Array, Encoding, Raw, kept_native, scale_of
from softmorph_cli.io.stored import Fields
from softmorph_cli.io.voxel_data import VoxelData
from softmorph_cli.io.zipped import zipping_into
from softmorph_cli.system.units import MILLIMETRES, TimeStep, length, time_step
from softmorph_cli.volume import Volume

_SIZES: Final = {
    "i1": ("int8", "signed char", "int8_t"),
    "u1": ("uint8", "uchar", "unsigned char", "uint8_t"),
    "i2": ("int16", "short", "short int", "signed short", "signed short int", "int16_t"),
    "u2": ("uint16", "ushort", "unsigned short", "unsigned short int", "uint16_t"),
    "i4": ("int32", "int", "signed int", "int32_t"),
    "u4": ("uint32", "uint", "unsigned int", "uint32_t"),
    "i8": (
        "int64",
        "longlong",
        "long long",
        "long long int",
        "signed long long",
        "signed long long int",
        "int64_t",
    ),
    "u8": ("uint64", "ulonglong", "unsigned long long", "unsigned long long int", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_TYPES: Final = {name: dtype for dtype, names in _SIZES.items() for name in names}
_WRITTEN: Final = {dtype: names[0] for dtype, names in _SIZES.items()}
_ENCODINGS: Final = {
    "raw": "raw", "txt": "text", "text": "text", "ascii": "text", "hex": "hex",
    "gz": "gzip", "gzip": "gzip", "bz2": "bzip2", "bzip2": "bzip2",
}  # fmt: skip
# Spellings of one field.
_SAME: Final = {"datafile": "data file", "lineskip": "line skip", "byteskip": "byte skip"}
# All fields of the format, as `_SAME` spells them.
_FIELDS: Final = frozenset(
    {
        *("content", "dimension", "type", "block size", "blocksize", "encoding", "endian", "sizes", "number"),
        *(
            "spacings",
            "thicknesses",
            "axis mins",
            "axismins",
            "axis maxs",
            "axismaxs",
            "centers",
            "centerings",
        ),
        *("labels", "units", "kinds", "min", "max", "old min", "oldmin", "old max", "oldmax", "sample units"),
        *("sampleunits", "data file", "line skip", "byte skip", "space", "space dimension", "space units"),
        *("space origin", "space directions", "measurement frame"),
    }
)
# Kinds of an axis of space or time, and those of an axis that holds the components of a voxel.
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
_END = re.compile(rb"\r?\n\r?\n")
# The one field that is kept, beside keys and values; no key holds a colon.
_CONTENT: Final = "content: "
# Keys that ITK adds when it reads a file.
_MADE_UP: Final = ("ITK_", "NRRD_")


@dataclass(frozen=True)
class _Header:
    fields: Fields
    keys: dict[str, str]
    listed: list[str]
    end: int


@dataclass(frozen=True)
class _Place:
    """The geometry of the axes.

    Attributes:
        letters: One for each axis, the fastest first; None where the file does not say enough.
        steps: A row for each axis of space, in the coordinates of the file; None where it has no directions.
        sizes: Of voxels along each axis of space, or NaN.
        at: The numbers of the axes of space among all axes.
        time: The size of the step along the axis of time, or NaN.
    """

    letters: str | None
    steps: Affine | None
    sizes: list[float]
    at: list[int]
    time: float = float("nan")


@dataclass(frozen=True)
class Nrrd:
    """The NRRD family."""

    name: str = "nrrd"
    title: str = FAMILIES["nrrd"].title
    suffixes: tuple[str, ...] = FAMILIES["nrrd"].suffixes
    output_types: tuple[str, ...] = ("float32", "uint8", "uint16")
    holds: frozenset[str] = frozenset({"spacing", "affine", "stack", "time", "uint32"})

    def recognises(self, head: bytes) -> bool:
        """Whether the file begins as a NRRD does."""
        return re.match(rb"NRRD\d", head) is not None

    def read(self, path: Path) -> Raw:
        """Read the array, its geometry, and the keys and values that a result keeps."""
        header = _header(path)
        fields = header.fields
        (count,) = fields.whole("dimension", 1, least=1, most=stored.MOST_AXES)
        sizes = fields.whole("sizes", count, least=0)
        array, notes = voxel_data.load(_stored(header, sizes), path)
        for name in sorted(fields.texts.keys() - _FIELDS):
            notes.append(f"its field {stored.shown(name)!r} is none of NRRD's, and is left out.")
        with np.errstate(over="ignore", invalid="ignore"):  # lengths without an end are none
            place = _place(fields, count, notes)
            factor, unit, affine = _world(fields, place, notes)
        letters = (place.letters or "")[::-1]
        if "complex" in _kinds(fields, count) and letters.endswith("C") and array.shape[-1] == 2:
            array, letters = array[..., 0] + 1j * array[..., 1], letters[:-1]
        known = all(0 < size < np.inf for size in place.sizes)
        if not known and not all(np.isnan(place.sizes)):
            notes.append("its header gives no valid voxel size.")
        keys, labels = header.keys, LABELS in header.keys
        return Raw(
            array=array,
            axes=letters or None,
            format=self.name,
            shape=tuple(sizes),
            dtype=str(array.dtype),
            spacing=dict(zip("XYZ", [size * factor for size in place.sizes], strict=False)) if known else {},
            unit=unit,
            time_step=_time_step(fields, place),
            affine=affine,
            slope=scale_of(keys.get(ONE, "")),
            colour=not {ONE, LABELS} & keys.keys()
            and "C" in letters
            and stored.colours(array, letters.index("C")),
            labels=labels,
            provenance=parse(keys.get(SIGNATURE), named=True),
            native=_native(header),
            notes=tuple(notes),
        )

    def write(
        self,
        volume: Volume,
        array: Array,
        path: Path,
        encoding: Encoding,
    ) -> list[str]:
        """Write compressed, in the map's own unit, with the source's keys and values."""
        grid = stored.as_grid(volume, array, self.title, None)
        array = grid.array
        texts = stored.signed(kept_native(volume, self.name) or {}, array, encoding)
        lines = [
            f"{key}{text}" if key == _CONTENT else f"{key}:={_escaped(text)}" for key, text in texts.items()
        ]
        if grid.unit is None and grid.origin is not None and grid.origin.any():
            grid.lost.append("NRRD cannot say in an unknown unit where it lies: its origin is not kept.")
        with path.open("wb") as file:
            file.write(f"NRRD0005\n{_described(array, grid)}".encode())
            file.write("".join(f"{line}\n" for line in lines).encode() + b"\n")
            with zipping_into(file) as stream:
                for piece in stored.pieces(array):
                    stream.write(piece)
        return grid.lost


def _described(array: Array, grid: stored.FiledGrid) -> str:
    """Return the fields of an array and its geometry."""
    vector, flat, timed = "C" in grid.axes, "Z" not in grid.axes, "T" in grid.axes
    kinds = ["vector"] * vector + ["space"] * (2 if flat else 3) + ["time"] * timed
    lines = {
        "type": _WRITTEN[array.dtype.str[1:]],
        "dimension": str(array.ndim),
        "sizes": " ".join(str(size) for size in reversed(array.shape)),
        "kinds": " ".join(kinds),
        "endian": "little",
        "encoding": "gzip",
    }
    time, second = (grid.time.size, "s" * grid.time.known) if grid.time else (float("nan"), "")
    if grid.steps is not None and grid.origin is not None and grid.unit is not None:
        # ITK takes as many directions as there are axes, of that many numbers, with time among them.
        dims = (2 if flat else 3) + timed
        rows, origin = np.eye(dims), np.zeros(dims)
        rows[: len(grid.steps), : len(grid.steps)], origin[: len(grid.steps)] = grid.steps, grid.origin
        if grid.time:
            rows[-1, -1] = time
        vectors = [f"({','.join(stored.numbers(row).split())})" for row in (*rows, origin)]
        space = f"space: left-posterior-superior{'-time' * timed}" if not flat else "space dimension: 2"
        key, _, value = space.partition(": ")
        lines[key] = value
        lines["space directions"] = " ".join(["none"] * vector + vectors[:-1])
        lines["space origin"] = vectors[-1]
        # By convention a named space is in mm.
        if flat or grid.unit != "mm" or second:
            lines["space units"] = _quoted([grid.unit] * len(grid.steps) + [second] * timed)
    elif grid.sizes is not None:
        lines["spacings"] = " ".join(["nan"] * vector + [stored.numbers([*grid.sizes, *[time] * timed])])
        units = [""] * vector + [grid.unit or ""] * len(grid.sizes) + [second] * timed
        if any(units):
            lines["units"] = _quoted(units)
    elif grid.time:
        lines["spacings"] = stored.numbers([*[float("nan")] * (array.ndim - 1), time])
        if second:
            lines["units"] = _quoted([""] * (array.ndim - 1) + [second])
    return "".join(f"{key}: {value}\n" for key, value in lines.items())


def _quoted(units: list[str]) -> str:
    return " ".join(f'"{unit}"' for unit in units)


def _header(path: Path) -> _Header:
    with path.open("rb") as stream:
        content = stream.read(stored.LONGEST_HEADER)
        longer = bool(stream.read(1))
    end = _END.search(content)
    lines = [stored.decoded(line) for line in content[: end.start() if end else None].splitlines()[1:]]
    texts: dict[str, str] = {}
    keys: dict[str, str] = {}
    listed: list[str] = []
    for number, line in enumerate(lines):
        if not line.strip() or line.startswith("#"):
            continue
        key, colon, text = line.partition(":")
        if colon and text.startswith("="):
            keys[key] = _unescaped(text[1:])
            continue
        name = key.strip().lower()
        name = _SAME.get(name, name)
        if not colon:
            if end is None and number == len(lines) - 1:
                raise Damaged(ENDS_EARLY)  # within this line
            raise FileError(
                f"{path} has a NRRD header with a line that is no field, {stored.shown(line)!r}; correct it, or write "
                "the file again from its source."
            )
        texts[name] = text.strip()
        if name == "data file" and texts[name].split()[:1] == ["LIST"]:
            listed = [line.strip() for line in lines[number + 1 :] if line.strip()]
            break
    if end is None and (longer or "data file" not in texts):
        if longer:
            raise Unsupported(f"its header is longer than {stored.LONGEST_HEADER:,} bytes")
        raise Damaged(ENDS_EARLY)
    return _Header(Fields(path, "NRRD", texts), keys, listed, end.end() if end else len(content))


def _stored(header: _Header, sizes: list[int]) -> VoxelData:
    fields = header.fields
    code = fields.one_of("type", _TYPES)
    spelt = fields.texts.get("encoding", "")
    encoding = _ENCODINGS.get(spelt.lower())
    if encoding is None:
        raise Unsupported(
            f"its encoding is {stored.shown(spelt)!r}; write it with raw, gzip, bzip2 or text"
            if spelt
            else "it has no encoding"
        )
    binary = encoding not in ("text", "hex") and code[1] != "1"
    order = fields.one_of("endian", {"little": "<", "big": ">"}) if binary or "endian" in fields else "<"
    shape = tuple(reversed(sizes))
    start, lines, skip = header.end, 0, 0
    if "line skip" in fields:
        (lines,) = fields.whole("line skip", 1, least=0)
    if "byte skip" in fields:
        (skip,) = fields.whole("byte skip", 1, least=-1 if encoding == "raw" else 0)
    files = None
    if "data file" in fields:
        text = fields.texts["data file"]
        files = voxel_data.files_named(
            text, header.listed, max(1, int(np.prod(shape, dtype=object))), fields.path
        )
        start = 0
    return VoxelData(np.dtype(order + code), shape, encoding, files, start=start, lines=lines, skip=skip)


def _kinds(fields: Fields, count: int) -> list[str]:
    if "kinds" not in fields:
        return [""] * count
    return [word.lower() for word in fields.words("kinds", count)]


def _place(fields: Fields, count: int, notes: list[str]) -> _Place:
    kinds = _kinds(fields, count)
    for axis, kind in enumerate(kinds):
        if kind not in _DOMAIN and not _COMPONENTS.fullmatch(kind):
            notes.append(f"its kind of axis {stored.shown(kind)!r} is not known, and is left out.")
            kinds[axis] = ""
    rows = _directions(fields, count) if "space directions" in fields else None
    inner = [axis for axis, kind in enumerate(kinds) if kind not in _DOMAIN]
    outer = [axis for axis, kind in enumerate(kinds) if kind == "time"]
    if rows is not None:
        # An axis without a direction and a kind holds components if it is the fastest one, else it is time.
        for axis, row in enumerate(rows):
            if row is None and axis not in (*inner, *outer):
                (inner if axis == 0 else outer).append(axis)
            elif row is not None and len(row) == 4 and not any(row[:3]) and axis not in outer:
                outer.append(axis)
    space = [axis for axis in range(count) if axis not in (*inner, *outer)]
    if len(space) == 4 and not outer:
        outer = [space.pop()]
    if len(inner) > 1 or len(outer) > 1 or len(space) not in (2, 3):
        return _Place(None, None, [], [])
    named = {
        **dict(zip(space, "XYZ", strict=False)),
        **dict.fromkeys(inner, "C"),
        **dict.fromkeys(outer, "T"),
    }
    letters = "".join(named[axis] for axis in range(count))
    spacings = (
        fields.reals("spacings", count)
        if "spacings" in fields and (rows is None or outer)
        else [float("nan")] * count
    )
    time = float("nan")
    if outer:
        direction = rows[outer[0]] if rows is not None else None
        time = abs(direction[3]) if direction is not None and len(direction) == 4 else abs(spacings[outer[0]])
    if rows is not None:
        chosen = [rows[axis] for axis in space]
        if all(row is not None for row in chosen):
            steps = np.array([row[:3] for row in chosen if row is not None], dtype=np.float64)
            lengths = np.linalg.norm(steps, axis=1)
            return _Place(letters, steps, lengths.tolist(), space, time)
    return _Place(letters, None, [abs(spacings[axis]) for axis in space], space, time)


def _directions(fields: Fields, count: int) -> list[list[float] | None]:
    parts = _VECTOR.findall(fields.texts["space directions"])
    found = [
        [stored.real(word) for word in inside.split(",")] if not other else None for inside, other in parts
    ]
    # "(nan,nan,nan)" is another way to write "none".
    found = [None if row is not None and all(np.isnan(row)) else row for row in found]
    dims = {len(row) for row in found if row is not None}
    named = {other.lower() for _, other in parts} <= {"", "none"}
    if not named or len(found) != count or len(dims) > 1 or not dims <= {2, 3, 4}:
        raise fields.refused("space directions", f"a vector or none for each of {count} axes")
    return found


def _world(fields: Fields, place: _Place, notes: list[str]) -> tuple[float, str | None, Affine | None]:
    """Return the unit of length and the affine.

    A NRRD that names a space and no unit is in millimetres. There is no affine without a space or in an unknown unit.

    Returns:
        The factor that brings stored lengths to the unit, the unit, and the affine in mm.
    """
    word = fields.texts.get("space", "").strip()
    placed = bool(word)
    named = _units(fields, place)
    found = {length(1.0, name) for name in named} or {(1.0, "mm" if placed else None)}
    factor, unit = found.pop()
    if found or (named and unit is None):
        units = ", ".join(dict.fromkeys(stored.shown(name) for name in named))
        wrong = "differ from axis to axis" if found else "are not known"
        lost = "the unit, orientation and origin are dropped" if placed else "the unit is dropped"
        notes.append(f"its units of length, {units}, {wrong}: {lost}.")
        return 1.0, None, None
    told = place.steps is not None and (
        any(_origin(fields))
        or not np.allclose(place.steps, np.eye(*place.steps.shape) * np.array(place.sizes)[:, None])
    )
    if not placed and told:
        notes.append("it names no space for its directions: orientation and origin are dropped.")
    if not placed or unit is None or place.steps is None:
        return factor, unit, None
    affine = _affine(fields, place.steps, word, notes)
    affine[:3] *= factor * MILLIMETRES[unit]
    if field := stored.misplaced(affine, "directions", "origin"):
        notes.append(
            f"its space {field} {stored.shown(fields.texts[f'space {field}'])} place{'s' * (field == 'origin')} no "
            "voxels (not finite, or without an inverse): orientation and origin are dropped."
        )
        return factor, unit, None
    return factor, unit, affine


def _origin(fields: Fields) -> list[float]:
    inside = fields.texts.get("space origin", "0").strip("() ").split(",")
    return [stored.real(number) for number in inside[:3]]


def _affine(fields: Fields, steps: Affine, word: str, notes: list[str]) -> Affine:
    space = word.lower().removesuffix("-time")
    space = _SPACES.get(space.removesuffix("t") if len(space) == 4 else space, space)
    signs = np.ones(3)
    if space in _SPACES.values():
        towards = space.split("-")
        signs[:2] = (-1 if towards[0] == "right" else 1), (-1 if towards[1] == "anterior" else 1)
    else:
        notes.append(
            f"its space, {stored.shown(word)}, names no sides of a body: it is taken as {_SPACES['lps']}."
        )
    origin = np.zeros(3)
    if "space origin" in fields:
        found = _origin(fields)
        origin[: len(found)] = found
    else:
        notes.append("it says no space origin: its first voxel is taken to lie at 0, 0, 0.")
    if steps.shape[1] == 2:
        steps = np.pad(steps, ((0, 0), (0, 1)))
    return stored.affine_of(steps * signs, origin * signs)


def _units(fields: Fields, place: _Place) -> list[str]:
    """Return the units of the axes of space as the file spells them, without blank ones."""
    for key in ("space units", "units"):
        spelt = _spelt(fields, key)
        if key == "units" and place.letters and len(spelt) == len(place.letters):
            spelt = [spelt[axis] for axis in place.at]
        elif len(spelt) == 4:
            del spelt[3]  # that of time
        if named := [word for word in spelt if word not in ("", "???", "none")]:
            return named[:3]
    return []


def _time_step(fields: Fields, place: _Place) -> TimeStep | None:
    """Return the step along the axis of time; its unit is the last one of the space, or that of the axis."""
    if np.isnan(place.time) or place.letters is None:
        return None
    units = _spelt(fields, "units")
    unit = units[place.letters.index("T")] if len(units) == len(place.letters) else ""
    space = _spelt(fields, "space units")
    return time_step(place.time, space[3] if len(space) == 4 else unit)


def _spelt(fields: Fields, key: str) -> list[str]:
    return [word.strip() for word in re.findall(r'"([^"]*)"', fields.texts.get(key, ""))]


def _native(header: _Header) -> dict[str, str]:
    """Return the keys and values, and the field, that `write` puts into a new header."""
    fields = header.fields
    kept = {_CONTENT: stored.shown(fields.texts["content"], 1000)} if "content" in fields else {}
    return kept | {
        key: text for key, text in header.keys.items() if not key.startswith(_MADE_UP) and key.isprintable()
    }


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _unescaped(text: str) -> str:
    return re.sub(r"\\([\\n])", lambda found: "\n" if found[1] == "n" else "\\", text)
