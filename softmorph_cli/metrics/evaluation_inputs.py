"""The inputs of an evaluation: a prediction and a reference are opened and split into pairs of maps, one per class."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.io import exclusive, select
from softmorph_cli.io.exclusive import Exclusive
from softmorph_cli.io.formats import suffix_of
from softmorph_cli.io.nnunet import classes as classes_of
from softmorph_cli.io.nnunet import of_volume
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.io.reading import read_either, read_map
from softmorph_cli.metrics.grid import on_one_grid
from softmorph_cli.metrics.pair import UNDECIDED, Both, Mask
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
    """A prediction or a reference that was read: a single map, a label map, or a map of several classes.

    Attributes:
        path: Path of the file; for an array, the name that error messages use for it.
        volume: The map or maps; for a label map, a volume with the same voxel size and affine.
        labels: Labels of the classes in the image, without the background.
        names: Names of the classes by label, for classes that have a name.
        label_image: For a label map, the array of labels, shaped like a single map; otherwise None.
        index: For a map of several classes, the index of each label along the class axis; otherwise None.
        one: Whether the image is a single map without a label, which can be compared with any class.
        stands: Label of the image's single channel, if the channel is one of several exclusive classes.
        only: Whether the user selected one class of the image, so that no other class is compared.
        notes: Remarks on how the image was read, one sentence each.
        exclusive: The most probable class at each voxel, or the label that nnU-Net paints; None if a threshold decides.
        regions: For nnU-Net regions, the labels whose union each class is; otherwise empty.
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
        """A single map with the shape, voxel size and affine of the image, without channel or time axes."""
        return self.volume if self.index is None else self.volume.single(0)

    def map_of(self, label: int, other: Opened) -> Volume:
        """Return the map of one class; the map is 0 everywhere if the image does not contain the class.

        Args:
            label: Label of the class.
            other: The image that this one is compared with. If the class is a region of `other` and this image is a
                label map, the union of the region's labels is returned; likewise of a region of this label map.
        """
        if self.label_image is not None:
            union = other.regions.get(label) or self.regions.get(label) or (label,)
            inside = np.isin(self.label_image, union)
            return self.volume.with_array(inside.astype(np.float32))
        if self.index is None:
            return self.volume
        if label in self.index:
            return self.volume.single(self.index[label])
        return self.like.with_array(np.zeros_like(self.like.array))

    def most_probable(self, label: int) -> Mask | None:
        """Return the mask of the voxels that all channels together give a class; None if a threshold decides."""
        if self.exclusive is None:
            return None
        # A single channel has one class, whatever it is compared with.
        return self.exclusive.mask(self.exclusive.labels[0] if self.index is None else label)


@dataclass(frozen=True)
class Compared:
    """The maps of one class of a prediction and a reference.

    Attributes:
        label: Label of the class; 1 for a mask.
        name: Name of the class, if it has one.
        prediction: Map of the class in the prediction.
        reference: Map of the class in the reference.
        notes: Remarks on the voxel sizes and positions of the two maps.
        decided: For both maps, the mask of the voxels where the class is the most probable one; None for a map that a
            threshold decides.
        region: If the class is a region, the labels whose union it is; otherwise empty.
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
        path: Path of the file.
        reading: Options for reading the file, without `label`.
        reference: Path of the reference, whose voxel size and affine are used for an nnU-Net .npz file that has no
            image beside it.
        argmax: Whether exclusive classes are decided by the most probable class rather than by a threshold.

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
        path: Path of the file.
        reading: Options for reading the prediction. The reference is read with the options on voxel size and position,
            and with the options on axes only if they fit the reference.
        labelled: Whether the user gave labels, so that an image of integers is a label map.
        argmax: Whether exclusive classes are decided by the most probable class rather than by a threshold.

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
    """Return an array as the prediction or the reference of an evaluation.

    Args:
        name: Name that error messages use for the array.
        image: A map; or a pair of an array of labels (integers from 0, no channels) and a map with the same geometry.

    Raises:
        InputError: If the image has mapped axes other than channels.
    """
    if isinstance(image, Volume):
        return _mapped(name, image, ())
    found = _of_labels(name, *image)
    assert found is not None
    return found


def _of_labels(path: Path | str, labels: npt.NDArray[Any], like: Volume) -> Opened | None:
    """Return an image of integers as a label map or, if only 255 or 65535 occurs, as a mask; None for several masks."""
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
    opened = Opened(path, flat, held, label_image=labels, notes=(*like.notes, *several))
    found = of_volume(path, like) if isinstance(path, Path) else None
    if found is None or found.others(labels):
        return opened
    names = dict(zip(found.classes.labels, found.names, strict=True))
    if not found.classes.regions:
        return replace(opened, names=names)
    regions = dict(zip(found.classes.labels, found.unions, strict=True))
    notes = (*opened.notes, *_unions(regions, names))
    return replace(opened, labels=tuple(regions), names=names, regions=regions, notes=notes)


def _mapped(path: Path | str, volume: Volume, notes: tuple[str, ...]) -> Opened:
    """Return a volume of probabilities as a single map or as a map of several classes."""
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
    """Return a note that regions, which are unions of labels, are compared as unions; empty if there are no regions."""
    if not regions:
        return ()
    unions = "; ".join(
        f"{names.get(label, label)} is {', '.join(map(str, region))}" for label, region in regions.items()
    )
    return (f"its regions are unions of labels, and compared as such with a label map: {unions}.",)


def _background(volume: Volume, labels: Sequence[int], decided: Exclusive | None) -> tuple[str, ...]:
    """Return a note on the channel that is left out as the background; empty if no channel is the background."""
    if 0 not in labels:
        return ()
    channel = labels.index(0)
    named = f" ({volume.channels[channel]})" if volume.channels else ""
    often = ""
    if decided is not None:
        often = f", the most probable at {decided.mask(0).mean():.1%} of the voxels,"
    # Without a name it may be an object.
    or_compared = f"; to compare it, {select.how_to_select(volume, f'--channel {channel}')}"
    return (
        f"its channels sum to 1: channel {channel}{named}{often} is taken as the background and not compared"
        f"{'' if named else or_compared}.",
    )


def _single(path: Path | str, volume: Volume) -> Volume:
    """Return the single image of a volume; raise InputError, with the path, if a mapped axis is longer than 1."""
    try:
        return select.single(volume)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _names(labels: Sequence[int], volume: Volume) -> dict[int, str]:
    """Return the names of classes by label; a name such as "label 2", which only repeats the label, is left out."""
    if SLICE in volume.axes:
        return {label: f"slice {label - 1}" for label in labels}
    pairs = zip(labels, volume.channels or (), strict=False)
    return {label: name for label, name in pairs if name != f"label {label}"}


def check_held(prediction: Opened, reference: Opened, labels: Sequence[int]) -> None:
    """Check that each of the given labels occurs in the prediction or the reference, unless both are empty.

    Raises:
        InputError: If a label occurs in neither.
    """
    several = [source for source in (prediction, reference) if not source.one]
    plain = not several and prediction.stands is None and reference.stands is None
    if plain and (foreign := set(labels) - {1, *_TRUE}):
        raise InputError(
            f"there is no label {min(foreign)}: {prediction.path} and {reference.path} are masks or single maps, "
            f"without labels: leave {named('label')} out."
        )
    if not several or not any(source.labels for source in several):
        return
    for label in labels:
        if not any(label in source.labels for source in several):
            held = "; ".join(f"{source.path} holds {_listed(source.labels)}" for source in several)
            raise InputError(f"there is no label {label}: {held}.")


def unrelated(prediction: Opened, reference: Opened) -> tuple[str, ...]:
    """Return a note if the prediction and the reference have no label in common; otherwise an empty tuple."""
    mine, its = (
        {one for label in source.labels for one in (source.regions.get(label) or (label,))}
        for source in (prediction, reference)
    )
    # A chosen channel of the background is compared with what a label map labels 0.
    background = (0 in mine and reference.label_image is not None) or (
        0 in its and prediction.label_image is not None
    )
    if not mine or not its or mine & its or background:
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
    """Yield the maps of each class of a prediction and a reference, one class at a time (lazily).

    Args:
        prediction: The opened prediction.
        reference: The opened reference.
        labels: Labels of the classes to compare; empty for all labels that either file contains.
        same_grid: Whether equal shapes are enough, whatever voxel sizes and positions the headers state.

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
    """Return the labels to compare: the given labels, or else all labels of either file; 1 for two single maps.

    Raises:
        InputError: If a single map would have to be compared with several classes.
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
