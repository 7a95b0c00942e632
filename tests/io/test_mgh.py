"""FreeSurfer's .mgz and .mgh, as nibabel writes and reads them."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_typing import nibabel

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.io.blocks import open_blocks
from softmorph_cli.io.reading import read, read_labels
from softmorph_cli.io.writing import write, write_labels
from softmorph_cli.volume import Volume

SOFT = np.random.default_rng(0).random((4, 5, 6), dtype=np.float32)
OBLIQUE = np.array([[0, -2, 0, 3.5], [1, 0, 0.25, -8], [0, 0.5, 3, 1], [0, 0, 0, 1]])


def save(path: Path, array: Any, affine: Any = OBLIQUE, **fields: Any) -> Path:
    image = nibabel.MGHImage(array, affine)
    for name, value in fields.items():
        image.header[name] = value
    image.to_filename(path)
    return path


def judged(path: Path) -> Any:
    """The image as nibabel reads it; from its bytes, because nibabel leaves an .mgh open."""
    content = path.read_bytes()
    return nibabel.MGHImage.from_bytes(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)


@pytest.mark.parametrize("suffix", [".mgz", ".mgh"])
def test_values_and_geometry_equal_those_of_nibabel(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"map{suffix}", SOFT.T)
    volume, judge = read(path), judged(path)
    assert np.array_equal(volume.array, judge.get_fdata().T)
    assert volume.affine is not None
    assert np.allclose(volume.affine[:, [2, 1, 0, 3]], judge.affine, atol=1e-6)
    assert volume.spacing == pytest.approx(judge.header.get_zooms()[::-1], rel=1e-6)
    assert (volume.axes, volume.unit, volume.notes) == ("ZYX", "mm", ())
    # A NIfTI of the same geometry.
    write(volume, tmp_path / "map.nii.gz")
    assert np.allclose(nibabel.load(tmp_path / "map.nii.gz").affine, judge.affine, atol=1e-5)


def test_a_region_lies_where_it_lay_in_the_map(tmp_path: Path) -> None:
    path = save(tmp_path / "map.mgz", SOFT.T)
    write(read(path, region="2:,1:4,3:6"), tmp_path / "part.mgz")
    judge = judged(tmp_path / "part.mgz")
    assert np.array_equal(judge.get_fdata().T, SOFT[2:, 1:4, 3:6])
    assert np.allclose(judge.affine @ [0, 0, 0, 1], OBLIQUE @ [3, 1, 2, 1], atol=1e-5)
    assert np.allclose(judge.affine[:3, :3], OBLIQUE[:3, :3], atol=1e-6)


@pytest.mark.parametrize("suffix", [".mgz", ".mgh", ".mgh.gz"])
def test_what_is_written_is_read_by_nibabel(tmp_path: Path, suffix: str, volume: Volume) -> None:
    path = tmp_path / f"out{suffix}"
    assert write(volume, path) == []
    judge = judged(path)
    assert volume.affine is not None
    assert np.allclose(judge.affine[:, [2, 1, 0, 3]], volume.affine, rtol=1e-5, atol=1e-5)
    assert np.array_equal(judge.get_fdata().T, volume.array)
    back = read(path)
    assert back.spacing == pytest.approx(volume.spacing, rel=1e-6)


def test_frames_and_the_time_between_them(tmp_path: Path) -> None:
    frames = np.stack([SOFT, 1 - SOFT, SOFT / 2])
    path = save(tmp_path / "map.mgz", frames.T, tr=2000)
    volume = read(path)
    assert (volume.axes, volume.class_axis()) == ("TZYX", 0)
    assert volume.source is not None
    assert volume.source.header.time_step.size == 2.0
    assert write(volume, tmp_path / "out.mgz") == []
    judge = judged(tmp_path / "out.mgz")
    assert np.array_equal(judge.get_fdata().T, frames)
    assert judge.header["tr"] == 2000
    assert np.array_equal(read(path, channel=1).array, 1 - SOFT)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.uint16])
def test_labels_of_each_type(tmp_path: Path, kind: Any) -> None:
    labels = (np.digitize(SOFT, (0.25, 0.5, 0.75)) * (80 if kind == np.uint8 else 1000)).astype(kind)
    found = read_labels(save(tmp_path / "aseg.mgz", labels.T), surely=True)
    assert found is not None
    assert np.array_equal(found[0], labels)
    write_labels(found[0], found[1], tmp_path / "out.mgz")
    judge = judged(tmp_path / "out.mgz")
    assert np.array_equal(np.asarray(judge.dataobj).T, labels)
    assert judge.get_data_dtype().newbyteorder("=") == (np.uint8 if kind == np.uint8 else np.int32)
    with pytest.raises(InputError, match="MGH holds labels up to 2147483647"):
        write_labels(np.full(SOFT.shape, 1 << 31), Volume(SOFT, "ZYX"), tmp_path / "more.mgz")


def test_a_position_that_the_header_does_not_state_is_not_filled_in(tmp_path: Path) -> None:
    volume = read(save(tmp_path / "map.mgz", SOFT.T, goodRASFlag=0))
    assert (volume.affine, volume.spacing, volume.unit) == (None, None, None)
    assert "states no position" in volume.notes[0]
    assert write(Volume(SOFT, "ZYX", (2.0, 1.0, 1.0), "um"), tmp_path / "out.mgz") == [
        "MGH states a voxel size with an orientation only, which the map has not."
    ]
    assert read(tmp_path / "out.mgz").spacing is None


def test_a_plane_and_bytes_and_what_it_cannot_hold(tmp_path: Path) -> None:
    flat = Volume(SOFT[0], "YX")
    notes = write(flat, tmp_path / "out.mgz", output_type="uint8")
    assert "MGH does not say that 255 means 1; read it with divide_by=255." in notes
    assert np.abs(read(tmp_path / "out.mgz", divide_by=255).array - SOFT[0]).max() < 0.003
    with pytest.raises(InputError, match="MGH holds one axis beside x, y and z"):
        write(Volume(SOFT[None, None], "TCZYX"), tmp_path / "more.mgz")


def test_blocks_of_an_uncompressed_file(tmp_path: Path) -> None:
    blocks = open_blocks(save(tmp_path / "map.mgh", SOFT.T))
    assert not blocks.in_memory
    assert np.array_equal(blocks.read((slice(1, 3), slice(0, 5), slice(2, 6))), SOFT[1:3, :, 2:6])


def test_damage_and_hostile_headers(tmp_path: Path) -> None:
    content = bytearray(gzip.decompress(save(tmp_path / "map.mgz", SOFT.T).read_bytes()))
    path = tmp_path / "bad.mgh"
    for at, number, text in (
        (4, 1 << 23, "ends too early"),
        (16, 1 << 23, "ends too early"),
        (20, 2, r"is called \.mgh but it starts with"),
        (4, 0, "is empty: its shape"),
    ):
        changed = bytearray(content)
        changed[at : at + 4] = number.to_bytes(4, "big")
        path.write_bytes(changed)
        with pytest.raises((FileError, InputError), match=text):
            read(path)
    path.write_bytes(content[:100])
    with pytest.raises(FileError, match="ends too early"):
        read(path)
    path.write_bytes(content)
    path.rename(tmp_path / "bad.mgz")
    with pytest.raises(FileError, match=r"called \.mgz but is not compressed; rename it: mv .*bad\.mgh"):
        read(tmp_path / "bad.mgz")
    (tmp_path / "packed.mgh").write_bytes(gzip.compress(content))
    with pytest.raises(FileError, match=r"called \.mgh but is compressed; rename it: mv .*packed\.mgz"):
        read(tmp_path / "packed.mgh")
