"""The two sides of an evaluation: maps, label maps, classes, slices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile

from softmorph_cli.errors import InputError
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.io.writing import write
from softmorph_cli.metrics.evaluation_inputs import (
    Compared,
    check_held,
    compared,
    open_prediction,
    open_reference,
)
from softmorph_cli.volume import Volume

READING = ReadOptions()
LABELS = np.random.default_rng(0).integers(0, 4, (4, 5, 6)).astype(np.uint8)
SOFT = np.random.default_rng(1).random((4, 5, 6)).astype(np.float32)


def saved(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


def save_nifti(array: np.ndarray, path: Path) -> None:
    make: Any = nibabel.Nifti1Image
    make(array.T, np.eye(4)).to_filename(path)


def classes(prediction: Path, reference: Path, *labels: int, **reading: Any) -> dict[int, Compared]:
    options = ReadOptions(**reading)
    mine = open_prediction(prediction, options, reference)
    its = open_reference(reference, options, labelled=bool(labels))
    return {one.label: one for one in compared(mine, its, labels, same_grid=False)}


def test_a_map_and_a_mask(tmp_path: Path) -> None:
    found = classes(saved(tmp_path / "p.npy", SOFT), saved(tmp_path / "r.npy", (LABELS > 1).astype(np.uint8)))
    assert list(found) == [1]
    assert np.array_equal(found[1].prediction.array, SOFT)
    assert np.array_equal(found[1].reference.array, LABELS > 1)
    assert found[1].name is None


def test_two_soft_maps(tmp_path: Path) -> None:
    found = classes(saved(tmp_path / "p.npy", SOFT), saved(tmp_path / "r.npy", SOFT[::-1]))
    assert np.array_equal(found[1].reference.array, SOFT[::-1])


def test_labels_that_only_one_has_are_empty_in_the_other(tmp_path: Path) -> None:
    mine = saved(tmp_path / "p.npy", np.where(LABELS == 2, 0, LABELS))
    its = saved(tmp_path / "r.npy", np.where(LABELS == 3, 0, LABELS))
    found = classes(mine, its)
    assert list(found) == [1, 2, 3]
    assert not found[2].prediction.array.any()
    assert np.array_equal(found[2].reference.array, LABELS == 2)
    assert not found[3].reference.array.any()
    # As where nothing was found of any class.
    empty = saved(tmp_path / "e.npy", np.zeros_like(LABELS))
    assert not any(one.prediction.array.any() for one in classes(empty, its).values())


def test_a_reference_of_grey_values_has_labels_if_labels_are_given(tmp_path: Path) -> None:
    grey = np.arange(120, dtype=np.uint8).reshape(4, 5, 6)
    found = classes(saved(tmp_path / "p.npy", SOFT), saved(tmp_path / "r.npy", grey), 77)
    assert found[77].reference.array.sum() == 1


def test_channels_by_their_names(tmp_path: Path) -> None:
    pair = Volume(np.stack([SOFT, SOFT[::-1]]), "CZYX", (2.0, 1.0, 1.0), "um", channels=("axon", "soma"))
    write(pair, tmp_path / "p.ome.tif")
    its = tmp_path / "r.ome.tif"
    tifffile.imwrite(its, LABELS % 3, metadata={"axes": "ZYX"}, ome=True)
    found = classes(tmp_path / "p.ome.tif", its)
    assert [one.name for one in found.values()] == ["axon", "soma"]
    assert np.array_equal(found[2].prediction.array, SOFT[::-1])
    assert np.array_equal(found[2].reference.array, LABELS % 3 == 2)
    # One channel is one map: its label has to be given.
    with pytest.raises(InputError, match="such as label=1"):
        classes(tmp_path / "p.ome.tif", its, channel="soma")
    (one,) = classes(tmp_path / "p.ome.tif", its, 2, channel="soma").values()
    assert np.array_equal(one.prediction.array, SOFT[::-1])


def test_the_background_of_a_softmax_is_no_class(tmp_path: Path) -> None:
    p = np.stack([1 - SOFT, SOFT / 2, SOFT / 2])
    save_nifti(p, tmp_path / "p.nii")
    one_hot = np.stack([k == LABELS for k in (0, 1, 2)]).astype(np.uint8)
    one_hot[0] = 1 - one_hot[1] - one_hot[2]
    save_nifti(one_hot, tmp_path / "r.nii")
    found = classes(tmp_path / "p.nii", tmp_path / "r.nii")
    assert list(found) == [1, 2]
    for label, one in found.items():
        np.testing.assert_array_equal(one.prediction.array, p[label])
        assert np.array_equal(one.reference.array, label == LABELS)


def test_slices_are_separate_images(tmp_path: Path) -> None:
    mine, its = saved(tmp_path / "p.npy", SOFT), saved(tmp_path / "r.npy", (LABELS > 1).astype(np.uint8))
    found = classes(mine, its, per_slice=True)
    assert [one.name for one in found.values()] == [f"slice {k}" for k in range(4)]
    assert np.array_equal(found[3].prediction.array, SOFT[2])
    assert np.array_equal(found[3].reference.array, LABELS[2] > 1)
    with pytest.raises(InputError, match="file of its own"):
        classes(mine, saved(tmp_path / "labels.npy", LABELS), per_slice=True)


def test_axes_apply_to_both_files_if_they_fit(tmp_path: Path) -> None:
    mine = saved(tmp_path / "p.npy", np.moveaxis(np.stack([1 - SOFT, SOFT]), 0, -1))
    its = saved(tmp_path / "r.npy", (LABELS > 1).astype(np.uint8))
    (one,) = classes(mine, its, axes="ZYXC").values()
    assert np.array_equal(one.prediction.array, SOFT)
    turned = saved(tmp_path / "t.npy", (LABELS > 1).astype(np.uint8).T)
    (one,) = classes(saved(tmp_path / "q.npy", SOFT.T), turned, axes="XYZ").values()
    assert np.array_equal(one.prediction.array, SOFT)
    assert np.array_equal(one.reference.array, LABELS > 1)


def test_a_region_and_a_mask_apply_to_both_files(tmp_path: Path) -> None:
    mine, its = saved(tmp_path / "p.npy", SOFT), saved(tmp_path / "r.npy", LABELS)
    inside = saved(tmp_path / "m.npy", (SOFT > 0.5).astype(np.uint8))
    (one,) = classes(mine, its, 2, region="1:3,:,2:", mask=inside).values()
    cut = (slice(1, 3), slice(None), slice(2, None))
    assert np.array_equal(one.prediction.array, np.where(SOFT > 0.5, SOFT, 0)[cut])
    assert np.array_equal(one.reference.array, ((LABELS == 2) & (SOFT > 0.5))[cut])


def test_a_label_in_neither_file_is_an_error_unless_both_are_empty(tmp_path: Path) -> None:
    mine = open_prediction(saved(tmp_path / "p.npy", LABELS), READING, tmp_path)
    its = open_reference(saved(tmp_path / "r.npy", LABELS % 2), READING, labelled=True)
    check_held(mine, its, (3, 1))
    with pytest.raises(InputError, match="no label 4"):
        check_held(mine, its, (4,))
    soft = open_prediction(saved(tmp_path / "s.npy", SOFT), READING, tmp_path)
    with pytest.raises(InputError, match=r"r\.npy holds 1\."):
        check_held(soft, its, (2,))
    empty = open_reference(saved(tmp_path / "e.npy", 0 * LABELS), READING, labelled=True)
    check_held(soft, empty, (2,))


@pytest.mark.parametrize("argmax", [True, False])
@pytest.mark.parametrize("channel", [0, 2])
def test_one_of_several_exclusive_classes_is_compared_with_its_own_label(
    tmp_path: Path, channel: int, argmax: bool
) -> None:
    soft = np.full((4, 4, 5, 6), 0.1, np.float32)
    np.put_along_axis(soft, LABELS[None].astype(np.intp), np.float32(0.7), axis=0)
    map_, labels = tmp_path / "p.nii", tmp_path / "r.nii"
    save_nifti(soft, map_)
    save_nifti(LABELS, labels)
    for other in (labels, map_):
        mine = open_prediction(map_, replace(READING, channel=channel), other, argmax=argmax)
        its = open_reference(other, READING, labelled=False)
        (one,) = compared(mine, its, (), same_grid=False)
        assert one.label == channel
        assert np.array_equal(one.prediction.array, soft[channel])
        assert np.array_equal(one.reference.array > 0.5, channel == LABELS)
        assert (one.decided.prediction is None) != argmax
    # A mask has no labels that could be compared with others.
    mask = saved(tmp_path / "m.npy", np.equal(LABELS, channel).astype(np.uint8))
    assert list(classes(map_, mask, channel=channel)) == [1]
