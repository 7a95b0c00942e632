"""softmorph bench, on maps so small that nothing is measured but the command."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers_cli import everything, process, refused, run

from softmorph_cli.bench import measure
from softmorph_cli.bench.peers import COPY, RULER

TINY = ("--size", 24, "--repeats", 1, "--threads", 1)
QUICK = (
    *TINY,
    "--no-peak-memory",
    "--operation",
    "erosion",
    "--operation",
    "skeletonize",
    "--method",
    "minmax",
)
PNG = b"\x89PNG\r\n\x1a\n"


def test_plain_lines_on_stdout_and_nothing_else() -> None:
    ended = run("bench", *QUICK)
    assert ended.err == ""
    assert ended.out.startswith("this machine\n  processor: ")
    assert "24 × 24 × 24 voxels, cpu\n  erosion 6-connected, minmax: time " in ended.out
    for column in ("MVoxel/s ", "/ copy ", "/ ruler ", "first "):
        assert column in ended.out
    assert ", memory " not in ended.out
    assert "compared with\n  copy (numpy " in ended.out
    assert "× its time for erosion 6-connected, minmax\n" in ended.out
    assert "time per voxel" not in ended.out


def test_one_json_object() -> None:
    ended = run("bench", *QUICK, "--size", "16,32", "--json", "-q")
    found = ended.json
    assert ended.err == ""
    assert found["schema"] == 2
    assert found["parameters"]["sizes"] == [16, 24, 32]
    assert found["parameters"]["threads"] == found["machine"]["threads"] == 1
    assert found["machine"].keys() >= {"processor", "memory_bytes", "device", "softmorph", "libraries"}
    assert len(found["rows"]) == 3 * 4
    for row in found["rows"]:
        names = {"seconds": "best_seconds", "map": "drawn_map"}
        assert row.keys() == {names.get(name, name) for name in measure.Measurement.__dataclass_fields__}
        assert row["shape"] in ([16] * 3, [24] * 3, [32] * 3)
        assert row["drawn_map"] == "noise"
        assert min(row["best_seconds"], row["first_seconds"], row["ratio_to_copy"], row["ratio_to_ruler"]) > 0
        assert row["mvoxel_per_s"] == pytest.approx(row["shape"][0] ** 3 / row["best_seconds"] / 1e6)
        assert row["peak_bytes"] is None
    assert {COPY, RULER} <= {one["name"] for one in found["comparisons"]}
    assert [one["work"] for one in found["growth"]] == [
        f"erosion {c}-connected, minmax" for c in (6, 18, 26)
    ] + ["skeletonize 1 iteration, minmax"]
    assert {(tuple(one["smallest"]), tuple(one["largest"])) for one in found["growth"]} == {
        ((16,) * 3, (32,) * 3)
    }


def test_every_work_runs_in_two_dimensions_in_a_process_of_its_own() -> None:
    ended = process("bench", *TINY, "--dimensions", 2, "--no-peak-memory", "--json")
    assert ended.code == 0, ended.err
    assert {row["method"] for row in ended.json["rows"]} == {
        "nested", "multilinear", "product", "minmax", "levels", "hard", "smooth-levels",
    }  # fmt: skip
    assert {row["operation"] for row in ended.json["rows"]} >= {"training forward", "training backward"}
    assert "SimpleITK BinaryThinning of one mask" in {one["name"] for one in ended.json["comparisons"]}


def test_peak_memory() -> None:
    (row,) = run("bench", *TINY, "--operation", "opening", "--json").json["rows"]
    assert row["peak_bytes"] >= 0
    assert row["peak_to_input"] == row["peak_bytes"] / (4 * 24**3)


def test_a_plot_is_drawn_once(here: Path) -> None:
    arguments = ("bench", *QUICK, "--size", 32, "--plot", "speed.png")
    run(*arguments)
    assert Path("speed.png").read_bytes().startswith(PNG)
    refused(*arguments, says=("speed.png exists already", "--force"))
    run(*arguments, "--force")
    assert set(everything()) == {"speed.png"}


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--size", "big"], 2, "--size big"),
        (["--size", "32,,64"], 2, "at least 8"),
        (["--size", "7"], 2, "--size 7"),
        (["--size", "-24"], 2, "--size -24"),
        (["--size", "100000"], 1, "choose a smaller --size"),
        (["--dimensions", 4], 2, "use 2 or 3"),
        (["--repeats", 0], 2, "--repeats 0"),
        (["--threads", 0], 2, "--threads 0"),
        (["--operation", "erode"], 2, "what is measured is erosion"),
        (["--method", "exact"], 2, "what is measured is minmax"),
        (["--operation", "opening", "--method", "levels"], 2, "add --method minmax"),
        (["--device", "tpu"], 2, "tpu"),
        (["--device", "cuda:63"], 1, "cuda:63"),
        (["--plot", "speed.jpg"], 2, ".png"),
        (["--plot", "missing/speed.png"], 1, "does not exist"),
    ],
)
def test_what_is_refused_before_anything_is_measured(arguments: list[object], code: int, says: str) -> None:
    refused("bench", *arguments, code=code, says=says)


def test_a_closing_prints_its_number_of_passes() -> None:
    """One along each axis for a box, of the dilation and of the erosion; for a cross as many in each iteration."""
    ended = run("bench", *TINY, "--no-peak-memory", "--operation", "closing")
    assert "closing 6-connected, radius 3, 18 1-D passes, minmax: time " in ended.out
    assert "closing 26-connected, radius 3, 6 1-D passes, minmax: time " in ended.out
