"""TIFF: OME, ImageJ and plain, through tifffile (without imagecodecs, which is no dependency)."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.io.images import read_pixels
from softmorph_cli.io.provenance import SIGNATURE, parse
from softmorph_cli.io.raw import LABELS, ONE, Array, Provenance, Raw, kept_native
from softmorph_cli.io.tiles import stored_tiles
from softmorph_cli.units import MILLIMETRES, length
from softmorph_cli.volume import Volume

# Past this many bytes classic TIFF's 32-bit offsets end; some room is left for the tags.
CLASSIC_LIMIT = 2**32 - 2**25

_PALETTE = 3
_MINISWHITE = 0
_INCH, _CENTIMETRE = 2, 3
# Lossless codecs that tifffile lacks on its own and SimpleITK's libtiff has.
_LIBTIFF_CODECS = ("LZW", "PACKBITS")
_BROKEN = re.compile(r"invalid page offset|corrupted|invalid offset|truncated|missing data")
_IMAGEJ_TYPES = ("uint8", "uint16", "float32")
_OME_TYPES = (*_IMAGEJ_TYPES, "uint32")
_OME_UNITS = {"mm": "mm", "um": "µm", "nm": "nm"}


@dataclass(frozen=True)
class _Native:
    """What a TIFF's writer wants back: which flavour it is, and its own metadata."""

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
    """

    lazy: bool = False
    name: str = "tiff"
    title: str = "TIFF"
    suffixes: tuple[str, ...] = (".tif", ".tiff", ".btf", ".tf8")
    output_types: tuple[str, ...] = ("float32", "float16", "uint8", "uint16")
    holds: frozenset[str] = frozenset({"spacing", "stack", "channels", "uint32"})

    def recognises(self, head: bytes) -> bool:
        """Whether the mark of a classic or a big TIFF, in either byte order, is there."""
        return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

    def read(self, path: Path) -> Raw:
        """Read the first series with the axes its metadata give it."""
        import tifffile

        with _quiet() as complaints, tifffile.TiffFile(path) as file:
            series = file.series[0]
            page = series.keyframe
            if page.photometric == _PALETTE:
                raise InputError(
                    f"{path} is a TIFF with a colour palette, whose numbers are colours; "
                    "save it as grey first."
                )
            if any(one is None for one in series.pages):
                raise FileError(f"{path} is one part of a multi-file OME-TIFF and other parts are missing.")
            array = stored_tiles(path, series) if self.lazy else _pixels(path, series)
            axes, notes = _axes(series.axes)
            if len(file.series) > 1:
                notes.append(f"it holds {len(file.series)} image series; the first is read.")
            if page.photometric == _MINISWHITE and array.dtype != np.bool_:
                notes.append("it is marked 'white is zero'; its numbers are taken as they are stored.")
            kind, native, spacing, unit, channels, told = _metadata(file, page, axes or "")
            if broken := next(filter(_BROKEN.search, complaints), None):
                # What tifffile can still make out of a file cut short would pass for the whole of it.
                raise ValueError(broken)
            one, labels = _mark(page.description, ONE), _mark(page.description, LABELS) is not None
        return Raw(
            array=array,
            axes=axes,
            format=self.name,
            shape=array.shape,
            dtype=str(array.dtype),
            spacing=spacing,
            unit=unit,
            channels=channels,
            slope=1 / one if one and array.dtype.kind in "ui" else 1.0,
            full_scale=not labels,
            colour=kind == "colour",
            labels=labels,
            provenance=parse(native.description, str(native.imagej.get("Info", ""))),
            native=native,
            notes=(*notes, *told),
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
        array, axes, renamed = _in_page_order(volume, array)
        lost += renamed
        signature: dict[str, Any] = {SIGNATURE: dict(provenance)} if provenance else {}
        if labels:
            signature[LABELS] = int(array.max())
        elif one != 1:
            signature[ONE] = one
        prepare = {"ome": _ome_options, "imagej": _imagej_options, "plain": _plain_options}[flavour]
        options, more = prepare(volume, axes, native, signature)
        lost += more
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


def _pixels(path: Path, series: Any) -> Array:
    try:
        return np.asarray(series.asarray())
    except (ValueError, KeyError) as error:
        if "imagecodecs" not in str(error):
            raise
        codec = series.keyframe.compression.name
        if codec in _LIBTIFF_CODECS:
            # Another decoder of the same pages; only believed where it agrees on size and type.
            array = read_pixels(path, "TIFFImageIO")
            if array.size == np.prod(series.shape) and array.dtype == series.dtype:
                return array.reshape(series.shape)
        raise FileError(
            f"{path} is compressed with {codec}, which needs one more package: pip install imagecodecs "
            "(or save the file with deflate or no compression)."
        ) from error


def _axes(found: str) -> tuple[str | None, list[str]]:
    """The letters of tifffile -> ours: samples are channels, and one nameless axis of pages is Z."""
    axes = found.replace("S", "V" if "C" in found else "C")
    nameless = [axis for axis in axes if axis not in "TZCYXV"]
    if nameless and (len(nameless) > 1 or "Z" in axes):
        return None, []
    if nameless:
        note = (
            "its pages have no named axis and are taken as slices along z; "
            "--axes TYX or --per-slice changes it."
        )
        return axes.replace(nameless[0], "Z"), [note]
    return axes, []


def _metadata(
    file: Any, page: Any, axes: str
) -> tuple[str, _Native, dict[str, float], str | None, tuple[str, ...] | None, list[str]]:
    kind = "colour" if "S" in file.series[0].axes else "grey"
    tags = [page.tags.get(name) for name in ("XResolution", "YResolution", "ResolutionUnit")]
    x, y, per = (tag.value if tag is not None else None for tag in tags)
    resolution = (x, y, int(per or _INCH)) if x and y else None
    pixel = {
        letter: ratio[1] / ratio[0]
        for letter, ratio in (("X", x), ("Y", y))
        if ratio and ratio[0] and ratio[1]
    }
    if file.is_ome and file.ome_metadata:
        native, spacing, unit, channels = _read_ome(file.ome_metadata)
        return kind, native, spacing, unit, channels, []
    if file.is_imagej:
        told = dict(file.imagej_metadata or {})
        step, unit = length(1.0, str(told.get("unit", "")))
        spacing = {letter: size * step for letter, size in pixel.items()}
        if told.get("spacing"):
            spacing["Z"] = abs(float(told["spacing"])) * step
        if unit is None and all(size == 1 for size in spacing.values()):
            spacing = {}
        return kind, _Native("imagej", imagej=told, resolution=resolution), spacing, unit, None, []
    native = _Native("plain", resolution=resolution, description=page.description)
    shaped = _json(page.description)
    if shaped.get("spacing"):
        return kind, native, dict(shaped["spacing"]), shaped.get("unit"), None, []
    if per == _CENTIMETRE:
        spacing = {letter: 10 * size for letter, size in pixel.items()}
        notes = ["its slice distance is not in the file, so lengths are in voxels."] if "Z" in axes else []
        return kind, native, spacing, "mm", None, notes
    if per == _INCH and pixel and any(size != 1 for size in pixel.values()):
        return (
            kind,
            native,
            {},
            None,
            None,
            ["its resolution per inch is taken as a print size, not as a voxel size."],
        )
    return kind, native, {}, None, None, []


def _mark(description: str, key: str) -> int | None:
    """The number beside one of our keys, in any of the three flavours."""
    found = re.search(key + r"(?:\W|quot)*(\d+)", description)
    return int(found[1]) if found else None


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _read_ome(xml: str) -> tuple[_Native, dict[str, float], str | None, tuple[str, ...] | None]:
    root = ElementTree.fromstring(xml)
    pixels = root.find(".//{*}Pixels")
    extra = tuple(
        name
        for name in ("Instrument", "ROI", "StructuredAnnotations")
        if root.find(f".//{{*}}{name}") is not None
    )
    if pixels is None:
        return _Native("ome", extra_ome=extra), {}, None, None
    spacing, unit = {}, None
    for letter in "XYZ":
        size = float(pixels.get(f"PhysicalSize{letter}") or 0)
        if size > 0:
            value, name = length(size, pixels.get(f"PhysicalSize{letter}Unit", "µm"))
            unit = unit or name
            # X names the unit; a file may give Z in another one.
            factor = MILLIMETRES[name] / MILLIMETRES[unit] if name and unit else 1.0
            spacing[letter] = value * factor
    names = tuple(channel.get("Name") or "" for channel in pixels.findall("{*}Channel"))
    step = pixels.get("TimeIncrement")
    native = _Native(
        "ome",
        description=root.findtext(".//{*}Image/{*}Description") or "",
        extra_ome=extra,
        time_increment=(step, pixels.get("TimeIncrementUnit", "s")) if step else None,
    )
    return native, spacing, unit, names if all(names) and len(names) > 1 else None


def _in_page_order(volume: Volume, array: Array) -> tuple[Array, str, list[str]]:
    axes, lost = volume.axes, []
    for axis in volume.mapped_axes:
        if axis not in "TC":
            free = next((letter for letter in "TC" if letter not in axes), None)
            if free is None:
                raise InputError(f"TIFF holds time and channel beside space, not axes {axes!r}; write .npy.")
            lost.append(f"TIFF has no name for axis {axis!r}; it is written as {free!r}.")
            axes = axes.replace(axis, free)
    order = [axes.index(letter) for letter in "TZCYX" if letter in axes]
    return array.transpose(order), "".join(axes[i] for i in order), lost


def _sizes(volume: Volume) -> dict[str, float]:
    return dict(zip(volume.spatial_axes, volume.spacing or (), strict=False))


def _ome_options(
    volume: Volume, axes: str, native: _Native, signature: dict[str, Any]
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
    if signature:
        metadata["Description"] = json.dumps(signature, default=str)
    lost = [f"the OME metadata {', '.join(native.extra_ome)} are not copied."] if native.extra_ome else []
    return {"ome": True, "metadata": metadata}, lost


def _imagej_options(
    volume: Volume, axes: str, native: _Native, signature: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    sizes, lost = _sizes(volume), []
    metadata: dict[str, Any] = {
        "axes": axes,
        "min": 0,
        "max": signature.get(LABELS, signature.get(ONE, 1)),
    }
    kept = native.imagej
    for key in ("finterval", "fps", "tunit", "mode", "loop", "LUTs", "Labels", "unit", "Info"):
        if key in kept:
            metadata[key] = kept[key]
    planes = int(
        np.prod([volume.array.shape[volume.axes.index(a)] for a in axes if a in volume.axes and a in "TZC"])
    )
    if len(metadata.get("Labels", ())) not in (0, planes):
        del metadata["Labels"]
    if volume.unit is not None and length(1.0, metadata.get("unit", ""))[1] != volume.unit:
        metadata["unit"] = {"um": "micron"}.get(volume.unit, volume.unit)
    _, factor = 1.0, length(1.0, metadata.get("unit", ""))[0]
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
    volume: Volume, axes: str, native: _Native, signature: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    metadata: dict[str, Any] = {"axes": axes, **signature}
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
