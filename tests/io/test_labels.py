"""Label images: the numbers as they are, read by other programs, at the place of their map."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from helpers_typing import SimpleITK, nibabel, present

from softmorph_cli.errors import FileError, InputError, UsageError
from softmorph_cli.io.formats import check_target
from softmorph_cli.io.options import ReadOptions, WriteOptions
from softmorph_cli.io.probing import probe
from softmorph_cli.io.reading import read, read_labels
from softmorph_cli.io.writing import write, write_labels
from softmorph_cli.volume import Volume

SUFFIXES = [".nii", ".nii.gz", ".tif", ".ome.tif", ".nrrd", ".mha", ".npy"]
WITH_AFFINE = [".nii", ".nii.gz", ".nrrd", ".mha"]
PROVENANCE = {"command": "softmorph inspect", "version": "0.1.0", "parameters": {}}
# The highest label and the smallest type for it.
HIGHEST = [(1, "uint8"), (37, "uint8"), (255, "uint8"), (256, "uint16"), (65535, "uint16"), (70000, "uint32")]


def made(shape: tuple[int, ...], highest: int, dtype: Any = np.int64) -> np.ndarray:
    labels = np.zeros(shape, dtype)
    labels[..., 1:3] = 1
    labels[..., -1, -1] = highest
    return labels


def elsewhere(path: Path) -> np.ndarray:
    """Read with the library itself: the numbers in array order, as their type on disk."""
    if path.suffix == ".npy":
        return np.asarray(np.load(path))
    if path.name.endswith((".nii", ".nii.gz")):
        image = nibabel.load(path)
        assert (image.dataobj.slope, image.dataobj.inter) == (1, 0)
        assert image.header.get_intent()[0] == "label"
        return np.asarray(image.dataobj).T
    if path.suffix == ".tif":
        return np.asarray(tifffile.imread(path))
    return np.asarray(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("highest", "dtype"), HIGHEST)
def test_other_programs_read_the_numbers(
    volume: Volume, tmp_path: Path, suffix: str, highest: int, dtype: str
) -> None:
    labels = made(volume.array.shape, highest)
    before = labels.copy()
    path = tmp_path / f"labels{suffix}"
    write_labels(labels, volume, path, WriteOptions(provenance=PROVENANCE))
    found = elsewhere(path)
    assert found.dtype == dtype
    assert np.array_equal(found, labels)
    assert np.array_equal(labels, before)
    assert list(tmp_path.iterdir()) == [path]
    again = read(path, label=highest)
    assert np.array_equal(again.array, labels == highest)
    assert again.source is not None
    assert again.source.dtype == dtype
    assert again.source.provenance == ({} if suffix == ".npy" else PROVENANCE)
    if suffix != ".npy":
        np.testing.assert_allclose(present(again.spacing), present(volume.spacing), rtol=1e-5)
        assert again.unit == "mm"
    if suffix in WITH_AFFINE:
        np.testing.assert_allclose(present(again.affine), present(volume.affine), atol=1e-5)


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".png"])
@pytest.mark.parametrize("highest", [2, 200, 255, 40000])
def test_read_without_a_label_it_asks_for_one(
    volume: Volume, tmp_path: Path, suffix: str, highest: int
) -> None:
    """Of 255 labels in a PNG or a TIFF, white would pass for probability 1."""
    if suffix == ".png":
        volume = replace(volume, array=volume.array[0], axes="YX", spacing=None, affine=None)
    path = tmp_path / f"labels{suffix}"
    write_labels(made(volume.array.shape, highest), volume, path)
    with pytest.raises(InputError, match=r"choose one label with label=1\b"):
        read(path)
    assert probe(path).kind == "labels"
    assert probe(path).suggestion.endswith(" --label 1")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_more_labels_than_are_counted(tmp_path: Path, suffix: str) -> None:
    labels = np.arange(20 * 20 * 20).reshape(20, 20, 20)
    volume = Volume(np.zeros(labels.shape, np.float32), "ZYX", (1.0, 1.0, 1.0), "mm")
    lost = write_labels(labels, volume, tmp_path / f"labels{suffix}")
    if suffix == ".npy":
        assert lost[-1] == ".npy does not say that its numbers are labels; read one with label=K."
        return
    with pytest.raises(InputError, match=r"holds labels \(up to 7999\); .* label=7999"):
        read(tmp_path / f"labels{suffix}")
    assert read(tmp_path / f"labels{suffix}", label=17).array.sum() == 1


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".png"])
@pytest.mark.parametrize("highest", [0, 1])
def test_none_and_one_are_a_mask_as_in_every_file(
    volume: Volume, tmp_path: Path, suffix: str, highest: int
) -> None:
    if suffix == ".png":
        volume = replace(volume, array=volume.array[0], axes="YX", spacing=None, affine=None)
    labels = np.full(volume.array.shape, 0)
    labels[..., 0] = highest
    write_labels(labels, volume, tmp_path / f"labels{suffix}")
    again = read(tmp_path / f"labels{suffix}")
    assert np.array_equal(again.array, labels)
    assert again.notes == ("it holds only 0 and 1 and is taken as a mask.",)


def test_png_holds_the_numbers_not_grey_values(tmp_path: Path) -> None:
    image = Volume(np.zeros((9, 8), np.float32), "YX")
    for highest, dtype in ((3, "uint8"), (300, "uint16")):
        path = tmp_path / f"{highest}.png"
        labels = made((9, 8), highest)
        assert write_labels(labels, image, path, WriteOptions(provenance=PROVENANCE)) == []
        found = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
        assert found.dtype == dtype
        assert np.array_equal(found, labels)
        assert np.array_equal(read(path, label=1).array, labels == 1)
        assert probe(path).provenance == PROVENANCE


def test_labels_that_png_cannot_hold_are_refused_before(volume: Volume, tmp_path: Path) -> None:
    flat = Volume(np.zeros((9, 8), np.float32), "YX")
    path = tmp_path / "labels.png"
    text = r"PNG holds labels up to 65535 and these reach 65536; write .*labels\.png as \.tif or \.nii\.gz"
    with pytest.raises(InputError, match=text):
        check_target(path, WriteOptions(output_type="labels"), highest_label=65536)
    with pytest.raises(InputError, match=text):
        write_labels(made((9, 8), 65536), flat, path)
    with pytest.raises(InputError, match=r"PNG holds one 2-D image, not axes ZYX"):
        check_target(path, WriteOptions(output_type="labels"), axes="ZYX")
    with pytest.raises(InputError, match=r"PNG holds one 2-D image"):
        write_labels(made(volume.array.shape, 3), volume, path)
    check_target(path, WriteOptions(output_type="labels"), axes="YX", highest_label=65535)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".png"])
def test_labels_that_fit_are_not_refused(tmp_path: Path, suffix: str) -> None:
    check_target(tmp_path / f"labels{suffix}", WriteOptions(output_type="labels"))
    if suffix != ".png":
        check_target(
            tmp_path / f"labels{suffix}",
            WriteOptions(output_type="labels"),
            axes="ZYX",
            highest_label=2**32 - 1,
        )


def test_targets_are_checked_as_for_maps(volume: Volume, tmp_path: Path) -> None:
    labels = made(volume.array.shape, 3)
    (tmp_path / "labels.nii").write_bytes(b"mine")
    with pytest.raises(FileError, match="exists already; add force=True"):
        write_labels(labels, volume, tmp_path / "labels.nii")
    with pytest.raises(FileError, match="exists already; add force=True"):
        check_target(tmp_path / "labels.nii", WriteOptions(output_type="labels"))
    assert (tmp_path / "labels.nii").read_bytes() == b"mine"
    write_labels(labels, volume, tmp_path / "labels.nii", WriteOptions(force=True))
    assert np.array_equal(elsewhere(tmp_path / "labels.nii"), labels)
    for name, text in (("labels.xyz", "cannot tell the format"), ("labels.mhd", "write .mha instead")):
        with pytest.raises(UsageError, match=text):
            write_labels(labels, volume, tmp_path / name)


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (np.zeros((2, 3, 4), int), r"labels of shape \(2, 3, 4\) do not fit a map of shape \(4, 5, 6\)"),
        (np.full((4, 5, 6), -1), "labels are integers from 0; these are int64 from -1"),
        (np.full((4, 5, 6), 0.5), r"labels are integers from 0; these are float64 from 0\.5"),
        (np.full((4, 5, 6), 2**32), r"labels reach 4294967296; .* can hold at most 4294967295"),
    ],
)
def test_numbers_that_are_no_labels(volume: Volume, tmp_path: Path, labels: np.ndarray, text: str) -> None:
    with pytest.raises(InputError, match=text):
        write_labels(labels, volume, tmp_path / "labels.nii")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [*WITH_AFFINE, ".tif", ".ome.tif", ".npy"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_dropped_axis_comes_back(volume: Volume, tmp_path: Path, suffix: str, axis: int) -> None:
    if axis > 0 and suffix.endswith("tif"):
        pytest.skip("a TIFF of one row or column is no singleton axis of a volume")
    thin = replace(volume, array=volume.array.take([1], axis=axis))
    write(thin, tmp_path / f"in{suffix}")
    flat = read(tmp_path / f"in{suffix}")
    assert flat.axes == "YX"
    labels = made(flat.array.shape, 7)
    write_labels(labels, flat, tmp_path / f"labels{suffix}")
    again = read(tmp_path / f"labels{suffix}", label=7)
    assert again.source is not None
    assert flat.source is not None
    assert again.source.shape == flat.source.shape
    assert np.array_equal(again.array, labels == 7)
    if suffix in WITH_AFFINE:
        np.testing.assert_allclose(present(again.affine), present(flat.affine), atol=1e-5)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_slices_are_stacked_again(volume: Volume, tmp_path: Path, suffix: str) -> None:
    write(volume, tmp_path / f"in{suffix}")
    sliced = read(tmp_path / f"in{suffix}", per_slice=True)
    labels = np.arange(sliced.array.size).reshape(sliced.array.shape)
    write_labels(labels, sliced, tmp_path / f"labels{suffix}")
    assert np.array_equal(elsewhere(tmp_path / f"labels{suffix}"), labels)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha", ".tif", ".ome.tif"])
@pytest.mark.parametrize("highest", [3, 70000])
def test_time_is_kept(volume: Volume, tmp_path: Path, suffix: str, highest: int) -> None:
    film = replace(volume, array=np.stack([volume.array] * 3), axes="TZYX")
    labels = made(film.array.shape, highest)
    labels[1] = 2
    write_labels(labels, film, tmp_path / f"labels{suffix}")
    again = read(tmp_path / f"labels{suffix}", label=2)
    assert again.axes == "TZYX"
    assert np.array_equal(again.array, labels == 2)


def test_imagej_shows_all_of_them_and_has_no_uint32(volume: Volume, tmp_path: Path) -> None:
    write_labels(made(volume.array.shape, 300), volume, tmp_path / "few.tif")
    with tifffile.TiffFile(tmp_path / "few.tif") as file:
        assert file.is_imagej
        assert file.imagej_metadata is not None
        assert (file.imagej_metadata["min"], file.imagej_metadata["max"]) == (0, 300)
        assert file.imagej_metadata["unit"] == "mm"
        assert file.imagej_metadata["spacing"] == pytest.approx(volume.spacing[0] if volume.spacing else None)
    lost = write_labels(made(volume.array.shape, 70000), volume, tmp_path / "many.tif")
    assert "ImageJ's own TIFF has no uint32; this is an OME-TIFF." in lost
    with tifffile.TiffFile(tmp_path / "many.tif") as file:
        assert file.is_ome
        assert 'Type="uint32"' in str(file.ome_metadata)
        assert 'PhysicalSizeXUnit="mm"' in str(file.ome_metadata)


@pytest.mark.parametrize("suffix", [".nii.gz", ".tif", ".ome.tif", ".nrrd", ".mha"])
def test_a_map_made_from_labels_is_no_label_file(volume: Volume, tmp_path: Path, suffix: str) -> None:
    write_labels(made(volume.array.shape, 200), volume, tmp_path / f"labels{suffix}")
    chosen = read(tmp_path / f"labels{suffix}", label=1)
    soft = chosen.with_array(chosen.array * np.float32(0.5))
    for output_type, step in (("float32", 0.0), ("uint8", 1 / 255)):
        path = tmp_path / f"{output_type}{suffix}"
        write(soft, path, output_type=output_type)
        np.testing.assert_allclose(read(path).array, soft.array, atol=step)
        assert probe(path).kind == "probability"


@pytest.mark.parametrize("suffix", [".nii.gz", ".tif", ".nrrd"])
def test_the_display_window_of_the_map_is_not_kept_for_labels(
    volume: Volume, tmp_path: Path, suffix: str
) -> None:
    write(volume, tmp_path / f"in{suffix}", output_type="uint8", provenance=PROVENANCE)
    like = read(tmp_path / f"in{suffix}")
    path = tmp_path / f"labels{suffix}"
    write_labels(made(like.array.shape, 9), like, path)
    assert elsewhere(path).max() == 9
    assert np.array_equal(read(path, label=9).array, elsewhere(path) == 9)
    if suffix == ".nii.gz":
        header = nibabel.load(path).header
        assert (float(header["cal_min"]), float(header["cal_max"])) == (0, 0)
        assert re.fullmatch(r"uint8", str(header.get_data_dtype()))


def test_writing_labels_has_no_warnings(volume: Volume, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for suffix in SUFFIXES:
            for dtype in (np.bool_, np.uint8, np.int16, np.uint32, np.uint64, ">i4"):
                labels = made(volume.array.shape, 1, dtype)
                write_labels(labels, volume, tmp_path / f"labels{suffix}", WriteOptions(force=True))
                assert np.array_equal(elsewhere(tmp_path / f"labels{suffix}"), labels)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("highest", [1, 37, 300])
def test_all_labels_are_read_as_they_were_written(
    volume: Volume, tmp_path: Path, suffix: str, highest: int
) -> None:
    labels = made(volume.array.shape, highest)
    path = tmp_path / f"labels{suffix}"
    write_labels(labels, volume, path)
    found = read_labels(path)
    assert found is not None
    assert np.array_equal(found[0], labels)
    one = read(path, label=1)
    assert np.array_equal(found[1].array, labels > 0)
    assert (found[1].axes, found[1].spacing, found[1].unit) == (one.axes, one.spacing, one.unit)
    region = ",".join("1:" for _ in labels.shape)
    part = read_labels(path, ReadOptions(region=region))
    assert part is not None
    assert np.array_equal(part[0], labels[(slice(1, None),) * labels.ndim])


def test_files_without_labels(volume: Volume, tmp_path: Path) -> None:
    write(volume, tmp_path / "map.nii.gz")
    assert read_labels(tmp_path / "map.nii.gz") is None
    grey = np.arange(volume.array.size, dtype=np.uint8).reshape(volume.array.shape)
    np.save(tmp_path / "grey.npy", grey)
    assert read_labels(tmp_path / "grey.npy") is None
    # Unless the caller states that they are labels.
    surely = read_labels(tmp_path / "grey.npy", surely=True)
    assert surely is not None
    assert np.array_equal(surely[0], grey)
    bad = np.where(grey > 3, np.nan, 1.0).astype(np.float32)
    np.save(tmp_path / "bad.npy", bad)
    assert read_labels(tmp_path / "bad.npy", surely=True) is None


@pytest.mark.parametrize(
    ("one", "suffix", "expected"), [(255, ".npy", 255), (1, ".npy", 1), (255, ".png", None)]
)
def test_a_mask_has_one_label_unless_its_format_has_another_word_for_one(
    tmp_path: Path, one: int, suffix: str, expected: int | None
) -> None:
    mask = np.zeros((9, 11), np.uint8)
    mask[2:5, 3:8] = one
    path = tmp_path / f"mask{suffix}"
    if suffix == ".npy":
        np.save(path, mask)
    else:
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(mask), str(path))
    found = read_labels(path)
    assert (found is None) == (expected is None)
    if found is not None:
        assert set(np.unique(found[0])) == {0, expected}


def test_labels_outside_of_a_mask_are_0(volume: Volume, tmp_path: Path) -> None:
    labels = made(volume.array.shape, 5)
    inside = np.zeros(volume.array.shape, np.float32)
    inside[..., :2] = 1
    write_labels(labels, volume, tmp_path / "labels.nii.gz")
    write(volume.with_array(inside), tmp_path / "mask.nii.gz")
    found = read_labels(tmp_path / "labels.nii.gz", ReadOptions(mask=tmp_path / "mask.nii.gz"))
    assert found is not None
    assert np.array_equal(found[0], labels * (inside > 0))
