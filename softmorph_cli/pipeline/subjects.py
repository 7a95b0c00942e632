"""Reads the complete maps of a folder, and images of the same names, as subjects of a shape prior."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.completion.box import Grid
from softmorph_cli.completion.training import Subject
from softmorph_cli.errors import InputError
from softmorph_cli.io.formats import stem_of
from softmorph_cli.io.nnunet import FIRST_IMAGE, NamedClasses, labelled, of_volume
from softmorph_cli.io.options import DEFAULT, ReadOptions
from softmorph_cli.io.reading import read_either, read_image, read_labels, read_map
from softmorph_cli.pipeline.batch.plan import FileSelection, first_few, inputs
from softmorph_cli.system import machine
from softmorph_cli.system.parameters import named
from softmorph_cli.system.printable import meant
from softmorph_cli.volume import Volume

if TYPE_CHECKING:
    from softmorph_cli.completion.prior import Prior

# Positions of a map and its image may differ by this share of a voxel.
_TOLERANCE: Final = 0.1

Labels = npt.NDArray[Any]


def read_subjects(
    folder: Path,
    *,
    labels: Sequence[int | str] = (),
    images: Path | None = None,
    voxels: bool = False,
    reading: ReadOptions = DEFAULT,
    report: Callable[[str, int, int], None] | None = None,
    classes: Sequence[str] = (),
) -> list[Subject]:
    """Read the maps of a folder, sorted by name.

    Args:
        folder: The folder. Each file holds classes that exclude each other, one class, or labels; of labels each is a
            class if it occurs in any of the files: of the name that dataset.json gives it, else "class 2" for label 2.
        labels: The labels that are taken, by number or name; empty for all but 0. If some are given, all files are
            label maps.
        images: The folder of the images; `a_0000.nii.gz` too is the image of `a.nii.gz`.
        voxels: Whether lengths are counted in voxels, and what files say about their size is not used.
        reading: The options of reading the maps.
        report: A function that is called for each file, with a text and the numbers of files done and of all.
        classes: The classes of the prior that the maps are for, if there is one. Where these are named after labels,
            such as "class 2", the labels of maps are, too.

    Raises:
        FileError: If a folder or a file cannot be read.
        InputError: If a file is no map, an image is missing or does not fit its map, or a label is nowhere, or the
            label maps hold none but 0; or if all maps need more memory than may be used, which their first ones tell.
    """
    names = inputs(FileSelection(folder, folder))
    _check_cases(folder, names)
    beside = _images(folder, names, images)
    read: list[Volume | tuple[Labels, Volume]] = []
    values = 0
    for number, name in enumerate(names):
        if report is not None:
            report(f"reading {name}", number, len(names))
        read.append(_map_or_labels(folder / name, reading, surely=bool(labels)))
        values += _values(read[-1], images is not None)
        _check_memory(folder, values, (number + 1) / len(names))
    held = sorted({int(k) for one in read if isinstance(one, tuple) for k in np.unique(one[0]) if k})
    maps_of_labels = [name for name, one in zip(names, read, strict=True) if isinstance(one, tuple)]
    if maps_of_labels and not held:
        raise InputError(
            f"{folder}: no label but 0 occurs in {first_few(maps_of_labels)}, so there is no object: give label maps "
            "with other labels, or probabilities."
        )
    numbers = [
        label if isinstance(label, int) else _number(folder, label, dict(zip(names, read, strict=True)))
        for label in labels
    ]
    for label in numbers:
        if label not in held:
            raise InputError(
                f"{folder}: no file holds the label {label}; they hold {', '.join(map(str, held))}: choose "
                f"one of these, or leave {named('label')} out."
            )
    taken = sorted(set(numbers)) or held
    subjects = []
    numbered = label_numbers(classes) is not None
    for name, one in zip(names, read, strict=True):
        path = folder / name
        volume = _one_hot(path, *one, taken, numbered=numbered) if isinstance(one, tuple) else one
        image = None if beside is None else _image(beside[name], volume, folder / name)
        subjects.append(Subject.of(name, volume, image, voxels))
    return subjects


def _check_memory(folder: Path, values: int, share: float) -> None:
    """Raise an error if the maps of a folder need more memory than may be used.

    Args:
        folder: The folder.
        values: The numbers that the subjects of the maps read so far hold.
        share: How much of all maps these are, from 0 to 1.

    Raises:
        InputError: If they do.
    """
    # Twice: in the arrays of the subjects, and in the maps as read or the table that a training draws from.
    needed, allowed = 2 * 4 * values / share, machine.memory()
    if allowed is not None and needed > allowed:
        raise InputError(
            f"{folder}: a training with these maps needs about {needed / 2**30:.2g} GiB, and {allowed / 2**30:.2g} GiB "
            "may be used: put fewer maps into the folder, or maps on coarser grids."
        )


def _values(read: Volume | tuple[Labels, Volume], images: bool) -> int:
    """Return how many numbers a subject holds: for each voxel one of the background, of each class and of the image."""
    if isinstance(read, tuple):
        return read[0].size * (len(np.union1d(read[0], 0)) + images)
    voxels = int(np.prod(read.array.shape[-read.spatial_dims :]))
    return read.array.size + voxels * (1 + images)


def _number(folder: Path, label: str, read: Mapping[str, Volume | tuple[Labels, Volume]]) -> int:
    """Return the label that has a name in one of the label maps of a folder.

    Raises:
        InputError: If none has; the message lists the names.
    """
    classes = [of_volume(folder / name, one[1]) for name, one in read.items() if isinstance(one, tuple)]
    known = {
        name: union[0]
        for found in classes
        if found is not None
        for name, union in zip(found.names, found.unions, strict=True)
        if len(union) == 1
    }
    if label not in known:
        listed = f"; they are {', '.join(known)}: choose one of these" if known else ": give it by its number"
        raise InputError(f"{folder}: no label is called {label!r}{meant(label, known)}{listed}.")
    return known[label]


def _check_cases(folder: Path, names: Sequence[str]) -> None:
    """Refuse a case that a folder holds twice: it would count twice, and could be learned and held out.

    Raises:
        InputError: If two files have one name apart from their formats.
    """
    cases: dict[str, str] = {}
    for name in names:
        other = cases.setdefault(stem_of(name), name)
        if other != name:
            raise InputError(
                f"{folder} holds {other} and {name}, which are one case by their names: move one of them to another "
                "folder."
            )


def read_for(path: Path, reading: ReadOptions, prior: Prior | None) -> Volume:
    """Read a map to which a prior of several classes may be fitted: labels as one channel for each of its classes.

    Args:
        path: The file.
        reading: The options of reading.
        prior: The prior; None for a map without one.

    Raises:
        FileError: If a file cannot be read.
        InputError: If the file is no map, or holds labels that are no classes of the prior.
    """
    if prior is None or len(prior.classes) == 1:
        return read_map(path, reading)
    read = _map_or_labels(path, reading, surely=False)
    if isinstance(read, Volume):
        return read
    labels, like = read
    taken, held = _numbers(path, *read, prior.classes), [int(k) for k in np.unique(labels) if k]
    if taken is None or not set(held) <= set(taken):
        raise InputError(
            f"{path} holds the labels {', '.join(map(str, held))}, and the classes of the prior are "
            f"{', '.join(prior.classes)}: use a prior that was trained on these labels, or give probabilities with a "
            "channel for each class."
        )
    note = f"labels are read as probabilities of 0 and 1, a channel each: {', '.join(prior.classes)}."
    numbered = label_numbers(prior.classes) is not None
    return replace(_one_hot(path, labels, like, taken, numbered=numbered), notes=(*like.notes, note))


def label_numbers(names: Sequence[str] | None) -> tuple[int, ...] | None:
    """Return the labels of channels that are named after them, "class 2" for label 2; None if any is not."""
    found = [re.fullmatch(r"class (\d+)", name) for name in names or ()]
    return tuple(int(one[1]) for one in found if one) if found and all(found) else None


def _map_or_labels(path: Path, reading: ReadOptions, *, surely: bool) -> Volume | tuple[Labels, Volume]:
    if surely:
        found = read_labels(path, reading, surely=True)
        if found is None or found[1].class_axis() is not None:
            raise InputError(f"{path} is no label map: leave {named('label')} out.")
        return found[0].reshape(found[1].single().array.shape), found[1].single()
    if reading.only("values").given or reading.channel is not None:
        return read_either(path, reading).read_map()
    either = read_either(path, reading)
    # Masks in several channels are a map of several classes.
    if either.labels is None or either.labels[1].class_axis() is not None:
        return either.read_map()
    found = either.labels
    return found[0].reshape(found[1].single().array.shape), found[1].single()


def _named(path: Path, labels: Labels, like: Volume) -> NamedClasses | None:
    """Return the names of all labels of a label map, if dataset.json or softmorph's provenance states them."""
    found = of_volume(path, like)
    return None if found is None or found.others(labels) else found


def _numbers(path: Path, labels: Labels, like: Volume, classes: Sequence[str]) -> tuple[int, ...] | None:
    """Return the label of each class in a label map: by its name there, else by a name such as "class 2"."""
    found = _named(path, labels, like)
    known = {} if found is None else {found.name_of(label): label for label in found.classes.labels}
    return tuple(known[name] for name in classes) if set(classes) <= set(known) else label_numbers(classes)


def _one_hot(
    path: Path, labels: Labels, like: Volume, taken: Sequence[int], *, numbered: bool = False
) -> Volume:
    """Return a label map as a map of one channel for each label, with the names of the labels.

    If `numbered`, the names are "class 2" for label 2, whatever dataset.json calls it.
    """
    planes = np.stack([labels == label for label in taken]).astype(np.float32)
    found = None if numbered else _named(path, labels, like)
    stated = [None if found is None else found.name_of(label) for label in taken]
    names = [name or "" for name in stated] if all(stated) else [f"class {label}" for label in taken]
    if (
        len(taken) == 1
        and not all(stated)
        and like.source
        and like.source.channel
        and not like.source.numbers
    ):
        names = [like.source.channel]  # the only image, which the file names
    return labelled(replace(like, array=planes, axes=f"C{like.axes}"), taken, names)


def _images(folder: Path, names: Sequence[str], images: Path | None) -> dict[str, Path] | None:
    """Return the path of the image of each map, or None without a folder of images."""
    if images is None:
        return None
    found = {stem_of(name): images / name for name in inputs(FileSelection(images, images))}
    either = {name: found.get(stem_of(name)) or found.get(stem_of(name) + FIRST_IMAGE) for name in names}
    missing = [name for name, path in either.items() if path is None]
    if missing:
        raise InputError(
            f"{images} holds no image of the name of {first_few(missing)}, of {len(names)} maps in {folder}: give one "
            f"for each map, or leave {named('images')} out."
        )
    return {name: path for name, path in either.items() if path is not None}


def _image(path: Path, volume: Volume, of: Path) -> npt.NDArray[np.float32]:
    """Return the image of a map; refuse one on another grid."""
    image, like = read_image(path)
    shape = volume.array.shape[-volume.spatial_dims :]
    if image.shape != shape:
        raise InputError(
            f"{path} has the shape {image.shape}, and {of} {shape}: give an image on the grid of its map."
        )
    if like.affine is not None and volume.affine is not None:
        mine, its = (Grid.of(one) for one in (volume, like))
        corners = np.vstack([np.zeros(len(shape)), np.diag(np.array(shape) - 1.0)])
        apart = corners @ mine.steps + mine.affine[:3, 3] - corners @ its.steps - its.affine[:3, 3]
        if np.abs(apart).max() > _TOLERANCE * np.linalg.norm(mine.steps, axis=1).min():
            raise InputError(f"{path} lies at another place than {of}: give an image on the grid of its map.")
    return image
