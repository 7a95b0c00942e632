"""Drawn lines whose branches are known, and tables that are read back."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from softmorph_cli.io.writing import write
from softmorph_cli.volume import Volume


def lines(*boxes: tuple[slice, slice]) -> np.ndarray:
    """Draw bars of 0.75 that are one pixel wide, so that each is its own centreline."""
    image = np.zeros((24, 40), np.float32)
    for box in boxes:
        image[box] = 0.75
    return image


def bar() -> np.ndarray:
    """A line of 31 pixels, 30 steps long."""
    return lines((slice(12, 13), slice(4, 35)))


def tee() -> np.ndarray:
    """The line, with another of 10 steps from its middle; and a line of 5 steps on its own."""
    return lines((slice(12, 13), slice(4, 35)), (slice(2, 13), slice(19, 20)), (slice(20, 21), slice(4, 10)))


def plane(path: str, image: np.ndarray) -> None:
    write(Volume(image, "YX", (0.5, 0.5), "mm"), path)


def parsed(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def table(path: str) -> list[dict[str, str]]:
    return parsed(Path(path).read_text(encoding="utf-8"))
