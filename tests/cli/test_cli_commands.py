"""Every command does to a file what its Python function does to the array, and keeps the geometry."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from helpers_cli import SPACING, SUFFIXES, SimpleITK, load, nibabel, random_map, run, save
from helpers_maps import vessels

import softmorph_cli
from softmorph_cli.io import write
from softmorph_cli.system.units import sign
from softmorph_cli.topology.betti import betti_numbers
from softmorph_cli.volume import Volume

SQUARE = random_map((9, 11), 3)
FUNCTIONS: dict[str, Any] = {
    "erode": softmorph_cli.erosion,
    "dilate": softmorph_cli.dilation,
    "open": softmorph_cli.opening,
    "close": softmorph_cli.closing,
    "gradient": softmorph_cli.gradient,
    "tophat": softmorph_cli.tophat,
    "blackhat": softmorph_cli.blackhat,
    "skeletonize": softmorph_cli.skeletonize,
}


def quietly(function: Any, *arguments: Any, **more: Any) -> np.ndarray:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", softmorph_cli.SoftmorphWarning)
        result: np.ndarray = function(*arguments, **more)
    return result


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("image", [random_map(), SQUARE], ids=["3d", "2d"])
def test_each_command_is_its_function(name: str, image: np.ndarray) -> None:
    save("in.npy", image)
    run(name, "in.npy", "out.npy")
    np.testing.assert_array_equal(load("out.npy"), quietly(FUNCTIONS[name], image))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", ["erode", "skeletonize"])
def test_each_format_gives_the_same_numbers(name: str, suffix: str) -> None:
    image = random_map()
    run(name, save(f"in{suffix}", image), f"out{suffix}")
    np.testing.assert_array_equal(load(f"out{suffix}"), FUNCTIONS[name](image))


@pytest.mark.parametrize("target", [*SUFFIXES, ".ome.tif", ".tiff", ".NII"])
@pytest.mark.parametrize("source", [".nii.gz", ".tif", ".mha"])
def test_the_format_may_change_and_the_voxel_size_goes_along(source: str, target: str) -> None:
    save(f"in{source}", random_map())
    ended = run("erode", f"in{source}", f"out{target}")
    volume = softmorph_cli.read(f"out{target}")
    np.testing.assert_array_equal(volume.array, softmorph_cli.erosion(random_map()))
    if target == ".npy":
        assert volume.spacing is None
        assert "warning: NumPy cannot hold the voxel size." in ended.err
        return
    assert volume.unit == "mm"
    np.testing.assert_allclose(np.array(volume.spacing), np.array(SPACING), rtol=1e-5)
    lost_affine = "warning: TIFF cannot hold orientation and origin (the affine)." in ended.err
    assert lost_affine == (source != ".tif" and "tif" in target)


def test_png_in_and_out_uses_the_range_of_its_type() -> None:
    stored = np.round(SQUARE * 65535).astype(np.uint16)
    stored[0, 0] = 65535
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(stored), "in.png")
    run("erode", "in.png", "out.png", "--connectivity", "8")
    wanted = softmorph_cli.erosion((stored / 65535).astype(np.float32), connectivity=8)
    written = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage("out.png"))
    assert written.dtype == np.uint16
    np.testing.assert_array_equal(written, np.rint(wanted * np.float32(65535)))


def test_an_oblique_affine_and_its_codes_are_untouched() -> None:
    affine = np.array([[-0.9, 0.1, 0.3, 5.0], [0.2, 1.9, -0.2, -7.0], [0.1, 0.3, 3.1, 9.0], [0, 0, 0, 1]])
    image = nibabel.Nifti1Image(random_map().T, affine)
    image.header.set_sform(affine, code="mni")
    image.header.set_qform(affine, code="scanner", strip_shears=True)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"the scanner's own words"
    image.to_filename("in.nii.gz")
    run("erode", "in.nii.gz", "out.nii.gz")
    source, result = nibabel.load("in.nii.gz").header, nibabel.load("out.nii.gz").header
    for field in (
        "sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "quatern_b", "quatern_c", "quatern_d",
        "qoffset_x", "qoffset_y", "qoffset_z", "pixdim", "xyzt_units", "descrip",
    ):  # fmt: skip
        np.testing.assert_array_equal(result[field], source[field], err_msg=field)
    assert result.get_data_dtype() == np.float32
    assert np.isnan(result["scl_slope"]) or float(result["scl_slope"]) in (0, 1)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_direction_origin_and_metadata_are_kept(suffix: str) -> None:
    image = SimpleITK.GetImageFromArray(random_map())
    image.SetSpacing([0.5, 2, 3])
    image.SetOrigin([-4, 5, 66])
    image.SetDirection([0, -1, 0, 1, 0, 0, 0, 0, 1])
    image.SetMetaData("Patient", "nobody")
    SimpleITK.WriteImage(image, f"in{suffix}")
    run("erode", f"in{suffix}", f"out{suffix}")
    result = SimpleITK.ReadImage(f"out{suffix}")
    np.testing.assert_allclose(result.GetSpacing(), image.GetSpacing())
    np.testing.assert_allclose(result.GetOrigin(), image.GetOrigin())
    np.testing.assert_allclose(result.GetDirection(), image.GetDirection())
    assert result.GetMetaData("Patient") == "nobody"


def test_the_fourth_axis_of_nifti_is_mapped_over() -> None:
    image = random_map((3, 6, 7, 8))
    nibabel.Nifti1Image(image.T, np.eye(4)).to_filename("in.nii.gz")
    run("erode", "in.nii.gz", "out.nii.gz")
    result = nibabel.load("out.nii.gz")
    assert result.shape == (8, 7, 6, 3)
    for time in range(3):
        wanted = softmorph_cli.erosion(image[time])
        np.testing.assert_array_equal(result.get_fdata(dtype=np.float32).T[time], wanted)


@pytest.mark.parametrize("name", ["erode", "skeletonize", "tophat"])
@pytest.mark.parametrize("extra", [(1,), (1, 1), (3, 1), (1, 2)])
def test_a_mapped_axis_of_one(name: str, extra: tuple[int, ...]) -> None:
    """A 4-D file of a single volume, and the 5-D vector of NIfTI whose time is one."""
    image = random_map((*extra, 6, 7, 8))
    nibabel.Nifti1Image(image.T, np.eye(4)).to_filename("in.nii.gz")
    run(name, "in.nii.gz", "out.nii.gz", "--preview", "p.png")
    result = nibabel.load("out.nii.gz")
    assert result.shape == nibabel.load("in.nii.gz").shape
    for index in np.ndindex(extra):
        wanted = quietly(FUNCTIONS[name], image[index])
        np.testing.assert_array_equal(result.get_fdata(dtype=np.float32).T[index], wanted)


@pytest.mark.parametrize("name", ["in.ome.tif", "in.tif"])
def test_time_and_channel_of_tiff_are_mapped_over(name: str) -> None:
    image = random_map((2, 6, 3, 7, 8))
    kind: dict[str, Any] = {"imagej": True}
    axes = "TZCYX"
    if "ome" in name:
        kind, axes, image = {"ome": True}, "TCZYX", image.transpose(0, 2, 1, 3, 4)
    tifffile.imwrite(
        name, np.ascontiguousarray(image), metadata={"axes": axes}, photometric="minisblack", **kind
    )
    run("erode", name, f"out_{name}")
    with tifffile.TiffFile(f"out_{name}") as file:
        assert (file.is_ome, file.is_imagej) == ("ome" in name, "ome" not in name)
        written, found = file.asarray(), file.series[0].axes
    order = [found.index(axis) for axis in "TCZYX"]
    source = image.transpose([axes.index(axis) for axis in "TCZYX"])
    np.testing.assert_array_equal(written.transpose(order), softmorph_cli.erosion(source, spatial_dims=3))


def test_pages_of_a_plain_tiff_are_slices_and_the_run_says_so() -> None:
    image = random_map()
    tifffile.imwrite("in.tif", image, photometric="minisblack")
    with tifffile.TiffWriter("pages.tif") as writer:
        for page in image:
            writer.write(page, contiguous=False, metadata=None)
    ended = run("erode", "pages.tif", "z.tif")
    assert "note: its pages have no named axis and are taken as slices along z" in ended.err
    np.testing.assert_array_equal(load("z.tif"), softmorph_cli.erosion(image))
    for option in (["--axes", "TYX"], ["--per-slice"]):
        run("erode", "pages.tif", "t.tif", "--force", *option)
        wanted = softmorph_cli.erosion(image, spatial_dims=2)
        np.testing.assert_array_equal(load("t.tif"), wanted)


def test_per_slice_of_nifti_keeps_the_place() -> None:
    save("in.nii.gz", random_map())
    run("erode", "in.nii.gz", "out.nii.gz", "--per-slice")
    np.testing.assert_array_equal(load("out.nii.gz"), softmorph_cli.erosion(random_map(), spatial_dims=2))
    np.testing.assert_array_equal(nibabel.load("out.nii.gz").affine, nibabel.load("in.nii.gz").affine)


def test_a_channel_by_number_and_by_name() -> None:
    image = random_map((2, 6, 7, 8))
    tifffile.imwrite(
        "in.ome.tif", image, metadata={"axes": "CZYX", "Channel": {"Name": ["background", "vessel"]}}
    )
    for chosen in ("1", "-1", "vessel"):
        run("erode", "in.ome.tif", "out.npy", "--channel", chosen, "--force")
        np.testing.assert_array_equal(load("out.npy"), softmorph_cli.erosion(image[1]))


def test_channels_by_axis_of_an_array() -> None:
    image = random_map((6, 7, 8, 2))
    save("in.npy", image)
    run("erode", "in.npy", "out.npy", "--channel-axis", "-1", "--channel", "1")
    np.testing.assert_array_equal(load("out.npy"), softmorph_cli.erosion(np.ascontiguousarray(image[..., 1])))
    run("erode", "in.npy", "all.npy", "--channel-axis", "3")
    np.testing.assert_array_equal(load("all.npy")[..., 1], load("out.npy"))


def test_a_region_is_cut_out_at_its_place_in_the_world() -> None:
    save("in.nii.gz", random_map())
    run("erode", "in.nii.gz", "out.nii.gz", "--region", "1:5,:6,2:")
    wanted = softmorph_cli.erosion(np.ascontiguousarray(random_map()[1:5, :6, 2:]))
    np.testing.assert_array_equal(load("out.nii.gz"), wanted)
    corner = nibabel.load("out.nii.gz").affine @ [0, 0, 0, 1]
    np.testing.assert_allclose(corner, nibabel.load("in.nii.gz").affine @ [2, 0, 1, 1])


def test_a_mask_makes_the_rest_zero_before_filtering() -> None:
    image, mask = random_map(), np.zeros((6, 7, 8), np.uint8)
    mask[2:, 1:6, 3:] = 7
    spoiled = image.copy()
    spoiled[0, 0, 0] = np.nan
    save("in.nii.gz", spoiled)
    save("mask.nii.gz", mask)
    run("dilate", "in.nii.gz", "out.nii.gz", "--mask", "mask.nii.gz")
    np.testing.assert_array_equal(load("out.nii.gz"), softmorph_cli.dilation(np.where(mask > 0, image, 0)))


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


def test_a_mask_of_integers_is_recognised_and_said() -> None:
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


def test_a_radius_of_voxels_says_voxels() -> None:
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
    assert "warning: a mask is 0 and 255 in PNG." in ended.err


@pytest.mark.parametrize("preset", ["softmorph-2d", "cldice"])
def test_presets(preset: str) -> None:
    save("in.npy", SQUARE)
    run("skeletonize", "in.npy", "out.npy", "--preset", preset)
    np.testing.assert_array_equal(load("out.npy"), quietly(softmorph_cli.skeletonize, SQUARE, preset=preset))


def test_a_preset_knows_its_dimensions() -> None:
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
    (warning,) = [warning for warning in ended.json["warnings"] if "finer grid" in warning]
    assert "standard deviation for independent voxels is too small" in warning


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


def test_rules_are_applied_by_name_and_by_file() -> None:
    save("in.npy", SQUARE)
    run("apply", "majority", "in.npy", "a.npy")
    np.testing.assert_array_equal(load("a.npy"), softmorph_cli.apply_rule("majority", SQUARE))
    run("apply", "majority-2d", "in.npy", "b.npy", "--iterations", "2", "--method", "product")
    wanted = softmorph_cli.apply_rule("majority-2d", SQUARE, iterations=2, method="product")
    np.testing.assert_array_equal(load("b.npy"), wanted)
    bundled = Path(softmorph_cli.__file__).parent / "rules"
    text = next(bundled.rglob("*isolated*2d*.toml")).read_text(encoding="utf-8")
    Path("my own rule.toml").write_text(text, encoding="utf-8")
    run("apply", "my own rule.toml", "in.npy", "c.npy")
    np.testing.assert_array_equal(load("c.npy"), softmorph_cli.apply_rule("isolated-2d", SQUARE))


def test_rules_lists_and_draws_each() -> None:
    from softmorph_cli.rules import catalog

    listed = run("rules").out
    for name in catalog.names():
        assert f"  {name}: " in listed
        drawn = run("rules", name).out
        assert drawn.startswith(f"{name}: ")
        assert "one iteration: " in drawn
    both = run("rules", "thinning").out
    assert "thinning-2d: " in both
    assert "thinning-3d: " in both


def test_rules_draws_simple_points_and_subfields() -> None:
    drawn = run("rules", "thinning-subfields").out
    for dimensions, passes in ((2, "00 01 10 11"), (3, "000 001 010 011 100 101 110 111")):
        assert f"thinning-subfields-{dimensions}d: " in drawn
        assert f"({passes}; each over the voxels whose index has this parity)" in drawn
    assert drawn.count("simple & ~exactly(1, ring)\n  (simple: its ") == 2
    confined = run("rules", "zhang-suen+simple").out
    assert confined.startswith("zhang-suen-2d+simple: ")
    assert "N00 N01 N10 N11 S00 S01 S10 S11; drawn for the first; each over" in confined
    for name in ("thinning", "zhang-suen"):
        assert "(simple: " not in run("rules", name).out


@pytest.mark.parametrize("named", ["zhang-suen", "my own rule.toml"])
def test_a_rule_that_cannot_be_nested_names_the_one_that_can(named: str) -> None:
    save("in.npy", vessels((40, 60), 5).astype(np.float32))
    bundled = Path(softmorph_cli.__file__).parent / "rules"
    text = next(bundled.rglob("*zhang*.toml")).read_text(encoding="utf-8")
    Path("my own rule.toml").write_text(text, encoding="utf-8")
    refusal = run("apply", named, "in.npy", "out.npy", "--method", "nested", code=2).err
    assert "\n    0000\n    0dd0\n    0dd0\n    0000\n" in refusal
    assert not Path("out.npy").exists()
    command = shlex.split(refusal[refusal.index("softmorph apply") :].partition(" for this rule")[0])
    place = {"IN": "in.npy", "OUT": "out.npy"}
    run(*(place.get(word, word) for word in command[1:]))
    before, after = load("in.npy"), load("out.npy")
    # 1/2 is a threshold of every number of levels.
    assert betti_numbers(after > 0.5).numbers == betti_numbers(before > 0.5).numbers
    assert (after > 0.5).sum() < 0.8 * (before > 0.5).sum()


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
    run(name, "in.npy", "out.npy", "--preview", "out.png", "--stats", "out.json")
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


SUGGESTED = {
    "probability.nii.gz": random_map(),
    "integers.nii.gz": (random_map() * 255).astype(np.uint8),
    "labels.nii.gz": (4 * (random_map() // 0.3)).astype(np.uint8),
    "logits.npy": (random_map() - np.float32(0.5)) * 30,
    "four.npy": random_map((2, 6, 7, 8)),
    "twelve bits.tif": (random_map() * 4095).astype(np.uint16),
    "over.mha": random_map() * np.float32(1.05),
    "no_suffix": random_map(),
    "odd.suffix": random_map(),
}


@pytest.mark.parametrize("name", SUGGESTED)
def test_what_info_suggests_can_be_typed(name: str) -> None:
    import shlex

    if name in ("no_suffix", "odd.suffix"):
        save("x.npy", SUGGESTED[name]).rename(name)
    else:
        save(name, SUGGESTED[name])
    words = shlex.split(run("info", name, "--json").json["try_next"])
    assert words[:3] == ["softmorph", "skeletonize", name]
    run(*words[1:])
    assert Path(words[3]).exists()


@pytest.mark.parametrize("options", [(), ("--hard",), ("--output-type", "uint8", "--levels", "8")])
def test_info_suggests_to_inspect_a_skeleton(options: tuple[str, ...]) -> None:
    save("map.nii.gz", random_map())
    run("skeletonize", "map.nii.gz", "skeleton.nii.gz", *options)
    assert run("info", "skeleton.nii.gz", "--json").json["try_next"] == "softmorph inspect skeleton.nii.gz"
    run("inspect", "skeleton.nii.gz")


def test_info_names_channels_and_suggests_to_inspect_one_skeleton_of_several() -> None:
    several = np.stack([np.stack([random_map()] * 2)] * 3)
    write(Volume(several, "TCZYX", (2.0, 1.0, 1.0), "um", channels=("axon", "soma")), "cells.ome.tif")
    assert run("info", "cells.ome.tif", "--json").json["channels"] == ["axon", "soma"]
    shown = run("info", "cells.ome.tif").out
    assert "channels: axon, soma\n" in shown
    assert "spacing: Z 2, Y 1, X 1\n" in shown
    run("skeletonize", "cells.ome.tif", "lines.ome.tif")
    words = run("info", "lines.ome.tif", "--json").json["try_next"].split()
    assert words == ["softmorph", "inspect", "lines.ome.tif", "--time", "0", "--channel", "0"]
    run(*words[1:])


def test_notes_of_info_follow_each_other() -> None:
    p = np.random.default_rng(0).random((2, 3, 4, 5), np.float32)
    p /= p.sum(axis=0)
    np.savez_compressed("case.npz", probabilities=p)
    save("case.nii.gz", p.argmax(axis=0).astype(np.uint8))
    assert "so its classes have no names. its classes exclude each other" in run("info", "case.npz").out


def test_info_does_not_suggest_to_write_a_file_onto_itself() -> None:
    save("skeleton.nii.gz", random_map())
    words = run("info", "skeleton.nii.gz", "--json").json["try_next"].split()
    assert words == ["softmorph", "skeletonize", "skeleton.nii.gz", "new_skeleton.nii.gz"]
    run(*words[1:])


def test_info_of_a_file_says_what_it_is() -> None:
    for name, kind in (("integers.nii.gz", "image"), ("labels.nii.gz", "labels"), ("logits.npy", "logits")):
        save(name, SUGGESTED[name])
        facts = run("info", name, "--json").json
        assert facts["kind"] == kind
        assert facts["smallest"] == pytest.approx(float(SUGGESTED[name].min()))
        assert facts["largest"] == pytest.approx(float(SUGGESTED[name].max()))
        assert f"{name}: {kind}" in run("info", name).out


def test_info_of_this_machine() -> None:
    facts = run("info", "--json").json
    assert facts["softmorph"] == softmorph_cli.__version__
    assert facts["threads"] >= 1
    assert Path(facts["cache_folder"]).is_dir()
    assert "missing" not in facts["libraries"].values()
    assert "cache folder: " in run("info").out


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
def test_an_option_without_effect_is_said(command: list[str], option: list[str]) -> None:
    save("in.npy", SQUARE)
    name, *more = command
    warning = f"warning: {option[0]} has no effect with "
    assert warning in run(name, "in.npy", "a.npy", *more, *option, "-q").err
    assert "no effect" not in run(name, "in.npy", "b.npy", *more, "-q").err
    np.testing.assert_array_equal(load("a.npy"), load("b.npy"))
