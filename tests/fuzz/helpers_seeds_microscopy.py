"""Small intact files of the formats of microscopy, as the libraries of these formats write them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from helpers_seeds import BYTES, SOFT, Seed, one


def microscopy() -> Iterator[Seed]:
    yield from _hdf5()


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
