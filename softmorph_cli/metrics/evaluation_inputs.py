"""The two sides of an evaluation, files or arrays: which maps of them are compared, class by class."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.io import exclusive
from softmorph_cli.io.exclusive import Exclusive
from softmorph_cli.io.formats import suffix_of
from softmorph_cli.io.nnunet import classes as classes_of
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.io.reading import read_either, read_map
from softmorph_cli.metrics.grid import on_one_grid
from softmorph_cli.metrics.pair import UNDECIDED, Both, Mask
from softmorph_cli.skeleton import selection
from softmorph_cli.system.parameters import in_shell, named
from softmorph_cli.system.printable import typed
from softmorph_cli.volume import SLICE, Volume

_SHOWN: Final = 8
# Options, with their values, that an error advises for filtering the file.
_OPTION: Final = re.compile(
    r"--(?:time \d+(?: --channel \w+)?|channel-axis \w+ --channel \w+|channel \w+"
    r"|divide-by \d+(?:\.\d+)?|from-logits \w+|clip)"
)
# Foreground values of masks of 8 and 16 bits.
_TRUE: Final = (255, 65535)


@dataclass(frozen=True)
class Opened:
    """One side of an evaluation: one map, a label map, or a map of several classes.

    Attributes:
        path: The file; of an array, its name in messages.
        volume: The maps; of a label map, its geometry.
        labels: The classes that it holds, without the background.
        names: Names of classes that have one.
        label_image: Of a label map, its labels, of the shape of one map.
        index: Of several classes, the position of each along the axis of classes.
        one: Whether it is one map that can stand for any class.
        stands: The label of its single channel if that is one of several exclusive classes.
        only: Whether one class was selected, so that no other is compared.
        notes: Decisions, one sentence each.
        exclusive: The most probable class at each voxel; None if a threshold decides.
        regions: The labels that each class is the union of, if classes are regions.
    """

    path: Path | str
    volume: Volume
    labels: tuple[int, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)
    label_image: npt.NDArray[Any] | None = field(default=None, repr=False)
    index: Mapping[int, int] | None = None
    one: bool = False
    stands: int | None = None
    only: bool = False
    notes: tuple[str, ...] = ()
    exclusive: Exclusive | None = field(default=None, repr=False)
    regions: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    @property
    def like(self) -> Volume:
        """A map with its geometry and no mapped axes."""
        return self.volume if self.index is None else self.volume.single(0)

    def map_of(self, label: int, other: Opened) -> Volume:
        """Return the map of a class, 0 everywhere if it is not in the file.

        Args:
            label: The class; of a label map, a region of the other side is the union of its labels.
            other: What it is compared with.
        """
        if self.label_image is not None:
            inside = np.isin(self.label_image, other.regions.get(label) or (label,))
            return self.volume.with_array(inside.astype(np.float32))
        if self.index is None:
            return self.volume
        if label in self.index:
            return self.volume.single(self.index[label])
        return self.like.with_array(np.zeros_like(self.like.array))

    def most_probable(self, label: int) -> Mask | None:
        """Return where a class is the most probable one; None if a threshold decides."""
        if self.exclusive is None:
            return None
        # A single channel has one class, whatever it is compared with.
        return self.exclusive.mask(self.exclusive.labels[0] if self.index is None else label)


@dataclass(frozen=True)
class Compared:
    """The maps of one class of a prediction and a reference.

    Attributes:
        label: Of the class; 1 for a mask.
        name: Of the class, if it has one.
        prediction: Its map.
        reference: Its map.
        notes: Remarks on their geometry.
        decided: Where it is the most probable class; None for a side that a threshold decides.
        region: The labels that a region is the union of; empty for a class.
    """

    label: int
    name: str | None
    prediction: Volume
    reference: Volume
    notes: tuple[str, ...] = ()
    decided: Both[Mask | None] = UNDECIDED
    region: tuple[int, ...] = ()


def open_prediction(
    path: Path, reading: ReadOptions, reference: Path | None = None, *, argmax: bool = True
) -> Opened:
    """Open a prediction: a map, a mask, a label map, or a map of several classes.

    Args:
        path: The file.
        reading: How it is read, without `label`.
        reference: The file of the reference: it gives the geometry of an nnU-Net .npz that has no image beside it.
        argmax: Whether the most probable of exclusive classes is taken, not a threshold.

    Raises:
        SoftmorphError: If the file cannot be read.
    """
    # The label of a single channel is needed even if a threshold decides.
    reading = replace(reading, exclusive=argmax or reading.channel is not None)
    valued = reading.channel is not None or bool(reading.only("values").given)
    notes: tuple[str, ...] = ()
    try:
        if valued:
            volume = read_map(path, reading)
        else:
            either = read_either(path, reading)
            found = _labelled(path, either.labels)
            if found is not None:
                return found
            volume = either.read_map()
    except FileError:
        placeless = path.suffix.lower() == ".npz" and reading.like is None and path.is_file()
        if not placeless or reference is None:
            raise
        volume = read_map(path, replace(reading, like=reference))
        notes = (f"it does not say where it lies, and is taken to lie where {reference} does.",)
    found = _mapped(path, volume, notes)
    found = found if argmax else replace(found, exclusive=None)
    return replace(found, only=bool(found.labels)) if reading.channel is not None else found


def open_reference(path: Path, reading: ReadOptions, *, labelled: bool, argmax: bool = True) -> Opened:
    """Open a reference: a mask, a label map, or maps of the classes.

    Args:
        path: The file.
        reading: Options of the prediction; for the reference those of geometry are used, and axes only if they fit it.
        labelled: Whether labels were given: integers are labels then.
        argmax: Whether the most probable of exclusive classes is taken, not a threshold.

    Raises:
        SoftmorphError: If the file cannot be read.
    """
    # --reference gives the geometry of an nnU-Net .npz.
    like = reading.like if path.suffix.lower() == ".npz" else None
    alone, place = (
        replace(reading.only(*about), like=like, exclusive=argmax)
        for about in (("space",), ("axes", "space"))
    )
    try:
        try:
            return _reference(path, place, labelled)
        except InputError:
            if place == alone:
                raise
            return _reference(path, alone, labelled)
    except InputError as error:
        option = _OPTION.search(str(error))
        if option is None or not in_shell():
            raise
        suffix = suffix_of(path)
        mask = f"mask{'.nii.gz' if suffix == '.npz' else suffix}"
        command = typed("softmorph", "threshold", path, mask, *option[0].split())
        raise InputError(
            f"{error} That option is for the prediction; make a mask of the reference first: {command}"
        ) from error


def _reference(path: Path, reading: ReadOptions, labelled: bool) -> Opened:
    either = read_either(path, reading, surely=labelled)
    return _labelled(path, either.labels) or _mapped(path, either.read_map(), ())


def _labelled(path: Path, found: tuple[npt.NDArray[Any], Volume] | None) -> Opened | None:
    return None if found is None else _of_labels(path, *found)


def open_array(name: str, image: Volume | tuple[npt.NDArray[Any], Volume]) -> Opened:
    """Return an array as one side of an evaluation.

    Args:
        name: Its name in messages.
        image: A map; or labels, integers from 0, without channels, and a map with their geometry.

    Raises:
        InputError: If it has mapped axes other than channels.
    """
    if isinstance(image, Volume):
        return _mapped(name, image, ())
    found = _of_labels(name, *image)
    assert found is not None
    return found


def _of_labels(path: Path | str, labels: npt.NDArray[Any], like: Volume) -> Opened | None:
    """Return a label map, or a mask; None for masks of several classes."""
    if like.class_axis() is not None:
        if labels.max() > 1:
            raise InputError(
                f"{path} holds several labels in several images ({like.axes} of {like.array.shape}): write each image "
                "to a file of its own."
            )
        return None
    flat = _single(path, like)
    held = tuple(int(label) for label in np.unique(labels) if label)
    if len(held) == 1 and held[0] in _TRUE:
        note = f"it holds only 0 and {held[0]} and is taken as a mask."
        return Opened(path, flat, one=True, notes=(*like.notes, note))
    several = (f"it holds the labels {_listed(held)} and is taken as a label map.",) if len(held) > 1 else ()
    labels = labels.reshape(flat.array.shape)
    return Opened(path, flat, held, label_image=labels, notes=(*like.notes, *several))


def _mapped(path: Path | str, volume: Volume, notes: tuple[str, ...]) -> Opened:
    """Return one map, or a map of several classes."""
    axis = volume.class_axis()
    found, decided = classes_of(volume), exclusive.exclusive_classes(volume)
    labels = found.labels if decided is None else decided.labels
    regions = dict(zip(found.labels, found.regions, strict=True)) if found.regions else {}
    if axis is None:
        # Each class of nnU-Net has its own label.
        known = volume.source is not None and volume.source.format == "nnunet"
        name = volume.source.channel if volume.source and known else None
        names = _names(labels, replace(volume, channels=(name,) if name else volume.channels))
        return Opened(
            path,
            _single(path, volume),
            labels if known else (),
            names,
            one=not known,
            stands=None if decided is None or known else decided.labels[0],
            notes=(*volume.notes, *notes, *_unions(regions, names)),
            exclusive=decided,
            regions=regions,
        )
    if volume.axes[axis] == SLICE or len(labels) != volume.array.shape[axis]:
        labels = tuple(range(1, volume.array.shape[axis] + 1))
    names = _names(labels, volume)
    background = _background(volume, labels, decided)
    return Opened(
        path,
        volume,
        tuple(label for label in labels if label),
        names,
        index={label: k for k, label in enumerate(labels)},
        notes=(*volume.notes, *notes, *background, *_unions(regions, names)),
        exclusive=decided,
        regions=regions,
    )


def _unions(regions: Mapping[int, tuple[int, ...]], names: Mapping[int, str]) -> tuple[str, ...]:
    """Return a note on how regions are compared with a label map."""
    if not regions:
        return ()
    unions = "; ".join(
        f"{names.get(label, label)} is {', '.join(map(str, region))}" for label, region in regions.items()
    )
    return (f"its regions are unions of labels, and compared as such with a label map: {unions}.",)


def _background(volume: Volume, labels: Sequence[int], decided: Exclusive | None) -> tuple[str, ...]:
    """Return a note on the channel that is left out as the background."""
    if 0 not in labels:
        return ()
    channel = labels.index(0)
    named = f" ({volume.channels[channel]})" if volume.channels else ""
    often = ""
    if decided is not None:
        often = f", the most probable at {decided.mask(0).mean():.1%} of the voxels,"
    return (
        f"its channels sum to 1: channel {channel}{named}{often} is taken as the background and not compared; to "
        f"compare it, {selection.how_to_select(volume, f'--channel {channel}')}.",
    )


def _single(path: Path | str, volume: Volume) -> Volume:
    """Return a volume without its mapped axes; the error names the file if one of them is longer than 1."""
    try:
        return selection.single(volume)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _names(labels: Sequence[int], volume: Volume) -> dict[int, str]:
    """Return the names of classes; a name that only repeats the number is left out."""
    if SLICE in volume.axes:
        return {label: f"slice {label - 1}" for label in labels}
    pairs = zip(labels, volume.channels or (), strict=False)
    return {label: name for label, name in pairs if name != f"label {label}"}


def check_held(prediction: Opened, reference: Opened, labels: Sequence[int]) -> None:
    """Refuse labels that neither file has, unless both files are empty.

    Raises:
        InputError: If there is one.
    """
    several = [source for source in (prediction, reference) if not source.one]
    if not several or not any(source.labels for source in several):
        return
    for label in labels:
        if not any(label in source.labels for source in several):
            held = "; ".join(f"{source.path} holds {_listed(source.labels)}" for source in several)
            raise InputError(f"there is no label {label}: {held}.")


def unrelated(prediction: Opened, reference: Opened) -> tuple[str, ...]:
    """Return a note if two files have no label in common."""
    mine, its = (
        {one for label in source.labels for one in (source.regions.get(label) or (label,))}
        for source in (prediction, reference)
    )
    if not mine or not its or mine & its:
        return ()
    masks = "make masks of them first: labels == K, or read(LABELS, label=K)"
    if in_shell():
        masks = "make masks of them first: softmorph threshold LABELS MASK --label K"
    return (
        f"no label is in both files, so every class is compared with nothing: {prediction.path} holds "
        f"{_listed(prediction.labels)} and {reference.path} {_listed(reference.labels)}. If the same is meant, {masks}",
    )


def compared(
    prediction: Opened, reference: Opened, labels: Sequence[int], *, same_grid: bool
) -> Iterator[Compared]:
    """Yield the maps of each class of two files; each is made when it is needed.

    Args:
        prediction: One file.
        reference: The other.
        labels: Classes; none for all that either file holds.
        same_grid: See `on_one_grid`.

    Raises:
        InputError: If the files are not on one grid, or one map would stand for several classes.
    """
    placed, notes = on_one_grid(prediction.like, reference.like, same_grid=same_grid)
    for label in compared_labels(prediction, reference, labels):
        mine, its = prediction.map_of(label, reference), reference.map_of(label, prediction)
        yield Compared(
            label,
            prediction.names.get(label) or reference.names.get(label),
            replace(mine, spacing=placed.spacing, unit=placed.unit, affine=placed.affine),
            its,
            notes,
            Both(prediction.most_probable(label), reference.most_probable(label)),
            prediction.regions.get(label) or reference.regions.get(label) or (),
        )


def compared_labels(prediction: Opened, reference: Opened, labels: Sequence[int]) -> tuple[int, ...]:
    """Return the given labels, or all that either file holds; 1 for two single maps.

    Raises:
        InputError: If one map would stand for several of them.
    """
    ones = [source for source in (prediction, reference) if source.one]
    held = set(prediction.labels) | set(reference.labels)
    for regions, other in ((prediction.regions, reference), (reference.regions, prediction)):
        if regions and not other.regions and other.label_image is not None:
            # Labels that a region covers are compared as part of it.
            held -= {label for region in regions.values() for label in region} - set(regions)
    if prediction.only and not labels:
        return prediction.labels
    classes = tuple(dict.fromkeys(labels)) or tuple(sorted(held)) or (1,)
    if ones and len(classes) > 1:
        other = reference if ones[0] is prediction else prediction
        if not labels and ones[0].stands in (0, *other.labels):
            return (ones[0].stands,)
        if labels:
            raise InputError(f"{ones[0].path} is one map, which has no labels: give one {named('label')}.")
        raise InputError(
            f"{ones[0].path} is one map and {other.path} holds the labels {_listed(classes)}: say which of them it is, "
            f"such as {named('label', classes[0])}."
        )
    return classes


def _listed(labels: Sequence[int]) -> str:
    if not labels:
        return "none"
    return ", ".join(map(str, labels[:_SHOWN])) + (", ..." if len(labels) > _SHOWN else "")
