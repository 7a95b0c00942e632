"""FreeSurfer's .mgh and .mgz, with nibabel's header; the axes of a file (x, y, z, frame) are reversed on reading."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from softmorph_cli.errors import InputError
from softmorph_cli.io.binary import read_head, read_voxels
from softmorph_cli.io.damage import Damaged, Unsupported
from softmorph_cli.io.format_names import FAMILIES
from softmorph_cli.io.raw import REVERSED, Array, Encoding, Format, Raw, kept_native, time_step_of
from softmorph_cli.io.zipped import gzip_writer
from softmorph_cli.system.parameters import named
from softmorph_cli.system.units import MILLIMETRES, TimeStep, time_step
from softmorph_cli.volume import Volume, places

# Byte 284 is the first of the voxels; the fields that are in use take 90.
_START: Final = 284
_FIELDS: Final = 90
_FOOTER: Final = 20
# By code: the element types that FreeSurfer's own readers know.
_TYPES: Final = {0: "u1", 1: ">i4", 3: ">f4", 4: ">i2", 10: ">u2"}
_PIECE: Final = 1 << 24


@dataclass(frozen=True)
class Mgh(Format):
    """The file formats .mgh and .mgz of FreeSurfer."""

    name = "mgh"
    output_types = ("float32", "uint8")
    holds = frozenset({"spacing", "affine", "stack", "time", "uint32"})

    def recognises(self, head: bytes) -> bool:
        """Return whether the bytes begin with version 1 and a known element type."""
        known = int.from_bytes(head[20:24], "big") in _TYPES
        # Of no axis with 2^24 voxels or more, so that few other files look like it.
        return head[:4] == b"\0\0\0\1" and known and not any(head[4:20:4]) and len(head) > _FIELDS

    def read(self, path: Path) -> Raw:
        """Read the array, the position and, of several frames, the time between them."""
        from nibabel.freesurfer.mghformat import MGHHeader

        head = read_head(path, _START)
        header: Any = MGHHeader(head, check=False)  # type: ignore[no-untyped-call]
        dims, code = tuple(int(size) for size in header["dims"]), int(header["type"])
        if code not in _TYPES:
            raise Unsupported(f"its element type has the number {code}")
        if min(dims) < 0 or prod(dims) >= 1 << 60:
            raise Damaged(f"its sizes are {dims}")
        array, footer, notes = read_voxels(path, _START, dims[::-1], np.dtype(_TYPES[code]), footer=_FOOTER)
        step: TimeStep | None = None
        if dims[3] == 1:
            array = array.reshape(array.shape[1:])
        elif len(footer) >= 4:
            step = time_step(float(np.frombuffer(footer, ">f4", 1)[0]), "ms")
        affine, spacing, unit = None, dict[str, float](), None
        # Without the flag nibabel fills in a position that the file does not state.
        if int.from_bytes(head[28:30], "big"):
            with np.errstate(over="ignore", invalid="ignore"):  # an affine without an inverse is not used
                affine, unit = header.get_affine()[:, REVERSED], "mm"
            if places(affine):
                spacing = {axis: float(str(size)) for axis, size in zip("XYZ", header["delta"], strict=True)}
        else:
            notes = [*notes, "its header states no position and no voxel size: lengths are in voxels."]
        return Raw(
            array=array,
            axes="ZYX" if array.ndim == 3 else "TZYX",
            format=self.name,
            shape=dims[:3] if dims[3] == 1 else dims,
            dtype=str(np.dtype(_TYPES[code]).newbyteorder("=")),
            spacing=spacing,
            unit=unit,
            time_step=step,
            affine=affine,
            native=footer,
            notes=tuple(notes),
        )

    def write(self, volume: Volume, array: Array, path: Path, encoding: Encoding) -> list[str]:
        """Write a file with the affine of the map; integers above 255 are stored as int32."""
        from nibabel.freesurfer.mghformat import MGHHeader

        self.check_mapped(volume, 1)
        mapped, lost = volume.mapped_axes, list[str]()
        frames = array.reshape(
            (
                *(array.shape[:1] if mapped else (1,)),
                *(1,) * (3 - volume.spatial_dims),
                *array.shape[len(mapped) :],
            )
        )
        if frames.dtype.kind == "u" and frames.dtype.itemsize > 1:
            if int(frames.max()) >= 1 << 31:
                raise InputError(f"{self.title} holds labels up to {(1 << 31) - 1}; write .nii.gz or .tif.")
            frames = frames.astype(np.int32)
        code = next(code for code, kind in _TYPES.items() if np.dtype(kind).str[1:] == frames.dtype.str[1:])
        known = volume.unit in MILLIMETRES
        header: Any = MGHHeader()  # type: ignore[no-untyped-call]
        header["dims"], header["type"] = frames.shape[::-1], code
        if volume.affine is not None and (known or volume.spacing is None):
            self._place(header, volume.affine[:, REVERSED])
        else:
            header["goodRASFlag"] = 0
            if volume.spacing is not None:
                lost.append(
                    f"{self.title} states a voxel size with an orientation only, which the map has not."
                )
        step = time_step_of(volume)
        footer = (kept_native(volume, self.name) or b"").ljust(_FOOTER, b"\0")
        if step is not None and step.known:
            footer = np.array([step.size * 1000], ">f4").tobytes() + footer[4:]
        if encoding.one != 1:
            lost.append(
                f"{self.title} does not say that {encoding.one} means 1; read it with "
                f"{named('divide_by', encoding.one)}."
            )
        zipped = path.name.lower().endswith(FAMILIES[self.name].gzipped)
        with path.open("wb") as file, gzip_writer(file) if zipped else nullcontext(file) as stream:
            stream.write(header.binaryblock[:_FIELDS].ljust(_START, b"\0"))
            flat = np.ascontiguousarray(frames).reshape(-1)
            for at in range(0, flat.size, _PIECE):
                stream.write(flat[at : at + _PIECE].astype(_TYPES[code]).tobytes())
            stream.write(footer)
        return lost

    @staticmethod
    def _place(header: Any, affine: Array) -> None:
        """Write an affine, from index (x, y, z, 1) to RAS in mm, as sizes, directions and the centre."""
        sizes = np.linalg.norm(affine[:3, :3], axis=0)
        header["goodRASFlag"] = 1
        header["delta"] = sizes
        header["Mdc"] = (affine[:3, :3] / sizes).T
        header["Pxyz_c"] = affine[:3] @ [*(np.array(header["dims"][:3]) / 2), 1]
