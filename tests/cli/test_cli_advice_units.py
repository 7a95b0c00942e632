"""What messages on voxel sizes and units advise is typed, and has to work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers_advice import Row, follow, soft

from softmorph_cli.io.writing import write
from softmorph_cli.volume import Volume


def unitless() -> None:
    head = (
        "ObjectType = Image\nNDims = 3\nDimSize = 14 12 6\nElementSpacing = 1 1 2\nElementType = MET_FLOAT\n"
    )
    Path("map.mha").write_bytes(f"{head}ElementDataFile = LOCAL\n".encode() + soft().tobytes())


TABLE = {
    "a length, and voxels of unknown size": Row(
        lambda: np.save("map.npy", soft()),
        "erode map.npy out.npy --radius 2mm",
        ("--voxel-size 1mm",),
    ),
    "a grid, and voxels of unknown size": Row(
        lambda: np.save("map.npy", soft()),
        "resample map.npy out.npy --spacing 2mm",
        ("--voxel-size 1mm",),
    ),
    "a size in pixels": Row(
        lambda: np.save("map.npy", soft()[3]),
        "despeckle map.npy out.npy --min-size 3um2",
        ("--voxel-size 1um",),
    ),
    "a grid, and a unit that is not known": Row(
        lambda: write(Volume(soft(), "ZYX", (2.0, 0.5, 0.5), None), Path("map.zarr")),
        "resample map.zarr out.zarr --spacing 1um",
        ("--unit um",),
        mentions=("--spacing",),
    ),
    "a header without a unit": Row(unitless, "stats map.mha", ("--unit um",), code=0),
    "what info says of an unknown size": Row(
        lambda: np.save("map.npy", soft()),
        "info map.npy",
        ("--voxel-size 0.5umx0.25x0.25",),
        then="erode map.npy out.npy --radius 2um",
        code=0,
    ),
    "what info says of an unknown unit": Row(
        lambda: write(Volume(soft(), "ZYX", (2.0, 0.5, 0.5), None), Path("map.zarr")),
        "info map.zarr",
        ("--unit um",),
        then="erode map.zarr out.zarr --radius 2um",
        code=0,
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_what_a_message_on_units_advises_works(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(name, TABLE[name], monkeypatch)
