"""What is compared in two files: one map each, or class by class."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.io import classes as classes_of
from softmorph_cli.io import exclusive, read_map
from softmorph_cli.io.exclusive import Exclusive
from softmorph_cli.io.formats import suffix_of
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.io.reading import read_either
from softmorph_cli.metrics.grid import on_one_grid
from softmorph_cli.metrics.pair import UNDECIDED, Both, Mask
from softmorph_cli.skeleton.kind import single, take_one
from softmorph_cli.system.parameters import in_shell, named
from softmorph_cli.system.printable import typed
from softmorph_cli.volume import SLICE, Volume

_SHOWN: Final = 8
# As a refusal names them, with their value, to someone who filters the file.
_OPTION: Final = re.compile(
    r"--(?:time \d+(?: --channel \w+)?|channel-axis \w+ --channel \w+|channel \w+"
    r"|divide-by \d+(?:\.\d+)?|from-logits \w+|clip)"
)
# What stands for true in masks of 8 and 16 bits.
_TRUE: Final = (255, 65535)


@dataclass(frozen=True)
class Opened:
    """A file as an evaluation sees it.

    Attributes:
        path: The file; of an array what it is called in messages.
        labels: The classes it holds, without the background.
        names: Of those that have one.
        one: Whether it is one map that may stand for any class.
        stands: The class that one channel is, of several that exclude each other; None where it may be any.
        only: Whether one class was chosen of it, so that no other is compared.
        take: Returns the map of a class, empty where the file has none of it.
        like: Where it lies; its values are not looked at.
        notes: What was decided.
        decide: Returns where a class is the most probable one; None where the classes do not exclude each other.
        regions: Of classes that are regions, the labels that each of them is the union of.
        union: Of a label map: returns the mask of several labels.
    """

    path: Path | str
    labels: tuple[int, ...]
    names: Mapping[int, str]
    take: Callable[[int], Volume] = field(repr=False)
    like: Volume
    one: bool = False
    stands: int | None = None
    only: bool = False
    notes: tuple[str, ...] = ()
    decide: Callable[[int], Mask] | None = field(default=None, repr=False)
    regions: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    union: Callable[[Sequence[int]], Volume] | None = field(default=None, repr=False)

    def beside(self, other: Opened, label: int) -> Volume:
        """Return the map of a class that is compared with another file's."""
        region = other.regions.get(label)
        return self.take(label) if self.union is None or region is None else self.union(region)


@dataclass(frozen=True)
class Compared:
    """A prediction and a reference of one class.

    Attributes:
        label: The number of the class; 1 for a mask.
        name: Of the class, or None.
        prediction: Its map.
        reference: Its map.
        notes: What a person should know about them.
        decided: Where it is the most probable class, of either that has classes which exclude each other.
        region: The labels that a region is the union of; none for a class.
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
        reference: The reference, if it is a file: it says where an .npz of nnU-Net lies that has no image beside it.
        argmax: Whether classes that exclude each other are decided by the most probable one.

    Raises:
        SoftmorphError: If the file cannot be read.
    """
    # One channel stands for its class however that is decided.
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
    found = found if argmax else replace(found, decide=None)
    return replace(found, only=bool(found.labels)) if reading.channel is not None else found


def open_reference(path: Path, reading: ReadOptions, *, labelled: bool, argmax: bool = True) -> Opened:
    """Open a reference: a mask, a label map, or maps of the classes.

    Args:
        path: The file.
        reading: Those of the prediction: only what says where the voxels are goes for the reference too, and letters of
            axes only if they fit it.
        labelled: Whether labels were asked for: whole numbers are labels then.
        argmax: Whether classes that exclude each other are decided by the most probable one.

    Raises:
        SoftmorphError: If the file cannot be read.
    """
    # What an .npz of nnU-Net is told by --reference.
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


def _labelled(path: Path, found: tuple[Any, Volume] | None) -> Opened | None:
    if found is None:
        return None
    return _of_labels(path, *found)


def open_array(name: str, image: Volume | tuple[npt.NDArray[Any], Volume]) -> Opened:
    """Return what is in memory as a file is opened.

    Args:
        name: What it is called in messages.
        image: A map; or labels, integers from 0, without channels, and a map that says where they lie.

    Raises:
        InputError: If it has several axes beside those of space.
    """
    if isinstance(image, Volume):
        return _mapped(name, image, ())
    found = _of_labels(name, *image)
    assert found is not None
    return found


def _of_labels(path: Path | str, labels: npt.NDArray[Any], like: Volume) -> Opened | None:
    if like.class_axis() is not None:
        if labels.max() > 1:
            raise InputError(
                f"{path} holds several labels in several images ({like.axes} of {like.array.shape}): write each image "
                "to a file of its own."
            )
        return None  # a mask for each class
    flat = _single(path, like)
    labels = labels.reshape(flat.array.shape)

    def take(label: int) -> Volume:
        return flat.with_array((labels == label).astype(np.float32))

    def union(several: Sequence[int]) -> Volume:
        return flat.with_array(np.isin(labels, several).astype(np.float32))

    held = tuple(int(label) for label in np.unique(labels) if label)
    if len(held) == 1 and held[0] in _TRUE:
        told = f"it holds only 0 and {held[0]} and is taken as a mask."
        return Opened(path, (), {}, lambda label: flat, flat, one=True, notes=(*like.notes, told))
    several = (f"it holds the labels {_listed(held)} and is taken as a label map.",) if len(held) > 1 else ()
    return Opened(path, held, {}, take, flat, notes=(*like.notes, *several), union=union)


def _mapped(path: Path | str, volume: Volume, notes: tuple[str, ...]) -> Opened:
    axis = volume.class_axis()
    found, decided = classes_of(volume), exclusive.exclusive_classes(volume)
    labels = found.labels if decided is None else decided.labels
    regions = dict(zip(found.labels, found.regions, strict=True)) if found.regions else {}
    if axis is None:
        flat = _single(path, volume)
        # Of nnU-Net's classes each one has its label.
        known = volume.source is not None and volume.source.format == "nnunet"
        called = volume.source.channel if volume.source and known else None
        names = _names(labels, replace(volume, channels=(called,) if called else volume.channels))
        held = labels if known else ()
        told = (*volume.notes, *notes, *_unions(regions, names))
        # One channel has one class, whatever it is compared with.
        decide = None if decided is None else (lambda label: decided.mask(decided.labels[0]))
        stands = None if decided is None or known else decided.labels[0]
        return Opened(
            path,
            held,
            names,
            lambda label: flat,
            flat,
            not known,
            stands,
            notes=told,
            decide=decide,
            regions=regions,
        )
    if volume.axes[axis] == SLICE or len(labels) != volume.array.shape[axis]:
        labels = tuple(range(1, volume.array.shape[axis] + 1))
    index = {label: k for k, label in enumerate(labels)}
    notes = (*volume.notes, *notes, *_background(volume, labels, decided))
    notes += _unions(regions, _names(labels, volume))
    flat = volume.single(0)

    def take(label: int) -> Volume:
        if label not in index:
            return flat.with_array(np.zeros_like(flat.array))
        return volume.single(index[label])

    return Opened(
        path,
        tuple(label for label in labels if label),
        _names(labels, volume),
        take,
        flat,
        notes=notes,
        decide=None if decided is None else decided.mask,
        regions=regions,
    )


def _unions(regions: Mapping[int, tuple[int, ...]], names: Mapping[int, str]) -> tuple[str, ...]:
    """Say what regions are compared with, where the other file is a label map."""
    if not regions:
        return ()
    said = [
        f"{names.get(label, label)} is {', '.join(map(str, region))}" for label, region in regions.items()
    ]
    return (f"its regions are unions of labels, and compared as such with a label map: {'; '.join(said)}.",)


def _background(volume: Volume, labels: Sequence[int], decided: Exclusive | None) -> tuple[str, ...]:
    """Say which channel is taken as the background, where that is left out because of its place or name."""
    if 0 not in labels:
        return ()
    channel = labels.index(0)
    named = f" ({volume.channels[channel]})" if volume.channels else ""
    often = ""
    if decided is not None:
        often = f", the most probable at {decided.mask(0).mean():.1%} of the voxels,"
    return (
        f"its channels sum to 1: channel {channel}{named}{often} is taken as the background and not compared; to "
        f"compare it, {take_one(volume, f'--channel {channel}')}.",
    )


def _single(path: Path | str, volume: Volume) -> Volume:
    """Return a volume without its mapped axes; if one of them is longer than 1, the refusal names the file."""
    try:
        return single(volume)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _names(labels: Sequence[int], volume: Volume) -> dict[int, str]:
    """Return the names of classes; what only says the number again is none."""
    if SLICE in volume.axes:
        return {label: f"slice {label - 1}" for label in labels}
    pairs = zip(labels, volume.channels or (), strict=False)
    return {label: name for label, name in pairs if name != f"label {label}"}


def check_held(prediction: Opened, reference: Opened, labels: Sequence[int]) -> None:
    """Refuse labels that neither file has; files without any are empty, which is no mistake.

    Raises:
        InputError: If there is one.
    """
    several = [source for source in (prediction, reference) if not source.one]
    if not several or not any(source.labels for source in several):
        return
    for label in labels:
        if not any(label in source.labels for source in several):
            told = "; ".join(f"{source.path} holds {_listed(source.labels)}" for source in several)
            raise InputError(f"there is no label {label}: {told}.")


def strangers(prediction: Opened, reference: Opened) -> tuple[str, ...]:
    """Say that two files have no label in common, so that each class is in one of them only."""
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
    """Give the classes of two files, one after the other; each is made when it is asked for.

    Args:
        prediction: One file.
        reference: The other.
        labels: Which classes; none for all that either file holds.
        same_grid: See `on_one_grid`.

    Raises:
        InputError: If the files do not lie on one grid, or one map would stand for several classes.
    """
    placed, told = on_one_grid(prediction.like, reference.like, same_grid=same_grid)
    for label in wanted(prediction, reference, labels):
        mine, its = prediction.beside(reference, label), reference.beside(prediction, label)
        yield Compared(
            label,
            prediction.names.get(label) or reference.names.get(label),
            replace(mine, spacing=placed.spacing, unit=placed.unit, affine=placed.affine),
            its,
            told,
            Both(*(None if one.decide is None else one.decide(label) for one in (prediction, reference))),
            prediction.regions.get(label) or reference.regions.get(label) or (),
        )


def wanted(prediction: Opened, reference: Opened, labels: Sequence[int]) -> tuple[int, ...]:
    """Return the classes that are compared: those asked for, or all that either file holds; 1 for two single maps.

    Raises:
        InputError: If one map would stand for several of them.
    """
    ones = [source for source in (prediction, reference) if source.one]
    held = set(prediction.labels) | set(reference.labels)
    for regions, other in ((prediction.regions, reference), (reference.regions, prediction)):
        if regions and not other.regions and other.union is not None:
            # What a region covers is compared within it.
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
