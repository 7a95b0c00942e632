"""Persistence bars of real maps, and of the sample tree, compared with those of gudhi."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import nibabel
import numpy as np
import pytest
from helpers_topology import gudhi_intervals, intervals

from softmorph_cli.topology.persistence import bars

SAMPLE_TREE = Path(__file__).parents[2] / "sample_data" / "vessel_tree.nii.gz"
MNI = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"


def cube(name: str, size: int) -> np.ndarray:
    """Return the central cube, of at most `size` voxels along each axis, of the sample tree or of an MNI tissue map."""
    path = (
        SAMPLE_TREE if name == "tree" else resources.files("nilearn") / "datasets" / "data" / MNI.format(name)
    )
    array = np.asarray(nibabel.Nifti1Image.from_filename(str(path)).dataobj, np.float32)
    box = [slice(max(0, n - size) // 2, max(0, n - size) // 2 + min(n, size)) for n in array.shape]
    part: np.ndarray = array[tuple(box)] / np.float32(1 if name == "tree" else 255)
    return part


@pytest.mark.parametrize(
    "size", [pytest.param(96, marks=pytest.mark.heavy, id="whole"), pytest.param(40, id="part")]
)
@pytest.mark.parametrize(("name", "connectivity"), [("tree", 26), ("gm", 26), ("wm", 26), ("wm", 6)])
def test_bars_of_real_maps(name: str, connectivity: int, size: int) -> None:
    p = cube(name, size)
    found = intervals(bars(p, connectivity))
    assert found == gudhi_intervals(p, connectivity)
    assert sum(map(len, found)) > 10
