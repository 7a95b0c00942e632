"""Files that others made: every one gives a result or one clear sentence."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import nilearn  # type: ignore[import-untyped]
import numpy as np
import pytest
import skimage
from helpers_cli import complaint, load, nibabel, run, save
from typer.testing import CliRunner

import softmorph_cli
from softmorph_cli.cli.app import app
from softmorph_cli.kernels.level_sets import LevelSets

NIBABEL = Path(str(import_module("nibabel.testing").data_path))
NILEARN = Path(nilearn.__file__).parent / "datasets" / "data"
SKIMAGE = Path(skimage.__file__).parent / "data"
SAMPLES = Path(__file__).parents[2] / "sample_data"
IMAGES = (".nii", ".nii.gz", ".tif", ".tiff", ".png", ".nrrd", ".mha", ".mhd", ".npy")


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def one_sentence_or_a_result(*arguments: object) -> int:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in (0, 1)
    if result.exit_code:
        sentence = complaint(result.stderr)
        assert str(arguments[1]) in sentence
        assert "a bug in softmorph" not in sentence
        assert len(sentence) < 500 + len(str(arguments[1]))
        assert result.stdout == ""
    return result.exit_code


@pytest.mark.parametrize("path", files(NIBABEL), ids=lambda path: path.name)
def test_every_file_of_nibabel(path: Path) -> None:
    code = one_sentence_or_a_result("stats", path)
    # These hold numbers of other kinds; none of them is a map of probabilities.
    assert code == 1
    one_sentence_or_a_result("info", path)
    one_sentence_or_a_result("stats", path, "--clip")


@pytest.mark.parametrize(
    "path",
    [path for path in files(NIBABEL) if path.name.endswith((".nii", ".nii.gz"))],
    ids=lambda path: path.name,
)
def test_every_nifti_of_nibabel_once_it_is_scaled(path: Path) -> None:
    """4-D, big-endian, NIfTI-2, scaled integers: with the right option each of them is filtered."""
    image = nibabel.load(path)
    if not isinstance(image, nibabel.Nifti1Image | nibabel.Nifti2Image) or image.ndim > 5:
        assert one_sentence_or_a_result("erode", path, "out.nii.gz", "--divide-by", "1e6", "--clip") == 1
        return
    values = image.get_fdata()
    missing = np.isnan(values)
    top = float(np.nanmax(np.abs(values)))
    options = ["--divide-by", top, "--clip", "-q"]
    if missing.any():
        ended = run("erode", path, "out.nii.gz", *options, code=1)
        assert f"{missing.sum()} values that are not a number" in complaint(ended.err)
        save("mask.nii.gz", (~missing).T.astype(np.uint8), (1, 1, 1))
        options += ["--mask", "mask.nii.gz"]
        values = np.nan_to_num(values)
    run("erode", path, "out.nii.gz", *options)
    result = nibabel.load("out.nii.gz")
    assert result.shape == image.shape
    np.testing.assert_allclose(result.affine, image.affine, rtol=1e-5, atol=1e-5)
    p = np.clip(values / top, 0, 1).astype(np.float32).T
    wanted = softmorph_cli.erosion(np.ascontiguousarray(p), spatial_dims=3)
    np.testing.assert_allclose(result.get_fdata().T, wanted, atol=1e-5)


@pytest.mark.parametrize(
    "path", [path for path in files(SKIMAGE) if path.suffix in IMAGES], ids=lambda path: path.name
)
def test_every_image_of_skimage(path: Path) -> None:
    one_sentence_or_a_result("info", path)
    if one_sentence_or_a_result("erode", path, "out.tif"):
        assert not Path("out.tif").exists()
    else:
        assert load("out.tif").min() >= 0
        assert load("out.tif").max() <= 1


@pytest.mark.parametrize("name", ["vessel_tree.nii.gz", "retina_vessels.png", "retina_vessels.tif"])
def test_the_samples(name: str) -> None:
    source = SAMPLES / name
    suffix = ".".join(["", *name.split(".")[1:]])
    ended = run("skeletonize", source, f"out{suffix}", "--preview", "p.png", "--json")
    assert ended.json["steps"][0]["stop_reason"] == "stable"
    before, after = softmorph_cli.read(source).array, softmorph_cli.read(f"out{suffix}").array
    assert (after <= before + 1 / 128 + 1e-4).all()
    assert ended.json["after"]["sum"] < 0.5 * ended.json["before"]["sum"]
    assert ended.json["after"]["max"] > 0.5


def brain(tissue: str) -> Path:
    return next(NILEARN.glob(f"mni_icbm152_{tissue}_*.nii.gz"))


def test_a_real_probability_map_of_grey_matter() -> None:
    source = brain("gm")
    ended = run("skeletonize", source, "out.nii.gz", "--divide-by", "255", "--json", "-q")
    document = ended.json
    assert document["steps"][0]["stop_reason"] == "stable"
    assert document["input"]["dtype"] == "uint8"
    image, result = nibabel.load(source), nibabel.load("out.nii.gz")
    assert result.shape == image.shape == (197, 233, 189)
    np.testing.assert_array_equal(result.affine, image.affine)
    before = image.get_fdata(dtype=np.float32) / np.float32(255)
    after = result.get_fdata(dtype=np.float32)
    # A voxel of the skeleton has the map's value, lowered to the top of its bin.
    tops = np.append(LevelSets(16).upper_bounds, 0)[LevelSets(16).bins(after)]
    np.testing.assert_allclose(after, np.minimum(before, tops), atol=1e-6)
    assert 0 < after.sum() < 0.5 * before.sum()
    assert document["after"]["sum"] == pytest.approx(after.sum(dtype=np.float64))
    assert document["before"]["sum"] == pytest.approx(before.sum(dtype=np.float64))


def test_without_the_option_it_says_which() -> None:
    for tissue in ("gm", "wm"):
        ended = run("skeletonize", brain(tissue), "out.nii.gz", code=1)
        assert "--divide-by 255" in complaint(ended.err)
        assert "--divide-by 255" in run("info", brain(tissue)).out


@pytest.mark.heavy
@pytest.mark.parametrize("tissue", ["gm", "wm"])
def test_the_hard_skeleton_of_a_real_map_has_its_topology(tissue: str) -> None:
    from helpers_maps import topology

    run("skeletonize", brain(tissue), "out.nii.gz", "--divide-by", "255", "--hard", "-q")
    mask = nibabel.load(brain(tissue)).get_fdata(dtype=np.float32) / np.float32(255) > 0.5
    skeleton = nibabel.load("out.nii.gz").get_fdata(dtype=np.float32) > 0
    assert not (skeleton & ~mask).any()
    assert topology(skeleton) == topology(mask)


@pytest.mark.heavy
@pytest.mark.parametrize("method", ["multilinear", "smooth-levels", "sampled", "cldice"])
def test_other_methods_on_a_real_map(method: str) -> None:
    run("skeletonize", brain("wm"), "out.nii.gz", "--divide-by", "255", "--method", method, "-n", "8", "-q")
    after = load("out.nii.gz")
    before = nibabel.load(brain("wm")).get_fdata(dtype=np.float32).T / np.float32(255)
    assert after.min() >= 0
    assert after.max() <= 1
    assert 0 < after.sum() < before.sum()


def test_a_file_saved_by_this_program_is_read_by_the_others() -> None:
    source = save("in.nii.gz", np.random.default_rng(0).random((6, 7, 8)).astype(np.float32))
    wanted = softmorph_cli.erosion(softmorph_cli.read(source).array)
    for suffix in (".nii", ".nii.gz", ".tif", ".nrrd", ".mha", ".npy"):
        run("erode", source, f"out{suffix}", "-q")
        np.testing.assert_array_equal(load(f"out{suffix}"), wanted)
