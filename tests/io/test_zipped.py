"""Gzip: what is written is plain gzip, what is read takes no second copy, what is damaged says so."""

from __future__ import annotations

import bz2
import gzip
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_typing import nibabel

from softmorph_cli.errors import FileError
from softmorph_cli.io.probing import probe
from softmorph_cli.io.reading import read
from softmorph_cli.io.writing import write
from softmorph_cli.io.zipped import Unzipped
from softmorph_cli.volume import Volume


def test_gzip_files_are_reproducible_and_plain(volume: Volume, tmp_path: Path) -> None:
    for name in ("map.nii", "map.nii.gz", "other name.NII.GZ"):
        write(volume, tmp_path / name)
    first, second = ((tmp_path / name).read_bytes() for name in ("map.nii.gz", "other name.NII.GZ"))
    assert first == second
    assert first[:8] == b"\x1f\x8b\x08" + bytes(5)  # no name, no time
    assert gzip.decompress(first) == (tmp_path / "map.nii").read_bytes()
    np.testing.assert_array_equal(np.asarray(nibabel.load(tmp_path / "map.nii.gz").dataobj).T, volume.array)


def peak(work: Callable[[], Any]) -> int:
    tracemalloc.start()
    work()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


@pytest.mark.parametrize(("suffix", "stored", "copies"), [
    (".nii.gz", "float32", 1), (".nii", "float32", 1), (".nii", "float64", 1), (".nii.gz", "uint8", 1.25),
    (".nii.gz", "float64", 3),
])  # fmt: skip
def test_reading_allocates_one_map_and_the_file(
    tmp_path: Path, suffix: str, stored: str, copies: float
) -> None:
    array = np.random.default_rng(0).integers(0, 2, (150, 200, 100)).astype(stored)
    if stored != "uint8":
        array[0] = 0.5
    path = tmp_path / f"map{suffix}"
    nibabel.Nifti1Image(array, np.eye(4)).to_filename(path)
    read(path)  # imports
    size = array.size * np.dtype(np.float32).itemsize
    assert peak(lambda: read(path)) < copies * size + 5e6


def test_writing_allocates_no_copy(tmp_path: Path) -> None:
    volume = Volume(np.random.default_rng(0).random((150, 200, 100), dtype=np.float32), "ZYX")
    write(volume, tmp_path / "map.nii.gz")
    assert peak(lambda: write(volume, tmp_path / "map.nii.gz", force=True)) < 0.1 * volume.array.nbytes


def test_a_map_is_writeable_and_not_mapped(volume: Volume, tmp_path: Path) -> None:
    """What happens to the file later does not reach the map that was read from it."""
    for name in ("map.nii", "map.npy"):
        write(volume, tmp_path / name)
        found = read(tmp_path / name)
        with (tmp_path / name).open("r+b") as stream:
            stream.seek(400)
            stream.write(b"\xff" * 40)
        np.testing.assert_array_equal(found.array, volume.array)


def test_several_members_and_padding_are_gzip_too(volume: Volume, tmp_path: Path) -> None:
    path = tmp_path / "map.nii"
    write(volume, path)
    content = path.read_bytes()
    members = gzip.compress(content[:500]) + gzip.compress(content[500:]) + bytes(99)
    (tmp_path / "map.nii.gz").write_bytes(members)
    np.testing.assert_array_equal(read(tmp_path / "map.nii.gz").array, volume.array)


@pytest.mark.parametrize("behind", [b"trailing", b"\x1f", bytes(700) + b"x" * 3_000_000])
def test_bytes_after_the_stream_have_a_note(volume: Volume, tmp_path: Path, behind: bytes) -> None:
    write(volume, tmp_path / "map.nii.gz")
    with (tmp_path / "map.nii.gz").open("ab") as stream:
        stream.write(behind)
    found = read(tmp_path / "map.nii.gz")
    np.testing.assert_array_equal(found.array, volume.array)
    size = len(behind.lstrip(b"\0"))
    count, verb = ("1 byte", "is") if size == 1 else (f"{size:,} bytes", "are")
    assert found.notes == (f"{count} behind the end of its compressed data {verb} not used.",)


def test_a_file_that_is_unpacked_goes_forwards_and_backwards(tmp_path: Path) -> None:
    content = np.random.default_rng(0).integers(0, 9, 3_000_000, dtype=np.uint8).tobytes()
    for kind, pack in (("gzip", gzip.compress), ("zlib", zlib.compress), ("bzip2", bz2.compress)):
        (tmp_path / "packed").write_bytes(b"head" + pack(content))
        stream = (tmp_path / "packed").open("rb")
        stream.seek(4)
        with Unzipped(stream, kind) as unpacked:
            for start, count in ((2_000_000, 9), (5, 1_500_000), (2_999_998, 9), (0, 3)):
                assert unpacked.seek(start) == start
                assert unpacked.read(count) == content[start : start + count]
                assert unpacked.tell() == min(start + count, len(content))


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0x55]) + content[place:][1:]


@pytest.mark.parametrize(("damage", "reason"), [
    (lambda content: content[: len(content) // 2], "it ends too early"),
    (lambda content: content[:-4], "it ends too early"),
    (lambda content: content + content[:20], "it ends too early"),
    (lambda content: flipped(content, -6), "its compressed data do not unpack"),
    (lambda content: flipped(content, -2), "its compressed data do not unpack"),
    (lambda content: content[:10] + b"\xff" + content[11:], "its compressed data do not unpack"),
    (lambda content: flipped(content, len(content) // 2), ""),
])  # fmt: skip
def test_damage_is_one_sentence(
    volume: Volume, tmp_path: Path, damage: Callable[[bytes], bytes], reason: str
) -> None:
    path = tmp_path / "map.nii.gz"
    write(volume, path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FileError, match=rf"cut short or damaged \(.*{reason}.*\); copy .*again\.$"):
        read(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.93])
def test_a_file_cut_short_says_how_many_voxels_are_left(tmp_path: Path, share: float) -> None:
    """As many as zlib unpacks of what there is."""
    array = np.random.default_rng(1).random((60, 70, 80), dtype=np.float32)
    path = tmp_path / "map.nii.gz"
    write(Volume(array, "ZYX"), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    unpacked = len(zlib.decompressobj(31).decompress(path.read_bytes())) - 352
    percent = 100 * unpacked // array.nbytes
    assert abs(percent - 100 * share) < 3
    for call in (read, probe):
        with pytest.raises(FileError, match=rf"it ends too early, after {percent} % of its voxels\);"):
            call(path)
    path.write_bytes(content[:-4])
    with pytest.raises(FileError, match=r"it ends too early, after all of its voxels\);"):
        read(path)
