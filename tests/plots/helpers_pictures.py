"""Drawn skeletons with their graphs, and readers of PNG, terminal output and sixel."""

from __future__ import annotations

import io
import re

import numpy as np

from softmorph_cli.skeleton.frame import Frame
from softmorph_cli.skeleton.graph import SkeletonGraph, measure
from softmorph_cli.skeleton.trace import trace
from softmorph_cli.volume import Volume

# Index (z, y, x) to world: x falls with the column, y and z rise with their index.
AFFINE = np.array([[0, 0, -0.5, 9], [0, 0.5, 0, -4], [2.0, 0, 0, 7], [0, 0, 0, 1]])

# Just bright enough that margins are not cut off.
FAINT = 0.02


def graph_of(volume: Volume, voxels: np.ndarray) -> SkeletonGraph:
    """Trace voxels, shape (N, d), of a map."""
    array = volume.array
    certainty = {"certainty": lambda index: array[tuple(index.T)].astype(np.float64)}
    return measure(trace(voxels), Frame.of(volume), array.shape, certainty)


def fork(shape: tuple[int, int] = (40, 60), **place: object) -> tuple[Volume, SkeletonGraph]:
    """Draw a Y: a line along row 20 from column 5 to 30, then one up and one down to column 50."""
    line = [(20, x) for x in range(5, 31)]
    line += [(20 - (x - 30) // 2, x) for x in range(31, 51)] + [
        (20 + (x - 30) // 2, x) for x in range(32, 51)
    ]
    voxels = np.array(sorted(set(line)))
    p = np.full(shape, FAINT, np.float32)
    for shift in (-2, -1, 0, 1, 2):
        p[voxels[:, 0] + shift, voxels[:, 1]] = np.maximum(p[voxels[:, 0] + shift, voxels[:, 1]], 0.3)
    p[tuple(voxels.T)] = np.where(voxels[:, 1] < 30, 1.0, 0.6)
    volume = Volume(p, "YX", **place)  # type: ignore[arg-type]
    return volume, graph_of(volume, voxels)


def helix(**place: object) -> tuple[Volume, SkeletonGraph]:
    """Draw an open curve through three dimensions, one end at (2, 10, 16), the other at (17, 4, 10)."""
    t = np.linspace(0, 1.5 * np.pi, 200)
    points = np.stack([2 + 15 * t / t[-1], 10 + 6 * np.sin(t), 10 + 6 * np.cos(t)], axis=-1)
    voxels = np.unique(np.rint(points).astype(int), axis=0)
    p = np.full((20, 24, 30), FAINT, np.float32)
    p[tuple(voxels.T)] = 0.9
    volume = Volume(p, "ZYX", **place)  # type: ignore[arg-type]
    return volume, graph_of(volume, voxels)


def alone(ndim: int = 3, *, filled: bool = True) -> tuple[Volume, SkeletonGraph]:
    """Draw one voxel, or nothing."""
    p = np.zeros((9,) * ndim, np.float32)
    voxels = np.full((int(filled), ndim), 4)
    p[tuple(voxels.T)] = 1
    volume = Volume(p, "ZYX"[-ndim:])
    return volume, graph_of(volume, voxels)


def read_png(data: bytes) -> np.ndarray:
    """Return the pixels of a PNG, shape (height, width, 3)."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def rgb(color: str) -> tuple[int, ...]:
    """Return the numbers of "#rrggbb"."""
    return tuple(bytes.fromhex(color[1:]))


Cell = tuple[str, tuple[int, ...] | None, tuple[int, ...] | None]


def read_cells(text: str) -> list[list[Cell]]:
    """Return lines of characters with their foreground and background, as a truecolor terminal shows them."""
    lines = []
    for line in text.rstrip("\n").split("\n"):
        front = back = None
        cells: list[Cell] = []
        for found in re.finditer(r"\x1b\[([\d;]*)m|(.)", line):
            if found[2]:
                cells.append((found[2], front, back))
                continue
            codes = [int(code or 0) for code in found[1].split(";")]
            while codes:
                if codes[0] in (38, 48):
                    assert codes[1] == 2
                    color = tuple(codes[2:5])
                    front, back = (color, back) if codes[0] == 38 else (front, color)
                    codes = codes[5:]
                else:
                    assert codes.pop(0) == 0
                    front = back = None
        lines.append(cells)
    return lines


def read_sixel(text: str) -> np.ndarray:
    """Return the image of the first sixel string, shape (height, width, 3); colours are rounded to percents."""
    found = re.search(r"\x1bP[\d;]*q\"1;1;(\d+);(\d+)(.*?)\x1b\\", text, re.DOTALL)
    assert found is not None
    width, height = int(found[1]), int(found[2])
    image = np.zeros((height + 6, width, 3), int)
    palette: dict[int, list[int]] = {}
    x = y = color = 0
    for token in re.finditer(r"#(\d+)(?:;2;(\d+);(\d+);(\d+))?|(?:!(\d+))?([?-~])|(\$)|(-)", found[3]):
        if token[1]:
            color = int(token[1])
            if token[2]:
                palette[color] = [round(int(token[k]) * 2.55) for k in (2, 3, 4)]
        elif token[6]:
            count = int(token[5] or 1)
            for bit in range(6):
                if (ord(token[6]) - 63) >> bit & 1:
                    image[y + bit, x : x + count] = palette[color]
            x += count
        else:
            x, y = 0, y + (6 if token[8] else 0)
    return image[:height]
