"""Outputs of nnU-Net: the class of each channel of an .npz, and the geometry from an image file beside it.

`nnUNetv2_predict --save_probabilities` writes three files for a case: the labels (`case.nii.gz`, or another ending
that dataset.json names), the probabilities of all classes (`case.npz`) and `case.pkl`, a Python pickle, which is never
opened. nnU-Net saves probabilities after undoing its crop and its own axis order (`transpose_forward` in plans.json),
so their axes are in the order of the class that read the image (`image_reader_writer` in plans.json):

- SimpleITKIO, NibabelIO: (Z, Y, X), the file's (X, Y, Z) reversed. Tiff3DIO: the order of the pages.
- NibabelIOWithReorient, SimpleITKIOWithReorient: (Z, Y, X) after the image was reoriented to RAS+. When nnU-Net writes
  files, it reorients labels back but not probabilities, so this module reorients the probabilities.
- NaturalImage2DIO and 2-D images of SimpleITKIO: (1, Y, X).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from softmorph_cli.classes import SUM
from softmorph_cli.errors import FileError, InputError, SoftmorphError, UsageError
from softmorph_cli.io import select
from softmorph_cli.io.content import Verdict
from softmorph_cli.io.exclusive import HALF, Exclusive
from softmorph_cli.io.formats import named_format, read_raw
from softmorph_cli.io.git_pointers import check_fetched
from softmorph_cli.io.named_classes import NamedClasses as NamedClasses
from softmorph_cli.io.named_classes import Network
from softmorph_cli.io.named_classes import classes as classes
from softmorph_cli.io.named_classes import keep as keep
from softmorph_cli.io.named_classes import known_labels as known_labels
from softmorph_cli.io.named_classes import labelled as labelled
from softmorph_cli.io.named_classes import of_volume as of_volume
from softmorph_cli.io.named_classes import statement as statement
from softmorph_cli.io.nnunet_labels import check_labels, paint
from softmorph_cli.io.nnunet_metadata import (
    READERS,
    Classes,
    ClassKind,
    image_reader,
    named_classes,
    overlapping,
    read_description,
    tiff_spacing,
)
from softmorph_cli.io.raw import REVERSED, Affine, Array, Raw
from softmorph_cli.system.files import is_store
from softmorph_cli.system.parameters import named

ENDINGS: Final = (".nii.gz", ".nii", ".nrrd", ".mha", ".tif", ".tiff", ".png")
_ENDING: Final = re.compile(r"\.[\w.-]{1,40}")
_REORIENTING: Final = "WithReorient"
_OVERSHOOT: Final = 0.1
# What nnU-Net adds to the name of a case in that of its first image.
FIRST_IMAGE: Final = "_0000"


def place(
    raw: Raw, path: Path, reference: str | Path | None = None, *, from_logits: str | None = None
) -> Raw:
    """Return an .npz with named channels and the geometry of an image on the same voxel grid.

    Args:
        raw: The content of the .npz with its axes named and in order.
        path: The path of the .npz.
        reference: An image that gives the geometry, or a folder of images named like the cases; None for the label
            image beside the .npz, which must then agree with the classes of highest probability.
        from_logits: The function that turns logits into probabilities, "softmax" or "sigmoid", or None.

    Raises:
        FileError: If the image is missing or cannot be read.
        InputError: If the shapes or labels disagree, or dataset.json or plans.json is malformed.
    """
    if raw.axes not in ("CZYX", "CYX"):
        raise InputError(
            f"{path} has axes {raw.axes} of shape {raw.array.shape}; an .npz of nnU-Net has one axis of classes "
            f"and two or three of space: name them with {named('axes', 'CZYX')}."
        )
    dataset = read_description(path, "dataset.json", "labels")
    plans = read_description(path, "plans.json", "image_reader_writer")
    # Smaller negative values are overshoot; `values` refuses both that and values that are too large.
    logits = float(raw.array.min()) < -_OVERSHOOT
    sums = not logits and _sums_to_one(raw.array)
    names, classes, notes = named_classes(dataset, path, raw.array.shape[0])
    if classes is None:
        one = sums or (logits and from_logits != "sigmoid")
        count = len(raw.array)
        classes = Classes(tuple(range(count)), "complete") if one else overlapping(count)
        names = tuple(f"label {label}" for label in classes.labels)
    exclusive = classes.kind == "complete"
    if from_logits is not None and sums and exclusive:
        raise InputError(
            f"{path} holds probabilities already, which sum to 1; leave {named('from_logits')} out."
        )
    if from_logits is not None and exclusive != (from_logits == "softmax"):
        right, why = ("softmax", "exclude each other") if exclusive else ("sigmoid", "overlap")
        raise InputError(f"the classes of {path} {why}: use {named('from_logits', right)}.")
    if exclusive and not logits and not sums:
        notes.append("its channels do not sum to 1, though its classes exclude each other.")
    beside = image_in(Path(reference), path) if reference is not None else _sibling(path, dataset)
    family, image = read_raw(beside)
    # Tiff3DIO ignores metadata, and a narrow stack of bytes may be taken for a colour image.
    pages = family.name == "tiff" and image.array.ndim == 3 == raw.array.ndim - 1
    image = select.arrange(select.name_axes(image, str(beside), axes="ZYX" if pages else None))
    array, more = _reorient(raw.array, image, image_reader(dataset, plans, path), path, beside)
    notes += more
    array = _reshaped(array, raw, image, path, beside)
    if reference is None:
        classes, more = check_labels(array, image, classes, logits, path, beside)
        notes += more
    if image.format == "tiff" and not image.spacing:
        spacing, more = tiff_spacing(beside)
        image = replace(image, spacing=spacing)
        notes += more
    return replace(
        raw,
        array=array,
        axes="C" + (image.axes or ""),
        spacing=image.spacing,
        unit=image.unit,
        affine=image.affine,
        channels=names,
        # The metadata of a TIFF are not kept: those of ImageJ would name other channels.
        native=Network(classes, family.name, None if family.name == "tiff" else image.native, logits),
        notes=(*raw.notes, *notes),
    )


def image_in(reference: Path, path: Path) -> Path:
    """Return the reference image of a case: the file `reference`, or the image with the case's name in that folder.

    nnU-Net appends a channel index to names of input images, so the image of case.npz may be case_0000.nii.gz.

    Raises:
        FileError: If the folder holds no image of that name.
        InputError: If the folder holds several images of that name.
    """
    if not reference.is_dir() or is_store(reference):
        return reference
    stem = path.name[: -len(path.suffix)]
    for name in (stem, f"{stem}{FIRST_IMAGE}"):
        found = [one for ending in ENDINGS if (one := reference / f"{name}{ending}").is_file()]
        if len(found) > 1:
            both = " and ".join(one.name for one in found)
            raise InputError(
                f"{reference} holds {both}, and {path} needs one of them: name it with "
                f"{named('like', 'FILE', option='reference')}; of several cases, leave one of the two in the folder."
            )
        if found:
            return found[0]
    raise FileError(
        f"{reference} holds no image of {path.name}: it would be called {stem}{ENDINGS[0]} or "
        f"{stem}{FIRST_IMAGE}{ENDINGS[0]}."
    )


def check_reference(reference: str | Path | None, paths: Sequence[Path]) -> None:
    """Refuse a reference that would give several .npz files (cases) the geometry of one image.

    Args:
        reference: A reference image, a folder of reference images, or None.
        paths: The paths of the files that are read.

    Raises:
        FileError: If there is no such file or folder.
        UsageError: If several cases would get the geometry of one image.
    """
    cases = [path for path in paths if path.suffix.lower() == ".npz"]
    if reference is None or len(cases) < 2:
        return
    if not Path(reference).exists():
        raise FileError(f"{reference} does not exist.")
    if not Path(reference).is_dir() or is_store(Path(reference)):
        raise UsageError(
            f"{named('like', option='reference')} {reference}: it says where one case lies, and {len(cases)} are read; "
            f"name the folder with the image of each, which has the case's name: {_folder_of(reference, cases)}."
        )
    several = [name for name, count in Counter(path.name for path in cases).items() if count > 1]
    if several:
        raise UsageError(
            f"{named('like', option='reference')} {reference}: {several[0]} is the name of several cases, and the "
            "folder has one image for them; read one folder at a time."
        )


def _folder_of(reference: str | Path, cases: Sequence[Path]) -> str:
    """Return the option to type: the folder of the reference where that holds the image of each case."""
    folder = Path(reference).parent
    try:
        for case in cases:
            image_in(folder, case)
    except SoftmorphError:
        return named("like", "FOLDER", option="reference")
    return named("like", folder, option="reference")


def refuse_logits(raw: Raw, name: str) -> None:
    """Raise an error that names the option for logits, if an .npz holds logits.

    Raises:
        InputError: If the values are logits.
    """
    if isinstance(raw.native, Network) and raw.native.logits:
        low, high = float(raw.array.min()), float(raw.array.max())
        raise InputError(
            f"{name} holds values from {low:g} to {high:g}, so it is an old file of logits; "
            f"turn them into probabilities with {_option(raw.native.classes)}."
        )


def choose(raw: Raw, channel: int | str | None, name: str) -> Raw:
    """Return an .npz with the channel of this index or name, or without the background if `channel` is None.

    The channel axis is removed if a single channel is left.

    Raises:
        InputError: If the file has no such channel.
    """
    network, names, count = raw.native, raw.channels or (), raw.array.shape[0]
    classes, numbers = network.classes, chosen(raw, channel, name)
    kind: ClassKind = "rest" if classes.kind == "complete" else classes.kind
    if channel is not None:
        picked = select.pick_channel(raw, channel, name)
        return replace(picked, native=replace(network, classes=classes.only(*numbers, kind=kind)))
    if len(numbers) == count:
        return raw
    network = replace(network, classes=classes.only(*numbers, kind=kind))
    left_out = f"{names[0]!r} is left out"
    if count == 2:
        notes = (*raw.notes, f"{names[1]!r} is read; {left_out}.")
        return replace(raw, array=raw.array[1], axes=raw.axes and raw.axes[1:], native=network, notes=notes)
    return replace(
        raw, array=raw.array[1:], channels=names[1:], native=network, notes=(*raw.notes, left_out + ".")
    )


def chosen(raw: Raw, channel: int | str | None, name: str) -> tuple[int, ...]:
    """Return the indices in the file of the channels that `choose` selects.

    Raises:
        InputError: If the file has no such channel.
    """
    if channel is not None:
        return (select.channel_index(raw, channel, name)[1],)
    classes, count = raw.native.classes, raw.array.shape[0]
    background = classes.kind == "complete" and classes.labels[0] == 0 and count > 1
    return tuple(range(int(background), count))


def painted(raw: Raw, divide_by: float | None = None, inside: Array | None = None) -> Exclusive | None:
    """Return what nnU-Net paints of the regions of an .npz with all of its channels; None if it has no such regions.

    Args:
        raw: The content of the .npz after `place`.
        divide_by: The stored number that means 1, or None for 1.
        inside: A mask outside of which values count as 0, or None.
    """
    network = raw.native
    if not isinstance(network, Network) or network.classes.kind != "nested":
        return None
    found = network.classes
    labels = paint(raw.array, found.labels, 0 if network.logits else HALF * (divide_by or 1))
    if inside is not None:
        labels = np.where(inside, labels, np.zeros((), labels.dtype))
    return Exclusive(labels, found.labels, dict(zip(found.labels, found.regions, strict=True)))


def describe(raw: Raw, path: Path) -> Raw:
    """Return an .npz with a note for `probe` that lists the classes, or states why the .npz cannot be read."""
    try:
        raw = place(raw, path)
    except SoftmorphError as error:
        return replace(raw, notes=(*raw.notes, str(error)))
    found = raw.native.classes
    pairs = zip(raw.channels or (), found.labels, strict=True)
    listed = ", ".join(f"{name} ({label})" for name, label in pairs)
    how = {"complete": "exclude each other", "nested": "are regions that overlap"}.get(found.kind, "overlap")
    return replace(raw, notes=(*raw.notes, f"its classes {how}: {listed}."))


def advise(verdict: Verdict, raw: Raw) -> Verdict:
    """Return a verdict with the options that read this .npz; `raw` must be a result of `describe`."""
    network, option = raw.native, verdict.option
    if verdict.kind == "logits":
        option = _option(network.classes) if isinstance(network, Network) else named("from_logits", "softmax")
    if not isinstance(network, Network):
        # The last note says why it has no geometry: with labels beside it only the axes may be wrong.
        reason = raw.notes[-1] if raw.notes else ""
        axes = (named("axes", letters) for letters in ("CXYZ", "CZYX"))
        more = next((words for words in axes if words in reason), named("like", "IMAGE", option="reference"))
        option = f"{option} {more}".strip()
    return replace(verdict, option=option)


def _option(found: Classes) -> str:
    return named("from_logits", "softmax" if found.kind == "complete" else "sigmoid")


def _sums_to_one(array: Array) -> bool:
    # The sum of infinities may be NaN.
    with np.errstate(invalid="ignore", over="ignore"):
        total = array.sum(axis=0, dtype=np.float32)
    return bool((np.abs(total - 1) <= SUM).all())


def _sibling(path: Path, dataset: Mapping[str, Any]) -> Path:
    """Return the path of the label image beside an .npz.

    Raises:
        FileError: If the label image is missing, or in an unsupported format.
    """
    stem = path.name[: -len(path.suffix)] if path.suffix else path.name
    ending = str(dataset.get("file_ending") or "")
    ending = ending if _ENDING.fullmatch(ending) else ""
    endings = dict.fromkeys((ending, *ENDINGS) if ending else ENDINGS)
    beside = [path.with_name(stem + one) for one in endings]
    for one in beside:
        check_fetched(one)
    found = next((one for one in beside if one.is_file()), None)
    wanted = path.with_name(stem + (ending or ENDINGS[0]))
    if found is None:
        raise FileError(
            f"{path} does not say where it lies, and {wanted} is not beside it; "
            f"name an image of the same grid with {named('like', 'FILE', option='reference')}, or of several cases the "
            "folder of theirs."
        )
    if named_format(found) is None:
        raise FileError(
            f"{found}, which says where {path.name} lies, is in a format that is not read; "
            f"save it as .nii.gz and name it with {named('like', 'FILE', option='reference')}."
        )
    return found


def _reorient(array: Array, image: Raw, reader: str, path: Path, beside: Path) -> tuple[Array, list[str]]:
    """Return the array in the axis order of the image on disk, and a note if nnU-Net's reader class is unknown."""
    if not reader.endswith(_REORIENTING):
        if reader in READERS:
            return array, []
        return array, [f"its reader {reader} is not known; its axes are taken to be those of {beside.name}."]
    if image.affine is None:
        raise InputError(
            f"{path} was turned to RAS+ by {reader}, and {beside} has no orientation to turn it back; "
            f"name an image that has one with {named('like', 'FILE', option='reference')}."
        )
    if array.ndim != 4 or image.axes != "ZYX":
        raise InputError(f"{reader} reads 3-D images; {path} has shape {array.shape[1:]}.")
    source, flip = _orientation(image.affine)
    array = array.transpose([0, *(1 + axis for axis in source)])
    return np.flip(array, tuple(1 + axis for axis in range(3) if flip[axis])), []


def _orientation(affine: Affine) -> tuple[list[int], list[bool]]:
    """Return, for each file axis z, y, x, the index of the axis in the RAS+ image and whether the axis is flipped."""
    from nibabel import orientations

    # One row for each of the file's axes x, y, z: the world axis nearest to it, and its sign.
    find: Any = orientations.io_orientation  # not annotated
    found = find(affine[:, REVERSED])[::-1]
    return [2 - int(axis) for axis, _ in found], [sign < 0 for _, sign in found]


def _reshaped(array: Array, raw: Raw, image: Raw, path: Path, beside: Path) -> Array:
    """Return the array reshaped to the voxel grid of the image, with the channel axis first.

    Raises:
        InputError: If the shapes differ in more than axes of size one.
    """
    shape, wanted = array.shape[1:], image.array.shape
    full = [size for size in shape if size > 1] == [size for size in wanted if size > 1]
    if set(image.axes or "") <= set("ZYX") and (shape == wanted or (len(shape) != len(wanted) and full)):
        return array.reshape(array.shape[0], *wanted)
    advice = f"name the image it belongs to with {named('like', 'FILE', option='reference')}."
    if raw.shape[1:] == wanted[::-1] or shape == wanted[::-1]:
        advice = f"its axes are in the opposite order: add {named('axes', 'CXYZ')}."
    elif raw.notes and raw.native == "softmax":
        advice = "nnU-Net 1 leaves out the empty border that it cropped: predict again with nnU-Net 2."
    raise InputError(
        f"{path} has {' × '.join(map(str, shape))} voxels and {beside} has {' × '.join(map(str, wanted))} "
        f"(z × y × x): {advice}"
    )
