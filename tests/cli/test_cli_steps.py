"""Steps of chains and batches that measure, and the step that repairs: `inspect`, `stats`, `repair`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import everything, load, refused, run
from helpers_cohort import bar, lines, plane, table, tee
from helpers_page import parsed
from helpers_page import table as of_page

import softmorph_cli
from softmorph_cli.io.writing import write
from softmorph_cli.pipeline.batch.engine import Engine, thread_engine
from softmorph_cli.pipeline.batch.run import carry_out
from softmorph_cli.volume import Volume

TABLES = "inspect:csv=b.csv,summary=c.csv,components=k.csv"


def wide() -> np.ndarray:
    """The T with lines 3 pixels wide, so that its skeleton is not the map itself."""
    image = tee()
    shifts = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
    wider: np.ndarray = np.maximum.reduce([np.roll(image, shift, (0, 1)) for shift in shifts])
    return wider


def without_file(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{name: value for name, value in row.items() if name != "file"} for row in rows]


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch runs in threads of this process, as processes take long to start."""

    def engine(jobs: object, recipe: object, workers: int | None) -> tuple[Engine, None]:
        return thread_engine(1), None

    monkeypatch.setattr(carry_out, "__defaults__", (engine,))


@pytest.fixture
def study() -> None:
    Path("in").mkdir()
    plane("in/a.nii.gz", bar())
    plane("in/b.nii.gz", wide())


def test_a_skeleton_is_inspected_with_the_map_that_it_was_made_of(study: None) -> None:
    run("chain", "in/b.nii.gz", "out.nii.gz", "fill", "skeletonize:hard", TABLES)
    assert {row["file"] for name in "bck" for row in table(f"{name}.csv")} == {"in/b.nii.gz"}
    run("fill", "in/b.nii.gz", "filled.nii.gz")
    tables = ("--csv", "b1.csv", "--summary", "c1.csv", "--components", "k1.csv")
    # Two files, so that the table of branches is that of many.
    run("inspect", "out.nii.gz", "--map", "filled.nii.gz", *tables)
    for name in "ck":
        assert without_file(table(f"{name}.csv")) == without_file(table(f"{name}1.csv"))
    ours, alone = table("b.csv"), table("b1.csv")
    assert [{name: row[name] for name in alone[0]} for row in ours] == alone
    assert float(table("c.csv")[0]["radius_mean_mm"]) > 0.5


def test_a_step_that_measures_changes_neither_the_result_nor_its_provenance(study: None) -> None:
    run("chain", "in/b.nii.gz", "plain.nii.gz", "dilate", "skeletonize", "--save-steps", "one")
    steps = ("stats:csv=s1.csv", "dilate", "inspect:levels=0", "skeletonize", "stats:csv=s2.csv")
    ended = run("chain", "in/b.nii.gz", "measured.nii.gz", *steps, "--save-steps", "two", "--json")
    assert np.array_equal(load("plain.nii.gz"), load("measured.nii.gz"))
    plain, measured = (softmorph_cli.read(f"{name}.nii.gz").source for name in ("plain", "measured"))
    assert plain is not None
    assert measured is not None
    assert plain.provenance == measured.provenance
    assert [path.name for path in sorted(Path("two").iterdir())] == [
        "01-dilate.nii.gz",
        "02-skeletonize.nii.gz",
    ]
    for path, name in (("s1.csv", "in/b.nii.gz"), ("s2.csv", "measured.nii.gz")):
        run("stats", name, "--csv", f"alone-{path}")
        assert without_file(table(path)) == without_file(table(f"alone-{path}"))
    entries = ended.json["steps"]
    assert [one["operation"] for one in entries] == ["stats", "dilate", "inspect", "skeletonize", "stats"]
    assert entries[2]["measured"]["cases"][0]["branches"] == 4
    assert "inspect (4 branches, " in ended.err


def test_each_class_is_measured() -> None:
    both = np.stack([bar(), tee()])
    write(Volume(both, "CYX", (0.5, 0.5), "mm", channels=("artery", "vein")), "both.ome.tif")
    run("chain", "both.ome.tif", "out.ome.tif", "skeletonize", TABLES, "stats:csv=s.csv")
    assert [(row["class"], row["branches"]) for row in table("c.csv")] == [("artery", "1"), ("vein", "4")]
    assert [row["channel"] for row in table("s.csv")] == ["artery", "vein"]


def gap() -> np.ndarray:
    """A line of 0.9 with a gap of two pixels, on 0.1."""
    image = np.full((9, 30), 0.1, np.float32)
    image[4, 2:12] = image[4, 14:28] = 0.9
    return image


def test_the_step_repair_is_the_command(study: None) -> None:
    plane("gap.nii.gz", gap())
    run(
        "topology",
        "repair",
        "gap.nii.gz",
        "command.nii.gz",
        "--betti",
        "1,0",
        "--lambda",
        0.2,
        "--smooth",
        "1vox",
    )
    step = "repair:betti=1,0,lambda=0.2,smooth=1vox"
    ended = run("chain", "gap.nii.gz", "step.nii.gz", step, "--json")
    assert np.array_equal(load("command.nii.gz"), load("step.nii.gz"))
    assert ended.json["steps"][0]["reached"] is True
    assert ended.json["steps"][0]["parameters"]["lambda"] == 0.2
    # Its result goes to the next step: one line of 26 pixels, and not two.
    run("chain", "gap.nii.gz", "thin.nii.gz", step, "skeletonize:hard", TABLES)
    (case,) = table("c.csv")
    assert (case["components"], case["branches"]) == ("1", "1")
    assert float(case["length_mm"]) == pytest.approx(12.5, rel=0.02)
    # The values are rounded when they are written, and the numbers are those of the file.
    run("chain", "gap.nii.gz", "rounded.png", "repair:betti=1,0", "--output-type", "uint8")
    assert softmorph_cli.betti_numbers("rounded.png").numbers == (1, 0)


def test_a_repair_that_falls_short_ends_with_3(study: None, threads: None) -> None:
    plane("gap.nii.gz", gap())
    ended = run("chain", "gap.nii.gz", "out.nii.gz", "repair:betti=7,0", "stats", code=3)
    assert "Betti numbers 7,0 were not reached (stuck)" in ended.err
    assert Path("out.nii.gz").exists()
    Path("gaps").mkdir()
    plane("gaps/a.nii.gz", gap())
    run("batch", "gaps", "out", "repair:betti=7,0", "stats", code=3)
    # The result is there, and so are its rows.
    assert [row["file"] for row in table("out/stats.csv")] == ["gaps/a.nii.gz"]


def test_a_batch_writes_the_tables_of_all_files_once(study: None) -> None:
    Path("in/aa.nii.gz").write_bytes(b"no map")
    steps = ("skeletonize:hard", "inspect", "stats")
    more = ("--workers", 2, "--preview", "pictures", "--report", "r.html")
    ended = run("batch", "in", "out", *steps, *more, code=1)
    assert "tables: branches.csv, cases.csv, components.csv, stats.csv" in ended.out
    for name in "ab":
        run(
            "chain",
            f"in/{name}.nii.gz",
            f"{name}.nii.gz",
            "skeletonize:hard",
            TABLES,
            "stats:csv=s.csv",
            "--force",
        )
        for ours, alone in (("branches", "b"), ("cases", "c"), ("components", "k"), ("stats", "s")):
            rows = [row for row in table(f"out/{ours}.csv") if row["file"] == f"in/{name}.nii.gz"]
            assert rows == table(f"{alone}.csv"), ours
    assert [row["file"] for row in table("out/cases.csv")] == ["in/a.nii.gz", "in/b.nii.gz"]
    assert sorted(path.name for path in Path("pictures").iterdir()) == ["a.nii.gz.png", "b.nii.gz.png"]
    page = parsed(Path("r.html").read_text(encoding="utf-8"))
    _, heads, cases = of_page(page, "cases")
    assert [(row[0], row[heads.index("Branches")]) for row in cases] == [
        ("in/a.nii.gz", "1"),
        ("in/b.nii.gz", "4"),
    ]
    # 31 pixels of 0.75, of a quarter of a square millimetre each.
    assert float(cases[0][heads.index("Expected area before (mm²)")]) == pytest.approx(
        31 * 0.75 / 4, rel=1e-3
    )
    failed = next(s for s in page.all("section") if s.attributes.get("aria-labelledby") == "failed")
    assert failed.text.count("in/aa.nii.gz") == 1


def test_a_resumed_batch_measures_what_is_missing_and_its_tables_are_those_of_all(
    study: None, threads: None
) -> None:
    run("batch", "in", "out", "erode")
    results = {path: path.stat().st_mtime_ns for path in Path("out").glob("*.nii.gz")}
    # The results are made already, and nothing is measured.
    steps = ("erode", "inspect:levels=0", "--resume", "--json")
    counts = run("batch", "in", "out", *steps).json["counts"]
    assert (counts["done"], counts["skipped"]) == (2, 0)
    whole = Path("out/branches.csv").read_text(encoding="utf-8")
    plane("in/c.nii.gz", lines((slice(5, 6), slice(5, 15))))
    Path("out/softmorph-cases/b.nii.gz.json").unlink()
    Path("out/branches.csv").unlink()
    results = {path: path.stat().st_mtime_ns for path in Path("out").glob("*.nii.gz")}
    document = run("batch", "in", "out", *steps).json
    assert [one["status"] for one in document["files"]] == ["skipped", "done", "done"]
    assert Path("out/a.nii.gz").stat().st_mtime_ns == results[Path("out/a.nii.gz")]
    assert Path("out/branches.csv").read_text(encoding="utf-8").startswith(whole)
    assert [row["file"] for row in table("out/cases.csv")] == [f"in/{name}.nii.gz" for name in "abc"]
    # Other parameters of a step that measures are no reason to refuse.
    run("batch", "in", "out", "erode", "inspect:levels=0,threshold=0.4", *steps[2:])


def test_parts_of_a_batch_have_tables_of_their_own_which_are_merged(study: None, threads: None) -> None:
    steps = ("erode", "inspect:levels=0")
    for part in (0, 1):
        run("batch", "in", "parts", *steps, "--report", "r.html", "--num-parts", 2, "--part-id", part)
    assert [row["file"] for row in table("parts/cases-1-of-2.csv")] == ["in/b.nii.gz"]
    assert not Path("r.html").exists()
    told = run("batch", "in", "parts", "--summarize", "--report", "r.html").out
    assert "tables: branches.csv, cases.csv, components.csv; page: r.html" in " ".join(told.split())
    run("batch", "in", "whole", *steps)
    for name in ("branches", "cases", "components"):
        assert table(f"parts/{name}.csv") == table(f"whole/{name}.csv")
    assert len(of_page(parsed(Path("r.html").read_text(encoding="utf-8")), "cases")[2]) == 2


def test_lengths_of_other_units_are_converted_and_voxels_have_columns_of_their_own(
    study: None, threads: None
) -> None:
    write(Volume(bar(), "YX", (500.0, 500.0), "um"), "in/m.tif")
    np.save("in/v.npy", bar())
    run("batch", "in", "out", "fill", "inspect:levels=0")
    first, *_, micrometres, voxels = table("out/branches.csv")
    for name in ("length_mm", "radius_mean_mm", "start_x_mm", "tortuosity"):
        assert float(micrometres[name]) == pytest.approx(float(first[name]), rel=1e-6), name
    assert voxels["length_mm"] == ""
    assert float(voxels["length_pixels"]) == pytest.approx(30, rel=0.01)


def test_tables_of_a_step_that_occurs_twice_have_its_number(study: None, threads: None) -> None:
    run("batch", "in", "out", "stats", "skeletonize:hard", "stats")
    names = sorted(path.name for path in Path("out").glob("*stats.csv"))
    assert names == ["01-stats.csv", "03-stats.csv"]
    before, after = (table(f"out/{name}")[1] for name in names)
    assert float(before["expected_voxels"]) > float(after["expected_voxels"])


def test_a_pipeline_file_has_the_same_steps(study: None) -> None:
    Path("steps.toml").write_text(
        '[[step]]\noperation = "repair"\nbetti = "any,0"\nlambda = 0.5\n[[step]]\noperation = "inspect"\nas = "map"\n'
        'csv = "b.csv"\n',
        encoding="utf-8",
    )
    run("chain", "in/b.nii.gz", "out.nii.gz", "--pipeline", "steps.toml")
    assert len(table("b.csv")) == 4


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (
            ("chain", "in/a.nii.gz", "o.nii.gz", "inspect"),
            2,
            "inspect only measures, so that OUT would be a copy",
        ),
        (("batch", "in", "out", "stats", "inspect"), 2, "stats and inspect only measures"),
        (("batch", "in", "out", "erode", "inspect:csv=b.csv"), 2, "b.csv is a table of one file"),
        (
            ("batch", "in", "out", "erode", "--preview", "in/p"),
            2,
            "in/p lies in in, and pictures become inputs",
        ),
        (("batch", "in", "out", "erode", "--report", "r.txt"), 2, "end its name with .html"),
        (("chain", "in/a.nii.gz", "o.nii.gz", "erode", "inspect:levels=7"), 2, "step 'inspect:levels=7'"),
        (
            ("chain", "in/a.nii.gz", "o.nii.gz", "repair"),
            2,
            "repair needs Betti numbers, as in repair:betti=1,0,0",
        ),
        (("chain", "in/a.nii.gz", "o.nii.gz", "erode", "inspect:csv=in/a.nii.gz"), 1, "in/a.nii.gz exists"),
        (("chain", "in/a.nii.gz", "o.nii.gz", "erode", "inspect:csv=t,summary=t"), 2, "t is named twice"),
        (("chain", "in/a.nii.gz", "o.nii.gz", "erode", "repair:lamda=1"), 2, "did you mean 'lambda'?"),
    ],
)
def test_what_a_step_cannot_do_is_refused(
    study: None, arguments: tuple[str, ...], code: int, says: str
) -> None:
    refused(*arguments, code=code, says=says)


def test_what_is_advised_where_nothing_changes(study: None) -> None:
    for command, source in (("chain", "in/a.nii.gz"), ("batch", "in")):
        sentence = refused(command, source, "o.nii.gz", "inspect", code=2)
        assert "add a step that changes the map, such as skeletonize" in sentence
        assert "or give softmorph inspect the file or folder with --csv TABLE" in sentence
        run("inspect", source, "--csv", f"{command}.csv", "--levels", 0)
    run("chain", "in/a.nii.gz", "o.nii.gz", "skeletonize", "inspect")


def test_pictures_of_a_batch_on_white(study: None, threads: None) -> None:
    from matplotlib.image import imread

    sentence = refused("batch", "in", "out", "erode", "--light", code=2)
    assert "--light is of the pictures: add --preview DIR, or leave it out" in sentence
    run("batch", "in", "out", "erode", "--light", "--preview", "p", "--dpi", 72)
    assert imread("p/a.nii.gz.png")[0, 0, :3].tolist() == [1, 1, 1]
    run("batch", "in", "other", "erode")


def test_the_page_of_a_chain(study: None) -> None:
    command = ("chain", "in/b.nii.gz", "o.nii.gz", "skeletonize:hard")
    sentence = refused(*command, "--report", "r.html", code=2)
    assert "--report is the page of a step inspect: add it to the steps, or leave --report out" in sentence
    run(*command, "inspect", "--report", "r.html", "--force")
    page = parsed(Path("r.html").read_text(encoding="utf-8"))
    assert page.one("h1").text == "b.nii.gz"
    assert len(of_page(page, "branches")[2]) == 4


DAMAGED = (
    "{",
    '{"tables": {"cases": {"columns": ["class"], "unit": "mm", "rows": [1]}}, "pictures": {}}',
    '{"tables": {"cases": {"columns": ["class"], "unit": "mm", "rows": [{"color": 1}]}}, "pictures": {}}',
    '{"tables": {"cases": {"columns": [1], "unit": "mm", "rows": []}}, "pictures": {}}',
    '{"tables": {"cases": {"columns": [], "unit": {}, "rows": []}}, "pictures": {}}',
    '{"tables": {"cases": 3}, "pictures": {}}',
)


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_file_of_numbers(content: str, study: None, threads: None) -> None:
    steps = ("batch", "in", "out", "erode", "inspect:levels=0")
    run(*steps)
    kept = Path("out/softmorph-cases/a.nii.gz.json")
    head = kept.read_text(encoding="utf-8").splitlines()[0]
    kept.write_text(f"{head}\n{content}", encoding="utf-8")
    ended = run(*steps, "--resume", code=1)
    assert (
        f"{kept}, which holds what was measured of a file, is damaged: remove it, and add --resume."
        in ended.err
    )
    kept.unlink()
    run(*steps, "--resume")
    assert len(table("out/cases.csv")) == 2


@pytest.mark.parametrize(
    ("name", "more"), [("softmorph-cases", ()), ("pictures", ("--preview", "out/pictures"))]
)
def test_what_cannot_be_made_is_told_before_any_result(
    name: str, more: tuple[str, ...], study: None, threads: None
) -> None:
    Path("out").mkdir()
    Path("out", name).write_text("a file", encoding="utf-8")
    ended = run("batch", "in", "out", "erode", "inspect:levels=0", *more, code=1)
    assert f"out/{name} cannot be made: File exists." in ended.err
    assert list(Path("out").glob("*.nii.gz")) == []


def test_an_existing_table_of_something_else_is_not_replaced(study: None) -> None:
    Path("out").mkdir()
    Path("out/branches.csv").write_text("mine", encoding="utf-8")
    refused("batch", "in", "out", "erode", "inspect:levels=0", says="out/branches.csv exists")


@pytest.mark.parametrize("more", [(), ("--resume",)])
def test_tables_of_a_batch_with_other_names_are_not_replaced(
    more: tuple[str, ...], study: None, threads: None
) -> None:
    run("batch", "in", "out", "erode", "inspect:levels=0")
    wanted = everything(Path("out"))
    refused(
        "batch",
        "in",
        "out",
        "dilate",
        "inspect:levels=0",
        "--suffix",
        "_b",
        *more,
        says="branches.csv exists",
    )
    assert everything(Path("out")) == wanted
    run("batch", "in", "out", "dilate", "inspect:levels=0", "--suffix", "_b", *more, "--force")
    assert len(table("out/cases.csv")) == 2


def test_a_plan_of_a_batch_that_measures(study: None) -> None:
    planned = run("batch", "in", "out", "erode", "inspect", "--dry-run", "--json").json
    assert [one["action"] for one in planned["files"]] == ["new", "new"]
    assert not Path("out").exists()


def test_what_a_step_advises_about_voxels_that_are_not_cubic(study: None) -> None:
    write(Volume(np.full((3, 5, 9), 0.75, np.float32), "ZYX", (4.0, 1.0, 1.0), "mm"), Path("flat.nii.gz"))
    ended = run("chain", "flat.nii.gz", "o.nii.gz", "erode", "inspect:levels=0")
    assert 'counts voxels, not lengths; inspect:resample=iso (in TOML resample = "iso")' in ended.err
    again = run("chain", "flat.nii.gz", "o2.nii.gz", "erode", "inspect:levels=0,resample=iso")
    assert "cubic" not in again.err


def test_a_document_of_a_chain_is_finite_json(study: None) -> None:
    plane("nothing.nii.gz", 0 * bar())
    text = run("chain", "nothing.nii.gz", "o.nii.gz", "skeletonize:hard", "inspect", "stats", "--json").out
    assert re.search("NaN|Infinity", text) is None
    assert json.loads(text)["steps"][1]["measured"]["cases"][0]["branches"] == 0
