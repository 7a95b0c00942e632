"""The shipped samples are what their script makes, and what their README says."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK
import tifffile
from scipy import ndimage
from skimage.data import retina as retina_photograph
from typer.testing import CliRunner

from softmorph_cli.cli.app import app

Array = npt.NDArray[Any]

FOLDER = Path(__file__).parents[2] / "sample_data"


@pytest.fixture(scope="module")
def make_samples() -> Iterator[Any]:
    spec = importlib.util.spec_from_file_location("make_samples", FOLDER / "make_samples.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_samples"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["make_samples"]


@pytest.fixture(scope="module")
def tree() -> Any:
    return nibabel.load(FOLDER / "vessel_tree.nii.gz")


@pytest.fixture(scope="module")
def tree_map(tree: Any) -> Array:
    return np.asarray(tree.dataobj, dtype=np.float32).T


@pytest.fixture(scope="module")
def retina() -> Array:
    return np.asarray(tifffile.imread(FOLDER / "retina_vessels.tif"))


def truth_mask() -> Array:
    file: Any = nibabel.load(FOLDER / "vessel_tree_truth.nii.gz")
    return np.asarray(file.dataobj).T


def almost_all_equal(found: Array, expected: Array, quantum: float) -> bool:
    """Whether all but one in a thousand agree: a sum in another order may tip a rounding or a threshold."""
    return bool(np.mean(np.abs(found.astype(np.float64) - expected) > quantum) < 1e-3)


def test_the_tree_is_what_the_script_makes(make_samples: Any, tree: Any, tree_map: Array) -> None:
    again, truth = make_samples.vessel_tree()
    assert again.shape == tree_map.shape
    assert almost_all_equal(again, tree_map, 1 / 1024 + 1e-9)
    assert almost_all_equal(truth, truth_mask(), 0)
    assert np.allclose(tree.affine, make_samples.tree_affine(), atol=1e-6)


def test_the_retina_is_what_the_script_makes(make_samples: Any, retina: Array) -> None:
    # JPEG decoders may differ by one grey level, which is less than 0.02 in probability nearly everywhere.
    assert almost_all_equal(make_samples.retina_vessels() / 65535, retina / 65535, 0.02)


def test_the_script_writes_all_four(
    make_samples: Any, retina: Array, tree_map: Array, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_samples, "vessel_tree", lambda: (tree_map, truth_mask()))
    monkeypatch.setattr(make_samples, "retina_vessels", lambda: retina)
    make_samples.write_samples(tmp_path)
    shipped = {"retina_vessels.png", "retina_vessels.tif", "vessel_tree.nii.gz", "vessel_tree_truth.nii.gz"}
    assert {path.name for path in tmp_path.iterdir()} == shipped
    # Beside them lies only the README's picture, which the program draws.
    others = {path.name for path in FOLDER.iterdir() if path.suffix not in {".py", ".md", ""}} - shipped
    assert others == {"vessel_tree_skeleton.png", "vessel_tree_graph.png"}
    for name, array in (("vessel_tree.nii.gz", tree_map), ("vessel_tree_truth.nii.gz", truth_mask())):
        again: Any = nibabel.load(tmp_path / name)
        assert again.header == nibabel.load(FOLDER / name).header
        assert np.array_equal(np.asarray(again.dataobj).T, array)
    assert np.array_equal(tifffile.imread(tmp_path / "retina_vessels.tif"), retina)


@pytest.mark.parametrize("true", [False, True])
def test_the_tree_is_one_piece_without_loops_or_cavities(tree_map: Array, true: bool) -> None:
    from skimage import measure

    euler_number: Any = measure.euler_number  # not annotated
    above = truth_mask() > 0 if true else tree_map > 0.5
    assert ndimage.label(above, np.ones((3, 3, 3)))[1] == 1
    assert ndimage.label(~above)[1] == 1  # no cavities
    assert euler_number(above, connectivity=3) == 1  # components - tunnels + cavities: so no tunnels


def test_the_map_is_compared_with_the_tree_as_the_main_readme_says(
    tree_map: Array, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = truth_mask()
    assert set(np.unique(truth)) == {0, 1}
    lines = (FOLDER.parent / "README.md").read_text(encoding="utf-8").splitlines()
    (line,) = [one for one in lines if one.startswith("softmorph evaluate sample_data/")]
    _, *words = line.split()
    # The folder is named as from the project's; what is written lies elsewhere.
    monkeypatch.chdir(tmp_path)
    words = [str(FOLDER.parent / word) if word.startswith("sample_data/") else word for word in words]
    ended = CliRunner().invoke(app, [*words, "--metrics", "dice,betti_0_error,betti_1_error", "--json"])
    assert ended.exit_code == 0, ended.stderr
    above = tree_map > 0.5
    dice = 2 * (above & (truth > 0)).sum() / (above.sum() + truth.sum())
    assert 0.9 < dice < 1
    assert json.loads(ended.stdout)["metrics"] == {
        "dice": pytest.approx(dice),
        "betti_0_error": 0,
        "betti_1_error": 0,
    }
    assert (tmp_path / "wrong.nii.gz").exists()


def test_the_tree_is_soft_in_steps_of_1_1024(tree_map: Array) -> None:
    assert tree_map.min() == 0
    assert 0.95 < tree_map.max() < 1
    assert np.array_equal(tree_map * 1024, np.rint(tree_map * 1024))
    assert 0.005 < np.mean(tree_map > 0.5) < 0.02
    assert np.mean((tree_map > 0.1) & (tree_map < 0.9)) > 0.01


def test_the_tree_has_an_oblique_affine(tree: Any) -> None:
    header = tree.header
    assert header.get_xyzt_units() == ("mm", "unknown")
    assert np.allclose(header.get_zooms(), (0.5, 0.5, 0.8))
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)
    assert np.allclose(header.get_sform(), header.get_qform(), atol=1e-5)
    off_axis = tree.affine[:3, :3] - np.diag(np.diag(tree.affine[:3, :3]))
    assert np.abs(off_axis).max() > 0.1
    assert header.get_data_dtype() == np.float32
    aff2axcodes: Any = nibabel.aff2axcodes  # not annotated
    assert aff2axcodes(tree.affine) == ("R", "A", "S")


def test_both_retina_files_hold_the_same_map(retina: Array) -> None:
    png = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(FOLDER / "retina_vessels.png"))
    assert png.dtype == np.uint16
    assert png.shape == (705, 705)
    assert np.array_equal(png, retina)


def test_the_retina_looks_like_a_segmentation_of_vessels(retina: Array) -> None:
    p = retina / 65535
    assert 0.05 < np.mean(p > 0.5) < 0.15  # vessels cover about a tenth of a fundus photograph
    assert np.mean(p == 0) > 0.7
    assert 0.9 < p.max() < 1
    photograph: Any = retina_photograph  # not annotated
    dark = photograph()[:1410:2, :1410:2].max(axis=-1) < 20
    assert 0.2 < dark.mean() < 0.3
    assert p[dark].max() == 0  # nothing outside the field of view
    labels, count = ndimage.label(p > 0.5, np.ones((3, 3)))
    assert np.bincount(labels.ravel())[1:].max() > 0.5 * np.count_nonzero(p > 0.5)
    assert count > 1


@pytest.mark.parametrize(
    ("name", "kilobytes"),
    [
        ("retina_vessels.png", 600),
        ("retina_vessels.tif", 600),
        ("vessel_tree.nii.gz", 1000),
        ("vessel_tree_truth.nii.gz", 20),
    ],
)
def test_files_are_small(name: str, kilobytes: int) -> None:
    assert (FOLDER / name).stat().st_size < 1000 * kilobytes
