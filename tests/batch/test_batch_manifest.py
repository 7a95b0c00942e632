"""The manifest survives whatever ends a batch, and knows what has to be done again."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from helpers_batch import folder, recipe

from softmorph_cli.batch.manifest import (
    BEGUN,
    DONE,
    FAILED,
    Manifest,
    Record,
    identity,
    known,
    name_of,
    unchanged,
)
from softmorph_cli.errors import FileError
from softmorph_cli.filters.settings import Settings

RULE = 'dimensions = 2\naction = "set"\nwhen = "{}"\n'


def test_what_is_written_is_read(tmp_path: Path) -> None:
    record = Record("d/ä\udce4.tif", "d/a.tif", DONE, 5.0, {"size": 3}, "abc", 7, {"seconds": 1})
    with Manifest(tmp_path / name_of(), {"steps": []}) as book:
        book.write(replace(record, state=BEGUN))
        book.write(record)
    assert known(tmp_path) == ({record.name: record}, {"d/a.tif"})


@pytest.mark.parametrize("left", [0, 1, 20])
def test_a_broken_last_line_is_ignored_and_ended(tmp_path: Path, left: int) -> None:
    path = tmp_path / name_of()
    with Manifest(path, {}) as book:
        book.write(Record("a", "a", DONE, 1.0))
        size = path.stat().st_size
        book.write(Record("b", "b", DONE, 1.0))
    os.truncate(path, size + left)
    assert set(known(tmp_path)[0]) == {"a"}
    with Manifest(path, {}) as book:
        book.write(Record("c", "c", DONE, 1.0))
    assert set(known(tmp_path)[0]) == {"a", "c"}
    broken = [line for line in path.read_text().splitlines() if not _whole(line)]
    assert len(broken) == (left > 0)


def _whole(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def test_lines_that_are_something_else(tmp_path: Path) -> None:
    text = (
        '[]\n3\nnull\n{"state": "done"}\n{"state": "done", "input": "a", "output": "a", "when": "x"}\n\xff\n'
    )
    (tmp_path / name_of()).write_bytes(text.encode("latin-1"))
    assert known(tmp_path) == ({}, set())


def test_the_last_word_of_all_parts(tmp_path: Path) -> None:
    for part, (state, when) in enumerate([(DONE, 3.0), (FAILED, 2.0)]):
        with Manifest(tmp_path / name_of(2, part), {}) as book:
            book.write(Record("a", "a", state, when))
    records, _ = known(tmp_path)
    assert records["a"].state == DONE
    assert known(tmp_path / "none") == ({}, set())


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Manifest(tmp_path / name_of(), {}) as book:

        def full(descriptor: int, text: bytes) -> int:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full)
            with pytest.raises(FileError, match=r"No space left.*--resume"):
                book.write(Record("a", "a", BEGUN))


def test_why_a_file_is_done_again(tmp_path: Path) -> None:
    source = folder(tmp_path, "a.npy") / "a.npy"
    target = tmp_path / "out.npy"
    target.write_bytes(b"12345")
    record = Record("a.npy", "out.npy", DONE, 1.0, identity(source), "abc", 5)
    assert unchanged(record, source, target, {"abc"}) is None
    assert unchanged(record, source, target, {"abd"}) == "other parameters"
    assert unchanged(replace(record, state=BEGUN), source, target, {"abc"}) == "not finished"
    assert unchanged(replace(record, state=FAILED), source, target, {"abc"}) == "failed before"
    target.write_bytes(b"1234")
    assert unchanged(record, source, target, {"abc"}) == "output changed"
    target.unlink()
    assert unchanged(record, source, target, {"abc"}) == "output missing"
    target.write_bytes(b"12345")
    os.utime(source, ns=(1, 1))
    assert unchanged(record, source, target, {"abc"}) == "input changed"
    source.unlink()
    assert unchanged(record, source, target, {"abc"}) == "input changed"


def test_what_is_read_with_a_file_belongs_to_it(tmp_path: Path) -> None:
    folder(tmp_path, "a.npz", "a.nii.gz", "a[1].npz", "a1.tif", "dataset.json")
    before = identity(tmp_path / "a.npz")
    assert set(before["beside"]) == {"a.nii.gz", "dataset.json"}
    assert "beside" in identity(tmp_path / "a[1].npz")
    (tmp_path / "a.nii.gz").write_bytes(b"x")
    assert identity(tmp_path / "a.npz") != before
    folder(tmp_path, "s.zarr/.zgroup", "s.zarr/0/0")
    store = identity(tmp_path / "s.zarr")
    (tmp_path / "s.zarr" / "0" / "1").touch()
    assert identity(tmp_path / "s.zarr") != store


def test_a_fingerprint_of_all_that_a_result_depends_on(tmp_path: Path) -> None:
    mask = folder(tmp_path, "m.npy") / "m.npy"
    rule = tmp_path / "r.toml"
    rule.write_text(RULE.format("N"))
    given = recipe("erode:iterations=1", reading={"mask": mask, "channel": None, "clip": False})
    same = [
        replace(given, settings=Settings(threads=3, device="cpu")),
        replace(given, reading={"mask": mask}),
    ]
    other = [
        recipe("erode:iterations=2", reading={"mask": mask}),
        recipe("erode:iterations=1", "erode:iterations=1", reading={"mask": mask}),
        replace(given, settings=Settings(levels=32)),
        replace(given, method="product"),
        replace(given, output_type="uint8"),
        replace(given, reading={"mask": mask, "channel": 0}),
    ]
    assert {one.fingerprint for one in same} == {given.fingerprint}
    assert len({one.fingerprint for one in (given, *other)}) == 7
    before = given.fingerprint
    os.utime(mask, ns=(1, 1))
    assert given.fingerprint != before
    made = recipe(f"apply:rule={rule}")
    before = made.fingerprint
    rule.write_text(RULE.format("S"))
    assert made.fingerprint != before
