"""NumPy .npz files as nnU-Net writes them: probabilities of all classes; io/nnunet.py gives them their place."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.io.arrays import header
from softmorph_cli.io.damage import ENDS_EARLY, Damaged, Unsupported
from softmorph_cli.io.families import FAMILIES
from softmorph_cli.io.raw import Array, Encoding, Raw
from softmorph_cli.io.room import check_room
from softmorph_cli.io.zipped import can_hold
from softmorph_cli.system.printable import typed
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
    title: str = FAMILIES[NAME].title
    suffixes: tuple[str, ...] = FAMILIES[NAME].suffixes
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
        with path.open("rb") as stream, ZipFile(stream) as archive:
            files = [name.removesuffix(".npy") for name in archive.namelist()]
            key = next((key for key in _KEYS if key in files), None)
            if key is None:
                raise InputError(_other(path, files))
            member = f"{key}.npy" if f"{key}.npy" in archive.namelist() else key
            told = archive.getinfo(member)
            with archive.open(told) as packed:
                try:
                    shape, _, dtype = header(packed)
                except ValueError as error:
                    raise Unsupported(f"its {key!r} is no array") from error
            if dtype.hasobject:
                raise InputError(
                    f"{path} holds Python objects under {key!r}, which are never unpickled; "
                    f"save plain numbers: numpy.savez_compressed(path, {key}=array.astype('float32'))."
                )
            if not can_hold(
                told.compress_size, prod(shape) * dtype.itemsize, _PACKED.get(told.compress_type, "bzip2")
            ):
                raise Damaged(ENDS_EARLY)
            unpack = typed("unzip", path, member)
            check_room(shape, dtype.itemsize, path, first=f"unpack it first ({unpack}), which gives {member}")
            with archive.open(member) as packed, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about headers that Python 2 wrote
                array = np.lib.format.read_array(packed, allow_pickle=False)
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
        encoding: Encoding,
    ) -> list[str]:
        """Refuse: an .npz has no place for geometry, and nothing reads a filtered one."""
        raise UsageError(f"{path}: .npz files are read, not written; write .nii.gz instead.")


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
