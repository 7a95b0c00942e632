"""softmorph prior evaluate and segment, with the small prior of the session."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import load, nibabel, refused, run, save
from helpers_learned import SHAPE, SPACING, TINY, advised, softened, write_hearts

from softmorph_cli import evaluate_prior, read_prior, segment, write_prior
from softmorph_cli.completion import prior_file

# Evaluation.


def linear_dice(labels: np.ndarray, kept: np.ndarray) -> float:
    """The Dice of the object on hidden slices, by linear interpolation of each class and the background."""
    maps = np.stack([labels == k for k in range(4)]).astype(np.float64)
    at = np.flatnonzero(kept)
    mixed = np.empty_like(maps)
    for z in range(len(labels)):
        low, high = at[at <= z].max(initial=at[0]), at[at >= z].min(initial=at[-1])
        part = 0.0 if low == high else (z - low) / (high - low)
        mixed[:, z] = (1 - part) * maps[:, low] + part * maps[:, high]
    found = mixed.argmax(0)[~kept] > 0
    truth = labels[~kept] > 0
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))


def test_evaluate_hides_what_is_asked_for_and_measures_each_method(prior: Path) -> None:
    beside = ("--json", "--csv", "table.csv", "--json-file", "table.json")
    ended = run("prior", "evaluate", prior, "others/maps", "--hide", "every:4", "--hide", "end:3", *beside)
    rows = {(row["hidden"], row["method"], row["class"]): row for row in ended.json["validation"]}
    assert len(rows) == 24
    slices = np.arange(8)
    for hidden, kept in (("every:4", slices % 4 == 0), ("end:3", slices < 5)):
        each = [linear_dice(load(f"others/maps/case_{k}.nii.gz"), kept) for k in range(2)]
        assert rows[hidden, "linear", "all"]["dice"] == pytest.approx(np.mean(each), abs=1e-9)
    mine, its = (rows["every:4", method, "all"]["dice"] for method in ("prior", "logit"))
    assert mine > its > 0
    assert json.loads(Path("table.json").read_text())["validation"] == ended.json["validation"]
    table = list(csv.DictReader(io.StringIO(Path("table.csv").read_text())))
    assert [row["dice"] for row in table] == [
        "" if row["dice"] is None else str(row["dice"]) for row in ended.json["validation"]
    ]
    # Names alone do not tell that they are other maps.
    names = ", ".join(sorted(set(read_prior(prior).subjects) & {"case_0.nii.gz", "case_1.nii.gz"}))
    assert f"note: the prior was trained on maps of the same names ({names})" in ended.err
    found = evaluate_prior(prior, "others/maps", hide=["every:4", "end:3"])
    assert [row.dice for row in found] == [row["dice"] for row in ended.json["validation"]]


def test_labels_that_no_map_holds_are_empty_classes(prior: Path) -> None:
    Path("less").mkdir()
    maps = [load(f"others/maps/case_{k}.nii.gz") for k in range(2)]
    maps = [np.where(one == 3, 0, one).astype(np.uint8) for one in maps]
    for k, labels in enumerate(maps):
        save(f"less/{k}.nii.gz", labels, SPACING)
    rows = {
        (row.label, row.method): row for row in evaluate_prior(prior, "less", hide="every:4", device="cpu")
    }
    kept = np.arange(8) % 4 == 0
    wanted = np.mean([linear_dice(labels, kept) for labels in maps])
    assert rows["all", "linear"].dice == pytest.approx(wanted, abs=1e-9)
    assert (rows["class 2", "prior"].subjects, rows["class 3", "prior"].subjects) == (2, 0)
    assert rows["class 3", "prior"].dice is None
    # Where labels are chosen, the others are no background.
    chosen = ("--label", 1, "--label", 2)
    refused("prior", "evaluate", prior, "others/maps", *chosen, says="the prior also has class 3")


def test_label_maps_without_an_object_are_refused(prior: Path) -> None:
    Path("empty").mkdir()
    for k in range(8):
        save(f"empty/{k}.nii.gz", np.zeros(SHAPE, np.uint8), SPACING)
    says = ("empty: no label but 0 occurs in 0.nii.gz, ", "give label maps with other labels")
    refused("prior", "train", "empty", "new.safetensors", *TINY, says=says)
    refused("prior", "evaluate", prior, "empty", says=says)
    # One map with an object is enough to tell that the others are empty.
    save("empty/0.nii.gz", load("others/maps/case_0.nii.gz"), SPACING)
    rows = evaluate_prior(prior, "empty", hide="every:4", device="cpu")
    assert {row.subjects for row in rows if row.label == "all"} == {1}


def test_a_prior_of_other_shapes_exits_3(prior: Path) -> None:
    """Blocks with the names of the hearts' classes, on a grid as large as theirs."""
    rng = np.random.default_rng(0)
    Path("blocks").mkdir()
    for number in range(3):
        labels = np.zeros(SHAPE, np.uint8)
        for k in (1, 2, 3):
            y, x = rng.integers(0, 11, 2)
            labels[1:7, y : y + 5, x : x + 5] = k
        save(f"blocks/{number}.nii.gz", labels, SPACING)
    ended = run("prior", "evaluate", prior, "blocks", "--hide", "every:4", code=3)
    assert "every:4, all: prior" in ended.out
    assert "finds hidden slices of blocks worse than interpolation does" in ended.err


def test_maps_that_do_not_fit_the_prior_are_refused(prior: Path) -> None:
    Path("digits").mkdir()
    save("digits/7.nii.gz", (np.eye(16) > 0).astype(np.uint8))
    refused("prior", "evaluate", prior, "digits", says=("digits/7.nii.gz", "2 spatial axes"))
    np.save("digits/7.npy", np.eye(16, dtype=np.float32))
    Path("digits/7.nii.gz").unlink()
    says = ("digits/7.npy does not say how large its voxels are, and the prior's box is one of lengths",)
    refused("prior", "evaluate", prior, "digits", says=says)
    refused("prior", "segment", "digits/7.npy", "o.npy", "--prior", prior, says=says)
    Path("large").mkdir()
    save("large/a.nii.gz", load("others/maps/case_0.nii.gz"), (16.0, 3.5, 3.0))
    refused(
        "prior", "evaluate", prior, "large", says=("large/a.nii.gz", "larger than the prior's box", "--box")
    )
    Path("more").mkdir()
    labels = load("others/maps/case_0.nii.gz").copy()
    labels[0, 0, :9] = 9
    save("more/a.nii.gz", labels, SPACING)
    refused("prior", "evaluate", prior, "more", says=("more/a.nii.gz", "lacks class 9"))
    advised(
        "leave out --voxels",
        *("prior", "evaluate", prior, "others/maps", "--hide", "every:4", "--voxels"),
        without=("--voxels",),
    )
    refused("prior", "evaluate", prior, "others/maps", "--hide", "half", code=2, says="every:4")
    refused("prior", "evaluate", prior, "others/maps", "--hide", "gap:7", says="hide fewer")
    refused("prior", "evaluate", prior, "others/maps", "--axis", "t", code=2, says="use z, y or x")


def test_a_larger_box_holds_larger_maps(learned: Path) -> None:
    """What is advised where a map exceeds the box."""
    run("prior", "train", learned / "maps", "wide.safetensors", *TINY, "--box", "128,56,48")
    write_hearts(1, 5, folder="others")
    save("others/maps/case_0.nii.gz", load("others/maps/case_0.nii.gz"), (16.0, 3.5, 3.0))
    run("prior", "evaluate", "wide.safetensors", "others/maps", "--hide", "every:2", code=3)


# Segmentation.


def test_an_image_is_segmented_by_its_intensities(prior: Path) -> None:
    image = "others/images/case_0_0000.nii.gz"
    beside = ("--preview", "o.png", "--json", "--json-file", "o.json")
    before = read_prior(prior).network_hash()
    ended = run("prior", "segment", image, "o.nii.gz", "--prior", prior, "--min-fit", 0.3, *beside)
    found = load("o.nii.gz")
    assert found.shape == (4, *SHAPE)
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)
    assert np.array_equal(nibabel.load("o.nii.gz").affine, nibabel.load(image).affine)
    same = segment(image, prior)
    np.testing.assert_array_equal(same.volume.array, found)
    assert ended.json["explained"] == same.explained
    held = read_prior(prior).training["held_out_images"]["explained"]
    assert f"variance (held-out images: {held['low']:.0%} to {held['high']:.0%})." in ended.err
    assert ended.json["output"]["channels"] == ["background", "class 1", "class 2", "class 3"]
    # The share of the variance that the network's intensities explain cannot be above 1, nor be that of noise.
    assert 0.3 < same.explained < 1
    truth = load("others/maps/case_0.nii.gz") > 0
    hit = found[1:].sum(0) > 0.5
    assert 2 * (hit & truth).sum() / (hit.sum() + truth.sum()) > 0.5
    assert Path("o.png").read_bytes()[:4] == b"\x89PNG"
    assert json.loads(Path("o.json").read_text())["prior"]["network_sha256"] == before
    labels = ("--argmax", "--quiet", "--json")
    ended = run("prior", "segment", image, "l.nii.gz", "--prior", prior, "--min-fit", 0, *labels)
    assert ended.json["output"]["labels"] == {"background": 0, "class 1": 1, "class 2": 2, "class 3": 3}
    assert np.array_equal(load("l.nii.gz"), found.argmax(0))


def test_an_image_of_another_kind_exits_3_and_is_written(prior: Path) -> None:
    save("noise.nii.gz", np.random.default_rng(0).normal(100, 30, SHAPE).astype(np.float32), SPACING)
    ended = run("prior", "segment", "noise.nii.gz", "o.nii.gz", "--prior", prior, code=3)
    assert "of the variance of noise.nii.gz, and --min-fit asks for 50%" in ended.err
    assert load("o.nii.gz").shape == (4, *SHAPE)
    run("prior", "segment", "noise.nii.gz", "o.nii.gz", "--prior", prior, "--force", "--min-fit", 0)


@pytest.mark.parametrize(
    ("subjects", "low", "least"), [(7, 0.625, 0.5), (8, 0.625, 0.625), (8, 0.25, 0.5), (12, 0.999, 0.999)]
)
def test_held_out_images_say_how_much_has_to_be_explained(
    prior: Path, subjects: int, low: float, least: float
) -> None:
    known = read_prior(prior)
    held = known.training["held_out_images"]
    held = {**held, "subjects": subjects, "explained": {"mean": low, "low": low, "high": low}}
    write_prior(replace(known, training={**known.training, "held_out_images": held}), "seen.safetensors")
    image = "others/images/case_0_0000.nii.gz"
    share = segment(image, prior).explained
    code = 3 if share < least else 0
    ended = run("prior", "segment", image, "o.nii.gz", "--prior", "seen.safetensors", "--json", code=code)
    assert (ended.json["min_fit"], ended.json["held_out_images"]) == (least, held)
    assert ("and --min-fit asks for" in ended.err) == (code == 3)
    assert 0.3 < share < 0.999, "one of the rows is refused"


def test_a_prior_without_images_segments_none(prior: Path, learned: Path) -> None:
    image = "others/images/case_0_0000.nii.gz"
    run("prior", "train", learned / "maps", "blind.safetensors", *TINY)
    refused(
        "prior",
        "segment",
        image,
        "o.nii.gz",
        "--prior",
        "blind.safetensors",
        says="train one with --images DIR",
    )
    run("prior", "train", learned / "maps", "seeing.safetensors", *TINY, "--images", learned / "images")
    run("prior", "segment", image, "o.nii.gz", "--prior", "seeing.safetensors", "--min-fit", 0)


def test_a_prior_of_one_class_writes_one_image() -> None:
    softened(shape=(9, 10))
    shutil.copytree("maps", "images")
    run("prior", "train", "maps", "p.safetensors", *TINY, "--images", "images")
    command = (
        "prior",
        "segment",
        "images/3.nii.gz",
        "o.nii.gz",
        "--prior",
        "p.safetensors",
        "--min-fit",
        0,
        "--json",
    )
    assert run(*command).json["output"] == {"path": "o.nii.gz", "channels": ["class 1"]}
    probabilities = load("o.nii.gz")
    assert probabilities.shape == (9, 10)
    found = run(*command, "--argmax", "--force").json
    assert found["output"] == {"path": "o.nii.gz", "labels": {"background": 0, "class 1": 1}}
    np.testing.assert_array_equal(load("o.nii.gz"), probabilities > 0.5)
    assert found["classes"] == [{"label": 1, "class": "class 1", "voxels": int((probabilities > 0.5).sum())}]


def test_what_cannot_be_segmented_is_refused(prior: Path) -> None:
    image = "others/images/case_0_0000.nii.gz"
    command = ("prior", "segment", image, "o.nii.gz")
    refused(*command, code=2, says="add --prior FILE")
    said = refused(*command, "--prior", prior, "--argmax", "--output-type", "uint8", code=2)
    assert "leave --output-type out" in said
    run(*command, "--prior", prior, "--argmax", "--min-fit", 0)
    refused("prior", "segment", image, image, "--prior", prior, "--force", code=2, says="is the image")
    save("flat.nii.gz", np.full(SHAPE, 7, np.float32), SPACING)
    refused(
        "prior",
        "segment",
        "flat.nii.gz",
        "f.nii.gz",
        "--prior",
        prior,
        says="flat.nii.gz: the image is constant",
    )
    two = nibabel.Nifti1Image(np.stack([load(image)] * 2).T, nibabel.load(image).affine)
    two.header.set_xyzt_units("mm")
    two.to_filename("two.nii.gz")
    several = ("prior", "segment", "two.nii.gz", "t.nii.gz", "--prior", prior, "--min-fit", 0)
    advised("Choose it with --channel N or --time N", *several, more=("--channel", 1))
    np.testing.assert_allclose(load("t.nii.gz"), segment(image, prior).volume.array, atol=1e-6)


def test_python_writes_what_the_command_reads(prior: Path) -> None:
    found = read_prior(prior)
    write_prior(found, "again.safetensors")
    assert Path("again.safetensors").read_bytes() == prior.read_bytes()
    assert run("prior", "info", "again.safetensors").code == 0
    assert prior_file.load(Path("again.safetensors")).classes == found.classes
