"""The classes that labels or channels without names stand for, by nnU-Net's dataset.json or softmorph's provenance.

A label map of nnU-Net holds numbers only. The file dataset.json beside it, or in a folder above as in nnU-Net's own
folders, gives a name to each number, or to each region, which is a union of numbers. A result of softmorph states in
its provenance what its channels or labels stand for, where its input stated that; dataset.json is then not used,
because a centreline written beside it need not have its labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from softmorph_cli.classes import SUM, complete, numbered
from softmorph_cli.errors import InputError, SoftmorphError
from softmorph_cli.io.mapped import held
from softmorph_cli.io.memory_check import check_room
from softmorph_cli.io.nnunet_metadata import Classes, dataset_classes, overlapping, read_description
from softmorph_cli.io.options import DEFAULT, ReadOptions
from softmorph_cli.io.raw import Array, Kept, Placed, Provenance, Raw
from softmorph_cli.io.select import named_text, sample_names
from softmorph_cli.io.values import Label, held_labels, label_numbers
from softmorph_cli.system.parameters import named
from softmorph_cli.system.printable import meant, printable
from softmorph_cli.volume import Volume, class_axis

# The field of a provenance.
FIELD: Final = "classes"
_LABELS, _CHANNELS = "labels", "channels"
_LISTED: Final = 8


@dataclass(frozen=True)
class Network(Placed):
    """Metadata of an .npz whose geometry was taken from an image; stored as `Raw.native`.

    Attributes:
        classes: The classes that the channels stand for.
        format: The name of the file format of the image.
        header: The metadata of the image for the writer of its format (`Raw.native` of the image).
        logits: Whether the values are logits, because they reach far below 0.
    """

    classes: Classes
    format: str
    header: Any
    logits: bool

    def cropped(self, corner: Mapping[str, int]) -> Network:
        """Return the metadata of a crop."""
        header = self.header
        return replace(self, header=header.cropped(corner)) if isinstance(header, Placed) else self


@dataclass(frozen=True)
class KeptNetwork(Kept):
    """Metadata of the image beside an .npz, kept so that a result gets the header of the image.

    Attributes:
        classes: The classes that the channels of the .npz stand for, or None.
    """

    classes: Classes | None = None


@dataclass(frozen=True)
class NamedClasses:
    """Classes, or regions, with their names and labels; the background is none of them.

    Attributes:
        names: Their names.
        classes: Their labels and, of regions, the labels whose union each is.
        ignored: The label of voxels that were not annotated; None if there is none.
        channels: Whether the file has a channel for each class, or the map of a single class, and no labels.
    """

    names: tuple[str, ...]
    classes: Classes
    ignored: int | None = None
    channels: bool = False

    @property
    def unions(self) -> tuple[tuple[int, ...], ...]:
        """For each class the labels that its voxels have in a label map."""
        return self.classes.regions or tuple((label,) for label in self.classes.labels)

    def name_of(self, label: Label) -> str | None:
        """Return the name of the class whose voxels all have this label, or of the region that is a union of labels.

        It is None if no class or region has a name of its own for that.
        """
        wanted = label if isinstance(label, tuple) else (label,)
        return next(
            (name for name, union in zip(self.names, self.unions, strict=True) if union == wanted), None
        )

    def label_of(self, name: str) -> Label | None:
        """Return the label of the class, or the labels of the region, of a name; None if there is none of that name."""
        found = dict(zip(self.names, self.unions, strict=True)).get(name)
        return found[0] if found is not None and len(found) == 1 else found

    def others(self, labels: Array) -> tuple[int, ...]:
        """Return the labels of an array of labels that belong to no class."""
        known = {0, self.ignored, *(label for union in self.unions for label in union)}
        return tuple(int(label) for label in np.unique(labels) if int(label) not in known)

    def __str__(self) -> str:
        """Return the names with their labels, as notes show them."""
        pairs = zip(self.names, self.unions, strict=True)
        shown = [f"{printable(name)} ({', '.join(map(str, union))})" for name, union in pairs]
        return ", ".join(shown[:_LISTED]) + (", ..." if len(shown) > _LISTED else "")


def known_labels(raw: Raw) -> tuple[int, ...] | None:
    """Return the label of each channel, if the file states that its channels exclude each other; else None."""
    found = raw.native.classes if isinstance(raw.native, Network) else None
    return found.labels if found is not None and found.kind == "complete" else None


def keep(kept: Kept) -> Kept:
    """Return metadata of an .npz replaced by those of the image beside it, so that results get that image's format."""
    network = kept.native
    if not isinstance(network, Network):
        return kept
    return _with_classes(replace(kept, format=network.format, native=network.header), network.classes)


def _with_classes(kept: Kept, found: Classes) -> KeptNetwork:
    return KeptNetwork(**{one.name: getattr(kept, one.name) for one in fields(Kept)}, classes=found)


def labelled(volume: Volume, labels: Sequence[int], names: Sequence[str]) -> Volume:
    """Return a map of classes that exclude each other and their background with the labels and names of its channels.

    Args:
        volume: The map, read from a file, with a channel for each class on axis "C".
        labels: The label of each channel.
        names: The name of each channel.
    """
    source = volume.source
    if source is not None and isinstance(source.header, Kept):
        source = replace(source, header=_with_classes(source.header, Classes(tuple(labels), "rest")))
    return replace(volume, channels=tuple(names), source=source)


def classes(volume: Volume) -> Classes:
    """Return the classes that the channels of a map stand for, by nnU-Net's dataset.json or by the channels' sum.

    The map must hold the values that were read, because a filter changes the sum. Channels that sum to 1 (see
    `softmorph_cli.classes.complete`) get the labels 0, 1, 2, ... of a softmax; the background is the channel of that
    name, else the first. Other channels get the labels 1, 2, ...; they are mutually exclusive if the sum never exceeds
    1.
    """
    kept = volume.source.header if volume.source else None
    if isinstance(kept, KeptNetwork) and kept.classes is not None:
        return kept.classes
    try:
        axis = volume.channel_axis()
    except InputError:
        axis = None
    if axis is None:
        return Classes((1,), "rest")
    count = volume.array.shape[axis]
    if volume.axes[axis] != "C" and count > 1 and volume.class_axis() is None:
        # Times are no classes, whatever they sum to.
        return overlapping(count)
    if complete(np.moveaxis(volume.array, axis, 0)):
        return Classes(numbered(volume.channels, count), "complete")
    found = overlapping(count)
    return replace(found, kind="rest") if float(volume.array.sum(axis=axis).max()) <= 1 + SUM else found


def find(path: Path, provenance: Provenance) -> NamedClasses | None:
    """Return the classes of the labels of a file, or of the channels of softmorph's results; None if nothing says.

    Args:
        path: The path of the file.
        provenance: The provenance that softmorph wrote into it, or empty.
    """
    return _stated(provenance.get(FIELD)) if provenance else _by_dataset(path)


def statement(original: Volume, result: Volume, *, labels: bool = False) -> dict[str, Any]:
    """Return the entry for the provenance of a result that states its classes; empty if they have no names.

    Args:
        original: The map as it was read.
        result: The map that is written.
        labels: Whether the labels of the classes are written, and not the map.
    """
    source = original.source
    kept = source.header if source else None
    if source is None or not isinstance(kept, KeptNetwork) or kept.classes is None:
        return {}
    found, names = kept.classes, original.channels or ((source.channel,) if source.channel else ())
    axis = result.class_axis()
    count = 1 if axis is None else result.array.shape[axis]
    if len(names) != len(found.labels) or 0 in found.labels or (not labels and count != len(names)):
        return {}
    kind = found.kind
    if kind == "rest" and axis is not None and float(result.array.sum(axis=axis).max()) > 1 + SUM:
        kind = "overlapping"
    regions = {"regions": [list(region) for region in found.regions]} if found.regions else {}
    stored = _LABELS if labels else _CHANNELS
    return {
        FIELD: {
            "stored_as": stored,
            "names": list(names),
            "labels": list(found.labels),
            "kind": kind,
            **regions,
        }
    }


def of_labels(path: Path, provenance: Provenance, names: Mapping[int, str]) -> NamedClasses | None:
    """Return the classes of the labels of a file; None if nothing says them.

    Args:
        path: The path of the file.
        provenance: The provenance that softmorph wrote into it, or empty.
        names: The names that its metadata give to labels, which count if it is no result of softmorph.
    """
    kept = {} if provenance else {label: name for label, name in names.items() if label}
    if kept:
        return NamedClasses(tuple(kept.values()), Classes(tuple(kept), "rest"))
    found = find(path, provenance)
    return None if found is None or found.channels else found


def of_volume(path: Path, volume: Volume) -> NamedClasses | None:
    """Return the classes of the labels of a file from which a volume was read, as `of_labels` does."""
    source = volume.source
    names = source.header.label_names if source and isinstance(source.header, Kept) else {}
    return of_labels(path, source.provenance if source else {}, names)


def with_number(options: ReadOptions, raw: Raw, path: Path) -> ReadOptions:
    """Return the options of reading with the number of the label, or the numbers of the region, that they name.

    Args:
        options: The options of reading; returned as they are unless their label is a name.
        raw: The content of the file.
        path: The path of the file.

    Raises:
        InputError: If no label of the file has the name; the message lists those that have one.
    """
    label = options.label
    if not isinstance(label, str):
        return options
    channels = sample_names(raw) if "C" in (raw.axes or "") else ()
    if channels:
        raise InputError(
            f"{path} holds a map for each of {', '.join(map(printable, channels))}, and no labels: choose one with "
            f"{named_text('channel', label if label in channels else channels[-1])}."
        )
    found = of_labels(path, raw.provenance, raw.label_names)
    if found is None:
        shown, first = held_labels(raw.array)
        raise InputError(
            f"{path} gives its labels no names, and no dataset.json does, so none is called {label!r}; it holds "
            f"{shown}: choose one by its number, such as {named('label', first)}."
        )
    number = found.label_of(label)
    if number is None:
        raise InputError(
            f"{path} has no label {label!r}{meant(label, found.names)}; it has {found}: choose one of them, such as "
            f"{named_text('label', found.names[0])}."
        )
    return replace(options, label=number)


def applied(raw: Raw, path: Path, options: ReadOptions = DEFAULT) -> Raw:
    """Return a file with the names of its classes: a label map as one channel of 0 and 1 for each class.

    Of a single class no axis of channels is made. A file of which nothing is known is returned as it is, and one whose
    values are stated by options, too.

    Args:
        raw: The content of the file with its axes named and in order.
        path: The path of the file.
        options: The options of reading; if they choose a label, a label map stays as it is and has the name of that
            class.
    """
    label = options.label_number
    stated = set(options.only("values").given) - {"label"}
    known = isinstance(raw.native, Network) or raw.colour or not raw.axes or stated
    if label is not None:
        of_label = None if known else of_labels(path, raw.provenance, raw.label_names)
        name = None if of_label is None else of_label.name_of(label)
        if of_label is None or name is None or not set(raw.axes or "") <= set("ZYX"):
            return raw
        number = label if isinstance(label, int) else of_label.classes.labels[of_label.names.index(name)]
        own = Network(Classes((number,), "rest"), raw.format, raw.native, logits=False)
        return replace(raw, channels=(name,), native=own)
    found = None if known else find(path, raw.provenance)
    if found is None:
        return raw
    if found.channels:
        return _with_names(raw, found)
    if not set(raw.axes or "") <= set("ZYX"):
        return raw
    raw = replace(raw, array=held(raw.array, raw.array.dtype))
    labels = label_numbers(raw)
    return raw if labels is None else _as_channels(raw, labels, found, path)


def _as_channels(raw: Raw, labels: Array, found: NamedClasses, path: Path) -> Raw:
    if others := found.others(labels):
        return replace(raw, notes=(*raw.notes, _differs(found, others)))
    check_room((len(found.names), *labels.shape), np.dtype(np.float32).itemsize, str(path))
    maps = np.zeros((len(found.names), *labels.shape), np.float32)
    for one, union in zip(maps, found.unions, strict=True):
        np.copyto(one, 1, where=np.isin(labels, union))
    single = len(maps) == 1
    return replace(
        raw,
        array=maps[0] if single else maps,
        axes=raw.axes if single else f"C{raw.axes}",
        channels=found.names,
        slope=1.0,
        inter=0.0,
        full_scale=False,
        labels=False,
        native=Network(found.classes, raw.format, raw.native, logits=False),
        notes=(*raw.notes, f"its labels are classes: {found}."),
    )


def _with_names(raw: Raw, found: NamedClasses) -> Raw:
    """Return a result of softmorph with the names and labels of its channels, as its provenance states them."""
    axes, count = raw.axes or "", len(found.names)
    mapped = [k for k, letter in enumerate(axes) if letter not in "ZYX"]
    native = Network(found.classes, raw.format, raw.native, logits=False)
    if not mapped:
        return replace(raw, channels=found.names, native=native) if count == 1 else raw
    # In a NIfTI or MGH the axis of channels has no name.
    if len(mapped) > 1 or raw.array.shape[0] != count or class_axis(axes, raw.array.shape, raw.format) != 0:
        return raw
    return replace(raw, axes=f"C{axes[1:]}", channels=raw.channels or found.names, native=native)


def _differs(found: NamedClasses, others: tuple[int, ...]) -> str:
    listed = ", ".join(map(str, others[:_LISTED]))
    return f"dataset.json names the labels {found}, and it holds {listed}: names are not used."


def _by_dataset(path: Path) -> NamedClasses | None:
    """Return the classes of the dataset.json of a label map; None if there is none that can be used."""
    try:
        dataset = read_description(path, "dataset.json", "labels")
        if not dataset or not _of_that_ending(path, dataset):
            return None
        names, found, _ = dataset_classes(dataset, path)
    except SoftmorphError:
        # It may be of something else: without it the file is read as a label map without names.
        return None
    if found.kind == "complete":
        kept = [k for k, label in enumerate(found.labels) if label]
        names, found = tuple(names[k] for k in kept), found.only(*kept, kind="rest")
    ignored = dataset["labels"].get("ignore")
    return NamedClasses(names, found, ignored if isinstance(ignored, int) else None) if names else None


def _of_that_ending(path: Path, dataset: Mapping[str, Any]) -> bool:
    ending = dataset.get("file_ending")
    return not isinstance(ending, str) or path.name.endswith(ending)


def _stated(found: Any) -> NamedClasses | None:
    """Return the classes that a provenance states; None if it states none, or another program has damaged them."""
    try:
        names = tuple(map(str, found["names"]))
        labels = tuple(int(label) for label in found["labels"])
        regions = tuple(tuple(int(label) for label in region) for region in found.get("regions", ()))
        kind = found["kind"]
    except (TypeError, ValueError, KeyError, AttributeError):
        return None
    sound = len(names) == len(labels) == len(set(labels)) and len(regions) in (0, len(names))
    if not names or not sound or kind not in ("rest", "overlapping", "nested"):
        return None
    return NamedClasses(names, Classes(labels, kind, regions), channels=found.get("stored_as") != _LABELS)
