"""From a Volume to a file: undo what reading did to the axes, encode the values, replace in one step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from softmorph_cli.errors import InputError
from softmorph_cli.files import replacing
from softmorph_cli.io.formats import target_format
from softmorph_cli.io.raw import SLICE, Array, Format, Kept, Provenance
from softmorph_cli.io.select import restore_affine
from softmorph_cli.volume import Volume


def write(
    volume: Volume,
    path: str | Path,
    *,
    output_type: str | None = None,
    force: bool = False,
    provenance: Provenance | None = None,
) -> list[str]:
    """Write a map in the format its name says; the old file or the new one is there, never half a file.

    Args:
        volume: The map.
        path: Where to; .nii.gz, .nii, .tif, .ome.tif, .png, .nrrd, .mha or .npy.
        output_type: float32, float16 (TIFF, .npy), uint8, uint16, or "mask" for a map of 0 and 1 that is
            stored as such. By default float32, uint16 in PNG, and the map's own type in .npy.
        force: Whether an existing file may be replaced.
        provenance: What made the file (command, version, parameters); stored where the format can hold it.

    Returns:
        What the file could not keep, one sentence each.

    Raises:
        FileError: If the file cannot or may not be written.
        InputError: If the format cannot hold this map.
        UsageError: If the suffix is unknown or the format cannot store `output_type`.
    """
    path = Path(path)
    family = target_format(path, output_type)
    if output_type is None:
        output_type = str(volume.array.dtype) if family.name == "npy" else family.output_types[0]
    volume = _as_filed(volume, family)
    with replacing(path, force=force) as temporary:
        array, one = _encode(volume.array, output_type)
        lost = family.write(volume, array, temporary, one=one, provenance=provenance or {})
    return [*_lost(volume, family, output_type), *lost]


def _as_filed(volume: Volume, family: Format) -> Volume:
    """Slices become z again, and a spatial axis of size one comes back where it was."""
    kept = volume.source.header if volume.source else None
    kept = kept if isinstance(kept, Kept) else None
    axes = volume.axes
    if SLICE in axes and volume.spatial_dims == 2:
        array = np.moveaxis(volume.array, axes.index(SLICE), -3)
        spacing = volume.spacing
        if spacing is not None:
            spacing = (kept.spacing["Z"], *spacing) if kept and "Z" in kept.spacing else None
        axes = axes.replace(SLICE, "")[:-2] + "ZYX"
        return replace(volume, array=array, axes=axes, spacing=spacing)
    if "stack" not in family.holds:
        flat = [i for i, size in enumerate(volume.array.shape[:-2]) if size == 1]
        if not flat:
            return volume
        axes = "".join(axis for i, axis in enumerate(axes) if i not in flat)
        spacing = volume.spacing[-2:] if volume.spacing else None
        return replace(volume, array=np.squeeze(volume.array, tuple(flat)), axes=axes, spacing=spacing)
    if kept is None or kept.dropped is None or volume.spatial_dims != 2:
        return volume
    at = "ZYX".index(kept.dropped)
    spacing = volume.spacing
    if spacing is not None:
        size = kept.spacing.get(kept.dropped)
        spacing = None if size is None else (*spacing[:at], size, *spacing[at:])
    return replace(
        volume,
        array=np.expand_dims(volume.array, len(volume.mapped_axes) + at),
        axes=volume.mapped_axes + "ZYX",
        spacing=spacing,
        affine=None if volume.affine is None else restore_affine(volume.affine, kept.dropped),
    )


def _encode(array: Array, output_type: str) -> tuple[Array, int]:
    """The numbers to store, and the one that stands for 1."""
    if output_type == "mask":
        if not ((array == 0) | (array == 1)).all():
            raise InputError(
                "a mask holds only 0 and 1; this map has values between them: write it as float32."
            )
        return array.astype(np.uint8), 1
    if output_type in ("uint8", "uint16"):
        top = int(np.iinfo(output_type).max)
        return np.rint(array * array.dtype.type(top)).astype(output_type), top
    return array.astype(output_type, copy=False), 1


def _lost(volume: Volume, family: Format, output_type: str) -> list[str]:
    lost = []
    if output_type == "uint8":
        lost.append("uint8 keeps 256 steps: values are rounded by up to 0.002.")
    if output_type == "float16":
        lost.append("float16 keeps 11 bits: values are rounded by up to 0.00025.")
    if volume.spacing is not None and "spacing" not in family.holds:
        lost.append(f"{family.title} cannot hold the voxel size.")
    if volume.affine is not None and "affine" not in family.holds:
        lost.append(f"{family.title} cannot hold orientation and origin (the affine).")
    if volume.channels and family.name in ("nifti", "npy"):
        lost.append(f"{family.title} cannot hold the channel names {', '.join(volume.channels)}.")
    return lost
