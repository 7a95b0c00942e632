"""Files as nnU-Net 2 writes them: np.savez_compressed(probabilities=...), labels by SimpleITK, two descriptions."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from helpers_typing import SimpleITK, nibabel
from numpy.typing import NDArray

from softmorph_cli.errors import FileError, InputError, UsageError
from softmorph_cli.filters.channels import argmax
from softmorph_cli.io import check_target, classes, probe, read, write, write_labels
from softmorph_cli.volume import Volume

SHAPE = (5, 7, 4)
LABELS = {"background": 0, "liver": 1, "tumour": 2}
# Turned about two axes and flipped, and still a rotation: x runs to the back, y upwards, z to the right.
DIRECTION = (0.0, 0.28, -0.96, 1.0, 0.0, 0.0, 0.0, 0.96, 0.28)


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    raised = np.exp(logits - logits.max(axis=0))
    return np.asarray(raised / raised.sum(axis=0), dtype=np.float32)


def logits_of(count: int, shape: tuple[int, ...] = SHAPE) -> NDArray[Any]:
    return np.asarray(3 * np.random.default_rng(3).standard_normal((count, *shape)), dtype=np.float32)


def image_of(array: NDArray[Any], direction: tuple[float, ...] = DIRECTION) -> Any:
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing((0.8, 1.5, 3.0)[: array.ndim])
    image.SetOrigin((10.0, -20.0, 30.0)[: array.ndim])
    if array.ndim == 3:
        image.SetDirection(direction)
    return image


def describe(
    folder: Path, labels: Any = None, reader: str | None = "SimpleITKIO", ending: str = ".nii.gz", **more: Any
) -> None:
    dataset = {"labels": labels or LABELS, "file_ending": ending, "channel_names": {"0": "CT"}, **more}
    (folder / "dataset.json").write_text(json.dumps(dataset))
    if reader:
        plans = {
            "image_reader_writer": reader,
            "transpose_forward": [1, 0, 2],
            "transpose_backward": [1, 0, 2],
        }
        (folder / "plans.json").write_text(json.dumps(plans))


def case(
    folder: Path,
    probabilities: NDArray[Any],
    labels: NDArray[Any] | None = None,
    *,
    ending: str = ".nii.gz",
    key: str = "probabilities",
) -> Path:
    path = folder / "case_007.npz"
    arrays: dict[str, Any] = {key: probabilities}
    np.savez_compressed(path, **arrays)
    (folder / "case_007.pkl").write_bytes(pickle.dumps({"spacing": (3.0, 1.5, 0.8)}))
    if labels is None:
        labels = probabilities.argmax(axis=0)
    SimpleITK.WriteImage(image_of(labels.astype(np.uint8)), str(folder / f"case_007{ending}"), True)
    return path


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_classes_place_and_background(tmp_path: Path, ending: str, dtype: Any) -> None:
    describe(tmp_path, ending=ending)
    stored = softmax(logits_of(3)).astype(dtype)
    path = case(tmp_path, stored, ending=ending)
    volume = read(path)
    assert volume.axes == "CZYX"
    assert volume.channels == ("liver", "tumour")
    assert volume.array.dtype == np.float32
    assert np.array_equal(volume.array, stored[1:].astype(np.float32))
    assert "'background' is left out (channel=0 takes it)." in volume.notes
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
    with pytest.raises(InputError, match="choose channel=0 to 2 or background, liver, tumour"):
        read(path, channel="kidney")


def test_one_class_is_a_plain_map(tmp_path: Path) -> None:
    describe(tmp_path, {"background": 0, "vessel": 1})
    stored = softmax(logits_of(2))
    volume = read(case(tmp_path, stored))
    assert volume.axes == "ZYX"
    assert np.array_equal(volume.array, stored[1])
    assert "'vessel' is read; 'background' is left out (channel=0 takes it)." in volume.notes
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


def test_regions_overlap_and_the_last_counts(tmp_path: Path) -> None:
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "ignore": 4, "enhancing": [3]}
    describe(tmp_path, labels, regions_class_order=[1, 2, 3])
    stored = 1 / (1 + np.exp(-logits_of(3)))
    painted = np.zeros(SHAPE, np.uint8)
    for channel, label in zip(stored, (1, 2, 3), strict=True):
        painted[channel > 0.5] = label
    path = case(tmp_path, stored.astype(np.float32), painted)
    volume = read(path)
    assert volume.channels == ("whole", "core", "enhancing")
    assert np.array_equal(volume.array, stored.astype(np.float32))
    found = classes(volume)
    assert (found.labels, found.kind) == ((1, 2, 3), "nested")
    assert np.array_equal(argmax(volume, kind=found.kind, labels=found.labels), painted)
    painted[0, 0, :2] = 5
    with pytest.raises(InputError, match=r"in 2 of 140 voxels .*last region above one half"):
        read(case(tmp_path, stored.astype(np.float32), painted))


def test_labels_that_are_not_one_to_n(tmp_path: Path) -> None:
    describe(tmp_path, {"background": 0, "b": 7, "a": 3})
    stored = softmax(logits_of(3))
    values = np.array([0, 3, 7])
    volume = read(case(tmp_path, stored, values[stored.argmax(axis=0)]))
    assert volume.channels == ("a", "b")
    assert classes(volume).labels == (3, 7)
    chosen = argmax(volume, kind="rest", labels=classes(volume).labels)
    assert np.array_equal(chosen, values[stored.argmax(axis=0)])
    # nnU-Net itself numbers them from 0.
    volume = read(case(tmp_path, stored))
    assert classes(volume).labels == (1, 2)
    assert any("numbers the classes from 0" in note for note in volume.notes)


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


def test_nothing_beside_it(tmp_path: Path) -> None:
    describe(tmp_path)
    stored = softmax(logits_of(3))
    path = case(tmp_path, stored)
    image = (tmp_path / "case_007.nii.gz").rename(tmp_path / "elsewhere.nii.gz")
    with pytest.raises(FileError, match=r"case_007\.nii\.gz is not beside it; name .* like=FILE"):
        read(path)
    assert np.array_equal(read(path, like=str(image)).array, stored[1:])
    with pytest.raises(InputError, match="leave like out"):
        read(image, like=image, label=1)


def test_without_a_description_the_sums_tell(tmp_path: Path) -> None:
    stored = softmax(logits_of(3))
    volume = read(case(tmp_path, stored))
    assert volume.channels == ("label 1", "label 2")
    assert np.array_equal(volume.array, stored[1:])
    assert any("no dataset.json" in note for note in volume.notes)
    each = (1 / (1 + np.exp(-logits_of(3)))).astype(np.float32)
    volume = read(case(tmp_path, each))
    assert np.array_equal(volume.array, each)
    assert (classes(volume).labels, classes(volume).kind) == ((1, 2, 3), "overlapping")


def test_descriptions_in_the_folder_of_the_model(tmp_path: Path) -> None:
    describe(tmp_path)
    folder = tmp_path / "fold_0" / "validation"
    folder.mkdir(parents=True)
    assert read(case(folder, softmax(logits_of(3)))).channels == ("liver", "tumour")
    # That of another program has no labels.
    (folder / "dataset.json").write_text('{"Name": "BIDS"}')
    assert read(folder / "case_007.npz").channels == ("liver", "tumour")


def test_descriptions_that_do_not_fit(tmp_path: Path) -> None:
    stored = softmax(logits_of(3))
    describe(tmp_path, {"background": 0, "vessel": 1}, reader=None)
    volume = read(case(tmp_path, stored))
    assert any("3 channels, but dataset.json names 2" in note for note in volume.notes)
    describe(tmp_path, {"background": 0, "vessel": {"a": 1}})
    with pytest.raises(InputError, match=r"labels in the dataset.json"):
        read(tmp_path / "case_007.npz")
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(FileError, match=r"dataset.json, which describes case_007.npz, cannot be read"):
        read(tmp_path / "case_007.npz")
    describe(tmp_path, reader="OurOwnIO")
    volume = read(tmp_path / "case_007.npz")
    assert any("reader OurOwnIO is not known" in note for note in volume.notes)


def test_logits_are_named_and_turned(tmp_path: Path) -> None:
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


def test_other_scales_have_the_usual_words(tmp_path: Path) -> None:
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


def test_nnunet_1(tmp_path: Path) -> None:
    describe(tmp_path, {"0": "background", "1": "liver", "2": "tumour"}, reader=None)
    stored = softmax(logits_of(3)).astype(np.float16)
    volume = read(case(tmp_path, stored, key="softmax"))
    assert volume.channels == ("liver", "tumour")
    assert any("nnU-Net 1 wrote it" in note for note in volume.notes)


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


def test_nan_is_named(tmp_path: Path) -> None:
    describe(tmp_path)
    stored = softmax(logits_of(3))
    labels = stored.argmax(axis=0)
    stored[1, 2, 3, 1] = np.nan
    with pytest.raises(InputError, match=r"1 value that is not a number \(NaN\)"):
        read(case(tmp_path, stored, labels))


def test_info_says_what_it_is(tmp_path: Path) -> None:
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


def test_it_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nnU-Net .npz files are read, not written; write .nii.gz"):
        check_target(tmp_path / "out.npz")


def test_what_channels_are_that_nobody_describes() -> None:
    def found(array: NDArray[Any], axes: str = "CZYX") -> tuple[tuple[int, ...], str]:
        known = classes(Volume(array.astype(np.float32), axes))
        return known.labels, known.kind

    soft = softmax(logits_of(3))
    hard = (soft == soft.max(axis=0)).astype(np.float32)
    masked = soft * (np.arange(SHAPE[2]) > 1)
    assert found(soft) == found(soft, "TZYX") == found(masked) == found(hard) == ((0, 1, 2), "complete")
    # Masks of some organs: where none of them is, the background is.
    assert found(hard[1:]) == found(soft[1:]) == ((1, 2), "rest")
    assert found(np.sqrt(soft)) == ((1, 2, 3), "overlapping")
    assert found(soft[0], "ZYX") == ((1,), "rest")


@pytest.mark.parametrize("file_shape", [(4, 7, 5, 3), (4, 7, 5, 1, 3)])
def test_probabilities_of_monai_and_totalsegmentator(tmp_path: Path, file_shape: tuple[int, ...]) -> None:
    """Channels are the last axis, as nibabel counts: the fourth, or the fifth after a time of one step."""
    logits = logits_of(3)
    affine = np.diag([-0.8, -1.5, 3, 1])
    for name, array in (("prob", softmax(logits)), ("logits", logits)):
        moved = np.moveaxis(array, 0, -1).transpose(2, 1, 0, 3).reshape(file_shape)
        nibabel.save(nibabel.Nifti1Image(moved, affine), tmp_path / f"{name}.nii.gz")
    volume = read(tmp_path / "prob.nii.gz")
    assert volume.axes == ("TZYX" if len(file_shape) == 4 else "CTZYX")
    assert np.array_equal(volume.array.reshape(logits.shape), softmax(logits))
    found = classes(volume)
    assert (found.labels, found.kind) == ((0, 1, 2), "complete")
    chosen = argmax(volume, kind=found.kind, labels=found.labels)
    assert np.array_equal(chosen.reshape(SHAPE), logits.argmax(axis=0))
    one = read(tmp_path / "prob.nii.gz", channel=2)
    assert np.array_equal(one.array.reshape(SHAPE), softmax(logits)[2])
    axis = {"channel_axis": "T"} if len(file_shape) == 4 else {}
    turned = read(tmp_path / "logits.nii.gz", from_logits="softmax", **axis)  # type: ignore[arg-type]
    assert np.allclose(turned.array.reshape(logits.shape), softmax(logits), atol=1e-6)
    write(turned, tmp_path / "out.nii.gz")
    assert nibabel.load(tmp_path / "out.nii.gz").shape == file_shape
    assert np.allclose(nibabel.load(tmp_path / "out.nii.gz").affine, affine)


NO_LABELS = [
    *(
        "1e999",
        "-Infinity",
        "NaN",
        '"one"',
        "null",
        "true",
        "false",
        "-1",
        "1.5",
        "65536",
        "1e300",
        '"-1"',
        '"1.5"',
    ),
    *('""', '"1 "', '"²"', "{}", "9" * 4000, '"' + "9" * 5000 + '"'),
]


@pytest.mark.parametrize(
    "label", [*NO_LABELS, "[1e999]", "[]", "[[1, 2]]", "[1, 1.5]", "[1, true]", '[1, "x"]']
)
def test_a_label_that_is_no_number_is_named(tmp_path: Path, label: str) -> None:
    path = case(tmp_path, softmax(logits_of(3)))
    text = f'{{"labels": {{"background": 0, "liver": {label}, "tumour": 2}}, "file_ending": ".nii.gz"}}'
    (tmp_path / "dataset.json").write_text(text)
    said = r"the labels in the dataset\.json of .* a whole number from 0 to 65535.*, not \{\"liver\": "
    with pytest.raises(InputError, match=said):
        read(path)
    assert any("the labels in the dataset.json" in note for note in probe(path).notes)


@pytest.mark.parametrize("named", ["3", "true", '"3"', '["background", "liver"]', "[1]"])
def test_labels_that_have_no_names_are_refused(tmp_path: Path, named: str) -> None:
    path = case(tmp_path, softmax(logits_of(3)))
    (tmp_path / "dataset.json").write_text(f'{{"labels": {named}}}')
    with pytest.raises(InputError, match=r"the labels in the dataset\.json"):
        read(path)


@pytest.mark.parametrize("label", ["2", "2.0", '"2"', "[2]", '["2"]', "[2.0]"])
def test_a_label_is_a_whole_number_however_it_is_spelt(tmp_path: Path, label: str) -> None:
    stored = softmax(logits_of(3))
    values = np.array([0, 2, 65535])
    path = case(tmp_path, stored)
    SimpleITK.WriteImage(
        image_of(values[stored.argmax(axis=0)].astype(np.uint16)), str(tmp_path / "case_007.nii.gz")
    )
    text = f'{{"labels": {{"background": "0", "liver": {label}, "tumour": 65535}}}}'
    (tmp_path / "dataset.json").write_text(text)
    volume = read(path)
    assert volume.channels == ("liver", "tumour")
    assert classes(volume).labels == (2, 65535)
    assert not any("numbers the classes" in note for note in volume.notes)


def test_names_that_are_numbers_are_no_labels(tmp_path: Path) -> None:
    """{"1": 2} is class "1" of label 2, and {"1": "2"} class "2" of label 1, as nnU-Net 1 writes it."""
    stored = softmax(logits_of(3))
    describe(tmp_path, {"0": 0, "1": 2, "2": 1})
    path = case(tmp_path, stored)
    assert read(path).channels == ("2", "1")
    describe(tmp_path, {"0": "0", "1": "2", "2": "1"})
    assert read(path).channels == ("2", "1")
    describe(tmp_path, {"0": "0", "1": "5", "2": "5"})
    assert read(path).channels == ("5", "5")
    describe(tmp_path, {"0": "background", "1": 5})
    with pytest.raises(InputError, match=r"the labels .* not \{\"0\": \"background\"\}"):
        read(path)


def test_two_names_of_one_label_are_both_kept(tmp_path: Path) -> None:
    describe(tmp_path, {"background": 0, "liver": 1, "tumour": 1})
    stored = softmax(logits_of(2))
    volume = read(case(tmp_path, stored))
    assert np.array_equal(volume.array, stored[1])
    assert "'liver / tumour' is read; 'background' is left out (channel=0 takes it)." in volume.notes


REGIONS: dict[str, Any] = {"background": 0, "whole": [1, 2], "core": [2]}


@pytest.mark.parametrize("label", [*NO_LABELS, "[1]"])
def test_an_order_of_regions_that_is_no_label_is_named(tmp_path: Path, label: str) -> None:
    path = case(tmp_path, 1 / (1 + np.exp(-logits_of(2))))
    text = json.dumps({"labels": REGIONS, "regions_class_order": [1, "HERE"]}).replace('"HERE"', label)
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(InputError, match=r"the regions_class_order in the dataset\.json .* 2 regions"):
        read(path)


@pytest.mark.parametrize("order", [[1, "2"], [1.0, 2], ["1", 2.0]])
def test_an_order_of_regions_however_it_is_spelt(tmp_path: Path, order: list[Any]) -> None:
    describe(tmp_path, REGIONS, regions_class_order=order)
    stored = (1 / (1 + np.exp(-logits_of(2)))).astype(np.float32)
    painted = np.where(stored[1] > 0.5, 2, stored[0] > 0.5)
    found = classes(read(case(tmp_path, stored, painted)))
    assert (found.labels, found.kind, found.regions) == ((1, 2), "nested", ((1, 2), (2,)))


@pytest.mark.parametrize("order", [None, [], [1], [1, 2, 3], [1, 1], [0, 1], 1])
def test_regions_without_a_label_of_their_own_are_apart(tmp_path: Path, order: Any) -> None:
    """Each of them is there, with what it is the union of."""
    describe(tmp_path, REGIONS, regions_class_order=order)
    stored = (1 / (1 + np.exp(-logits_of(2)))).astype(np.float32)
    volume = read(case(tmp_path, stored, stored[0] > 0.5))
    found = classes(volume)
    assert volume.channels == ("whole", "core")
    assert (found.labels, found.kind, found.regions) == ((1, 2), "overlapping", ((1, 2), (2,)))
    assert any("regions_class_order with a label of its own for each" in note for note in volume.notes)


def test_a_region_may_name_a_label_twice(tmp_path: Path) -> None:
    """A list of several makes regions for nnU-Net, whatever they are; lists of 0 are the background."""
    describe(tmp_path, {"background": [0, 0], "whole": [1, 1], "core": 2}, regions_class_order=[1, 2])
    stored = (1 / (1 + np.exp(-logits_of(2)))).astype(np.float32)
    painted = np.where(stored[1] > 0.5, 2, stored[0] > 0.5)
    found = classes(read(case(tmp_path, stored, painted)))
    assert (found.kind, found.regions) == ("nested", ((1,), (2,)))


@pytest.mark.parametrize("reader", [5, True, False, ["SimpleITKIO"], {}])
def test_a_reader_that_is_no_name_is_refused(tmp_path: Path, reader: Any) -> None:
    path = case(tmp_path, softmax(logits_of(3)))
    describe(tmp_path, reader=None, overwrite_image_reader_writer=reader)
    with pytest.raises(InputError, match=r"the overwrite_image_reader_writer in the dataset\.json"):
        read(path)
    describe(tmp_path)
    (tmp_path / "plans.json").write_text(json.dumps({"image_reader_writer": reader}))
    with pytest.raises(InputError, match=r"the image_reader_writer in the plans\.json"):
        read(path)


@pytest.mark.parametrize("reader", [None, "", "None"])
def test_no_reader_is_that_of_simpleitk(tmp_path: Path, reader: str | None) -> None:
    describe(tmp_path, reader=None, overwrite_image_reader_writer=reader)
    stored = softmax(logits_of(3))
    volume = read(case(tmp_path, stored))
    assert np.array_equal(volume.array, stored[1:])
    assert not any("reader" in note for note in volume.notes)


@pytest.mark.parametrize(
    "spacing",
    ["[3, 1.5]", "[3, 1.5, 0]", "[3, 1.5, -1]", "[3, 1.5, NaN]", "[3, 1.5, 1e999]", "[3, 1.5, true]", "4", "null",
     '"345"', '{"z": 3}', "[3, 1.5, null]", "[3, 1.5, " + "9" * 400 + "]"],
)  # fmt: skip
def test_a_voxel_size_beside_pages_that_is_none_is_told(tmp_path: Path, spacing: str) -> None:
    describe(tmp_path, reader="Tiff3DIO", ending=".tif")
    stored = softmax(logits_of(3))
    np.savez_compressed(tmp_path / "case.npz", probabilities=stored)
    tifffile.imwrite(tmp_path / "case.tif", stored.argmax(axis=0).astype(np.uint8))
    (tmp_path / "case.json").write_text(f'{{"spacing": {spacing}}}')
    volume = read(tmp_path / "case.npz")
    assert volume.spacing is None
    assert any("the spacing in case.json must be three numbers above 0" in note for note in volume.notes)


def test_infinities_have_no_sum_and_no_warning(tmp_path: Path) -> None:
    describe(tmp_path)
    stored = softmax(logits_of(3))
    labels = stored.argmax(axis=0)
    stored[0, 0, 0, 0], stored[1, 0, 0, 0] = np.inf, -np.inf
    path = case(tmp_path, stored, labels)
    assert probe(path).infinities == 2
    with pytest.raises(InputError):
        read(path)


@pytest.mark.parametrize("ending", ["/dev/zero", "../case_007.nii.gz", "nii", "\0", "." * 500, 3])
def test_an_ending_that_is_none_is_passed_over(tmp_path: Path, ending: Any) -> None:
    describe(tmp_path, ending=ending)
    stored = softmax(logits_of(3))
    assert np.array_equal(read(case(tmp_path, stored)).array, stored[1:])
    (tmp_path / "case_007.nii.gz").unlink()
    with pytest.raises(FileError, match=r"case_007\.nii\.gz is not beside it"):
        read(tmp_path / "case_007.npz")
