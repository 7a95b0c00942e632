"""JSON of every command: one object on stdout, of a result or of an error, and the spellings of earlier versions."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_cli import SPACING, Ended, complaint, everything, random_map, run, save

from softmorph_cli.api import analysis as api_analysis
from softmorph_cli.cli.earlier_spellings import current

UNTIL = "the next version does not accept the earlier spelling"


@pytest.fixture(autouse=True)
def _map(here: Path) -> None:
    image = np.zeros((5, 6, 12), np.float32)
    image[2, 3, 2:10] = 0.75
    save("map.nii.gz", image)


def length(ended: Ended) -> float:
    return float(ended.json["graph"]["length_mm"])


# 7 steps of the voxel size along x.
WANTED = 7 * SPACING[2]


@pytest.mark.parametrize(
    "words",
    [
        ("--json", "map.nii.gz"),
        ("map.nii.gz", "--json"),
        ("map.nii.gz", "--json", "-"),
        ("--json", "-", "map.nii.gz"),
        ("map.nii.gz", "--json=-"),
    ],
)
def test_json_is_a_flag_that_eats_no_file(words: tuple[str, ...]) -> None:
    ended = run("inspect", "--levels", 0, *words)
    assert length(ended) == pytest.approx(WANTED)
    earlier = any(word in ("-", "--json=-") for word in words)
    told = f"note: --json - is now --json: type --json; {UNTIL}."
    assert ended.err.splitlines().count(told) == earlier


@pytest.mark.parametrize("words", [("--json", "j.json"), ("--json=j.json",), ("--json", "numbers.txt")])
def test_a_path_after_json_is_the_earlier_spelling(words: tuple[str, ...]) -> None:
    path = words[-1].removeprefix("--json=")
    ended = run("inspect", "map.nii.gz", *words, "--levels", 0)
    assert "components" in ended.out
    document = json.loads(Path(path).read_text(encoding="utf-8"))
    assert document["graph"]["length_mm"] == pytest.approx(WANTED)
    today = f"--json-file {path}"
    assert f"note: --json {path} is now {today}: type {today}; {UNTIL}." in ended.err.splitlines()
    # What the note says does the same without a note.
    again = run("inspect", "map.nii.gz", *today.split(), "--force", "--levels", 0)
    assert again.out == ended.out
    assert "is now" not in again.err


def test_a_second_map_after_json_is_read_even_if_it_is_missing() -> None:
    save("other.nii.gz", random_map() * 0)
    found = run("inspect", "map.nii.gz", "--json", "other.nii.gz", "--levels", 0).json
    assert [one["input"]["path"] for one in found["files"]] == ["map.nii.gz", "other.nii.gz"]
    ended = run("inspect", "--json", "missing.nii.gz", code=1)
    assert ended.json["error"]["message"] == complaint(ended.err)
    assert "missing.nii.gz does not exist" in ended.json["error"]["message"]


@pytest.mark.parametrize(
    ("command", "typed", "today"),
    [
        ("stats", "map.nii.gz --stats s.json", "map.nii.gz --json-file s.json"),
        ("stats", "map.nii.gz --stats=s.json", "map.nii.gz --json-file=s.json"),
        ("bench", "--no-memory", "--no-peak-memory"),
        ("evaluate", "a b --tolerance 1mm", "a b --distance-tolerance 1mm"),
        ("erode", "a b --tolerance 0.1", "a b --tolerance 0.1"),
        ("stats", "-- --stats", "-- --stats"),
        ("stats", "--json x.json", "--json x.json"),
        ("inspect", "--json -q", "--json -q"),
        ("inspect", "--json", "--json"),
    ],
)
def test_words_of_an_earlier_version(command: str, typed: str, today: str) -> None:
    found, notes = current(command, typed.split())
    assert found == today.split()
    assert len(notes) == (typed != today)


def test_an_earlier_option_is_told_once_and_not_with_quiet() -> None:
    loud = run("stats", "map.nii.gz", "--stats", "s.json")
    assert loud.err == f"note: --stats is now --json-file: type --json-file; {UNTIL}.\n"
    still = run("stats", "map.nii.gz", "--stats", "s.json", "--force", "--quiet")
    assert (still.out, still.err) == ("", "")
    assert json.loads(Path("s.json").read_text(encoding="utf-8"))["command"] == "stats"


@pytest.mark.parametrize("command", ["stats", "inspect", "info"])
def test_quiet_silences_tables_and_leaves_json_and_csv(command: str) -> None:
    assert run(command, "map.nii.gz").out != ""
    assert run(command, "map.nii.gz", "-q").out == ""
    assert run(command, "map.nii.gz", "-q", "--json").json["command"] == command
    if command != "info":
        assert run(command, "map.nii.gz", "-q", "--csv", "-").out.count("\n") == 2


@pytest.mark.parametrize(
    ("words", "command", "says"),
    [
        (("stats", "--json", "--statistics"), "stats", "No such option: --statistics"),
        (("stats", "--json"), "stats", "Missing argument 'IN...'"),
        (
            ("erode", "--json", "map.nii.gz", "o.nii.gz", "-n", "many"),
            "erode",
            "Invalid value for '--iterations'",
        ),
        (("batch", "--json", "a", "b", "-n"), "batch", "in batch type --dry-run"),
        (("batch", "--json", "a", "b", "-r"), "batch", "in batch type --recursive"),
        (("topology", "mend", "--json"), "topology", "No such command 'mend'"),
        (("inspct", "--json"), "", "No such command 'inspct'"),
        (("stats", "map.nii.gz", "--json", "--csv", "-"), "stats", "would both print on stdout"),
    ],
)
def test_wrong_usage_is_json_too(words: tuple[str, ...], command: str, says: str) -> None:
    before = everything()
    ended = run(*words, code=2)
    document = ended.json
    assert document["command"] == command
    assert (document["error"]["exit_code"], document["error"]["kind"]) == (2, "usage")
    assert says in document["error"]["message"]
    assert says.split("'")[0] in ended.err
    assert everything() == before
    # Without --json nothing is printed on stdout.
    plain = [word for word in words if word != "--json"]
    assert "--csv" in plain or run(*plain, code=2).out == ""


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (("--json", "stats", "map.nii.gz"), ""),
        (("--json",), ""),
        (("topology", "--json", "numbers", "map.nii.gz"), "topology"),
        (("prior", "--json"), "prior"),
    ],
)
def test_json_before_the_name_of_a_command_is_json_too(words: tuple[str, ...], command: str) -> None:
    document = run(*words, code=2).json
    assert document["command"] == command
    assert "No such option: --json" in document["error"]["message"]
    assert (document["error"]["exit_code"], document["error"]["kind"]) == (2, "usage")


@pytest.mark.parametrize("quiet", [False, True])
def test_quiet_silences_what_is_logged(
    quiet: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = logging.getLogger("softmorph_cli")
    wanted, before = api_analysis.statistics, log.level

    def compiled(*given: Any, **more: Any) -> Any:
        log.warning("compiling a kernel")
        return wanted(*given, **more)

    monkeypatch.setattr(api_analysis, "statistics", compiled)
    run("stats", "map.nii.gz", *["-q"] * quiet)
    assert len(caplog.records) == (not quiet)
    assert log.level == before


def test_an_error_that_is_a_bug_is_json_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: object, **more: object) -> None:
        raise KeyError("colour")

    monkeypatch.setattr("softmorph_cli.api.analysis.statistics", broken)
    ended = run("stats", "map.nii.gz", "--json", code=1)
    assert ended.json["error"]["message"].startswith("KeyError: 'colour'")
    assert ended.json["error"]["kind"] == "failed"


def test_an_interruption_is_json_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*given: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("softmorph_cli.api.analysis.statistics", stopped)
    ended = run("stats", "map.nii.gz", "--json", code=130)
    assert (ended.json["error"]["exit_code"], ended.json["error"]["kind"]) == (130, "interrupted")


def test_rules_are_json() -> None:
    listed = run("rules", "--json").json["rules"]
    assert {one["rule"] for one in listed} >= {"thinning-3d", "majority-2d"}
    (one,) = run("rules", "majority-2d", "--json").json["rules"]
    assert one in listed
    assert (one["dimensions"], one["outside"]) == (2, 0)
    refused = run("rules", "majority-9d", "--json", code=1)
    assert "majority-9d" in refused.json["error"]["message"]


def test_a_plan_of_tiles_and_of_a_batch_is_json() -> None:
    save("map.npy", random_map((16, 16, 16)))
    words = ("erode", "map.npy", "out.zarr", "--memory", "1GB", "--dry-run")
    plan = run(*words, "--json").json
    assert plan["dry_run"] is True
    assert plan["tiles"]["count"] >= 1
    assert plan["tiles"]["shape"] == [16, 16, 16]
    assert "map (voxels)" in run(*words).out
    Path("maps").mkdir()
    Path("map.nii.gz").rename("maps/map.nii.gz")
    planned = run("batch", "maps", "out", "erode", "--dry-run", "--json").json
    assert [(one["input"]["path"], one["action"]) for one in planned["files"]] == [("maps/map.nii.gz", "new")]
    assert not Path("out").exists()
