"""The manifest is complete after a crash, and decides which files are processed again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers_batch import folder, recipe, request

from softmorph_cli.errors import FileError
from softmorph_cli.filters.settings import Settings
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.pipeline.batch import summary
from softmorph_cli.pipeline.batch.engine import thread_engine
from softmorph_cli.pipeline.batch.manifest import (
    BEGUN,
    DONE,
    FAILED,
    BatchManifest,
    Record,
    identity,
    known,
    name_of,
    unchanged,
)
from softmorph_cli.pipeline.batch.run import all_jobs, carry_out, decide
from softmorph_cli.pipeline.outputs import OutputOptions

RULE = 'dimensions = 2\naction = "set"\nwhen = "{}"\n'


def test_records_are_read_as_written(tmp_path: Path) -> None:
    record = Record("d/ä\udce4.tif", "d/a.tif", DONE, 5.0, {"size": 3}, "abc", 7, {"seconds": 1})
    with BatchManifest(tmp_path / name_of(), {"steps": []}) as lines:
        lines.write(replace(record, state=BEGUN))
        lines.write(record)
    assert known(tmp_path) == ({record.name: record}, {"d/a.tif"})


@pytest.mark.parametrize("left", [0, 1, 20])
def test_an_incomplete_last_line_is_ignored(tmp_path: Path, left: int) -> None:
    path = tmp_path / name_of()
    with BatchManifest(path, {}) as lines:
        lines.write(Record("a", "a", DONE, 1.0))
        size = path.stat().st_size
        lines.write(Record("b", "b", DONE, 1.0))
    os.truncate(path, size + left)
    assert set(known(tmp_path)[0]) == {"a"}
    with BatchManifest(path, {}) as lines:
        lines.write(Record("c", "c", DONE, 1.0))
    assert set(known(tmp_path)[0]) == {"a", "c"}
    broken = [line for line in path.read_text().splitlines() if not _whole(line)]
    assert len(broken) == (left > 0)


def _whole(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def test_lines_that_are_no_records_are_ignored(tmp_path: Path) -> None:
    text = (
        f'{{"state": "done", "input": "a", "output": "a", "when": {10**400}}}\n'
        '[]\n3\nnull\n{"state": "done"}\n{"state": "done", "input": "a", "output": "a", "when": "x"}\n\xff\n'
    )
    (tmp_path / name_of()).write_bytes(text.encode("latin-1"))
    assert known(tmp_path) == ({}, set())


def test_the_latest_record_of_all_parts_counts(tmp_path: Path) -> None:
    for part, (state, when) in enumerate([(DONE, 3.0), (FAILED, 2.0)]):
        with BatchManifest(tmp_path / name_of(2, part), {}) as lines:
            lines.write(Record("a", "a", state, when))
    records, _ = known(tmp_path)
    assert records["a"].state == DONE
    assert known(tmp_path / "none") == ({}, set())


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with BatchManifest(tmp_path / name_of(), {}) as lines:

        def full(descriptor: int, text: bytes) -> int:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full)
            with pytest.raises(FileError, match=r"No space left.*--resume"):
                lines.write(Record("a", "a", BEGUN))


def test_the_reason_for_processing_a_file_again(tmp_path: Path) -> None:
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


def test_companion_files_are_part_of_the_identity(tmp_path: Path) -> None:
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


def test_the_fingerprint_covers_everything_that_a_result_depends_on(tmp_path: Path) -> None:
    mask = folder(tmp_path, "m.npy") / "m.npy"
    rule = tmp_path / "r.toml"
    rule.write_text(RULE.format("N"))
    given = recipe("erode:iterations=1", reading=ReadOptions(mask=mask))
    same = [
        replace(given, settings=Settings(threads=3, device="cpu")),
        replace(given, reading=ReadOptions(mask=str(mask))),
    ]
    other = [
        recipe("erode:iterations=2", reading=ReadOptions(mask=mask)),
        recipe("erode:iterations=1", "erode:iterations=1", reading=ReadOptions(mask=mask)),
        replace(given, settings=Settings(levels=32)),
        replace(given, settings=Settings(method="product")),
        replace(given, writing=OutputOptions(output_type="uint8")),
        replace(given, reading=ReadOptions(mask=mask, channel=0)),
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


class Silent:
    """A watcher that shows nothing."""

    def begin(self, files: int, workers: int) -> None: ...
    def sign(self, sign: Any) -> None: ...
    def outcome(self, outcome: Any) -> None: ...
    def note(self, message: str) -> None: ...


def _here(jobs: Any, recipe: Any, workers: Any) -> tuple[Any, None]:
    return thread_engine(1), None


WRONG: list[Any] = [
    None,
    "x",
    1.5,
    float("nan"),
    float("inf"),
    -1,
    True,
    [],
    {},
    [float("nan")],
    [[]],
    {"a": []},
    "deep",
    "\ud800",
    "\0",
    1e300,
    10**400,
]


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _paths(one, (*path, key))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _paths(one, (*path, number))


def _changed(value: Any, path: tuple[Any, ...], wrong: Any) -> Any:
    if not path:
        return wrong
    copy = list(value) if isinstance(value, list) else dict(value)
    copy[path[0]] = _changed(value[path[0]], path[1:], wrong)
    return copy


def _wrong_texts(document: Any) -> Iterator[str]:
    """Yield the JSON of a document with one value replaced by one of a wrong type, for each value and type."""
    for place in _paths(document):
        for wrong in WRONG:
            yield json.dumps(_changed(document, place, wrong)).replace('"deep"', "[" * 3000 + "]" * 3000)


def test_records_with_a_value_of_a_wrong_type_are_processed_again(tmp_path: Path) -> None:
    folder(tmp_path / "in", "a.npy")
    given = request(tmp_path, "erode")
    carry_out(given, Silent(), _here)
    path = tmp_path / "out" / name_of()
    lines = path.read_text().splitlines()
    assert len(lines) == 3
    resumed = replace(given, resume=True)
    seen: set[str] = set()
    for number, line in enumerate(lines):
        for text in _wrong_texts(json.loads(line)):
            path.write_text("\n".join([*lines[:number], text, *lines[number + 1 :]]) + "\n")
            (job,) = all_jobs(resumed)[0]
            (item,) = decide(replace(resumed, force=True), [job])
            seen.add(f"{item.action} {item.why}")
            records, _ = known(tmp_path / "out")
            entries = [
                summary.FileEntry(record.name, record.target, "done", record.row)
                for record in records.values()
            ]
            made = summary.BatchSummary({}, entries)
            json.dumps(made.document, allow_nan=False)
            assert made.table.encode("utf-8", "surrogateescape")
    assert {"skip done already", "redo not finished", "redo input changed", "redo other parameters"} <= seen
    path.write_text("\n".join(lines[:2]) + "\n[]\n")
    assert carry_out(resumed, Silent(), _here).counts == {"done": 1}
    assert carry_out(resumed, Silent(), _here).counts == {"skipped": 1}


class Noting(Silent):
    """A watcher that records notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.mark.parametrize("content", [b"[1,2]", b"", b"\xff\0\n{", b"null\n7\n", None], ids=str)
def test_results_of_a_lost_manifest_are_made_again(content: bytes | None, tmp_path: Path) -> None:
    """The summary still lists them with their parameters."""
    folder(tmp_path / "in", "a.npy", "b.npy")
    given = request(tmp_path, "erode")
    carry_out(given, Silent(), _here)
    path, result = tmp_path / "out" / name_of(), tmp_path / "out" / "a.npy"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    before, resumed, watcher = result.stat().st_ino, replace(given, resume=True), Noting()
    with pytest.raises(FileError, match="2 results are there already; add --resume"):
        carry_out(given, Silent(), _here)
    with pytest.raises(
        FileError,
        match=r"2 results were made with other parameters \(the steps were erode and are dilate\)\. Add --force beside",
    ):
        carry_out(replace(resumed, recipe=recipe("dilate")), Silent(), _here)
    assert result.stat().st_ino == before
    assert carry_out(resumed, watcher, _here).counts == {"done": 2}
    assert watcher.notes == ["2 results are done again, which the summary lists and the manifest does not."]
    assert result.stat().st_ino != before
    assert carry_out(resumed, Silent(), _here).counts == {"skipped": 2}


def test_files_that_are_newer_than_the_summary_are_not_replaced(tmp_path: Path) -> None:
    folder(tmp_path / "in", "a.npy", "b.npy")
    given = request(tmp_path, "erode")
    carry_out(given, Silent(), _here)
    out = tmp_path / "out"
    (out / name_of()).write_text("[1,2]")
    (out / "a.npy").write_bytes(b"drawn by hand")
    resumed = replace(given, resume=True)
    with pytest.raises(FileError, match=r"a\.npy: 1 file that no batch in .* is known to have made"):
        carry_out(resumed, Silent(), _here)
    assert (out / "a.npy").read_bytes() == b"drawn by hand"
    for content in (b"[1,2]", b"\xff"):
        (out / "summary.json").write_bytes(content)
        with pytest.raises(FileError, match=r"2 files that no batch in .* is known to have made"):
            carry_out(resumed, Silent(), _here)
    assert carry_out(replace(resumed, force=True), Silent(), _here).counts == {"done": 2}


def test_a_summary_with_a_value_of_a_wrong_type_lists_nothing(tmp_path: Path) -> None:
    folder(tmp_path / "in", "a.npy")
    given = replace(request(tmp_path, "erode"), resume=True)
    carry_out(given, Silent(), _here)
    (tmp_path / "out" / name_of()).write_text("[1,2]\n")
    path = tmp_path / "out" / "summary.json"
    listed, (job,), seen = json.loads(path.read_text()), all_jobs(given)[0], set[str]()
    listed["files"] = [{name: listed["files"][0][name] for name in ("input", "output", "status")}]
    for text in _wrong_texts(listed):
        path.write_text(text)
        (item,) = decide(replace(given, force=True), [job])
        seen.add(item.why if item.ours else "unknown")
    assert seen == {"not in the manifest", "other parameters", "unknown"}


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_a_summary_that_cannot_be_written_is_refused_before_the_work(
    make: Any, force: bool, tmp_path: Path
) -> None:
    folder(tmp_path / "in", "a.npy")
    given = request(tmp_path, "erode")
    carry_out(given, Silent(), _here)
    (tmp_path / "out" / "summary.csv").unlink()
    make(tmp_path / "out" / "summary.csv")
    (tmp_path / "out" / "a.npy").unlink()
    with pytest.raises(FileError, match="the batch takes its name; rename it"):
        carry_out(replace(given, resume=True, force=force), Silent(), _here)
    assert not (tmp_path / "out" / "a.npy").exists()


def test_lines_of_a_wrong_clock_are_superseded(tmp_path: Path) -> None:
    """Lines count in their order, also after one from the future."""
    folder(tmp_path / "in", "a.npy")
    given = request(tmp_path, "erode")
    carry_out(given, Silent(), _here)
    path, resumed = tmp_path / "out" / name_of(), replace(given, resume=True)
    for name in (path.name, name_of(2, 0)):
        with BatchManifest(path.with_name(name), {}) as lines:
            lines.write(Record("a.npy", "a.npy", FAILED, 1e300))
    assert carry_out(resumed, Silent(), _here).counts == {"done": 1}
    assert carry_out(resumed, Silent(), _here).counts == {"skipped": 1}
