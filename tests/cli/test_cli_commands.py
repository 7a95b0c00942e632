"""Every command does to a file what its Python function does to the array, and keeps the geometry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_cli import SPACING, SUFFIXES, SimpleITK, load, nibabel, random_map, run, save
from helpers_functions import FUNCTIONS, SQUARE, quietly

import softmorph_cli
from softmorph_cli.system.units import sign


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("image", [random_map(), SQUARE], ids=["3d", "2d"])
def test_each_command_is_its_function(name: str, image: np.ndarray) -> None:
    save("in.npy", image)
    run(name, "in.npy", "out.npy")
    np.testing.assert_array_equal(load("out.npy"), quietly(FUNCTIONS[name], image))


def test_ways_to_turn_numbers_into_probabilities() -> None:
    rng = np.random.default_rng(4)
    stored = rng.integers(0, 256, (6, 7, 8), dtype=np.uint8)
    stored[0, 0, 0] = 255
    save("u8.nii.gz", stored)
    run("erode", "u8.nii.gz", "a.npy", "--divide-by", "255")
    np.testing.assert_array_equal(load("a.npy"), softmorph_cli.erosion(stored / np.float32(255)))

    labels = np.zeros((6, 7, 8), np.int16)
    labels[1:5, 1:6, 1:7] = 4
    labels[2] = 9
    save("labels.nii.gz", labels)
    run("erode", "labels.nii.gz", "b.npy", "--label", "4")
    np.testing.assert_array_equal(load("b.npy"), softmorph_cli.erosion((labels == 4).astype(np.float32)))

    save("over.npy", random_map() * np.float32(1.05))
    run("erode", "over.npy", "c.npy", "--clip")
    clipped = np.clip(random_map() * np.float32(1.05), 0, 1)
    np.testing.assert_array_equal(load("c.npy"), softmorph_cli.erosion(clipped))

    logits = rng.normal(0, 3, (2, 6, 7, 8)).astype(np.float32)
    save("logits.npy", logits)
    run("erode", "logits.npy", "d.npy", "--from-logits", "sigmoid", "--axes", "CZYX")
    wanted = softmorph_cli.erosion(1 / (1 + np.exp(-logits)), spatial_dims=3)
    np.testing.assert_allclose(load("d.npy"), wanted, atol=1e-6)
    run("erode", "logits.npy", "e.npy", "--from-logits", "softmax", "--channel-axis", "0", "--channel", "1")
    one = np.exp(logits[1]) / np.exp(logits).sum(axis=0)
    np.testing.assert_allclose(load("e.npy"), softmorph_cli.erosion(one), atol=1e-6)


def test_a_mask_of_integers_is_recognised_with_a_note() -> None:
    mask = (random_map() > 0.4).astype(np.uint8)
    for suffix in (".nii.gz", ".tif", ".mha", ".npy"):
        ended = run("erode", save(f"in{suffix}", mask), "out.npy", "--force")
        assert "note: it holds only 0 and 1 and is taken as a mask." in ended.err
        np.testing.assert_array_equal(load("out.npy"), softmorph_cli.erosion(mask.astype(np.float32)))


@pytest.mark.parametrize(
    ("unit", "code", "radius"),
    [("mm", "mm", "3.2mm"), ("mm", "mm", "3200um"), ("um", "micron", "3.2um"), ("um", "micron", "3200nm")],
)
def test_a_radius_counts_in_the_unit_of_each_axis(unit: str, code: str, radius: str) -> None:
    image = random_map((7, 9, 9))
    file = nibabel.Nifti1Image(image.T, np.diag([1.5, 2, 3, 1.0]))
    file.header.set_xyzt_units(code)
    file.to_filename("in.nii.gz")
    ended = run("dilate", "in.nii.gz", "out.nii.gz", "--radius", radius, "--json")
    wanted = softmorph_cli.dilation(image, radius=3.2, spacing=(3, 2, 1.5))
    np.testing.assert_array_equal(load("out.nii.gz"), wanted)
    step = ended.json["steps"][0]
    assert step["radius_reached"] == pytest.approx([3.0, 2.0, 3.0])
    assert f"radius reached 3 × 2 × 3 {sign(unit)} (z × y × x)" in ended.err


def test_a_radius_in_voxels_is_printed_in_voxels() -> None:
    save("in.nii.gz", random_map())
    ended = run("dilate", "in.nii.gz", "out.nii.gz", "--radius", "1vox")
    np.testing.assert_array_equal(load("out.nii.gz"), softmorph_cli.dilation(random_map()))
    assert "1 × 1 × 1 voxels" in ended.err or "3 × 2 × 1.5 mm" in ended.err


def test_iterations_and_connectivities() -> None:
    save("in.npy", SQUARE)
    run("erode", "in.npy", "a.npy", "--iterations", "3")
    np.testing.assert_array_equal(load("a.npy"), softmorph_cli.erosion(SQUARE, iterations=3))
    run("open", "in.npy", "b.npy", "--erosion-connectivity", "8", "--dilation-connectivity", "4")
    wanted = quietly(softmorph_cli.opening, SQUARE, erosion_connectivity=8, dilation_connectivity=4)
    np.testing.assert_array_equal(load("b.npy"), wanted)
    run("close", "in.npy", "c.npy", "-c", "8", "--erosion-connectivity", "4")
    wanted = quietly(softmorph_cli.closing, SQUARE, connectivity=8, erosion_connectivity=4)
    np.testing.assert_array_equal(load("c.npy"), wanted)


@pytest.mark.parametrize(
    "method",
    ["product", "minmax", "lukasiewicz", "einstein", "hamacher", "drastic", "levels", "smooth-levels",
     "probabilistic", "quasi-probabilistic", "bounded"],
)  # fmt: skip
def test_each_method(method: str) -> None:
    save("in.npy", SQUARE)
    ended = run("erode", "in.npy", "out.npy", "--method", method, "--json")
    np.testing.assert_array_equal(load("out.npy"), softmorph_cli.erosion(SQUARE, method=method))
    assert ended.json["steps"][0]["method"] == method


@pytest.mark.parametrize("levels", [8, 16, 32, 128])
def test_levels_of_every_width(levels: int) -> None:
    save("in.npy", SQUARE)
    run("erode", "in.npy", "out.npy", "--method", "levels", "--levels", levels)
    wanted = softmorph_cli.erosion(SQUARE, method="levels", levels=levels)
    np.testing.assert_array_equal(load("out.npy"), wanted)
    assert set(np.unique(load("out.npy") * levels % 1)) == {0}


def test_samples_with_their_standard_error() -> None:
    save("in.npy", SQUARE)
    draws = ["--method", "sampled", "--levels", "128", "--seed", "5"]
    run("erode", "in.npy", "mean.npy", *draws, "--standard-error", "error.npy")
    mean, error = softmorph_cli.erosion(SQUARE, method="sampled", levels=128, seed=5)
    np.testing.assert_array_equal(load("mean.npy"), mean)
    np.testing.assert_array_equal(load("error.npy"), error)
    run("erode", "in.npy", "again.npy", *draws, "--threads", "1")
    np.testing.assert_array_equal(load("again.npy"), mean)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_hard_skeleton_is_zeros_and_ones(suffix: str) -> None:
    image = random_map()
    run("skeletonize", save(f"in{suffix}", image), f"out{suffix}", "--hard", "--threshold", "0.3")
    written = load(f"out{suffix}")
    np.testing.assert_array_equal(written, softmorph_cli.skeletonize(image, hard=True, threshold=0.3))
    if suffix.startswith(".nii"):
        header = nibabel.load(f"out{suffix}").header
        assert header.get_data_dtype() == np.uint8
        assert np.isnan(header["scl_slope"]) or float(header["scl_slope"]) in (0, 1)
    elif suffix != ".npy":
        assert written.dtype == np.uint8
    again = run("stats", f"out{suffix}")
    assert "note: it holds only 0 and 1 and is taken as a mask." in again.err


def test_a_hard_skeleton_in_png_can_be_seen() -> None:
    save("in.npy", SQUARE)
    ended = run("skeletonize", "in.npy", "out.png", "--hard")
    written = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage("out.png"))
    np.testing.assert_array_equal(written, 255 * softmorph_cli.skeletonize(SQUARE, hard=True))
    assert "warning: " not in ended.err


@pytest.mark.parametrize("preset", ["softmorph-2d", "cldice"])
def test_presets(preset: str) -> None:
    save("in.npy", SQUARE)
    run("skeletonize", "in.npy", "out.npy", "--preset", preset)
    np.testing.assert_array_equal(load("out.npy"), quietly(softmorph_cli.skeletonize, SQUARE, preset=preset))


def test_a_preset_has_fixed_dimensions() -> None:
    save("in.npy", random_map())
    ended = run("skeletonize", "in.npy", "out.npy", "--preset", "softmorph-3d", "--json")
    assert ended.json["steps"][0]["iterations"] == 5
    assert ended.json["steps"][0]["method"] == "product"


def test_uneven_voxels_are_warned_about_and_made_cubic() -> None:
    save("in.nii.gz", random_map(), (3.0, 1.0, 1.5))
    plain = run("skeletonize", "in.nii.gz", "plain.nii.gz")
    assert "warning: voxels are 3 × 1 × 1.5 mm: thinning counts voxels" in plain.err
    ended = run("skeletonize", "in.nii.gz", "out.nii.gz", "--resample", "iso", "--json")
    assert "thinning counts voxels" not in ended.err
    result = nibabel.load("out.nii.gz")
    assert result.shape == (12, 7, 18)
    np.testing.assert_allclose(result.header.get_zooms(), 1, rtol=1e-5)
    source = nibabel.load("in.nii.gz")
    corners = [np.array([-0.5, -0.5, -0.5, 1]), np.array([*(np.array(result.shape) - 0.5), 1])]
    original = [np.array([-0.5, -0.5, -0.5, 1]), np.array([*(np.array(source.shape) - 0.5), 1])]
    for new, old in zip(corners, original, strict=True):
        np.testing.assert_allclose(result.affine @ new, source.affine @ old, atol=1e-4)
    assert ended.json["output"]["spacing"] == pytest.approx([1, 1, 1])
    # What was before is the file, not its interpolation.
    assert ended.json["before"] == run("stats", "in.nii.gz", "--json").json["statistics"]
    (warning,) = [warning for warning in ended.json["warnings"] if "interpolated" in warning]
    assert warning.startswith("voxels of the result are smaller than the map's")
    assert "do not use the standard deviation for independent voxels" in warning


def test_a_map_that_cannot_fit_is_refused_before_it_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    save("in.npy", random_map())
    needed = []
    for levels in (64, 8):
        monkeypatch.setattr("softmorph_cli.system.machine.memory", lambda: 1)
        ended = run("skeletonize", "in.npy", "out.npy", "--levels", levels, code=1)
        assert "--region" in ended.err
        assert not Path("out.npy").exists()
        from softmorph_cli.filters.settings import Settings

        needed.append(Settings("levels", levels=levels).bytes_per_voxel(4))
    assert needed[0] > 2 * needed[1]
    monkeypatch.setattr("softmorph_cli.system.machine.memory", lambda: 1 << 30)
    run("skeletonize", "in.npy", "out.npy")


@pytest.mark.parametrize(
    ("suffix", "kind", "top"),
    [(".nii.gz", "uint8", 255), (".nii.gz", "uint16", 65535), (".tif", "uint8", 255), (".tif", "uint16", 65535),
     (".tif", "float16", 1), (".npy", "float16", 1), (".mha", "uint8", 255), (".nrrd", "uint16", 65535)],
)  # fmt: skip
def test_output_types_read_back_as_probabilities(suffix: str, kind: str, top: int) -> None:
    save("in.npy", random_map())
    run("erode", "in.npy", f"out{suffix}", "--output-type", kind)
    volume = softmorph_cli.read(f"out{suffix}")
    assert volume.source is not None
    assert volume.source.dtype == kind
    step = 2**-11 if kind == "float16" else 0.5 / top
    np.testing.assert_allclose(volume.array, softmorph_cli.erosion(random_map()), atol=1.01 * step)


def test_a_file_of_two_dimensions_in_three_comes_back_as_it_was() -> None:
    for axis in range(3):
        shape = [6, 7, 8]
        shape[axis] = 1
        image = random_map(tuple(shape))
        save("in.nii.gz", image)
        run("erode", "in.nii.gz", "out.nii.gz", "--force")
        wanted = softmorph_cli.erosion(image.squeeze())
        assert load("out.nii.gz").shape == tuple(shape)
        np.testing.assert_array_equal(load("out.nii.gz").squeeze(), wanted)
        np.testing.assert_array_equal(nibabel.load("out.nii.gz").affine, nibabel.load("in.nii.gz").affine)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (1, 1, 1), (6, 1, 1), (2, 2, 2)])
@pytest.mark.parametrize("name", ["erode", "dilate", "skeletonize", "tophat"])
def test_the_smallest_images(name: str, shape: tuple[int, ...]) -> None:
    save("in.npy", random_map(shape))
    run(name, "in.npy", "out.npy", "--preview", "out.png", "--json-file", "out.json")
    assert load("out.npy").shape == shape
    assert json.loads(Path("out.json").read_text())["schema"] == 2


@pytest.mark.parametrize("kind", [">f4", "<f8", ">f8", "f2", "longdouble", "bool"])
def test_other_types_of_numbers(kind: str) -> None:
    image = random_map().astype(kind) if kind != "bool" else random_map() > 0.5
    save("in.npy", image)
    run("erode", "in.npy", "out.npy")
    wide = image.astype(np.float64 if np.dtype(kind).str[1:] == "f8" else np.float32)
    np.testing.assert_array_equal(load("out.npy"), softmorph_cli.erosion(wide))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("make", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_both_byte_orders_of_both_niftis(order: str, make: Any) -> None:
    header = make.header_class(endianness=order)
    header.set_data_dtype(np.float32)
    make(random_map().T, np.eye(4), header).to_filename("in.nii.gz")
    run("erode", "in.nii.gz", "out.nii.gz")
    np.testing.assert_array_equal(load("out.nii.gz"), softmorph_cli.erosion(random_map()))
    assert isinstance(nibabel.load("out.nii.gz"), make)


def test_the_input_is_never_changed() -> None:
    for suffix in SUFFIXES:
        path = save(f"in{suffix}", random_map())
        before = path.read_bytes()
        run("skeletonize", path, f"out{suffix}")
        assert path.read_bytes() == before


def test_stats_of_a_map_per_channel() -> None:
    nibabel.Nifti1Image(random_map((3, 6, 7, 8)).T, np.eye(4)).to_filename("in.nii.gz")
    ended = run("stats", "in.nii.gz")
    assert ended.err == ""
    for column in ("whole map", "T0", "T1", "T2"):
        assert column in ended.out
    parts = run("stats", "in.nii.gz", "--json").json["statistics"]["per_channel"]
    voxels = [part["voxels_above_half"] for part in parts]
    assert voxels == [int((one > 0.5).sum()) for one in random_map((3, 6, 7, 8))]


def test_axes_that_are_turned_take_their_voxel_sizes_and_places_along() -> None:
    """The letters are in the array's order, slowest first: XYZ calls the slices x."""
    save("in.nii.gz", random_map())
    ended = run("erode", "in.nii.gz", "out.nii.gz", "--axes", "XYZ")
    assert "read as XYZ instead of ZYX" in ended.err
    source, result = nibabel.load("in.nii.gz"), nibabel.load("out.nii.gz")
    assert result.shape == (6, 7, 8)
    np.testing.assert_allclose(result.header.get_zooms(), SPACING)
    for place in ([0, 0, 0], [7, 3, 1], [2, 6, 5]):
        np.testing.assert_allclose(result.affine @ [*place[::-1], 1], source.affine @ [*place, 1])
    # Turned, so its products are rounded in another order.
    wanted = softmorph_cli.erosion(random_map())
    np.testing.assert_allclose(result.get_fdata(dtype=np.float32), wanted, atol=1e-6)


def test_voxel_sizes_are_those_of_the_header_to_the_digit() -> None:
    save("in.nii.gz", random_map(), (0.8, 0.5, 0.3))
    turned = nibabel.load("in.nii.gz")
    cosine, sine = np.cos(0.3), np.sin(0.3)
    rotation = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    turned.affine[:3, :3] = rotation @ turned.affine[:3, :3]
    nibabel.Nifti1Image(random_map().T, turned.affine).to_filename("in.nii.gz")
    for command in (["stats", "in.nii.gz", "--json"], ["erode", "in.nii.gz", "out.nii.gz", "--json"]):
        assert run(*command).json["input"]["spacing"] == [0.8, 0.5, 0.3]


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (["erode"], ["--seed", "3"]),
        (["erode"], ["--levels", "8"]),
        (["erode", "--method", "levels"], ["--sharpness", "3"]),
        (["skeletonize"], ["--tolerance", "0.5"]),
        (["skeletonize", "--hard"], ["--levels", "8"]),
        (["skeletonize", "--hard"], ["--prune-contrast", "0.2"]),
        (["skeletonize", "--no-finish"], ["--prune-contrast", "0.2"]),
    ],
)
def test_an_option_without_effect_is_warned_of(command: list[str], option: list[str]) -> None:
    save("in.npy", SQUARE)
    name, *more = command
    warning = f"warning: {option[0]} has no effect with "
    assert warning in run(name, "in.npy", "a.npy", *more, *option, "-q").err
    assert "no effect" not in run(name, "in.npy", "b.npy", *more, "-q").err
    np.testing.assert_array_equal(load("a.npy"), load("b.npy"))
