"""softmorph prior: train, info, evaluate, segment; one small prior is trained for all tests."""

from __future__ import annotations

import gc
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers_cli import Ended, load, nibabel, refused, run, save
from helpers_learned import SHAPE, SPACING, TINY, advised, softened, write_hearts

from softmorph_cli import evaluate_prior, read_prior, segment
from softmorph_cli.__main__ import main
from softmorph_cli.cli import prior_tables
from softmorph_cli.completion.checkpoint import Checkpoint


def test_each_axis_of_a_turned_prior_has_a_direction_of_its_own() -> None:
    orientation: Any = prior_tables.orientation
    # The first axis is nearest to S, unless that is taken by an axis which is nearer still.
    directions = ((-0.6, 0.0, 0.8), (0.45, -0.66, 0.6))
    assert orientation(SimpleNamespace(directions=directions)) == "SP"
    assert orientation(SimpleNamespace(directions=(*directions, (0.0, 0.0, -1.0)))) == "LPI"
    assert orientation(SimpleNamespace(directions=None)) is None


def test_training_tells_how_well_hidden_slices_of_other_maps_are_found(learned: Path) -> None:
    told = json.loads((learned / "prior.json").read_text())["prior"]
    assert told["classes"] == ["class 1", "class 2", "class 3"]
    assert told["orientation"] == "SAR"
    assert told["box"] == {"size": [128.0, 48.0, 48.0], "unit": "mm"}
    assert len(told["subjects"]) == 8
    assert told["training"]["steps"] == 250
    # Four gaps, three classes and all of them, three methods.
    assert len(told["validation"]) == 48
    assert {row["method"] for row in told["validation"]} == {"prior", "logit", "linear"}
    text = (learned / "out.txt").read_text()
    assert "learned from 8 maps, 2 held out" in text
    every = next(row for row in told["validation"] if (row["class"], row["method"]) == ("all", "prior"))
    assert f"{every['hidden']}, all: prior {every['dice']:.3f}" in text
    assert (learned / "sheet.png").read_bytes()[:4] == b"\x89PNG"
    # Images of the same two maps are segmented, and their ranges told.
    held = told["training"]["held_out_images"]
    assert held["subjects"] == 2
    assert f"held-out images (2): {held['explained']['mean']:.0%} (" in text
    others = sorted({f"case_{k}.nii.gz" for k in range(10)} - set(told["subjects"]))
    dice = []
    for name in others:
        image = learned / "images" / name.replace(".nii.gz", "_0000.nii.gz")
        truth = load(str(learned / "maps" / name)) > 0
        found = segment(image, learned / "p.safetensors")
        assert held["explained"]["low"] - 1e-6 <= found.explained <= held["explained"]["high"] + 1e-6
        mask = found.volume.array.argmax(0) > 0
        dice.append(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))
    assert [held["dice"]["all"][key] for key in ("mean", "low", "high")] == pytest.approx(
        [np.mean(dice), min(dice), max(dice)]
    )
    # Nothing else is left.
    assert {one.name for one in learned.iterdir()} == {
        *("maps", "images", "p.safetensors", "sheet.png", "prior.json", "out.txt")
    }


def test_the_same_seed_gives_the_same_file_and_force_another() -> None:
    write_hearts(8, 3, images=False)
    run("prior", "train", "maps", "a.safetensors", *TINY, "--quiet")
    Path("maps").rename("elsewhere")
    run("prior", "train", "elsewhere", "b.safetensors", *TINY, "--quiet")
    first = Path("a.safetensors").read_bytes()
    assert first == Path("b.safetensors").read_bytes()
    refused("prior", "train", "elsewhere", "a.safetensors", *TINY, says="exists already; add --force")
    run("prior", "train", "elsewhere", "a.safetensors", *TINY, "--seed", 1, "--force")
    assert first != Path("a.safetensors").read_bytes()


def test_an_interrupted_training_goes_on_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    write_hearts(8, 3, images=False)
    run("prior", "train", "maps", "whole.safetensors", *TINY)
    keep = Checkpoint.write
    kept: list[int] = []

    def interrupted(self: Checkpoint, state: Any) -> None:
        keep(self, state)
        kept.append(int(state["step"]))
        if len(kept) % 15 == 0:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "due", True)
        patch.setattr(Checkpoint, "write", interrupted)
        command = ("prior", "train", "maps", "p.safetensors", *TINY)
        ended = run(*command, code=130)
        assert "the same command with --resume goes on" in ended.err
        run(*command, "--resume", code=130)
    # Other settings do not go on from it.
    said = refused("prior", "train", "maps", "p.safetensors", *TINY, "--resume", "--seed", 9)
    assert "is of a training of other maps or settings" in said
    run(*command, "--resume")
    assert kept == list(range(1, 31))
    assert Path("p.safetensors").read_bytes() == Path("whole.safetensors").read_bytes()
    assert not list(Path().glob(".*"))
    # Once more, it is complete.
    ended = run(*command, "--resume")
    assert "p.safetensors is complete: " in ended.err
    assert "p.safetensors: learned from 8 maps, 0 held out;" in ended.out
    refused(*command, "--resume", "--steps", 41, says="exists already")
    assert "40 maps" not in run(*command, "--resume", "--force").out
    assert Path("p.safetensors").read_bytes() == Path("whole.safetensors").read_bytes()


def test_maps_with_channels_of_one_class_and_in_2d() -> None:
    softened(shape=(9, 10))
    run("prior", "train", "maps", "p.safetensors", *TINY)
    told = run("prior", "info", "p.safetensors", "--json").json["prior"]
    assert (told["classes"], told["axes"], told["intensity"]) == (["class 1"], "YX", None)
    ended = run("prior", "evaluate", "p.safetensors", "maps", "--hide", "every:2", "--axis", "x", "--json")
    assert ended.json["parameters"]["axis"] == "x"
    # The first has 0.5 at most, and no voxel where the object is more probable than the background.
    assert {row["subjects"] for row in ended.json["validation"]} == {7}


def test_labels_are_chosen_among_those_there_are() -> None:
    write_hearts(8, 3, images=False)
    command = ("prior", "train", "maps", "p.safetensors", *TINY)
    advised(
        "no file holds the label 7; they hold 1, 2, 3: choose one of these, or leave --label out",
        *command,
        *("--label", 7),
        without=("--label", 7),
    )
    run(*command, "--label", 3, "--label", 1, "--force")
    assert read_prior("p.safetensors").classes == ("class 1", "class 3")
    # One label alone has its name too, and maps without names are taken in order.
    run(*command, "--label", 2, "--force")
    assert read_prior("p.safetensors").classes == ("class 2",)
    Path("soft").mkdir()
    for k in range(2):
        save(f"soft/{k}.nii.gz", (load(f"maps/case_{k}.nii.gz") == 2) * np.float32(0.9), SPACING)
    for folder, labels, count in (("soft", (), 2), ("maps", (2,), 8)):
        rows = evaluate_prior("p.safetensors", folder, hide=["every:2"], labels=labels)
        assert (rows[0].label, rows[0].subjects) == ("class 2", count)
    refused("prior", "evaluate", "p.safetensors", "maps", "--label", 1, says="the prior lacks class 1")


def test_too_few_maps_and_maps_that_differ_are_refused() -> None:
    softened(7)
    refused("prior", "train", "maps", "p.safetensors", says=("at least 8 maps", "7"))
    save("maps/7.nii.gz", np.ones((2, 4, 6, 6), np.float32) / 3)
    said = refused("prior", "train", "maps", "p.safetensors", says="classes")
    assert "7.nii.gz" in said
    assert "0.nii.gz" in said
    turned = nibabel.Nifti1Image(np.ones((6, 6, 4), np.float32), np.diag([-1.5, 2.0, 3.0, 1.0]))
    turned.header.set_xyzt_units("mm")
    turned.to_filename("maps/7.nii.gz")
    refused("prior", "train", "maps", "p.safetensors", says=("7.nii.gz", "0.nii.gz", "directions"))
    refused("prior", "train", "nowhere", "p.safetensors", code=2, says="nowhere does not exist")
    refused("prior", "train", "maps", "p.pt", says="end its name with .safetensors")
    save("maps/7.nii.gz", load("maps/0.nii.gz"))
    refused("prior", "train", "maps", "p.safetensors", "--box", "1,2,3", says="larger than the prior's box")
    advised(
        "--box 9,9 has 2 sides, and the maps have 3 spatial axes: give 3 sides, or leave it out",
        *("prior", "train", "maps", "p.safetensors", *TINY, "--box", "9,9"),
        without=("--box", "9,9"),
    )
    for option, value in (
        ("--box", "1,2,3,4"),
        ("--seed", 2**64),
        ("--width", 4097),
        ("--layers", 300),
        ("--activation", "tanh"),
        ("--validate", 0.9),
    ):
        refused("prior", "train", "maps", "p.safetensors", option, value, code=2, says=option)


def test_maps_without_a_size_are_counted_in_voxels() -> None:
    Path("maps").mkdir()
    for k in range(8):
        save(f"maps/{k}.npy", np.eye(6, dtype=np.float32) * (1 - k / 20))
    advised("add --voxels", "prior", "train", "maps", "p.safetensors", *TINY, more=("--voxels",))
    assert read_prior("p.safetensors").box.unit == "voxels"
    advised(
        "add --voxels", "prior", "evaluate", "p.safetensors", "maps", "--hide", "gap:2", more=("--voxels",)
    )


def test_maps_that_differ_in_what_they_say_of_their_size_are_counted_in_voxels() -> None:
    softened()
    save("maps/0.tif", load("maps/0.nii.gz"))  # which has no directions
    Path("maps/0.nii.gz").unlink()
    advised("--voxels ignores both", "prior", "train", "maps", "p.safetensors", *TINY, more=("--voxels",))


def test_the_image_of_each_map_is_found_or_missed() -> None:
    write_hearts(8, 3)
    Path("images/case_5_0000.nii.gz").rename("images/case_6.nii.gz")
    command = ("prior", "train", "maps", "p.safetensors", *TINY, "--images", "images")
    advised("holds no image of the name of case_5.nii.gz", *command, without=("--images", "images"))
    Path("images/case_6.nii.gz").rename("images/case_5.nii.gz")
    save("images/case_4_0000.nii.gz", np.zeros((8, 16, 15), np.int16), SPACING)
    refused(*command, "--force", says=("case_4_0000.nii.gz has the shape (8, 16, 15)", "maps/case_4.nii.gz"))
    save("images/case_4_0000.nii.gz", np.zeros(SHAPE, np.int16), (3.0, 3.0, 3.0))
    refused(*command, "--force", says=("case_4_0000.nii.gz lies at another place", "maps/case_4.nii.gz"))


def test_a_file_that_is_no_label_map_is_named() -> None:
    softened()
    advised(
        "0.nii.gz is no label map: leave --label out",
        *("prior", "train", "maps", "p.safetensors", *TINY, "--label", 2),
        without=("--label", 2),
    )


# Files.


def test_info_says_what_a_prior_is_for(prior: Path) -> None:
    shown = run("prior", "info", prior).out
    for words in (
        "classes: class 1, class 2, class 3",
        "axes of the array: z y x, running to S A R",
        "box: 128 × 48 × 48 mm",
        "learned from: 8 maps and their images",
        "network: 3 layers of 32, sine",
        "end:1/4, class 2: prior ",
    ):
        assert words in shown
    told = run("prior", "info", prior, "--json").json["prior"]
    assert told["network_sha256"] == read_prior(prior).network_hash()


def test_files_that_are_no_priors_are_refused(prior: Path) -> None:
    content = prior.read_bytes()
    Path("cut.safetensors").write_bytes(content[:-5])
    Path("trap.pt").write_bytes(b"\x80\x04cposix\nsystem\n")
    save("map.nii.gz", np.zeros(SHAPE, np.float32))
    for name, says in (
        ("cut.safetensors", "cut short"),
        ("trap.pt", "is named as a pickle"),
        ("map.nii.gz", "is a NIfTI image and no prior"),
        ("missing.safetensors", "does not exist"),
        (".", "is a folder"),
    ):
        assert refused("prior", "info", name, says=says).startswith(f"{name} ")
        refused("prior", "evaluate", name, "others/maps", says=says)
        refused("prior", "segment", "map.nii.gz", "out.nii.gz", "--prior", name, says=says)


# Examples of --help.


def test_the_examples_of_help_work(prior: Path, learned: Path) -> None:
    prior.rename("heart.safetensors")
    Path("others/images/case_0_0000.nii.gz").rename("image.nii.gz")
    for path in Path("others/maps").iterdir():
        path.rename(f"others/{path.name}")
    shutil.copytree(learned / "maps", "maps")
    shutil.copytree(learned / "maps", "labels")
    shutil.copytree(learned / "images", "images")
    examples = [
        line.strip().replace("\n", " ")
        for name in ("train", "info", "evaluate", "segment")
        for line in _examples(run("prior", name, "--help"))
    ]
    assert len(examples) == 8
    for line in examples:
        words = line.partition(" > ")[0].split()[1:]
        more = (
            ["--force", *map(str, TINY)] if words[1] == "train" else ["--force"] if "segment" in words else []
        )
        code = 3 if words[1] == "evaluate" and "gap:4" in words else 0
        if words[1] != "train":
            run(*words, *more, *(["--min-fit", "0"] if "segment" in words else []), code=code)
        else:
            target = Path("heart.safetensors").read_bytes()
            run(*words, *more)
            Path("heart.safetensors").write_bytes(target)


def _examples(ended: Ended) -> list[str]:
    told = ended.out.split("Examples:")[1]
    examples = [" ".join(part.split()) for part in told.strip().split("\n\n")]
    # The last line says how to see the other options.
    return [one for one in examples if one.startswith("softmorph ")]


@pytest.mark.parametrize("there", [True, False])
def test_objects_are_not_frozen_at_exit_where_triton_would_complain(there: bool, monkeypatch: Any) -> None:
    """Training imports Triton, which prints on stderr what it takes for leaks, 30 lines of it."""
    frozen: list[None] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(None))
    monkeypatch.setattr(gc, "set_threshold", lambda count: None)
    monkeypatch.setattr(sys, "argv", ["softmorph", "--version"])
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    if there:
        monkeypatch.setitem(sys.modules, "triton", sys)
    with pytest.raises(SystemExit):
        main()
    assert bool(frozen) is not there
