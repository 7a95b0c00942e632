"""`softmorph batch`: a folder done, resumed, split, interrupted; whatever happens, no half file and clear words."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import complaint, everything, load, run, save
from helpers_folders import GOOD, batch, blob, break_one, counts, results, times

import softmorph_cli
from softmorph_cli.pipeline.batch.manifest import DONE, FAILED, BatchManifest, Record, name_of


def test_six_good_files_beside_a_broken_one(source: Path) -> None:
    break_one(source)
    ended = batch("close:iterations=1", "dilate", code=1)
    assert set(results()) == set(GOOD)
    assert complaint(ended.err).startswith("in/broken.nii.gz is gzipped but cut short")
    assert ended.out.splitlines()[:4] == ["batch → out", "  done: 6", "  skipped: 0", "  failed: 1"]
    assert "failed: in/broken.nii.gz is gzipped" in ended.out
    assert {path.name for path in Path("out").iterdir()} == {
        *GOOD,
        "summary.csv",
        "summary.json",
        "softmorph-manifest.jsonl",
    }
    # The same numbers as one file by itself.
    run("chain", "in/case_0.nii.gz", "alone.nii.gz", "close:iterations=1", "dilate")
    assert np.array_equal(load("alone.nii.gz"), load("out/case_0.nii.gz"))


def test_the_summary(source: Path) -> None:
    break_one(source)
    save(source / "flat.tif", blob(9)[0], spacing=None)
    ended = batch("erode", "--json", code=1)
    printed = ended.json
    assert printed.pop("error")["exit_code"] == 1
    assert json.loads(Path("out/summary.json").read_text()) == printed
    assert counts(ended) == {"done": 7, "failed": 1}
    with Path("out/summary.csv").open(newline="") as stream:
        rows = {row["input"]: row for row in csv.DictReader(stream)}
    assert list(rows) == ["in/broken.nii.gz", *(f"in/{name}" for name in GOOD), "in/flat.tif"]
    row = rows["in/case_0.nii.gz"]
    assert row["status"] == "done"
    assert row["output"] == "out/case_0.nii.gz"
    # 3 x 2 x 1.5 mm.
    assert float(row["expected_volume_mm3_before"]) == pytest.approx(9 * float(row["expected_voxels_before"]))
    assert float(row["expected_voxels_after"]) < float(row["expected_voxels_before"])
    assert int(row["voxels_above_half_before"]) == (load("in/case_0.nii.gz") > 0.5).sum()
    assert (row["components_above_half_before"], row["connectivity"]) == ("1", "26")
    assert float(row["seconds"]) > 0
    for when, name in (("before", "in/case_0.nii.gz"), ("after", "out/case_0.nii.gz")):
        found = run("stats", name, "--json").json["statistics"]
        assert float(row[f"std_volume_mm3_{when}"]) == found["volume_std"]
        for kind in ("independent", "comonotone"):
            assert float(row[f"std_{kind}_volume_mm3_{when}"]) == found[f"volume_std_{kind}"]
        for quantile, volume in found["volume_quantiles"].items():
            assert float(row[f"{quantile}_volume_mm3_{when}"]) == volume
            assert int(row[f"{quantile}_voxels_{when}"]) == round(volume / 9)
    flat = rows["in/flat.tif"]
    assert flat["expected_volume_mm3_before"] == flat["q05_volume_mm3_before"] == ""
    assert float(flat["std_comonotone_voxels_before"]) > float(flat["std_independent_voxels_before"]) > 0
    assert rows["in/broken.nii.gz"]["status"] == "failed"
    assert rows["in/broken.nii.gz"]["q05_voxels_before"] == ""
    assert "cut short" in rows["in/broken.nii.gz"]["error"]
    assert (
        batch("erode", "--resume", "--json", code=1).json["files"][1]["before"]
        == ended.json["files"][1]["before"]
    )


def test_mixed_shapes_types_and_formats(source: Path) -> None:
    save(source / "flat.png", (np.linspace(0, 1, 99).reshape(9, 11) * 65535).astype(np.uint16), spacing=None)
    save(source / "large.npy", blob(2, (5, 40, 7)))
    save(source / "four.tif", blob(3, (4, 9, 9)))
    ended = batch("dilate", "--suffix", "_d")
    assert set(results()) == {
        *(n.replace(".", "_d.", 1) for n in GOOD),
        "flat_d.png",
        "large_d.npy",
        "four_d.tif",
    }
    assert load("out/large_d.npy").shape == (5, 40, 7)
    assert "done: 9" in ended.out


def test_resume_redoes_exactly_what_is_missing_or_changed(source: Path) -> None:
    break_one(source)
    batch("erode", code=1)
    first = times()
    Path("out/case_3.nii.gz").unlink()
    assert counts(batch("erode", "--resume", "--json", code=1)) == {"done": 1, "skipped": 5, "failed": 1}
    second = times()
    assert {name for name in GOOD if first[name] != second[name]} == {"case_3.nii.gz"}
    save(source / "case_1.nii.gz", blob(77))
    (source / "broken.nii.gz").unlink()
    assert counts(batch("erode", "--resume", "--json")) == {"done": 1, "skipped": 5}
    assert {name for name in GOOD if second[name] != times()[name]} == {"case_1.nii.gz"}
    # Other parameters: all of them, but not unasked.
    before = everything(Path("out"))
    sentence = complaint(batch("erode", "--method", "product", "--resume", code=1).err)
    assert "6 results were made with other parameters (method of erode was minmax and is product)" in sentence
    assert everything(Path("out")) == before
    # What is advised keeps what is there, or replaces it.
    advised = re.fullmatch(
        r".*\. To keep what is there: (softmorph .*); to replace it: (softmorph .*)", sentence
    )
    assert advised is not None
    keep, redo = (shlex.split(one)[1:] for one in advised.groups())
    run(*keep)
    assert {path.name for path in Path("out-2").glob("*.nii.gz")} == set(GOOD)
    assert everything(Path("out")) == before
    assert counts(run(*redo, "--json")) == {"done": 6}
    # The same ones, said otherwise: none.
    assert counts(batch("erode:method=product", "--resume", "--json")) == {"skipped": 6}
    assert counts(batch("erode:method=product", "--resume", "--threads", "2", "--json")) == {"skipped": 6}
    assert counts(batch("erode:method=product", "--force", "--json")) == {"done": 6}


def test_what_was_there_before_is_refused_before_anything_is_computed(source: Path) -> None:
    Path("out").mkdir()
    save("out/case_2.nii.gz", blob(5))
    before = everything()
    for more in ([], ["--resume"], ["--dry-run"]):
        sentence = complaint(batch("erode", *more, code=1).err)
        assert sentence.startswith("out/case_2.nii.gz: 1 file that no batch in out is known to have made")
        assert "--force" in sentence
        assert everything() == before
    assert counts(batch("erode", "--force", "--json")) == {"done": 6}
    sentence = complaint(batch("erode", code=1).err)
    assert sentence.startswith(
        "out/case_0.nii.gz, out/case_1.nii.gz, out/case_2.nii.gz and 3 more: 6 results are"
    )
    assert "--resume" in sentence
    assert "--force" in sentence


def test_a_summary_of_another_program(source: Path) -> None:
    Path("out").mkdir()
    Path("out/summary.csv").write_text("mine")
    assert complaint(batch("erode", code=1).err).startswith("out/summary.csv exists already")
    assert Path("out/summary.csv").read_text() == "mine"
    assert [path.name for path in Path("out").iterdir()] == ["summary.csv"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (
            ["in", "out", "eroed"],
            2,
            "there is no operation 'eroed' (did you mean 'erode'?); use skeletonize, erode",
        ),
        (["in", "out", "erode:iteration=2"], 2, "it takes connectivity, iterations"),
        (["in", "out"], 2, "a chain needs a step"),
        (["in", "in", "erode"], 2, "is the folder that is read"),
        (["in", "in/out", "erode"], 2, "would become inputs"),
        (["none", "out", "erode"], 1, "none does not exist"),
        (["in/case_0.nii.gz", "out", "erode"], 1, "softmorph chain"),
        (["in", "out", "erode", "--glob", "*.tif"], 1, "none of 6 files matches"),
        (["in", "out", "erode", "--output-type", "int8"], 2, "--output-type int8"),
        (["in", "out", "erode", "--suffix", ".jpg"], 2, "no such format"),
        (["in", "out", "erode", "--num-parts", "3"], 2, "go together"),
        (["in", "out", "erode", "--num-parts", "3", "--part-id", "3"], 2, "counted from 0"),
        (["in", "out", "erode", "--summarize"], 1, "holds no manifest"),
        (["in", "out", "erode", "--scheduler", "a:1", "--local-cluster"], 2, "choose one of them"),
        (["in", "out", "erode", "--scheduler", "a:1", "--workers", "2"], 2, "with --scheduler leave it out"),
        (["in", "out", "erode", "--scheduler", "node 7"], 2, "--scheduler node 7: that is no address"),
        (["in", "out/deep", "erode"], 1, "mkdir -p out"),
    ],
)
def test_refused_with_clear_words_and_nothing_written(
    source: Path, arguments: list[str], code: int, says: str
) -> None:
    before = everything()
    ended = run("batch", *arguments, code=code)
    assert says in complaint(ended.err)
    assert ended.out == ""
    assert everything() == before


def test_an_error_common_to_all_files_is_printed_once(source: Path) -> None:
    assert "--region" in complaint(batch("erode", "--region", "1:x", code=2).err)
    assert results() == {}
    assert counts(batch("erode", "--json")) == {"done": 6}


def test_workers_below_one(source: Path) -> None:
    assert "--workers 0" in complaint(batch("erode", "--workers", "0", code=2).err)


def test_dask_is_missing(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert "pip install 'softmorph-cli[cluster]'" in complaint(batch("erode", "--local-cluster", code=1).err)
    assert results() == {}


def test_two_inputs_one_output(source: Path) -> None:
    save(source / "case_0.npy", blob(1))
    before = everything()
    sentence = complaint(batch("erode", "--suffix", ".tif", code=2).err)
    assert sentence.startswith("in/case_0.nii.gz and in/case_0.npy would both become out/case_0.tif")
    assert everything() == before


def test_dry_run_writes_nothing(source: Path) -> None:
    before = everything()
    ended = batch("erode", "--dry-run")
    assert ended.out.splitlines()[0] == "new  in/case_0.nii.gz → out/case_0.nii.gz"
    assert "6 new, 0 redo, 0 skip; nothing was written." in ended.err
    assert everything() == before
    batch("erode")
    Path("out/case_0.nii.gz").unlink()
    before = everything()
    told = batch("erode", "--dry-run", "--resume", "--json").json["files"]
    assert [(one["action"], one["why"]) for one in told[:2]] == [
        ("redo", "output missing"),
        ("skip", "done already"),
    ]
    assert everything() == before


def test_recursive_with_a_suffix(source: Path) -> None:
    (source / "a" / "b").mkdir(parents=True)
    shutil.copy(source / GOOD[0], source / "a" / "b" / "deep.nii.gz")
    batch("erode", "--recursive", "--suffix", "_e.tif", "--glob", "*e*")
    assert set(results()) == {*(f"case_{n}_e.tif" for n in range(6)), "a/b/deep_e.tif"}
    assert "in/a/b/deep.nii.gz" in Path("out/summary.csv").read_text()


def test_fail_fast(source: Path) -> None:
    break_one(source, "a.nii.gz")
    ended = batch("erode", "--fail-fast", "--workers", "1", "--json", code=1)
    assert counts(ended) == {"failed": 1, "not_run": 6}
    assert results() == {}


def test_quiet_and_verbose(source: Path) -> None:
    ended = batch("erode", "--quiet")
    assert (ended.out, ended.err) == ("", "")
    break_one(source)
    ended = batch("erode", "--verbose", "--force", code=1)
    assert "Traceback" in ended.err
    assert "in/case_0.nii.gz → out/case_0.nii.gz in" in ended.err


def test_a_warning_common_to_all_files_is_printed_once(source: Path) -> None:
    ended = batch("dilate", "--suffix", ".tif")
    said = [line for line in ended.err.splitlines() if "orientation" in line]
    assert len(said) == 2
    assert "5 more files" in said[1]


def test_a_radius_below_one_voxel_is_told_and_so_are_other_sizes() -> None:
    for name, size in (("a", 5.0), ("b", 5.0), ("c", 1.0), ("d", 3.0)):
        Path("in").mkdir(exist_ok=True)
        save(f"in/{name}.nii.gz", blob(1, (4, 9, 9)), spacing=(size, 1.0, 1.0))
    along = "the radius 2 mm is less than one voxel along z ({} mm): nothing is done along this axis."
    ended = batch("dilate:radius=2mm", "--workers", 1)
    assert ended.err.splitlines() == [
        f"warning: in/a.nii.gz: {along.format(5)}",
        "warning: 2 more files with this warning (1 with other numbers; the JSON summary lists them): "
        + along.format(5),
    ]
    files = json.loads(Path("out/summary.json").read_text())["files"]
    assert [one["warnings"] for one in files] == [[along.format(n)] if n != 1 else [] for n in (5, 5, 1, 3)]
    # The command, in tiles too, and a chain tell it as well; the middle slice takes nothing from its neighbours.
    for words in (
        ("dilate", "in/a.nii.gz", "a.nii.gz", "--radius", "2mm"),
        ("dilate", "in/a.nii.gz", "a.zarr", "--radius", "2mm", "--memory", "1GB"),
        ("chain", "in/a.nii.gz", "b.nii.gz", "dilate:radius=2mm"),
    ):
        assert f"warning: {along.format(5)}" in run(*words).err
    for index in range(4):
        alone = softmorph_cli.dilation(load("in/a.nii.gz")[index], radius=2, spacing=(1, 1))
        np.testing.assert_array_equal(load("a.nii.gz")[index], alone)


def test_parts_and_their_summary(source: Path) -> None:
    break_one(source)
    parts = ["--num-parts", "3"]
    batch("erode", *parts, "--part-id", "0", code=1)
    batch("erode", *parts, "--part-id", "1")
    assert len(results()) == 4
    assert Path("out/softmorph-manifest-1-of-3.jsonl").exists()
    assert "in/case_0.nii.gz" in Path("out/summary-1-of-3.csv").read_text()
    assert not Path("out/summary.csv").exists()
    ended = batch("erode", "--summarize", "--json", code=1)
    assert counts(ended) == {"done": 4, "failed": 1, "not_run": 2}
    (source / "broken.nii.gz").unlink()
    save(source / "broken.nii.gz", blob(8))
    # What other parts did counts, however the folder is split.
    assert counts(batch("erode", "--resume", "--json")) == {"done": 3, "skipped": 4}
    assert counts(batch("erode", "--summarize", "--json")) == {"done": 7}
    assert len(Path("out/summary.csv").read_text().splitlines()) == 8


def test_network_outputs(source: Path) -> None:
    for path in source.iterdir():
        path.unlink()
    for name in ("one", "two"):
        front = blob(3)
        chances = np.stack([1 - front, front])
        np.savez(source / f"{name}.npz", probabilities=chances)
        save(source / f"{name}.nii.gz", chances.argmax(0).astype(np.uint8))
    (source / "one.pkl").write_bytes(b"\x80\x04.")
    (source / "dataset.json").write_text(
        '{"labels": {"background": 0, "vessel": 1}, "file_ending": ".nii.gz"}'
    )
    assert counts(batch("dilate", "--channel", "vessel", "--json")) == {"done": 2}
    assert set(results()) == {"one.nii.gz", "two.nii.gz"}


def test_files_of_poor_fits_are_named_up_to_five_and_then_counted() -> None:
    Path("out").mkdir()
    # The prior of x and of the file without figures is not below interpolation.
    better = {"prior_agreement": 0.9, "left_out_prior": 0.75, "left_out_logit": 0.5}
    worse = {"prior_agreement": 0.5, "left_out_prior": 0.25, "left_out_logit": 0.5}
    with BatchManifest(Path("out", name_of()), {"steps": []}) as lines:
        for name in "abcdefg":
            row = worse | {"not_reached": True, "error": "poor"}
            lines.write(Record(f"{name}.npy", f"{name}.npy", FAILED, 1.0, row=row if name < "c" else worse))
        lines.write(Record("x.npy", "x.npy", DONE, 1.0, row=better))
        lines.write(Record("y.npy", "y.npy", DONE, 1.0, row={"invented_slices": 3}))
    said = run("batch", "in", "out", "--summarize", code=1).out.splitlines()
    assert said[-2:] == [
        "the prior fits less than requested: in/a.npy, in/b.npy",
        "the prior is below the interpolation of logits on slices left out: "
        "in/a.npy, in/b.npy, in/c.npy, in/d.npy, in/e.npy and 2 more",
    ]
    with Path("out/summary.csv").open(newline="") as stream:
        rows = {row["input"]: row for row in csv.DictReader(stream)}
    names = ("invented_slices", "prior_agreement", "left_out_prior", "left_out_logit", "warning_texts")
    assert [rows["in/x.npy"][name] for name in names] == ["", "0.9", "0.75", "0.5", ""]
    assert [rows["in/y.npy"][name] for name in names] == ["3", "", "", "", ""]
