"""The walk of a microscopist: from ilastik or a stack of channels to skeleton, SWC, branches in µm and overlay."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import h5py
import matplotlib.image
import numpy as np
import pytest
import tifffile
from helpers_walks import typed

# The size of a voxel along z, y and x, in µm.
SIZES = np.array([0.5, 0.25, 0.25])
SHAPE = (24, 96, 120)
RADIUS = 1.0
# A neurite that forks, in µm from the first voxel's centre; the lengths of its arms are known.
FORK = np.array([6.0, 12.0, 13.0])
TIPS = np.array([[6.0, 12.0, 2.5], [8.5, 3.5, 26.0], [3.5, 20.5, 26.0]])
LENGTHS = np.linalg.norm(TIPS - FORK, axis=1)


def neurite() -> np.ndarray:
    """Draw the probability, (Z, Y, X): one half at `RADIUS` from the arms, with a soft border."""
    grid = np.moveaxis(np.indices(SHAPE), 0, -1) * SIZES
    away = np.full(SHAPE, np.inf)
    for tip in TIPS:
        along = np.clip(((grid - FORK) @ (tip - FORK)) / ((tip - FORK) @ (tip - FORK)), 0, 1)
        away = np.minimum(away, np.linalg.norm(grid - FORK - along[..., None] * (tip - FORK), axis=-1))
    return np.asarray(1 / (1 + np.exp(8 * (away - RADIUS))), np.float32)


def write_ilastik(path: str) -> None:
    """Write what ilastik's pixel classification exports: axes z, y, x, c with tags, and their units."""
    p = neurite()
    axes = [
        {"key": key, "typeFlags": 1 if key == "c" else 2, "resolution": size, "description": ""}
        for key, size in zip("zyxc", (*SIZES, 0.0), strict=True)
    ]
    with h5py.File(path, "w") as file:
        data = file.create_dataset(
            "exported_data", data=np.stack([1 - p, p], -1), chunks=True, compression="gzip"
        )
        data.attrs["axistags"] = json.dumps({"axes": axes})
        data.attrs["axis_units"] = json.dumps({"z": "um", "y": "um", "x": "um", "c": ""})
        data.attrs["drange"] = (0.0, 1.0)


def write_imagej(path: str) -> None:
    """Write what Fiji saves: a hyperstack of two channels in 8 bits, with the voxel size in micron."""
    p = np.round(neurite() * 255).astype(np.uint8)
    tifffile.imwrite(
        path,
        np.stack([255 - p, p], axis=1),
        imagej=True,
        resolution=(1 / SIZES[2], 1 / SIZES[1]),
        metadata={"axes": "ZCYX", "spacing": SIZES[0], "unit": "micron"},
    )


def write_micrograph(path: str) -> None:
    """Write the micrograph that the prediction was made of: fluorescence of the neurite, and of a corner beside it."""
    counts = 300 + 2500 * neurite() + np.random.default_rng(0).normal(0, 40, SHAPE)
    counts[:, 70:90, 5:25] += 3000
    tifffile.imwrite(
        path,
        counts.astype(np.uint16),
        imagej=True,
        resolution=(1 / SIZES[2], 1 / SIZES[1]),
        metadata={"axes": "ZYX", "spacing": SIZES[0], "unit": "micron"},
    )


SOURCES = {"probabilities.h5": write_ilastik, "stack.tif": write_imagej}


def rows(path: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def swc_length(path: str) -> tuple[float, np.ndarray]:
    """Return the length of all pieces of an SWC tree, and its points (x, y, z)."""
    nodes: dict[int, tuple[np.ndarray, int]] = {}
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            number, _, x, y, z, _, parent = line.split()
            nodes[int(number)] = np.array([float(x), float(y), float(z)]), int(parent)
    length = sum(
        float(np.linalg.norm(place - nodes[parent][0])) for place, parent in nodes.values() if parent in nodes
    )
    return length, np.array([place for place, _ in nodes.values()])


@pytest.mark.parametrize("source", SOURCES)
def test_from_probabilities_to_lengths_in_micrometres(source: str) -> None:
    SOURCES[source](source)
    facts: Any = typed(f"softmorph info {source} --json").json
    assert (facts["input"]["unit"], facts["kind"], facts["structure"]) == ("um", "probability", "vessels")
    assert facts["input"]["spacing"] == pytest.approx(SIZES.tolist())
    write_micrograph("micrograph.tif")
    typed(f"softmorph skeletonize {source} line.tif --channel 1 --hard")
    typed(
        f"softmorph inspect {source} --channel 1 --prune radius --csv branches.csv --swc tree.swc "
        "--preview overlay.png --background micrograph.tif --json-file tree.json"
    )

    with tifffile.TiffFile("line.tif") as file:
        line, about = file.asarray(), file.imagej_metadata or {}
        page: Any = file.pages[0]
        y_resolution = page.tags["YResolution"].value
    assert set(np.unique(line)) == {0, 1}
    assert (about["unit"].replace("\\u00B5", "u"), about["spacing"]) in (
        ("um", SIZES[0]),
        ("micron", SIZES[0]),
    )
    assert y_resolution[1] / y_resolution[0] == pytest.approx(SIZES[1], rel=1e-6)
    assert (neurite()[line > 0] > 0.5).all()
    # One voxel wide: about as many voxels as the longest way along an axis.
    assert 100 < line.sum() < 220

    branches = rows("branches.csv")
    assert "length_mm" not in branches[0]
    found = sorted(float(branch["length_um"]) for branch in branches)
    # The arms end in caps, a radius behind their tips, in which a skeleton may end anywhere; the fork may move a voxel.
    assert found == pytest.approx(sorted(LENGTHS), abs=RADIUS + SIZES[0])
    assert sum(found) == pytest.approx(LENGTHS.sum(), rel=0.05)
    assert [float(branch["radius_mean_um"]) for branch in branches] == pytest.approx([RADIUS] * 3, rel=0.12)
    graph = json.loads(Path("tree.json").read_text(encoding="utf-8"))["graph"]
    assert graph["unit"] == "um"
    assert graph["length_um"] == pytest.approx(sum(found))

    length, points = swc_length("tree.swc")
    assert length == pytest.approx(LENGTHS.sum(), rel=0.05)
    # Its points lie where the neurite does, in µm: each within a radius of an arm.
    for point in points[:, ::-1]:
        along = [np.clip(((point - FORK) @ (t - FORK)) / ((t - FORK) @ (t - FORK)), 0, 1) for t in TIPS]
        away = [np.linalg.norm(point - FORK - a * (t - FORK)) for a, t in zip(along, TIPS, strict=True)]
        assert min(away) < RADIUS

    # The skeleton over the micrograph; without it the picture is another, in which nothing is seen of the corner.
    typed(f"softmorph inspect {source} --channel 1 --prune radius --preview bare.png")
    over, bare = (matplotlib.image.imread(name)[..., :3] for name in ("overlay.png", "bare.png"))
    # The corner is white in the micrograph, over 20 x 20 voxels, and dark in the map; text and scale are in both.
    white = [int((picture.min(axis=-1) > 0.9).sum()) for picture in (over, bare)]
    assert white[0] - white[1] > 20 * 20
    # The line has a colour, over grey.
    assert (np.ptp(over, axis=-1) > 0.3).sum() > 300
