"""NumPy .npz files of nnU-Net, which hold the probabilities of all classes; io/nnunet.py adds the geometry."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np

from softmorph_cli.errors import InputError
from softmorph_cli.io.damage import ENDS_EARLY, Damaged, Unsupported
from softmorph_cli.io.memory_check import check_room
from softmorph_cli.io.npy import read_header
from softmorph_cli.io.raw import Raw, ReadOnly
from softmorph_cli.io.zipped import can_hold
from softmorph_cli.system.printable import typed

NAME: Final = "nnunet"
# Names of the array: nnU-Net 2's, nnU-Net 1's, and a usual one of arrays that users save themselves.
_KEYS: Final = ("probabilities", "softmax", "logits")
_ZIP = b"PK\x03\x04"
_SHOWN = 8
# By compression the bound on decompression, in the terms of `can_hold`; the loosest for all others.
_BOUNDS: Final = {ZIP_STORED: "zlib", ZIP_DEFLATED: "zlib"}


@dataclass(frozen=True)
class Npz(ReadOnly):
    """The file format .npz, of which outputs of nnU-Net are read; Python objects are never unpickled."""

    name = NAME
    # An .npz cannot hold geometry, and no program reads a filtered .npz.
    instead = ".nii.gz"

    def recognises(self, head: bytes) -> bool:
        """Return whether the bytes begin a zip archive whose first member is an .npy file."""
        length = int.from_bytes(head[26:28], "little")
        return head.startswith(_ZIP) and head[30 : 30 + length].endswith(b".npy")

    def read(self, path: Path) -> Raw:
        """Read the array of class probabilities, (C, Z, Y, X) or (C, Y, X), without geometry.

        Raises:
            InputError: If the archive holds no array of a known name.
        """
        # Opened here, so that the file is closed even if the archive is incomplete.
        with path.open("rb") as stream, ZipFile(stream) as archive:
            files = [name.removesuffix(".npy") for name in archive.namelist()]
            key = next((key for key in _KEYS if key in files), None)
            if key is None:
                raise InputError(_other(path, files))
            member = f"{key}.npy" if f"{key}.npy" in archive.namelist() else key
            entry = archive.getinfo(member)
            with archive.open(entry) as packed:
                try:
                    shape, _, dtype = read_header(packed)
                except ValueError as error:
                    raise Unsupported(f"its {key!r} is no array") from error
            if dtype.hasobject:
                raise InputError(
                    f"{path} holds Python objects under {key!r}, which are never unpickled; "
                    f"save plain numbers: numpy.savez_compressed(path, {key}=array.astype('float32'))."
                )
            if not can_hold(
                entry.compress_size, prod(shape) * dtype.itemsize, _BOUNDS.get(entry.compress_type, "bzip2")
            ):
                raise Damaged(ENDS_EARLY)
            unpack = typed("unzip", path, member)
            check_room(shape, dtype.itemsize, path, first=f"unpack it first ({unpack}), which gives {member}")
            with archive.open(member) as packed, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about headers that Python 2 wrote
                array = np.lib.format.read_array(packed, allow_pickle=False)
        note = "its key is 'softmax', so nnU-Net 1 wrote it; nnU-Net 2 says 'probabilities'."
        return Raw(
            array=array,
            axes={3: "CYX", 4: "CZYX"}.get(array.ndim),
            format=self.name,
            shape=array.shape,
            dtype=str(array.dtype),
            native=key,
            notes=(note,) if key == "softmax" else (),
        )


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
