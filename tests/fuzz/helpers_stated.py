"""What the header of a file says of its shape, found without softmorph and without the libraries that it reads with."""

from __future__ import annotations

import ast
import gzip
import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from math import prod
from typing import Any, Final

from helpers_mutations import TIFF_TYPES

Shape = tuple[int, ...]

_BROKEN: Final = (
    ValueError, LookupError, struct.error, zlib.error, EOFError, OSError, zipfile.BadZipFile, SyntaxError, TypeError,
    NotImplementedError, AttributeError, RecursionError, OverflowError,
)  # fmt: skip


def agree(stated: Sequence[Shape], shape: Sequence[int]) -> bool:
    """Whether a shape is one of those stated, in any order of axes and without axes of one."""
    return _sizes(shape) in [_sizes(one) for one in stated]


def within(part: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether axes can be some of those of a shape."""
    left = list(shape)
    for size in _sizes(part):
        if size not in left:
            return False
        left.remove(size)
    return True


def _sizes(shape: Sequence[int]) -> list[int]:
    return sorted(size for size in shape if size != 1)


def stated(files: Mapping[str, bytes], main: str) -> list[Shape]:
    """Return the shapes that a file's header allows; nothing where none could be made out."""
    with suppress(*_BROKEN):
        if main.endswith(".zarr"):
            return list(_zarr(files, main))
        content = files[main]
        if content.startswith(b"\x1f\x8b"):
            content = _unzipped(content)
        for magic, read in (
            (b"\x93NUMPY", _npy), (b"PK", _npz), (b"\x89PNG", _png), (b"II", _tiff), (b"MM", _tiff), (b"NRRD", _nrrd)
        ):  # fmt: skip
            if content.startswith(magic):
                return list(read(content))
        if content[344:347] == b"n+1" or content[4:7] == b"n+2":
            return list(_nifti(content))
        return list(_metaimage(content))
    return []


def _unzipped(content: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
        return stream.read(4096)


def _nifti(content: bytes) -> Iterator[Shape]:
    second = content[4:6] == b"n+"
    at, code, count = (16, "q", 8) if second else (40, "h", 8)
    # The number of axes tells the byte order.
    for order in "<>":
        dims = struct.unpack_from(f"{order}{count}{code}", content, at)
        if 1 <= dims[0] <= 7:
            yield dims[1 : 1 + dims[0]]
            # Three or four samples of a colour.
            yield (*dims[1 : 1 + dims[0]], 3)
            yield (*dims[1 : 1 + dims[0]], 4)


def _npy(content: bytes) -> Iterator[Shape]:
    start = 12 if content[6] > 1 else 10
    size = int.from_bytes(content[8:start], "little")
    told = ast.literal_eval(content[start : start + size].decode("latin-1"))
    yield tuple(told["shape"])
    if isinstance(told["descr"], tuple):
        yield tuple(told["shape"]) + tuple(told["descr"][1])


def _npz(content: bytes) -> Iterator[Shape]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            yield from _npy(archive.read(name))


def _png(content: bytes) -> Iterator[Shape]:
    width, height, _, kind = struct.unpack_from(">IIBB", content, 16)
    for samples in {0: (1, 2), 2: (3, 4), 3: (1, 3, 4), 4: (1, 2), 6: (4,)}.get(kind, ()):
        yield height, width, samples


def _nrrd(content: bytes) -> Iterator[Shape]:
    head = re.split(rb"\r?\n\r?\n", content, maxsplit=1)[0]
    for line in re.findall(rb"(?im)^\s*sizes\s*:(.*)$", head):
        shape = tuple(int(word) for word in line.split())
        yield shape
        if b"complex" in head and 2 in shape:
            left = list(shape)
            left.remove(2)
            yield tuple(left)


def _metaimage(content: bytes) -> Iterator[Shape]:
    head = content[: content.find(b"\n", content.find(b"ElementDataFile"))] + b"\n"
    channels = re.findall(rb"(?m)^\s*ElementNumberOfChannels\s*=\s*(\S+)", head)[-1:] or [b"1"]
    for line in re.findall(rb"(?m)^\s*DimSize\s*=(.*)$", head):
        yield (*(int(word) for word in line.split()), int(channels[0]))


def _zarr(files: Mapping[str, bytes], main: str) -> Iterator[Shape]:
    for name, content in files.items():
        if name.startswith(main) and name.endswith((".zarray", "zarr.json")):
            with suppress(*_BROKEN):
                yield tuple(map(int, json.loads(content)["shape"]))


def _tiff(content: bytes) -> Iterator[Shape]:
    """The shapes of the pages, one by one and together, and of what the descriptions say of them."""
    pages = list(_pages(content))
    sizes: tuple[list[int], list[int]]
    sizes = [page.get(257, (0,))[0] for page in pages], [page.get(256, (0,))[0] for page in pages]
    for page, height, width in zip(pages, *sizes, strict=True):
        samples, depth = page.get(277, (1,))[0], page.get(32997, (1,))[0]
        alike = [p for p, h, w in zip(pages, *sizes, strict=True) if (h, w) == (height, width)]
        counts = {1, len(alike), *(len(alike) - k for k in range(len(alike)))}
        text = bytes(page.get(270, ()))
        for number in re.findall(rb"(?:images|slices|frames|channels)\s*=\s*(\d+)", text):
            counts |= {int(number)}
        for count in counts:
            yield count, depth, height, width, samples
            yield count, height, width, samples
        named: list[int] = [int(n) for n in re.findall(rb"(?:slices|frames|channels)\s*=\s*(\d+)", text)]
        for kept in _subsets(named):
            yield (*kept, height, width, samples)
            for count in counts:
                images: int = prod(kept)
                if kept and images and count % images == 0:
                    yield (*kept, count // images, height, width, samples)
        with suppress(*_BROKEN):
            yield tuple(map(int, json.loads(text.rstrip(b"\0"))["shape"]))
        for axes in re.findall(rb"<(?:\w+:)?Pixels\b[^>]*>", text):
            size = {
                letter: int(number)
                for letter, number in re.findall(rb"\bSize([XYZCT])\s*=\s*\"(\d+)\"", axes)
            }
            yield tuple(size.values())
            yield (*size.values(), samples)


def _subsets(numbers: list[int]) -> list[list[int]]:
    found: list[list[int]] = [[]]
    for number in numbers[:4]:
        found += [[*one, number] for one in found]
    return found


def _pages(content: bytes) -> Iterator[dict[int, tuple[int, ...]]]:
    order = "<" if content[:2] == b"II" else ">"
    big = struct.unpack_from(f"{order}H", content, 2)[0] == 43
    word, entry, start = ("Q", 20, 8) if big else ("I", 12, 4)
    todo, seen = [struct.unpack_from(f"{order}{word}", content, start)[0]], set[int]()
    while todo and len(seen) < 100:
        at = todo.pop(0)
        if at in seen or not 0 < at < len(content):
            continue
        seen.add(at)
        with suppress(struct.error, OverflowError):
            (count,) = struct.unpack_from(f"{order}{'Q' if big else 'H'}", content, at)
            page: dict[int, tuple[int, ...]] = {}
            first = at + (8 if big else 2)
            for place in range(first, first + min(count, 200) * entry, entry):
                with suppress(struct.error, OverflowError):
                    _entry(content, place, order, word, page)
            yield page
            todo.extend(page.get(330, ()))
            todo.append(struct.unpack_from(f"{order}{word}", content, first + count * entry)[0])


def _entry(content: bytes, place: int, order: str, word: str, page: dict[int, tuple[int, ...]]) -> None:
    tag, kind = struct.unpack_from(f"{order}HH", content, place)
    (many,) = struct.unpack_from(f"{order}{word}", content, place + 4)
    value, size = place + 4 + struct.calcsize(f"={word}"), TIFF_TYPES.get(kind, 0)
    code: Any = {
        1: "B",
        2: "B",
        3: "H",
        4: "I",
        6: "b",
        7: "B",
        8: "h",
        9: "i",
        13: "I",
        16: "Q",
        17: "q",
        18: "Q",
    }.get(kind)
    if code is None or many > 100_000:
        return
    if size * many > struct.calcsize(f"={word}"):
        (value,) = struct.unpack_from(f"{order}{word}", content, value)
    # The first of a tag that comes twice counts.
    page.setdefault(tag, struct.unpack_from(f"{order}{many}{code}", content, value))
