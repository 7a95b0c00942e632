"""NRRD files: a text header, then voxels or names of data files (teem.sourceforge.net/nrrd/format.html)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from softmorph_cli.errors import FileError
from softmorph_cli.io import itk_headers, voxel_data
from softmorph_cli.io.damage import ENDS_EARLY, Damaged, Unsupported
from softmorph_cli.io.itk_headers import Fields
from softmorph_cli.io.nrrd_geometry import locate, read_kinds, states_unit, world
from softmorph_cli.io.provenance import SIGNATURE, parse
from softmorph_cli.io.raw import LABELS, ONE, Array, Encoding, Format, Raw, kept_native, scale_of
from softmorph_cli.io.voxel_data import VoxelData
from softmorph_cli.io.zipped import gzip_writer
from softmorph_cli.volume import Volume

# Names of the element types, separated by commas; the first is written.
_SPELLINGS: Final = {
    "i1": "int8, signed char, int8_t",
    "u1": "uint8, uchar, unsigned char, uint8_t",
    "i2": "int16, short, short int, signed short, signed short int, int16_t",
    "u2": "uint16, ushort, unsigned short, unsigned short int, uint16_t",
    "i4": "int32, int, signed int, int32_t",
    "u4": "uint32, uint, unsigned int, uint32_t",
    "i8": "int64, longlong, long long, long long int, signed long long, signed long long int, int64_t",
    "u8": "uint64, ulonglong, unsigned long long, unsigned long long int, uint64_t",
    "f4": "float",
    "f8": "double",
}
_TYPES: Final = {name: code for code, names in _SPELLINGS.items() for name in names.split(", ")}
_SEGMENT: Final = re.compile(r"(Segment\d{1,6})_Name")
_WRITTEN: Final = {code: names.split(", ")[0] for code, names in _SPELLINGS.items()}
_ENCODINGS: Final = {
    "raw": "raw", "txt": "text", "text": "text", "ascii": "text", "hex": "hex",
    "gz": "gzip", "gzip": "gzip", "bz2": "bzip2", "bzip2": "bzip2",
}  # fmt: skip
# The fields of the format; some may be spelt without spaces.
_FIELDS: Final = frozenset({
    "content", "dimension", "type", "block size", "encoding", "endian", "sizes", "number", "spacings", "thicknesses",
    "axis mins", "axis maxs", "centers", "centerings", "labels", "units", "kinds", "min", "max", "old min", "old max",
    "sample units", "data file", "line skip", "byte skip", "space", "space dimension", "space units", "space origin",
    "space directions", "measurement frame",
})  # fmt: skip
_ONE_WORD: Final = {
    field.replace(" ", ""): field
    for field in _FIELDS
    if " " in field and not field.startswith(("space", "mea"))
}
_END = re.compile(rb"\r?\n\r?\n")
# The only field that a result keeps, beside keys and values; no key contains a colon.
_CONTENT: Final = "content: "
# Keys that ITK adds when it reads a file.
_OF_ITK: Final = ("ITK_", "NRRD_")


@dataclass(frozen=True)
class _Header:
    fields: Fields
    keys: dict[str, str]
    listed: list[str]
    end: int


def _segments(keys: Mapping[str, str]) -> dict[int, str]:
    """Return the names of labels that 3D Slicer writes into a segmentation (.seg.nrrd), by label; empty if none.

    Where segments overlap, they are in several layers, in each of which a label means another segment.
    """
    found = {}
    for key, text in keys.items():
        segment = _SEGMENT.fullmatch(key)
        value = keys.get(f"{segment[1]}_LabelValue", "").strip() if segment else ""
        if segment and value.isascii() and value.isdecimal():
            if keys.get(f"{segment[1]}_Layer", "0").strip() != "0":
                return {}
            found[int(value)] = text
    return found


@dataclass(frozen=True)
class Nrrd(Format):
    """The file format NRRD (.nrrd, .nhdr)."""

    name = "nrrd"
    output_types = ("float32", "uint8", "uint16")
    holds = frozenset({"spacing", "affine", "stack", "time", "uint32"})

    def recognises(self, head: bytes) -> bool:
        """Return whether the bytes begin with the signature of NRRD files."""
        return re.match(rb"NRRD\d", head) is not None

    def read(self, path: Path) -> Raw:
        """Read the array and the geometry from a file, and the key/value pairs, which are copied to a result."""
        header = _read_header(path)
        fields, keys = header.fields, header.keys
        (count,) = fields.whole("dimension", 1, least=1, most=itk_headers.MOST_AXES)
        sizes = fields.whole("sizes", count, least=0)
        array, notes = voxel_data.load(_stored(header, sizes), path)
        for name in sorted(fields.texts.keys() - _FIELDS):
            notes.append(f"its field {itk_headers.shown(name)!r} is none of NRRD's, and is left out.")
        if note := _quantisation(fields):
            notes.append(note)
        with np.errstate(over="ignore", invalid="ignore"):  # infinite lengths are invalid
            place = locate(fields, count, notes)
            factor, unit, affine = world(fields, place, notes)
        letters = (place.letters or "")[::-1]
        if "complex" in read_kinds(fields, count) and letters.endswith("C") and array.shape[-1] == 2:
            array, letters = array[..., 0] + 1j * array[..., 1], letters[:-1]
        known = all(0 < size < np.inf for size in place.sizes)
        if not known and not all(np.isnan(place.sizes)):
            notes.append("its header gives no valid voxel size.")
        marked = not {ONE, LABELS}.isdisjoint(keys)
        return Raw(
            array=array,
            axes=letters or None,
            format=self.name,
            shape=tuple(sizes),
            dtype=str(array.dtype),
            spacing=dict(zip("XYZ", [size * factor for size in place.sizes], strict=False)) if known else {},
            unit=unit,
            unit_stated=states_unit(fields, place),
            time_step=place.time_step,
            affine=affine,
            slope=scale_of(keys.get(ONE, "")),
            colour=not marked and "C" in letters and itk_headers.colours(array, letters.index("C")),
            labels=LABELS in keys,
            label_names=_segments(keys),
            provenance=parse(keys.get(SIGNATURE), named=True),
            native=_native(header),
            notes=tuple(notes),
        )

    def write(self, volume: Volume, array: Array, path: Path, encoding: Encoding) -> list[str]:
        """Write a compressed .nrrd file in the unit of the map, with the source's key/value pairs."""
        grid = itk_headers.as_grid(volume, array, self.title, None)
        array = grid.array
        texts = itk_headers.signed(kept_native(volume, self.name) or {}, array, encoding)
        lines = [
            f"{key}{text}\n" if key == _CONTENT else f"{key}:={_escaped(text)}\n"
            for key, text in texts.items()
        ]
        if grid.unit is None and grid.origin is not None and grid.origin.any():
            grid.lost.append("NRRD cannot say in an unknown unit where it lies: its origin is not kept.")
        with path.open("wb") as file:
            file.write(f"NRRD0005\n{_described(array, grid)}{''.join(lines)}\n".encode())
            with gzip_writer(file) as stream:
                for piece in itk_headers.pieces(array):
                    stream.write(piece)
        return grid.lost


def _described(array: Array, grid: itk_headers.FiledGrid) -> str:
    """Return the header lines that describe an array and the geometry of `grid`, one field per line."""
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
        # ITK expects as many directions, of as many numbers, as there are axes of space and time.
        dims = (2 if flat else 3) + timed
        rows, origin = np.eye(dims), np.zeros(dims)
        rows[: len(grid.steps), : len(grid.steps)], origin[: len(grid.steps)] = grid.steps, grid.origin
        if grid.time:
            rows[-1, -1] = time
        vectors = [f"({','.join(itk_headers.numbers(row).split())})" for row in (*rows, origin)]
        if flat:
            lines["space dimension"] = "2"
        else:
            lines["space"] = f"left-posterior-superior{'-time' * timed}"
        lines["space directions"] = " ".join(["none"] * vector + vectors[:-1])
        lines["space origin"] = vectors[-1]
        lines["space units"] = _quoted([grid.unit] * len(grid.steps) + [second] * timed)
    elif grid.sizes is not None or grid.time:
        sizes = grid.sizes or (float("nan"),) * (array.ndim - vector - timed)
        lines["spacings"] = " ".join(["nan"] * vector + [itk_headers.numbers([*sizes, *[time] * timed])])
        unit = (grid.unit or "") if grid.sizes else ""
        units = [""] * vector + [unit] * len(sizes) + [second] * timed
        if any(units):
            lines["units"] = _quoted(units)
    return "".join(f"{key}: {value}\n" for key, value in lines.items())


def _quoted(units: list[str]) -> str:
    return " ".join(f'"{unit}"' for unit in units)


def _read_header(path: Path) -> _Header:
    with path.open("rb") as stream:
        content = stream.read(itk_headers.LONGEST_HEADER)
        longer = bool(stream.read(1))
    end = _END.search(content)
    lines = [itk_headers.decoded(line) for line in content[: end.start() if end else None].splitlines()[1:]]
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
        name = _ONE_WORD.get(name, name)
        if not colon:
            if end is None and number == len(lines) - 1:
                raise Damaged(ENDS_EARLY)  # within this line
            raise FileError(
                f"{path} has a NRRD header with a line that is no field, {itk_headers.shown(line)!r}; correct it, or "
                "write the file again from its source."
            )
        texts[name] = text.strip()
        if name == "data file" and texts[name].split()[:1] == ["LIST"]:
            listed = [line.strip() for line in lines[number + 1 :] if line.strip()]
            break
    if end is None and (longer or "data file" not in texts):
        if longer:
            raise Unsupported(f"its header is longer than {itk_headers.LONGEST_HEADER:,} bytes")
        raise Damaged(ENDS_EARLY)
    return _Header(Fields(path, "NRRD", texts), keys, listed, end.end() if end else len(content))


def _stored(header: _Header, sizes: list[int]) -> VoxelData:
    """Return the files, position and encoding of the voxels, given the parsed header."""
    fields = header.fields
    code = fields.one_of("type", _TYPES)
    spelt = fields.texts.get("encoding", "")
    encoding = _ENCODINGS.get(spelt.lower())
    if encoding is None:
        raise Unsupported(
            f"its encoding is {itk_headers.shown(spelt)!r}; write it with raw, gzip, bzip2 or text"
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
        voxels = max(1, int(np.prod(shape, dtype=object)))
        files = voxel_data.files_named(fields.texts["data file"], header.listed, voxels, fields.path)
        start = 0
    return VoxelData(np.dtype(order + code), shape, encoding, files, start=start, lines=lines, skip=skip)


def _quantisation(fields: Fields) -> str | None:
    """Return a note if the header has "old min" or "old max", the range before quantisation, which is not applied."""
    texts = [
        f"{name} {itk_headers.shown(fields.texts[name])}" for name in ("old min", "old max") if name in fields
    ]
    if not texts:
        return None
    return f"its {' and '.join(texts)} record how it was quantised; its values are taken as they are stored."


def _native(header: _Header) -> dict[str, str]:
    """Return the key/value pairs and the field "content" of a header, which `write` copies into a new header."""
    fields = header.fields
    kept = {_CONTENT: itk_headers.shown(fields.texts["content"], 1000)} if "content" in fields else {}
    return kept | {
        key: text for key, text in header.keys.items() if not key.startswith(_OF_ITK) and key.isprintable()
    }


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _unescaped(text: str) -> str:
    return re.sub(r"\\([\\n])", lambda found: "\n" if found[1] == "n" else "\\", text)
