"""Segmentations in DICOM as highdicom writes them, judged by SimpleITK and by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_dicom import COLUMN, ORIGIN, ROW, SPACING, STEP, image, segmentation
from helpers_typing import SimpleITK

from softmorph_cli.errors import FileError, InputError, UsageError
from softmorph_cli.io.documents import described
from softmorph_cli.io.reading import read, read_labels
from softmorph_cli.io.writing import write
from softmorph_cli.pipeline.subjects import read_subjects
from softmorph_cli.volume import Volume

SOFT = np.random.default_rng(0).random((5, 6, 7), dtype=np.float32)


def save(path: Path, array: Any, kind: str = "FRACTIONAL", **more: Any) -> Path:
    path.write_bytes(segmentation(array, kind, **more))
    return path


def in_order_of_slices(volume: Volume, values: Any) -> Any:
    """Return values of the map in the order of the drawn slices, found by their positions; checks every voxel's."""
    assert volume.affine is not None
    index = np.indices(SOFT.shape).reshape(3, -1).T
    places = (np.diag([-1, -1, 1]) @ (volume.affine[:3, :3] @ index.T + volume.affine[:3, 3:])).T - ORIGIN
    axes = np.array(
        [STEP * np.cross(ROW, COLUMN), np.multiply(SPACING[0], COLUMN), np.multiply(SPACING[1], ROW)]
    )
    drawn = places @ np.linalg.inv(axes)
    assert np.allclose(drawn, np.rint(drawn), atol=1e-5)
    found = np.empty_like(values)
    found[tuple(np.rint(drawn).astype(int).T)] = values.reshape(-1)
    return found


@pytest.mark.parametrize("most", [255, 100])
def test_fractions_are_probabilities_and_lie_where_the_header_says(tmp_path: Path, most: int) -> None:
    path = save(tmp_path / "seg.dcm", SOFT, max_fractional_value=most)
    volume = read(path)
    assert (volume.axes, volume.unit) == ("ZYX", "mm")
    assert volume.spacing == pytest.approx((STEP, *SPACING))
    assert np.abs(in_order_of_slices(volume, volume.array) - SOFT).max() <= 0.5 / most + 1e-6
    judge = SimpleITK.ReadImage(str(path))
    assert np.allclose(volume.array, SimpleITK.GetArrayFromImage(judge) / most, atol=1e-6)
    write(volume, tmp_path / "seg.nii.gz")
    again = SimpleITK.ReadImage(str(tmp_path / "seg.nii.gz"))
    for corner in ((0, 0, 0), (6, 5, 4)):
        ours, theirs = (one.TransformIndexToPhysicalPoint(corner) for one in (again, judge))
        assert ours == pytest.approx(theirs, abs=1e-4)


def test_occupancy_is_told(tmp_path: Path) -> None:
    volume = read(save(tmp_path / "seg.dcm", SOFT, fractional_type="OCCUPANCY"))
    assert volume.notes == ("its fractions are of volume (occupancy), and are taken as probabilities.",)


def test_segments_are_channels_with_their_labels(tmp_path: Path) -> None:
    masks = np.stack([SOFT > 0.6, SOFT < 0.3], axis=-1).astype(np.uint8)
    path = save(tmp_path / "seg.dcm", masks, "BINARY")
    volume = read(path)
    assert (volume.axes, volume.channels) == ("CZYX", ("vessel 1", "vessel 2"))
    for number in range(2):
        assert np.array_equal(in_order_of_slices(volume, volume.array[number]), masks[..., number])
    assert np.array_equal(read(path, channel="vessel 2").array, volume.array[1])


@pytest.mark.parametrize("kind", ["FRACTIONAL", "BINARY"])
def test_a_single_segment_keeps_its_label(tmp_path: Path, kind: str) -> None:
    array = SOFT if kind == "FRACTIONAL" else (SOFT > 0.6).astype(np.uint8)
    volume = read(save(tmp_path / "seg.dcm", array, kind))
    assert volume.axes == "ZYX"
    assert volume.source is not None
    assert (volume.source.channel, described(volume)["channel"]) == ("vessel 1", "vessel 1")
    (subject,) = read_subjects(tmp_path)
    assert subject.classes == ("vessel 1",)


def test_a_region_lies_where_it_lay_in_the_series(tmp_path: Path) -> None:
    path = save(tmp_path / "seg.dcm", SOFT)
    whole, part = SimpleITK.ReadImage(str(path)), tmp_path / "part.nii.gz"
    write(read(path, region="2:,1:5,3:6"), part)
    judge = SimpleITK.ReadImage(str(part))
    assert np.allclose(
        SimpleITK.GetArrayFromImage(judge), SimpleITK.GetArrayFromImage(whole)[2:, 1:5, 3:6] / 255, atol=1e-6
    )
    assert judge.GetOrigin() == pytest.approx(whole.TransformIndexToPhysicalPoint((3, 1, 2)), abs=1e-4)


def test_label_maps(tmp_path: Path) -> None:
    labels = np.digitize(SOFT, (0.3, 0.6, 0.9)).astype(np.uint8)
    path = save(tmp_path / "seg.dcm", labels, "LABELMAP")
    found = read_labels(path)
    assert found is not None
    assert np.array_equal(in_order_of_slices(found[1], found[0]), labels)
    with pytest.raises(InputError, match="label=1"):
        read(path)


def test_other_kinds_of_dicom_and_damage(tmp_path: Path) -> None:
    (tmp_path / "ct.dcm").write_bytes(image())
    with pytest.raises(InputError, match=r"class CT Image Storage, and segmentations are read; .*dcm2niix"):
        read(tmp_path / "ct.dcm")
    (tmp_path / "none.dcm").write_bytes(bytes(128) + b"DICM")
    with pytest.raises(InputError, match="is DICOM of no class"):
        read(tmp_path / "none.dcm")
    content = segmentation(SOFT)
    for size in (140, len(content) // 2, len(content) - 40):
        (tmp_path / "cut.dcm").write_bytes(content[:size])
        with pytest.raises((FileError, InputError), match=r"cut\.dcm"):
            read(tmp_path / "cut.dcm")
    with pytest.raises(UsageError, match=r"DICOM files are read, not written; write \.nii\.gz instead"):
        write(Volume(SOFT, "ZYX"), tmp_path / "out.dcm")


def test_without_its_library_the_command_that_installs_it_is_named(tmp_path: Path) -> None:
    path = save(tmp_path / "seg.dcm", SOFT)
    code = (
        "import sys; sys.modules['highdicom'] = None\n"
        "import softmorph_cli\ntry: softmorph_cli.read(sys.argv[1])\nexcept softmorph_cli.SoftmorphError as e: print(e)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert "pip install 'softmorph-cli[dicom]'" in ended.stdout
