"""Reads the complete maps of a folder, and images of the same names, as subjects of a shape prior."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.completion.box import Grid
from softmorph_cli.completion.training import Subject
from softmorph_cli.errors import InputError
from softmorph_cli.io.formats import stem_of
from softmorph_cli.io.options import DEFAULT, ReadOptions
from softmorph_cli.io.reading import read_either, read_image, read_labels, read_map
from softmorph_cli.pipeline.batch.plan import FileSelection, first_few, inputs
from softmorph_cli.system import machine
from softmorph_cli.system.parameters import named
from softmorph_cli.volume import Volume

if TYPE_CHECKING:
    from softmorph_cli.completion.prior import Prior

# What nnU-Net adds to the name of a case in that of its first image.
_FIRST_IMAGE: Final = "_0000"
# Positions of a map and its image may differ by this share of a voxel.
_TOLERANCE: Final = 0.1

Labels = npt.NDArray[Any]


def read_subjects(
    folder: Path,
    *,
    labels: Sequence[int] = (),
    images: Path | None = None,
    voxels: bool = False,
    reading: ReadOptions = DEFAULT,
    report: Callable[[str, int, int], None] | None = None,
) -> list[Subject]:
    """Read the maps of a folder, sorted by name.

    Args:
        folder: The folder. Each file holds classes that exclude each other, one class, or labels; of labels each is a
            class, "class 2" for label 2, if it occurs in any of the files.
        labels: The labels that are taken; empty for all but 0. If labels are given, all files are label maps.
        images: The folder of the images; `a_0000.nii.gz` too is the image of `a.nii.gz`.
        voxels: Whether lengths are counted in voxels, and what files say about their size is not used.
        reading: The options of reading the maps.
        report: A function that is called for each file, with a text and the numbers of files done and of all.

    Raises:
        FileError: If a folder or a file cannot be read.
        InputError: If a file is no map, an image is missing or does not fit its map, or a label is nowhere, or the
            label maps hold none but 0; or if all maps need more memory than may be used, which their first ones tell.
    """
    names = inputs(FileSelection(folder, folder))
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
    for label in labels:
        if label not in held:
            raise InputError(
                f"{folder}: no file holds the label {label}; they hold {', '.join(map(str, held))}: choose "
                f"one of these, or leave {named('label')} out."
            )
    taken = sorted(set(labels)) or held
    subjects = []
    for name, one in zip(names, read, strict=True):
        volume = _one_hot(*one, taken) if isinstance(one, tuple) else one
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
    taken, held = label_numbers(prior.classes), [int(k) for k in np.unique(labels) if k]
    if taken is None or not set(held) <= set(taken):
        raise InputError(
            f"{path} holds the labels {', '.join(map(str, held))}, and the classes of the prior are "
            f"{', '.join(prior.classes)}: use a prior that was trained on these labels, or give probabilities with a "
            "channel for each class."
        )
    note = f"labels are read as probabilities of 0 and 1, a channel each: {', '.join(prior.classes)}."
    return replace(_one_hot(labels, like, taken), notes=(*like.notes, note))


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


def _one_hot(labels: Labels, like: Volume, taken: Sequence[int]) -> Volume:
    """Return a label map as a map of one channel for each label, with the names of the labels."""
    planes = np.stack([labels == label for label in taken]).astype(np.float32)
    names = tuple(f"class {label}" for label in taken)
    if len(taken) == 1 and like.source and like.source.channel and not like.source.numbers:
        names = (like.source.channel,)  # the only image, which the file names
    return replace(like, array=planes, axes=f"C{like.axes}", channels=names)


def _images(folder: Path, names: Sequence[str], images: Path | None) -> dict[str, Path] | None:
    """Return the path of the image of each map, or None without a folder of images."""
    if images is None:
        return None
    found = {stem_of(name): images / name for name in inputs(FileSelection(images, images))}
    either = {name: found.get(stem_of(name)) or found.get(stem_of(name) + _FIRST_IMAGE) for name in names}
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
