"""MetaImage files: a text header, then voxels or names of data files (itk.org/Wiki/ITK/MetaIO/Documentation)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from isal import isal_zlib

from softmorph_cli.errors import FileError
from softmorph_cli.io import itk_headers, voxel_data
from softmorph_cli.io.damage import ENDS_EARLY, Damaged, Unsupported
from softmorph_cli.io.itk_headers import Fields
from softmorph_cli.io.provenance import SIGNATURE, parse
from softmorph_cli.io.raw import LABELS, ONE, Affine, Array, Encoding, Format, Raw, kept_native, scale_of
from softmorph_cli.io.voxel_data import VoxelData
from softmorph_cli.system.units import MILLIMETRES, length, time_step
from softmorph_cli.volume import Volume

_TYPES: Final = {
    "met_char": "i1", "met_uchar": "u1", "met_short": "i2", "met_ushort": "u2", "met_int": "i4", "met_uint": "u4",
    "met_long_long": "i8", "met_ulong_long": "u8", "met_float": "f4", "met_double": "f8",
    # 32 bits on every machine.
    "met_long": "i4", "met_ulong": "u4",
}  # fmt: skip
_WRITTEN: Final = {code: name.upper() for name, code in reversed(_TYPES.items())}
_YES_NO: Final = {"true": True, "false": False, "1": True, "0": False}
# Synonyms of a field; if a file has several, the first counts.
_ORDERS: Final = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
_MATRICES: Final = ("TransformMatrix", "Rotation", "Orientation", "Direction")
_ORIGINS: Final = ("Offset", "Origin", "Position")
_SPACINGS: Final = ("ElementSpacing", "ElementSize")
# "mm", "um" or "cm". ITK and most programs ignore it and take all lengths as mm, so new files are in mm, and say so.
_UNIT: Final = "DistanceUnits"
# Intensity = slope * element + offset. ITK ignores both, so a note reports that they were applied.
_SLOPE, _INTER = "ElementToIntensityFunctionSlope", "ElementToIntensityFunctionOffset"
# Fields that `write` sets, or that would be wrong for other values or positions.
_OWN: Final = frozenset(
    {
        *("ObjectType", "NDims", "DimSize", "ElementType", "ElementNumberOfChannels", "ElementDataFile"),
        *("BinaryData", "CompressedData", "CompressedDataSize", "CompressionLevel", "HeaderSize"),
        *("CenterOfRotation", "AnatomicalOrientation", "ElementMin", "ElementMax", "ID", "ParentID"),
        *(*_ORDERS, *_MATRICES, *_ORIGINS, *_SPACINGS, _SLOPE, _INTER, _UNIT),
    }
)
# MetaIO also accepts a colon as the separator.
_BETWEEN = re.compile(rb"[=:]")
_LAST = re.compile(rb"^ElementDataFile[ \t]*[=:][ \t]*([^\n]*)\n?", re.MULTILINE)
# MetaIO writes longer values and cannot read the file afterwards.
_LONGEST_TEXT: Final = 30_000
# The width in characters of CompressedDataSize, which is filled in last.
_SIZE_WIDTH: Final = 20
_COMPRESSION_LEVEL: Final = 2


@dataclass(frozen=True)
class MetaImage(Format):
    """The file format MetaImage (.mha, .mhd)."""

    name = "metaimage"
    output_types = ("float32", "uint8", "uint16")
    holds = frozenset({"spacing", "affine", "stack", "time", "uint32"})

    def recognises(self, head: bytes) -> bool:
        """Return whether the bytes begin with a header field that may be the first in a MetaImage file."""
        return re.match(rb"\s*(ObjectType|NDims|Comment|ObjectSubType)\s*=", head) is not None

    def read(self, path: Path) -> Raw:
        """Read the array and the geometry from a file, and the other header fields, which are copied to a result."""
        fields, listed, end = _read_header(path)
        (count,) = fields.whole("NDims", 1, least=1, most=itk_headers.MOST_AXES)
        sizes = fields.whole("DimSize", count, least=0)
        samples = 1
        if "ElementNumberOfChannels" in fields:
            (samples,) = fields.whole("ElementNumberOfChannels", 1, least=1)
        shape = (*reversed(sizes), *[samples] * (samples > 1))
        array, notes = voxel_data.load(_stored(fields, listed, end, shape), path)
        axes = {2: "YX", 3: "ZYX", 4: "TZYX"}.get(count, "")
        with np.errstate(over="ignore", invalid="ignore"):  # infinite directions are invalid
            spacing, unit, affine = _world(fields, count, notes)
        slope, inter = (_real(fields, name, default) for name, default in ((_SLOPE, 1.0), (_INTER, 0.0)))
        if (slope, inter) != (1, 0):
            notes.append(
                f"its values are the stored numbers times {slope:g} plus {inter:g}, as its {_SLOPE} and {_INTER} say; "
                "ITK takes the stored numbers."
            )
        texts = fields.texts
        _, steps = _found(fields, _SPACINGS, count)
        return Raw(
            array=array,
            axes=axes + "C" * (samples > 1) if axes else None,
            format=self.name,
            shape=(*sizes, *[samples] * (samples > 1)),
            dtype=str(array.dtype),
            spacing=spacing,
            unit=unit,
            unit_stated=_UNIT in texts,
            # No field states its unit.
            time_step=time_step(abs(steps[3]), None) if len(steps) == 4 else None,
            affine=affine,
            slope=scale_of(texts.get(ONE, "")) * slope,
            inter=inter,
            colour=samples > 1 and not {ONE, LABELS} & texts.keys() and itk_headers.colours(array, -1),
            labels=LABELS in fields,
            provenance=parse(texts.get(SIGNATURE), named=True),
            native={key: text for key, text in texts.items() if key not in _OWN},
            notes=tuple(notes),
        )

    def write(self, volume: Volume, array: Array, path: Path, encoding: Encoding) -> list[str]:
        """Write a compressed .mha file in millimetres, with the source's header fields that remain valid."""
        grid = itk_headers.as_grid(volume, array, self.title, "mm")
        array, lost = grid.array, grid.lost
        texts = itk_headers.signed(kept_native(volume, self.name) or {}, array, encoding)
        if grid.time and grid.sizes is None:
            lost.append(f"{self.title} cannot hold a time step without a voxel size.")
        elif grid.time and grid.time.known:
            lost.append(
                f"{self.title} has no unit of time: the time step is written as {grid.time.size:g}, which is in s."
            )
        lines = _described(array, grid)
        for key, text in texts.items():
            if len(text) > _LONGEST_TEXT:
                lost.append(
                    f"{self.title} cannot hold the {len(text):,} characters of {itk_headers.shown(key)!r}."
                )
            elif not key.startswith("ITK_"):
                lines[key] = text
        first = "".join(f"{key} = {text}\n" for key, text in lines.items()).encode()
        last = f"ElementType = {_WRITTEN[array.dtype.str[1:]]}\nElementDataFile = LOCAL\n"
        with path.open("wb") as file:
            file.write(first + b"CompressedDataSize = ")
            place = file.tell()
            file.write(b" " * _SIZE_WIDTH + b"\n" + last.encode())
            size = _pack(array, file)
            file.seek(place)
            file.write(str(size).rjust(_SIZE_WIDTH).encode())
        return lost


def _described(array: Array, grid: itk_headers.FiledGrid) -> dict[str, str]:
    """Return the header fields that describe an array and the geometry of `grid`, by the name of the field."""
    vector, dims = grid.axes.endswith("C"), len(grid.letters)
    sizes = array.shape[: len(array.shape) - vector][::-1]
    lines = {
        "ObjectType": "Image",
        "NDims": str(dims),
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "True",
        "DimSize": " ".join(str(size) for size in sizes),
    }
    if grid.steps is not None and grid.origin is not None and grid.sizes is not None:
        space = len(grid.steps)
        rows, origin = np.eye(dims), np.zeros(dims)
        rows[:space, :space], origin[:space] = grid.steps / np.array(grid.sizes)[:, None], grid.origin
        lines["TransformMatrix"] = itk_headers.numbers(rows.ravel())
        lines["Offset"] = itk_headers.numbers(origin)
    if grid.sizes is not None:
        step = grid.time.size if grid.time else 1.0
        if grid.unit is not None:
            lines[_UNIT] = grid.unit
        lines["ElementSpacing"] = itk_headers.numbers([*grid.sizes, *[step] * (dims - len(grid.sizes))])
    if vector:
        lines["ElementNumberOfChannels"] = str(array.shape[-1])
    return lines


def _pack(array: Array, file: BinaryIO) -> int:
    """Write an array to a file, compressed with zlib, and return the compressed size in bytes."""
    packer, size = isal_zlib.compressobj(_COMPRESSION_LEVEL), 0
    for piece in itk_headers.pieces(array):
        size += file.write(packer.compress(piece))
    return size + file.write(packer.flush())


def _read_header(path: Path) -> tuple[Fields, list[str], int]:
    """Return the header fields, the lines after the header (data file names for LIST), and the header size in bytes."""
    with path.open("rb") as stream:
        content = stream.read(itk_headers.LONGEST_HEADER)
        longer = bool(stream.read(1))
    last = _LAST.search(content)
    if last is None and longer:
        raise Unsupported(f"its header is longer than {itk_headers.LONGEST_HEADER:,} bytes")
    texts: dict[str, str] = {}
    lines = content[: last.end() if last else None].splitlines()
    for number, line in enumerate(lines):
        key, *text = (itk_headers.decoded(part).strip() for part in _BETWEEN.split(line, 1))
        if not text and key:
            if last is None and number == len(lines) - 1:
                break  # the file ends within this line
            raise FileError(
                f"{path} has a MetaImage header with a line that is no field, {itk_headers.shown(key)!r}; correct it, "
                "or write the file again from its source."
            )
        if text:
            (texts[key],) = text
    # The last field must have a value and its line an end.
    if last is None or (
        last.end() == len(content) and not last[0].endswith(b"\n") and b"LOCAL".startswith(last[1].strip())
    ):
        raise Damaged(ENDS_EARLY)
    listed = [
        itk_headers.decoded(line).strip() for line in content[last.end() :].splitlines() if line.strip()
    ]
    return Fields(path, "MetaImage", texts), listed, last.end()


def _stored(fields: Fields, listed: list[str], end: int, shape: tuple[int, ...]) -> VoxelData:
    """Return the files, position and encoding of the voxels, given the parsed header."""

    def is_true(name: str, default: bool) -> bool:
        return bool(fields.one_of(name, _YES_NO)) if name in fields else default

    if fields.texts.get("ObjectType", "Image").lower() != "image":
        raise Unsupported(f"its ObjectType is {itk_headers.shown(fields.texts['ObjectType'])!r} and no Image")
    code = fields.one_of("ElementType", _TYPES)
    order = ">" if is_true(next((name for name in _ORDERS if name in fields), _ORDERS[0]), False) else "<"
    packed, skip, encoding = None, 0, "raw"
    if not is_true("BinaryData", True):
        encoding = "text"
    elif is_true("CompressedData", False):
        encoding = "zlib"
        if "CompressedDataSize" in fields:
            (size,) = fields.whole("CompressedDataSize", 1, least=0)
            packed = size or None
    if "HeaderSize" in fields:
        (skip,) = fields.whole("HeaderSize", 1, least=-1)
    files = None
    text = fields.texts["ElementDataFile"]
    if text.upper() == "LOCAL":
        # HeaderSize is counted from the beginning of the file.
        end = end if skip <= 0 else 0
    else:
        end = 0
        files = voxel_data.files_named(text, listed, max(1, prod(shape)), fields.path)
    if files is not None and len(files) > 1:
        packed = None
    if encoding == "zlib":
        # Here it is counted in compressed bytes.
        end, skip = end + max(0, skip), 0
    return VoxelData(np.dtype(order + code), shape, encoding, files, start=end, skip=skip, packed=packed)


def _real(fields: Fields, name: str, default: float) -> float:
    if name not in fields:
        return default
    (number,) = fields.reals(name, 1)
    if np.isnan(number):
        raise fields.refused(name, "a number")
    return number


def _found(fields: Fields, names: tuple[str, ...], count: int) -> tuple[str, list[float]]:
    """Return the first of the synonyms `names` that the header has ("" if none), and the numbers in that field."""
    name = next((name for name in names if name in fields), "")
    return name, fields.reals(name, count) if name else []


def _world(
    fields: Fields, count: int, notes: list[str]
) -> tuple[dict[str, float], str | None, Affine | None]:
    """Return the voxel size, the unit of length and the affine in mm, as far as the header states them validly."""
    dims = min(count, 3)
    spaced, sizes = _found(fields, _SPACINGS, count)
    turned, matrix = _found(fields, _MATRICES, count * count)
    moved, origin = _found(fields, _ORIGINS, count)
    # One row for each axis.
    rows = np.reshape(matrix, (count, count))[:dims, :dims] if turned else np.eye(dims)
    corner = np.array(origin[:dims] if moved else [0.0] * dims)
    if not spaced:
        # ITK assumes voxels of 1 mm, which the file does not state.
        if np.any(corner) or not np.array_equal(rows, np.eye(dims)):
            notes.append(
                f"it has no {_SPACINGS[0]}: its orientation and origin are left out; lengths are in voxels."
            )
        return {}, None, None
    # A negative size reverses its axis, as in ITK.
    steps, sizes = np.array(sizes[:dims]), [abs(size) for size in sizes[:dims]]
    if not all(size > 0 for size in sizes):
        notes.append(
            f"its {spaced} {itk_headers.shown(fields.texts[spaced])} is no valid voxel size; "
            "it is left out, as are orientation and origin."
        )
        return {}, None, None
    factor, unit = length(1.0, fields.texts.get(_UNIT, "mm"))
    spacing = dict(zip("XYZ", [size * factor for size in sizes], strict=False))
    if unit is None:
        notes.append(
            f"its {_UNIT} {itk_headers.shown(fields.texts[_UNIT])} is no known unit: the unit, orientation and origin "
            "are left out."
        )
        return spacing, None, None
    factor *= MILLIMETRES[unit]
    affine = itk_headers.affine_of(rows * steps[:, None] * factor, corner * factor)
    if field := itk_headers.misplaced(affine, turned or spaced, moved):
        notes.append(
            f"its {field} {itk_headers.shown(fields.texts[field])} places no voxels; orientation and origin are "
            "left out."
        )
        return spacing, unit, None
    return spacing, unit, affine
