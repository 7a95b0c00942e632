"""Small intact files of microscopy, FreeSurfer and DICOM, as the libraries of these formats write them."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from helpers_dicom import segmentation
from helpers_seeds import BYTES, SOFT, Seed, one, saved


def microscopy() -> Iterator[Seed]:
    yield from _hdf5()
    yield from _mrc()
    yield from _mgh()
    yield from _dicom()


def _hdf5() -> Iterator[Seed]:
    import h5py

    def file(
        array: Any, name: str = "exported_data", *, latest: bool = False, more: Any = None, **how: Any
    ) -> bytes:
        stream = io.BytesIO()
        with h5py.File(stream, "w", **({"libver": "latest"} if latest else {})) as made:
            dataset = made.create_dataset(name, data=array, **how)
            for key, value in (more or {}).items():
                dataset.attrs[key] = value
        return stream.getvalue()

    def tags(axes: str) -> dict[str, Any]:
        told = [{"key": key, "typeFlags": 2, "resolution": 0.5, "description": ""} for key in axes]
        return {"axistags": json.dumps({"axes": told}), "axis_units": json.dumps(dict.fromkeys(axes, "um"))}

    pair = np.stack([SOFT, 1 - SOFT], -1)
    packed: dict[str, Any] = {"chunks": (3, 3, 4, 2), "compression": "gzip", "shuffle": True}
    yield one("hdf5-ilastik", ".h5", file(pair, more=tags("zyxc"), **packed), channel=1)
    byte = {**tags("zyx"), "drange": (0.0, 255.0)}
    yield one(
        "hdf5-bytes", ".h5", file(BYTES, more=byte, chunks=(2, 6, 7), compression="lzf", fletcher32=True)
    )
    yield one("hdf5-plain", ".h5", file(SOFT, "volume/soft"))
    sizes = {"element_size_um": (2.0, 0.5, 0.5)}
    yield one(
        "hdf5-latest", ".hdf5", file(SOFT, latest=True, more=sizes, chunks=(2, 3, 7), compression="gzip")
    )


def _mrc() -> Iterator[Seed]:
    import mrcfile

    def file(array: Any, **fields: Any) -> bytes:
        def save(path: Path) -> None:
            with mrcfile.new(path) as made:
                made.set_data(array)
                made.voxel_size = (1.5, 2.0, 2.5)
                made.set_extended_header(np.zeros(80, np.uint8))
                made.header.label[0] = b"by hand"
                for name, value in fields.items():
                    made.header[name] = value

        return saved(".mrc", save)

    plain = file(SOFT)
    yield one("mrc-plain", ".mrc", plain)
    yield one("mrc-gzip", ".map.gz", gzip.compress(plain, 1, mtime=0))
    yield one("mrc-turned", ".rec", file((SOFT > 0.5).astype(np.int8), mapc=3, mapr=1, maps=2))
    yield one("mrc-volumes", ".mrc", file(np.stack([SOFT, SOFT]).astype(np.float16)), channel=1)


def _mgh() -> Iterator[Seed]:
    nibabel: Any = import_module("nibabel")
    affine = np.array([[0, -2, 0, 3.5], [1, 0, 0.25, -8], [0, 0.5, 3, 1], [0, 0, 0, 1]])
    plain = nibabel.MGHImage(SOFT.T, affine).to_bytes()
    yield one("mgh-plain", ".mgh", plain)
    yield one("mgh-gzip", ".mgz", gzip.compress(plain, 1, mtime=0))
    yield one("mgh-frames", ".mgh", nibabel.MGHImage(np.stack([SOFT, SOFT]).T, affine).to_bytes(), channel=1)


def _dicom() -> Iterator[Seed]:
    yield one("dicom-fractions", ".dcm", segmentation(SOFT))
    pair = np.stack([SOFT > 0.6, SOFT < 0.3], axis=-1).astype(np.uint8)
    yield one("dicom-segments", ".dcm", segmentation(pair, "BINARY"), channel=1)
    yield one("dicom-labels", ".dcm", segmentation((SOFT > 0.5) + np.uint8(1), "LABELMAP"), label=2)
