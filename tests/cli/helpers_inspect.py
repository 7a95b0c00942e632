"""A drawn tree of vessels for softmorph inspect, and the files that are made of it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

# (z, y, x), and in the file (0.5, 0.5, 2) mm.
SPACING = (2.0, 0.5, 0.5)
SHAPE = (18, 76, 120)
FORK = (20.0, 20.0, 18.0)
TIPS = ((20.0, 4.0, 18.0), (26.0, 30.0, 28.0), (14.0, 32.0, 10.0))
TEXTS = {
    "csv": "c.csv",
    "summary": "cases.csv",
    "components": "parts.csv",
    "graphml": "g.graphml",
    "swc": "s.swc",
    "obj": "o.obj",
    "shapes": "h.csv",
}
IMAGES = {"skeleton": "skeleton.nii.gz", "branch-labels": "labels.nii.gz", "tagged": "tagged.nii.gz"}
PICTURES = {"preview": "p.png", "report": "r.html"}
JSON = {"json-file": "j.json"}
OUTPUTS = JSON | TEXTS | IMAGES | PICTURES
GRAPH = ("components", "cycles", "end_points", "junctions", "branches", "length_mm")
UNEVEN = "voxels are 2 × 0.5 × 0.5 mm: thinning counts voxels, not lengths"


def curves() -> list[np.ndarray]:
    """Return three arms and a tilted ring as points in mm, (z, y, x)."""
    turn = np.linspace(0, 2 * np.pi, 400)
    ring = np.stack([12 + 3 * np.sin(turn), 18 + 9 * np.sin(turn), 45 + 9 * np.cos(turn)], axis=1)
    return [*(np.linspace(FORK, tip, 100) for tip in TIPS), ring]


def length(points: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def drawn() -> np.ndarray:
    """Draw the curves as soft tubes of radius 1.5 mm."""
    places = np.stack([*np.indices(SHAPE)], axis=-1).reshape(-1, 3) * np.array(SPACING)
    away = np.reshape(cKDTree(np.concatenate(curves())).query(places)[0], SHAPE)
    return (1 / (1 + np.exp(4 * (away - 1.5)))).astype(np.float32)


def flags(wanted: dict[str, str], folder: Path | None = None) -> list[str]:
    return [
        part
        for name, path in wanted.items()
        for part in (f"--{name}", str(folder / path) if folder else path)
    ]


def rows(text: str) -> dict[str, dict[str, str]]:
    """Return the plain lines of the tables of branches and components: name, then column and cell."""
    found = {}
    for line in text.splitlines():
        match = re.fullmatch(r"  ((?:branch|component) \d+): (.*)", line)
        if match:
            cells = (
                cell.rsplit(" ", 1)
                for cell in re.sub("isolated cycle", "isolated-cycle", match[2]).split(", ")
            )
            found[match[1]] = dict(cells)
    return found
