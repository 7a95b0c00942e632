from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from softmorph_cli.errors import FileError, InputError, SoftmorphError
from softmorph_cli.io.blocks import open_blocks
from softmorph_cli.io.reading import read

# Stored as 200 times a probability, up to 1.
MAP = np.round(np.random.default_rng(8).random((3, 6, 7)) * 200).astype(np.uint8)
MAP[0, 0, :2] = 0, 200
SCALED = (
    '<GDALMetadata><Item name="SCALE" sample="0" role="scale">0.005</Item>'
    '<Item name="OFFSET" sample="0" role="offset">0</Item></GDALMetadata>'
)
PLACED = [(33550, "d", 3, (10.0, 10.0, 0.0), True), (34735, "H", 4, (1, 1, 0, 0), True)]


def plain(path: Path, array: Any, **tags: str) -> Path:
    numbers = {"metadata": 42112, "absent": 42113}
    extra = [(numbers[name], "s", 0, text, True) for name, text in tags.items()]
    tifffile.imwrite(path, array, metadata=None, photometric="minisblack", extratags=extra)
    return path


def test_the_line_of_imagej_is_applied_with_a_note(tmp_path: Path) -> None:
    stated = {"axes": "ZYX", "cf": 0, "c0": 0.0, "c1": 0.005, "vunit": "p"}
    tifffile.imwrite(tmp_path / "map.tif", MAP, imagej=True, metadata=stated)
    volume = read(tmp_path / "map.tif")
    np.testing.assert_allclose(volume.array, MAP / 200, atol=1e-6)
    assert "its values are the stored numbers times 0.005 plus 0, as it says of them." in volume.notes


def test_signed_numbers_of_imagej_are_moved(tmp_path: Path) -> None:
    # ImageJ keeps 16 bits with a sign as those without, and a line that takes 32768 off.
    stored = (MAP.astype(np.int32) + 32768).astype(np.uint16)
    stated = {"axes": "ZYX", "cf": 0, "c0": -32768.0, "c1": 1.0}
    tifffile.imwrite(tmp_path / "map.tif", stored, imagej=True, metadata=stated)
    volume = read(tmp_path / "map.tif", divide_by=200)
    np.testing.assert_allclose(volume.array, MAP / 200, atol=1e-6)


def test_a_curve_of_imagej_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "map.tif", MAP, imagej=True, metadata={"axes": "ZYX", "cf": 4, "c0": 1.0})
    with pytest.raises(FileError, match="calibrated by ImageJ's function 4"):
        read(tmp_path / "map.tif")


def test_without_a_line_the_type_s_maximum_is_1(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "map.tif", MAP, imagej=True, metadata={"axes": "ZYX", "cf": 20})
    np.testing.assert_allclose(read(tmp_path / "map.tif").array, MAP / 255, atol=1e-6)


def test_the_scale_of_gdal_is_applied(tmp_path: Path) -> None:
    volume = read(plain(tmp_path / "map.tif", MAP[0], metadata=SCALED))
    np.testing.assert_allclose(volume.array, MAP[0] / 200, atol=1e-6)


def test_a_scale_of_0_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="scaled by 0"):
        read(plain(tmp_path / "map.tif", MAP[0], metadata=SCALED.replace("0.005", "0")))


@pytest.mark.parametrize("absent", [-9999.0, -1.0, 255.0])
def test_pixels_without_a_value_are_refused(tmp_path: Path, absent: float) -> None:
    array = MAP[0].astype(np.float32) / 200 if absent < 0 else MAP[0].copy()
    array[2:4] = absent
    path = plain(tmp_path / "map.tif", array, absent=f"{absent:g}")
    with pytest.raises(InputError, match=r"14 values that are not a number .* leave them out with mask=FILE"):
        read(path)
    with pytest.raises(SoftmorphError, match=r"not a number|have no value"):
        open_blocks(path).read((slice(0, 6), slice(0, 7)))
    inside = np.ones(array.shape, np.uint8)
    inside[2:4] = 0
    tifffile.imwrite(tmp_path / "inside.tif", inside)
    volume = read(path, mask=tmp_path / "inside.tif", divide_by=None if absent < 0 else 200)
    np.testing.assert_allclose(volume.array, np.where(inside, MAP[0] / 200, 0), atol=1e-6)


def test_an_absent_value_that_no_pixel_has_changes_nothing(tmp_path: Path) -> None:
    array = read(plain(tmp_path / "map.tif", MAP[0], absent="255")).array
    np.testing.assert_allclose(array, MAP[0] / 255, atol=1e-6)


def test_unused_metadata_have_a_note(tmp_path: Path) -> None:
    tags = [*PLACED, (274, "H", 1, 3, True)]
    tifffile.imwrite(tmp_path / "map.tif", MAP[0], metadata=None, extratags=tags)
    notes = read(tmp_path / "map.tif").notes
    assert any("GeoTIFF" in note for note in notes)
    assert any("Orientation 3" in note for note in notes)
