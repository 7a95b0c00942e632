"""Formats, axes, regions and masks: what commands read is what they write."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tifffile
from helpers_cli import SPACING, SUFFIXES, SimpleITK, load, nibabel, random_map, run, save
from helpers_functions import FUNCTIONS, SQUARE, quietly

import softmorph_cli


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


def test_the_fourth_axis_of_nifti_may_hold_classes() -> None:
    """Tables call it time, as NIfTI does; what concerns classes takes it as that."""
    image = random_map((3, 6, 7, 8))
    image /= image.sum(axis=0)
    nibabel.Nifti1Image(image.T, np.eye(4)).to_filename("in.nii.gz")
    wanted = np.stack([softmorph_cli.erosion(one) for one in image])
    assert "T2" in run("stats", "in.nii.gz").out
    run("erode", "in.nii.gz", "one.nii.gz", "--channel", 1)
    np.testing.assert_array_equal(load("one.nii.gz"), wanted[1])
    run("erode", "in.nii.gz", "sum.nii.gz", "--renormalize")
    np.testing.assert_allclose(load("sum.nii.gz").sum(axis=0), 1, atol=1e-6)
    run("erode", "in.nii.gz", "labels.nii.gz", "--argmax")
    np.testing.assert_array_equal(load("labels.nii.gz"), wanted.argmax(axis=0))


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
