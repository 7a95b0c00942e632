from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest

from softmorph_cli.errors import FileError
from softmorph_cli.io import probe, read, write
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
        ("map", bytes(128) + b"DICM", "suffix '' is unknown and it is DICOM"),
        ("map.pkl", pickle.dumps([1], protocol=4), "a Python pickle, which is never loaded"),
        (
            "map.nii",
            b"hello world",
            r"is called \.nii but it starts with .*so it is no NIfTI file or a damaged one",
        ),
        ("map.nii.gz", b"\x1f\x8b\x08\x00cut", "is gzipped but cut short or damaged"),
        ("map.nii.gz", gzip.compress(b"hello"), r"is called \.nii\.gz but it starts with"),
    ],
)
def test_unknown_content(tmp_path: Path, name: str, content: bytes, text: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=text):
        read(tmp_path / name)


@pytest.mark.parametrize("real", [".nii", ".nii.gz", ".tif", ".png", ".nrrd", ".mha", ".npy"])
def test_mislabelled_files_and_files_without_a_suffix(tmp_path: Path, real: str) -> None:
    write(FLAT, tmp_path / f"in{real}")
    content = (tmp_path / f"in{real}").read_bytes()
    (tmp_path / "bare").write_bytes(content)
    assert read(tmp_path / "bare").array.shape == (5, 7)
    wrong = ".png" if real != ".png" else ".nii.gz"
    (tmp_path / f"map{wrong}").write_bytes(content)
    with pytest.raises(FileError, match=rf"is called {wrong} but holds .*; rename it: mv .* map{real}$"):
        read(tmp_path / f"map{wrong}")


@pytest.mark.parametrize(("real", "wrong"), [(".nii", ".nii.gz"), (".nii.gz", ".nii")])
def test_compression_that_the_name_denies(tmp_path: Path, real: str, wrong: str) -> None:
    write(FLAT, tmp_path / f"map{real}")
    (tmp_path / f"map{real}").rename(tmp_path / f"map{wrong}")
    with pytest.raises(FileError, match=rf"is called {wrong} but is .*compressed; .* map{real}$"):
        read(tmp_path / f"map{wrong}")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".npy"])
@pytest.mark.parametrize("missing", [1, 50])
def test_cut_short(volume: Volume, tmp_path: Path, suffix: str, missing: int) -> None:
    path = tmp_path / f"map{suffix}"
    write(volume, path)
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(FileError, match="cut short or damaged"):
        read(path)
    with pytest.raises(FileError, match="cut short or damaged"):
        probe(path)
