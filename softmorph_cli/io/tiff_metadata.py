"""Reads and writes TIFF metadata of each flavour (OME, ImageJ, plain): voxel size, unit, time step, channels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Final
from xml.etree import ElementTree

from softmorph_cli.errors import InputError
from softmorph_cli.io.itk_headers import real
from softmorph_cli.io.raw import LABELS, ONE, Array, Kept
from softmorph_cli.system.units import MILLIMETRES, TimeStep, in_one_unit, length, sizeless, time_step
from softmorph_cli.volume import Volume

OME_TYPES = ("uint8", "uint16", "float32", "uint32")
# "pixel" is OME's name of an unknown unit.
_OME_UNITS = {"mm": "mm", "um": "µm", "nm": "nm"}

# ResolutionUnit; 4 and 5 are extensions.
_NO_UNIT, _INCH = 1, 2
_RESOLUTION_UNITS = {3: "cm", 4: "mm", 5: "um"}
# Types of the ImageJ metadata that are written again; tifffile parses text that looks like a number as one.
_IMAGEJ_KEPT: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("finterval", "fps"), (int, float)),
    **dict.fromkeys(("tunit", "mode", "unit", "Info"), str),
    **dict.fromkeys(("LUTs", "Labels"), list),
    "loop": bool,
}


@dataclass(frozen=True)
class Native:
    """Metadata of a TIFF that are written again with a result.

    Attributes:
        flavour: The kind of TIFF metadata: "ome", "imagej" or "plain".
        imagej: The metadata of ImageJ by key.
        resolution: The tags XResolution, YResolution and ResolutionUnit; None if they are missing or invalid.
        description: The description of the image.
        extra_ome: The names of OME elements that are not copied, such as "ROI".
        time_increment: The time step of OME and its unit, as text.
    """

    flavour: str
    imagej: Mapping[str, Any] = field(default_factory=dict)
    resolution: tuple[Any, Any, int] | None = None
    description: str = ""
    extra_ome: tuple[str, ...] = ()
    time_increment: tuple[str, str] | None = None


@dataclass(frozen=True)
class Metadata:
    """The metadata of an image series of a TIFF; each attribute has the meaning of the attribute of `Raw`."""

    native: Native
    spacing: Mapping[str, float] = field(default_factory=dict)
    unit: str | None = None
    channels: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    time_step: TimeStep | None = None


def read_metadata(file: Any, number: int, page: Any, axes: str) -> Metadata:
    """Return the metadata of an image series of a TIFF.

    Args:
        file: The open file, a `tifffile.TiffFile`.
        number: The index of the series.
        page: The first page of the series.
        axes: The letters of the axes of the series.
    """
    if file.is_ome and file.ome_metadata:
        return _read_ome(file.ome_metadata, number)
    tags = [page.tags.get(name) for name in ("XResolution", "YResolution", "ResolutionUnit")]
    x, y, per = (tag.value if tag is not None else None for tag in tags)
    # By the standard inches are the default, but programs that leave the tag out mean no unit.
    known = per in (None, _NO_UNIT, _INCH, *_RESOLUTION_UNITS)
    pixel = {
        letter: size for letter, ratio in (("X", x), ("Y", y)) if (size := _pixel_size(ratio)) is not None
    }
    resolution = (x, y, int(per or _NO_UNIT)) if known and len(pixel) == 2 else None
    if file.is_imagej:
        return _read_imagej(dict(file.imagej_metadata or {}), pixel, resolution)
    native = Native("plain", resolution=resolution, description=page.description)
    shaped = _json(page.description)
    names = shaped.get("channels")
    channels = tuple(map(str, names)) if isinstance(names, list) and names else None
    step = time_step(_positive(shaped.get("time_step")) or 0.0, "s")
    if isinstance(shaped.get("spacing"), dict):
        sizes = {
            letter: size
            for letter, stated in shaped["spacing"].items()
            if letter in tuple("ZYX") and (size := _positive(stated))
        }
        unit = next((unit for unit in MILLIMETRES if unit == shaped.get("unit")), None)
        return Metadata(native, sizes, unit if sizes else None, channels, time_step=step)
    if not known and any(size != 1 for size in pixel.values()):
        note = f"its resolution is in the unknown unit {per} (ResolutionUnit), and is left out: lengths are in voxels."
        return Metadata(native, channels=channels, notes=(note,))
    if per in _RESOLUTION_UNITS:
        spacing, unit = in_one_unit(
            {letter: (size, _RESOLUTION_UNITS[per]) for letter, size in pixel.items()}
        )
        notes = ("its slice distance is not in the file, so lengths are in voxels.",) if "Z" in axes else ()
        return Metadata(native, spacing, unit, channels, notes)
    if per == _INCH and pixel and any(size != 1 for size in pixel.values()):
        note = "its resolution per inch is taken as a print size, not as a voxel size."
        return Metadata(native, channels=channels, notes=(note,))
    return Metadata(native, channels=channels, time_step=step)


def _read_imagej(
    stated: dict[str, Any], pixel: Mapping[str, float], resolution: tuple[Any, Any, int] | None
) -> Metadata:
    sizes = dict(pixel)
    if depth := _positive(str(stated.get("spacing")).removeprefix("-")):
        sizes["Z"] = depth
    # "unit" is that of x, and of y and z if these have none.
    units = {letter: stated.get(f"{letter.lower()}unit", stated.get("unit")) for letter in sizes}
    spacing, unit = in_one_unit({letter: (size, units[letter]) for letter, size in sizes.items()})
    if unit is None and all(size == 1 for size in spacing.values()):
        spacing = {}
    notes = tuple(sizeless(letter for letter in sizes if spacing and letter not in spacing))
    kept = {
        key: stated[key]
        for key, kind in _IMAGEJ_KEPT.items()
        if isinstance(stated.get(key), kind) and (kind is bool or not isinstance(stated[key], bool))
    }
    step = time_step(kept.get("finterval", 0.0), str(kept.get("tunit", "s")))
    native = Native("imagej", imagej=kept, resolution=resolution)
    return Metadata(native, spacing, unit, notes=notes, time_step=step)


def _read_ome(xml: str, number: int) -> Metadata:
    root = ElementTree.fromstring(xml)
    images = root.findall(".//{*}Pixels")
    # Each series is an image of the metadata; coarser or broken ones may be missing.
    pixels = images[min(number, len(images) - 1)] if images else None
    extra = tuple(
        name
        for name in ("Instrument", "ROI", "StructuredAnnotations")
        if root.find(f".//{{*}}{name}") is not None
    )
    if pixels is None:
        return Metadata(Native("ome", extra_ome=extra))
    sizes = {}
    for letter in "XYZ":
        if size := _positive(pixels.get(f"PhysicalSize{letter}")):
            sizes[letter] = (size, pixels.get(f"PhysicalSize{letter}Unit", "µm"))
    spacing, unit = in_one_unit(sizes)
    names = tuple(channel.get("Name") or "" for channel in pixels.findall("{*}Channel"))
    increment, per = pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s")
    step = _positive(increment)
    native = Native(
        "ome",
        description=root.findtext(".//{*}Image/{*}Description") or "",
        extra_ome=extra,
        time_increment=(increment, per) if increment and step else None,
    )
    return Metadata(
        native,
        spacing,
        unit,
        names if all(names) and len(names) > 1 else None,
        tuple(sizeless(letter for letter in sizes if letter not in spacing)),
        time_step(step or 0.0, per),
    )


def _json(text: str) -> dict[str, Any]:
    """Parse the tag ImageDescription as a JSON object; return an empty object if it is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _positive(number: Any) -> float | None:
    """Convert a number or a text to a float; return None if it is not finite or not above 0."""
    size = real(str(number))
    return size if size > 0 else None


def _pixel_size(ratio: Any) -> float | None:
    """Return the size of a pixel from a resolution tag; None if the tag is no ratio of two positive integers."""
    if not isinstance(ratio, tuple) or len(ratio) != 2:
        return None
    if not all(isinstance(number, int) and number > 0 for number in ratio):
        return None
    return float(ratio[1] / ratio[0])


def in_page_order(volume: Volume, array: Array, flavour: str) -> tuple[Array, str, list[str]]:
    """Return an array transposed to the order of TIFF pages, its axis letters, and notes on renamed axes.

    Args:
        volume: The map, for its axes and source.
        array: The stored numbers, with the axes of `volume`.
        flavour: The kind of TIFF metadata: "ome", "imagej" or "plain".

    Raises:
        InputError: If the map has more than two axes beside space; TIFF names only time and channel.
    """
    axes, lost = volume.axes, []
    for axis in volume.mapped_axes:
        if axis not in "TC":
            free = next((letter for letter in "TC" if letter not in axes), None)
            if free is None:
                raise InputError(f"TIFF holds time and channel beside space, not axes {axes!r}; write .npy.")
            lost.append(f"TIFF has no name for axis {axis!r}; it is written as {free!r}.")
            axes = axes.replace(axis, free)
    # ImageJ has a fixed order; otherwise it is that of the source, or the usual one.
    pages = [letter for letter in "TZC" if letter in axes]
    if flavour != "imagej":
        kept = volume.source.header if volume.source else None
        before = kept.axes.partition("Y")[0] if isinstance(kept, Kept) and kept.format == "tiff" else ""
        pages = sorted(pages, key=(before if set(pages) <= set(before) else "TCZ").index)
    order = [axes.index(letter) for letter in (*pages, "Y", "X")]
    return array.transpose(order), "".join(axes[i] for i in order), lost


def _sizes(volume: Volume) -> dict[str, float]:
    return dict(zip(volume.spatial_axes, volume.spacing or (), strict=False))


def _ome_options(
    volume: Volume, axes: str, native: Native, signature: dict[str, Any], seconds: float | None
) -> tuple[dict[str, Any], list[str]]:
    metadata: dict[str, Any] = {"axes": axes}
    for letter, size in _sizes(volume).items():
        metadata[f"PhysicalSize{letter}"] = size
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
    volume: Volume, axes: str, native: Native, signature: dict[str, Any], seconds: float | None
) -> tuple[dict[str, Any], list[str]]:
    sizes, kept = _sizes(volume), native.imagej
    highest = signature.get(LABELS, signature.get(ONE, 1))
    metadata: dict[str, Any] = {"axes": axes, "min": 0, "max": highest, **kept}
    if seconds is not None and "finterval" not in kept:
        metadata["finterval"], metadata["tunit"] = seconds, "sec"
    shape = dict(zip(volume.axes, volume.array.shape, strict=True))
    planes = prod(shape.get(letter, 1) for letter in "TZC" if letter in axes)
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
    options: dict[str, Any] = {"imagej": True, "metadata": metadata}
    if sizes:
        options["resolution"] = (factor / sizes["X"], factor / sizes["Y"])
    if not volume.channels:
        return options, []
    names = ", ".join(volume.channels)
    return options, [f"ImageJ's TIFF cannot hold the channel names {names}; .ome.tif can."]


def _plain_options(
    volume: Volume, axes: str, native: Native, signature: dict[str, Any], seconds: float | None
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
    # Without ome=False the file name alone could make it an OME-TIFF.
    options: dict[str, Any] = {"ome": False, "metadata": metadata}
    if native.resolution:
        x, y, per = native.resolution
        options["resolution"], options["resolutionunit"] = (x, y), per
    if native.description and not _json(native.description):
        metadata["description"] = native.description
    return options, lost


# By flavour: returns the arguments of `tifffile.imwrite` that hold metadata, and notes on losses. Takes the volume,
# its axes in page order, metadata of the source, provenance and encoding by key, and the time step in seconds.
IMWRITE_OPTIONS: Final = {"ome": _ome_options, "imagej": _imagej_options, "plain": _plain_options}
