"""MetaImage: a header of text, then the voxels or the names of their files (itk.org/Wiki/ITK/MetaIO/Documentation)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from isal import isal_zlib

from softmorph_cli.errors import FileError
from softmorph_cli.io import stored
from softmorph_cli.io.damage import ENDS_EARLY, Damaged, Unsupported
from softmorph_cli.io.provenance import SIGNATURE, as_text, parse
from softmorph_cli.io.raw import LABELS, ONE, Affine, Array, Provenance, Raw, kept_native, scale_of
from softmorph_cli.io.stored import Fields, Stored
from softmorph_cli.volume import Volume, places

_TYPES: Final = {
    "met_char": "i1", "met_uchar": "u1", "met_short": "i2", "met_ushort": "u2", "met_int": "i4", "met_uint": "u4",
    "met_long_long": "i8", "met_ulong_long": "u8", "met_float": "f4", "met_double": "f8",
    # On every machine.
    "met_long": "i4", "met_ulong": "u4",
}  # fmt: skip
_WRITTEN: Final = {code: name.upper() for name, code in reversed(_TYPES.items())}
_YES_NO: Final = {"true": True, "false": False, "1": True, "0": False}
# Names of one field, the one that counts first.
_ORDERS: Final = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
_MATRICES: Final = ("TransformMatrix", "Rotation", "Orientation", "Direction")
_ORIGINS: Final = ("Offset", "Origin", "Position")
_SPACINGS: Final = ("ElementSpacing", "ElementSize")
_SLOPE, _INTER = "ElementToIntensityFunctionSlope", "ElementToIntensityFunctionOffset"
# What a new file says itself, or what is no longer true of other values.
_OWN: Final = frozenset(
    {
        *("ObjectType", "NDims", "DimSize", "ElementType", "ElementNumberOfChannels", "ElementDataFile"),
        *("BinaryData", "CompressedData", "CompressedDataSize", "CompressionLevel", "HeaderSize"),
        *("CenterOfRotation", "AnatomicalOrientation", "ElementMin", "ElementMax", "ID", "ParentID"),
        *(*_ORDERS, *_MATRICES, *_ORIGINS, *_SPACINGS, _SLOPE, _INTER),
    }
)
# MetaIO takes a colon for an equals sign.
_BETWEEN = re.compile(rb"[=:]")
_LAST = re.compile(rb"^ElementDataFile[ \t]*[=:][ \t]*([^\n]*)\n?", re.MULTILINE)
# MetaIO writes longer ones and cannot read the file afterwards.
_LONGEST_TEXT: Final = 30_000
# Digits in front of which blanks are left, because a size is known last.
_ROOM: Final = 20
_LEVEL: Final = 2


@dataclass(frozen=True)
class MetaImage:
    """The MetaImage family."""

    name: str = "metaimage"
    title: str = "MetaImage"
    suffixes: tuple[str, ...] = (".mha", ".mhd")
    output_types: tuple[str, ...] = ("float32", "uint8", "uint16")
    holds: frozenset[str] = frozenset({"spacing", "affine", "stack", "uint32"})

    def recognises(self, head: bytes) -> bool:
        """Whether one of the fields that come first is there."""
        return re.match(rb"\s*(ObjectType|NDims|Comment|ObjectSubType)\s*=", head) is not None

    def read(self, path: Path) -> Raw:
        """Read numbers, directions, origin, and whatever fields are there."""
        fields, listed, end = _header(path)
        (count,) = fields.whole("NDims", 1, least=1, most=stored.MOST_AXES)
        sizes = fields.whole("DimSize", count, least=0)
        samples = 1
        if "ElementNumberOfChannels" in fields:
            (samples,) = fields.whole("ElementNumberOfChannels", 1, least=1)
        shape = (*reversed(sizes), *[samples] * (samples > 1))
        array, notes = stored.load(_stored(fields, listed, end, shape), path)
        axes = {2: "YX", 3: "ZYX", 4: "TZYX"}.get(count, "")
        with np.errstate(over="ignore", invalid="ignore"):  # directions without an end are none
            spacing, affine = _world(fields, count, notes)
        slope, inter = (_real(fields, name, default) for name, default in ((_SLOPE, 1.0), (_INTER, 0.0)))
        texts, labels = fields.texts, LABELS in fields
        return Raw(
            array=array,
            axes=axes + "C" * (samples > 1) if axes else None,
            format=self.name,
            shape=(*sizes, *[samples] * (samples > 1)),
            dtype=str(array.dtype),
            spacing=spacing,
            unit="mm" if spacing or affine is not None else None,
            affine=affine,
            slope=scale_of(texts.get(ONE, "")) * slope,
            inter=inter,
            colour=samples > 1 and not {ONE, LABELS} & texts.keys() and stored.colours(array, -1),
            labels=labels,
            provenance=parse(texts.get(SIGNATURE), named=True),
            native={key: text for key, text in texts.items() if key not in _OWN},
            notes=tuple(notes),
        )

    def write(
        self,
        volume: Volume,
        array: Array,
        path: Path,
        *,
        one: int,
        provenance: Provenance,
        labels: bool = False,
    ) -> list[str]:
        """Write packed, with the source's fields, always in millimetres."""
        grid = stored.as_grid(volume, array, self.title)
        array, lost = grid.array, list(grid.lost)
        texts = dict(kept_native(volume, self.name) or {})
        for key in (ONE, LABELS):
            texts.pop(key, None)
        if one != 1:
            texts[ONE] = str(one)
        if labels:
            texts[LABELS] = str(array.max())
        if provenance:
            texts[SIGNATURE] = as_text(provenance)
        lines = _described(array, grid)
        for key, text in texts.items():
            if len(text) > _LONGEST_TEXT:
                lost.append(
                    f"{self.title} cannot hold the {len(text):,} characters of {stored.shown(key)!r}."
                )
            elif not key.startswith("ITK_"):
                lines[key] = text
        first = "".join(f"{key} = {text}\n" for key, text in lines.items()).encode()
        last = f"ElementType = {_WRITTEN[array.dtype.str[1:]]}\nElementDataFile = LOCAL\n"
        with path.open("wb") as file:
            file.write(first + b"CompressedDataSize = ")
            place = file.tell()
            file.write(b" " * _ROOM + b"\n" + last.encode())
            size = _pack(array, file)
            file.seek(place)
            file.write(str(size).rjust(_ROOM).encode())
        return lost


def _described(array: Array, grid: stored.Grid) -> dict[str, str]:
    """The fields that say what an array is and where it lies."""
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
        lines["TransformMatrix"] = stored.numbers(rows.ravel())
        lines["Offset"] = stored.numbers(origin)
    if grid.sizes is not None:
        lines["ElementSpacing"] = stored.numbers([*grid.sizes, *[1.0] * (dims - len(grid.sizes))])
    if vector:
        lines["ElementNumberOfChannels"] = str(array.shape[-1])
    return lines


def _pack(array: Array, file: BinaryIO) -> int:
    """Write an array with zlib; return how many bytes that took."""
    packer, size = isal_zlib.compressobj(_LEVEL), 0
    for piece in stored.pieces(array):
        size += file.write(packer.compress(piece))
    return size + file.write(packer.flush())


def _header(path: Path) -> tuple[Fields, list[str], int]:
    """The fields; what follows them where the voxels lie in a list of files; where voxels in the same file begin."""
    with path.open("rb") as stream:
        content = stream.read(stored.LONGEST_HEADER)
        longer = bool(stream.read(1))
    last = _LAST.search(content)
    if last is None and longer:
        raise Unsupported(f"its header is longer than {stored.LONGEST_HEADER:,} bytes")
    texts: dict[str, str] = {}
    for line in content[: last.end() if last else None].splitlines():
        key, *text = (stored.decoded(part).strip() for part in _BETWEEN.split(line, 1))
        if not text and key:
            raise FileError(
                f"{path} has a MetaImage header with a line that is no field, {stored.shown(key)!r}; correct it, or "
                "write the file again from its source."
            )
        if text:
            (texts[key],) = text
    if last is None:
        raise Damaged(ENDS_EARLY)
    listed = [stored.decoded(line).strip() for line in content[last.end() :].splitlines() if line.strip()]
    return Fields(path, "MetaImage", texts), listed, last.end()


def _stored(fields: Fields, listed: list[str], end: int, shape: tuple[int, ...]) -> Stored:
    def is_so(name: str, default: bool) -> bool:
        return bool(fields.one_of(name, _YES_NO)) if name in fields else default

    if fields.texts.get("ObjectType", "Image").lower() != "image":
        raise Unsupported(f"its ObjectType is {stored.shown(fields.texts['ObjectType'])!r} and no Image")
    code = fields.one_of("ElementType", _TYPES)
    order = ">" if is_so(next((name for name in _ORDERS if name in fields), _ORDERS[0]), False) else "<"
    packed, skip, encoding = None, 0, "raw"
    if not is_so("BinaryData", True):
        encoding = "text"
    elif is_so("CompressedData", False):
        encoding = "zlib"
        if "CompressedDataSize" in fields:
            (size,) = fields.whole("CompressedDataSize", 1, least=0)
            packed = size or None
    if "HeaderSize" in fields:
        (skip,) = fields.whole("HeaderSize", 1, least=-1)
    files = None
    text = fields.texts["ElementDataFile"]
    if text.upper() == "LOCAL":
        # A header's size counts from the beginning of the file.
        end = end if skip <= 0 else 0
    else:
        files = stored.files_named(text, listed, max(1, prod(shape)), fields.path)
    if files is not None and len(files) > 1:
        packed = None
    if encoding == "zlib":
        end, skip = (skip, 0) if skip > 0 and files is None else (end, 0)
    return Stored(np.dtype(order + code), shape, encoding, files, start=end, skip=skip, packed=packed)


def _real(fields: Fields, name: str, default: float) -> float:
    if name not in fields:
        return default
    (number,) = fields.reals(name, 1)
    if np.isnan(number):
        raise fields.refused(name, "a number")
    return number


def _world(fields: Fields, count: int, notes: list[str]) -> tuple[dict[str, float], Affine | None]:
    """The voxel size and the affine in mm, as far as the file says them."""
    dims = min(count, 3)

    def found(names: tuple[str, ...], number: int) -> tuple[str, list[float]]:
        name = next((name for name in names if name in fields), "")
        return name, fields.reals(name, number) if name else []

    (spaced, sizes), (turned, matrix), (moved, origin) = (
        found(_SPACINGS, count), found(_MATRICES, count * count), found(_ORIGINS, count)
    )  # fmt: skip
    # To ITK too a size below 0 turns its axis round.
    steps, sizes = sizes[:dims], [abs(size) for size in sizes[:dims]]
    if not spaced:
        return {}, None
    if not all(size > 0 for size in sizes):
        notes.append(
            f"its {spaced} {stored.shown(fields.texts[spaced])} is no valid voxel size; "
            "it is left out, as are orientation and origin."
        )
        return {}, None
    spacing = dict(zip("XYZ", sizes, strict=False))
    # A row for each axis.
    rows = np.reshape(matrix, (count, count))[:dims, :dims] if turned else np.eye(dims)
    affine = stored.affine_of(
        rows * np.array(steps)[:, None], np.array(origin[:dims] if moved else [0.0] * dims)
    )
    if not places(affine):
        wrong = f"{turned} {stored.shown(fields.texts[turned])}" if turned else f"{moved}"
        notes.append(f"its {wrong} places no voxels; orientation and origin are left out.")
        return spacing, None
    return spacing, affine
