"""Mutations of files that know where their numbers, texts and parts lie; a case is the same at each run.

Each takes bytes and a random generator and returns other bytes. What a checksum or a compressor would hide is changed
below it: gzip members, PNG chunks, zip members and deflated pixels are unpacked, changed, and packed again.
"""

from __future__ import annotations

import ast
import copy
import gzip
import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from random import Random
from typing import Any, Final

from helpers_seeds import Files, Seed

Mutation = Callable[[bytes, Random], bytes]

_WHOLE: Final = (
    0, 1, -1, 2, 3, 7, 8, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**32,
    2**62,
    2**63 - 1, 2**63, 2**64 - 1, -(2**31), -(2**63),
)  # fmt: skip
_REAL: Final = (0.0, -0.0, -1.0, 0.5, 1e-45, 1e-308, 1e38, 1e308, float("nan"), float("inf"), float("-inf"))
_NUMBERS: Final = (
    *map(str, _WHOLE),
    *map(str, _REAL),
    "1e400",
    "-1e-400",
    "1_0",
    "0x10",
    "\uff11\uff12",
    "٣",
    "+5",
    "007",
    "9" * 400,
)
_STRINGS: Final = (
    "", " ", "%s%n%d", "%1000000000d", "{0}{x}", "\x1b[31mred\x1b]0;x\x07", "\0", "\n", "\r\n", "\t", "\x7f",
    "\x85", "\u202e",
    "\udcff", "é", "=1+1", "A" * 5000, "[" * 3000, "../../etc/passwd", "/dev/zero", ".", "~", "LIST", "LOCAL",
    "none", "none none",
    "()", "(1,2", "NaN", "true", "null", "<!DOCTYPE x [<!ENTITY a 'b'>]>", "🦷", "raw", "gzip", "bzip2", "hex",
    "ascii", "-", "<f4",
    "|O", ">V8", "list", "until stable",
)  # fmt: skip
_BROKEN: Final = (
    ValueError, LookupError, struct.error, zlib.error, EOFError, OSError, zipfile.BadZipFile, SyntaxError,
    OverflowError,
    RecursionError, NotImplementedError, AttributeError, TypeError,
)  # fmt: skip
_STRUCTS: Final = ("b", "h", "i", "q", "f", "d")


def case(seed: Seed, number: int) -> Files:
    """The files of one case; those of case 0 are intact."""
    files = dict(seed.files)
    if number == 0:
        return files
    random = Random(f"{seed.name}:{number}")
    names = sorted(files)
    for _ in range(random.choice((1, 1, 1, 2, 3, 5))):
        # The header of a store or of detached voxels is small, and most of what can be wrong.
        named = [
            name for name in names if name == seed.main or name.endswith(("json", "attrs", "array", "group"))
        ]
        name = random.choice(named if named and random.random() < 0.7 else names)
        if len(names) > 1 and random.random() < 0.02:
            files.pop(name, None)
        elif name in files:
            files[name] = _mutated(name, files[name], random)
    return files


def _mutated(name: str, content: bytes, random: Random) -> bytes:
    if random.random() < 0.15:
        return random.choice(_ANY)(content, random)
    # What knows the format may not know it any more after an earlier mutation.
    with suppress(*_BROKEN):
        return _known(name, content)(content, random)
    return random.choice(_ANY)(content, random)


def _known(name: str, content: bytes) -> Mutation:
    if content.startswith(b"\x1f\x8b"):
        return _gzip
    if content[:2] in (b"II", b"MM"):
        return _tiff
    if content.startswith(b"\x89PNG"):
        return _png
    if content.startswith(b"PK"):
        return _npz
    if content.startswith(b"\x93NUMPY"):
        return _npy
    if content[344:347] == b"n+1" or content[4:7] == b"n+2":
        return _nifti
    if name.endswith((".json", ".zattrs", ".zarray", ".zgroup", ".zmetadata")):
        return _json
    if name.endswith(".jsonl"):
        return _json_lines
    if content.startswith((b"NRRD", b"ObjectType")):
        return _header
    return _lines if name.endswith(".toml") else _bytes


# Of any bytes


def _flip(content: bytes, random: Random) -> bytes:
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 8)) if content else 0):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _cut(content: bytes, random: Random) -> bytes:
    return content[
        : random.choice((0, 1, len(content) // 2, len(content) - 1, random.randrange(len(content) + 1)))
    ]


def _span(content: bytes, random: Random) -> tuple[int, int]:
    start = random.randrange(len(content) + 1)
    return start, min(len(content), start + random.choice((1, 2, 4, 8, 16, 100, 1000)))


def _double(content: bytes, random: Random) -> bytes:
    start, end = _span(content, random)
    return content[:end] + content[start:end] * random.choice((1, 1, 20)) + content[end:]


def _drop(content: bytes, random: Random) -> bytes:
    start, end = _span(content, random)
    return content[:start] + content[end:]


def _swap(content: bytes, random: Random) -> bytes:
    changed, size = bytearray(content), random.choice((2, 4, 8))
    if len(content) >= size:
        at = random.randrange(len(content) - size + 1)
        changed[at : at + size] = changed[at : at + size][::-1]
    return bytes(changed)


def _exchange(content: bytes, random: Random) -> bytes:
    first, second = sorted(random.randrange(len(content) + 1) for _ in range(2))
    size = min(random.choice((1, 4, 16, 64)), second - first)
    a, b = content[first : first + size], content[second : second + size]
    return content[:first] + b + content[first + size : second] + a + content[second + size :]


def _overwrite(content: bytes, random: Random) -> bytes:
    at = random.randrange(len(content) + 1)
    new = random.choice(
        (
            _packed(random.choice(_STRUCTS), random.choice("<>"), random),
            _string(random).encode("utf-8", "surrogateescape"),
        )
    )
    return content[:at] + new + content[at + len(new) :]


def _append(content: bytes, random: Random) -> bytes:
    return content + random.choice((b"\0" * 100, b"x", content, bytes(range(256)), b"\n"))


_ANY: Final[tuple[Mutation, ...]] = (_flip, _cut, _double, _drop, _swap, _exchange, _overwrite, _append)


def _bytes(content: bytes, random: Random) -> bytes:
    return random.choice(_ANY)(content, random)


def _packed(code: str, order: str, random: Random) -> bytes:
    if code in "fd":
        return struct.pack(
            order + code, float.fromhex(random.choice(_REAL).hex()) if code == "d" else _single(random)
        )
    size = struct.calcsize(order + code)
    number: int = random.choice(_WHOLE) % (1 << 8 * size)
    return number.to_bytes(size, "little" if order == "<" else "big")


def _single(random: Random) -> float:
    number = random.choice(_REAL)
    return number if abs(number) < 3e38 or abs(number) == float("inf") or number != number else 3e38


def _string(random: Random) -> str:
    return random.choice(_STRINGS if random.random() < 0.5 else _NUMBERS)


# Of texts


def _words(text: bytes, random: Random) -> bytes:
    """Replace one word, a number by a number in most cases."""
    found = list(re.finditer(rb"[^\s=:,()\[\]{}\"'<>]+", text))
    if not found:
        return text
    numbers = [word for word in found if re.fullmatch(rb"[-+]?[\d.]+(e[-+]?\d+)?", word[0])]
    number = bool(numbers) and random.random() < 0.6
    word = random.choice(numbers if number else found)
    new = random.choice(_NUMBERS) if number and random.random() < 0.8 else _string(random)
    return text[: word.start()] + new.encode("utf-8", "surrogateescape") + text[word.end() :]


def _lines(text: bytes, random: Random) -> bytes:
    if random.random() < 0.6:
        return _words(text, random)
    lines = text.split(b"\n")
    at, other = random.randrange(len(lines)), random.randrange(len(lines))
    how = random.randrange(5)
    if how == 0:
        del lines[at]
    elif how == 1:
        lines.insert(other, lines[at])
    elif how == 2:
        lines[at], lines[other] = lines[other], lines[at]
    elif how == 3:
        lines[at] = _bytes(lines[at], random)
    else:
        lines[at] = (
            lines[at].partition(random.choice((b":", b"=")))[0]
            + b"= "
            + _string(random).encode("utf-8", "surrogateescape")
        )
    return b"\n".join(lines)


_FIELDS: Final = tuple(
    line.encode()
    for line in (
        "dimension: 4", "sizes: 0 6 5", "sizes: 7 6", "sizes: -7 6 5", "sizes: 70000 70000 70000",
        "encoding: bzip2", "encoding: gzip",
        "encoding: hex", "line skip: 9223372036854775807", "byte skip: -1", "byte skip: -2",
        "byte skip: 99999999999", "line skip: 3",
        "data file: LIST", "data file: %d 0 999999999 1", "data file: %0999d 0 3 1", "data file: ../in.raw",
        "data file: in.nrrd",
        "data file: /dev/zero", "data file: /dev/stdin", "endian: middle", "type: block", "type: complex",
        "kinds: vector vector vector",
        "kinds: complex domain domain", "spacings: nan nan nan", "spacings: 1e308 1e308 1e308",
        "thicknesses: 1 1 1", "space: scanner-xyz-time",
        "space dimension: 9", "space directions: none none none", "space directions: (0,0,0) (0,0,0) (0,0,0)",
        "space origin: (nan,0,0)",
        "units: \"um\" \"mm\" \"furlong\"", "space units: \"\" \"\" \"\"", "softmorph_divide_by:=0",
        "softmorph_divide_by:=99999999999999999999999",
        "softmorph_labels:=-1", "softmorph:={\"command\": [1]}", "softmorph:={", "centerings: cell cell node",
        "measurement frame: (1,0)",
        "NDims = 16", "NDims = 2", "DimSize = 0 0 0", "DimSize = 4294967296 4294967296 1",
        "ElementNumberOfChannels = 0",
        "ElementNumberOfChannels = 4294967295", "ElementNumberOfChannels = 3", "HeaderSize = -1",
        "HeaderSize = 9223372036854775807",
        "CompressedData = True", "CompressedDataSize = -5", "CompressedDataSize = 99999999999999",
        "BinaryData = False", "ElementType = MET_STRING",
        "ElementType = MET_OTHER", "ElementType = MET_DOUBLE_ARRAY", "TransformMatrix = 0 0 0 0 0 0 0 0 0",
        "TransformMatrix = nan",
        "ElementSpacing = 0 0 0", "ElementSpacing = -1 1 1", "ElementToIntensityFunctionSlope = nan",
        "ElementToIntensityFunctionSlope = 0",
        "ElementToIntensityFunctionOffset = 1e308", "ElementDataFile = LIST 2D",
        "ElementDataFile = %d.raw 1 99999999 1", "ElementDataFile = %s%n 1 3 1",
        "ElementDataFile = in.mhd", "ElementDataFile = LOCAL", "ObjectType = Scene", "ObjectSubType = x",
        "softmorph_divide_by = 0", "Comment = \x1b[2J",
    )
)  # fmt: skip


def _header(content: bytes, random: Random) -> bytes:
    """Of a header of lines with voxels behind it, or not."""
    nrrd = content.startswith(b"NRRD")
    end = content.find(b"\n\n") if nrrd else content.find(b"\n", content.find(b"ElementDataFile"))
    end = len(content) if end < 0 else end
    head, rest = content[:end], content[end:]
    how = random.random()
    if how < 0.15:
        return head + _bytes(rest, random)
    if how < 0.4:
        line = random.choice([one for one in _FIELDS if (b":" in one.partition(b" =")[0]) == nrrd] or _FIELDS)
        key = re.split(rb":=?| =", line)[0]
        lines = [one for one in head.split(b"\n") if not one.startswith(key) or random.random() < 0.2]
        at = 1 if nrrd else max(1, len(lines) - random.choice((0, 1, 1)))
        return b"\n".join([*lines[:at], line, *lines[at:]]) + rest
    return _lines(head, random) + rest


# Of trees of JSON


def _value(random: Random) -> Any:
    return random.choice(
        (
            None, True, False, [], {}, "", 0, -1, 1, 2, 3.5, 2**31, 2**63, 2**64, 10**30, float("nan"),
            float("inf"), 1e308,
            [1, 2, 3], ["a"], {"a": 1}, [[]], [None], "0", "nan", "%s%n", "\x1b[31m", "\n", "..", "../in.zarr",
            "/dev/zero", "\udcff",
            "A" * 3000, "<f4", "|O", "|V8", ">c16", "float16", "pickle", "blosc", "micrometer", "parsec",
            "space", "channel",
        )
    )  # fmt: skip


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    for key, value in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
        yield tree, key
        if isinstance(value, dict | list):
            yield from _places(value)


def _tree(tree: Any, random: Random) -> Any:
    tree = copy.deepcopy(tree)
    places = list(_places(tree)) if isinstance(tree, dict | list) else []
    if not places:
        return _value(random)
    inside, key = random.choice(places)
    how, value = random.random(), inside[key]
    if how < 0.15:
        del inside[key]
    elif how < 0.25:
        if isinstance(inside, list):
            inside.insert(key, copy.deepcopy(value))
        else:
            inside[random.choice((*inside, "x", "\x1b[1m", ""))] = copy.deepcopy(value)
    elif how < 0.35:
        nested: Any = value
        for _ in range(random.choice((1, 1, 500))):
            nested = [nested] if random.random() < 0.5 else {"a": nested}
        inside[key] = nested
    elif isinstance(value, int | float) and not isinstance(value, bool) and how < 0.8:
        inside[key] = random.choice((*_WHOLE, *_REAL))
    else:
        inside[key] = _value(random)
    return tree


def _json(content: bytes, random: Random) -> bytes:
    if random.random() < 0.15:
        return _words(content, random)
    return json.dumps(_tree(json.loads(content), random)).encode("utf-8", "surrogateescape")


def _json_lines(content: bytes, random: Random) -> bytes:
    lines = content.split(b"\n")
    at = random.randrange(len(lines))
    lines[at] = _json(lines[at], random) if lines[at] else _bytes(lines[at], random)
    return b"\n".join(lines)


# Of containers


def _gzip(content: bytes, random: Random) -> bytes:
    if random.random() < 0.3:
        return _bytes(content, random)
    inner = gzip.decompress(content)
    return gzip.compress(_mutated("", inner, random), 1, mtime=0)


def _npz(content: bytes, random: Random) -> bytes:
    if random.random() < 0.3:
        return _bytes(content, random)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(one, archive.read(one)) for one in archive.infolist()]
    at = random.randrange(len(members))
    told, inner = members[at]
    if random.random() < 0.15:
        told.filename = random.choice(
            ("softmax.npy", "logits.npy", "data.npy", "\x1b[1m.npy", "../x.npy", "probabilities")
        )
        members.insert(0, (told, inner))
    else:
        members[at] = (told, _npy(inner, random))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for one, inner in {one.filename: (one, inner) for one, inner in members}.values():
            archive.writestr(one, inner, one.compress_type)
    return stream.getvalue()


def _npy(content: bytes, random: Random) -> bytes:
    if random.random() < 0.2:
        return _bytes(content, random)
    wide = content[6] > 1
    start = 12 if wide else 10
    end = start + int.from_bytes(content[8:start], "little")
    told = ast.literal_eval(content[start:end].decode("latin-1"))
    how = random.random()
    if how < 0.5:
        shape = list(told["shape"])
        change = random.randrange(5)
        if change == 0 and shape:
            shape[random.randrange(len(shape))] = random.choice(_WHOLE)
        elif change == 1:
            shape = [random.choice((1, 0, -1, 2**40, 2**63))] * random.choice((0, 1, 5, 33, 70))
        elif change == 2:
            shape = shape[::-1]
        elif change == 3:
            shape = [*shape, 1]
        else:
            shape = [*shape[:-2], int(shape[-2] * shape[-1])] if len(shape) > 1 else shape
        told["shape"] = tuple(shape)
    elif how < 0.8:
        told["descr"] = random.choice(
            (
                "|O",
                "<f4",
                ">f4",
                "<f8",
                "<f2",
                "<f16",
                "|u1",
                "|b1",
                "<i8",
                "<u8",
                "<c8",
                "<U3",
                "|S4",
                "<M8[s]",
                "|V4",
                "|V0",
                "<U0",
                [("a", "<f4")],
                [("a", "|O")],
                "",
                "<f3",
                "f",
                "<u4",
                "%s",
                ("<f4", (2, 2)),
            )
        )
    elif how < 0.9:
        told["fortran_order"] = random.choice((True, False, 0, "x", None))
    else:
        told[random.choice(("shape", "descr", "fortran_order", "x"))] = random.choice(
            (None, (), "x", [1, 2], -1)
        )
    text = repr(told) if random.random() < 0.9 else _words(repr(told).encode(), random).decode("latin-1")
    head = text.encode("utf-8", "surrogateescape") + b"\n"
    return content[:8] + len(head).to_bytes(start - 8, "little") + head + content[end:]


@cache
def _nifti_fields(second: bool) -> tuple[tuple[str, int], ...]:
    """The struct code and the offset of every number of a header."""
    from nibabel.nifti1 import header_dtype
    from nibabel.nifti2 import header_dtype as second_dtype

    found = []
    fields: Any = (second_dtype if second else header_dtype).fields
    for name, (dtype, at, *_) in fields.items():
        base, shape = dtype.subdtype or (dtype, ())
        if base.kind in "iuf" and name != "sizeof_hdr":
            code = {"i": "hiq", "u": "hiq", "f": "fd"}[base.kind]
            letter = {
                1: "b",
                2: "h",
                4: code[1] if base.kind != "f" else "f",
                8: "q" if base.kind != "f" else "d",
            }[base.itemsize]
            count = shape[0] if shape else 1
            # What says shape, type and place counts twice.
            weight = 3 if name in ("dim", "datatype", "vox_offset", "bitpix") else 1
            found += [(letter, at + i * base.itemsize) for i in range(count)] * weight
    return tuple(found)


def _nifti(content: bytes, random: Random) -> bytes:
    if random.random() < 0.1:
        return _bytes(content, random)
    second = content[4:6] == b"n+"
    order = "<" if content[:4] in (b"\x5c\1\0\0", b"\x1c\2\0\0") else ">"
    if random.random() < 0.1:
        # Extensions, and what says that there are some.
        at = (540 if second else 348) + random.choice((0, 1, 4, 8))
        new = _packed(random.choice("bi"), order, random)
    else:
        code, at = random.choice(_nifti_fields(second))
        new = _packed(code, order, random)
        if code == "h" and random.random() < 0.3:
            new = struct.pack(
                f"{order}h",
                random.choice(
                    (2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2304, 1)
                ),
            )
    return content[:at] + new + content[at + len(new) :]


def _png_parts(content: bytes) -> list[tuple[bytes, bytes]]:
    parts, at = [], 8
    while at + 12 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        parts.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    return parts


def _png(content: bytes, random: Random) -> bytes:
    if random.random() < 0.15:
        return _bytes(content, random)
    parts = _png_parts(content)
    at = random.randrange(len(parts))
    how = random.random()
    if how < 0.35:
        head = bytearray(parts[0][1])
        if random.random() < 0.5:
            place = random.choice((0, 4))
            head[place : place + 4] = _packed("i", ">", random)
        else:
            head[random.randrange(8, 13)] = random.choice((0, 1, 2, 3, 4, 6, 7, 8, 16, 32, 255))
        parts[0] = (parts[0][0], bytes(head))
    elif how < 0.6:
        pixels = zlib.decompress(b"".join(body for name, body in parts if name == b"IDAT"))
        packed = zlib.compress(_bytes(pixels, random), 1)
        parts = [one for one in parts if one[0] not in (b"IDAT", b"IEND")] + [
            (b"IDAT", packed),
            (b"IEND", b""),
        ]
    elif how < 0.7:
        parts.insert(random.randrange(len(parts) + 1), parts[at])
    elif how < 0.75:
        del parts[at]
    elif how < 0.8:
        parts[at] = (
            random.choice(
                (b"IDAT", b"PLTE", b"tRNS", b"IEND", b"iTXt", b"zTXt", b"abcd", b"ABCD", b"\0\0\0\0")
            ),
            parts[at][1],
        )
    elif how < 0.9:
        key = random.choice(("softmorph_divide_by", "softmorph_labels", "softmorph", "Title", ""))
        parts.insert(1, (b"tEXt", f"{key}\0{_string(random)}".encode("utf-8", "surrogateescape")))
    else:
        parts[at] = (parts[at][0], _bytes(parts[at][1], random))
    return content[:8] + b"".join(_chunk(*part) for part in parts)


def _chunk(name: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")


# Bytes of the element types of TIFF, by number.
TIFF_TYPES: Final = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_TIFF_TAGS: Final = (
    254, 256, 257, 258, 259, 262, 266, 270, 273, 274, 277, 278, 279, 282, 283, 284, 296, 297, 305, 317, 320,
    322, 323, 324, 325, 330, 338,
    339, 347, 32997, 32998, 33550, 33922, 34264, 34412, 42112, 50838, 50839, 65000,
)  # fmt: skip


def _tiff_places(
    content: bytes,
) -> tuple[str, bool, list[tuple[str, int]], list[tuple[int, int, int, int, int]]]:
    """Byte order; whether it is a big one; numbers by struct code and offset; entries.

    These by tag, type, count, where the value lies and where the entry does.
    """
    order = "<" if content[:2] == b"II" else ">"
    big = struct.unpack(f"{order}H", content[2:4])[0] == 43
    word, entry, count_code = ("q", 20, "Q") if big else ("i", 12, "H")
    numbers, entries = [(word, 8 if big else 4), ("h", 2)], []
    at, seen = struct.unpack_from(f"{order}{word.upper()}", content, 8 if big else 4)[0], set[int]()
    while 0 < at < len(content) and at not in seen and len(seen) < 20:
        seen.add(at)
        (count,) = struct.unpack_from(f"{order}{count_code}", content, at)
        numbers.append((count_code.lower(), at))
        first = at + struct.calcsize(count_code if big else "=H")
        for place in range(first, first + min(count, 100) * entry, entry):
            tag, kind = struct.unpack_from(f"{order}HH", content, place)
            (many,) = struct.unpack_from(f"{order}{word.upper()}", content, place + 4)
            value = place + (12 if big else 8)
            size = TIFF_TYPES.get(kind, 1) * many
            inline = size <= struct.calcsize(f"={word}")
            where = value if inline else struct.unpack_from(f"{order}{word.upper()}", content, value)[0]
            numbers += [("h", place), ("h", place + 2), (word, place + 4), (word, value)]
            if kind == 3 and inline:
                numbers.append(("h", value))
            entries.append((tag, kind, many, where, place))
        end = first + count * entry
        numbers.append((word, end))
        at = struct.unpack_from(f"{order}{word.upper()}", content, end)[0]
    return order, big, numbers, entries


def _tiff(content: bytes, random: Random) -> bytes:
    if random.random() < 0.1:
        return _bytes(content, random)
    order, big, numbers, entries = _tiff_places(content)
    how = random.random()
    word = "Q" if big else "I"
    if how < 0.35:
        code, at = random.choice(numbers)
        new = _packed(code, order, random)
        if random.random() < 0.3:
            size = struct.calcsize(f"={code}")
            new = (random.randrange(len(content))).to_bytes(8, "little")[:size]
            new = new if order == "<" else new[::-1]
        return content[:at] + new + content[at + len(new) :]
    if how < 0.5:
        *_, place = random.choice(entries)
        return content[:place] + struct.pack(f"{order}H", random.choice(_TIFF_TAGS)) + content[place + 2 :]
    if how < 0.6:
        # A compression, a kind of pixels, a number of bits or of samples that the data do not have.
        tag = random.choice((258, 259, 262, 277, 284, 317, 338, 339))
        value = random.choice(
            (
                0,
                1,
                2,
                3,
                4,
                5,
                6,
                7,
                8,
                9,
                12,
                16,
                24,
                32,
                64,
                32773,
                32946,
                34712,
                34887,
                34925,
                50000,
                50002,
                8,
                34892,
                32844,
                65535,
            )
        )
        found = [place for one, _, _, _, place in entries if one == tag] or [random.choice(entries)[4]]
        place = random.choice(found)
        return (
            content[: place + 2]
            + struct.pack(f"{order}H{word}{'H'}", 3, 1, value)
            + content[place + 2 + struct.calcsize(f"={'H'}{word}H") :]
        )
    texts = [one for one in entries if one[0] == 270]
    if how < 0.85 and texts:
        # A description of another length goes to the end of the file.
        tag, kind, many, where, place = random.choice(texts)
        text = content[where : where + many].rstrip(b"\0")
        new = _description(text, random)
        new += bytes(max(0, 9 - len(new)))
        entry = struct.pack(f"{order}HH{word}{word}", tag, kind, len(new), len(content))
        return content[:place] + entry + content[place + len(entry) :] + new
    *_, many, where, _ = random.choice(entries)
    at = where + random.randrange(max(1, min(many * 4, 400)))
    new = _packed(random.choice("hi"), order, random)
    return content[:at] + new + content[at + len(new) :]


def _description(text: bytes, random: Random) -> bytes:
    with suppress(ValueError):
        return json.dumps(_tree(json.loads(text), random)).encode("utf-8", "surrogateescape")
    how = random.random()
    if how < 0.15 and text.startswith(b"<"):
        return _bytes(text, random)
    if how < 0.3 and text.startswith(b"<"):
        tags = re.findall(rb"<[^>]+>", text)
        tag = random.choice(tags)
        return text.replace(tag, random.choice((b"", tag * 2, tag * 200)), 1)
    return _lines(text, random) if b"\n" in text else _words(text, random)
