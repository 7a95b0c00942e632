"""nnU-Net's .npz: classes, position by the labels beside it, logits, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from helpers_nnunet import DIRECTION, SHAPE, case, describe, image_of, logits_of, softmax
from helpers_typing import SimpleITK, nibabel

from softmorph_cli.errors import FileError, InputError, UsageError
from softmorph_cli.filters.channels import argmax
from softmorph_cli.io.formats import check_target
from softmorph_cli.io.nnunet import classes
from softmorph_cli.io.probing import probe
from softmorph_cli.io.reading import read
from softmorph_cli.io.writing import write, write_labels


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_classes_position_and_background(tmp_path: Path, ending: str, dtype: Any) -> None:
    describe(tmp_path, ending=ending)
    stored = softmax(logits_of(3)).astype(dtype)
    path = case(tmp_path, stored, ending=ending)
    volume = read(path)
    assert volume.axes == "CZYX"
    assert volume.channels == ("liver", "tumour")
    assert volume.array.dtype == np.float32
    assert np.array_equal(volume.array, stored[1:].astype(np.float32))
    assert "'background' is left out." in volume.notes
    beside = read(tmp_path / f"case_007{ending}", label=1)
    assert volume.spacing == beside.spacing == pytest.approx((3.0, 1.5, 0.8))
    assert volume.unit == "mm"
    assert volume.affine is not None
    assert beside.affine is not None
    assert np.array_equal(volume.affine, beside.affine)
    assert volume.source is not None
    assert volume.source.format == "nnunet"
    assert volume.source.shape == stored.shape
    assert (classes(volume).labels, classes(volume).kind) == ((1, 2), "rest")


def test_the_pickle_is_never_opened(tmp_path: Path) -> None:
    describe(tmp_path)
    path = case(tmp_path, softmax(logits_of(3)))
    (tmp_path / "case_007.pkl").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    read(path)
    objects = np.empty((3, *SHAPE), object)
    np.savez_compressed(path, probabilities=objects)
    with pytest.raises(InputError, match="Python objects under 'probabilities', which are never unpickled"):
        read(path)


def test_one_channel_by_name_and_by_number_of_the_file(tmp_path: Path) -> None:
    describe(tmp_path)
    stored = softmax(logits_of(3))
    path = case(tmp_path, stored)
    for channel, index in (("tumour", 2), (2, 2), ("2", 2), (-1, 2), ("background", 0), (0, 0)):
        volume = read(path, channel=channel)
        assert volume.axes == "ZYX"
        assert np.array_equal(volume.array, stored[index])
        assert classes(volume).labels == (index,)
    with pytest.raises(InputError, match="choose channel=1 to 2 or liver, tumour"):
        read(path, channel="kidney")


def test_one_class_is_a_plain_map(tmp_path: Path) -> None:
    describe(tmp_path, {"background": 0, "vessel": 1})
    stored = softmax(logits_of(2))
    volume = read(case(tmp_path, stored))
    assert volume.axes == "ZYX"
    assert np.array_equal(volume.array, stored[1])
    assert "'vessel' is read; 'background' is left out." in volume.notes
    assert np.array_equal(argmax(volume, kind=classes(volume).kind, labels=(1,)), stored.argmax(axis=0))


@pytest.mark.parametrize("reader", ["NibabelIOWithReorient", "SimpleITKIOWithReorient"])
@pytest.mark.parametrize(
    "direction",
    [
        DIRECTION,
        (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
        (0.0, 0.0, 1.0, -1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
        (0.0, -1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0),
    ],
)
def test_probabilities_that_were_turned_to_ras_are_turned_back(
    tmp_path: Path, reader: str, direction: tuple[float, ...]
) -> None:
    describe(tmp_path, reader=reader)
    expected = softmax(logits_of(3))
    turned = [SimpleITK.DICOMOrient(image_of(channel, direction), "RAS") for channel in expected]
    path = tmp_path / "case.npz"
    np.savez_compressed(path, probabilities=np.stack([SimpleITK.GetArrayFromImage(one) for one in turned]))
    labels = image_of(expected.argmax(axis=0).astype(np.uint8), direction)
    SimpleITK.WriteImage(labels, str(tmp_path / "case.nii.gz"))
    volume = read(path)
    assert np.array_equal(volume.array, expected[1:])
    affine = nibabel.load(tmp_path / "case.nii.gz").affine
    assert volume.affine is not None
    assert np.allclose(volume.affine[:, [2, 1, 0, 3]], affine)


def test_the_order_of_nibabel_is_that_of_simpleitk(tmp_path: Path) -> None:
    describe(tmp_path, reader="NibabelIO")
    labels = np.random.default_rng(5).integers(0, 3, SHAPE[::-1]).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(labels, np.diag([2, -3, 4, 1])), tmp_path / "case.nii.gz")
    seen = np.asarray(nibabel.load(tmp_path / "case.nii.gz").dataobj).transpose(2, 1, 0)
    stored = softmax(5 * (seen == np.arange(3)[:, None, None, None]).astype(np.float32))
    np.savez_compressed(tmp_path / "case.npz", probabilities=stored)
    assert np.array_equal(read(tmp_path / "case.npz").array, stored[1:])


@pytest.mark.parametrize("silent_page", [True, False])
def test_pages_of_a_tiff_and_the_voxel_size_beside_them(tmp_path: Path, silent_page: bool) -> None:
    describe(tmp_path, reader="Tiff3DIO", ending=".tif")
    stored = softmax(logits_of(3))
    np.savez_compressed(tmp_path / "case.npz", probabilities=stored)
    tifffile.imwrite(tmp_path / "case.tif", stored.argmax(axis=0).astype(np.uint8), compression="zlib")
    if not silent_page:
        (tmp_path / "case.json").write_text(json.dumps({"spacing": [3, 1.5, 0.8]}))
    volume = read(tmp_path / "case.npz")
    assert np.array_equal(volume.array, stored[1:])
    assert volume.spacing == (None if silent_page else (3, 1.5, 0.8))
    assert volume.unit is None
    write(volume, tmp_path / "out.tif")
    again = read(tmp_path / "out.tif")
    assert again.axes == "CZYX"
    assert np.array_equal(again.array, stored[1:])


@pytest.mark.parametrize(("reader", "ending"), [("NaturalImage2DIO", ".png"), ("SimpleITKIO", ".nii.gz")])
def test_images_of_two_dimensions(tmp_path: Path, reader: str, ending: str) -> None:
    describe(tmp_path, reader=reader, ending=ending)
    stored = softmax(logits_of(3, (1, 7, 4)))
    np.savez_compressed(tmp_path / "case.npz", probabilities=stored)
    SimpleITK.WriteImage(image_of(stored.argmax(axis=0)[0].astype(np.uint8)), str(tmp_path / f"case{ending}"))
    volume = read(tmp_path / "case.npz")
    assert volume.axes == "CYX"
    assert np.array_equal(volume.array, stored[1:, 0])


def test_a_slice_of_one_voxel_is_written_back(tmp_path: Path) -> None:
    describe(tmp_path)
    stored = softmax(logits_of(3, (5, 1, 4)))
    volume = read(case(tmp_path, stored))
    assert volume.axes == "CYX"
    write(volume, tmp_path / "out.nii.gz")
    assert nibabel.load(tmp_path / "out.nii.gz").shape == (4, 1, 5, 2)


def test_other_labels_beside_it_are_refused(tmp_path: Path) -> None:
    describe(tmp_path)
    stored = softmax(logits_of(3))
    labels = stored.argmax(axis=0)
    labels[0, 0, :3] = (labels[0, 0, :3] + 1) % 3
    path = case(tmp_path, stored, labels)
    with pytest.raises(InputError, match=r"disagree in 3 of 140 voxels \(2.14 %\).*like='.*case_007"):
        read(path)
    volume = read(path, like=tmp_path / "case_007.nii.gz")
    assert np.array_equal(volume.array, stored[1:])


def test_ties_of_rounded_probabilities_are_no_disagreement(tmp_path: Path) -> None:
    describe(tmp_path, {"background": 0, "vessel": 1})
    exact = np.full((2, *SHAPE), 0.5)
    exact[1, 0] += 1e-5
    exact[0, 0] -= 1e-5
    path = case(tmp_path, exact.astype(np.float16), exact.argmax(axis=0))
    assert read(path).array.shape == SHAPE


def test_rounding_to_one_half_is_no_disagreement(tmp_path: Path) -> None:
    describe(tmp_path, {"background": 0, "whole": [1, 2], "core": [2]}, regions_class_order=[1, 2])
    exact = np.full((2, *SHAPE), 0.2)
    exact[0, 0] = 0.5001
    path = case(tmp_path, exact.astype(np.float16), exact[0] > 0.5)
    assert read(path).array.shape == (2, *SHAPE)
    exact[0, 0] = 0.51
    with pytest.raises(InputError, match="in 28 of 140 voxels"):
        read(case(tmp_path, exact.astype(np.float16), exact[0] > 1))


def test_a_cube_in_another_order_is_found_by_its_labels(tmp_path: Path) -> None:
    describe(tmp_path)
    stored = softmax(logits_of(3, (6, 6, 6)))
    path = case(tmp_path, stored.transpose(0, 3, 2, 1), stored.argmax(axis=0))
    with pytest.raises(InputError, match="disagree in"):
        read(path)
    assert np.array_equal(read(path, axes="CXYZ").array, stored[1:])


def test_shapes_must_agree(tmp_path: Path) -> None:
    describe(tmp_path)
    stored = softmax(logits_of(3))
    path = case(tmp_path, stored.transpose(0, 3, 2, 1), stored.argmax(axis=0))
    with pytest.raises(InputError, match=r"4 × 7 × 5 voxels and .* has 5 × 7 × 4 .* add axes='CXYZ'"):
        read(path)
    path = case(tmp_path, stored[:, 1:], stored.argmax(axis=0))
    with pytest.raises(InputError, match=r"has 4 × 7 × 4 voxels and .*like=FILE"):
        read(path)
    path = case(tmp_path, stored[:, 1:], stored.argmax(axis=0), key="softmax")
    with pytest.raises(InputError, match="nnU-Net 1 leaves out the empty border"):
        read(path)


def test_without_labels_or_description(tmp_path: Path) -> None:
    describe(tmp_path)
    stored = softmax(logits_of(3))
    path = case(tmp_path, stored)
    image = (tmp_path / "case_007.nii.gz").rename(tmp_path / "elsewhere.nii.gz")
    with pytest.raises(FileError, match=r"case_007\.nii\.gz is not beside it; name .* like=FILE"):
        read(path)
    assert np.array_equal(read(path, like=str(image)).array, stored[1:])
    with pytest.raises(InputError, match="leave like out"):
        read(image, like=image, label=1)


def test_logits_are_recognised_and_converted(tmp_path: Path) -> None:
    describe(tmp_path)
    logits = logits_of(3)
    path = case(tmp_path, logits)
    with pytest.raises(InputError, match=r"old file of logits; turn them .* from_logits='softmax'"):
        read(path)
    volume = read(path, from_logits="softmax")
    assert volume.channels == ("liver", "tumour")
    assert np.allclose(volume.array, softmax(logits)[1:], atol=1e-6)
    assert np.allclose(
        read(path, from_logits="softmax", channel="liver").array, softmax(logits)[1], atol=1e-6
    )
    with pytest.raises(InputError, match="exclude each other: use from_logits='softmax'"):
        read(path, from_logits="sigmoid")
    with pytest.raises(InputError, match="disagree"):
        read(case(tmp_path, logits, softmax(logits).argmin(axis=0)), from_logits="softmax")
    with pytest.raises(InputError, match="holds probabilities already"):
        read(case(tmp_path, softmax(logits)), from_logits="softmax")


def test_other_scales_are_refused_as_in_other_formats(tmp_path: Path) -> None:
    describe(tmp_path)
    stored = softmax(logits_of(3))
    labels = stored.argmax(axis=0)
    bytes_ = np.rint(255 * stored).astype(np.uint8)
    path = case(tmp_path, bytes_, bytes_.argmax(axis=0))
    with pytest.raises(InputError, match="divide_by=255"):
        read(path)
    assert np.allclose(read(path, divide_by=255).array, stored[1:], atol=0.002)
    path = case(tmp_path, 1.02 * stored - 0.01, labels)
    with pytest.raises(InputError, match=r"cut them to .* with clip=True"):
        read(path)
    assert read(path, clip=True).array.shape == (2, *SHAPE)


def test_logits_of_regions(tmp_path: Path) -> None:
    describe(tmp_path, {"background": 0, "whole": [1, 2], "core": [2]}, regions_class_order=[1, 2])
    logits = logits_of(2)
    painted = np.where(logits[1] > 0, 2, np.where(logits[0] > 0, 1, 0))
    path = case(tmp_path, logits, painted)
    with pytest.raises(InputError, match="from_logits='sigmoid'"):
        read(path)
    assert np.allclose(read(path, from_logits="sigmoid").array, 1 / (1 + np.exp(-logits)), atol=1e-6)


def test_archives_of_other_kinds(tmp_path: Path) -> None:
    path = tmp_path / "map.npz"
    np.savez_compressed(path, scores=np.zeros((2, 3)), names=np.zeros(2))
    with pytest.raises(InputError, match=r"holds the arrays 'scores', 'names'; .*numpy\.save\('map.npy'"):
        read(path)
    found = probe(path)
    assert found.kind == "other"
    assert "'scores', 'names'" in found.found
    np.savez_compressed(path, data=np.zeros((1, 2, 3, 4)), seg=np.zeros((1, 2, 3, 4)))
    with pytest.raises(InputError, match="prepared for training, no prediction"):
        read(path)
    np.savez_compressed(path, probabilities=softmax(logits_of(3)))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(FileError, match="cut short or damaged"):
        read(path)


def test_nan_is_refused_by_its_position(tmp_path: Path) -> None:
    describe(tmp_path)
    stored = softmax(logits_of(3))
    labels = stored.argmax(axis=0)
    stored[1, 2, 3, 1] = np.nan
    with pytest.raises(InputError, match=r"1 value that is not a number \(NaN\)"):
        read(case(tmp_path, stored, labels))


def test_probe_states_the_kind_of_the_file(tmp_path: Path) -> None:
    describe(tmp_path)
    path = case(tmp_path, softmax(logits_of(3)))
    found = probe(path)
    assert (found.kind, found.axes, found.shape) == ("probability", "CZYX", (3, *SHAPE))
    assert "its classes exclude each other: background (0), liver (1), tumour (2)." in found.notes
    assert found.suggestion == f"softmorph skeletonize {path} skeleton.nii.gz"
    assert found.spacing == pytest.approx({"Z": 3.0, "Y": 1.5, "X": 0.8})
    case(tmp_path, logits_of(3))
    assert probe(path).suggestion.endswith("--from-logits softmax")
    (tmp_path / "case_007.nii.gz").unlink()
    assert probe(path).suggestion.endswith("--from-logits softmax --reference IMAGE")
    assert any("is not beside it" in note for note in probe(path).notes)


def test_a_region_of_it_keeps_its_place(tmp_path: Path) -> None:
    describe(tmp_path)
    stored = softmax(logits_of(3))
    path = case(tmp_path, stored)
    volume = read(path, region="1:4,2:,:3", mask=tmp_path / "case_007.nii.gz")
    inside = stored.argmax(axis=0)[1:4, 2:, :3] > 0
    assert np.array_equal(volume.array, stored[1:, 1:4, 2:, :3] * inside)
    whole = read(path)
    assert whole.affine is not None
    assert volume.affine is not None
    assert np.allclose(volume.affine @ [0, 0, 0, 1], whole.affine @ [1, 2, 0, 1])


def test_results_take_the_header_of_the_labels(tmp_path: Path) -> None:
    describe(tmp_path)
    stored = softmax(logits_of(3))
    volume = read(case(tmp_path, stored))
    out, chosen = tmp_path / "out.nii.gz", tmp_path / "labels.nii.gz"
    warnings = write(volume, out, provenance={"command": "softmorph close", "version": "1"})
    assert any("channel names liver, tumour" in warning for warning in warnings)
    before, after = nibabel.load(tmp_path / "case_007.nii.gz"), nibabel.load(out)
    assert after.shape == (*SHAPE[::-1], 2)
    assert np.array_equal(before.affine, after.affine)
    for field in ("qform_code", "sform_code", "quatern_b", "qoffset_x", "srow_x", "xyzt_units"):
        assert np.array_equal(before.header[field], after.header[field]), field
    assert np.array_equal(np.asarray(after.dataobj).T, stored[1:])
    again = read(out)
    assert again.source is not None
    assert again.source.provenance["command"] == "softmorph close"
    found = classes(volume)
    labels = argmax(volume, kind=found.kind, labels=found.labels)
    write_labels(labels, volume.channel(0), chosen)
    assert np.array_equal(nibabel.load(chosen).dataobj, before.dataobj)
    assert np.array_equal(nibabel.load(chosen).affine, before.affine)


def test_npz_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nnU-Net .npz files are read, not written; write .nii.gz"):
        check_target(tmp_path / "out.npz")
