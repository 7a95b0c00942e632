"""Messages about what a file holds: what they advise is typed, see `helpers_advice`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from helpers_advice import (
    SHAPE,
    Row,
    after,
    comb,
    first_object,
    folder_of,
    folders,
    follow,
    foreign,
    holes,
    labels,
    moved,
    network,
    pair,
    skeleton,
    sloped,
    soft,
    softmax,
    stack,
    study,
    typed,
    words_of,
)
from helpers_cli import run, save
from test_cli_advice_reading import TABLE as READING

from softmorph_cli.io.probing import probe
from softmorph_cli.io.reading import read

TABLE = {
    "labels": Row(
        lambda: save("map.nii.gz", labels()), "erode map.nii.gz out.nii.gz", ("--label 1", "--divide-by 3")
    ),
    "labels behind a slope, filtered": Row(
        sloped, "erode sloped.nii out.nii.gz", ("--label 1", "--divide-by 3")
    ),
    "labels behind a slope, compared with one map": Row(
        after(sloped, lambda: save("map.nii.gz", soft(), (1, 1, 1))),
        "evaluate map.nii.gz sloped.nii --metrics dice --same-grid",
        ("--label 1",),
    ),
    "grey values": Row(
        lambda: save("map.nii.gz", (4000 * soft()).astype(np.int16)),
        "erode map.nii.gz out.nii.gz",
        ("--divide-by 4095",),
    ),
    "percent": Row(lambda: save("map.nii.gz", 100 * soft()), "stats map.nii.gz", ("--divide-by 100",)),
    "overshoot": Row(lambda: save("map.nii.gz", 1.1 * soft() + 0.05), "stats map.nii.gz", ("--clip",)),
    "logits": Row(
        lambda: save("map.nii.gz", 20 * soft() - 8),
        "stats map.nii.gz",
        ("--from-logits sigmoid", "--clip"),
    ),
    "not a number": Row(holes, "stats map.nii.gz", ("--mask FILE",), mentions=()),
    "axes without names": Row(lambda: np.save("map.npy", softmax()), "stats map.npy", ("--axes CZYX",)),
    "a colour image": Row(
        lambda: tifffile.imwrite("map.tif", np.full((9, 9, 3), 200, np.uint8), photometric="rgb"),
        "stats map.tif",
        ("--channel 0",),
        mentions=("--axes",),
    ),
    "several classes, one is inspected": Row(network, "inspect case.npz", ("--channel artery",)),
    "several times, one is inspected": Row(
        lambda: stack("TZYX", (3, *SHAPE)), "inspect map.ome.tif", ("--time 0",)
    ),
    "several times and channels, part by part": Row(
        lambda: stack("TCZYX", (3, 2, *SHAPE)),
        "close map.ome.tif out.ome.zarr -n 1 --memory 1GB",
        ("--time 0 --channel 0",),
    ),
    "a network's logits": Row(lambda: network(logits=True), "stats case.npz", ("--from-logits softmax",)),
    "a network without labels beside it": Row(
        lambda: network(beside=False), "stats case.npz", ("--reference FILE",)
    ),
    "a network and other labels": Row(
        lambda: network(wrong=True), "stats case.npz", ("--reference case.nii.gz", "--reference .")
    ),
    "a batch of networks and other labels": Row(
        study, "batch study out erode", ("--reference study",), mentions=("--reference",)
    ),
    "a network with its axes turned": Row(lambda: network(turned=True), "stats case.npz", ("--axes CXYZ",)),
    "one map against several labels": Row(
        lambda: pair(soft(), labels()), "evaluate pred.nii.gz ref.nii.gz --metrics dice", ("--label 1",)
    ),
    "an error map of several classes": Row(
        lambda: pair(labels(), labels()),
        "evaluate pred.nii.gz ref.nii.gz --metrics dice --error-map wrong.nii.gz",
        ("--label 1",),
    ),
    "an error map of several classes that were asked for": Row(
        lambda: pair(labels(), labels()),
        "evaluate pred.nii.gz ref.nii.gz --metrics dice --error-map wrong.nii.gz --label 1 --label 2",
        ("--label 1",),
        without="--label 1 --label 2",
    ),
    "two places": Row(moved, "evaluate pred.nii.gz ref.nii.gz --metrics dice", ("--same-grid",)),
    "two voxel sizes": Row(
        lambda: pair(soft(), labels()[..., ::2].clip(0, 1), (1, 1, 1), (1, 1, 2), suffix=".tif"),
        "evaluate pred.tif ref.tif --metrics dice",
        ("softmorph resample",),
        mentions=("--spacing",),
        then="evaluate on_the_grid.tif ref.tif --metrics dice",
    ),
    "two sizes of voxels": Row(
        lambda: pair(soft(), labels().clip(0, 1).astype(np.uint8), (1, 1, 1), (1, 1, 2), suffix=".tif"),
        "evaluate pred.tif ref.tif --metrics dice",
        ("--same-grid",),
    ),
    "an image against a stack": Row(
        lambda: pair(soft(), (soft(shape=SHAPE[1:]) > 0.5).astype(np.uint8), suffix=".tif"),
        "evaluate pred.tif ref.tif --metrics dice",
        ("softmorph threshold",),
        mentions=("--region",),
        then="evaluate slice.tif ref.tif --metrics dice",
    ),
    "a reference of grey values": Row(
        lambda: pair(soft(), (4000 * soft()).astype(np.int16)),
        "evaluate pred.nii.gz ref.nii.gz --metrics dice",
        ("softmorph threshold",),
        mentions=("--divide-by",),
        then="evaluate pred.nii.gz mask.nii.gz --metrics dice",
    ),
    "a label of two single maps": Row(
        lambda: pair(soft(), soft()),
        "evaluate pred.nii.gz ref.nii.gz --metrics dice --label 7",
        ("leave --label out",),
        "--label 7",
    ),
    "no label in common": Row(
        foreign,
        "evaluate pred.nii.gz ref.nii.gz --metrics dice",
        ("softmorph threshold LABELS MASK --label K",),
        code=0,
    ),
    "the background comes last": Row(
        first_object, "evaluate pred.nii.gz ref.nii.gz --metrics dice", ("--channel 0",), code=0
    ),
    "one half and the most probable class": Row(
        network,
        "skeletonize case.npz out.nii.gz",
        ("--argmax",),
        code=0,
    ),
    "nothing above the threshold": Row(
        lambda: save("map.nii.gz", soft() / 4, (1, 1, 1)), "inspect map.nii.gz", ("--threshold 0.1",), code=0
    ),
    "spurs inside": Row(comb, "inspect line.npy --as skeleton --map map.npy", ("--prune radius",), code=0),
    "a skeleton is taken as one": Row(skeleton, "inspect skeleton.nii.gz", ("--as map",), code=0),
    "a file is there": Row(
        lambda: (save("map.nii.gz", soft()), save("out.nii.gz", soft())),
        "erode map.nii.gz out.nii.gz",
        ("--force",),
    ),
    "folders in a folder": Row(folders, "batch in out erode", ("--recursive",)),
    "a dry run in the letter of an earlier version": Row(
        folders,
        "batch in out erode --recursive -n",
        ("--dry-run",),
        without=" -n",
        mentions=("--iterations",),
        code=2,
    ),
    "folders in the letter of an earlier version": Row(
        folders, "batch in out erode -r", ("--recursive",), without=" -r", mentions=("--radius",), code=2
    ),
    "a folder is measured": Row(lambda: folder_of(folder="maps"), "stats maps", ("softmorph stats",)),
    "a dry run without a size": Row(
        lambda: np.save("map.npy", soft()),
        "skeletonize map.npy out.zarr --dry-run",
        ("--memory 4GB",),
        mentions=("--dry-run",),
        code=2,
    ),
    "a standard error of what has none": Row(
        lambda: save("map.nii.gz", soft()),
        "erode map.nii.gz out.nii.gz --standard-error se.nii.gz",
        ("--method sampled",),
        mentions=("--standard-error",),
        code=2,
    ),
    "a map beside a map": Row(
        comb, "inspect line.npy --map map.npy", ("--as skeleton",), mentions=("--map",), code=2
    ),
    "spurs inside, and no map": Row(
        comb,
        "inspect line.npy --as skeleton --prune radius",
        ("--prune 5vox",),
        without="--prune radius",
        mentions=("--map",),
        code=2,
    ),
    "an order by what is not known": Row(
        after(
            comb,
            lambda: save("map.nii.gz", np.load("map.npy") * np.linspace(0.5, 1, 70, dtype=np.float32), None),
        ),
        "inspect line.npy --as skeleton --sort certainty",
        ("--map MAP",),
        mentions=("--sort",),
    ),
    "an order by what is known": Row(
        comb,
        "inspect line.npy --as skeleton --sort radius",
        ("--sort length",),
        without="--sort radius",
        mentions=("--map",),
    ),
    "bars of one of several channels": Row(
        network, "topology numbers case.npz --plot p.png", ("--channel artery",), mentions=("--plot",)
    ),
    "bars of one of several times": Row(
        lambda: stack("TZYX", (3, *SHAPE)),
        "topology numbers map.ome.tif --plot p.png",
        ("--time 0",),
        mentions=("--plot",),
    ),
    "bars of one of several times and channels": Row(
        lambda: stack("TCZYX", (3, 2, *SHAPE)),
        "topology numbers map.ome.tif --plot p.png",
        ("--time 0 --channel 0",),
        mentions=("--plot",),
    ),
    "bars of one of several slices": Row(
        lambda: save("map.nii.gz", soft()),
        "topology numbers map.nii.gz --per-slice --plot p.png",
        ("leave out --per-slice", "--region 3:4,:,:"),
        "--per-slice",
        mentions=("--plot",),
    ),
    "a repair of one of several channels": Row(
        network,
        "topology repair case.npz out.nii.gz --betti 1,0,0",
        ("--channel artery",),
        mentions=("--priors",),
    ),
    "a repair of nothing in particular": Row(
        lambda: save("map.nii.gz", soft()),
        "topology repair map.nii.gz out.nii.gz",
        ("--betti 1,0,0",),
        mentions=("--priors",),
        code=2,
    ),
    "bars shorter than nothing in particular": Row(
        lambda: save("map.nii.gz", soft()[0]),
        "topology simplify map.nii.gz out.nii.gz",
        ("--persistence 0.1",),
        code=2,
    ),
    "bars of a map in tiles": Row(
        lambda: save("map.nii.gz", soft()),
        "skeletonize map.nii.gz out.zarr --simplify 0.1 --memory 1GB",
        ("leave --simplify out",),
        code=2,
        then={"leave --simplify out": "skeletonize map.nii.gz out.zarr --memory 1GB"},
    ),
    "every value is a level, of another method": Row(
        lambda: save("map.nii.gz", soft()),
        "skeletonize map.nii.gz out.nii.gz -m levels --levels exact",
        ("--method nested",),
        without="-m levels",
        mentions=("--levels",),
        code=2,
    ),
    "a threshold of a soft skeleton": Row(
        lambda: save("map.nii.gz", soft()),
        "skeletonize map.nii.gz out.nii.gz --threshold 0.4",
        ("--hard",),
        mentions=("--threshold",),
        code=2,
    ),
    "a contrast of less than a level": Row(
        lambda: save("map.nii.gz", soft()),
        "skeletonize map.nii.gz out.nii.gz --prune-contrast 0.01",
        ("--prune-contrast 0.0625", "--levels exact"),
        code=2,
    ),
    "a background that is never 0": Row(
        lambda: save(
            "map.npy", (0.005 * np.random.default_rng(0).random((40, 40)) + 0.9 * np.eye(40)).astype("f4")
        ),
        "skeletonize map.npy out.npy --levels exact",
        ("--lowest 0.01",),
        code=0,
    ),
    "levels that a type does not hold": Row(
        lambda: save("map.nii.gz", soft()),
        "skeletonize map.nii.gz out.nii.gz --output-type uint8 --levels 128",
        ("--output-type uint16", "--levels 64"),
        code=2,
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_what_a_message_advises_works(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(name, TABLE[name], monkeypatch)


def everything() -> list[tuple[str, Callable[[], object], str]]:
    """Files of every kind for which `softmorph info` suggests a command."""
    rows = [(name, row.make, row.command) for name, row in {**TABLE, **READING}.items()]
    return [(name, make, command) for name, make, command in rows if command.startswith(("erode", "stats"))]


# A folder of maps, and a file of several datasets, of which `info` asks for one.
_MANY = ("maps", "maps.h5")


@pytest.mark.parametrize(
    "name", [name for name, _, command in everything() if command.split()[1] not in _MANY]
)
def test_what_info_tries_next_works(name: str) -> None:
    make, command = next((make, command) for one, make, command in everything() if one == name)
    make()
    for other in ("image", "mask"):
        if not Path(f"{other}.nii.gz").exists():
            save(f"{other}.nii.gz", np.ones(SHAPE, np.uint8))
    found = probe(command.split()[1])
    assert found.suggestion.startswith("softmorph skeletonize ")
    words: list[Any] = words_of(typed(found.suggestion, found.suggestion))
    run(*words[1:])


def test_labels_behind_a_slope_are_labels_for_every_command() -> None:
    sloped()
    for one, other in (("plain.nii.gz", "sloped.nii"), ("sloped.nii", "plain.nii.gz")):
        for chosen, expected in (((), [1, 2, 3]), (("--label", 2), [2])):
            told = ("evaluate", one, other, "--metrics", "dice", "--same-grid", "--json", *chosen)
            found = {row["label"]: row["metrics"]["dice"] for row in run(*told).json["classes"]}
            assert found == dict.fromkeys(expected, 1.0)
    assert probe("sloped.nii").kind == "labels"
    run("threshold", "sloped.nii", "two.nii", "--label", 2, "-q")
    assert np.array_equal(read("two.nii").array, labels() == 2)
