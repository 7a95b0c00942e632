"""softmorph evaluate of two folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import (
    BOXES,
    random_map,
    refused,
    run,
    save,
)
from helpers_evaluate import SHAPE, dice, labelled, mask, rows, softmax, tube, write_case
from scipy.stats import bootstrap
from test_cli_terminal import on_terminal


def test_two_folders(folders: dict[str, float]) -> None:
    ended = run(
        "evaluate",
        "predictions",
        "references",
        "--metrics",
        "dice,hd95_mm",
        "--json-file",
        "all.json",
        "--csv",
        "-",
    )
    table = rows(ended.out)
    assert {row["name"]: float(row["dice"]) for row in table} == pytest.approx(folders)
    assert [row["hd95_mm"] == "" for row in table] == [False, False, False, folders["case_3"] == 0]
    document = json.loads(Path("all.json").read_text(encoding="utf-8"))
    (summary,) = document["summary"]
    values = np.array(list(folders.values()))
    one = summary["metrics"]["dice"]
    assert (one["count"], one["undefined"]) == (4, 0)
    assert one["mean"] == pytest.approx(values.mean())
    assert one["median"] == pytest.approx(np.median(values))
    interval = bootstrap((values,), np.mean, n_resamples=9999, method="BCa", rng=0).confidence_interval
    assert (one["low"], one["high"]) == pytest.approx((interval.low, interval.high))
    assert document["interval"]["resamples"] == 9999
    assert document["unmatched"] == {
        "predictions": ["predictions/extra.nii.gz"],
        "references": ["references/lost.nii.gz"],
    }
    assert "1 prediction has no reference of that name: predictions/extra.nii.gz." in ended.err
    assert "1 reference has no prediction of that name: references/lost.nii.gz." in ended.err
    # What is on stdout is the CSV; the summary is for people.
    assert f"dice: mean {one['mean']:.5g}, median {one['median']:.5g}" in ended.err


def test_an_undefined_metric_is_counted(folders: dict[str, float]) -> None:
    save("references/case_3.nii", mask(tube()))
    ended = run("evaluate", "predictions", "references", "--metrics", "hd95_mm", "--json")
    one = ended.json["summary"][0]["metrics"]["hd95_mm"]
    assert (one["count"], one["undefined"]) == (3, 1)
    told = "hd95_mm is not defined for 1 of 4 pairs (case_3): its mean, median and interval are those of the other 3."
    assert told in ended.err
    assert told in ended.json["warnings"]


def test_a_broken_file_does_not_stop_the_others(folders: dict[str, float]) -> None:
    broken = Path("predictions/case_1.nii.gz")
    broken.write_bytes(broken.read_bytes()[:300])
    save("references/case_2.nii", mask(tube((10, 16, 19))))
    ended = run("evaluate", "predictions", "references", "--metrics", "dice", "--json", code=1)
    assert [one["name"] for one in ended.json["pairs"]] == ["case_0", "case_3"]
    assert [one["name"] for one in ended.json["failed"]] == ["case_1", "case_2"]
    assert ended.json["summary"][0]["metrics"]["dice"]["count"] == 2
    errors = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    assert "predictions/case_1.nii.gz" in errors[0]
    assert "1 fewer along x" in errors[1]


def test_an_npz_goes_with_a_nifti_of_its_name() -> None:
    p = softmax()
    expected = []
    Path("references").mkdir()
    for number in range(2):
        write_case("predicted", f"case_{number}", np.roll(p, number, axis=1))
        its = labelled(number) % 3
        if number:
            its[its == 2] = 0
        save(f"references/case_{number}.nii.gz", its)
        most = np.roll(p, number, axis=1).argmax(axis=0)
        expected += [dice(most == label, its == label) for label in (1, 2)]
    ended = run("evaluate", "predicted", "references", "--metrics", "dice", "--csv", "-")
    table = rows(ended.out)
    assert [(row["name"], row["label"], row["class"]) for row in table] == [
        (f"case_{number}", str(label), name)
        for number in range(2)
        for label, name in ((1, "artery"), (2, "vein"))
    ]
    assert [float(row["dice"]) for row in table] == pytest.approx(expected)
    assert "predicted against references, vein (2)" in ended.err
    # Said once, not for every file.
    assert ended.err.count("is left out") == 1


def test_names_that_several_files_have(folders: dict[str, float]) -> None:
    save("predictions/case_0.nrrd", random_map(SHAPE))
    ended = run("evaluate", "predictions", "references", "--metrics", "dice", code=1)
    assert "predictions holds case_0.nii.gz and case_0.nrrd" in ended.err
    assert "pairs 3" in ended.out


def test_a_missing_partner_is_an_error_if_strict(folders: dict[str, float]) -> None:
    says = ("1 prediction has no reference", "predictions/extra.nii.gz", "references/lost.nii.gz", "--strict")
    ended = run("evaluate", "predictions", "references", "--metrics", "dice", "--strict", "--json", code=1)
    assert ended.json["error"]["exit_code"] == 1
    assert all(part in ended.err for part in says)
    Path("predictions/extra.nii.gz").unlink()
    Path("references/lost.nii.gz").unlink()
    ended = run("evaluate", "predictions", "references", "--metrics", "dice", "--strict", "--json")
    assert len(ended.json["pairs"]) == 4


@pytest.mark.parametrize("rule", [("--suffix", "_skeleton"), ("--pattern", "case_[0-9]")])
def test_names_of_results_are_matched(folders: dict[str, float], rule: tuple[str, str]) -> None:
    for path in Path("predictions").glob("case_*"):
        path.rename(path.with_name(path.name.replace(".", "_skeleton.", 1)))
    refused("evaluate", "predictions", "references", says="Add --suffix _skeleton, or give a prediction")
    ended = run("evaluate", "predictions", "references", *rule, "--metrics", "dice", "--json")
    found = {one["name"]: one["metrics"]["dice"] for one in ended.json["pairs"]}
    assert found == pytest.approx(folders)
    assert "left aside, as their names are not those of a case: predictions/extra.nii.gz" in ended.err


def test_rules_of_names_that_cannot_be(folders: dict[str, float], pair: tuple[Path, Path]) -> None:
    both = ("--suffix", "_a", "--pattern", "b")
    refused("evaluate", "predictions", "references", *both, code=2, says="leave one of them out")
    refused("evaluate", "predictions", "references", "--pattern", "(", code=2, says=r"'\d+'")
    refused("evaluate", "predictions", "references", "--suffix", "", code=2, says="such as _0000")
    refused("evaluate", *pair, "--strict", code=2, says="go with two folders")


def test_folders_without_a_name_in_common() -> None:
    for folder, name in (("predictions", "a.nii.gz"), ("references", "b.nii.gz")):
        Path(folder).mkdir()
        save(f"{folder}/{name}", mask(tube()))
    says = ("no name is in both folders", "predictions holds a.nii.gz", "references holds b.nii.gz")
    refused("evaluate", "predictions", "references", says=says)
    Path("nothing").mkdir()
    refused("evaluate", "nothing", "references", says="nothing holds no file that can be read")
    Path("nothing/deeper").mkdir()
    refused("evaluate", "nothing", "references", says="folders in it are left alone: name one of them")


def test_on_a_terminal_tables_are_drawn(folders: dict[str, float]) -> None:
    save("pred.nii.gz", labelled(1))
    save("ref.nii.gz", labelled(2))
    code, shown = on_terminal("evaluate", "pred.nii.gz", "ref.nii.gz", "--metrics", "dice,betti_0_error")
    assert code == 0
    assert "label 1" in shown
    assert BOXES.search(shown)
    code, shown = on_terminal(
        "evaluate", "predictions", "references", "--metrics", "dice,betti_0_error", columns=80
    )
    assert code == 0
    for words in ("betti_0_error", "lower is better", "95 % interval", "median", "pairs"):
        assert words in shown, shown
    code, shown = on_terminal(
        "evaluate", "predictions/case_0.nii.gz", "references/case_0.nii", "--metrics", "dice"
    )
    assert code == 0
    assert "higher is better" in shown
