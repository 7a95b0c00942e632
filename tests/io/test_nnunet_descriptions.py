"""The descriptions beside nnU-Net's .npz: names, labels, regions, readers and file endings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from helpers_nnunet import SHAPE, case, describe, image_of, logits_of, softmax
from helpers_typing import SimpleITK, nibabel
from numpy.typing import NDArray

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.filters.channels import argmax
from softmorph_cli.io.nnunet import classes
from softmorph_cli.io.probing import probe
from softmorph_cli.io.reading import read
from softmorph_cli.io.writing import write
from softmorph_cli.volume import Volume


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


def test_without_a_description_the_sums_decide(tmp_path: Path) -> None:
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


def test_nnunet_1(tmp_path: Path) -> None:
    describe(tmp_path, {"0": "background", "1": "liver", "2": "tumour"}, reader=None)
    stored = softmax(logits_of(3)).astype(np.float16)
    volume = read(case(tmp_path, stored, key="softmax"))
    assert volume.channels == ("liver", "tumour")
    assert any("nnU-Net 1 wrote it" in note for note in volume.notes)


def test_the_kind_of_channels_without_a_description() -> None:
    def found(array: NDArray[Any], axes: str = "CZYX") -> tuple[tuple[int, ...], str]:
        known = classes(Volume(array.astype(np.float32), axes))
        return known.labels, known.kind

    soft = softmax(logits_of(3))
    hard = (soft == soft.max(axis=0)).astype(np.float32)
    masked = soft * (np.arange(SHAPE[2]) > 1)
    assert found(soft) == found(masked) == found(hard) == ((0, 1, 2), "complete")
    # Times that happen to sum to 1 or less are no classes.
    assert found(soft, "TZYX") == ((1, 2, 3), "overlapping")
    assert found(soft[1:], "TZYX") == ((1, 2), "overlapping")
    # Masks of organs: the background is where there is none.
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
def test_a_label_that_is_no_number_is_refused_by_name(tmp_path: Path, label: str) -> None:
    path = case(tmp_path, softmax(logits_of(3)))
    text = f'{{"labels": {{"background": 0, "liver": {label}, "tumour": 2}}, "file_ending": ".nii.gz"}}'
    (tmp_path / "dataset.json").write_text(text)
    messages = r"the labels in the dataset\.json of .* a whole number from 0 to 65535.*, not \{\"liver\": "
    with pytest.raises(InputError, match=messages):
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
    assert "'liver / tumour' is read; 'background' is left out." in volume.notes


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
    """Any list of several labels is a region for nnU-Net; lists of 0 are the background."""
    describe(tmp_path, {"background": [0, 0], "whole": [1, 1], "core": 2}, regions_class_order=[1, 2])
    stored = (1 / (1 + np.exp(-logits_of(2)))).astype(np.float32)
    painted = np.where(stored[1] > 0.5, 2, stored[0] > 0.5)
    found = classes(read(case(tmp_path, stored, painted)))
    assert (found.kind, found.regions) == ("nested", ((1,), (2,)))


@pytest.mark.parametrize("reader", [5, True, False, ["SimpleITKIO"], {}])
def test_a_reader_that_is_no_string_is_refused(tmp_path: Path, reader: Any) -> None:
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
def test_an_invalid_voxel_size_beside_pages_has_a_note(tmp_path: Path, spacing: str) -> None:
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
def test_an_invalid_file_ending_is_ignored(tmp_path: Path, ending: Any) -> None:
    describe(tmp_path, ending=ending)
    stored = softmax(logits_of(3))
    assert np.array_equal(read(case(tmp_path, stored)).array, stored[1:])
    (tmp_path / "case_007.nii.gz").unlink()
    with pytest.raises(FileError, match=r"case_007\.nii\.gz is not beside it"):
        read(tmp_path / "case_007.npz")
