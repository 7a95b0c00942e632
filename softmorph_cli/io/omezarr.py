"""Reading and writing OME-Zarr images: NGFF 0.4 in Zarr version 2, and NGFF 0.5 in Zarr version 3."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from softmorph_cli.errors import FileError, InputError, UsageError
from softmorph_cli.io import ngff
from softmorph_cli.io.itk_headers import real, shown
from softmorph_cli.io.provenance import SIGNATURE, as_text, read_with, sound
from softmorph_cli.io.pyramid import create_coarser, pyramid_shapes
from softmorph_cli.io.raw import (
    ONE,
    REVERSED,
    Array,
    Encoding,
    Format,
    Provenance,
    Raw,
    kept_native,
    time_step_of,
)
from softmorph_cli.io.unnamed_axes import usual_axes
from softmorph_cli.io.zarr_reading import ZarrNode, held, missing_chunks, node, open_array
from softmorph_cli.io.zarr_writing import chunk_shape, create_array, create_group, store
from softmorph_cli.system.parameters import named
from softmorph_cli.system.units import MILLIMETRES, TimeStep, sizeless, time_step
from softmorph_cli.volume import Volume

_ROWS = {"Z": 2, "Y": 1, "X": 0}


@dataclass(frozen=True)
class StoreMetadata:
    """Metadata of an OME-Zarr that are written again with a result.

    Attributes:
        version: The NGFF version, "0.4" or "0.5".
        axes: The metadata of each axis, such as name and unit, by axis letter.
        scale: The step along each axis that is not spatial, by axis letter.
        translation: The position of the first index along each axis that is not spatial, by axis letter.
        omero: The settings for viewers, such as colours of channels.
    """

    version: str
    axes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    scale: Mapping[str, float] = field(default_factory=dict)
    translation: Mapping[str, float] = field(default_factory=dict)
    omero: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OmeZarr(Format):
    """The OME-Zarr format; arrays of a Zarr store without OME metadata are read too.

    Attributes:
        resolution: The index of the resolution to read, 0 for the finest; None reads the finest.
    """

    resolution: int | None = None
    name = "ome-zarr"
    output_types = ("float32", "uint8", "uint16")
    # `group_attributes` returns which part of an affine is lost.
    holds = frozenset({"spacing", "affine", "channels", "stack", "time", "uint32"})

    def recognises(self, head: bytes) -> bool:
        """Return False, because a Zarr store is a folder and has no first bytes; see `zarr_reading.is_node`."""
        return False

    def read(self, path: Path) -> Raw:
        """Open an image, a resolution of an image, or an array of a Zarr store; its values are read lazily."""
        found = node(path)
        if found is None:
            raise FileError(f"{path} is no node of a Zarr store.")
        image, level, array = _find_array(found, str(path), self.resolution)
        lazy = open_array(array, str(path))
        notes = list(image.notes) if image is not None else []
        if image is not None and found.kind == "group" and self.resolution is None and len(image.levels) > 1:
            last = len(image.levels) - 1
            others = named("resolution", 1) + (f" to {last} are" if last > 1 else " is")
            notes.append(f"it has {last + 1} resolutions; the finest is read, {others} coarser.")
        if note := missing_chunks(array, lazy, str(path)):
            notes.append(note)
        slope, inter = _scaling(array, str(path))
        if (slope, inter) != (1, 0):
            notes.append(
                f"its values are the stored numbers times {slope:g} plus {inter:g}, as its attributes say."
            )
        axes, more = _array_axes(array, lazy.shape)
        raw = Raw(
            array=cast(Array, lazy),
            axes=axes,
            format=self.name,
            shape=lazy.shape,
            dtype=str(lazy.dtype),
            slope=slope,
            inter=inter,
            native=StoreMetadata("0.5" if array.zarr_format == 3 else "0.4"),
            notes=(*notes, *(more if image is None else ())),
        )
        return raw if image is None or level is None else _with_geometry(raw, image, level, found, path)

    def write(
        self,
        volume: Volume,
        array: Array,
        path: Path,
        encoding: Encoding,
    ) -> list[str]:
        """Write an image into an empty folder, in the NGFF version of the source file; 0.4 if that is no OME-Zarr."""
        order, letters = filed_order(volume.axes)
        finest = np.ascontiguousarray(array.transpose(order))
        attributes, lost = group_attributes(
            volume,
            kept_native(volume, self.name),
            pyramid_shapes(finest.shape, letters) if encoding.pyramid else [finest.shape],
            encoding,
            name=stem(path),
            step=time_step_of(volume),
        )
        create_group(path, attributes)
        chunks = chunk_shape(finest.shape, letters)
        target = create_array(path / "0", attributes, finest.shape, finest.dtype, chunks, letters.lower())
        store(target, finest, chunks)
        if encoding.pyramid:
            create_coarser(path, attributes, finest, letters, pooling=encoding.pyramid)
        return lost


def group_attributes(
    place: Volume,
    native: StoreMetadata | None,
    shapes: list[tuple[int, ...]],
    encoding: Encoding,
    *,
    name: str,
    step: TimeStep | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """Return the attributes of the group of an OME-Zarr image, and notes on metadata that cannot be stored.

    Args:
        place: A map with the axes and the geometry; its values are not used.
        native: Metadata of the OME-Zarr that the map was read from, or None.
        shapes: The shapes of the resolutions, with axes in the order of `filed_order`.
        encoding: The meaning of the stored numbers.
        name: The name of the image.
        step: The time step of a map from another format.
    """
    native = native if isinstance(native, StoreMetadata) else StoreMetadata("0.4")
    if step is not None and "T" not in native.scale:
        axis = {"name": "t", **native.axes.get("T", {}), **({"unit": "second"} if step.known else {})}
        native = replace(native, axes={**native.axes, "T": axis}, scale={**native.scale, "T": step.size})
    _, letters = filed_order(place.axes)
    spatial = [letter for letter in letters if letter in "ZYX"]
    sizes = dict(zip(spatial, place.spacing or (1.0,) * len(spatial), strict=True))
    corner, lost = _origin(place, spatial)
    levels = []
    for number in range(len(shapes)):
        # The size of a voxel of this resolution in voxels of the finest one.
        by = {
            letter: 2.0 ** sum(before[i] > 1 for before in shapes[:number]) if letter in sizes else 1.0
            for i, letter in enumerate(letters)
        }
        scale = {a: (sizes[a] if a in sizes else native.scale.get(a, 1.0)) * by[a] for a in letters}
        shift = {
            a: corner.get(a, 0.0) + sizes[a] * (by[a] - 1) / 2
            if a in sizes
            else native.translation.get(a, 0.0)
            for a in letters
        }
        levels.append(
            ngff.Level(
                str(number), tuple(scale[a] for a in letters), tuple(_rounded(shift[a]) for a in letters)
            )
        )
    attributes = ngff.compose(
        native.version,
        letters,
        {letter: native.axes[letter] for letter in letters if letter in native.axes},
        levels,
        name=name,
        unit=place.unit,
        channels=place.channels if "C" in letters else None,
        omero=native.omero,
        labels=encoding.labels,
        pooling=encoding.pyramid,
        top=encoding.one,
    )
    if encoding.provenance:
        attributes[SIGNATURE] = json.loads(as_text(encoding.provenance))
    if encoding.one != 1:
        attributes[ONE] = encoding.one
    if place.unit is not None and place.unit not in MILLIMETRES:
        lost.append(f"OME-Zarr has no unit {place.unit!r}; voxel sizes are written without one.")
    return attributes, lost


def is_plain(place: Volume) -> bool:
    """Return whether the affine of a map only scales by the voxel size, without rotation, flip or translation."""
    corner, lost = _origin(place, [letter for letter in place.axes if letter in "ZYX"])
    return not lost and not any(corner.values())


def stem(path: Path) -> str:
    """Return the name of an image: the folder name of its store without suffix and without temporary prefix."""
    name = path.name.split("-", 2)[-1] if path.name.startswith(".softmorph-") else path.name
    return name[: -len(".zarr")].removesuffix(".ome") if name.lower().endswith(".zarr") else name


def filed_order(axes: str) -> tuple[list[int], str]:
    """Return the permutation of axes into the order of OME-Zarr (time, channel, space), and the permuted letters.

    Raises:
        InputError: If there are several axes beside time and space, which OME-Zarr cannot hold.
    """
    others = [letter for letter in axes if letter not in "TZYX"]
    if len(others) > 1:
        raise InputError(
            f"OME-Zarr holds time and one axis of channels beside space, not axes {axes}; write .npy, or "
            f"choose one with {named('channel')}."
        )
    letters = [letter for letter in ("T", *others, "Z", "Y", "X") if letter in axes]
    return [axes.index(letter) for letter in letters], "".join(letters)


def _find_array(
    found: ZarrNode, name: str, resolution: int | None
) -> tuple[ngff.Image | None, ngff.Level | None, ZarrNode]:
    """Return the image of a group, or to which an array belongs; the resolution to read; the node of its array.

    Image and resolution are None for an array that belongs to no image.
    """
    if found.kind == "array":
        if resolution is not None:
            raise UsageError(
                f"{name} names one array of a Zarr store already; leave {named('resolution')} out."
            )
        for parent in found.path.absolute().parents:
            group = node(parent)
            if group is None:
                break
            image = ngff.parse(group.attributes, str(parent)) if group.kind == "group" else None
            inside = found.path.absolute().relative_to(parent).as_posix()
            for level in image.levels if image is not None else ():
                if level.path == inside:
                    return image, level, found
        return None, None, found
    image = ngff.parse(found.attributes, name)
    if image is None:
        raise FileError(f"{name} {_group_kind(found)}.")
    count = len(image.levels)
    if not -1 < (resolution or 0) < count:
        have = f"has {count} resolutions, 0 to {count - 1}" if count > 1 else "has one resolution, 0"
        raise InputError(f"{name} {have}, and no {named('resolution', resolution)}.")
    level = image.levels[resolution or 0]
    array = node(found.path / level.path)
    if array is None or array.kind != "array":
        raise FileError(
            f"{name} lists the resolution {level.path!r}, and there is no such array: {held(found.path)}; "
            "copy the store again."
        )
    return image, level, array


def _group_kind(found: ZarrNode) -> str:
    """Return a phrase for messages that describes a group without an image, such as "is a plate of many images"."""
    ome = found.attributes.get("ome")
    attributes = ome if isinstance(ome, dict) else found.attributes
    first = next(
        (c for c in sorted(found.path.iterdir()) if (node(c) if c.is_dir() else None)), found.path / "0"
    )
    for key, kind in (
        ("plate", "is a plate of many images"),
        ("well", "is a well of several images"),
        ("bioformats2raw.layout", "holds several images"),
        ("labels", "is a list of label images"),
    ):
        if key in attributes:
            listed = attributes[key]
            inside = listed[0] if key == "labels" and isinstance(listed, list) and listed else first.name
            return f"{kind}, {held(found.path)}; name one, as in {found.path / str(inside)}"
    lost = " (it has no .zattrs)" if found.zarr_format == 2 and not (found.path / ".zattrs").exists() else ""
    return f"is a Zarr group that does not say what it is{lost}, {held(found.path)}; name an array in it, as in {first}"


def _scaling(array: ZarrNode, name: str) -> tuple[float, float]:
    """Return slope and intercept from the attributes `scale_factor` and `add_offset` (CF conventions, xarray)."""
    factor, offset = (
        str(array.attributes.get(key, default)) for key, default in (("scale_factor", 1), ("add_offset", 0))
    )
    slope, inter = real(factor), real(offset)
    if np.isnan(slope) or slope == 0 or np.isnan(inter):
        raise FileError(
            f"{name} has a scale_factor {shown(factor)!r} and an add_offset {shown(offset)!r}, which are no numbers "
            "that scale its values; correct its attributes."
        )
    return slope, inter


def _array_axes(array: ZarrNode, shape: tuple[int, ...]) -> tuple[str | None, list[str]]:
    """Return the letters of the axes of an array outside an image, from names or `usual_axes`, and notes."""
    count = len(shape)
    names = array.attributes.get("_ARRAY_DIMENSIONS")
    if array.zarr_format == 3:
        names = json.loads((array.path / "zarr.json").read_text(encoding="utf-8")).get("dimension_names")
    letters = "".join(str(axis).upper() for axis in names) if isinstance(names, list) else ""
    if len(letters) == count == len(set(letters) & set("TCZYX")) and {"Y", "X"} <= set(letters):
        return letters, []
    return usual_axes(shape)


def _with_geometry(raw: Raw, image: ngff.Image, level: ngff.Level, found: ZarrNode, path: Path) -> Raw:
    """Return the content of an array with the axes and the geometry that the metadata of its image state."""
    if len(image.letters) != raw.array.ndim:
        raise FileError(
            f"{path}: its OME-Zarr metadata name {len(image.letters)} axes ({', '.join(image.letters)}), and the "
            f"array {level.path!r} has {raw.array.ndim}, its shape is {raw.shape}."
        )
    group = node(found.path if found.kind == "group" else _parent(found.path, level.path))
    attributes = group.attributes if group is not None else {}
    spacing, unit = image.sizes(level)
    spatial = [letter for letter in image.letters if letter in "ZYX"]
    affine, notes = None, sizeless(letter for letter in spatial if spacing and letter not in spacing)
    if spacing and not notes:
        affine = np.eye(4)[:, REVERSED]
        # Without a known unit, the affine is in the unit of the spacing.
        factor = MILLIMETRES.get(unit or "", 1.0)
        for letter, place in image.corner(level).items():
            row = _ROWS[letter]
            affine[row, 2 - row] = spacing[letter] * factor
            affine[row, 3] = place * factor
    others = [i for i, letter in enumerate(image.letters) if letter not in "ZYX"]
    one = attributes.get(ONE)
    provenance: Provenance = sound(attributes.get(SIGNATURE))
    if provenance and (number := image.levels.index(level)):
        provenance = read_with(provenance, resolution=number)
    return replace(
        raw,
        axes=image.letters,
        spacing=spacing,
        unit=unit,
        time_step=time_step(
            dict(zip(image.letters, level.scale or (), strict=False)).get("T", 0.0),
            str(image.axes.get("T", {}).get("unit") or ""),
        ),
        affine=affine,
        channels=image.channels(),
        slope=1 / one if isinstance(one, int) and one > 0 and raw.array.dtype.kind in "ui" else raw.slope,
        labels=image.labels,
        label_names=image.label_names,
        provenance=provenance,
        notes=(*raw.notes, *notes),
        native=StoreMetadata(
            version=image.version,
            axes=image.axes,
            scale={image.letters[i]: level.scale[i] for i in others} if level.scale else {},
            translation={image.letters[i]: level.translation[i] for i in others},
            omero=image.omero,
        ),
    )


def _parent(path: Path, inside: str) -> Path:
    return path.absolute().parents[len(Path(inside).parts) - 1]


def _origin(place: Volume, spatial: list[str]) -> tuple[dict[str, float], list[str]]:
    """Return the position of the first voxel by axis letter, and notes on an affine that OME-Zarr cannot hold.

    The position is empty if there is no affine or the affine has a rotation or a flip.
    """
    if place.affine is None:
        return {}, []
    lost = ["OME-Zarr cannot hold orientation and origin (the affine) of this map."]
    if place.spacing is None:
        return {}, lost
    factor = MILLIMETRES.get(place.unit or "", 1.0)
    straight, corner = np.zeros((3, 3)), {}
    for letter, size in zip(spatial, place.spacing, strict=True):
        row = _ROWS[letter]
        straight[row, 2 - row] = size * factor
        corner[letter] = float(place.affine[row, 3]) / factor
    given = place.affine[:3, :3].copy()
    if len(spatial) == 2:  # the first column of an image belongs to no axis
        given[:, 0] = 0
    if not np.allclose(given, straight, rtol=1e-5, atol=1e-6 * straight.max()):
        return {}, lost
    return corner, []


def _rounded(number: float) -> float:
    """Round a number to 12 digits, which removes the floating-point error of converting units and back."""
    return float(f"{number:.12g}")
