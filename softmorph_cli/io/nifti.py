"""NIfTI-1 and NIfTI-2, through nibabel. Arrays of nibabel have the axes x, y, z, t; here they are reversed."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.io.damage import ENDS_EARLY, Damaged, Unsupported
from softmorph_cli.io.families import FAMILIES
from softmorph_cli.io.provenance import SIGNATURE, as_text, parse
from softmorph_cli.io.raw import REVERSED, Affine, Array, Encoding, Provenance, Raw, kept_native, time_step_of
from softmorph_cli.io.room import check_room
from softmorph_cli.io.zipped import MAGIC, Unzipped, can_hold, finish, told_behind, zipping
from softmorph_cli.system.parameters import named
from softmorph_cli.system.printable import typed
from softmorph_cli.system.units import MILLIMETRES, TimeStep, time_step
from softmorph_cli.volume import Volume, places

_LONGEST_EXTENSION = 1 << 26
_COMMENT = "comment"
_COMMENT_CODE = 6
_LABEL_INTENT = 1002
_LONGEST_NIFTI1_AXIS = 32767
# The size of a NIfTI-2 header with the flag of extensions behind it.
_LONGEST_HEADER = 544
_EXTENSION_HEAD = 8
# The largest squared norm of (b, c, d) that is taken for a unit quaternion with rounding errors.
_LONGEST_QUATERNION = 1.01
# The largest distance between the positions of sform and qform that is not told, in voxels.
_APART = 0.1
# Codes of xyzt_units: what a length is multiplied by, and its unit then; the unit of time. 32 to 48 are frequencies.
_UNITS = {1: ("mm", 1e3), 2: ("mm", 1.0), 3: ("um", 1.0)}
_TIMES = {8: "s", 16: "ms", 24: "us"}
# NIfTI has no nm.
_WRITTEN_UNITS = {"mm": ("mm", "mm"), "um": ("um", "micron"), "nm": ("um", "micron")}
_FILE_AXES = {2: "YX", 3: "ZYX", 4: "TZYX", 5: "CTZYX"}


@dataclass(frozen=True)
class Nifti:
    """The NIfTI family, through nibabel."""

    name: str = "nifti"
    title: str = FAMILIES["nifti"].title
    suffixes: tuple[str, ...] = FAMILIES["nifti"].suffixes
    output_types: tuple[str, ...] = ("float32", "uint8", "uint16")
    holds: frozenset[str] = frozenset({"spacing", "affine", "stack", "time", "uint32"})

    def recognises(self, head: bytes) -> bool:
        """Whether the file begins as a NIfTI does, or the .hdr file of a NIfTI pair."""
        return head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] in (b"n+2\0", b"ni2\0")

    def read(self, path: Path) -> Raw:
        """Read the stored numbers and the header; nothing is scaled yet."""
        nibabel = _nibabel()

        zipped, room = _is_zipped(path), path.stat().st_size
        with _quiet() as complaints, _open(path, zipped) as stream:
            head = stream.read(_LONGEST_HEADER) or b""
            if head[344:347] == b"ni1" or head[4:7] == b"ni2":
                convert = typed("nib-convert", path, path.with_suffix(".nii"))
                raise InputError(
                    f"{path} is the header of a NIfTI pair (.hdr and .img), which is not read; "
                    f"make one file of it first: {convert}"
                )
            second = head[4:6] == b"n+"
            kind = nibabel.Nifti2Header if second else nibabel.Nifti1Header
            count = kind.sizeof_hdr
            if len(head) < count:
                raise Damaged(ENDS_EARLY)
            # nibabel goes by the number of axes, which may be wrong, before it looks at the size of the header.
            order = next((sign for sign in "<>" if struct.unpack(f"{sign}i", head[:4])[0] == count), None)
            header = kind(head[:count], order)
            shape, start = _layout(header, path)
            if not (can_hold(room, start) if zipped else start <= room):
                raise Damaged(ENDS_EARLY)
            notes = _extend(header, stream, start)
            dtype = header.get_data_dtype()
            size = prod(shape) * dtype.itemsize
            if not (can_hold(room, size) if zipped else start + size <= room):
                raise Damaged(ENDS_EARLY)
            if zipped:
                unpack = typed("gunzip", "--keep", path)
                check_room(shape, dtype.itemsize, path, first=f"unpack it first ({unpack})")
            if size == 0:
                array = np.empty(shape, dtype)
            elif isinstance(stream, Unzipped):
                array = np.empty(shape, dtype, order="F")
                stream.seek(start)
                flat: Any = array.reshape(-1, order="F").view(np.uint8)
                if stream.readinto(flat) < size:
                    raise Damaged(ENDS_EARLY)
                notes += told_behind(finish(stream)) + told_behind(stream.behind, packed=True)
            else:
                # Read-only: what could still change on disk is copied by whoever wants to keep it.
                array = np.memmap(path, dtype, "r", start, shape, "F")
                notes += told_behind(room - start - size)
            slope, inter = header.get_slope_inter()
        # No axis of a map is beyond the fifth; programs fill the seven that a header has with ones.
        array = array.reshape(_at_most_five(shape), order="F")
        axes, colour, array = _FILE_AXES.get(array.ndim), False, array.T
        if axes and array.dtype.names in (("R", "G", "B"), ("R", "G", "B", "A")):
            array = np.stack([array[sample] for sample in array.dtype.names], axis=-1)
            axes, colour = axes.replace("C", "V") + "C", True
        spacing, unit, affine, told = _geometry(header, shape)
        return Raw(
            array=array,
            axes=axes,
            format=self.name,
            shape=shape,
            dtype=str(dtype),
            spacing=spacing,
            unit=unit,
            time_step=_time_step(header),
            affine=affine,
            slope=1.0 if slope is None else float(slope),
            inter=0.0 if inter is None else float(inter),
            colour=colour,
            labels=int(header["intent_code"]) == _LABEL_INTENT,
            provenance=parse(*_comments(header)),
            native=header,
            notes=(*told, *notes, *(f"its header is unusual: {text}." for text in complaints)),
        )

    def write(
        self,
        volume: Volume,
        array: Array,
        path: Path,
        encoding: Encoding,
    ) -> list[str]:
        """Write floats with slope 1, and integers with the slope that maps them to [0, 1]."""
        nibabel = _nibabel()

        array, lost = _in_file_order(volume, array)
        source = kept_native(volume, self.name)
        header = source.copy() if source is not None else None
        big = max(array.shape) > _LONGEST_NIFTI1_AXIS
        second = big if header is None else big or header.sizeof_hdr == 540
        make, head = (
            (nibabel.Nifti2Image, nibabel.Nifti2Header)
            if second
            else (nibabel.Nifti1Image, nibabel.Nifti1Header)
        )
        with _quiet():  # what is unusual was told when it was read
            header = head() if header is None else head.from_header(header)
        header.set_data_dtype(array.dtype)
        header.set_data_shape(array.shape)
        header["vox_offset"] = 0
        if encoding.labels:
            header["cal_min"] = header["cal_max"] = 0  # viewers find the range themselves
            header.set_intent("label")
        else:
            if float(header["cal_max"]) > 1 or float(header["cal_min"]) < 0:
                header["cal_min"], header["cal_max"] = 0, 1
            if int(header["intent_code"]) == _LABEL_INTENT:
                header.set_intent("none")
        _place(header, volume, fresh=source is None)
        if source is None and volume.spacing and volume.unit not in MILLIMETRES and _moved(volume):
            lost.append(
                "the unit of its voxel size is unknown, so that NIfTI cannot say where it lies: its origin is not kept."
            )
        if encoding.provenance:
            _sign(header, encoding.provenance)
        # Without an affine nibabel leaves the geometry of the header alone, to the bit.
        image = make(array, None, header)
        # Only here: an image takes no scaling over from the header it is made with.
        image.header.set_slope_inter(1 / encoding.one, 0)
        zipped = path.name.lower().endswith(".gz")
        with zipping(path) if zipped else path.open("wb") as stream:
            image.to_stream(stream)
        return lost


def _nibabel() -> Any:
    # nibabel has only few type annotations.
    import nibabel

    return nibabel


def _is_zipped(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(MAGIC)) == MAGIC


def _open(path: Path, zipped: bool) -> Unzipped | BinaryIO:
    return Unzipped(path.open("rb")) if zipped else path.open("rb")


def _layout(header: Any, path: Path) -> tuple[tuple[int, ...], int]:
    """Return the shape of the file's array and its position in bytes.

    Raises:
        FileError: If the header holds an impossible shape or position.
    """
    count, *sizes = (int(size) for size in header["dim"])
    shape, start = tuple(sizes[: max(0, count)]) if count else (0,), header["vox_offset"]
    for field, value, right in (
        ("dim", header["dim"], 0 <= count <= len(sizes) and all(size >= 0 for size in shape)),
        ("vox_offset", start, bool(np.isfinite(start)) and start >= 0),
    ):
        if not right:
            raise FileError(
                f"{path} has a NIfTI header with {field} = {value}, which cannot be; write it again from its source."
            )
    return shape, int(start)


def _at_most_five(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Drop trailing axes of size one until five axes are left."""
    most = max(_FILE_AXES)
    return shape[:most] if all(size == 1 for size in shape[most:]) else shape


def _extend(header: Any, stream: Unzipped | BinaryIO, start: int) -> list[str]:
    """Read the extensions between a header and its voxels as bytes.

    Returns:
        A note on data there that are no extension. Zeros are not told: some writers set the flag without an extension.
    """
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
            blank = not any(head)
            return (
                []
                if blank
                else ["what lies between its header and its voxels is no extension; it is left out."]
            )
        if size > _LONGEST_EXTENSION:
            raise Unsupported(f"an extension of its header has {size:,} bytes")
        content = stream.read(size - _EXTENSION_HEAD) or b""
        header.extensions.append(_nibabel().nifti1.Nifti1Extension(code, content.rstrip(b"\0")))
        room -= size
    return []


def _qform(header: Any) -> Affine:
    """Return the affine of the qform, computed as in the standard's nifti1_io.c.

    A quaternion that is longer than 1 by rounding is normalised; nibabel refuses it.
    """
    b, c, d = (float(header[f"quatern_{letter}"]) for letter in "bcd")
    square = b * b + c * c + d * d
    if not square < _LONGEST_QUATERNION:
        return np.full((4, 4), np.nan)
    a, scale = np.sqrt(max(0.0, 1 - square)), max(1.0, np.sqrt(square))
    b, c, d = b / scale, c / scale, d / scale
    turned = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    sizes = np.asarray(header["pixdim"][1:4], dtype=np.float64)
    affine = np.eye(4)
    affine[:3, :3] = turned * np.where(sizes > 0, sizes, 1)
    if header["pixdim"][0] < 0:
        affine[:3, 2] *= -1
    affine[:3, 3] = [header[f"qoffset_{letter}"] for letter in "xyz"]
    return affine


def _sform(header: Any) -> Affine:
    return np.array([*(header[f"srow_{letter}"] for letter in "xyz"), (0, 0, 0, 1)], dtype=np.float64)


_FORMS: tuple[tuple[str, Callable[[Any], Affine]], ...] = (("sform", _sform), ("qform", _qform))


def _best_affine(header: Any, shape: tuple[int, ...]) -> tuple[Affine | None, list[str]]:
    """Return the affine of the sform, else of the qform, in the file's unit; remove an invalid form from the header.

    Returns:
        The affine, None where both codes are 0 (the standard's method 1: a voxel size, and no position) or no form is
        valid; and notes on the two forms.
    """
    notes, found, bad = [], {}, []
    for name, form in _FORMS:
        if int(header[f"{name}_code"]) > 0:
            affine = form(header)
            if places(affine):
                found[name] = affine
            else:
                bad.append(name)
                # Neither used nor written again.
                header[f"{name}_code"] = 0
    if bad:
        instead = f"the {next(iter(found))}" if found else "its voxel size alone"
        notes.append(
            f"its {' and its '.join(bad)} {'place' if len(bad) > 1 else 'places'} no voxels (not finite, or without "
            f"an inverse): {instead} is used."
        )
    if "qform" in found:
        _shorten(header)
    if len(found) == 2:
        corners = np.array([*product(*((0, max(size, 1) - 1) for size in (*shape, 1, 1, 1)[:3]))])
        apart = [found[name][:3, :3] @ corners.T + found[name][:3, 3:] for name in found]
        most = float(np.linalg.norm(apart[0] - apart[1], axis=0).max())
        step = float(np.linalg.norm(found["sform"][:3, :3], axis=0).min())
        if most > _APART * step:
            notes.append(
                f"its sform and its qform put the image at different places, up to {most / step:.3g} voxels apart: "
                "the sform is used."
            )
    return next(iter(found.values()), None), notes


def _shorten(header: Any) -> None:
    """Normalise a quaternion that is longer than 1, as `_qform` does."""
    parts = [f"quatern_{letter}" for letter in "bcd"]
    length = float(np.linalg.norm([float(header[part]) for part in parts]))
    for part in parts if length > 1 else ():
        header[part] = float(header[part]) / length


def _geometry(
    header: Any, shape: tuple[int, ...]
) -> tuple[dict[str, float], str | None, Affine | None, list[str]]:
    unit, factor = _UNITS.get(int(header["xyzt_units"]) & 7, (None, 1.0))
    affine, notes = _best_affine(header, shape)
    if affine is not None:
        # World coordinates are millimetres by the standard; many writers leave the unit field at zero.
        unit = unit or "mm"
        affine = affine[:, REVERSED]
        affine[:3] *= factor * MILLIMETRES[unit]
    stored = header["pixdim"].dtype.type
    steps = np.abs(_shortest(header["pixdim"][3:0:-1], stored)) * factor
    if affine is not None:
        from_affine = np.linalg.norm(affine[:3, :3], axis=0) / MILLIMETRES[unit or "mm"]
        used = min(int(header["dim"][0]), 3)
        if not np.allclose(from_affine[-used:], steps[-used:], rtol=1e-3):
            notes.append("its voxel size and its affine disagree; the affine is used.")
        # The length of an oblique column is rounded more often than the voxel size itself.
        steps = np.where(np.isclose(from_affine, steps, rtol=1e-5, atol=0), steps, from_affine)
    if not np.all(np.isfinite(steps) & (steps > 0)):
        return {}, unit, affine, [*notes, "its header gives no valid voxel size."]
    return dict(zip("ZYX", _shortest(steps, stored).tolist(), strict=True)), unit, affine, notes


def _shortest(numbers: Any, stored: type[np.floating[Any]]) -> Affine:
    """Return the shortest decimals that round to the stored numbers: 0.8, not 0.800000011920929."""
    with np.errstate(over="ignore"):
        return np.array([float(str(stored(number))) for number in numbers])


def _in_file_order(volume: Volume, array: Array) -> tuple[Array, list[str]]:
    axes, lost = volume.axes, []
    mapped = volume.mapped_axes
    if len(mapped) > 2:
        raise InputError(
            f"NIfTI holds two axes beside x, y and z, not {mapped!r}; choose one channel with {named('channel')}, "
            "or write .npy."
        )
    if volume.spatial_dims == 2 and (mapped or not _was_flat(volume)):
        array, axes = np.expand_dims(array, -3), f"{mapped}ZYX"
    if mapped not in ("", "T", "CT", "TC"):
        lost.append(f"NIfTI has no name for axis {mapped!r}; it is written as the {3 + len(mapped)}th axis.")
    order = sorted(range(len(axes)), key=lambda i: "XYZT".find(axes[i]) % 5)
    return array.transpose(order), lost


def _time_step(header: Any) -> TimeStep | None:
    code = int(header["xyzt_units"]) & 0x38
    if int(header["dim"][0]) < 4 or code not in (0, *_TIMES):
        return None
    (step,) = _shortest(header["pixdim"][4:5], header["pixdim"].dtype.type)
    return time_step(float(step), _TIMES.get(code))


def _set_time_step(header: Any, volume: Volume) -> None:
    if step := time_step_of(volume):
        header["pixdim"][4] = step.size
        header["xyzt_units"] = int(header["xyzt_units"]) & 7 | (8 if step.known else 0)


def _moved(volume: Volume) -> bool:
    return volume.affine is not None and bool(np.any(volume.affine[:3, 3]))


def _was_flat(volume: Volume) -> bool:
    return volume.source is not None and volume.source.format == "nifti" and len(volume.source.shape) == 2


def _place(header: Any, volume: Volume, *, fresh: bool) -> None:
    """Write the affine and the voxel size; of a header of the source, change only what is no longer true."""
    affine = volume.affine
    if fresh:
        known = volume.spacing is None or volume.unit in MILLIMETRES
        unit, name = _WRITTEN_UNITS[(volume.unit if known else None) or "mm"]
        if known and (volume.spacing is not None or affine is not None):
            header.set_xyzt_units(name)
        _set_time_step(header, volume)
        if affine is not None and known:
            # Code 2, aligned, is nibabel's for an affine that is given; which scanner or atlas the source meant, other
            # formats do not say.
            affine = affine[:, REVERSED].copy()
            affine[:3] /= MILLIMETRES[unit]
            header.set_sform(affine, code="aligned")
            header["pixdim"][1:4] = np.linalg.norm(affine[:3, :3], axis=0)
        elif volume.spacing is not None:
            # No position, as in the source: both codes stay 0, and readers go by the voxel size (method 1).
            factor = MILLIMETRES[volume.unit or ""] / MILLIMETRES[unit] if known else 1.0
            sizes = [size * factor for size in reversed(volume.spacing)]
            header["pixdim"][1 : 1 + len(sizes)] = sizes
        return
    placed = int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
    if affine is None or not placed:
        _resize(header, volume, forget=placed)
        return
    unit, factor = _UNITS.get(int(header["xyzt_units"]) & 7, ("mm", 1.0))
    wanted = affine[:, REVERSED].copy()
    wanted[:3] /= factor * MILLIMETRES[unit]
    present = _sform(header) if int(header["sform_code"]) > 0 else _qform(header)
    if np.allclose(wanted, present, rtol=1e-6, atol=1e-9):
        return
    if not np.allclose(wanted[:3, :3], present[:3, :3], rtol=1e-5, atol=1e-8):
        header.set_sform(wanted, code=int(header["sform_code"]) or "aligned")
        header.set_qform(wanted, code=0)
        return
    # A crop: the corner moved by whole voxels, for both transforms, which may differ.
    corner = np.linalg.lstsq(present[:3, :3], wanted[:3, 3] - present[:3, 3], rcond=None)[0]
    if int(header["qform_code"]) > 0:
        moved = _qform(header)[:3, :3] @ corner
        for name, step in zip(("qoffset_x", "qoffset_y", "qoffset_z"), moved, strict=True):
            header[name] = float(header[name]) + step
    if int(header["sform_code"]) > 0:
        moved = _sform(header)[:3, :3] @ corner
        for name, step in zip(("srow_x", "srow_y", "srow_z"), moved, strict=True):
            header[name][3] = float(header[name][3]) + step


def _resize(header: Any, volume: Volume, *, forget: bool) -> None:
    """Write the voxel size alone; `forget` removes the affine, which belongs to other axes."""
    if forget:
        header["sform_code"] = header["qform_code"] = 0
        header["pixdim"][1:] = 1
        _set_time_step(header, volume)
    if volume.spacing is None:
        return
    code = int(header["xyzt_units"])
    if volume.unit == "mm" and code & 7 == 0:
        header["xyzt_units"] = code | 2
    sizes = np.array(volume.spacing[::-1]) / _UNITS.get(code & 7, (None, 1.0))[1]
    present = header["pixdim"][1 : 1 + len(sizes)]
    if not np.allclose(np.abs(present), sizes, rtol=1e-6, atol=0):
        present[:] = sizes


def _comments(header: Any) -> list[str | bytes]:
    """Return the contents of the comment extensions."""
    comments = [one for one in header.extensions if one.get_code() == _COMMENT_CODE]
    return [text for one in comments if isinstance(text := one.get_content(), str | bytes)]


def _sign(header: Any, provenance: Provenance) -> None:
    text = f'{{"{SIGNATURE}": {as_text(provenance)}}}'
    header.extensions.append(_nibabel().nifti1.Nifti1Extension(_COMMENT, text.encode()))
    if not bytes(header["descrip"].item()).strip(b"\0 "):
        header["descrip"] = f"softmorph {provenance.get('version', '')}".encode()[:79]


@contextmanager
def _quiet() -> Iterator[list[str]]:
    """Collect nibabel's log messages on a header instead of letting it print them."""
    from nibabel.imageglobals import logger

    said: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    handlers, propagate, collect = list(logger.handlers), logger.propagate, Collect()
    logger.handlers, logger.propagate = [collect], False
    try:
        yield said
    finally:
        logger.handlers, logger.propagate = handlers, propagate
