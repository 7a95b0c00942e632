"""NRRD and MetaImage files to be read, and positions by ITK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from helpers_typing import SimpleITK

RNG = np.random.default_rng(0)
MAP = RNG.random((4, 5, 6), dtype=np.float32)
TURN = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, -1.0]])


def image(array: Any, *, vector: bool = False) -> Any:
    found = SimpleITK.GetImageFromArray(array, isVector=vector)
    dims = found.GetDimension()
    turn = np.eye(dims)
    turn[: min(dims, 3), : min(dims, 3)] = TURN[: min(dims, 3), : min(dims, 3)]
    found.SetDirection(turn.ravel().tolist())
    found.SetSpacing([0.5, 0.75, 2.0, 1.0][:dims])
    found.SetOrigin([3.0, -4.0, 5.0, 0.0][:dims])
    return found


def where(found: Any, index: tuple[int, ...]) -> list[float]:
    """An index of an ITK image, x first, in RAS; planes lie at z = 0."""
    at = found.TransformIndexToPhysicalPoint(index)
    return [-at[0], -at[1], *(at[2:3] or (0.0,))]


def flat_affine() -> Any:
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0.3, -0.4], [0, 0.4, 0.3], [1, 0, 0]])
    affine[:3, 3] = 7, -8, 0
    return affine


def nrrd(path: Path, fields: str, body: bytes, *, sizes: str = "6 5 4", type_: str = "float") -> Path:
    dims = len(sizes.split())
    head = f"NRRD0005\ntype: {type_}\ndimension: {dims}\nsizes: {sizes}\n{fields}"
    path.write_bytes(head.encode() + b"\n" + body)
    return path


LITTLE, BIG = MAP.astype("<f4").tobytes(), MAP.astype(">f4").tobytes()
TEXT = "\n".join(repr(float(value)) for value in MAP.ravel()).encode()


def mha(
    path: Path, fields: str, data: str, body: bytes, *, sizes: str = "6 5 4", type_: str = "MET_FLOAT"
) -> Path:
    head = f"ObjectType = Image\nNDims = {len(sizes.split())}\nDimSize = {sizes}\n{fields}ElementType = {type_}\n"
    path.write_bytes(f"{head}ElementDataFile = {data}\n".encode() + body)
    return path


SPACE = "space directions: (2,0,0) (0,3,0) (0,0,4)\nspace origin: (1,2,3)\nendian: little\nencoding: raw\n"
