"""A folder of maps for batches, and what a batch has made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from helpers_cli import Ended, everything, run

SIDE = 12
SHAPE = (SIDE,) * 3
GOOD = [f"case_{number}.nii.gz" for number in range(6)]
OURS = ("softmorph-manifest", "summary", ".softmorph-")


def blob(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    rng = np.random.default_rng(seed)
    middle = [rng.uniform(0.3, 0.7) * (size - 1) for size in shape]
    grid = np.meshgrid(*(np.arange(size) - m for size, m in zip(shape, middle, strict=True)), indexing="ij")
    apart = np.sqrt(sum(axis**2 for axis in grid))
    return np.asarray(1 / (1 + np.exp(apart - min(shape) / 3)), np.float32)


def break_one(source: Path, name: str = "broken.nii.gz") -> None:
    (source / name).write_bytes((source / GOOD[0]).read_bytes()[:200])


def results(folder: str | Path = "out") -> dict[str, bytes]:
    return {name: content for name, content in everything(Path(folder)).items() if not name.startswith(OURS)}


def written(folder: str | Path = "out") -> list[Path]:
    """Return the results by their names; pathlib's patterns match hidden files too."""
    return [path for path in Path(folder).glob("*.nii.gz") if not path.name.startswith(".")]


def times(folder: str | Path = "out") -> dict[str, int]:
    return {name: (Path(folder) / name).stat().st_mtime_ns for name in results(folder)}


def lines(folder: str | Path = "out") -> list[dict[str, Any]]:
    path = Path(folder) / "softmorph-manifest.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def counts(ended: Ended) -> dict[str, int]:
    return {name: count for name, count in ended.json["counts"].items() if count}


def batch(*arguments: object, code: int = 0) -> Ended:
    return run("batch", "in", "out", *arguments, code=code)
