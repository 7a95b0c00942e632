"""TIFF: OME, ImageJ and plain, through tifffile; with imagecodecs, where it is installed, in all compressions."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from math import ceil, prod
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.io.calibration import Calibration, calibration
from softmorph_cli.io.damage import NO_PAGES, Damaged, Unsupported
from softmorph_cli.io.families import FAMILIES
from softmorph_cli.io.images import read_pixels
from softmorph_cli.io.palette import of_palette
from softmorph_cli.io.provenance import SIGNATURE, as_text, parse
from softmorph_cli.io.raw import LABELS, ONE, Array, Encoding, Kept, Raw, kept_native, time_step_of
from softmorph_cli.io.room import fits
from softmorph_cli.io.select import channels_last, usual_axes
from softmorph_cli.io.stored import real, shown
from softmorph_cli.io.tiles import check_strips, codec_missing, keyframes, lacks_codec, mend, stored_tiles
from softmorph_cli.system.parameters import named
from softmorph_cli.system.units import MILLIMETRES, TimeStep, in_one_unit, length, sizeless, time_step
from softmorph_cli.volume import Volume

# The most bytes of pixels in a classic TIFF, whose offsets have 32 bits; the rest is for the tags.
CLASSIC_LIMIT = 2**32 - 2**25

# The names of the samples by PhotometricInterpretation, as tifffile calls it.
_COLOURS = {
    "RGB": ("red", "green", "blue", "alpha"),
    "SEPARATED": ("cyan", "magenta", "yellow", "black"),
    "YCBCR": ("brightness", "blue difference", "red difference"),
    "CIELAB": ("lightness", "a", "b"),
    "ICCLAB": ("lightness", "a", "b"),
    "ITULAB": ("lightness", "a", "b"),
}
_UNREADABLE = {
    "CFA": "the raw samples of a camera's colour filter array",
    "LOGL": "logarithms of brightness",
    "LOGLUV": "logarithms of brightness, and colours",
}
# NewSubfileType: a smaller copy of another image, and the mask of one.
_REDUCED, _MASKING = 1, 4
_NO_UNIT, _INCH = 1, 2
# Fields that have to be one number each.
_FIELDS = (
    *(
        "imagewidth",
        "imagelength",
        "imagedepth",
        "samplesperpixel",
        "bitspersample",
        "planarconfig",
        "photometric",
    ),
    *("compression", "predictor", "fillorder", "rowsperstrip", "tilewidth", "tilelength", "tiledepth"),
)
# What ResolutionUnit counts in; 4 and 5 are extensions.
_RESOLUTION_UNITS = {3: "cm", 4: "mm", 5: "um"}
# The types of ImageJ's metadata that are written again; tifffile turns text that looks like a number into one.
_IMAGEJ_KEPT: dict[str, type | tuple[type, ...]] = {
    "finterval": (int, float),
    "fps": (int, float),
    "tunit": str,
    "mode": str,
    "loop": bool,
    "LUTs": list,
    "Labels": list,
    "unit": str,
    "Info": str,
}
# Lossless codecs that tifffile lacks on its own and SimpleITK's libtiff has.
_LIBTIFF_CODECS = ("LZW", "PACKBITS")
_BROKEN = re.compile(
    r"invalid page offset|circular reference|corrupted|invalid offset|truncated|missing data"
)
_PASSED_OVER = re.compile(r"TiffTag (\d+) @\d+> (?:invalid|is)")
# The tags of the layout of pixels: size, samples, compression, palette, strips, tiles.
_LAYOUT = frozenset(
    (
        256,
        257,
        258,
        259,
        262,
        266,
        273,
        277,
        278,
        279,
        284,
        317,
        320,
        322,
        323,
        324,
        325,
        338,
        339,
        32997,
        32998,
    )
)
_MOST_PLANES = 1 << 24
_IMAGEJ_TYPES = ("uint8", "uint16", "float32")
_OME_TYPES = (*_IMAGEJ_TYPES, "uint32")
_OME_UNITS = {"mm": "mm", "um": "µm", "nm": "nm"}


@dataclass(frozen=True)
class _Native:
    """What is kept of a TIFF to be written again: its flavour and its own metadata."""

    flavour: str
    imagej: Mapping[str, Any] = field(default_factory=dict)
    resolution: tuple[Any, Any, int] | None = None
    description: str = ""
    extra_ome: tuple[str, ...] = ()
    time_increment: tuple[str, str] | None = None


@dataclass(frozen=True)
class Tiff:
    """The TIFF family.

    Attributes:
        lazy: Whether voxels are left in the file until they are needed.
        series: Which image series is read; if None, the first that is no reduced copy of another.
    """

    lazy: bool = False
    series: int | None = None
    name: str = "tiff"
    title: str = FAMILIES["tiff"].title
    suffixes: tuple[str, ...] = FAMILIES["tiff"].suffixes
    output_types: tuple[str, ...] = ("float32", "float16", "uint8", "uint16")
    holds: frozenset[str] = frozenset({"spacing", "stack", "channels", "time", "uint32"})

    def recognises(self, head: bytes) -> bool:
        """Whether the mark of a classic or a big TIFF, in either byte order, is there."""
        return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

    def read(self, path: Path) -> Raw:
        """Read one series with the axes its metadata give it."""
        import tifffile

        with _quiet() as complaints, tifffile.TiffFile(path) as file:
            # Counting the pages finds a circle of them; reading one after the other would not end.
            if not len(file.pages):
                raise Damaged(NO_PAGES)
            _check_planes(file)
            number, notes = _chosen(path, file, self.series)
            series = file.series[number]
            page = series.keyframe
            # The series' own first; any other may be damaged by itself.
            for one in dict.fromkeys((page, *keyframes(series))):
                _check_page(one)
            notes += mend(series)
            check_strips(path, series)
            photometric = getattr(page.photometric, "name", str(page.photometric))
            if photometric in _UNREADABLE:
                raise InputError(
                    f"{path} is a TIFF of {_UNREADABLE[photometric]} ({photometric}), which are no probabilities."
                )
            planes, told = _planes(path, file, number, complaints)
            notes += told
            meaning = _meaning(page, photometric)
            said = calibration(file, page)
            notes += (*meaning.notes, *said.notes)
            # A strip or tile is unpacked beside what was unpacked before. What does not fit is opened all the same, for
            # parts of it may.
            if series.size * series.dtype.itemsize >= 1 << 63:
                raise Unsupported("by its metadata it holds over 2^63 bytes")
            parts = 1 + min(1, prod(page.chunks) / max(1, series.size))
            if self.lazy or not fits(series.shape, ceil(series.dtype.itemsize * parts)):
                array = stored_tiles(path, number, _of_part(path, meaning.turned, said))
                if planes is not None and planes < series.size // max(1, page.size):
                    array = array[:planes]
            else:
                array = said.without_absent(meaning.turned(_pixels(path, file, series, planes)))
            if not isinstance(series.axes, str) or array.ndim != len(series.axes):
                raise Unsupported(
                    f"its axes are {shown(str(series.axes))}, and its pages have the shape {array.shape}"
                )
            axes, told = _axes(series.axes, array.shape)
            notes += told
            kind = _metadata(file, number, page, axes or "")
            notes += kind.notes
            names = _named(meaning.samples, array.shape[series.axes.index("S")]) if "S" in series.axes else ()
            _check_fields(complaints)
            if broken := next(filter(_BROKEN.search, complaints), None):
                # What tifffile can still make out of a file cut short would pass for the whole of it.
                raise ValueError(broken)
            one, labels = _mark(page.description, ONE), _mark(page.description, LABELS) is not None
        labels = labels or meaning.labels
        native = kind.native
        return Raw(
            array=array,
            axes=axes,
            format=self.name,
            shape=array.shape,
            dtype=str(array.dtype),
            spacing=kind.spacing,
            unit=kind.unit,
            time_step=kind.time_step,
            channels=names or kind.channels,
            slope=1 / one if one and array.dtype.kind in "ui" else said.slope,
            inter=said.inter,
            full_scale=not labels,
            colour=bool(names),
            labels=labels,
            provenance=parse(native.description, str(native.imagej.get("Info", ""))),
            native=native,
            notes=tuple(notes),
        )

    def write(
        self,
        volume: Volume,
        array: Array,
        path: Path,
        encoding: Encoding,
    ) -> list[str]:
        """Write zlib-compressed in the source's flavour; ImageJ's where there is none."""
        import tifffile

        native = kept_native(volume, self.name)
        if native is None or not isinstance(native, _Native):
            native = _Native("ome" if re.search(r"\.ome\.\w+$", path.name.lower()) else "imagej")
        lost: list[str] = []
        flavour, big = native.flavour, array.nbytes > CLASSIC_LIMIT
        if re.search(r"\.ome\.\w+$", path.name.lower()):
            flavour = "ome"
        if flavour == "imagej" and big:
            flavour = "ome"
            lost.append("ImageJ's own TIFF ends at 4 GiB; this is an OME BigTIFF.")
        if flavour == "imagej" and array.dtype == np.uint32:
            flavour = "ome"
            lost.append("ImageJ's own TIFF has no uint32; this is an OME-TIFF.")
        if str(array.dtype) not in _OME_TYPES:
            if flavour != "plain":
                lost.append(f"ImageJ and OME have no {array.dtype}; this is a plain TIFF.")
            flavour = "plain"
        array, axes, renamed = _in_page_order(volume, array, flavour)
        lost += renamed
        provenance = encoding.provenance
        signature: dict[str, Any] = {SIGNATURE: json.loads(as_text(provenance))} if provenance else {}
        if encoding.labels:
            signature[LABELS] = int(array.max())
        elif encoding.one != 1:
            signature[ONE] = encoding.one
        prepare = {"ome": _ome_options, "imagej": _imagej_options, "plain": _plain_options}[flavour]
        step = time_step_of(volume)
        kept = {"ome": native.time_increment, "imagej": native.imagej.get("finterval")}.get(flavour)
        if step is not None and not step.known and not kept:
            lost.append("the unit of its time step is unknown, and TIFF counts in s: it is not kept.")
        options, more = prepare(volume, axes, native, signature, step.size if step and step.known else None)
        lost += more
        if flavour == "imagej" and array.shape[-1] == 1:
            # A last axis of one would be taken for the samples of a pixel.
            array = array.reshape([*(array.shape[axes.index(a)] if a in axes else 1 for a in "TZCYX"), 1])
            options["metadata"]["axes"] = "TZCYXS"
        with _quiet():
            tifffile.imwrite(
                path,
                np.ascontiguousarray(array),
                photometric="minisblack",
                compression="zlib",
                # Without imagecodecs zlib's own level 6 takes twice as long for 8 % less.
                compressionargs={"level": 1},
                bigtiff=big,
                software=f"softmorph {provenance.get('version', '')}".strip(),
                **options,
            )
        return lost


@dataclass(frozen=True)
class _Meaning:
    """What the numbers of a page mean.

    Attributes:
        turned: Converts stored numbers to those that are meant, of the same type.
        labels: Whether they are labels.
        samples: The names of the samples of a pixel, where they are parts of a colour.
        notes: For the user.
    """

    turned: Callable[[Array], Array] = np.asarray
    labels: bool = False
    samples: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def _meaning(page: Any, photometric: str) -> _Meaning:
    if photometric == "PALETTE" and page.colormap is not None:
        table = np.asarray(page.colormap)
        if table.ndim != 2 or len(table) != 3 or table.shape[1] < 2**page.bitspersample:
            raise Unsupported(f"its palette has {table.size} numbers for {page.bitspersample} bits")
        # Of 16 bits; some writers count to 255 all the same.
        turned, labels, note = of_palette((table >> 8 if table.max() > 255 else table).T.astype(np.uint8))
        return _Meaning(turned, labels, notes=(note,))
    if photometric == "MINISWHITE":
        if page.bitspersample == 1:
            note = "it is marked 'white is zero': what is stored as 0 is shown white, and taken as 1."
            return _Meaning(np.logical_not, notes=(note,))
        return _Meaning(notes=("it is marked 'white is zero'; its numbers are taken as they are stored.",))
    if photometric == "YCBCR" and page.compression.name != "NONE":
        photometric = "RGB"  # as which it is decoded
    samples = _COLOURS.get(photometric, ())
    if not samples and page.samplesperpixel == 2 and any(extra for extra in page.extrasamples or ()):
        samples = ("grey", "alpha")
    return _Meaning(samples=samples)


def _of_part(path: Path, turned: Callable[[Array], Array], said: Calibration) -> Callable[[Array], Array]:
    """Return what `_Meaning.turned` is for one part of a file, where whole numbers stay whole numbers."""

    def of_part(array: Array) -> Array:
        present = turned(array)
        meant = said.without_absent(present)
        if meant.dtype != present.dtype:
            raise FileError(
                f"{path} is read in parts, and its pixels of {said.absent:g} have no value (GDAL_NODATA): set them to "
                "0 in the program that made it."
            )
        return meant

    return of_part


def _named(samples: tuple[str, ...], count: int) -> tuple[str, ...]:
    """The names of so many samples, if they are those of a colour."""
    return samples and (*samples[:count], *(f"sample {number}" for number in range(len(samples), count)))


def _check_planes(file: Any) -> None:
    """Refuse OME metadata of more planes than tifffile can make a list of.

    Raises:
        Unsupported: If they describe so many.
    """
    text = file.ome_metadata if file.is_ome else None
    for tag in re.findall(r"<(?:\w+:)?(?:Pixels|TiffData)\b[^>]*>", text or ""):
        told = re.findall(r"\b(?:Size([XYZCT])|PlaneCount)\s*=\s*[\"'](\d{1,400})", tag)
        pixels = prod(int(size) for _, size in told) // max(1, file.pages[0].size)
        count = max(pixels, prod(int(size) for letter, size in told if letter not in ("X", "Y")))
        if count > _MOST_PLANES:
            raise Unsupported(f"its OME metadata describe {count:,} planes")


def _check_fields(complaints: list[str]) -> None:
    """Refuse a file if tifffile ignored a field on the layout of its pixels, and assumed a value instead.

    Raises:
        Unsupported: If it did.
    """
    for complaint in complaints:
        found = _PASSED_OVER.search(complaint)
        if found and int(found[1]) in _LAYOUT:
            raise Unsupported(f"its field {found[1]} holds what cannot be read")


def _check_page(page: Any) -> None:
    """Refuse a page with fields that tifffile could not interpret.

    Raises:
        Unsupported: If a field is not one number, or the type of the samples is unknown.
    """
    for name in _FIELDS:
        value = getattr(page, name)
        if not isinstance(value, int | np.integer):
            raise Unsupported(f"its {name} is {shown(str(value))}, and one number belongs there")
    if page.samplesperpixel < 1:
        raise Unsupported("its pixels have no samples")
    if not hasattr(page.compression, "name"):
        raise Unsupported(f"its compression has the number {page.compression}, which is not known")
    if page.dtype is None:
        kind = shown(str(page.sampleformat))
        raise Unsupported(f"its samples have {page.bitspersample} bits and format {kind}, which is not known")


def _chosen(path: Path, file: Any, wanted: int | None) -> tuple[int, list[str]]:
    """The number of the series to read, and a note on the others."""
    count = len(file.series)
    if count == 0:
        raise Damaged(NO_PAGES)
    if wanted is not None:
        if not 0 <= wanted < count:
            last = f"{named('series', 0)} to {count - 1}" if count > 1 else f"leave {named('series')} out"
            raise InputError(f"{path} has no series {wanted}; it holds {count}: {last}.")
        return wanted, []
    whole = [
        number
        for number, series in enumerate(file.series)
        if not _kind(series.keyframe) & (_REDUCED | _MASKING)
    ]
    number = next(iter(whole), 0)
    if count == 1:
        return number, []
    shapes = ", ".join(
        f"{at} of {' × '.join(map(str, one.shape))}" for at, one in enumerate(file.series) if at != number
    )
    which = "the first" if number == 0 else f"number {number}, the first that is no reduced copy,"
    return number, [
        f"it holds {count} image series; {which} is read, and {named('series', 'N')} takes another: {shapes}."
    ]


def _kind(page: Any) -> int:
    kind = page.subfiletype
    return int(kind) if isinstance(kind, int) else 0


def _planes(path: Path, file: Any, number: int, complaints: list[str]) -> tuple[int | None, list[str]]:
    """Compare the planes that the metadata describe with those that the file has.

    Returns:
        How many along the first axis are in the file, None if all are; and notes.

    Raises:
        FileError: If planes are missing, and the others are no image.
    """
    series = file.series[number]
    each = max(1, series.keyframe.size)
    total, there = series.size // each, sum(page is not None for page in series.pages)
    if there < len(series.pages):
        if broken := next(filter(_BROKEN.search, complaints), None):
            raise ValueError(broken)
        others = sorted(_other_files(file, path))
        if others:
            raise FileError(
                f"{path} is one part of a multi-file OME-TIFF, and of the {total} planes that its metadata describe "
                f"{total - there} lie in other files, such as {others[0]}: copy the files together."
            )
        told = f"its OME metadata describe {total} planes and the file has {there}"
        stacked = series.shape[0] == total and all(page is not None for page in series.pages[:there])
        if not stacked or there == 0:
            shape = " × ".join(
                f"{size} along {axis}" for axis, size in zip(series.axes, series.shape, strict=True)
            )
            raise FileError(
                f"{path}: {told}, so they are no image of {shape}; write it again from its source."
            )
        return there, [f"{told}: those are read."]
    if total < there:
        return total, [_more_planes(total, there)]
    # Coarser resolutions are pages of the file like others, unless they hang on those of the finest.
    parts = [part for one in file.series for part in (one.levels if one.keyframe.subifds is None else [one])]
    described = sum(max(len(part.pages), part.size // max(1, part.keyframe.size)) for part in parts)
    if len(file.pages) > described:
        if not getattr(file.pages[len(file.pages) - 1], "tags", True):
            # Every page has tags: where this one should be was overwritten or never copied.
            raise Damaged(NO_PAGES)
        return None, [_more_planes(described, len(file.pages))]
    return None, []


def _more_planes(described: int, there: int) -> str:
    planes, more = f"{described} plane{'s' * (described != 1)}", there - described
    rest = "the last one is" if more == 1 else f"the last {more} are"
    return f"its metadata describe {planes} and the file has {there}: {rest} left out."


def _other_files(file: Any, path: Path) -> set[str]:
    """The files that OME metadata name beside this one."""
    if not (file.is_ome and file.ome_metadata):
        return set()
    named = (one.get("FileName") for one in ElementTree.fromstring(file.ome_metadata).iterfind(".//{*}UUID"))
    return {name for name in named if name and name != path.name}


def _pixels(path: Path, file: Any, series: Any, planes: int | None) -> Array:
    """Decode a series, or its first planes."""
    try:
        if planes is None:
            return np.asarray(series.asarray())
        every = planes == series.size // max(1, series.keyframe.size)
        shape = series.shape if every else (planes, *series.shape[1:])
        return np.stack([page.asarray() for page in series.pages[:planes]]).reshape(shape)
    except (ValueError, KeyError, ImportError) as error:
        if not lacks_codec(error):
            raise
        keyframe = series.keyframe
        if keyframe.compression.name in _LIBTIFF_CODECS and len(file.series) == 1 and planes is None:
            # Another decoder of the same pages; only believed where it agrees on size and type.
            with suppress(RuntimeError):
                array = read_pixels(path, "TIFFImageIO")
                if array.size == np.prod(series.shape) and array.dtype == series.dtype:
                    return array.reshape(series.shape)
        raise codec_missing(path, keyframe) from error


def _axes(found: str, shape: tuple[int, ...]) -> tuple[str | None, list[str]]:
    """Translate the letters of tifffile: samples are channels, and an axis of pages without a name is Z."""
    axes = found.replace("S", "V" if "C" in found else "C")
    nameless = [axis for axis in axes if axis not in "TZCYXV"]
    if nameless and "C" not in axes and channels_last(shape):
        return usual_axes(shape)
    if nameless and (len(nameless) > 1 or "Z" in axes):
        return None, []
    if nameless:
        note = (
            "its pages have no named axis and are taken as slices along z; "
            f"{named('axes', 'TYX')} or {named('per_slice', True)} changes it."
        )
        return axes.replace(nameless[0], "Z"), [note]
    return axes, []


@dataclass(frozen=True)
class _Told:
    """What the metadata of a TIFF say."""

    native: _Native
    spacing: Mapping[str, float] = field(default_factory=dict)
    unit: str | None = None
    channels: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    time_step: TimeStep | None = None


def _metadata(file: Any, number: int, page: Any, axes: str) -> _Told:
    tags = [page.tags.get(name) for name in ("XResolution", "YResolution", "ResolutionUnit")]
    x, y, per = (tag.value if tag is not None else None for tag in tags)
    # By the standard inches are the default, but programs that leave the tag out mean no unit.
    known = per in (None, _NO_UNIT, _INCH, *_RESOLUTION_UNITS)
    pixel = {
        letter: size for letter, ratio in (("X", x), ("Y", y)) if (size := _per_pixel(ratio)) is not None
    }
    resolution = (x, y, int(per or _NO_UNIT)) if known and len(pixel) == 2 else None
    if file.is_ome and file.ome_metadata:
        return _read_ome(file.ome_metadata, number)
    if file.is_imagej:
        told = dict(file.imagej_metadata or {})
        sizes = dict(pixel)
        if depth := _positive(str(told.get("spacing")).removeprefix("-")):
            sizes["Z"] = depth
        # The unit is that of x; of y and z where they have none of their own.
        units = {letter: told.get(f"{letter.lower()}unit", told.get("unit")) for letter in sizes}
        spacing, unit = in_one_unit({letter: (size, units[letter]) for letter, size in sizes.items()})
        if unit is None and all(size == 1 for size in spacing.values()):
            spacing = {}
        notes = tuple(sizeless(letter for letter in sizes if spacing and letter not in spacing))
        kept = {
            key: told[key]
            for key, kind in _IMAGEJ_KEPT.items()
            if isinstance(told.get(key), kind) and (kind is bool or not isinstance(told[key], bool))
        }
        step = time_step(kept.get("finterval", 0.0), str(kept.get("tunit", "s")))
        native = _Native("imagej", imagej=kept, resolution=resolution)
        return _Told(native, spacing, unit, notes=notes, time_step=step)
    native = _Native("plain", resolution=resolution, description=page.description)
    shaped = _json(page.description)
    names = shaped.get("channels")
    channels = tuple(map(str, names)) if isinstance(names, list) and names else None
    step = time_step(_positive(shaped.get("time_step")) or 0.0, "s")
    if isinstance(shaped.get("spacing"), dict):
        sizes = {
            letter: size
            for letter, one in shaped["spacing"].items()
            if letter in tuple("ZYX") and (size := _positive(one))
        }
        unit = next((one for one in MILLIMETRES if one == shaped.get("unit")), None)
        return _Told(native, sizes, unit if sizes else None, channels, time_step=step)
    if not known and any(size != 1 for size in pixel.values()):
        note = f"its resolution is in the unknown unit {per} (ResolutionUnit), and is left out: lengths are in voxels."
        return _Told(native, channels=channels, notes=(note,))
    if per in _RESOLUTION_UNITS:
        spacing, unit = in_one_unit(
            {letter: (size, _RESOLUTION_UNITS[per]) for letter, size in pixel.items()}
        )
        notes = ("its slice distance is not in the file, so lengths are in voxels.",) if "Z" in axes else ()
        return _Told(native, spacing, unit, channels, notes)
    if per == _INCH and pixel and any(size != 1 for size in pixel.values()):
        note = "its resolution per inch is taken as a print size, not as a voxel size."
        return _Told(native, channels=channels, notes=(note,))
    return _Told(native, channels=channels, time_step=step)


def _positive(number: Any) -> float | None:
    """A size from a file, a number or text; None if it is not finite or not above 0."""
    size = real(str(number))
    return size if size > 0 else None


def _per_pixel(ratio: Any) -> float | None:
    """The size of a pixel from a tag of resolution; None if that is no ratio of numbers above 0."""
    if not (
        isinstance(ratio, tuple)
        and len(ratio) == 2
        and all(isinstance(one, int) and one > 0 for one in ratio)
    ):
        return None
    return float(ratio[1] / ratio[0])


def _mark(description: str, key: str) -> int | None:
    """The number after one of our keys, in a description of any flavour."""
    found = re.search(key + r"(?:\W|quot)*(\d+)", description)
    return int(found[1]) if found else None


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _read_ome(xml: str, number: int) -> _Told:
    root = ElementTree.fromstring(xml)
    every = root.findall(".//{*}Pixels")
    # Each series is an image of the metadata; coarser or broken ones may be missing.
    pixels = every[min(number, len(every) - 1)] if every else None
    extra = tuple(
        name
        for name in ("Instrument", "ROI", "StructuredAnnotations")
        if root.find(f".//{{*}}{name}") is not None
    )
    if pixels is None:
        return _Told(_Native("ome", extra_ome=extra))
    sizes = {}
    for letter in "XYZ":
        if size := _positive(pixels.get(f"PhysicalSize{letter}")):
            sizes[letter] = (size, pixels.get(f"PhysicalSize{letter}Unit", "µm"))
    spacing, unit = in_one_unit(sizes)
    names = tuple(channel.get("Name") or "" for channel in pixels.findall("{*}Channel"))
    increment, per = pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s")
    size = _positive(increment)
    native = _Native(
        "ome",
        description=root.findtext(".//{*}Image/{*}Description") or "",
        extra_ome=extra,
        time_increment=(increment, per) if increment and size else None,
    )
    notes = tuple(sizeless(letter for letter in sizes if letter not in spacing))
    return _Told(
        native,
        spacing,
        unit,
        names if all(names) and len(names) > 1 else None,
        notes,
        time_step(size or 0.0, per),
    )


def _in_page_order(volume: Volume, array: Array, flavour: str) -> tuple[Array, str, list[str]]:
    axes, lost = volume.axes, []
    for axis in volume.mapped_axes:
        if axis not in "TC":
            free = next((letter for letter in "TC" if letter not in axes), None)
            if free is None:
                raise InputError(f"TIFF holds time and channel beside space, not axes {axes!r}; write .npy.")
            lost.append(f"TIFF has no name for axis {axis!r}; it is written as {free!r}.")
            axes = axes.replace(axis, free)
    # ImageJ has one order; elsewhere it is that of the source, or the usual one.
    pages = [letter for letter in "TZC" if letter in axes]
    if flavour != "imagej":
        kept = volume.source.header if volume.source else None
        before = kept.axes.partition("Y")[0] if isinstance(kept, Kept) and kept.format == Tiff.name else ""
        pages = sorted(pages, key=(before if set(pages) <= set(before) else "TCZ").index)
    order = [axes.index(letter) for letter in (*pages, "Y", "X")]
    return array.transpose(order), "".join(axes[i] for i in order), lost


def _sizes(volume: Volume) -> dict[str, float]:
    return dict(zip(volume.spatial_axes, volume.spacing or (), strict=False))


def _ome_options(
    volume: Volume, axes: str, native: _Native, signature: dict[str, Any], seconds: float | None
) -> tuple[dict[str, Any], list[str]]:
    metadata: dict[str, Any] = {"axes": axes}
    for letter, size in _sizes(volume).items():
        metadata[f"PhysicalSize{letter}"] = size
        # OME counts in micrometres unless told otherwise; "pixel" is its word for an unknown unit.
        metadata[f"PhysicalSize{letter}Unit"] = _OME_UNITS.get(volume.unit or "", "pixel")
    if volume.channels and "C" in axes:
        metadata["Channel"] = {"Name": list(volume.channels)}
    if native.time_increment and "T" in axes:
        metadata["TimeIncrement"], metadata["TimeIncrementUnit"] = native.time_increment
    elif seconds is not None:
        metadata["TimeIncrement"], metadata["TimeIncrementUnit"] = seconds, "s"
    if signature:
        metadata["Description"] = json.dumps(signature, default=str)
    lost = [f"the OME metadata {', '.join(native.extra_ome)} are not copied."] if native.extra_ome else []
    return {"ome": True, "metadata": metadata}, lost


def _imagej_options(
    volume: Volume, axes: str, native: _Native, signature: dict[str, Any], seconds: float | None
) -> tuple[dict[str, Any], list[str]]:
    sizes, lost = _sizes(volume), []
    metadata: dict[str, Any] = {
        "axes": axes,
        "min": 0,
        "max": signature.get(LABELS, signature.get(ONE, 1)),
    }
    kept = native.imagej
    metadata.update(kept)
    if seconds is not None and "finterval" not in kept:
        metadata["finterval"], metadata["tunit"] = seconds, "sec"
    planes = int(
        np.prod([volume.array.shape[volume.axes.index(a)] for a in axes if a in volume.axes and a in "TZC"])
    )
    if len(metadata.get("Labels", ())) not in (0, planes):
        del metadata["Labels"]
    if volume.unit is not None and length(1.0, metadata.get("unit", ""))[1] != volume.unit:
        metadata["unit"] = {"um": "micron"}.get(volume.unit, volume.unit)
    factor = length(1.0, metadata.get("unit", ""))[0]
    if "Z" in sizes:
        metadata["spacing"] = sizes["Z"] / factor
    metadata.update((key, signature[key]) for key in (ONE, LABELS) if key in signature)
    if signature:
        metadata["Info"] = "\n".join(filter(None, [kept.get("Info", ""), json.dumps(signature, default=str)]))
    if volume.channels:
        lost.append(
            f"ImageJ's TIFF cannot hold the channel names {', '.join(volume.channels)}; .ome.tif can."
        )
    options: dict[str, Any] = {"imagej": True, "metadata": metadata}
    if sizes:
        options["resolution"] = (factor / sizes["X"], factor / sizes["Y"])
    return options, lost


def _plain_options(
    volume: Volume, axes: str, native: _Native, signature: dict[str, Any], seconds: float | None
) -> tuple[dict[str, Any], list[str]]:
    metadata: dict[str, Any] = {"axes": axes, **signature}
    if seconds is not None:
        metadata["time_step"] = seconds
    lost = []
    if volume.spacing is not None:
        metadata["spacing"], metadata["unit"] = _sizes(volume), volume.unit
    if volume.channels:
        metadata["channels"] = list(volume.channels)
        lost.append(f"few programs find the channel names {', '.join(volume.channels)} in a plain TIFF.")
    # The name alone would make an OME-TIFF of it.
    options: dict[str, Any] = {"ome": False, "metadata": metadata}
    if native.resolution:
        x, y, per = native.resolution
        options["resolution"], options["resolutionunit"] = (x, y), per
    if native.description and not _json(native.description):
        options["metadata"]["description"] = native.description
    return options, lost


@contextmanager
def _quiet() -> Iterator[list[str]]:
    """Collect tifffile's log instead of letting it print."""
    logger = logging.getLogger("tifffile")
    said: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    collect, propagate, disabled = Collect(logging.WARNING), logger.propagate, logger.disabled
    logger.addHandler(collect)
    logger.propagate = logger.disabled = False
    try:
        yield said
    finally:
        logger.removeHandler(collect)
        logger.propagate, logger.disabled = propagate, disabled
