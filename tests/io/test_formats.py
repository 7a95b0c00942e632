from __future__ import annotations

import gzip
import os
import pickle
import shlex
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from softmorph_cli.errors import FileError, InputError, UsageError
from softmorph_cli.io.formats import check_target
from softmorph_cli.io.probing import probe
from softmorph_cli.io.reading import read
from softmorph_cli.io.writing import write
from softmorph_cli.volume import Volume

FLAT = Volume(np.random.default_rng(0).random((5, 7), dtype=np.float32), "YX")


@pytest.mark.parametrize("look", [read, probe])
def test_missing_folder_and_empty(tmp_path: Path, look) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(FileError, match=r"map\.nii does not exist\."):
        look(tmp_path / "map.nii")
    with pytest.raises(FileError, match="is a folder; name one file in it"):
        look(tmp_path)
    (tmp_path / "map.nii").touch()
    with pytest.raises(FileError, match=r"map\.nii is empty \(0 bytes\)"):
        look(tmp_path / "map.nii")


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        (
            "map.xyz",
            b"hello world",
            r"cannot tell the file type of .*'\.xyz' is unknown and it starts .*68 65 6c",
        ),
        ("map.jpg", b"\xff\xd8\xff\xe0" + bytes(20), r"'\.jpg' is unknown and it is a JPEG image"),
        ("map.npz", b"PK\x03\x04" + bytes(20), "it is a zip archive"),
        ("map.pkl", pickle.dumps([1], protocol=4), "a Python pickle, which is never loaded"),
        (
            "map.nii",
            b"hello world",
            r"is called \.nii but it starts with .*so it is no NIfTI file or a damaged one",
        ),
        ("map.nii.gz", b"\x1f\x8b\x08\x00cut", "is gzipped but cut short or damaged"),
        ("map.nii.gz", gzip.compress(b"hello", mtime=0), r"is called \.nii\.gz but it starts with"),
    ],
)
def test_unknown_content(tmp_path: Path, name: str, content: bytes, text: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=text):
        read(tmp_path / name)


@pytest.mark.posix
@pytest.mark.parametrize("name", ["map.nii.gz", "two words.nii.gz"])
def test_a_file_that_is_gzipped_twice_is_unpacked_once_by_the_command_of_the_message(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    write(FLAT, path)
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(FileError, match=r"is gzipped twice; unpack it once: mv .* && gunzip ") as refused:
        read(path)
    subprocess.run(["sh", "-c", str(refused.value).split("unpack it once: ")[1]], check=True)
    np.testing.assert_array_equal(read(path).array, FLAT.array)
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("real", [".nii", ".nii.gz", ".tif", ".png", ".nrrd", ".mha", ".npy"])
def test_mislabelled_files_and_files_without_a_suffix(tmp_path: Path, real: str) -> None:
    write(FLAT, tmp_path / f"in{real}")
    content = (tmp_path / f"in{real}").read_bytes()
    (tmp_path / "bare").write_bytes(content)
    assert read(tmp_path / "bare").array.shape == (5, 7)
    wrong = ".png" if real != ".png" else ".nii.gz"
    (tmp_path / f"map{wrong}").write_bytes(content)
    with pytest.raises(FileError, match=rf"is called {wrong} but holds .*; rename it: mv .*map{real}$"):
        read(tmp_path / f"map{wrong}")


@pytest.mark.parametrize(("real", "wrong"), [(".nii", ".nii.gz"), (".nii.gz", ".nii")])
def test_compression_that_contradicts_the_name(tmp_path: Path, real: str, wrong: str) -> None:
    write(FLAT, tmp_path / f"map{real}")
    (tmp_path / f"map{real}").rename(tmp_path / f"map{wrong}")
    with pytest.raises(FileError, match=rf"is called {wrong} but is .*compressed; .*map{real}$"):
        read(tmp_path / f"map{wrong}")


@pytest.mark.parametrize(("name", "zipped"), [("My Map.NII.GZ", False), ("a map.png", True), ("it's", True)])
def test_the_advice_can_be_typed_until_the_file_is_read(tmp_path: Path, name: str, zipped: bool) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    write(FLAT, tmp_path / "in.tif")
    content = (tmp_path / "in.tif").read_bytes()
    path = folder / name
    path.write_bytes(gzip.compress(content) if zipped else content)
    for _ in range(3):
        try:
            assert read(path).array.shape == (5, 7)
            break
        except FileError as error:
            command = str(error).rsplit(": ", 1)[1]
        subprocess.run(shlex.split(command), check=True)
        (path,) = folder.iterdir()
    else:
        pytest.fail(f"still not read: {path}")


@pytest.mark.posix
def test_a_pipe_is_refused_and_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npy")
    with pytest.raises(FileError, match=r"pipe\.npy is a pipe or a device, not a file"):
        read(tmp_path / "pipe.npy")


def test_names_that_do_not_exist(tmp_path: Path) -> None:
    (tmp_path / "loop.npy").symlink_to("loop.npy")
    for name in ("loop.npy", "n" * 300):
        with pytest.raises(FileError, match="cannot be read: "):
            read(tmp_path / name)
    with pytest.raises(UsageError, match="cannot tell the format"):
        check_target(tmp_path / ("n" * 300))


@pytest.mark.parametrize("name", ["", "."])
def test_empty_names(name: str) -> None:
    with pytest.raises(FileError, match="an input has an empty name"):
        read(name)
    with pytest.raises(FileError, match="an output has an empty name"):
        check_target(name)


@pytest.mark.parametrize("name", ["folder", "folder.nii.gz", "folder.odd"])
def test_a_folder_as_target(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(FileError, match=f"{name} is a folder; name a file in it"):
        check_target(tmp_path / name)
    with pytest.raises(FileError, match=f"{name} is a folder; name a file in it"):
        write(FLAT, tmp_path / name)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".npy"])
@pytest.mark.parametrize("missing", [1, 50])
def test_cut_short(volume: Volume, tmp_path: Path, suffix: str, missing: int) -> None:
    path = tmp_path / f"map{suffix}"
    write(volume, path)
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(FileError, match=r"cut short or damaged \(it ends too early\); copy"):
        read(path)
    with pytest.raises(FileError, match="cut short or damaged"):
        probe(path)


@pytest.mark.parametrize("shape", [(3, 4), (30, 40, 50)])
def test_a_wrong_checksum(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = tmp_path / "map.nii.gz"
    write(Volume(np.random.default_rng(0).random(shape, dtype=np.float32), "ZYX"[-len(shape) :]), path)
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"cut short or damaged \(its compressed data do not unpack\)"):
        read(path)


def test_axes_of_one_beyond_the_fifth_are_dropped(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((1, 2, 1, 1, 5, 6, 7), dtype=np.float32)
    np.save(tmp_path / "map.npy", values)
    found = read(tmp_path / "map.npy", axes="TCZYX")
    assert found.array.shape == (1, 2, 5, 6, 7)
    np.testing.assert_array_equal(found.array, values[:, :, 0, 0])
    np.save(tmp_path / "many.npy", np.zeros((2, 2, 2, 2, 2, 2, 1), np.float32))
    with pytest.raises(InputError, match="has 7 axes"):
        read(tmp_path / "many.npy")


def _npy(path: Path, header: bytes, version: bytes = b"\1\0", values: bytes = bytes(64)) -> Path:
    length = len(header).to_bytes(2 if version[0] == 1 else 4, "little")
    path.write_bytes(b"\x93NUMPY" + version + length + header + values)
    return path


GOOD = b"{'descr': '<f4', 'fortran_order': False, 'shape': (4, 4), }"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (GOOD.replace(b"(4, 4)", b"(9223372036854775807, 4)"), "cut short or damaged .it ends too early"),
        (GOOD.replace(b"(4, 4)", b"(5000000000, 1)"), "cut short or damaged .it ends too early"),
        (GOOD.replace(b"(4, 4)", b"(4, 5)"), "cut short or damaged .it ends too early"),
        (GOOD.replace(b"(4, 4)", b"(-4, 4)"), r"its shape is \(-4, 4\)"),
        (b"(" * 9000, "starts as a NumPy file but is cut short or damaged"),
        (b" " * 20_000 + GOOD, "its header is of version 1.0 and has 20,059 bytes"),
    ],
)
def test_invalid_headers_of_npy_are_refused(
    tmp_path: Path, header: bytes, message: str, recwarn: Any
) -> None:
    path = _npy(tmp_path / "a.npy", header)
    with pytest.raises(FileError, match=message):
        read(path)
    assert not recwarn.list


@pytest.mark.parametrize("version", [b"\1\0", b"\2\0", b"\3\0"])
def test_every_version_of_npy_is_read_to_its_last_byte(tmp_path: Path, version: bytes) -> None:
    numbers = np.linspace(0, 1, 16, dtype="<f4")
    path = _npy(tmp_path / "a.npy", GOOD.ljust(117) + b"\n", version, numbers.tobytes())
    assert np.array_equal(read(path).array.ravel(), numbers)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FileError, match="it ends too early"):
        read(path)


def test_a_header_of_python_2_is_read_without_a_warning(tmp_path: Path, recwarn: Any) -> None:
    path = _npy(tmp_path / "a.npy", GOOD.replace(b"(4, 4)", b"(4L, 4L)"))
    assert read(path).array.shape == (4, 4)
    assert not recwarn.list


def npy(folder: Path, stated: str) -> Path:
    """An .npy file with 120 float32 and the given header."""
    head = f"{{'descr': '<f4', 'fortran_order': False, {stated}}}\n".encode()
    path = folder / "map.npy"
    path.write_bytes(b"\x93NUMPY\1\0" + len(head).to_bytes(2, "little") + head + bytes(480))
    return path


@pytest.mark.parametrize(("shape", "messages"), [
    ((4, 5, 7), r"cut short or damaged \(it ends too early\)"),
    ((2**40, 2**40, 2**40), r"cut short or damaged \(it ends too early\)"),
    ((-4, 5, -6), r"cannot read: its shape is \(-4, 5, -6\)"),
])  # fmt: skip
def test_an_npy_that_is_shorter_than_its_shape(tmp_path: Path, shape: tuple[int, ...], messages: str) -> None:
    path = npy(tmp_path, f"'shape': {shape}")
    for look in (read, probe):
        with pytest.raises(FileError, match=messages):
            look(path)
    assert read(npy(tmp_path, "'shape': (4, 5, 6)")).array.shape == (4, 5, 6)


@pytest.mark.parametrize(("stated", "length", "messages"), [
    ("'descr': '<f4', 'shape': (4, 5, 6)", 2**32 - 1, r"its header is of version 2\.0 and has"),
    ("'descr': '|V0', 'shape': (9, 9999999999)", None, "has no bytes"),
    ("'descr': '<f4', 'shape': (0, 99999999999999999999)", None, "cannot read"),
])  # fmt: skip
def test_an_npy_with_a_header_that_would_allocate_memory(
    tmp_path: Path, stated: str, length: int | None, messages: str
) -> None:
    head = f"{{'fortran_order': False, {stated}}}\n".encode()
    size = (len(head) if length is None else length).to_bytes(4, "little")
    (tmp_path / "map.npy").write_bytes(b"\x93NUMPY\2\0" + size + head + bytes(480))
    for look in (read, probe):
        with pytest.raises(FileError, match=messages):
            look(tmp_path / "map.npy")


@pytest.mark.parametrize("dtype", ["V4", "U3", "S2"])
def test_an_npz_of_objects_is_refused(tmp_path: Path, dtype: str) -> None:
    np.savez_compressed(tmp_path / "case.npz", probabilities=np.zeros((2, 4, 5), dtype))
    assert probe(tmp_path / "case.npz").kind == "other"
    with pytest.raises(InputError):
        read(tmp_path / "case.npz")


@pytest.mark.parametrize(("content", "messages"), [
    (b"no array", "cannot read: its header is of version"),
    (b"\x93NUMPY\1\0\x3b\0{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 3)}\n", r"its shape is \(-2, 3\)"),
    (b"\x93NUMPY\1\0\x46\0{'descr': '<f4', 'fortran_order': False, 'shape': (2, 9000000, 900)}\n\n\n\n\n\n", "early"),
    (b"\x93NUMPY\1\0\x42\0{'descr': '<f4', 'fortran_order': False, 'shape': (2, 900, 900)}\n\n\n\n\n", "early"),
])  # fmt: skip
def test_an_npz_whose_member_is_no_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, messages: str
) -> None:
    with zipfile.ZipFile(tmp_path / "case.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("probabilities.npy", content + bytes(100))
    for look in (read, probe):
        with pytest.raises(FileError, match=messages):
            look(tmp_path / "case.npz")


def test_an_npz_that_does_not_fit_is_refused_by_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "case.npz", probabilities=np.zeros((2, 50, 60, 70), np.float32))
    monkeypatch.setattr("softmorph_cli.system.machine.memory", lambda: 1_000_000)
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("it is unpacked"))
    with pytest.raises(InputError, match="2 x 50 x 60 x 70 values, which take"):
        read(tmp_path / "case.npz")
