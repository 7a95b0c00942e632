"""Files of OME-Zarr stores: metadata and chunks."""

from __future__ import annotations

from pathlib import Path


def metadata(path: Path) -> Path:
    return path / ("zarr.json" if (path / "zarr.json").exists() else ".zattrs")


def chunk_files(array: Path) -> list[Path]:
    marks = (".zarray", ".zattrs", "zarr.json")
    return sorted(p for p in array.rglob("*") if p.is_file() and p.name not in marks)
