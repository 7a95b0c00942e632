"""The filters on volumes and files: geometry goes along, lengths have units, and arrays do not have what they lack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import softmorph_cli as sm


@pytest.fixture
def bar() -> sm.Volume:
    """A bar of 5 x 5 x 9 voxels of 2 x 1 x 1 mm at 0.75."""
    array = np.zeros((9, 9, 13), np.float32)
    array[2:7, 2:7, 2:11] = 0.75
    return sm.Volume(array, "ZYX", spacing=(2.0, 1.0, 1.0), unit="mm")


def test_a_volume_keeps_its_place(bar: sm.Volume) -> None:
    found = sm.erosion(bar)
    assert (found.axes, found.spacing, found.unit) == ("ZYX", (2.0, 1.0, 1.0), "mm")
    assert np.array_equal(found.array, sm.erosion(bar.array))
    assert np.count_nonzero(found.array) == 3 * 3 * 7
    assert bar.array[2, 2, 2] == np.float32(0.75)


def test_a_length_with_a_unit_goes_by_the_voxel_size_of_the_volume(bar: sm.Volume) -> None:
    # 2 mm are one voxel along z, two along y and x.
    found = sm.erosion(bar, radius="2mm")
    assert np.count_nonzero(found.array) == 3 * 1 * 5
    assert np.array_equal(found.array, sm.erosion(bar, radius=2000e-3).array)
    assert np.array_equal(found.array, sm.erosion(bar.array, radius=2.0, spacing=(2.0, 1.0, 1.0)))


def test_a_path_is_read(bar: sm.Volume, tmp_path: Path) -> None:
    path = tmp_path / "map.nii.gz"
    sm.write(bar, path)
    for one in (path, str(path)):
        found = sm.closing(one, radius="2mm")
        assert found.spacing == (2.0, 1.0, 1.0)
        assert found.source is not None
        assert found.source.path == path
        assert np.array_equal(found.array, sm.closing(bar, radius="2mm").array)


def test_resampling_is_for_images_with_a_voxel_size(bar: sm.Volume) -> None:
    found = sm.skeletonize(bar, hard=True, resample="iso")
    assert found.spacing == (1.0, 1.0, 1.0)
    assert found.array.shape == (18, 9, 13)
    assert set(np.unique(found.array)) == {0.0, 1.0}
    for image in (bar.array, torch.from_numpy(bar.array)):
        with pytest.raises(sm.SoftmorphError, match=r"resample='iso' needs the voxel size.*pass a Volume"):
            sm.skeletonize(image, resample="iso")


def test_an_uneven_volume_is_warned_of_as_python_types_it(bar: sm.Volume) -> None:
    with pytest.warns(sm.SoftmorphWarning, match=r"add resample='iso'") as caught:
        sm.skeletonize(bar)
    assert caught[0].filename == __file__


def test_a_hard_skeleton_of_a_volume_is_a_mask_in_its_type(bar: sm.Volume) -> None:
    with pytest.warns(sm.SoftmorphWarning):
        found = sm.skeletonize(bar, hard=True)
    assert found.array.dtype == np.float32
    assert np.array_equal(found.array, sm.skeletonize(bar.array, hard=True))


def test_channels_are_filtered_one_by_one(bar: sm.Volume) -> None:
    both = sm.Volume(np.stack([bar.array, bar.array / 3]), "CZYX", bar.spacing, bar.unit, channels=("a", "b"))
    found = sm.erosion(both)
    assert found.channels == ("a", "b")
    assert np.array_equal(found.array[1], sm.erosion(bar.array / 3))


def test_sampling_gives_two_volumes(bar: sm.Volume) -> None:
    both: Any = sm.erosion(bar, method="sampled", levels=64, seed=1)
    mean, error = both
    of_array = sm.erosion(bar.array, method="sampled", levels=64, seed=1)
    assert np.array_equal(mean.array, of_array[0])
    assert np.array_equal(error.array, of_array[1])
    assert error.spacing == bar.spacing


def test_a_threshold_of_a_nested_skeleton_file_goes_to_the_nearest_level(
    bar: sm.Volume, tmp_path: Path
) -> None:
    made = {"parameters": {"method": "nested", "levels": 8}}
    sm.write(sm.Volume(bar.array, "ZYX", (1.0, 1.0, 1.0), "mm"), tmp_path / "s.nii.gz", provenance=made)
    found = sm.skeletonize(tmp_path / "s.nii.gz", hard=True, threshold=0.3)
    assert found.notes[-1].startswith("threshold 0.3 -> 0.25")


@pytest.mark.parametrize("given", [{"spacing": (1.0, 1.0, 1.0)}, {"unit": "um"}, {"spatial_dims": 3}])
def test_what_a_volume_holds_is_not_given_again(bar: sm.Volume, given: dict[str, Any]) -> None:
    with pytest.raises(sm.SoftmorphError, match="for arrays alone"):
        sm.erosion(bar, **given)


def test_an_error_names_the_file(bar: sm.Volume, tmp_path: Path) -> None:
    sm.write(bar, tmp_path / "map.nii.gz")
    with pytest.raises(sm.SoftmorphError, match=r"map\.nii\.gz: radius 0\.5 mm is smaller than one voxel"):
        sm.erosion(tmp_path / "map.nii.gz", radius="0.5mm")
    with pytest.raises(sm.SoftmorphError, match=r"there_is_none\.nii"):
        sm.erosion(tmp_path / "there_is_none.nii")


def test_the_image_may_be_named() -> None:
    assert np.array_equal(sm.erosion(image=[[0.9, 0.2, 0.9]]), [[0.2, 0.2, 0.2]])  # type: ignore[call-overload]


def test_a_misspelt_keyword_is_named_with_the_one_that_was_meant() -> None:
    image = np.zeros((3, 3))
    expected = r"^skeletonize\(\) got an unexpected keyword argument 'methd' \(did you mean 'method'\?\)$"
    with pytest.raises(TypeError, match=expected):
        sm.skeletonize(image, methd="nested")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"^erosion\(\) got an unexpected keyword argument 'zzz'$"):
        sm.erosion(image, zzz=1)  # type: ignore[call-overload]
