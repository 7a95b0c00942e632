"""What Git LFS and git-annex leave in the place of a file is named as such, in every format."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from softmorph_cli.errors import FileError
from softmorph_cli.io.probing import probe
from softmorph_cli.io.reading import read
from softmorph_cli.io.writing import write
from softmorph_cli.volume import Volume

LFS = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4d' * 32}\nsize 12345\n"
ANNEXED = "../.git/annex/objects/F2/9q/SHA256E-s12345--4d4d.nii.gz/SHA256E-s12345--4d4d.nii.gz"
MAP = Volume(np.random.default_rng(0).random((6, 8, 10), dtype=np.float32), "ZYX", (1.0, 1.0, 1.0), "mm")


def lfs(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.write_text(LFS)


def unlocked(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.write_text("/annex/objects/SHA256E-s12345--4d4d.nii.gz\n")


def locked(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(ANNEXED)


KINDS = [
    (lfs, "Git LFS", "lfs pull --include"),
    (unlocked, "git-annex", "annex get"),
    (locked, "git-annex", "annex get"),
]


@pytest.mark.parametrize(("leave", "what", "fetch"), KINDS)
@pytest.mark.parametrize(
    "name", ["a b.nii", "m.nii.gz", "m.tif", "m.png", "m.nrrd", "m.mha", "m.npy", "m.npz", "bare"]
)
@pytest.mark.parametrize("look", [read, probe])
def test_the_command_that_fetches_a_pointer_is_named(
    tmp_path: Path,
    leave: Callable[[Path], None],
    what: str,
    fetch: str,
    name: str,
    look: Callable[[Path], object],
) -> None:
    leave(tmp_path / name)
    command = f"git -C {shlex.quote(str(tmp_path))} {fetch} {shlex.quote(name)}"
    with pytest.raises(FileError) as caught:
        look(tmp_path / name)
    assert str(caught.value) == (
        f"{tmp_path / name} is a {what} pointer, its content is not here; fetch it: {command}"
    )


@pytest.mark.parametrize(("leave", "what", "fetch"), KINDS)
def test_the_command_that_fetches_a_file_works_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leave: Callable[[Path], None], what: str, fetch: str
) -> None:
    """In a shell, with a git that does what its two extensions do."""
    folder, kept = tmp_path / "a folder", tmp_path / "kept.nii"
    folder.mkdir()
    write(MAP, kept)
    program = tmp_path / "git"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = -C ] && cd "$2" && [ "$3 $4" = "{" ".join(fetch.split()[:2])}" ] || exit 1\n'
    )
    with program.open("a") as file:
        file.write(f'for name; do :; done\nrm "$name" && cp {shlex.quote(str(kept))} "$name"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    path = folder / "a b.nii"
    leave(path)
    with pytest.raises(FileError) as caught:
        read(path)
    subprocess.run(str(caught.value).partition("fetch it: ")[2], shell=True, check=True)
    np.testing.assert_array_equal(read(path).array, MAP.array)


@pytest.mark.parametrize(("leave", "what", "fetch"), KINDS)
def test_a_part_of_a_store(tmp_path: Path, leave: Callable[[Path], None], what: str, fetch: str) -> None:
    """A chunk that is a link to nowhere is not one that was never written, which would be zeros."""
    store = tmp_path / "m.zarr"
    write(MAP, store)
    (mark,) = (one for one in store.iterdir() if one.name in ("zarr.json", ".zgroup"))
    chunk = max((one for one in store.rglob("*") if one.is_file()), key=lambda one: one.stat().st_size)
    for part in (chunk, mark):
        kept = part.read_bytes()
        leave(part)
        with pytest.raises(FileError, match=f"{part.name} is a {what} pointer"):
            np.asarray(read(store).array)
        part.unlink()
        part.write_bytes(kept)
        np.testing.assert_array_equal(read(store).array, MAP.array)


@pytest.mark.parametrize(("leave", "what", "fetch"), KINDS)
def test_pointers_beside_a_prediction(
    tmp_path: Path, leave: Callable[[Path], None], what: str, fetch: str
) -> None:
    probabilities = np.stack([1 - MAP.array, MAP.array])
    np.savez(tmp_path / "case.npz", probabilities=probabilities)
    (tmp_path / "dataset.json").write_text(
        json.dumps({"labels": {"background": 0, "vessel": 1}, "file_ending": ".nii.gz"})
    )
    leave(tmp_path / "case.nii.gz")
    with pytest.raises(FileError, match=rf"case\.nii\.gz is a {what} pointer"):
        read(tmp_path / "case.npz")
    leave(tmp_path / "dataset.json")
    with pytest.raises(FileError, match=rf"dataset\.json is a {what} pointer"):
        read(tmp_path / "case.npz")


def test_a_link_to_present_content_is_read(tmp_path: Path) -> None:
    target = tmp_path / ".git" / "annex" / "objects" / "map.nii"
    target.parent.mkdir(parents=True)
    write(MAP, target)
    (tmp_path / "map.nii").symlink_to(".git/annex/objects/map.nii")
    np.testing.assert_array_equal(read(tmp_path / "map.nii").array, MAP.array)


def test_another_broken_link_is_named(tmp_path: Path) -> None:
    (tmp_path / "map.nii").symlink_to("gone.nii")
    with pytest.raises(FileError, match=r"map\.nii is a link to gone\.nii, which does not exist\.$"):
        read(tmp_path / "map.nii")
