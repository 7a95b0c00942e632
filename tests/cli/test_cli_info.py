"""softmorph info: what a file is, and the next command."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers_cli import random_map, run, save

import softmorph_cli
from softmorph_cli.io.writing import write
from softmorph_cli.volume import Volume

SUGGESTED = {
    "probability.nii.gz": random_map(),
    "integers.nii.gz": (random_map() * 255).astype(np.uint8),
    "labels.nii.gz": (4 * (random_map() // 0.3)).astype(np.uint8),
    "logits.npy": (random_map() - np.float32(0.5)) * 30,
    "four.npy": random_map((2, 6, 7, 8)),
    "twelve bits.tif": (random_map() * 4095).astype(np.uint16),
    "over.mha": random_map() * np.float32(1.05),
    "no_suffix": random_map(),
    "odd.suffix": random_map(),
}


@pytest.mark.parametrize("name", SUGGESTED)
def test_what_info_suggests_can_be_typed(name: str) -> None:

    if name in ("no_suffix", "odd.suffix"):
        save("x.npy", SUGGESTED[name]).rename(name)
    else:
        save(name, SUGGESTED[name])
    words = shlex.split(run("info", name, "--json").json["try_next"])
    assert words[:3] == ["softmorph", "skeletonize", name]
    run(*words[1:])
    assert Path(words[3]).exists()


@pytest.mark.parametrize("options", [(), ("--hard",), ("--output-type", "uint8", "--levels", "8")])
def test_info_suggests_to_inspect_a_skeleton(options: tuple[str, ...]) -> None:
    save("map.nii.gz", random_map())
    run("skeletonize", "map.nii.gz", "skeleton.nii.gz", *options)
    assert run("info", "skeleton.nii.gz", "--json").json["try_next"] == "softmorph inspect skeleton.nii.gz"
    run("inspect", "skeleton.nii.gz")


def test_info_names_channels_and_suggests_to_inspect_one_skeleton_of_several() -> None:
    several = np.stack([np.stack([random_map()] * 2)] * 3)
    write(Volume(several, "TCZYX", (2.0, 1.0, 1.0), "um", channels=("axon", "soma")), "cells.ome.tif")
    assert run("info", "cells.ome.tif", "--json").json["input"]["channels"] == ["axon", "soma"]
    shown = run("info", "cells.ome.tif").out
    assert "channels: axon, soma\n" in shown
    assert "spacing: Z 2, Y 1, X 1\n" in shown
    run("skeletonize", "cells.ome.tif", "lines.ome.tif")
    words = run("info", "lines.ome.tif", "--json").json["try_next"].split()
    assert words == ["softmorph", "inspect", "lines.ome.tif", "--time", "0", "--channel", "0"]
    run(*words[1:])


def test_notes_of_info_follow_each_other() -> None:
    p = np.random.default_rng(0).random((2, 3, 4, 5), np.float32)
    p /= p.sum(axis=0)
    np.savez_compressed("case.npz", probabilities=p)
    save("case.nii.gz", p.argmax(axis=0).astype(np.uint8))
    assert "so its classes have no names. its classes exclude each other" in run("info", "case.npz").out


def test_info_does_not_suggest_to_write_a_file_onto_itself() -> None:
    save("skeleton.nii.gz", random_map())
    words = run("info", "skeleton.nii.gz", "--json").json["try_next"].split()
    assert words == ["softmorph", "skeletonize", "skeleton.nii.gz", "new_skeleton.nii.gz"]
    run(*words[1:])


def test_info_of_a_file_says_what_it_is() -> None:
    for name, kind, title in (
        ("integers.nii.gz", "image", "image or probability map"),  # noise tells neither
        ("labels.nii.gz", "labels", "label map or image"),
        ("logits.npy", "logits", "logits"),
    ):
        save(name, SUGGESTED[name])
        facts = run("info", name, "--json").json
        assert facts["kind"] == kind
        assert facts["min"] == pytest.approx(float(SUGGESTED[name].min()))
        assert facts["max"] == pytest.approx(float(SUGGESTED[name].max()))
        assert run("info", name).out.startswith(f"{name}: {title}\n")


def test_info_of_this_machine() -> None:
    facts = run("info", "--json").json
    assert facts["softmorph"] == softmorph_cli.__version__
    assert facts["threads"] >= 1
    assert Path(facts["cache_folder"]).is_dir()
    assert "missing" not in facts["libraries"].values()
    assert "cache folder: " in run("info").out


@pytest.mark.parametrize("foreground", [0, 1])
@pytest.mark.parametrize("name", ["pair.tif", "pair.h5"])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_of_two_channels_that_sum_to_one_the_smaller_is_suggested(
    name: str, foreground: int, dtype: type[np.generic]
) -> None:
    p = random_map((6, 8, 8)) * np.float32(0.6)
    pair = np.stack([p, 1 - p] if foreground == 0 else [1 - p, p])
    stored = pair if dtype is np.float32 else np.rint(pair * 255).astype(np.uint8)
    if name.endswith(".h5"):
        _ilastik(Path(name), stored)
    else:
        write(Volume(pair, "CZYX", (1.0, 1.0, 1.0), "mm"), name, output_type=np.dtype(dtype).name)
    found = run("info", name, "--json").json
    assert "its two channels sum to 1" in " ".join(found["notes"])
    words = shlex.split(found["try_next"])
    assert words[-2:] == ["--channel", str(foreground)]
    run(*words[1:])


def _ilastik(path: Path, array: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        stored = file.create_dataset("exported_data", data=array)
        stored.attrs["axistags"] = json.dumps({"axes": [{"key": key, "typeFlags": 2} for key in "czyx"]})
        if array.dtype == np.uint8:
            stored.attrs["drange"] = [0, 255]


def test_channels_that_do_not_sum_to_one_have_no_background() -> None:
    write(Volume(np.stack([random_map()] * 2), "CZYX", (1.0, 1.0, 1.0), "mm"), "pair.tif")
    found = run("info", "pair.tif", "--json").json
    assert "sum to 1" not in " ".join(found["notes"])
    assert "--channel" not in found["try_next"]
