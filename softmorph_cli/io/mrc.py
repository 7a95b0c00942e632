"""MRC files of electron microscopy (.mrc, .map, .rec; MRC2014), with the header of mrcfile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from softmorph_cli.io.binary import read_head, read_voxels
from softmorph_cli.io.damage import Damaged, Unsupported
from softmorph_cli.io.raw import Array, Encoding, Format, Placed, Raw, kept_native
from softmorph_cli.system.parameters import named
from softmorph_cli.system.units import MILLIMETRES, length
from softmorph_cli.volume import Volume

_HEADER: Final = 1024
_LONGEST_EXTENSION: Final = 1 << 30
# The space group of an image, or of a stack of images.
_IMAGES: Final = 0


@dataclass(frozen=True)
class _Place(Placed):
    """Where the first voxel lies, by letter of an axis.

    Attributes:
        start: Its index in the whole map of which this is a part (`nxstart` of a file whose columns lie along x).
        origin: Its place in angstrom; None if unknown.
        size: The voxel size in angstrom, of the axes for which it is known.
    """

    start: Mapping[str, int]
    origin: Mapping[str, float] | None
    size: Mapping[str, float]

    def cropped(self, corner: Mapping[str, int]) -> _Place:
        """Return the place of a crop; without an origin where a voxel size is unknown.

        MRC2014 lets either field state the place of a part. Where the origin is 0 and the start is not, programs take
        the start, so the origin remains 0.
        """
        start = {letter: first + corner.get(letter, 0) for letter, first in self.start.items()}
        moved = {letter for letter, first in corner.items() if first}
        if self.origin is None or not moved or (any(self.start.values()) and not any(self.origin.values())):
            return replace(self, start=start)
        if not moved <= self.size.keys():
            return replace(self, start=start, origin=None)
        steps = {letter: corner[letter] * self.size[letter] for letter in moved}
        return replace(
            self,
            start=start,
            origin={letter: place + steps.get(letter, 0.0) for letter, place in self.origin.items()},
        )


@dataclass(frozen=True)
class Mrc(Format):
    """The file format MRC2014 (.mrc, .map, .rec), gzipped or not."""

    name = "mrc"
    output_types = ("float32", "float16")
    holds = frozenset({"spacing", "stack"})

    def recognises(self, head: bytes) -> bool:
        """Return whether the map's mark stands at byte 208; its last letter is not set by all programs."""
        return head[208:211] == b"MAP"

    def read(self, path: Path) -> Raw:
        """Read the array with the axes that the header states, and the voxel size, which is in angstrom in the file."""
        header, notes = _parsed(read_head(path, _HEADER))
        shape, dtype, axes, axes_notes = _layout(header)
        start = _HEADER + int(header["nsymbt"])
        array, _, more = read_voxels(path, start, shape, dtype)
        angstrom = {}
        for letter in "XYZ":
            cell, count = float(str(header["cella"][letter.lower()])), int(header[f"m{letter.lower()}"])
            if np.isfinite(cell) and cell > 0 and count > 0:
                angstrom[letter] = cell / count
        sizes = {letter: length(size, "angstrom")[0] for letter, size in angstrom.items() if letter in axes}
        if sizes.keys() != set(axes) & set("ZYX"):
            sizes = {}
            notes.append("its header gives no valid voxel size.")
        angles = [float(angle) for angle in header["cellb"].item()]
        if sizes and any(angles) and not np.allclose(angles, 90, atol=1e-3):
            notes.append("its cell is not rectangular: voxel sizes are those along its axes.")
        return Raw(
            array=array,
            axes=axes,
            format=self.name,
            shape=shape,
            dtype=str(dtype.newbyteorder("=")),
            spacing=sizes,
            unit="nm" if sizes else None,
            native=_place(header, axes, angstrom),
            notes=(*notes, *axes_notes, *more),
        )

    def write(self, volume: Volume, array: Array, path: Path, encoding: Encoding) -> list[str]:
        """Write an uncompressed file with mrcfile: an image, a volume, or a stack of them."""
        import mrcfile

        self.check_mapped(volume, 1)
        lost: list[str] = []
        if array.dtype.kind == "u":
            # Labels and masks: every program reads 8 bits, in which MRC has a sign.
            array = array.astype(np.int8 if int(array.max()) < 128 else np.uint16)
        source: _Place | None = kept_native(volume, self.name)
        with mrcfile.new(path, overwrite=True) as file:
            file.set_data(np.ascontiguousarray(array))
            # Four axes are a stack of volumes by themselves.
            if array.ndim == 3:
                (file.set_volume if volume.spatial_dims == 3 else file.set_image_stack)()
            if volume.spacing is not None and volume.unit in MILLIMETRES:
                angstrom = [size * MILLIMETRES[volume.unit] * 1e7 for size in volume.spacing]
                file.voxel_size = tuple([*reversed(angstrom), 1.0][:3])
            elif volume.spacing is not None:
                lost.append(
                    "the unit of its voxel size is unknown, and MRC counts in angstrom: it is not kept."
                )
            if source is not None:
                for letter, first in source.start.items():
                    file.header[f"n{letter.lower()}start"] = first
                if source.origin is None:
                    lost.append("its voxel size is unknown: the origin of a region of it is not kept.")
                else:
                    file.header.origin = tuple(source.origin[letter] for letter in "XYZ")
            version = str(encoding.provenance.get("version", ""))
            file.header.label[0] = f"softmorph {version}".strip().encode()[:80]
        return lost


def _place(header: Any, axes: str, size: Mapping[str, float]) -> _Place:
    # The fields start with that of the columns, along whichever axis the columns lie.
    columns = axes.replace("V", "").rjust(3, "Z")[::-1]
    return _Place(
        {letter: int(header[f"n{field}start"]) for letter, field in zip(columns, "xyz", strict=True)},
        {letter: float(header["origin"][letter.lower()]) for letter in "XYZ"},
        size,
    )


def _parsed(head: bytes) -> tuple[Any, list[str]]:
    """Return the header as a record, in its byte order, and notes on faults that its reader passed over."""
    from mrcfile.dtypes import HEADER_DTYPE
    from mrcfile.utils import byte_order_from_machine_stamp, dtype_from_mode

    def known(order: str) -> bool:
        try:
            dtype_from_mode(int(np.frombuffer(head, f"{order}i4", 1, 12)[0]))
        except ValueError:
            return False
        return True

    notes: list[str] = []
    try:
        order = byte_order_from_machine_stamp(np.frombuffer(head, HEADER_DTYPE)[0]["machst"])
    except ValueError:
        order = "<"
        notes.append("its machine stamp is none of MRC's: the byte order is that which makes its mode valid.")
    other = {"<": ">", ">": "<"}[order]
    if not known(order) and known(other):
        if not notes:
            notes.append(
                "its machine stamp is not that of its byte order, which is the one that makes its mode valid."
            )
        order = other
    header = np.frombuffer(head, HEADER_DTYPE.newbyteorder(order))[0]
    if not known(order):
        raise Unsupported(f"its mode is {int(header['mode'])}; modes 0, 1, 2, 6 and 12 hold real numbers")
    return header, notes


def _layout(header: Any) -> tuple[tuple[int, ...], np.dtype[Any], str, list[str]]:
    """Return the shape of the array, its element type, the letters of its axes, and notes.

    Raises:
        Damaged: If the sizes cannot be.
        Unsupported: If the extended header is longer than 1 GiB.
    """
    from mrcfile.utils import dtype_from_mode, spacegroup_is_volume_stack

    notes: list[str] = []
    columns, rows, sections = (int(header[name]) for name in ("nx", "ny", "nz"))
    depth, group, extension = int(header["mz"]), int(header["ispg"]), int(header["nsymbt"])
    if min(columns, rows, sections) < 0 or columns * rows * sections >= 1 << 60 or extension < 0:
        raise Damaged(
            f"its sizes are {columns}, {rows} and {sections}, its extended header has {extension} bytes"
        )
    if extension > _LONGEST_EXTENSION:
        raise Unsupported(f"its extended header has {extension:,} bytes")
    dtype = np.dtype(dtype_from_mode(int(header["mode"]))).newbyteorder(header["mode"].dtype.byteorder)
    order = [int(header[name]) for name in ("maps", "mapr", "mapc")]
    if sorted(order) != [1, 2, 3]:
        if any(order):
            notes.append(f"its header names its axes {order}, which cannot be: they are read as z, y and x.")
        order = [3, 2, 1]
    axes = "".join("XYZ"[number - 1] for number in order)
    if spacegroup_is_volume_stack(group):
        if depth < 1 or sections % depth:
            raise Damaged(f"its {sections} sections are no stack of volumes of {depth}")
        return (sections // depth, depth, rows, columns), dtype, f"V{axes}", notes
    if group == _IMAGES and sections == 1 and axes == "ZYX":
        return (rows, columns), dtype, "YX", notes
    if group == _IMAGES and depth == 1 and axes == "ZYX":
        notes.append(f"by its header it is a stack of images; {named('axes', 'ZYX')} changes it.")
        return (sections, rows, columns), dtype, "VYX", notes
    return (sections, rows, columns), dtype, axes, notes
