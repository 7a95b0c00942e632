"""Softmorph inside of pipelines: a workflow manager, a SLURM array, jq, exit statuses, a notebook."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_walks import in_bash, in_process, jq

import softmorph_cli as sm

# Lines of one voxel along x, and a speck of one voxel beside each; voxels are cubes of this size.
SIDE = 0.5
VOXELS = {"left": 12, "right": 17}
# In mm^3, without the speck.
VOLUMES = {name: count * SIDE**3 for name, count in VOXELS.items()}


@pytest.fixture(autouse=True)
def _maps(here: Path) -> None:
    Path("maps").mkdir()
    for name, count in VOXELS.items():
        sm.write(sm.Volume(line(count), "ZYX", (SIDE,) * 3, "mm"), f"maps/{name}.nii.gz")


def line(count: int) -> np.ndarray:
    image = np.zeros((7, 9, 22), np.float32)
    image[3, 4, 2 : 2 + count] = 0.75
    image[5, 7, 2] = 0.75
    return image


class Workflow:
    """A workflow manager in small: a rule runs where its output is missing or older than its input."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def make(self, target: Path, source: Path, rule: Callable[[Path, Path], tuple[object, ...]]) -> Path:
        if not target.exists() or target.stat().st_mtime_ns < source.stat().st_mtime_ns:
            ended = in_process(*rule(source, target), "--force", "--quiet")
            assert (ended.out, ended.err) == ("", "")
            self.ran.append(target.name)
        return target


def test_a_workflow_makes_what_is_missing_and_jq_reads_the_result() -> None:
    def run() -> list[str]:
        workflow = Workflow()
        Path("clean").mkdir(exist_ok=True)
        for name in VOXELS:
            source, target = Path(f"maps/{name}.nii.gz"), Path(f"clean/{name}.nii.gz")
            workflow.make(target, source, lambda a, b: ("threshold", a, b, "--largest", 1))
        cleaned = sorted(Path("clean").glob("*.gz"))
        newest = max(cleaned, key=lambda path: path.stat().st_mtime_ns)
        rule = ("stats", *cleaned, "--json-file")
        workflow.make(Path("cohort.json"), newest, lambda _, target: (*rule, target))
        return workflow.ran

    assert run() == ["left.nii.gz", "right.nii.gz", "cohort.json"]
    assert run() == []
    text = Path("cohort.json").read_text(encoding="utf-8")
    files = json.loads(text)["files"]
    found = {Path(one["input"]["path"]).name[:-7]: one["statistics"] for one in files}
    assert {name: one["expected_volume"] for name, one in found.items()} == pytest.approx(VOLUMES)
    # The specks are gone.
    assert {one["components_above_half"] for one in found.values()} == {1}
    program = ".files[] | [.input.path, (.statistics | .expected_volume, .components_above_half)] | @tsv"
    told = jq(program, text)
    if told is not None:
        rows = {Path(path).name[:-7]: (volume, count) for path, volume, count in _rows(told)}
        assert {name: float(volume) for name, (volume, _) in rows.items()} == pytest.approx(VOLUMES)
        assert {count for _, count in rows.values()} == {"1"}


def _rows(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


JOB = """
softmorph batch maps lines threshold --num-parts 2 --part-id "$SLURM_ARRAY_TASK_ID" --json --quiet
"""


@pytest.mark.posix
def test_an_array_of_slurm_does_a_part_in_each_task() -> None:
    """The variables are those that SLURM sets in a task of `sbatch --array=0-1 --cpus-per-task=1`."""
    done: list[str] = []
    for task in ("0", "1"):
        variables = {
            "SLURM_ARRAY_TASK_ID": task,
            "SLURM_ARRAY_TASK_COUNT": "2",
            "SLURM_ARRAY_JOB_ID": "71",
            "SLURM_CPUS_PER_TASK": "1",
        }
        part = json.loads(in_bash(JOB, **variables))
        assert part["counts"]["done"] == 1
        done += [Path(one["output"]["path"]).name for one in part["files"]]
    assert sorted(done) == ["left.nii.gz", "right.nii.gz"]
    whole = json.loads(in_bash("softmorph batch maps lines --summarize --json"))
    assert whole["counts"] == {"done": 2, "skipped": 0, "failed": 0, "not_run": 0, "not_finished": 0}
    # All values above 0 are above 0.5.
    for one, count in zip(whole["files"], VOXELS.values(), strict=True):
        assert one["before"]["voxels_above_half"] == one["after"]["voxels_above_half"] == count + 1
        assert one["seconds"]["total"] > 0


@pytest.mark.parametrize(
    ("words", "status", "kind"),
    [
        (("rules", "--json"), 0, None),
        (("stats", "maps/missing.nii.gz", "--json"), 1, "failed"),
        (("stats", "--statistics", "--json"), 2, "usage"),
        (
            ("topology", "repair", "maps/left.nii.gz", "out.nii.gz", "--betti", "9,0,0", "--json"),
            3,
            "not-reached",
        ),
    ],
)
def test_the_exit_status_is_in_the_json_too(words: tuple[str, ...], status: int, kind: str | None) -> None:
    ended = in_process(*words, code=status)
    document = ended.json
    assert document["schema"] == 2
    assert document["command"] == " ".join(words[: 2 if words[0] == "topology" else 1])
    error = document.get("error")
    assert (error is None) == (status == 0)
    if error is not None:
        assert (error["exit_code"], error["kind"]) == (status, kind)
        # The sentence is on stderr as well, there of wrong usage below the usage of the command.
        assert error["message"] in " ".join(ended.err.split())
    # A goal that is not met: the best result is there.
    assert Path("out.nii.gz").exists() == (status == 3)
    told = jq('"\\(.schema) \\(.error.exit_code // 0)"', ended.out)
    assert told in (None, f"2 {status}\n")


def shown(cell: str, names: dict[str, Any]) -> str:
    """Run a cell, and return what a notebook shows of its last line: HTML where the object has it, else its text."""
    *before, last = cell.strip().splitlines()
    exec("\n".join(before), names)
    value = eval(last, names)
    html = getattr(value, "_repr_html_", None)
    return repr(value) if html is None else html()


def test_a_notebook_shows_tables_and_short_texts() -> None:
    names: dict[str, Any] = {}
    assert shown("import softmorph_cli as sm\nsm.read('maps/left.nii.gz')", names).startswith("<Volume")
    said = shown("found = sm.statistics('maps/left.nii.gz')\nfound", names)
    assert said.startswith("<")
    assert "\n" not in said
    table = shown("found.to_pandas()", names)
    assert table.count("<table") == 1
    assert "expected_volume_mm3" in table
    assert shown("found.voxels_above_half", names) == str(VOXELS["left"] + 1)
    # An error is an exception with a sentence in the words of Python, and no end of the kernel.
    with pytest.raises(sm.SoftmorphError, match="prune") as caught:
        shown("sm.inspect('maps/left.nii.gz', prune='3 miles')", names)
    assert caught.value.exit_code == 2
    assert "--" not in str(caught.value)
