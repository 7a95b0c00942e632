"""What softmorph inspect refuses, maps with nothing to see, and runs in real processes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import (
    BOXES,
    ESCAPE,
    everything,
    load,
    process,
    random_map,
    refused,
    run,
    save,
)
from helpers_inspect import OUTPUTS, flags
from PIL import Image
from test_cli_terminal import on_terminal

from softmorph_cli.io.writing import write
from softmorph_cli.volume import Volume

# What is refused


@pytest.mark.parametrize("name", OUTPUTS)
def test_what_exists_is_refused_before_the_input_is_read(name: str) -> None:
    Path(OUTPUTS[name]).write_bytes(b"precious")
    refused("inspect", "missing.nii.gz", *flags(OUTPUTS), says=(OUTPUTS[name], "exists already", "--force"))


def test_force_replaces_them_all(tree: Path) -> None:
    for name in OUTPUTS.values():
        Path(name).write_bytes(b"old")
    run("inspect", tree, *flags(OUTPUTS), "--force", "--levels", 0)
    found = everything()
    assert set(found) == {"tree.nii.gz", *OUTPUTS.values()}
    assert b"old" not in found.values()


def test_outputs_are_left_alone_when_the_input_is_bad_even_with_force() -> None:
    save("in.nii.gz", random_map() * 2)
    for name in OUTPUTS.values():
        Path(name).write_bytes(b"old")
    refused("inspect", "in.nii.gz", *flags(OUTPUTS), "--force", says="in.nii.gz")


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_missing_folder_is_refused_before_the_input_is_read(name: str) -> None:
    refused("inspect", "missing.nii.gz", f"--{name}", f"gone/{OUTPUTS[name]}", says=("gone", "mkdir -p"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--json", "--csv", "-"], "--json and --csv - would both print on stdout"),
        (["--obj", "-", "--swc", "-", "--csv", "x"], "--swc - and --obj - would both"),
        (["--report", "r.txt"], "--report r.txt: a report is a web page; end its name with .html"),
        (
            ["--preview", "p.jpg"],
            "--preview p.jpg: a preview is a PNG, a PDF or an SVG; end its name with .png",
        ),
        (["--skeleton", "s.xyz"], "s.xyz"),
        (["--csv", "same", "--json-file", "same"], "same is named twice"),
        (["--skeleton", "missing.nii.gz", "--force"], "missing.nii.gz is named twice"),
        (["--as", "skeleton", "--map", "m.nii.gz", "--tagged", "m.nii.gz"], "m.nii.gz is named twice"),
        (["--sort", "width"], "--sort width: use length, tortuosity, radius, certainty"),
        (["--top", "-1"], "--top -1: give a number of branches, or 0 for all"),
        (["--as", "vessel"], "use map or skeleton"),
        (["--prune", "3"], "--prune '3' is no length: give a number and a unit, such as 2.5mm"),
        (["--prune", "3miles"], "--prune '3miles' is no length"),
        (["--prune", "0mm"], "--prune '0mm': it must be more than 0"),
        (["--prune-cycles", "all"], "use shortest or least-certain"),
        (["--threshold", "1"], "threshold 1: it must be at least 0 and below 1"),
        (["--resample", "cubic"], "--resample cubic: only iso is known"),
    ],
)
def test_wrong_words_are_refused_before_the_input_is_read(arguments: list[str], says: str) -> None:
    refused("inspect", "missing.nii.gz", *arguments, code=2, says=says)


def test_words_that_do_not_fit_the_file(tree: Path, skeleton: Path) -> None:
    for arguments, says in (
        ([tree, "--map", tree], "--map goes with a skeleton: add --as skeleton, or leave it out"),
        ([tree, "--levels", 7], "--levels 7: use 8, 16, 32 or a multiple of 64"),
        ([skeleton, "--prune", "radius"], "--prune radius needs the map: add --map MAP"),
        ([skeleton, "--prune-cycles", "least-certain"], "--prune-cycles least-certain needs soft values"),
        ([skeleton, "--resample", "iso"], "--resample iso goes with a map"),
    ):
        refused("inspect", *arguments, "--csv", "c.csv", code=2, says=says)


@pytest.mark.parametrize(("axes", "option"), [("CZYX", "--channel 0"), ("TZYX", "--time 0")])
def test_a_file_of_several_maps_names_what_to_type(axes: str, option: str) -> None:
    pair = np.zeros((2, 5, 12, 20), np.float32)
    pair[0, 2, 5, 2:17] = pair[1, 2, 5, 2:12] = 0.9
    write(Volume(pair, axes, (1.0, 1.0, 1.0), "mm"), "pair.ome.tif")
    sentence = refused("inspect", "pair.ome.tif", says=("pair.ome.tif", "holds 2", "one is taken at a time"))
    assert f"add {option}" in sentence
    for channel, steps in ((0, 14), (1, 9)):
        typed = option.replace(" 0", f" {channel}").split()
        ended = run(
            "inspect",
            "pair.ome.tif",
            *typed,
            "--json",
            *flags({"skeleton": f"{channel}.tif", "levels": "0"}),
        )
        assert ended.json["graph"]["length_mm"] == pytest.approx(steps)
        np.testing.assert_array_equal(load(f"{channel}.tif"), pair[channel] > 0.5)


# Maps with nothing to see


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.zeros((5, 6, 7)), "the map is 0 everywhere"),
        (np.full((5, 6, 7), 0.3), "nothing is above 0.5, the largest value is 0.3; try --threshold 0.2"),
        (np.ones((5, 6, 7)), "no surface inside the image, so radii are not known"),
        (np.pad([[[1.0]]], 2), "the centreline is a single voxel: it has no branch, and so no length"),
    ],
    ids=["empty", "faint", "full", "one voxel"],
)
def test_every_output_can_be_made_of_next_to_nothing(image: np.ndarray, says: str) -> None:
    save("in.nii.gz", image.astype(np.float32), (1.0, 1.0, 1.0))
    ended = run("inspect", "in.nii.gz", *flags(OUTPUTS), "--levels", 0)
    assert f"{says}." in ended.err
    assert set(everything()) == {"in.nii.gz", *OUTPUTS.values()}
    document = json.loads(Path("j.json").read_text(encoding="utf-8"))
    assert says in document["warnings"][0]
    assert np.count_nonzero(load("skeleton.nii.gz")) == document["graph"]["voxels"]
    assert says[1:] in Path("r.html").read_text(encoding="utf-8")


# Real processes


def test_exit_statuses_of_real_processes(tree: Path) -> None:
    ended = process("inspect", tree, "--levels", "0")
    assert ended.code == 0
    assert "  components: 2\n" in ended.out
    for text in (ended.out, ended.err):
        assert ESCAPE not in text
        assert not BOXES.search(text)
        assert "\u2580" not in text
        assert "\u2584" not in text
    assert all(line == line.rstrip() for line in ended.out.splitlines())
    for arguments, code in ((["missing.nii.gz"], 1), ([tree, "--sort", "width"], 2), ([tree, "--what"], 2)):
        ended = process("inspect", *arguments)
        assert (ended.code, ended.out) == (code, "")


def test_a_picture_and_tables_on_a_terminal(tree: Path) -> None:
    code, screen = on_terminal("inspect", tree, "--levels", 0, columns=120)
    assert code == 0
    assert f"{ESCAPE}[" in screen
    picture, tables = screen.split("total length (mm)")
    # A bar of progress is drawn with other signs.
    assert len(re.findall("[\u2580\u2584]", picture)) > 300
    assert not re.search("[\u2580\u2584]", tables)
    assert BOXES.search(tables)
    for words in ("components", "junctions"):
        assert words in picture
    for words in ("branches, longest first", "branch 4", "components, longest first", "26-connected"):
        assert words in tables


def test_images_of_a_file_with_a_channel_axis_of_one(tmp_path: Path) -> None:
    image = np.zeros((1, 8, 9, 10), np.float32)
    image[0, 4, 4, 1:9] = 1
    np.save("one.npy", image)
    run("inspect", "one.npy", "--axes", "CZYX", "--skeleton", "s.nii.gz", "--branch-labels", "b.nii.gz")
    assert load("s.nii.gz").sum() == load("b.nii.gz").sum() == 8


def test_an_order_by_what_is_not_known_is_refused() -> None:
    image = np.zeros((9, 9), np.uint8)
    image[4, 1:8] = 1
    save("line.png", image * 255)
    words = ("inspect", "line.png", "--as", "skeleton", "--divide-by", 255, "--sort", "radius")
    refused(*words, says=("no branch has a radius", "--map MAP"))


def test_options_about_values_are_meant_for_the_map() -> None:
    line = np.zeros((9, 9), np.float32)
    line[4, 1:8] = 1
    np.save("line.npy", line)
    np.save("logits.npy", (20 * line - 10).astype(np.float32))
    found = run(
        "inspect",
        "line.npy",
        "--as",
        "skeleton",
        "--map",
        "logits.npy",
        "--from-logits",
        "sigmoid",
        "--json",
    ).json
    assert found["graph"]["branches"] == 1
    assert found["graph"]["certainty"]["min"] > 0.99


def test_a_time_is_that_of_the_map() -> None:
    """A skeleton of one time of a film has no axis of time itself."""
    film = np.zeros((2, 9, 9), np.float32)
    film[1, 4, 1:8] = 0.75
    np.save("film.npy", film)
    np.save("line.npy", (film[1] > 0).astype(np.float32))
    words = ("--as", "skeleton", "--map", "film.npy", "--axes", "TYX", "--time", 1, "--json")
    assert run("inspect", "line.npy", *words).json["graph"]["certainty"]["mean"] == 0.75


def test_images_that_cannot_be_written_are_refused_before_anything_is_computed() -> None:
    image = np.zeros((5, 9, 9), np.float32)
    image[2, 4, 1:8] = 1
    save("map.nii.gz", image)
    refused("inspect", "map.nii.gz", "--csv", "b.csv", "--skeleton", "s.png", says="s.png as .tif")


def test_a_store_is_replaced_with_force() -> None:
    image = np.zeros((5, 9, 9), np.float32)
    image[2, 4, 1:8] = 1
    save("map.nii.gz", image)
    for _ in range(2):
        run("inspect", "map.nii.gz", "--skeleton", "s.zarr", "--force")
    refused("inspect", "map.nii.gz", "--skeleton", "s.zarr", says="--force")


def test_what_a_batch_made_is_known_as_a_skeleton() -> None:
    image = np.zeros((5, 9, 9), np.float32)
    image[2, 3:6, 1:8] = 0.9
    Path("maps").mkdir()
    save("maps/a.nii.gz", image)
    run("batch", "maps", "out", "skeletonize:hard", "--workers", 1)
    assert "taken as one" in run("inspect", "out/a.nii.gz").err


def test_a_note_for_a_skeleton_beside_its_map() -> None:
    image = np.zeros((9, 9), np.float32)
    image[4, 1:8] = 1
    np.save("line.npy", image)
    np.save("faint.npy", np.float32(0.4) * image + np.float32(0.4) * (image * (np.arange(9) > 4)))
    told = run("inspect", "line.npy", "--as", "skeleton", "--map", "faint.npy").err
    assert "lie where the map is not above 0.5" in told


@pytest.mark.parametrize(("unit", "cubic"), [(None, False), (None, True), ("um", False)])
def test_lengths_of_uneven_voxels_without_a_unit_name_their_unit(unit: str | None, cubic: bool) -> None:
    """A cross of arms of 4 and 3 voxels along z and of 7 and 6 along x."""
    image = np.zeros((12, 20, 20), np.float32)
    image[2:10, 10, 10] = image[6, 10, 3:17] = 1
    spacing = (2.0, 2.0, 2.0) if cubic else (5.0, 2.0, 2.0)
    write(Volume(image, "ZYX", spacing, unit), "cross.zarr")
    ended = run("inspect", "cross.zarr", "--json-file", "j.json")
    told = "lengths are in voxels along x, of which one along z counts 2.5."
    assert (told in ended.err) == (unit is None and not cubic)
    graph = json.loads(Path("j.json").read_text())["graph"]
    length = 2 * 13 + 5 * 7 if unit else 13 + 7 * (1 if cubic else 2.5)
    assert graph[f"length_{unit or 'voxels'}"] == pytest.approx(length)


def test_class_and_time_are_named_where_one_of_several_was_read() -> None:
    several = np.zeros((2, 2, 5, 12, 20), np.float32)
    several[:, :, 2, 5, 2:17] = 0.9
    write(Volume(several, "TCZYX", (2.0, 1.0, 1.0), "um", channels=("axon", "soma")), "cells.ome.tif")
    chosen = ("cells.ome.tif", "--channel", "soma", "--time", 1)
    for more in ((), ("--resample", "iso")):
        files = flags({"preview": "p.png", "report": "p.html", "csv": "p.csv", "levels": "0"})
        ended = run("inspect", *chosen, *more, *files, "--force")
        assert ended.out.startswith("cells.ome.tif, soma, time 1\n")
        assert "<title>cells.ome.tif, soma, time 1" in Path("p.html").read_text(encoding="utf-8")
        assert Path("p.csv").read_text(encoding="utf-8").splitlines()[1].endswith(",soma")
        with Image.open("p.png") as image:
            assert image.info["Title"] == "softmorph inspect cells.ome.tif, soma, time 1"
    run("topology", "repair", *chosen, "r.tif", "--betti", "1,0,0", "--preview", "r.png")
    ended = run("topology", "numbers", *chosen, "--plot", "n.png")
    assert ended.out.startswith("cells.ome.tif, soma, time 1, above 0.5\n")
    run("erode", *chosen, "e.tif", "-n", 1, "--preview", "e.png")
    for file, command in (("r.png", "topology repair"), ("n.png", "topology numbers"), ("e.png", "erode")):
        with Image.open(file) as image:
            assert image.info["Title"] == f"softmorph {command} cells.ome.tif, soma, time 1"
