"""NumPy .npz files as nnU-Net writes them: probabilities of all classes; io/nnunet.py gives them their place."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO, Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.io.arrays import npy_header
from softmorph_cli.io.damage import ENDS_EARLY, Damaged, Unsupported
from softmorph_cli.io.raw import Array, Provenance, Raw
from softmorph_cli.io.room import check_room
from softmorph_cli.io.zipped import can_hold
from softmorph_cli.volume import Volume

NAME: Final = "nnunet"
# What nnU-Net 2 and nnU-Net 1 call the array, and what people call it who save it themselves.
_KEYS: Final = ("probabilities", "softmax", "logits")
_ZIP = b"PK\x03\x04"
_SHOWN = 8
# The bound of what unpacks furthest for the others.
_PACKED: Final = {ZIP_STORED: "zlib", ZIP_DEFLATED: "zlib"}


@dataclass(frozen=True)
class Npz:
    """The .npz family, of which nnU-Net's outputs are read; nothing in it is ever unpickled."""

    name: str = NAME
    title: str = "nnU-Net .npz"
    suffixes: tuple[str, ...] = (".npz",)
    output_types: tuple[str, ...] = ()
    holds: frozenset[str] = frozenset()

    def recognises(self, head: bytes) -> bool:
        """Whether this is a zip archive whose first member is an .npy file."""
        length = int.from_bytes(head[26:28], "little")
        return head.startswith(_ZIP) and head[30 : 30 + length].endswith(b".npy")

    def read(self, path: Path) -> Raw:
        """Read the array of classes, (C, Z, Y, X), without any geometry.

        Raises:
            InputError: If the archive holds no array with a name that is known.
        """
        # Opened here, so that it is closed even where it is no whole archive.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            key = next((key for key in _KEYS if key in archive.files), None)
            if key is None:
                raise InputError(_other(path, archive.files))
            _check_member(stream, key, path)
            try:
                array = archive[key]
            except ValueError as error:
                if "pickle" not in str(error):
                    raise
                raise InputError(
                    f"{path} holds Python objects under {key!r}, which are never unpickled; "
                    f"save plain numbers: numpy.savez_compressed(path, {key}=array.astype('float32'))."
                ) from error
        notes = []
        if key == "softmax":
            notes.append("its key is 'softmax', so nnU-Net 1 wrote it; nnU-Net 2 says 'probabilities'.")
        return Raw(
            array=array,
            axes={3: "CYX", 4: "CZYX"}.get(array.ndim),
            format=self.name,
            shape=array.shape,
            dtype=str(array.dtype),
            native=key,
            notes=tuple(notes),
        )

    def write(
        self,
        volume: Volume,
        array: Array,
        path: Path,
        *,
        one: int,
        provenance: Provenance,
        labels: bool = False,
    ) -> list[str]:
        """Refuse: an .npz has no place for geometry, and nothing reads a filtered one."""
        raise UsageError(f"{path}: .npz files are read, not written; write .nii.gz instead.")


def _check_member(stream: BinaryIO, key: str, path: Path) -> None:
    """Look at the header of an array before NumPy takes memory for it.

    Raises:
        Damaged: If its bytes are not there.
        Unsupported: If it is no array.
        InputError: If it does not fit into memory.
    """
    with ZipFile(stream) as archive:
        names = archive.namelist()
        told = archive.getinfo(f"{key}.npy" if f"{key}.npy" in names else key)
        with archive.open(told) as member:
            try:
                shape, dtype = npy_header(member)
            except ValueError as error:
                raise Unsupported(f"its {key!r} is no array") from error
    size = prod(shape) * dtype.itemsize
    if not dtype.hasobject and not can_hold(
        told.compress_size, size, _PACKED.get(told.compress_type, "bzip2")
    ):
        raise Damaged(ENDS_EARLY)
    check_room(shape, dtype.itemsize, path, advice="read it on a machine with more memory")


def _other(path: Path, keys: list[str]) -> str:
    shown = ", ".join(repr(key) for key in keys[:_SHOWN]) + (", ..." if len(keys) > _SHOWN else "")
    if {"data", "seg"} <= set(keys):
        return (
            f"{path} holds {shown}: images that nnU-Net prepared for training, no prediction; "
            "predict with: nnUNetv2_predict --save_probabilities"
        )
    return (
        f"{path} holds the arrays {shown}; read is 'probabilities', as nnUNetv2_predict --save_probabilities "
        f"writes it: save the one you mean by itself, numpy.save('map.npy', numpy.load({path.name!r})[{keys[0]!r}])."
    )
