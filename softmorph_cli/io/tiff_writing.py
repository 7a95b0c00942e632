"""Axis order and metadata of a TIFF to be written, in each of its flavours."""

from __future__ import annotations

import json
from math import prod
from typing import Any

from softmorph_cli.errors import InputError
from softmorph_cli.io.raw import LABELS, ONE, Array, Kept
from softmorph_cli.io.tiff_metadata import Native, parse_json
from softmorph_cli.system.units import length
from softmorph_cli.volume import Volume

OME_TYPES = ("uint8", "uint16", "float32", "uint32")
# "pixel" is OME's name of an unknown unit.
_OME_UNITS = {"mm": "mm", "um": "µm", "nm": "nm"}


def in_page_order(volume: Volume, array: Array, flavour: str) -> tuple[Array, str, list[str]]:
    """Return an array with its axes in the order of pages, their letters, and notes on renamed axes.

    Raises:
        InputError: If it has more axes than TIFF names.
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


def write_options(
    flavour: str,
    volume: Volume,
    axes: str,
    native: Native,
    signature: dict[str, Any],
    seconds: float | None,
) -> tuple[dict[str, Any], list[str]]:
    """Return the arguments of `tifffile.imwrite` that hold metadata, and notes on what is lost.

    Args:
        flavour: "ome", "imagej" or "plain".
        volume: The map.
        axes: In the order of `in_page_order`.
        native: Metadata of the source.
        signature: Provenance and encoding, by key.
        seconds: The time step, or None.
    """
    prepare = {"ome": _ome_options, "imagej": _imagej_options, "plain": _plain_options}[flavour]
    return prepare(volume, axes, native, signature, seconds)


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
    if native.description and not parse_json(native.description):
        metadata["description"] = native.description
    return options, lost
