"""Writes a `Volume` to a file: restores the axes of the source, encodes the values, replaces the file in one step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Concatenate, Final, Literal, ParamSpec

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.io import named_classes
from softmorph_cli.io.formats import label_type, target_format
from softmorph_cli.io.omezarr import OmeZarr, is_plain
from softmorph_cli.io.options import WRITE_DEFAULT, Pooling, WriteOptions
from softmorph_cli.io.raw import Array, Encoding, Format, Kept, Provenance, time_step_of
from softmorph_cli.io.select import restore_affine
from softmorph_cli.kernels.level_sets import LevelSets, nested_levels
from softmorph_cli.system.files import replacing, replacing_store
from softmorph_cli.system.parameters import adopt_signature, declared
from softmorph_cli.volume import SLICE, Volume

P = ParamSpec("P")
_EXAMPLE: Final = """
>>> import numpy as np
>>> write(Volume(np.eye(2), "YX", spacing=(0.5, 0.5), unit="mm"), "map.npy", output_type="float32")
['NumPy cannot hold the voxel size.']
>>> read("map.npy").array[0]
array([1., 0.], dtype=float32)
""".strip()


def write_map(volume: Volume, path: str | Path, options: WriteOptions = WRITE_DEFAULT) -> list[str]:
    """Write a map to a file in the format of its suffix; an existing file is replaced in one step.

    Args:
        volume: The map.
        path: The path of the file, whose suffix states the format: .nii.gz, .nii, .tif, .ome.tif, .png, .nrrd, .mha,
            .npy or .zarr (OME-Zarr).
        options: How it is written; the output type may also be "mask", for a map of 0 and 1 that is stored as such.
            If the provenance states the levels of a nested skeleton, thresholds at these levels select the same
            voxels in the file as in the map.

    Returns:
        Notes on data and metadata that the file cannot hold, one sentence each.

    Raises:
        FileError: If the file cannot or may not be written.
        InputError: If the format cannot hold this map.
        UsageError: If `volume` is no `Volume`, the suffix is unknown, the format cannot store the output type, or this
            type cannot distinguish so many levels.
    """
    if not isinstance(volume, Volume):
        raise UsageError(
            f"what is written is a Volume, which has axes and a voxel size, not {type(volume).__name__}: pass "
            'Volume(array, "YX"), of a 3D array "ZYX", with spacing=(...) and unit="mm" where they are known.'
        )
    path = Path(path)
    family = target_format(path, options)
    kind = _kind(family, options.output_type, volume.array)
    levels = nested_levels(options.provenance or {})
    lost = _store(
        volume, volume.array, path, family, options, lambda array: encode(array, kind, levels), labels=False
    )
    return [*rounding_lost(kind, levels), *lost, *coarser_lost(levels, options.pooling)]


def _by_keywords(
    make: Callable[P, WriteOptions],
) -> Callable[Concatenate[Volume, str | Path, P], list[str]]:
    """Return a function like `write_map` that takes the options as keyword arguments."""

    def write(volume: Volume, path: str | Path, *args: P.args, **kwargs: P.kwargs) -> list[str]:
        return write_map(volume, path, make(*args, **kwargs))

    adopt_signature(write, write_map, declared(make).values(), _EXAMPLE)
    # The volume and the path may be given by name too, which no ParamSpec can say.
    return write  # type: ignore[return-value]


write = _by_keywords(WriteOptions)


def as_stored(array: Array, path: Path, output_type: str | None = None) -> Array:
    """Return the values that `read` would return if `write` stored the array, in the type of the array.

    Args:
        array: Probabilities.
        path: The path of the file, by whose suffix `write` would choose the format.
        output_type: The type of the stored numbers, such as "uint8"; None for the default of the format.

    Raises:
        UsageError: If the suffix is unknown or the format cannot store the output type.
    """
    family = target_format(path, WriteOptions(output_type=output_type))
    stored, one = encode(array, _kind(family, output_type, array))
    if stored.dtype.kind == "f":
        return stored.astype(array.dtype, copy=False)
    # Bit for bit what `read` does: it multiplies by the slope of a file, and divides a bare array by `divide_by`.
    numbers, scale = stored.astype(np.float32), np.float32(1 / one)
    read: Array = numbers / np.float32(one) if family.name == "npy" else numbers * scale
    return read.astype(array.dtype, copy=False)


def _kind(family: Format, output_type: str | None, array: Array) -> str:
    if output_type is not None:
        return output_type
    return str(array.dtype) if family.name == "npy" else family.output_types[0]


def write_labels(
    labels: npt.NDArray[Any], like: Volume, path: str | Path, options: WriteOptions = WRITE_DEFAULT
) -> list[str]:
    """Write a label image, in which 0 is the background, with the geometry of a map.

    Labels are stored unscaled, in the smallest of uint8, uint16 and uint32 that holds the highest label. Every format
    but .npy marks the numbers as labels, so that `read` asks for a label instead of taking 255 as probability 1; labels
    0 and 1 alone are read as a mask.

    Args:
        labels: The labels, integers from 0, of the shape of `like`.
        like: The map whose axes, geometry and source are those of the labels; its values are not used.
        path: The path of the file, with a suffix that `write` accepts; PNG holds one image with labels up to 65535.
        options: The options of writing, whose output type is not used; coarser resolutions take every second label
            along each axis.

    Returns:
        Notes on data and metadata that the file cannot hold, one sentence each.

    Raises:
        FileError: If the file cannot or may not be written.
        InputError: If the labels are no integers from 0, of another shape, or more than the format can hold.
        UsageError: If the suffix is unknown.
    """
    path = Path(path)
    family = target_format(path, replace(options, output_type="labels"))
    if labels.shape != like.array.shape:
        raise InputError(f"labels of shape {labels.shape} do not fit a map of shape {like.array.shape}.")
    if labels.dtype.kind not in "biu" or (labels.dtype.kind == "i" and labels.min() < 0):
        raise InputError(f"labels are integers from 0; these are {labels.dtype} from {labels.min():g}.")
    kind = label_type(int(labels.max()), path, family)
    return _store(like, labels, path, family, options, lambda array: (array.astype(kind), 1), labels=True)


def _store(
    volume: Volume,
    array: Array,
    path: Path,
    family: Format,
    options: WriteOptions,
    encode: Callable[[Array], tuple[Array, int]],
    *,
    labels: bool,
) -> list[str]:
    """Write `array`, encoded by `encode`, to a file with the geometry of `volume`; return notes on losses."""
    volume, array = as_filed(volume, array, family)
    if _placeless(volume) and not isinstance(family, OmeZarr):
        volume = replace(volume, affine=None)
    replace_it = replacing_store if isinstance(family, OmeZarr) else replacing
    with replace_it(path, force=options.force) as temporary:
        stored, one = encode(array)
        pooling: Pooling | None = "nearest" if labels and options.pyramid else options.pooling
        encoding = Encoding(one, labels, options.provenance or {}, pooling)
        lost = family.write(volume, stored, temporary, encoding)
    return [*_lost(volume, family, options.provenance or {}), *lost]


def as_filed(volume: Volume, array: Array, family: Format) -> tuple[Volume, Array]:
    """Return a map with the axes of the file: axis "S" of slices becomes "Z", and a dropped spatial axis is restored.

    Args:
        volume: The map.
        array: An array of the shape of the map, such as labels.
        family: The format to write.

    Returns:
        The map with the axes of the file, and `array` with the same axes.
    """
    kept = volume.source.header if volume.source else None
    kept = kept if isinstance(kept, Kept) else None
    axes, spacing = volume.axes, volume.spacing

    def moved(move: Callable[[Array], Array], **changes: Any) -> tuple[Volume, Array]:
        return replace(volume, array=move(volume.array), **changes), move(array)

    if SLICE in axes and volume.spatial_dims == 2:
        slices = axes.index(SLICE)
        if spacing is not None:
            spacing = (kept.spacing["Z"], *spacing) if kept and "Z" in kept.spacing else None
        axes = axes.replace(SLICE, "")[:-2] + "ZYX"
        return moved(lambda a: np.moveaxis(a, slices, -3), axes=axes, spacing=spacing)
    if "stack" not in family.holds:
        flat = tuple(i for i, size in enumerate(volume.array.shape[:-2]) if size == 1)
        if not flat:
            return volume, array
        axes = "".join(axis for i, axis in enumerate(axes) if i not in flat)
        spacing = spacing[-2:] if spacing else None
        return moved(lambda a: np.squeeze(a, flat), axes=axes, spacing=spacing)
    if kept is None or kept.dropped is None or volume.spatial_dims != 2:
        return volume, array
    at = "ZYX".index(kept.dropped)
    if spacing is not None:
        size = kept.spacing.get(kept.dropped)
        spacing = None if size is None else (*spacing[:at], size, *spacing[at:])
    return moved(
        lambda a: np.expand_dims(a, len(volume.mapped_axes) + at),
        axes=volume.mapped_axes + "ZYX",
        spacing=spacing,
        affine=None if volume.affine is None else restore_affine(volume.affine, kept.dropped),
    )


def encode(
    array: Array, output_type: str, levels: LevelSets | Literal["exact"] | None = None
) -> tuple[Array, int]:
    """Convert probabilities to the numbers to store; return them and the number that represents 1.

    Args:
        array: Probabilities.
        output_type: The type of the stored numbers, such as "uint8", or "mask" for a map of 0 and 1.
        levels: The levels of a nested skeleton: rounding moves no value across a level. "exact" changes nothing,
            because rounding preserves the order of values, so each threshold set of the file is one of the map.

    Raises:
        InputError: If a mask holds values between 0 and 1.
    """
    if output_type == "mask":
        if not ((array == 0) | (array == 1)).all():
            raise InputError(
                "a mask holds only 0 and 1; this map has values between them: write it as float32."
            )
        return array.astype(np.uint8), 1
    stored, one = array.astype(output_type, copy=False), 1
    if stored.dtype.kind == "u":
        one = int(np.iinfo(output_type).max)
        # Halves are rounded down: 0.5 would otherwise be stored as 128/255, which is above 0.5.
        scaled = array * array.dtype.type(one) - array.dtype.type(0.5)
        stored = np.ceil(scaled, out=scaled).astype(output_type)
    return (_within_bins(array, stored, levels) if isinstance(levels, LevelSets) else stored), one


def _within_bins(array: Array, stored: Array, levels: LevelSets) -> Array:
    """Return stored numbers corrected so that each lies between the same two levels as its probability.

    Args:
        array: Probabilities.
        stored: The rounded numbers.
        levels: The levels of a nested skeleton, which divide [0, 1] into bins.
    """
    low, high = levels.bounds(stored.dtype)
    # A skeleton is 0 nearly everywhere; NumPy finds the rest several times faster in one dimension.
    above = np.unravel_index(np.flatnonzero(array > levels.thresholds[0]), array.shape)
    bins, rounded = levels.bins(array[above]), stored[above]
    fitting = np.clip(rounded, low[bins], high[bins]).astype(stored.dtype)
    if (fitting == rounded).all():
        return stored
    stored = stored.copy() if np.shares_memory(stored, array) else stored
    stored[above] = fitting
    return stored


def rounding_lost(output_type: str, levels: LevelSets | Literal["exact"] | None) -> list[str]:
    """Return a list with a note on the rounding error; where levels are preserved, the error may be twice as large."""
    keeps, by = {"uint8": ("256 steps", 0.002), "float16": ("11 bits", 0.00025)}.get(output_type, ("", 0.0))
    if not keeps:
        return []
    if not isinstance(levels, LevelSets):
        return [f"{output_type} keeps {keeps}: values are rounded by up to {by:g}."]
    return [
        f"{output_type} keeps {keeps}: values are rounded by up to {2 * by:g}; its {levels.count} level sets stay."
    ]


def coarser_lost(levels: LevelSets | Literal["exact"] | None, pooling: Pooling | None) -> list[str]:
    """Return a list with a note that coarser resolutions are no nested skeletons; empty without levels.

    A maximum commutes with every threshold: a level of the coarser resolution is the level of the skeleton on larger
    voxels, whose lines are whole.
    """
    if levels is None or pooling != "mean":
        return []
    return [
        "only resolution 0 is the nested skeleton: coarser ones are means, and a threshold breaks their lines."
    ]


def _lost(volume: Volume, family: Format, provenance: Provenance) -> list[str]:
    lost = []
    if volume.spacing is not None and "spacing" not in family.holds:
        lost.append(f"{family.title} cannot hold the voxel size.")
    if volume.affine is not None and "affine" not in family.holds:
        lost.append(f"{family.title} cannot hold orientation and origin (the affine).")
    if "time" not in family.holds and time_step_of(volume) is not None:
        lost.append(f"{family.title} cannot hold the time step.")
    # NIfTI holds the provenance, from which softmorph reads the names again.
    stated = family.name == "nifti" and named_classes.FIELD in provenance
    if volume.channels and family.name in ("nifti", "npy", "mgh", "mrc") and not stated:
        lost.append(f"{family.title} cannot hold the channel names {', '.join(volume.channels)}.")
    return lost


def _placeless(volume: Volume) -> bool:
    """Return whether a map is from an OME-Zarr and its affine only scales by the voxel size.

    OME-Zarr has no anatomical directions, so other formats must not claim that the source had them.
    """
    return (
        volume.affine is not None
        and volume.source is not None
        and volume.source.format == OmeZarr.name
        and is_plain(volume)
    )
