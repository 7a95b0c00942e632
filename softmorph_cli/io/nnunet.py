"""nnU-Net's outputs: which class each channel is, and the image that says where they lie in the world.

`nnUNetv2_predict --save_probabilities` writes three files for a case: the labels (`case.nii.gz`, or another ending
that dataset.json names), the probabilities of all classes (`case.npz`) and `case.pkl`, a Python pickle, which is never
opened. When nnU-Net saves the probabilities it has already undone its crop and its own order of axes
(`transpose_forward` in plans.json), so what is left is the order of the class that read the image
(`image_reader_writer` in plans.json):

- SimpleITKIO, NibabelIO: (Z, Y, X), which is the file's (X, Y, Z) backwards. Tiff3DIO: the order of the pages.
- NibabelIOWithReorient, SimpleITKIOWithReorient: the same after the image was turned to RAS+; labels are turned back
  when they are written and probabilities are not, so it is done here.
- NaturalImage2DIO and 2-D images of SimpleITKIO: (1, Y, X).
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from softmorph_cli.errors import FileError, InputError, SoftmorphError, UsageError
from softmorph_cli.io import select
from softmorph_cli.io.exclusive import numbered
from softmorph_cli.io.formats import named_format, read_raw
from softmorph_cli.io.pointers import check_fetched
from softmorph_cli.io.raw import REVERSED, Affine, Array, Kept, Raw
from softmorph_cli.io.values import Verdict, whole
from softmorph_cli.system.files import is_store
from softmorph_cli.system.printable import typed
from softmorph_cli.volume import Volume

Kind = Literal["complete", "rest", "overlapping", "nested"]

ENDINGS: Final = (".nii.gz", ".nii", ".nrrd", ".mha", ".tif", ".tiff", ".png")
_ENDING = re.compile(r"\.[\w.-]{1,40}")
_READERS = ("SimpleITKIO", "NibabelIO", "Tiff3DIO", "NaturalImage2DIO")
_REORIENTING = "WithReorient"
# Results lie in trainer/fold_0/validation, and dataset.json and plans.json in the first of these.
_PARENTS = 3
# float16 has 11 bits, and the sum of many classes adds up their errors.
_ROUNDING: Final = {"float16": 1e-3}
_SUM = 0.02
_OVERSHOOT = 0.1
# Of labels: nnU-Net writes them with 8 or 16 bits.
_HIGHEST = 65535


@dataclass(frozen=True)
class Classes:
    """What the channels of a map stand for.

    Attributes:
        labels: The label of each channel, in order; one for a map without a channel axis.
        kind: "complete": one class at each voxel, and the background is one of the channels, so that they sum to 1;
            "rest": one class at each voxel, and the background is what the channels leave of 1;
            "overlapping": each channel by itself; "nested": the same, but where several are above one half the
            last one counts (nnU-Net's regions).
        regions: Of nnU-Net's regions the labels that each channel is the union of; empty for anything else. What
            `labels` has for a region is the one that it is painted with.
    """

    labels: tuple[int, ...]
    kind: Kind
    regions: tuple[tuple[int, ...], ...] = ()

    def only(self, *indices: int, kind: Kind | None = None) -> Classes:
        """Return some of the channels; the kind stays where it is not given."""
        regions = tuple(self.regions[k] for k in indices) if self.regions else ()
        return Classes(tuple(self.labels[k] for k in indices), kind or self.kind, regions)


@dataclass(frozen=True)
class Network:
    """`Raw.native` of an .npz that has found its place.

    Attributes:
        classes: What its channels are.
        format: The family of the image that its geometry is from.
        header: What that family's reader put aside.
        logits: Whether its values reach far below 0.
    """

    classes: Classes
    format: str
    header: Any
    logits: bool


@dataclass(frozen=True)
class KeptNetwork(Kept):
    """A `Kept` of the image beside an .npz, so that a result takes that header over."""

    classes: Classes | None = None


def place(
    raw: Raw, path: Path, reference: str | Path | None = None, *, from_logits: str | None = None
) -> Raw:
    """Give the channels of an .npz their names and its voxels their place.

    Args:
        raw: The .npz as it is stored, its axes named and arranged.
        path: The file.
        reference: An image of the same grid; only its geometry is used. Of a folder it is the image of the case's name,
            see `image_in`. Without it, it is the file of labels beside the .npz, and these must be the classes of
            highest probability.
        from_logits: What will be done to the values, or None.

    Raises:
        FileError: If there is no such image, or it cannot be read.
        InputError: If shapes or labels disagree, or a description is malformed.
    """
    if raw.axes not in ("CZYX", "CYX"):
        raise InputError(
            f"{path} has axes {raw.axes} of shape {raw.array.shape}; an .npz of nnU-Net has one axis of classes "
            "and two or three of space: name them with --axes CZYX."
        )
    dataset, plans = _description(path, "dataset.json", "labels"), _description(path, "plans.json", "")
    # Less is overshoot, and what is only too large is scaled: `values` has its words for both.
    logits = float(raw.array.min()) < -_OVERSHOOT
    sums = not logits and _sums_to_one(raw.array, 0)
    names, classes, notes = _classes(dataset, path, raw.array.shape[0])
    if classes is None:
        one = sums or (logits and from_logits != "sigmoid")
        count = len(raw.array)
        classes = Classes(tuple(range(count)), "complete") if one else _apart(count)
        names = tuple(f"label {label}" for label in classes.labels)
    exclusive = classes.kind == "complete"
    if from_logits is not None and sums and exclusive:
        raise InputError(f"{path} holds probabilities already, which sum to 1; leave --from-logits out.")
    if from_logits is not None and exclusive != (from_logits == "softmax"):
        right, why = ("softmax", "exclude each other") if exclusive else ("sigmoid", "overlap")
        raise InputError(f"the classes of {path} {why}: use --from-logits {right}.")
    if exclusive and not logits and not sums:
        notes.append("its channels do not sum to 1, though its classes exclude each other.")
    beside = image_in(Path(reference), path) if reference is not None else _sibling(path, dataset)
    family, image = read_raw(beside)
    # Tiff3DIO looks at no metadata, and a narrow map of bytes may pass for a colour image.
    pages = family.name == "tiff" and image.array.ndim == 3 == raw.array.ndim - 1
    image = select.arrange(select.name_axes(image, str(beside), axes="ZYX" if pages else None))
    array, told = _as_filed(raw.array, image, _reader(dataset, plans, path), path, beside)
    array = _fitted(array, raw, image, path, beside)
    if reference is None:
        classes, more = _checked(array, image, classes, logits, path, beside)
        told += more
    if image.format == "tiff" and not image.spacing:
        spacing, more = _spacing_beside(beside)
        image = replace(image, spacing=spacing)
        told += more
    return replace(
        raw,
        array=array,
        axes="C" + (image.axes or ""),
        spacing=image.spacing,
        unit=image.unit,
        affine=image.affine,
        channels=names,
        # A TIFF of nnU-Net says nothing that is worth keeping, and ImageJ's kind names channels.
        native=Network(classes, family.name, None if family.name == "tiff" else image.native, logits),
        notes=(*raw.notes, *notes, *told),
    )


def image_in(reference: Path, path: Path) -> Path:
    """Return the image that a case takes its place from: the one that is named, or of a folder that of the case's name.

    nnU-Net numbers the channels of its inputs, so that case.npz may come from case_0000.nii.gz.

    Raises:
        FileError: If the folder holds no image of that name.
        InputError: If it holds several.
    """
    if not reference.is_dir() or is_store(reference):
        return reference
    stem = path.name[: -len(path.suffix)]
    for name in (stem, f"{stem}_0000"):
        found = [one for ending in ENDINGS if (one := reference / f"{name}{ending}").is_file()]
        if len(found) > 1:
            both = " and ".join(one.name for one in found)
            raise InputError(
                f"{reference} holds {both}, and {path} needs one of them: name it with --reference FILE."
            )
        if found:
            return found[0]
    raise FileError(
        f"{reference} holds no image of {path.name}: it would be called {stem}{ENDINGS[0]} or {stem}_0000{ENDINGS[0]}."
    )


def check_reference(reference: str | Path | None, paths: Sequence[Path]) -> None:
    """Refuse a place that would be that of several cases.

    Args:
        reference: An image, a folder of them, or None.
        paths: The files that are read.

    Raises:
        UsageError: If it would.
    """
    cases = [path for path in paths if path.suffix.lower() == ".npz"]
    if reference is None or len(cases) < 2:
        return
    if not Path(reference).is_dir() or is_store(Path(reference)):
        raise UsageError(
            f"--reference {reference}: it says where one case lies, and {len(cases)} are read; name the folder "
            "with the image of each, which has the case's name."
        )
    several = [name for name, count in Counter(path.name for path in cases).items() if count > 1]
    if several:
        raise UsageError(
            f"--reference {reference}: {several[0]} is the name of several cases, and the folder has one image for "
            "them; read one folder at a time."
        )


def refuse_logits(raw: Raw, name: str) -> None:
    """Name the option that reads logits.

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
    """Keep one channel, counted and named as in the file, or all but the background; a single one loses its axis.

    Raises:
        InputError: If there is no such channel.
    """
    network, names, count = raw.native, raw.channels or (), raw.array.shape[0]
    classes, numbers = network.classes, chosen(raw, channel, name)
    kind: Kind = "rest" if classes.kind == "complete" else classes.kind
    if channel is not None:
        picked = select.pick_channel(raw, channel, name)
        return replace(picked, native=replace(network, classes=classes.only(*numbers, kind=kind)))
    if len(numbers) == count:
        return raw
    network = replace(network, classes=classes.only(*numbers, kind=kind))
    left_out = f"{names[0]!r} is left out (--channel 0 takes it)"
    if count == 2:
        notes = (*raw.notes, f"{names[1]!r} is read; {left_out}.")
        return replace(raw, array=raw.array[1], axes=raw.axes and raw.axes[1:], native=network, notes=notes)
    return replace(
        raw, array=raw.array[1:], channels=names[1:], native=network, notes=(*raw.notes, left_out + ".")
    )


def chosen(raw: Raw, channel: int | str | None, name: str) -> tuple[int, ...]:
    """Return which channels `choose` keeps, counted as in the file.

    Raises:
        InputError: If there is no such channel.
    """
    if channel is not None:
        return (select.channel_index(raw, channel, name)[1],)
    classes, count = raw.native.classes, raw.array.shape[0]
    background = classes.kind == "complete" and classes.labels[0] == 0 and count > 1
    return tuple(range(int(background), count))


def keep(kept: Kept) -> Kept:
    """Turn the .npz into the image beside it, for whoever writes the result."""
    network = kept.native
    if not isinstance(network, Network):
        return kept
    return KeptNetwork(
        network.format,
        network.header,
        kept.axes,
        kept.spacing,
        kept.dropped,
        kept.exclusive,
        classes=network.classes,
    )


def classes(volume: Volume) -> Classes:
    """Say what the channels of a map are: as nnU-Net describes them, or as their sums tell.

    Ask it of the map as it was read: what a filter returns has other sums. Channels that sum to 1 everywhere
    are labels 0, 1, 2, ... with the background first, as softmax gives them, or where a channel has that name
    (also where a mask made all of them 0, if there are values between). Others are labels 1, 2, ...; they exclude each
    other where no sum is above 1.
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
    total = volume.array.sum(axis=axis)
    one = np.abs(total - 1) <= _SUM
    masked = count > 1 and bool((one | (total == 0)).all())
    if count > 1 and (one.all() or (masked and bool(((volume.array > 0) & (volume.array < 1)).any()))):
        return Classes(numbered(volume.channels, count), "complete")
    return Classes(tuple(range(1, count + 1)), "rest") if float(total.max()) <= 1 + _SUM else _apart(count)


def told(raw: Raw, path: Path) -> Raw:
    """Say in the notes what an .npz is, whether or not it could be read; for `probe`."""
    try:
        raw = place(raw, path)
    except SoftmorphError as error:
        return replace(raw, notes=(*raw.notes, str(error)))
    found = raw.native.classes
    pairs = zip(raw.channels or (), found.labels, strict=True)
    said = ", ".join(f"{name} ({label})" for name, label in pairs)
    how = {"complete": "exclude each other", "nested": "are regions that overlap"}.get(found.kind, "overlap")
    return replace(raw, notes=(*raw.notes, f"its classes {how}: {said}."))


def advise(verdict: Verdict, raw: Raw) -> Verdict:
    """Name the options that read this .npz."""
    network, option = raw.native, verdict.option
    if verdict.kind == "logits":
        option = _option(network.classes) if isinstance(network, Network) else "--from-logits softmax"
    if not isinstance(network, Network):
        # Why it could not be placed is the last note: with the labels beside it only its axes may be wrong.
        turned = re.search(r"--axes [A-Z]+", raw.notes[-1] if raw.notes else "")
        option = f"{option} {turned[0] if turned else '--reference IMAGE'}".strip()
    return replace(verdict, option=option)


def _option(found: Classes) -> str:
    return f"--from-logits {'softmax' if found.kind == 'complete' else 'sigmoid'}"


def _apart(count: int) -> Classes:
    return Classes(tuple(range(1, count + 1)), "overlapping")


def _sums_to_one(array: Array, axis: int) -> bool:
    # Of infinities there is no sum.
    with np.errstate(invalid="ignore", over="ignore"):
        total = array.sum(axis=axis, dtype=np.float32)
    return bool((np.abs(total - 1) <= _SUM).all())


def _description(path: Path, called: str, key: str) -> Mapping[str, Any]:
    """Return dataset.json or plans.json from beside the file or above it; empty if there is none.

    Raises:
        FileError: If it is there and cannot be read.
    """
    key = key or "image_reader_writer"
    folder = path.absolute().parent
    for place in (folder, *list(folder.parents)[:_PARENTS]):
        file = place / called
        check_fetched(file)
        try:
            if not file.is_file():
                continue
            found = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise FileError(
                f"{file}, which describes {path.name}, cannot be read ({error}); "
                "copy it again from the folder of the trained model."
            ) from error
        # Other programs have files of this name, too.
        if isinstance(found, dict) and key in found:
            return found
    return {}


def _classes(
    dataset: Mapping[str, Any], path: Path, count: int
) -> tuple[tuple[str, ...], Classes | None, list[str]]:
    """The names of the channels and what they are, as dataset.json says; None where it does not."""
    if not dataset:
        return (), None, ["there is no dataset.json beside it, so its classes have no names."]
    named = dataset["labels"]
    if not isinstance(named, dict):
        raise _no_labels(named, path)
    pairs = list(named.items())
    if all(name.isdecimal() and isinstance(value, str) for name, value in pairs):
        pairs = [(name, label) for label, name in pairs]  # nnU-Net 1 has it the other way round
    pairs = [(name, value) for name, value in pairs if name != "ignore"]
    values = [(name, _labels(name, value, path)) for name, value in pairs]
    notes: list[str] = []
    if any(isinstance(value, list) and len(value) > 1 for _, value in pairs):
        names = tuple(name for name, value in values if value != (0,))
        order = _order(dataset.get("regions_class_order"), path, len(names))
        regions = tuple(value for _, value in values if value != (0,))
        found = Classes(order, "nested", regions)
        if len(set(order) - {0}) != len(names) or len(order) != len(names):
            found = replace(_apart(len(names)), regions=regions)
            notes.append(
                "its dataset.json gives no regions_class_order with a label of its own for each region."
            )
    else:
        by_label: dict[int, str] = {}
        for name, (label,) in sorted(values, key=lambda item: item[1]):
            by_label[label] = f"{by_label[label]} / {name}" if label in by_label else name
        names, found = tuple(by_label.values()), Classes(tuple(by_label), "complete")
    if len(names) != count:
        told = f"it has {count} channels, but dataset.json names {len(names)} ({', '.join(names)}): names are not used."
        return (), None, [told]
    return names, found, notes


def _order(order: Any, path: Path, count: int) -> tuple[int, ...]:
    """Return the labels that regions are painted with, one for each.

    Raises:
        InputError: If they are no numbers.
    """
    listed = order if isinstance(order, list) else [] if order is None else [order]
    try:
        return tuple(_label(label) for label in listed)
    except ValueError as error:
        raise InputError(
            f"the regions_class_order in the dataset.json of {path} must be one number for each of the {count} "
            f"regions, the label that it is painted with, not {json.dumps(order)[:120]}; correct it there."
        ) from error


def _labels(name: str, value: Any, path: Path) -> tuple[int, ...]:
    """Return the label that a class has, or those that a region is the union of.

    Raises:
        InputError: If they are none.
    """
    try:
        found = sorted({_label(one) for one in (value if isinstance(value, list) else [value])})
        if not found:
            raise ValueError("a region of nothing")
    except ValueError as error:
        raise _no_labels({name: value}, path) from error
    return tuple(found)


def _no_labels(found: Any, path: Path) -> InputError:
    return InputError(
        f"the labels in the dataset.json of {path} must be a whole number from 0 to {_HIGHEST}, or a list of them, for "
        f"each name, not {json.dumps(found)[:120]}; copy it again from the folder of the trained model."
    )


def _label(value: Any) -> int:
    """Return a label as a description has it: 1, 1.0 and "1" are one, and 1.5, true and -1 are none.

    Raises:
        ValueError: If it is none.
    """
    if isinstance(value, str):
        is_whole = value.isdecimal()
    else:
        is_whole = value.is_integer() if isinstance(value, float) else type(value) is int
    if not is_whole or not 0 <= int(value) <= _HIGHEST:
        raise ValueError(f"{value!r} is no label")
    return int(value)


def _reader(dataset: Mapping[str, Any], plans: Mapping[str, Any], path: Path) -> str:
    """Return the class that read the image: the one in the plans, or else the one that dataset.json chooses.

    Raises:
        InputError: If what is there is no name.
    """
    for key, called, found in (
        ("image_reader_writer", "plans.json", plans),
        ("overwrite_image_reader_writer", "dataset.json", dataset),
    ):
        name = found.get(key)
        if not isinstance(name, str | None):
            raise InputError(
                f"the {key} in the {called} of {path} must be the name of a class, such as {_READERS[0]}, not "
                f"{json.dumps(name)[:120]}; copy it again from the folder of the trained model."
            )
        # nnU-Net takes the text "None" for none.
        if name and name != "None":
            return name
    return _READERS[0]


def _sibling(path: Path, dataset: Mapping[str, Any]) -> Path:
    """The file of labels beside the .npz.

    Raises:
        FileError: If there is none.
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
            "name an image of the same grid with --reference FILE, or of several cases the folder of theirs."
        )
    if named_format(found) is None:
        raise FileError(
            f"{found}, which says where {path.name} lies, is in a format that is not read; "
            "save it as .nii.gz and name it with --reference FILE."
        )
    return found


def _as_filed(array: Array, image: Raw, reader: str, path: Path, beside: Path) -> tuple[Array, list[str]]:
    """Bring the reader's axis order into that of the image on disk."""
    if not reader.endswith(_REORIENTING):
        if reader in _READERS:
            return array, []
        return array, [f"its reader {reader} is not known; its axes are taken to be those of {beside.name}."]
    if image.affine is None:
        raise InputError(
            f"{path} was turned to RAS+ by {reader}, and {beside} has no orientation to turn it back; "
            "name an image that has one with --reference FILE."
        )
    if array.ndim != 4 or image.axes != "ZYX":
        raise InputError(f"{reader} reads 3-D images; {path} has shape {array.shape[1:]}.")
    source, flip = _turns(image.affine)
    array = array.transpose([0, *(1 + axis for axis in source)])
    return np.flip(array, tuple(1 + axis for axis in range(3) if flip[axis])), []


def _turns(affine: Affine) -> tuple[list[int], list[bool]]:
    """For each axis of a file, in (Z, Y, X), which axis it is of the same image in RAS+, and whether it is flipped."""
    from nibabel import orientations

    # One row for each of the file's axes x, y, z: the axis of the world nearest to it, and its sign.
    find: Any = orientations.io_orientation  # which has no annotations
    found = find(affine[:, REVERSED])[::-1]
    return [2 - int(axis) for axis, _ in found], [sign < 0 for _, sign in found]


def _fitted(array: Array, raw: Raw, image: Raw, path: Path, beside: Path) -> Array:
    """Return the array in the very shape of the image.

    Raises:
        InputError: If they differ in more than an axis of one voxel.
    """
    shape, wanted = array.shape[1:], image.array.shape
    full = [size for size in shape if size > 1] == [size for size in wanted if size > 1]
    if set(image.axes or "") <= set("ZYX") and (shape == wanted or (len(shape) != len(wanted) and full)):
        return array.reshape(array.shape[0], *wanted)
    advice = "name the image it belongs to with --reference FILE."
    if raw.shape[1:] == wanted[::-1] or shape == wanted[::-1]:
        advice = "its axes are in the opposite order: add --axes CXYZ."
    elif raw.notes and raw.native == "softmax":
        advice = "nnU-Net 1 leaves out the empty border that it cropped: predict again with nnU-Net 2."
    raise InputError(
        f"{path} has {' × '.join(map(str, shape))} voxels and {beside} has {' × '.join(map(str, wanted))} "
        f"(z × y × x): {advice}"
    )


def _checked(
    array: Array, image: Raw, found: Classes, logits: bool, path: Path, beside: Path
) -> tuple[Classes, list[str]]:
    """Compare the classes of highest probability with the labels beside the file.

    Raises:
        InputError: If they are not the same.
    """
    if found.kind == "overlapping":
        return found, ["its regions have no order, so they are not compared with the labels beside it."]
    labels = image.array
    if image.slope != 1 or image.inter != 0:
        labels = labels * image.slope + image.inter
        nearest = whole(labels)
        labels = labels if nearest is None else nearest
    wrong = _disagreement(array, labels, found, logits)
    counted = Classes(tuple(range(len(found.labels))), found.kind)
    if (
        wrong
        and found.kind == "complete"
        and counted != found
        and not _disagreement(array, labels, counted, logits)
    ):
        return counted, [f"{beside.name} numbers the classes from 0, not as dataset.json does."]
    if wrong:
        size = labels.size
        what = "most probable class" if found.kind == "complete" else "last region above one half"
        raise InputError(
            f"{path} and {beside} disagree in {wrong} of {size} voxels ({100 * wrong / size:.3g} %): its {what} "
            f"is not the label there; bring the two files of one prediction together, or use only the "
            f"geometry with --reference {typed(beside)}, of several cases with --reference {typed(beside.parent)} "
            "(labels that were edited or postprocessed)."
        )
    return found, []


def _disagreement(array: Array, labels: Array, found: Classes, logits: bool) -> int:
    """In how many voxels the label is not the class; what rounding can explain is passed over.

    Rounding makes ties but turns no order round, so it matters only beside the fixed one half of regions.
    """
    wrong, tolerance = 0, _ROUNDING.get(str(array.dtype), 1e-6)
    half = np.float32(0 if logits else 0.5)
    for index in range(array.shape[1]):
        block, here = array[:, index].astype(np.float32), labels[index]
        if found.kind == "nested":
            painted = np.zeros(here.shape, np.int64)
            for channel, label in zip(block, found.labels, strict=True):
                painted[channel > half] = label
            close = (np.abs(block - half) <= tolerance).any(axis=0)
            wrong += int(np.count_nonzero((painted != here) & ~close))
        else:
            own = np.full(here.shape, -np.inf, np.float32)
            for channel, label in zip(block, found.labels, strict=True):
                np.copyto(own, channel, where=here == label)
            wrong += int(np.count_nonzero(own < block.max(axis=0)))
    return wrong


def _spacing_beside(image: Path) -> tuple[dict[str, float], list[str]]:
    """The voxel size that Tiff3DIO keeps in case.json, along z, y and x, which has no unit; what is wrong with it."""
    file = image.with_suffix(".json")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))["spacing"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}, []
    try:
        sizes = [0.0 if isinstance(size, bool) else float(size) for size in found]
    except (ValueError, TypeError, OverflowError):
        sizes = []
    if isinstance(found, list) and len(sizes) == 3 and all(0 < size < math.inf for size in sizes):
        return dict(zip("ZYX", sizes, strict=True)), []
    return {}, [
        f"the spacing in {file.name} must be three numbers above 0, not {json.dumps(found)[:120]}: the voxel size is "
        "unknown."
    ]
