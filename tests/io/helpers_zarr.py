"""Zarr stores as other programs write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr

SOFT = np.random.default_rng(0).random((6, 7, 8), dtype=np.float32)
NAMES = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}


def make(
    path: Path,
    array: Any = SOFT,
    axes: str = "ZYX",
    *,
    version: str = "0.4",
    unit: str | None = "micrometer",
    scale: list[float] | None = None,
    translation: list[float] | None = None,
    outer: list[dict[str, Any]] | None = None,
    extra: dict[str, Any] | None = None,
    coarse: Any = None,
    chunks: tuple[int, ...] | None = None,
) -> Path:
    """A store as other programs write it."""
    group = zarr.open_group(str(path), mode="w", zarr_format=2 if version == "0.4" else 3)
    datasets = []
    for number, level in enumerate([array] if coarse is None else [array, coarse]):
        options: dict[str, Any] = {"dimension_names": list(axes.lower())} if version == "0.5" else {}
        stored = group.create_array(
            str(number), shape=level.shape, dtype=level.dtype, chunks=chunks or level.shape, **options
        )
        stored[...] = level
        factor = [2.0 if a in "ZYX" and number else 1.0 for a in axes]
        sizes = [f * s for f, s in zip(factor, scale or [1.0] * len(axes), strict=True)]
        steps: list[dict[str, Any]] = [{"type": "scale", "scale": sizes}]
        if translation:
            steps.append({"type": "translation", "translation": translation})
        datasets.append({"path": str(number), "coordinateTransformations": steps})
    described = [
        {"name": a.lower(), "type": NAMES[a]} | ({"unit": unit} if unit and a in "ZYX" else {}) for a in axes
    ]
    image: dict[str, Any] = {"axes": described, "datasets": datasets, "name": "map"}
    if outer:
        image["coordinateTransformations"] = outer
    stated = {"multiscales": [image], **(extra or {})}
    if version == "0.4":
        image["version"] = "0.4"
        group.attrs.update(stated)
    else:
        group.attrs.update({"ome": {"version": "0.5", **stated}})
    return path
