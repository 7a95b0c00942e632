"""What the commands do where no method is named, and what becomes of runs that were begun under other defaults."""

from __future__ import annotations

import json
import re
import shlex
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_cli import complaint, everything, load, nibabel, process, random_map, refused, run, save, script
from helpers_maps import same_bits, vessels
from scipy import ndimage

import softmorph_cli
from softmorph_cli.filters.settings import Settings
from softmorph_cli.pipeline.batch.recipe import fingerprint_of
from softmorph_cli.system.parameters import declared
from softmorph_cli.tiled.manifest import NAME

SAMPLE = Path(softmorph_cli.__file__).parents[1] / "sample_data" / "vessel_tree.nii.gz"
SETTINGS = tuple(name for name in declared(Settings) if name not in ("surrogate", "device", "threads"))
CROSS = ndimage.generate_binary_structure(3, 1)


def _binary(mask: np.ndarray, first: str, steps: tuple[int, ...]) -> np.ndarray:
    """Close or open a mask; an axis leaves the cross once it has had its share."""
    second = {"dilation": "erosion", "erosion": "dilation"}[first]
    for name in (first, second):
        for k in range(max(steps)):
            cross = CROSS.copy()
            for axis, count in enumerate(steps):
                if k >= count:
                    np.moveaxis(cross, axis, 0)[[0, 2]] = False
            mask = getattr(ndimage, f"binary_{name}")(mask, cross, border_value=int(name == "erosion"))
    return mask


@pytest.mark.parametrize(
    ("words", "first"), [(("close", "--radius", "1.5mm"), "dilation"), (("open", "-n", "1"), "erosion")]
)
def test_the_commands_of_the_readme_are_the_binary_filter_at_one_half(
    words: tuple[str, ...], first: str
) -> None:
    command, *options = words
    ended = process(command, SAMPLE, "c.nii.gz", *options, "--json")
    assert ended.code == 0, ended.err
    image = nibabel.load(SAMPLE)
    spacing = image.header.get_zooms()[::-1]
    steps = tuple(int(1.5 / size * (1 + 1e-5)) for size in spacing) if command == "close" else (1, 1, 1)
    wanted = _binary(load(SAMPLE) > 0.5, first, steps)
    got = load("c.nii.gz") > 0.5
    assert (got == wanted).all()
    assert ended.json["after"]["voxels_above_half"] == wanted.sum()
    assert ended.json["after"]["components_above_half"] == ndimage.label(wanted, np.ones((3, 3, 3)))[1]
    assert ended.json["steps"][0]["method"] == "minmax"


def test_provenance_has_the_method_in_force(here: Path) -> None:
    save("in.nii.gz", random_map())
    for words, method in (
        (["erode"], "minmax"),
        (["apply", "majority"], "minmax"),
        (["skeletonize"], "nested"),
    ):
        document = run(*words, "in.nii.gz", "out.nii.gz", "--force", "--json").json
        parameters = run("info", "out.nii.gz", "--json").json["provenance"]["parameters"]
        assert document["steps"][0]["method"] == parameters["method"] == method
        assert parameters.get("levels") == {"nested": 16}.get(method)
    chain = ("chain", "in.nii.gz", "out.nii.gz", "close", "skeletonize", "--force", "--json")
    assert [step["method"] for step in run(*chain).json["steps"]] == ["minmax", "nested"]


# ---------------------------------------------------------------- a batch under the defaults of before

STEPS = 'operation = "close"\n\n[[step]]\noperation = "skeletonize"\n'
MAJORITY, PAPER = "apply:rule=majority", "skeletonize:preset=softmorph-3d"
BATCHES = [
    (["close"], ["close", "-m", "multilinear"]),
    (["close", "erode:iterations=2"], ["close", "erode:iterations=2", "-m", "multilinear"]),
    (["close:iterations=2", "skeletonize"], ["close:iterations=2,method=multilinear", "skeletonize"]),
    (["close:", "skeletonize:hard"], ["close:method=multilinear", "skeletonize:hard"]),
    ([MAJORITY, "dilate:method=product"], [MAJORITY, "dilate:method=product", "-m", "multilinear"]),
    (["fill", "open", PAPER], ["fill", "open:method=multilinear", PAPER]),
    (["--pipeline", "steps.toml"], ["--pipeline", "named.toml"]),
]  # fmt: skip


def _as_before(folder: Path) -> None:
    """Rewrite a manifest as version 0.1.0 had it, with no method where none was chosen."""
    (path,) = folder.glob("*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    marks: dict[str, str] = {}
    for line in lines:
        if line["state"] != "batch":
            continue
        told: dict[str, Any] = line["parameters"]
        mark = fingerprint_of(told)
        del told["in_force"]
        told["method"] = None
        told["settings"] = {name: told["settings"][name] for name in SETTINGS} | {"method": "multilinear"}
        for step in told["steps"]:
            if step.get("method") in ("multilinear", "levels"):
                del step["method"]
        marks[mark] = fingerprint_of(told)
    for line in lines:
        if "fingerprint" in line:
            line["fingerprint"] = marks[line["fingerprint"]]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize(("typed", "then"), BATCHES)
def test_a_batch_of_other_defaults_stops_and_says_how_to_go_on(
    here: Path, typed: list[str], then: list[str]
) -> None:
    Path("in").mkdir()
    save("in/a.npy", random_map())
    Path("steps.toml").write_text(f"[[step]]\n{STEPS}")
    Path("named.toml").write_text(f'[[step]]\nmethod = "multilinear"\n{STEPS}method = "levels"\n')
    run("batch", "in", "out", *then, "--quiet")
    _as_before(Path("out"))
    for more in (["--resume"], ["--resume", "--dry-run"]):
        sentence = refused("batch", "in", "out", *typed, *more, code=2, says="out was made with")
    found = re.search(r"(add|write) (.*) to continue it, or choose another output folder\.$", sentence)
    assert found is not None, sentence
    match found.groups():
        case "add", advice if advice.startswith("--method"):
            again = [*typed, *shlex.split(advice)]
        case "write", advice:
            again = shlex.split(advice)
        case _:
            first, second = (f'method = "{name}" to steps.toml' for name in ("multilinear", "levels"))
            assert found[2] == f"{first}, step 1, {second}, step 2"
            again = ["--pipeline", "named.toml"]
    assert run("batch", "in", "out", *again, "--resume", "--json").json["counts"]["skipped"] == 1
    # Named, another method is other parameters, as ever.
    named = ["--pipeline", "named.toml"] if "--pipeline" in typed else typed
    if not any(":" in step or step == "--pipeline" for step in typed):
        ended = run("batch", "in", "out", *named, "-m", "minmax", "--resume", "--force", "--dry-run")
        assert "(other parameters)" in ended.out


def test_a_method_that_is_the_default_is_no_other_parameter(here: Path) -> None:
    Path("in").mkdir()
    save("in/a.npy", random_map())
    run("batch", "in", "out", "close", "--quiet")
    for words in (["close", "-m", "minmax"], ["close:method=minmax"], ["close", "--levels", 8]):
        assert run("batch", "in", "out", *words, "--resume", "--json").json["counts"]["skipped"] == 1
    assert (
        "redo" in run("batch", "in", "out", "close", "-m", "product", "--resume", "--force", "--dry-run").out
    )


# ---------------------------------------------------------------- tiles under the defaults of before

KILLED = """
import os, signal, sys
from softmorph_cli.__main__ import main
from softmorph_cli.cli import report

def tile(progress):
    if progress.done == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(progress)

real, report.tile = report.tile, tile
sys.argv = ["softmorph", *sys.argv[1:]]
main()
"""


@pytest.mark.posix
@pytest.mark.parametrize("words", [("close", "--iterations", 3), ("skeletonize", "--iterations", 2)])
@pytest.mark.parametrize("before", [False, True])
def test_tiles_of_other_defaults_stop_and_say_how_to_go_on(
    here: Path, words: tuple[object, ...], before: bool
) -> None:
    image = softmorph_cli.Volume(vessels((70, 66, 80), 4, noise=0.05).astype(np.float32), "ZYX")
    softmorph_cli.write(image, "in.ome.zarr")
    name, *options = words
    method = "multilinear" if name == "close" else "product"
    call = (name, "in.ome.zarr", "out.ome.zarr", *options, "--scratch", "scratch")
    needed = re.search(r"at least (\d+) MB", run(*call, "--memory", "1MB", code=1).err)
    assert needed is not None
    call = (*call, "--memory", f"{int(needed[1]) + 2}MB")
    ended = script(KILLED, *call, "--method", method)
    assert ended.code == -signal.SIGKILL, ended.err
    manifest = Path("scratch", NAME)
    if before:  # all settings were kept once, whether the method listens to them or not
        held = json.loads(manifest.read_text())
        del held["sum"]  # nor was there a checksum
        defaults = Settings(method)
        held["identity"]["settings"] = {key: getattr(defaults, key) for key in SETTINGS}
        manifest.write_text(json.dumps(held))
    kept = everything()
    sentence = complaint(run(*call, "--resume", code=2).err)
    assert everything() == kept
    assert f"add --method {method} beside --resume to continue it" in sentence
    assert "begun anew" not in run(*call, "--resume", "--method", method).err
    run(name, "in.ome.zarr", "whole.ome.zarr", *options, "--method", method)
    tiles, whole = (softmorph_cli.read(f"{which}.ome.zarr") for which in ("out", "whole"))
    assert same_bits(tiles.array, whole.array)
