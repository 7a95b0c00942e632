"""softmorph inspect of several files: the page of the cohort, the JSON of all cases, folders in folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers_cli import refused, run
from helpers_cohort import bar, lines, plane, tee
from helpers_cohort import table as rows_of
from helpers_page import pairs, parsed, table, value

from softmorph_cli.io.writing import write
from softmorph_cli.volume import Volume


@pytest.fixture
def study() -> None:
    Path("in/b").mkdir(parents=True)
    plane("in/a.nii.gz", bar())
    plane("in/b/a.nii.gz", tee())
    Path("in/c.nii.gz").write_bytes(b"no map")


def test_the_page_of_a_cohort_has_a_row_a_picture_and_a_box_for_each_case(study: None) -> None:
    run("inspect", "in", "--recursive", "--report", "c.html", "--levels", 0, code=1)
    page = Path("c.html").read_text(encoding="utf-8")
    assert 'src="http' not in page
    root = parsed(page)
    assert pairs(root, "facts")["cases"] == "2"
    assert pairs(root, "facts")["lengths in"] == "mm"
    failed = next(s for s in root.all("section") if s.attributes.get("aria-labelledby") == "failed")
    assert [item.text.startswith("in/c.nii.gz is called .nii.gz") for item in failed.all("li")] == [True]
    _, heads, rows = table(root, "cases")
    # Files of equal names in two folders are two cases.
    assert [row[0] for row in rows] == ["in/a.nii.gz", "in/b/a.nii.gz"]
    assert [row[heads.index("Branches")] for row in rows] == ["1", "4"]
    lengths = [value(row[heads.index("Length (mm)")]) for row in rows]
    assert lengths == pytest.approx([15, 22.5], rel=0.02)
    pictures = next(s for s in root.all("section") if s.attributes.get("aria-labelledby") == "pictures")
    assert [figure.one("figcaption").text for figure in pictures.all("figure")] == [row[0] for row in rows]
    assert len(list(pictures.all("img"))) == 4  # of each case one for each look
    each = next(s for s in root.all("section") if s.attributes.get("aria-labelledby") == "each")
    first, second = (group.one("title").text for group in next(each.all("svg")).all("g"))
    assert first == "in/a.nii.gz: median 15 mm, quartiles 15 to 15, range 15 to 15"
    # 5 + 5 + 2.5 + the two halves of the line: by hand, up to the corner that thinning cuts.
    assert second.startswith("in/b/a.nii.gz: median 6.")
    (first, *_) = (
        one.text for one in root.one("section", **{"aria-labelledby": "distributions"}).all("title")
    )
    assert first.endswith("of 2 cases")


@pytest.mark.parametrize("by", ["inspect", "batch"])
def test_a_case_of_several_classes_counts_once(by: str) -> None:
    Path("in/deep").mkdir(parents=True)
    for name in ("a", "b"):
        pair = np.stack([tee(), bar()]).astype(np.float32)
        write(Volume(pair, "CYX", (1.0, 1.0), "mm", channels=("artery", "vein")), f"in/deep/{name}.ome.tif")
    if by == "inspect":
        run("inspect", "in/deep", "--report", "c.html", "--levels", 0)
    else:
        run("batch", "in/deep", "out", "inspect", "erode", "--report", "c.html")
    root = parsed(Path("c.html").read_text(encoding="utf-8"))
    facts = pairs(root, "facts")
    assert (facts["cases"], facts["classes"]) == ("2", "artery, vein")
    _, _, rows = table(root, "cases")
    names = [f"in/deep/{name}.ome.tif, {kind}" for name in "ab" for kind in ("artery", "vein")]
    assert [row[0] for row in rows] == names
    each = next(s for s in root.all("section") if s.attributes.get("aria-labelledby") == "each")
    drawn = [text.text for text in next(each.all("svg")).all("text") if text.attributes.get("class") == "end"]
    assert drawn[:4] == ["a, artery", "a, vein", "b, artery", "b, vein"]


def test_what_a_batch_warns_of_is_told_of_the_file_and_not_of_its_first_class() -> None:
    Path("in").mkdir()
    pair = np.stack([bar(), lines()]).astype(np.float32)
    write(Volume(pair, "CYX", (1.0, 1.0), "mm", channels=("artery", "vein")), "in/a.ome.tif")
    run("batch", "in", "out", "inspect", "erode", "--report", "c.html")
    root = parsed(Path("c.html").read_text(encoding="utf-8"))
    warned = next(s for s in root.all("section") if s.attributes.get("aria-labelledby") == "warnings")
    assert [item.text.startswith("in/a.ome.tif: ") for item in warned.all("li")] == [True]


def test_equal_warnings_are_one_line_and_a_page_of_pixels_says_so() -> None:
    for name in ("a.npy", "b.npy"):
        np.save(name, lines())
    np.save("c.npy", bar())
    run("inspect", "a.npy", "b.npy", "c.npy", "--report", "c.html", "--csv", "b.csv", "--levels", 0)
    root = parsed(Path("c.html").read_text(encoding="utf-8"))
    warned = next(s for s in root.all("section") if s.attributes.get("aria-labelledby") == "warnings")
    assert sum(item.text.startswith("a.npy, b.npy: nothing is above 0.5") for item in warned.all("li")) == 1
    assert pairs(root, "facts")["lengths in"] == "pixels, as the unit is not known"
    (row,) = rows_of("b.csv")
    assert float(row["length_pixels"]) == 30


def test_the_json_of_several_files_is_one_object(study: None) -> None:
    document = run("inspect", "in", "--recursive", "--json", "--levels", 0, code=1).json
    assert document["command"] == "inspect"
    assert [one["input"]["path"] for one in document["failed"]] == ["in/c.nii.gz"]
    assert [one["input"]["path"] for one in document["files"]] == ["in/a.nii.gz", "in/b/a.nii.gz"]
    for one in document["files"]:
        alone = run("inspect", one["input"]["path"], "--json", "--levels", 0).json
        for name in ("graph", "components", "branches", "nodes", "parameters", "input"):
            assert one[name] == alone[name], name


def test_folders_in_a_folder_are_left_alone_unless_asked_for(study: None) -> None:
    Path("in/c.nii.gz").unlink()
    run("inspect", "in", "--summary", "s.csv", "--levels", 0)
    assert [row["file"] for row in rows_of("s.csv")] == ["in/a.nii.gz"]
    refused("inspect", "in/a.nii.gz", "--recursive", code=2, says="--recursive is of folders")
    refused("inspect", "in", "--report", "c.txt", code=2, says="end its name with .html")


def test_a_page_of_an_image_counts_pixels_and_its_picture_names_the_certainty() -> None:
    plane("a.nii.gz", tee())
    run("inspect", "a.nii.gz", "--report", "a.html", "--preview", "a.svg")
    text = Path("a.html").read_text(encoding="utf-8")
    assert "Counted are the pixels along the branches" in text
    assert "voxels along" not in text
    drawn = Path("a.svg").read_text(encoding="utf-8")
    assert "certainty" in drawn
    assert "soft value" not in drawn
