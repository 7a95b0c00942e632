"""The metadata of OME-Zarr images (NGFF 0.4 and 0.5): axes, resolutions and channels, parsed and composed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from softmorph_cli.errors import FileError
from softmorph_cli.io.options import Pooling
from softmorph_cli.system.parameters import named
from softmorph_cli.system.units import MILLIMETRES, in_one_unit, length

VERSIONS: Final = ("0.4", "0.5")
# How a coarser resolution is made of the one before, for the metadata of an image.
_METHODS: Final[Mapping[Pooling, str]] = {
    "mean": "mean of blocks of 2 voxels along each spatial axis",
    "max": "maximum of blocks of 2 voxels along each spatial axis",
    "nearest": "every second voxel along each spatial axis, from the first",
}

_UNITS = {"mm": "millimeter", "um": "micrometer", "nm": "nanometer"}
# The keys of a label's name.
_NAMES = ("name", "class", "label")
_TYPES = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}
_COLOURS = ("FFFFFF", "00FF00", "FF00FF", "00FFFF", "FFFF00", "FF0000", "0000FF")


@dataclass(frozen=True)
class Level:
    """One resolution of an image.

    Attributes:
        path: The path of the array inside the group.
        scale: The voxel size along each axis, or None if the file does not state it.
        translation: The position of the centre of the first voxel along each axis.
    """

    path: str
    scale: tuple[float, ...] | None
    translation: tuple[float, ...]


@dataclass(frozen=True)
class Image:
    """The parsed metadata of one OME-Zarr image.

    Attributes:
        version: The version of the metadata: "0.4" or "0.5".
        letters: A letter for each axis, in the order of the array.
        axes: The entry of each axis in the metadata (name, type, unit), by the letter of the axis.
        levels: The resolutions, the finest first.
        name: The name of the image, or "".
        omero: The "omero" entry of the metadata (how viewers show the channels), or empty.
        labels: Whether the image is a label image.
        label_names: The names of labels of a label image, by label.
        notes: The assumptions of the parser that the user should know, one sentence each.
    """

    version: str
    letters: str
    axes: Mapping[str, Mapping[str, Any]]
    levels: tuple[Level, ...]
    name: str = ""
    omero: Mapping[str, Any] = field(default_factory=dict)
    labels: bool = False
    label_names: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def channels(self) -> tuple[str, ...] | None:
        """Return the names of the channels, or None unless every channel has a name."""
        listed = self.omero.get("channels")
        told = (
            [one.get("label") for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
        )
        names = tuple(str(one) for one in told if one)
        return names if names and len(names) == len(listed or ()) else None

    def sizes(self, level: Level) -> tuple[dict[str, float], str | None]:
        """Return the voxel size by axis letter and the unit; ({}, None) if the file states no meaningful size.

        The unit is the unit of x. If some spatial axes have a unit, axes without a unit get no size, because their
        unit may be another one.
        """
        if level.scale is None:
            return {}, None
        sizes = {
            letter: (size, self.axes[letter].get("unit"))
            for letter, size in zip(reversed(self.letters), reversed(level.scale), strict=True)
            if letter in "ZYX"
        }
        spacing, unit = in_one_unit(sizes)
        if unit is None and all(size == 1 for size in spacing.values()):
            return {}, None
        return spacing, unit

    def corner(self, level: Level) -> dict[str, float]:
        """Return the position of the centre of the first voxel along each spatial axis, in the unit of `sizes`."""
        found, unit = {}, self.sizes(level)[1]
        for letter, place in zip(self.letters, level.translation, strict=True):
            if letter in "ZYX":
                value, name = length(place, self.axes[letter].get("unit"))
                found[letter] = value * (MILLIMETRES[name] / MILLIMETRES[unit] if name and unit else 1.0)
        return found


def parse(attributes: Mapping[str, Any], where: str) -> Image | None:
    """Parse the attributes of a Zarr group as OME-Zarr metadata; return None if the group is no image.

    Args:
        attributes: The attributes of the group.
        where: The path of the group, for messages.

    Raises:
        FileError: If the metadata are of an unsupported version, or invalid in an entry that is needed.
    """
    ome = attributes.get("ome")
    told = ome if isinstance(ome, dict) else attributes
    if "multiscales" not in told:
        return None
    try:
        scales = told["multiscales"]
        if not (isinstance(scales, list) and scales and isinstance(scales[0], dict)):
            raise _MetadataError("its list of images (multiscales) is empty or no list")
        first = scales[0]
        version = str(told.get("version") or first.get("version") or ("0.5" if told is ome else "0.4"))
        if version not in VERSIONS:
            raise _MetadataError(f"they are of version {version}; read are {' and '.join(VERSIONS)}")
        letters, axes, notes = _axes(first.get("axes"))
        outer = _transform(first.get("coordinateTransformations"), len(letters), "the image")
        datasets = first.get("datasets")
        if not (isinstance(datasets, list) and datasets):
            raise _MetadataError("they list no resolution (datasets)")
        levels = tuple(_level(one, outer, len(letters)) for one in datasets)
    except _MetadataError as error:
        raise FileError(f"{where}: its OME-Zarr metadata cannot be used: {error}.") from error
    if len(scales) > 1:
        notes.append(f"it describes {len(scales)} images; the first is read.")
    omero = told.get("omero")
    return Image(
        version=version,
        letters=letters,
        axes=axes,
        levels=levels,
        name=str(first.get("name") or ""),
        omero=omero if isinstance(omero, dict) else {},
        labels=isinstance(told.get("image-label"), dict),
        label_names=_label_names(told.get("image-label")),
        notes=tuple(notes),
    )


def _label_names(told: Any) -> dict[int, str]:
    """Return the names among the properties of a label image, whose keys OME-Zarr leaves to whoever writes them."""
    properties = told.get("properties") if isinstance(told, dict) else None
    found = {}
    for one in properties if isinstance(properties, list) else ():
        label = one.get("label-value") if isinstance(one, dict) else None
        name = (
            next((one[key] for key in _NAMES if isinstance(one.get(key), str)), "")
            if label is not None
            else ""
        )
        if type(label) is int and name:
            found[label] = name
    return found


def compose(
    version: str,
    letters: str,
    axes: Mapping[str, Mapping[str, Any]],
    levels: Sequence[Level],
    *,
    name: str,
    unit: str | None,
    channels: Sequence[str] | None = None,
    omero: Mapping[str, Any] | None = None,
    labels: bool = False,
    pooling: Pooling | None = None,
    top: float = 1.0,
) -> dict[str, Any]:
    """Return the attributes of a Zarr group that make the group an OME-Zarr image.

    Args:
        version: The version of the metadata: "0.4" or "0.5".
        letters: A letter for each axis: time first, then channel or another axis, then the spatial axes.
        axes: The entries of the axes in the source's metadata, by letter; types and spatial units are replaced.
        levels: The resolutions, the finest first.
        name: The name of the image.
        unit: The unit of the voxel size, or None if unknown.
        channels: The names of the channels, or None.
        omero: The "omero" entry of the source's metadata, from which colours of channels are taken, or None.
        labels: Whether the image is a label image.
        pooling: How each coarser resolution was made of the one before.
        top: The stored number that means 1, which viewers show brightest.
    """
    described: list[dict[str, Any]] = []
    for letter in letters:
        one = dict(axes.get(letter, {"name": letter.lower()}))
        if letter in _TYPES:
            one["type"] = _TYPES[letter]
        if letter in "ZYX":
            one.pop("unit", None)
            if unit in _UNITS:
                one["unit"] = _UNITS[unit]
        described.append(one)
    datasets = [
        {
            "path": level.path,
            "coordinateTransformations": [
                {"type": "scale", "scale": list(level.scale or (1.0,) * len(letters))},
                *(
                    [{"type": "translation", "translation": list(level.translation)}]
                    if any(level.translation)
                    else []
                ),
            ],
        }
        for level in levels
    ]
    image: dict[str, Any] = {"name": name, "axes": described, "datasets": datasets}
    told: dict[str, Any] = {"multiscales": [image]}
    tag = {"version": version} if version == "0.4" else {}
    image |= tag
    if len(levels) > 1 and pooling is not None:
        image |= {"type": pooling, "metadata": {"method": _METHODS[pooling]}}
    if channels:
        told["omero"] = {"channels": _shown(channels, omero or {}, top), **tag}
    if labels:
        told["image-label"] = dict(tag)
    return told if version == "0.4" else {"ome": {"version": version, **told}}


class _MetadataError(Exception):
    """The error for invalid metadata; the text states the reason without the name of the file."""


def _axes(listed: Any) -> tuple[str, dict[str, dict[str, Any]], list[str]]:
    if not (isinstance(listed, list) and listed and all(isinstance(one, dict) for one in listed)):
        raise _MetadataError("they do not name the axes")
    names = [str(one.get("name") or "") for one in listed]
    if not all(names) or len(set(names)) != len(names):
        raise _MetadataError(f"axes {', '.join(map(repr, names))} must have distinct names")
    notes: list[str] = []
    for name, one in zip(names, listed, strict=True):
        natural, kind = _TYPES.get(name.upper()), one.get("type")
        if natural and kind is not None and kind != natural:
            raise _MetadataError(f"they call the axis {name!r} one of {kind}, not of {natural}")
    space = [
        n
        for n, one in zip(names, listed, strict=True)
        if (one.get("type") or _TYPES.get(n.upper())) == "space"
    ]
    if len(space) not in (2, 3):
        raise _MetadataError(
            f"they name {len(space)} axes of space ({', '.join(space) or 'none'}); an image has 2 or 3"
        )
    usual = "ZYX"[-len(space) :]
    if {n.upper() for n in space} <= set("ZYX"):
        letter = {n: n.upper() for n in space}
        if not {"Y", "X"} <= set(letter.values()):
            raise _MetadataError(f"its axes of space are {', '.join(space)}, without y or x")
    else:
        letter = dict(zip(space, usual, strict=True))
        notes.append(
            f"its axes of space are called {', '.join(space)} and are taken as {', '.join(usual.lower())}; "
            f"{named('axes')} changes it."
        )
    free = iter("VWUPQ")
    for name, one in zip(names, listed, strict=True):
        if name not in letter:
            wish = {"time": "T", "channel": "C"}.get(one.get("type") or "", name.upper())
            letter[name] = wish if wish in ("T", "C") and wish not in letter.values() else next(free)
    letters = "".join(letter[name] for name in names)
    kinds = ["TIME" if a == "T" else "SPACE" if a in "ZYX" else "OTHER" for a in letters]
    if sorted(kinds, key=["TIME", "OTHER", "SPACE"].index) != kinds:
        notes.append(
            f"its axes are in the order {', '.join(names)}, which OME-Zarr does not allow; they are read by name."
        )
    return letters, {letter[n]: dict(one) for n, one in zip(names, listed, strict=True)}, notes


def _level(told: Any, outer: tuple[Any, Any], count: int) -> Level:
    path = told.get("path") if isinstance(told, dict) else None
    if not isinstance(path, str) or not path.strip("/") or ".." in path.split("/"):
        raise _MetadataError(f"a resolution has no path inside the store ({path!r})")
    scale, translation = _transform(told.get("coordinateTransformations"), count, f"resolution {path!r}")
    if scale is None:
        return Level(path.strip("/"), None, (0.0,) * count)
    by, along = outer[0] if outer[0] is not None else np.ones(count), outer[1]
    # The transformation of the resolution comes first, then the transformation that all resolutions share.
    return Level(path.strip("/"), _plain(scale * by), _plain(translation * by + along))


def _transform(told: Any, count: int, whose: str) -> tuple[Any, Any]:
    scale, translation = None, np.zeros(count)
    if not isinstance(told or [], list):
        raise _MetadataError(f"the transformations of {whose} are no list")
    for one in told or ():
        kind = one.get("type") if isinstance(one, dict) else None
        if kind == "identity":
            continue
        numbers = one.get(kind) if isinstance(one, dict) and kind in ("scale", "translation") else None
        if not isinstance(numbers, list):
            raise _MetadataError(f"{whose} has a transformation that is neither a scale nor a translation")
        if len(numbers) != count:
            raise _MetadataError(f"the {kind} of {whose} has {len(numbers)} numbers for {count} axes")
        try:
            values = np.array(numbers, dtype=np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise _MetadataError(f"the {kind} of {whose} is {str(numbers)[:100]}, not numbers") from error
        if not np.isfinite(values).all() or (kind == "scale" and (values <= 0).any()):
            shown = ", ".join(f"{value:g}" for value in values)
            raise _MetadataError(f"the {kind} of {whose} is {shown}; voxel sizes are positive numbers")
        if kind == "scale":
            scale = values if scale is None else scale * values
            translation = translation * values
        else:
            translation = translation + values
    return scale, translation


def _plain(numbers: Any) -> tuple[float, ...]:
    """Return numbers rounded to 15 significant digits: 0.3, not 0.30000000000000004."""
    return tuple(float(f"{number:.15g}") for number in numbers)


def _shown(channels: Sequence[str], omero: Mapping[str, Any], top: float) -> list[dict[str, Any]]:
    listed = omero.get("channels")
    before = listed if isinstance(listed, list) and len(listed) == len(channels) else [{}] * len(channels)
    window = {"min": 0.0, "max": float(top), "start": 0.0, "end": float(top)}
    shown = []
    for number, (name, old) in enumerate(zip(channels, before, strict=True)):
        colour = old.get("color") if isinstance(old, dict) else None
        usable = isinstance(colour, str) and len(colour) == 6
        shown.append(
            {
                "label": name,
                "color": colour if usable else _COLOURS[number % len(_COLOURS)],
                "active": True,
                "window": window,
            }
        )
    return shown
