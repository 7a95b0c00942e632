"""Which files are inputs, and the names of their results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers_batch import folder

from softmorph_cli.errors import FileError, UsageError
from softmorph_cli.pipeline.batch.plan import FileJob, FileSelection, inputs, jobs, part_of


def selection(tmp_path: Path, **more: Any) -> FileSelection:
    return FileSelection(tmp_path / "in", tmp_path / "out", **more)


def targets(tmp_path: Path, **more: Any) -> list[str]:
    return [str(job.target.relative_to(tmp_path / "out")) for job in jobs(selection(tmp_path, **more), None)]


def test_inputs_are_the_files_that_can_be_read(tmp_path: Path) -> None:
    folder(tmp_path / "in", "b.nii.gz", "a.tif", "c.OME.TIF", ".hidden.tif", "notes.txt", "x.json", "d/e.tif")
    folder(tmp_path / "in", ".softmorph-0123456789ab-a.tif", "softmorph-manifest.jsonl", "summary.csv")
    assert inputs(selection(tmp_path)) == ["a.tif", "b.nii.gz", "c.OME.TIF"]


def test_recursive_keeps_the_tree(tmp_path: Path) -> None:
    folder(tmp_path / "in", "a.tif", "d/a.tif", "d/e/b.tif", ".git/c.tif")
    assert targets(tmp_path, recursive=True) == ["a.tif", "d/a.tif", "d/e/b.tif"]
    assert targets(tmp_path, recursive=True, glob="a.*") == ["a.tif", "d/a.tif"]
    assert targets(tmp_path, recursive=True, glob="d/*") == ["d/a.tif", "d/e/b.tif"]


def test_a_store_is_one_input(tmp_path: Path) -> None:
    folder(tmp_path / "in", "a.zarr/.zgroup", "a.zarr/0/0.tif", "b/zarr.json", "c.ome.zarr/0.tif")
    assert inputs(selection(tmp_path, recursive=True)) == ["a.zarr", "c.ome.zarr"]


def test_the_probabilities_of_a_networks_output_are_the_input(tmp_path: Path) -> None:
    folder(tmp_path / "in", "a.npz", "a.nii.gz", "a.pkl", "dataset.json", "alone.nii.gz", "b.npz", "b.nrrd")
    assert targets(tmp_path) == ["a.nii.gz", "alone.nii.gz", "b.nii.gz"]
    assert inputs(selection(tmp_path)) == ["a.npz", "alone.nii.gz", "b.npz"]
    assert inputs(selection(tmp_path, glob="*.nii.gz")) == ["a.nii.gz", "alone.nii.gz"]


def test_a_mask_that_is_read_with_every_input_is_none(tmp_path: Path) -> None:
    folder(tmp_path / "in", "a.tif", "mask.tif")
    assert inputs(selection(tmp_path, apart=(tmp_path / "in" / "mask.tif",))) == ["a.tif"]


@pytest.mark.parametrize(
    ("name", "suffix", "becomes"),
    [
        ("a.nii.gz", "", "a.nii.gz"),
        ("a.nii.gz", "_skeleton", "a_skeleton.nii.gz"),
        ("a.nii.gz", ".tif", "a.tif"),
        ("a.tif", "_s.nii.gz", "a_s.nii.gz"),
        ("a.b.tif", ".s", None),
        ("a.tif", ".s.tif", "a.s.tif"),
        ("a.mhd", "", "a.mha"),
        ("a.npz", "", "a.nii.gz"),
        ("a.TIFF", "_x", "a_x.tiff"),
        ("a.tif", "b/c", None),
        ("a.tif", ".npz", None),
    ],
)
def test_names_of_results(tmp_path: Path, name: str, suffix: str, becomes: str | None) -> None:
    folder(tmp_path / "in", name)
    if becomes is None:
        with pytest.raises(UsageError):
            targets(tmp_path, suffix=suffix)
    else:
        assert targets(tmp_path, suffix=suffix) == [becomes]


def test_two_inputs_with_the_same_result_are_refused(tmp_path: Path) -> None:
    folder(tmp_path / "in", "a.tif", "a.nii.gz", "b.tif")
    assert targets(tmp_path) == ["a.nii.gz", "a.tif", "b.tif"]
    with pytest.raises(
        UsageError, match=r"in/a.nii.gz and \S*in/a.tif would both become \S*out/a.tif; .*--suffix"
    ):
        targets(tmp_path, suffix=".tif")


def test_folders_that_are_refused(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", "a.tif", "d/b.tif")
    for target, words in (
        (source, "is the folder that is read"),
        (source / "d" / ".." / "new", "would become inputs"),
        (tmp_path / "none" / "out", "mkdir -p"),
        (source / "a.tif", "is a file"),
    ):
        with pytest.raises((FileError, UsageError), match=words):
            jobs(FileSelection(source, target), None)
    (tmp_path / "link").symlink_to(source)
    with pytest.raises(UsageError, match="is the folder that is read"):
        jobs(FileSelection(source, tmp_path / "link"), None)
    for wrong, words in ((tmp_path / "none", "does not exist"), (source / "a.tif", "softmorph chain")):
        with pytest.raises(FileError, match=words):
            jobs(FileSelection(wrong, tmp_path / "out"), None)


def test_a_result_among_the_inputs_is_refused(tmp_path: Path) -> None:
    folder(tmp_path / "out" / "in", "in/a.tif")
    folder(tmp_path / "out" / "in", "b.tif")
    outer = tmp_path / "out"
    # Without --recursive nothing is written into the folder that is read.
    assert [job.target for job in jobs(FileSelection(outer / "in", outer), None)] == [outer / "b.tif"]
    with pytest.raises(UsageError, match="would lie among the inputs"):
        jobs(FileSelection(outer / "in", outer, recursive=True), None)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "b.tif").symlink_to(outer / "b.tif")
    outer.joinpath("b.tif").touch()
    with pytest.raises(UsageError, match="would lie among the inputs"):
        jobs(FileSelection(tmp_path / "links", outer), None)


def test_a_folder_without_inputs_is_refused(tmp_path: Path) -> None:
    folder(tmp_path / "in", "notes.txt", "d/a.tif")
    with pytest.raises(FileError, match=r"holds no file that can be read; read are .*--recursive"):
        inputs(selection(tmp_path))
    with pytest.raises(FileError, match="none of 1 files matches; quote"):
        inputs(selection(tmp_path, glob="*.tif"))
    with pytest.raises(FileError, match="nothing that matches can be read"):
        inputs(selection(tmp_path, glob="*.txt"))


def test_parts_are_every_nth_file() -> None:
    made = [FileJob(str(n), Path(), Path()) for n in range(7)]
    assert [[job.name for job in part_of(made, 3, part)] for part in range(3)] == [
        ["0", "3", "6"],
        ["1", "4"],
        ["2", "5"],
    ]
    assert part_of(made[:1], 3, 2) == []
    for parts, part in ((0, 0), (3, 3), (3, -1)):
        with pytest.raises(UsageError):
            part_of(made, parts, part)
