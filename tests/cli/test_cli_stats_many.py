"""softmorph stats of several files: one table, one CSV, one JSON; what fails does not stop the others."""

from __future__ import annotations

import csv
import importlib
import io
import json
import math
import os
import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_cli import ESCAPE, complaint, everything, process, random_map, refused, run, save, script
from test_cli_statistics import STATISTICS, agree, check
from test_cli_terminal import on_terminal

from softmorph_cli.cli import report
from softmorph_cli.errors import FileError, UsageError
from softmorph_cli.io.writing import write
from softmorph_cli.volume import Volume

HEADER = (
    "file,channel,axes,size_z,size_y,size_x,spacing_z,spacing_y,spacing_x,spacing_unit,voxels,"
    "expected_voxels,std_voxels,expected_area_mm2,std_area_mm2,expected_volume_mm3,std_volume_mm3,"
    "voxels_above_half,components_above_half,connectivity,mean,min,max,entropy_bits,"
    "std_independent_voxels,std_comonotone_voxels,q05_voxels,q50_voxels,q95_voxels,"
    "std_independent_area_mm2,std_comonotone_area_mm2,q05_area_mm2,q50_area_mm2,q95_area_mm2,"
    "std_independent_volume_mm3,std_comonotone_volume_mm3,q05_volume_mm3,q50_volume_mm3,q95_volume_mm3"
)


AREAS_IN_UM = (
    ",expected_area_um2,std_area_um2,std_independent_area_um2,std_comonotone_area_um2,q05_area_um2,q50_area_um2,"
    "q95_area_um2"
)


def parsed(text: str, more: str = "") -> list[dict[str, str]]:
    assert text.splitlines()[0] == HEADER + more
    assert "\r" not in text
    return list(csv.DictReader(io.StringIO(text)))


def errors(err: str) -> list[str]:
    return [line for line in err.splitlines() if line.startswith("error: ")]


# The fields of every document.
HEAD = ("schema", "softmorph_version", "command")
TAIL = ("seconds", "notes", "warnings")


@pytest.fixture
def maps() -> dict[str, np.ndarray]:
    """Three maps of one kind."""
    arrays = {f"case_{seed}.nii.gz": random_map(seed=seed) for seed in range(3)}
    for name, array in arrays.items():
        save(name, array)
    return arrays


@pytest.fixture
def mixed(maps: dict[str, np.ndarray]) -> list[str]:
    """A map in mm³, one of two channels in mm², and one in pixels."""
    pair = random_map((2, 5, 6), seed=9)
    write(Volume(pair, "CYX", (2.0, 1.5), "um", channels=("axon", "soma")), "pair.ome.tif")
    save("bare.npy", random_map((5, 6), seed=8))
    return ["case_0.nii.gz", "pair.ome.tif", "bare.npy"]


def test_the_csv_from_the_files(maps: dict[str, np.ndarray]) -> None:
    ended = run("stats", *maps, "--csv", "-")
    rows = parsed(ended.out)
    assert [row["file"] for row in rows] == list(maps)
    for row, array in zip(rows, maps.values(), strict=True):
        p, voxel = array.astype(np.float64), 9.0
        assert [row[f"size_{a}"] for a in "zyx"] == ["6", "7", "8"]
        assert [float(row[f"spacing_{a}"]) for a in "zyx"] == [3.0, 2.0, 1.5]
        assert (row["axes"], row["channel"], row["spacing_unit"]) == ("ZYX", "", "mm")
        assert (row["voxels"], row["connectivity"]) == (str(p.size), "26")
        deviation = math.sqrt((p * (1 - p)).sum())
        assert float(row["expected_voxels"]) == pytest.approx(p.sum())
        assert float(row["std_voxels"]) == pytest.approx(deviation)
        assert float(row["expected_volume_mm3"]) == pytest.approx(p.sum() * voxel)
        assert float(row["std_volume_mm3"]) == pytest.approx(deviation * voxel)
        assert (row["expected_area_mm2"], row["std_area_mm2"], row["q50_area_mm2"]) == ("", "", "")
        for kind in ("voxels", "volume_mm3"):
            assert row[f"std_independent_{kind}"] == row[f"std_{kind}"]
        for name, threshold in (("q05", 0.95), ("q50", 0.5), ("q95", 0.05)):
            assert int(row[f"{name}_voxels"]) == (p > threshold).sum()
            assert float(row[f"{name}_volume_mm3"]) == pytest.approx((p > threshold).sum() * voxel)
        assert int(row["voxels_above_half"]) == (p > 0.5).sum()
        assert float(row["mean"]) == pytest.approx(p.mean())
        assert (float(row["min"]), float(row["max"])) == (p.min(), p.max())
        found = run("stats", row["file"], "--json").json["statistics"]
        for name in ("entropy_bits", "components_above_half", "mean", "max"):
            assert float(row[name]) == found[name]
        assert float(row["std_comonotone_volume_mm3"]) == found["volume_std_comonotone"]
        assert float(row["std_comonotone_voxels"]) == pytest.approx(found["volume_std_comonotone"] / voxel)


def test_units_and_channels_of_a_csv(mixed: list[str]) -> None:
    rows = parsed(run("stats", *mixed, "--csv", "-").out, AREAS_IN_UM)
    assert [(row["file"], row["channel"]) for row in rows] == [
        ("case_0.nii.gz", ""),
        ("pair.ome.tif", "axon"),
        ("pair.ome.tif", "soma"),
        ("bare.npy", ""),
    ]
    for row in rows:
        filled = {name for name in row if name.startswith(("expected_", "std_")) and row[name]}
        kind = {"case_0.nii.gz": {"volume_mm3"}, "pair.ome.tif": {"area_um2"}}.get(row["file"], set())
        figures = ("expected", "std", "std_independent", "std_comonotone")
        assert filled == {f"{what}_{unit}" for what in figures for unit in {"voxels"} | kind}
    axon = rows[1]
    pair = random_map((2, 5, 6), seed=9)[0].astype(np.float64)
    assert float(axon["expected_area_um2"]) == pytest.approx(pair.sum() * 2 * 1.5)
    assert float(axon["expected_voxels"]) == pytest.approx(pair.sum())
    assert (axon["size_z"], axon["size_y"], axon["size_x"], axon["voxels"]) == ("", "5", "6", "30")
    assert (axon["spacing_unit"], axon["axes"], axon["connectivity"]) == ("um", "CYX", "8")
    assert (rows[3]["spacing_y"], rows[3]["spacing_unit"]) == ("", "")


def test_an_empty_map_has_no_deviation() -> None:
    save("empty.nii.gz", np.zeros((3, 4, 5), np.float32))
    (row,) = parsed(run("stats", "empty.nii.gz", "--csv", "-").out)
    names = ("expected", "std", "std_independent", "std_comonotone", "q05", "q50", "q95")
    assert {float(row[f"{name}_{kind}"]) for name in names for kind in ("voxels", "volume_mm3")} == {0.0}


@pytest.mark.parametrize("count", [1, 3])
def test_a_csv_file_stands_beside_what_is_printed(maps: dict[str, np.ndarray], count: int) -> None:
    names = list(maps)[:count]
    plain = run("stats", *names)
    ended = run("stats", *names, "--csv", "out.csv")
    assert (ended.out, ended.err) == (plain.out, plain.err)
    text = Path("out.csv").read_text(encoding="utf-8")
    assert [row["file"] for row in parsed(text)] == names
    assert run("stats", *names, "--csv", "-").out == text
    document = run("stats", *names, "--csv", "out.csv", "--force", "--json")
    again = run("stats", *names, "--json").json
    assert document.json | {"seconds": again["seconds"]} == again


def test_one_file_is_as_it_was(maps: dict[str, np.ndarray]) -> None:
    name = next(iter(maps))
    document = run("stats", name, "--json", "--json-file", "out.json").json
    assert list(document) == [*HEAD, "input", "statistics", *TAIL]
    assert json.loads(Path("out.json").read_text(encoding="utf-8")) == document
    assert run("stats", name).out.splitlines()[0] == name
    assert len(run("stats", name).out.splitlines()) == 13


def test_the_json_of_several(maps: dict[str, np.ndarray]) -> None:
    document = run("stats", *maps, "--json", "--json-file", "out.json").json
    assert json.loads(Path("out.json").read_text(encoding="utf-8")) == document
    assert list(document) == [*HEAD, "files", "failed", *TAIL]
    assert document["failed"] == []
    for one, (name, array) in zip(document["files"], maps.items(), strict=True):
        check(one["statistics"], STATISTICS)
        agree(one["statistics"], array, 9.0, "mm^3")
        assert one["input"]["path"] == name
        alone = run("stats", name, "--json").json
        assert one == {"input": alone["input"], "statistics": alone["statistics"]}


def test_plain_lines_are_those_of_each_file(mixed: list[str]) -> None:
    assert run("stats", *mixed).out == "".join(run("stats", name).out for name in mixed)


def test_a_table_on_a_terminal(maps: dict[str, np.ndarray]) -> None:
    code, shown = on_terminal("stats", *maps, columns=160, changes={"NO_COLOR": "1"})
    assert code == 0
    assert "3 files" in shown
    assert shown.count("volume (mm³)") == 1
    assert "components are 26-connected" in shown
    for name in maps:
        found = run("stats", name, "--json").json["statistics"]
        # The table comes last; a bar on a slow machine names files too.
        lines = shown.splitlines()
        *_, row = [number for number, line in enumerate(lines) if name in line]
        line = "".join(lines[row : row + 3])
        for words in (
            "6 × 7 × 8",
            "3 × 2 × 1.5 mm",
            f" {report.number(found['expected_volume'])} ",
            f" ±{report.number(found['volume_std_independent'])} ",
            f" ±{report.number(found['volume_std_comonotone'])} ",
            *(f" {report.number(volume)} " for volume in found["volume_quantiles"].values()),
            f"{found['voxels_above_half']:,}",
            f"{found['mean']:.4g}",
            report.number(found["entropy_bits"]),
        ):
            assert words in line


def test_units_that_differ_stand_in_their_rows(mixed: list[str]) -> None:
    code, shown = on_terminal("stats", *mixed, columns=160, changes={"NO_COLOR": "1"})
    assert code == 0
    found = {
        row: line for line in shown.splitlines() for row in ("case_0", "axon", "soma", "bare") if row in line
    }
    assert "mm³" in found["case_0"]
    assert "µm²" in found["axon"]
    assert "pair.ome.tif" in found["soma"]
    assert " pixels " in found["bare"]
    assert "unknown" in found["bare"]
    assert "(mm" not in shown
    assert "components are 8- or 26-connected" in shown


def blocks(shown: str, names: list[str]) -> list[str]:
    """The text of each row, however many lines it takes."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).split("components are")[0].splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith((" case", " ca"))]
    assert len(starts) == len(names)
    ends = [*starts[1:], len(lines)]
    return ["".join(lines[start:end]) for start, end in zip(starts, ends, strict=True)]


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_a_narrow_terminal_breaks_figures_but_loses_none(maps: dict[str, np.ndarray], columns: int) -> None:
    _, wide = on_terminal("stats", *maps, columns=200)
    _, shown = on_terminal("stats", *maps, columns=columns)
    assert "…" not in shown
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)  # colours, and what a bar erased
    assert all(len(line) <= columns for line in plain.splitlines())
    for row, whole in zip(blocks(shown, list(maps)), blocks(wide, list(maps)), strict=True):
        assert sorted(row.replace(" ", "")) == sorted(whole.replace(" ", ""))
        if columns >= 80:
            # Means are not broken here.
            assert next(part for part in whole.split() if part.startswith("0.")) in row.split()


def test_what_fails_does_not_stop_the_others(maps: dict[str, np.ndarray]) -> None:
    Path("bad.nii.gz").write_bytes(b"not a map")
    save("labels.npy", np.arange(60).reshape(3, 4, 5) % 5)
    names = ["bad.nii.gz", "case_0.nii.gz", "missing.nii.gz", "labels.npy", "case_1.nii.gz"]
    ended = run("stats", *names, "--json", "--csv", "out.csv", "--json-file", "out.json", code=1)
    told = errors(ended.err)
    assert len(told) == 3
    for name, words in (
        ("bad.nii.gz", "damaged"),
        ("missing.nii.gz", "does not exist"),
        ("labels.npy", "--label"),
    ):
        assert [line for line in told if name in line and words in line]
    document = ended.json
    assert [one["input"]["path"] for one in document["files"]] == ["case_0.nii.gz", "case_1.nii.gz"]
    assert [one["input"]["path"] for one in document["failed"]] == [
        "bad.nii.gz",
        "missing.nii.gz",
        "labels.npy",
    ]
    assert [f"error: {one['error']['message']}" for one in document["failed"]] == told
    error = document.pop("error")
    assert error["exit_code"] == 1
    assert f"error: {error['message']}" == f"{told[0]} (2 more on stderr)"
    assert json.loads(Path("out.json").read_text(encoding="utf-8")) == document
    rows = parsed(Path("out.csv").read_text(encoding="utf-8"))
    assert [row["file"] for row in rows] == ["case_0.nii.gz", "case_1.nii.gz"]
    assert run("stats", *names, code=1).out == run("stats", "case_0.nii.gz", "case_1.nii.gz").out
    code, shown = on_terminal("stats", *names, columns=160)
    assert code == 1
    assert "2 of 5 files" in shown


def test_all_that_fail_leave_nothing() -> None:
    before = everything()
    ended = run("stats", "a.nii", "b.nii", "--csv", "out.csv", "--json-file", "out.json", "--json", code=1)
    assert ended.json["files"] == []
    assert [one["input"]["path"] for one in ended.json["failed"]] == ["a.nii", "b.nii"]
    assert len(errors(ended.err)) == 2
    assert everything() == before


def test_one_that_does_not_fit_the_memory(
    maps: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    from softmorph_cli.metrics.statistics import Statistics

    measure = Statistics.of

    def full(array: np.ndarray, **more: Any) -> Any:
        if np.array_equal(array, maps["case_1.nii.gz"]):
            raise MemoryError
        return measure(array, **more)

    monkeypatch.setattr(Statistics, "of", full)
    ended = run("stats", *maps, "--csv", "-", code=1)
    assert [row["file"] for row in parsed(ended.out)] == ["case_0.nii.gz", "case_2.nii.gz"]
    assert complaint(ended.err).startswith("case_1.nii.gz: out of memory")


def test_the_traceback_of_one_that_fails(maps: dict[str, np.ndarray]) -> None:
    ended = run("stats", "case_0.nii.gz", "missing.nii", "--verbose", code=1)
    assert "Traceback" in ended.err
    assert "FileNotFoundError" in ended.err


def test_notes_name_their_file() -> None:
    save("mask.nii.gz", (random_map() > 0.5).astype(np.uint8))
    save("map.nii.gz", random_map())
    ended = run("stats", "mask.nii.gz", "map.nii.gz")
    assert ended.err == "note: mask.nii.gz: it holds only 0 and 1 and is taken as a mask.\n"


def test_options_of_reading_hold_for_all(maps: dict[str, np.ndarray]) -> None:
    rows = parsed(run("stats", *maps, "--csv", "-", "--region", "1:3,:,2:").out)
    assert {(row["size_z"], row["size_y"], row["size_x"]) for row in rows} == {("2", "7", "6")}
    expected = [float(array[1:3, :, 2:].astype(np.float64).sum()) for array in maps.values()]
    assert [float(row["expected_voxels"]) for row in rows] == pytest.approx(expected)
    assert "--region" in refused("stats", *maps, "--region", "1:x", code=2)


WRONG = [
    (["--preview", "p.png"], 2, ("--preview", "one map", "3 files")),
    (["--csv", "-", "--json"], 2, ("--json", "--csv -", "stdout")),
    (["--csv", "nowhere/out.csv"], 1, ("nowhere", "does not exist", "mkdir -p")),
    (["--csv", "."], 1, (".", "")),
    (["--csv", "case_1.nii.gz", "--force"], 2, ("case_1.nii.gz", "twice")),
    (["--csv", "out.txt", "--json-file", "./out.txt"], 2, ("out.txt", "twice")),
]


@pytest.mark.parametrize(("options", "code", "says"), WRONG)
def test_wrong_use_is_refused_before_anything_is_read(
    maps: dict[str, np.ndarray], options: list[str], code: int, says: tuple[str, ...]
) -> None:
    for name in maps:
        # What is not read cannot be complained about.
        os.truncate(name, 20)
    refused("stats", *maps, *options, code=code, says=says)


@pytest.mark.parametrize("option", ["--csv", "--json-file"])
@pytest.mark.parametrize("count", [1, 2])
def test_what_exists_is_kept(option: str, count: int) -> None:
    Path("old").write_text("mine", encoding="utf-8")
    refused("stats", *["missing.nii"] * count, option, "old", says=("old", "exists already", "--force"))


def test_force_replaces_the_csv(maps: dict[str, np.ndarray]) -> None:
    Path("old.csv").write_text("mine", encoding="utf-8")
    run("stats", *maps, "--csv", "old.csv", "--force")
    assert len(parsed(Path("old.csv").read_text(encoding="utf-8"))) == 3
    assert len(list(Path().iterdir())) == 4


@pytest.mark.parametrize(
    ("folder", "inside", "pattern"),
    [
        ("maps", ["a.tif", "b.tif", "c.nii.gz", "notes.txt"], "softmorph stats maps/*.tif"),
        ("maps", [], "softmorph stats maps/*.nii.gz"),
        ("my maps", ["a.nii.gz", "b.nii.gz"], "softmorph stats 'my maps'/*.nii.gz"),
    ],
)
def test_a_folder_says_what_to_type(folder: str, inside: list[str], pattern: str) -> None:
    Path(folder).mkdir()
    for name in inside:
        (Path(folder) / name).touch()
    assert refused("stats", folder, says=folder).endswith(f"is a folder; name the files in it: {pattern}")
    save("map.nii.gz", random_map())
    ended = run("stats", "map.nii.gz", folder, "--csv", "-", code=1)
    assert complaint(ended.err).endswith(pattern)
    assert len(parsed(ended.out)) == 1


def test_names_that_a_csv_has_to_quote() -> None:
    names = ['a,"b".nii.gz', "é\n脈.nii.gz", "-c.nii.gz"]
    for name in names:
        save("x.nii.gz", random_map()).rename(name)
    rows = parsed(run("stats", "--csv", "-", "--", *names).out)
    # As it is the last one would be a formula.
    assert [row["file"] for row in rows] == [*names[:2], "./-c.nii.gz"]
    strange = os.fsdecode(b"\xff.nii.gz")
    save("x.nii.gz", random_map()).rename(strange)
    ended = process("stats", "--csv", "out.csv", "--json", "./-c.nii.gz", strange)
    assert ended.code == 0, ended.err
    assert b"\n\xff.nii.gz,," in Path("out.csv").read_bytes()


def test_progress_where_it_lasts(maps: dict[str, np.ndarray]) -> None:
    np.save("large.npy", np.random.default_rng(0).random((60, 150, 150), dtype=np.float32))
    code, shown = on_terminal("stats", *["large.npy"] * 36, "missing.npy", "--csv", "out.csv", columns=160)
    assert code == 1
    assert re.search(r"file \d+ of 37: large\.npy", shown)
    assert re.search(r"error:\S* missing\.npy does not exist", shown)
    assert len(parsed(Path("out.csv").read_text(encoding="utf-8"))) == 36
    ended = process("stats", *maps)
    assert ended.err == ""
    assert ESCAPE not in ended.out


def test_progress_names_each_file(maps: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, int, int]] = []

    class Recorder:
        def stage(self, *what: Any) -> None:
            told.append(what)

    module = importlib.import_module("softmorph_cli.cli.stats")
    monkeypatch.setattr(module, "reporting", lambda *, quiet: nullcontext(Recorder()))
    run("stats", *maps)
    assert told == [(f"file {n + 1} of 3: case_{n}.nii.gz", n, 3) for n in range(3)]


_PEAK = """
import resource, sys
from softmorph_cli.cli.app import app
from typer.testing import CliRunner
result = CliRunner().invoke(app, ["stats", *sys.argv[1:], "--csv", "-"])
assert result.exit_code == 0, result.output
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.posix
def test_memory_does_not_grow_with_the_number_of_files() -> None:
    for number in range(8):
        np.save(f"{number}.npy", np.full((100, 200, 200), 0.25, np.float32))  # 15 MiB
    peaks = [int(script(_PEAK, *[f"{n}.npy" for n in range(count)]).out) for count in (1, 8)]
    assert peaks[1] - peaks[0] < 12 * 1024


def test_text_goes_to_a_file_or_to_stdout(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    for text, content in (("a\nb", b"a\nb\n"), ("a\n", b"a\n"), ("é\udcff", b"\xc3\xa9\xff\n")):
        report.deliver(text, Path("out.txt"), force=True)
        assert Path("out.txt").read_bytes() == content
        report.deliver(text, Path("-"), force=False)
        assert capfdbinary.readouterr().out == content
    assert [path.name for path in Path().iterdir()] == ["out.txt"]
    with pytest.raises(FileError, match="exists already"):
        report.deliver("new", Path("out.txt"), force=False)


def test_only_one_result_is_printed() -> None:
    report.check_stdout({"--json": False, "--csv": Path("-"), "--swc": None, "--obj": Path("a.obj")})
    with pytest.raises(UsageError, match=r"^--json and --csv - would both print on stdout; give one of them"):
        report.check_stdout({"--json": True, "--csv": Path("-")})
    with pytest.raises(UsageError, match=r"^--csv - and --swc - would both"):
        report.check_stdout({"--json": False, "--csv": Path("-"), "--swc": Path("-")})


def test_a_single_channel_still_has_its_name() -> None:
    write(replace(Volume(random_map((1, 5, 6)), "TYX"), spacing=None), "film.npy")
    rows = parsed(run("stats", "film.npy", "--axes", "TYX", "--csv", "-").out)
    assert [(row["channel"], row["axes"]) for row in rows] == [("T0", "TYX")]
