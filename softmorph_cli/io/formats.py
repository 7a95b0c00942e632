"""The registry of file formats, and the detection of a file's format by content and suffix."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path
from typing import Final

from softmorph_cli.errors import FileError, InputError, SoftmorphError, UsageError
from softmorph_cli.io.damage import damage, not_read
from softmorph_cli.io.dicom import Dicom
from softmorph_cli.io.format_names import FAMILIES
from softmorph_cli.io.git_pointers import check_fetched
from softmorph_cli.io.hdf5 import Hdf5, split
from softmorph_cli.io.metaimage import MetaImage
from softmorph_cli.io.mgh import Mgh
from softmorph_cli.io.mrc import Mrc
from softmorph_cli.io.nifti import Nifti
from softmorph_cli.io.npy import Npy
from softmorph_cli.io.npz import Npz
from softmorph_cli.io.nrrd import Nrrd
from softmorph_cli.io.omezarr import OmeZarr
from softmorph_cli.io.options import DEFAULT, WRITE_DEFAULT, ReadOptions, WriteOptions
from softmorph_cli.io.png import Png
from softmorph_cli.io.raw import Format, Raw, ReadOnly
from softmorph_cli.io.tiff import Tiff
from softmorph_cli.io.values import MOST_AXES
from softmorph_cli.io.zarr_reading import is_node
from softmorph_cli.io.zipped import DAMAGED, MAGIC, Unzipped
from softmorph_cli.system.files import check_writable
from softmorph_cli.system.parameters import named
from softmorph_cli.system.printable import printable, typed
from softmorph_cli.volume import places

_OME_ZARR = OmeZarr()
FORMATS: Final[tuple[Format, ...]] = (
    Nifti(), Tiff(), Png(), Nrrd(), MetaImage(), _OME_ZARR, Npy(), Npz(), Hdf5(), Mgh(), Mrc(), Dicom()
)  # fmt: skip
ACCEPTED: Final = (
    "NIfTI (.nii, .nii.gz), TIFF, OME-Zarr (.zarr), PNG, NRRD, MetaImage (.mha, .mhd), .npy, nnU-Net .npz, "
    "HDF5 (.h5), MRC (.mrc, .map, .rec), FreeSurfer's .mgz and DICOM segmentations (.dcm)"
)
_WRITTEN: Final = (
    "NIfTI (.nii, .nii.gz), TIFF, OME-Zarr (.zarr), PNG, NRRD, MetaImage (.mha), .npy, MRC (.mrc) or .mgz"
)

# Formats with voxels in a second file: read, but never written.
_TWO_FILES = (".mhd", ".nhdr")
# Suffixes that are read and never written, with the suffix of a result in the same format.
_UNPACKED = {suffix: suffix.removesuffix(".gz") for suffix in FAMILIES["mrc"].gzipped}
_HEAD = 1024
_LABEL_TYPES = (("uint8", 2**8 - 1), ("uint16", 2**16 - 1), ("uint32", 2**32 - 1))
# Other formats, so that a refusal can name them.
_OTHERS = (
    (b"\xff\xd8\xff", "a JPEG image, which loses what it stores"),
    (b"PK\x03\x04", "a zip archive"),
    (b"GIF8", "a GIF image"),
    (b"BM", "a BMP image"),
    (b"%PDF", "a PDF document"),
    (b"\x80\x04", "a Python pickle, which is never loaded"),
    (b"<", "a text in HTML or XML"),
)


def detect(path: Path) -> Format:
    """Return the format of an existing file or Zarr store.

    Raises:
        FileError: If the file is missing, a folder, empty, unreadable, of an unknown type, or of another
            type than its suffix says.
    """
    path = file_of(path)
    if is_node(path):
        return _OME_ZARR
    head, zipped = _first_bytes(path)
    content = next((family for family in FORMATS if family.recognises(head)), None)
    named = named_format(path)
    if content is None:
        if named is not None:
            raise FileError(
                f"{path} is called {suffix_of(path)} but {_describe(head, zipped)}, so it is no "
                f"{named.title} file or a damaged one; write it again from its source."
            )
        raise FileError(
            f"cannot tell the file type of {path}: its suffix {suffix_of(path)!r} is unknown and "
            f"{_describe(head, zipped)}; read are {ACCEPTED}."
        )
    if named is not None and named is not content:
        raise FileError(
            f"{path} is called {suffix_of(path)} but holds {content.title}; "
            f"rename it: {_rename(path, _usual(content, zipped))}"
        )
    gzipped = FAMILIES[content.name].gzipped
    if gzipped and named is content and zipped != (suffix_of(path) in gzipped):
        raise FileError(
            f"{path} is called {suffix_of(path)} but is {'' if zipped else 'not '}compressed; "
            f"rename it: {_rename(path, _usual(content, zipped))}"
        )
    if zipped and not gzipped:
        # gunzip accepts no other suffix.
        if path.suffix.lower() != ".gz":
            advice = f"rename it: {_rename(path, suffix_of(path) + '.gz')}"
        else:
            advice = f"unpack it first: {typed('gunzip', path)}"
        raise FileError(f"{path} is a gzipped {content.title} file; {advice}")
    return content


def read_raw(path: Path, options: ReadOptions = DEFAULT, *, lazy: bool = False) -> tuple[Format, Raw]:
    """Return the format and the content of a file, whose stored numbers are not converted to probabilities.

    Args:
        path: The path of the file.
        options: The options of reading, of which the resolution of an OME-Zarr and the series of a TIFF are used.
        lazy: Whether to read the voxels of a TIFF lazily; those of Zarr stores, .npy and uncompressed NIfTI always are.

    Raises:
        FileError: If the format cannot be detected, or the file is damaged or uses unsupported features.
        InputError: If the file holds no map, or an option asks for a resolution or series of another format.
    """
    family = detect(path)
    if isinstance(family, OmeZarr):
        family = replace(family, resolution=options.resolution)
    elif options.resolution is not None:
        raise InputError(
            f"{path} is {family.title} and has one resolution only; leave {named('resolution')} out."
        )
    if isinstance(family, Tiff):
        family = replace(family, lazy=lazy, series=options.series)
    elif options.series is not None:
        raise InputError(f"{path} is {family.title} and has no series; leave {named('series')} out.")
    try:
        return family, _sound(family.read(path))
    except (SoftmorphError, MemoryError):
        raise
    # Damaged files make the libraries raise nearly any exception (struct.error, zlib.error, RuntimeError, ...).
    except Exception as error:
        raise not_read(path, family.title, error) from error


def _sound(raw: Raw) -> Raw:
    """Return a file's content without the properties that are invalid for a map.

    Invalid are a singular affine, axes of size one beyond the limit on axes, and unprintable characters in channel
    names.
    """
    if raw.affine is not None and not places(raw.affine):
        note = "its affine places no voxels (not finite, or without an inverse): orientation and origin are not used."
        raw = replace(raw, affine=None, notes=(*raw.notes, note))
    if raw.channels:
        raw = replace(raw, channels=tuple(map(printable, raw.channels)))
    array, axes = raw.array, raw.axes
    for axis in reversed(range(array.ndim)):
        letter = "" if axes is None else axes[axis]
        if (
            array.ndim > MOST_AXES
            and array.shape[axis] == 1
            and axis < array.ndim - 3
            and letter not in tuple("ZYXC")
        ):
            array = array.squeeze(axis)
            axes = None if axes is None else axes.replace(letter, "")
    return raw if array is raw.array else replace(raw, array=array, axes=axes)


def suffix_of(path: Path) -> str:
    """Return the suffix of a file name in lower case, including a double suffix such as .nii.gz; "" if it has none."""
    name = path.name.lower()
    known = sorted((s for family in FORMATS for s in family.suffixes), key=len, reverse=True)
    return next((s for s in known if name.endswith(s)), path.suffix.lower())


def stem_of(name: str) -> str:
    """Return the name of a file, or its path as text, without the suffix that `suffix_of` finds.

    >>> stem_of("patients/case_0.nii.gz")
    'patients/case_0'
    """
    return name[: len(name) - len(suffix_of(Path(name)))]


def file_of(path: Path) -> Path:
    """Return the file that a path names, without the name of a dataset behind it (maps.h5:/exported_data)."""
    return split(path)[0]


def named_format(path: Path) -> Format | None:
    """Return the format that the suffix of a file name stands for, or None if the suffix is unknown."""
    return next((family for family in FORMATS if suffix_of(path) in family.suffixes), None)


def target_suffix(path: Path, family: Format) -> str:
    """Return the suffix for a result of the file `path`: the suffix of `path`, or one that can be written instead."""
    suffix = suffix_of(path)
    if isinstance(family, ReadOnly):
        return family.instead
    suffix = _UNPACKED.get(suffix, suffix)
    return suffix if suffix in family.suffixes and suffix not in _TWO_FILES else family.suffixes[0]


def target_format(path: Path, options: WriteOptions = WRITE_DEFAULT) -> Format:
    """Return the format in which a file of this name is written, after checking the options of writing.

    The output type may be an element type of the format, "mask" or "labels".

    Raises:
        FileError: If the path is a folder without the suffix of a format.
        UsageError: If the suffix is unknown or the format cannot store the output type or a pyramid.
    """
    family = named_format(path)
    if family is None:
        if _is_folder(path):
            check_writable(path)  # which refuses it
        raise UsageError(
            f"cannot tell the format of {path} from its suffix {suffix_of(path)!r}; write {_WRITTEN}."
        )
    if isinstance(family, ReadOnly):
        raise family.not_written(path)
    if suffix_of(path) in _UNPACKED:
        raise UsageError(
            f"{path}: a gzipped MRC is read, not written; write {_UNPACKED[suffix_of(path)]} instead."
        )
    if suffix_of(path) in _TWO_FILES:
        raise UsageError(
            f"{path} would keep its voxels in a second file, and two files cannot be replaced in one step; "
            f"write {family.suffixes[0]} instead."
        )
    output_type = options.output_type
    if output_type not in (None, "mask", "labels", *family.output_types):
        held = ", ".join(family.output_types)
        raise UsageError(
            f"{family.title} cannot hold {named('output_type', output_type)}; it holds {held}: add "
            f"{named('output_type', family.output_types[0])}, or leave it out."
        )
    if options.pyramid and not isinstance(family, OmeZarr):
        raise UsageError(
            f"{path}: {named('pyramid', True)} goes with OME-Zarr, not with {family.title}: end its name with .zarr, "
            f"or leave out {named('pyramid', True)}."
        )
    if options.pyramid_pool is not None and output_type == "labels":
        raise UsageError(
            f"{path}: of labels a coarser resolution has every second one, not a mean or maximum: leave out "
            f"{named('pyramid_pool')}."
        )
    return family


def check_target(
    path: str | Path,
    options: WriteOptions = WRITE_DEFAULT,
    *,
    axes: str | None = None,
    highest_label: int | None = None,
) -> None:
    """Refuse, before anything is computed, an output that `write` or `write_labels` would refuse.

    Args:
        path: The path of the file to be written later.
        options: The options of writing; the output type is "labels" for `write_labels`.
        axes: The letters of the axes of the volume, or None if unknown.
        highest_label: The highest label of a label image, or None.

    Raises:
        UsageError: If the format or type cannot be written.
        FileError: If the folder is missing or read-only, or the file exists and may not be replaced.
        InputError: If the format cannot hold the axes or the labels.
    """
    family = target_format(Path(path), options)
    check_writable(Path(path), force=options.force, store=isinstance(family, OmeZarr))
    if highest_label is not None:
        label_type(highest_label, Path(path), family)
    if axes is not None and "stack" not in family.holds and len(axes) > 2:
        raise InputError(
            f"{family.title} holds one 2-D image, not axes {axes}; write {path} as .tif or .nii.gz."
        )


def label_type(highest: int, path: Path, family: Format) -> str:
    """Return the name of the smallest unsigned integer type that holds labels up to `highest`.

    Raises:
        InputError: If no type is large enough, or the format cannot store the type.
    """
    found = next((name for name, top in _LABEL_TYPES if highest <= top), None)
    if found is None:
        raise InputError(f"labels reach {highest}; {path} can hold at most {_LABEL_TYPES[-1][1]}.")
    if found == "uint32" and "uint32" not in family.holds:
        raise InputError(
            f"{family.title} holds labels up to 65535 and these reach {highest}; write {path} as .tif or .nii.gz."
        )
    return found


def _first_bytes(path: Path) -> tuple[bytes, bool]:
    check_fetched(path)
    try:
        mode, head = path.stat().st_mode, b""
        # A pipe can be read only once, so it must not be read here.
        if stat.S_ISREG(mode):
            with path.open("rb") as stream:
                head = stream.read(_HEAD)
    except FileNotFoundError as error:
        aside = " (maps are read from files, not from standard input)" if str(path) == "-" else ""
        if path.is_symlink():
            raise FileError(f"{path} is a link to {path.readlink()}, which does not exist.") from error
        raise FileError(f"{path} does not exist{aside}.") from error
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}.") from error
    if path == Path():  # an empty word, such as an unset shell variable
        raise FileError("an input has an empty name, or that of the current folder; name a file.")
    if stat.S_ISDIR(mode):
        raise FileError(f"{path} is a folder; name one file in it.")
    if not stat.S_ISREG(mode):
        raise FileError(f"{path} is a pipe or a device, not a file; write it to a file first.")
    if not head:
        raise FileError(f"{path} is empty (0 bytes); write it again from its source.")
    if not head.startswith(MAGIC):
        return head, False
    try:
        with Unzipped(path.open("rb")) as unpacked:
            head = unpacked.read(_HEAD) or b""
    except DAMAGED as error:
        raise FileError(
            f"{path} is gzipped but cut short or damaged ({damage(error) or error}); copy it again."
        ) from error
    if head.startswith(MAGIC):
        outer = path.with_name(f"{path.name}.gz")
        raise FileError(
            f"{path} is gzipped twice; unpack it once: {typed('mv', path, outer)} && {typed('gunzip', outer)}"
        )
    return head, True


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name too long
        return False


def _rename(path: Path, suffix: str) -> str:
    """Return the shell command that renames a file to another suffix."""
    return typed("mv", path, path.with_name(stem_of(path.name) + suffix))


def _usual(family: Format, zipped: bool) -> str:
    """Return the usual suffix of a file of a format that is gzipped or not."""
    gzipped = FAMILIES[family.name].gzipped
    if zipped:
        return gzipped[0] if gzipped else f"{family.suffixes[0]}.gz"
    return next(suffix for suffix in family.suffixes if suffix not in gzipped)


def _describe(head: bytes, zipped: bool) -> str:
    other = next((name for magic, name in _OTHERS if head.startswith(magic)), None)
    if head[:4] in (b"\x5c\x01\0\0", b"\0\0\x01\x5c"):
        other = "an Analyze 7.5 header or a damaged NIfTI"
    kind = other or f"starts with the bytes {head[:8].hex(' ')}"
    return ("it unpacks to " if zipped and other else "it is " if other else "it ") + kind
