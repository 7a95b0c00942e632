"""NIfTI-1 and NIfTI-2 files, with nibabel; the axes of a file (x, y, z, t) are reversed when it is read."""

from __future__ import annotations

import struct
from contextlib import nullcontext
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.io.damage import ENDS_EARLY, Damaged, Unsupported
from softmorph_cli.io.logs import captured_log
from softmorph_cli.io.memory_check import check_room
from softmorph_cli.io.nifti_geometry import fourth_axis, read_geometry, states_unit, write_geometry
from softmorph_cli.io.provenance import SIGNATURE, as_text, parse
from softmorph_cli.io.raw import Array, Encoding, Format, Provenance, Raw, kept_native
from softmorph_cli.io.zipped import Unzipped, can_hold, finish, gzip_writer, opened, trailing_notes
from softmorph_cli.system.printable import typed
from softmorph_cli.system.units import MILLIMETRES
from softmorph_cli.volume import Volume

_LONGEST_EXTENSION = 1 << 26
_COMMENT_CODE = 6
_LABEL_INTENT = 1002
_LONGEST_NIFTI1_AXIS = 32767
# The size of a NIfTI-2 header and the extension flag that follows it.
_LONGEST_HEADER = 544
_EXTENSION_HEAD = 8
_AXES = {2: "YX", 3: "ZYX", 4: "TZYX", 5: "CTZYX"}
_LOGGER = "nibabel.global"


@dataclass(frozen=True)
class Nifti(Format):
    """The file format NIfTI (.nii, .nii.gz)."""

    name = "nifti"
    output_types = ("float32", "uint8", "uint16")
    holds = frozenset({"spacing", "affine", "stack", "time", "uint32"})

    def recognises(self, head: bytes) -> bool:
        """Return whether the bytes begin a NIfTI file, or the .hdr file of a NIfTI pair."""
        return head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] in (b"n+2\0", b"ni2\0")

    def read(self, path: Path) -> Raw:
        """Read the header and the unscaled stored numbers, which are memory-mapped if the file is uncompressed."""
        room = path.stat().st_size
        with captured_log(_LOGGER) as complaints, opened(path) as stream:
            zipped = isinstance(stream, Unzipped)

            def check_holds(size: int) -> None:
                if not (can_hold(room, size) if zipped else size <= room):
                    raise Damaged(ENDS_EARLY)

            header = _read_header(stream, path)
            shape, start = _layout(header, path)
            check_holds(start)
            notes = _read_extensions(header, stream, start)
            dtype = header.get_data_dtype()
            size = prod(shape) * dtype.itemsize
            check_holds(start + size)
            if zipped:
                unpack = typed("gunzip", "--keep", path)
                check_room(shape, dtype.itemsize, path, first=f"unpack it first ({unpack})")
            if size == 0:
                array = np.empty(shape, dtype)
            elif isinstance(stream, Unzipped):
                array = np.empty(shape, dtype, order="F")
                stream.seek(start)
                flat: Any = array.reshape(-1, order="F").view(np.uint8)
                notes += _read_voxels(stream, flat)
            else:
                array = np.memmap(path, dtype, "r", start, shape, "F")
                notes += trailing_notes(room - start - size)
            slope, inter = header.get_slope_inter()
        array = array.reshape(_at_most_five(shape), order="F")
        axes, colour, array = _AXES.get(array.ndim), False, array.T
        if axes and array.dtype.names in (("R", "G", "B"), ("R", "G", "B", "A")):
            array = np.stack([array[sample] for sample in array.dtype.names], axis=-1)
            axes, colour = axes.replace("C", "V") + "C", True
        spacing, unit, affine, geometry_notes = read_geometry(header, shape)
        time_step, time_notes = fourth_axis(header)
        return Raw(
            array=array,
            axes=axes,
            format=self.name,
            shape=shape,
            dtype=str(dtype),
            spacing=spacing,
            unit=unit,
            unit_stated=states_unit(header),
            time_step=time_step,
            affine=affine,
            slope=1.0 if slope is None else float(slope),
            inter=0.0 if inter is None else float(inter),
            colour=colour,
            labels=int(header["intent_code"]) == _LABEL_INTENT,
            provenance=parse(*_comments(header)),
            native=header,
            notes=(
                *geometry_notes,
                *time_notes,
                *notes,
                *(f"its header is unusual: {text}." for text in complaints),
            ),
        )

    def write(self, volume: Volume, array: Array, path: Path, encoding: Encoding) -> list[str]:
        """Write a NIfTI file whose header slope maps the stored numbers to [0, 1]; the slope of floats is 1."""
        import nibabel

        self.check_mapped(volume, 2)
        array, lost = _in_file_order(volume, array)
        source = kept_native(volume, self.name)
        second = max(array.shape) > _LONGEST_NIFTI1_AXIS or (source is not None and source.sizeof_hdr == 540)
        # nibabel has only few type annotations.
        types: Any = (
            (nibabel.Nifti2Image, nibabel.Nifti2Header)
            if second
            else (nibabel.Nifti1Image, nibabel.Nifti1Header)
        )
        image_type, header_type = types
        with captured_log(_LOGGER):  # the notes of reading have the same messages
            header: Any = header_type() if source is None else header_type.from_header(source)
        header.set_data_dtype(array.dtype)
        header.set_data_shape(array.shape)
        header["vox_offset"] = 0
        if source is not None and array.shape[:3] != source.get_data_shape()[:3]:
            # They count the slices of the whole image.
            for name in ("slice_start", "slice_end", "slice_code", "slice_duration"):
                header[name] = 0
        if encoding.labels:
            header["cal_min"] = header["cal_max"] = 0  # viewers find the range themselves
            header.set_intent("label")
        else:
            if float(header["cal_max"]) > 1 or float(header["cal_min"]) < 0:
                header["cal_min"], header["cal_max"] = 0, 1
            if int(header["intent_code"]) == _LABEL_INTENT:
                header.set_intent("none")
        write_geometry(header, volume, fresh=source is None)
        moved = volume.affine is not None and bool(np.any(volume.affine[:3, 3]))
        if source is None and volume.spacing and volume.unit not in MILLIMETRES and moved:
            lost.append(
                "the unit of its voxel size is unknown, so that NIfTI cannot say where it lies: its origin is not kept."
            )
        if encoding.provenance:
            _sign(header, encoding.provenance)
        # Without an affine nibabel does not change the geometry in the header.
        image = image_type(array, None, header)
        # An image resets the scaling of the header that it is made with.
        image.header.set_slope_inter(1 / encoding.one, 0)
        zipped = path.name.lower().endswith(".gz")
        with path.open("wb") as file, gzip_writer(file) if zipped else nullcontext(file) as stream:
            image.to_stream(stream)
        return lost


def _read_header(stream: Unzipped | BinaryIO, path: Path) -> Any:
    """Return the NIfTI-1 or NIfTI-2 header at the start of a file as a nibabel header, in the file's byte order.

    Raises:
        InputError: If the header belongs to a NIfTI pair (.hdr and .img).
        Damaged: If the file ends within the header.
    """
    import nibabel

    head = stream.read(_LONGEST_HEADER) or b""
    if head[344:347] == b"ni1" or head[4:7] == b"ni2":
        convert = typed("nib-convert", path, path.with_suffix(".nii"))
        raise InputError(
            f"{path} is the header of a NIfTI pair (.hdr and .img), which is not read; "
            f"make one file of it first: {convert}"
        )
    kind: Any = nibabel.Nifti2Header if head[4:6] == b"n+" else nibabel.Nifti1Header
    size = kind.sizeof_hdr
    if len(head) < size:
        raise Damaged(ENDS_EARLY)
    # nibabel finds the byte order by the number of axes, which may be wrong, before it looks at the header's size.
    order = next((sign for sign in "<>" if struct.unpack(f"{sign}i", head[:4])[0] == size), None)
    return kind(head[:size], order)


def _layout(header: Any, path: Path) -> tuple[tuple[int, ...], int]:
    """Return the shape of the array by the header, x first, and the byte offset of the voxels in the file.

    Raises:
        FileError: If the header holds an impossible shape or position.
    """
    count, *sizes = (int(size) for size in header["dim"])
    shape, start = tuple(sizes[: max(0, count)]) if count else (0,), header["vox_offset"]
    for field, value, valid in (
        ("dim", header["dim"], 0 <= count <= len(sizes) and all(size >= 0 for size in shape)),
        ("vox_offset", start, bool(np.isfinite(start)) and start >= 0),
    ):
        if not valid:
            raise FileError(
                f"{path} has a NIfTI header with {field} = {value}, which cannot be; write it again from its source."
            )
    return shape, int(start)


def _at_most_five(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without the axes after the fifth if they all have size one; some programs write seven axes."""
    most = max(_AXES)
    return shape[:most] if all(size == 1 for size in shape[most:]) else shape


def _read_extensions(header: Any, stream: Unzipped | BinaryIO, start: int) -> list[str]:
    """Read the header extensions, which precede the voxels at byte `start`, and add the extensions to the header.

    Returns:
        A note if other data precede the voxels, except zeros: some writers set the flag without an extension.
    """
    from nibabel.nifti1 import Nifti1Extension

    stream.seek(header.sizeof_hdr)
    flag, room = stream.read(4) or b"", start - header.sizeof_hdr - 4
    if not flag.strip(b"\0"):
        return []
    order = ">" if header.endianness == ">" else "<"
    while room >= _EXTENSION_HEAD:
        head = stream.read(_EXTENSION_HEAD) or b""
        if len(head) < _EXTENSION_HEAD:
            raise Damaged(ENDS_EARLY)
        size, code = struct.unpack(f"{order}2i", head)
        if not _EXTENSION_HEAD <= size <= room:
            note = "what lies between its header and its voxels is no extension; it is left out."
            return [note] if any(head) else []
        if size > _LONGEST_EXTENSION:
            raise Unsupported(f"an extension of its header has {size:,} bytes")
        content = stream.read(size - _EXTENSION_HEAD) or b""
        header.extensions.append(Nifti1Extension(code, content.rstrip(b"\0")))
        room -= size
    return []


def _in_file_order(volume: Volume, array: Array) -> tuple[Array, list[str]]:
    """Return the array with axes in NIfTI order, x first, and notes on axes that NIfTI cannot name."""
    axes, lost = volume.axes, []
    mapped = volume.mapped_axes
    source = volume.source
    was_flat = source is not None and source.format == Nifti.name and len(source.shape) == 2
    if volume.spatial_dims == 2 and (mapped or not was_flat):
        array, axes = np.expand_dims(array, -3), f"{mapped}ZYX"
    # Classes with names lose nothing: the provenance keeps the names, and makes the 4th axis theirs when it is read.
    if mapped not in ("", "T", "CT", "TC") and not (mapped == "C" and volume.channels):
        lost.append(f"NIfTI has no name for axis {mapped!r}; it is written as the {3 + len(mapped)}th axis.")
    order = sorted(range(len(axes)), key=lambda i: "XYZT".find(axes[i]) % 5)
    return array.transpose(order), lost


def _comments(header: Any) -> list[str | bytes]:
    """Return the contents of the comment extensions of a header."""
    contents = [one.get_content() for one in header.extensions if one.get_code() == _COMMENT_CODE]
    return [content for content in contents if isinstance(content, str | bytes)]


def _sign(header: Any, provenance: Provenance) -> None:
    from nibabel.nifti1 import Nifti1Extension

    text = f'{{"{SIGNATURE}": {as_text(provenance)}}}'
    header.extensions.append(Nifti1Extension("comment", text.encode()))
    if not bytes(header["descrip"].item()).strip(b"\0 "):
        header["descrip"] = f"softmorph {provenance.get('version', '')}".encode()[:79]


def _read_voxels(stream: Unzipped, voxels: Any) -> list[str]:
    """Unpack the bytes of all voxels into an array of bytes; return notes on data that follow.

    Raises:
        Damaged: If the file ends too early; the text says how many of the voxels can be read.
    """
    start, size = stream.tell(), len(voxels)
    try:
        if stream.readinto(voxels) < size:
            raise Damaged(ENDS_EARLY)
        return trailing_notes(finish(stream)) + trailing_notes(stream.trailing, packed=True)
    except Damaged:
        left = max(0, size - (stream.tell() - start))
        if left == size:
            raise Damaged(ENDS_EARLY) from None
        part = f"after {100 * (size - left) // size} % of its voxels" if left else "after all of its voxels"
        raise Damaged(f"{ENDS_EARLY}, {part}") from None
