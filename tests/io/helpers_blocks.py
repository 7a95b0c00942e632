"""Maps in several formats, and their blocks read together."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from softmorph_cli.io.blocks import Blocks
from softmorph_cli.io.writing import write
from softmorph_cli.volume import Volume

RNG = np.random.default_rng(0)
SOFT = RNG.random((40, 50, 60), dtype=np.float32)


def boxes(shape: tuple[int, ...], side: int = 16) -> Any:
    return product(*([slice(a, min(a + side, n)) for a in range(0, n, side)] for n in shape))


def together(blocks: Blocks, side: int = 17) -> Any:
    found = np.full(blocks.shape, np.nan, np.float32)
    cuts = list(boxes(blocks.shape, side))

    def fill(cut: tuple[slice, ...]) -> None:
        block = blocks.read(cut)
        assert block.dtype == np.float32
        assert block.flags.writeable
        found[cut] = block
        block[...] = -1  # the block is a copy

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fill, cuts))
    return found


def save(path: Path, array: Any = SOFT, axes: str = "ZYX") -> Path:
    if path.name == "tiled.tif":
        tifffile.imwrite(
            path, array, tile=(16, 16), compression="zlib", photometric="minisblack", bigtiff=True
        )
    elif array.dtype == np.float32:
        write(Volume(array, axes, (3.0, 0.5, 0.25), "mm"), path)
    else:
        np.save(path, array)
    return path
