"""Maps larger than memory, through the command line: tile by tile, and what is refused there."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import everything, random_map, refused, run, save, script
from helpers_maps import vessels

import softmorph_cli
import softmorph_cli.system.machine
from softmorph_cli.cli import report
from softmorph_cli.system.units import bytes_of
from softmorph_cli.tiled import TileProgress

SHAPE = (70, 66, 80)


@pytest.fixture(autouse=True)
def _maps() -> None:
    image = softmorph_cli.Volume(
        vessels(SHAPE, 4, noise=0.05).astype(np.float32), "ZYX", (0.002, 0.001, 0.001), "mm"
    )
    softmorph_cli.write(image, "in.ome.zarr")


def little(*words: object, on_cluster: bool = False) -> tuple[str, str]:
    """Return options for memory that is so little that there are many tiles."""
    ended = run(*words, "--memory", "1MB", code=1)
    found = re.search(r"at least (\d+) MB are needed", ended.err)
    assert found is not None, ended.err
    return "--memory", f"{int(found[1]) + (66 if on_cluster else 2)}MB"


@pytest.mark.parametrize(
    "words",
    [
        ("erode", "--iterations", 2),
        ("close", "--radius", "2um"),
        ("skeletonize",),
        ("skeletonize", "--levels", "exact", "--prune-contrast", 0.02),
        ("skeletonize", "--levels", 128, "--lowest", 0.1, "--no-finish"),
        ("skeletonize", "--hard", "--threshold", 0.4),
        ("apply", "thinning-subfields", "--iterations", 2),
        ("apply", "majority"),
    ],
)
def test_tile_by_tile_is_what_the_whole_map_gives(words: tuple[object, ...]) -> None:
    name, *more = words
    rule = [more.pop(0)] if name == "apply" else []
    tiled = (name, *rule, "in.ome.zarr", "tiles.ome.zarr", *more)
    run(*tiled, *little(*tiled), "--json-file", "t.json")
    run(name, *rule, "in.ome.zarr", "whole.ome.zarr", *more, "--json-file", "w.json")
    tiles, whole = (softmorph_cli.read(f"{which}.ome.zarr") for which in ("tiles", "whole"))
    np.testing.assert_array_equal(tiles.array, whole.array)
    assert (tiles.spacing, tiles.unit) == (whole.spacing, whole.unit)
    told, wanted = (json.loads(Path(f"{which}.json").read_text()) for which in "tw")
    assert told["before"] == wanted["before"]
    assert told["after"] == wanted["after"]
    step, same = told["steps"][0], wanted["steps"][0]
    assert step["tiles"]["count"] > 1
    for key in ("operation", "method", "parameters", "iterations", "stop_reason", "radius_reached"):
        assert step[key] == same[key]
    made = (v.source.provenance for v in (tiles, whole) if v.source)
    assert len({json.dumps(dict(one), sort_keys=True) for one in made}) == 1


def test_tiles_note_differing_decisions_as_the_whole_map_does() -> None:
    raised = np.exp(2 * np.random.default_rng(0).standard_normal((3, 20, 24, 28)))
    image = (raised / raised.sum(axis=0)).astype(np.float32)
    softmorph_cli.write(
        softmorph_cli.Volume(image, "CZYX", channels=("background", "vein", "artery")), "c.ome.zarr"
    )
    most = f"{np.count_nonzero(image.argmax(axis=0) == 1):,}"
    told = f"vein has {np.count_nonzero(image[1] > 0.5):,} voxels above 0.5 and is the most probable class at {most}"
    words = ("skeletonize", "c.ome.zarr", "out.zarr", "--channel", "vein", "--force")
    for more in ((), ("--memory", "300MB"), ("--memory", "300MB", "--hard")):
        assert run(*words, *more).err.count(told) == 1
    assert told not in run("erode", *words[1:], "--memory", "300MB").err


def test_a_dry_run_prints_its_plan_and_writes_nothing() -> None:
    before = everything()
    told = run("skeletonize", "in.ome.zarr", "out.zarr", "--memory", "260MB", "--levels", 8, "--dry-run").out
    assert "tiles: " in told
    assert "memory, at most: " in told
    assert everything() == before


def test_the_scratch_folder_is_empty_in_the_end() -> None:
    words = ("skeletonize", "in.ome.zarr", "out.zarr", "--levels", 8, "--scratch", "scratch")
    run(*words, *little(*words))
    assert not Path("scratch").exists()
    assert sorted(path.name for path in Path().iterdir()) == ["in.ome.zarr", "out.zarr"]


def test_on_a_cluster_it_is_what_the_whole_map_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "2")
    words = ("skeletonize", "in.ome.zarr", "tiles.ome.zarr", "--pyramid")
    memory = little(*words, on_cluster=True)
    said = run(*words, *memory, "--local-cluster", "--json-file", "t.json", "--verbose").err
    run("skeletonize", "in.ome.zarr", "whole.ome.zarr", "--pyramid", "--json-file", "w.json")
    for resolution in ("", "/1"):
        tiles, whole = (softmorph_cli.read(f"{which}.ome.zarr{resolution}") for which in ("tiles", "whole"))
        np.testing.assert_array_equal(tiles.array, whole.array)
    told, wanted = (json.loads(Path(f"{which}.json").read_text()) for which in "tw")
    assert told["after"] == wanted["after"]
    # What makes voxels cubic is typed otherwise there.
    assert [line.split(";")[0] for line in told["warnings"]] == [
        line.split(";")[0] for line in wanted["warnings"]
    ]
    cut = told["steps"][0]["tiles"]
    assert cut["workers"] == softmorph_cli.system.machine.threads()
    assert cut["threads"] == 1
    assert cut["count"] > 2
    assert cut["workers"] == 1 or "ran on 2 processes of 1 thread" in said
    assert sorted(path.name for path in Path().iterdir()) == [
        *("in.ome.zarr", "t.json", "tiles.ome.zarr", "w.json", "whole.ome.zarr")
    ]


def test_a_dry_run_on_a_cluster_names_its_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(softmorph_cli.system.machine, "threads", lambda: 3)
    monkeypatch.setattr(softmorph_cli.system.machine, "memory", lambda: 700_000_000)
    before = everything()
    words = ("skeletonize", "in.ome.zarr", "out.zarr", "--local-cluster", "--memory", "300MB", "--dry-run")
    ended = run(*words, "--levels", 8)
    assert "tiles at once: 2 processes of 1 thread" in ended.out
    assert "memory of each process, at most: " in ended.out
    assert "2 processes instead of 3: each may take --memory, and this machine has no more" in ended.err
    assert everything() == before


KILLED = """
import os, signal, sys
from softmorph_cli.__main__ import main
from softmorph_cli.cli import report

real = report.tile

def tile(progress):
    if (progress.stage, progress.passes, progress.done) == ("pass", 2, 3):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(progress)

report.tile = tile
sys.argv = ["softmorph", *sys.argv[1:]]
main()
"""


@pytest.mark.posix
@pytest.mark.parametrize("where", [(), ("--local-cluster", "--threads", 1)], ids=["alone", "cluster"])
def test_a_killed_run_is_resumed(where: tuple[object, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "2")
    words = ("skeletonize", "in.ome.zarr", "out.ome.zarr", "--scratch", "scratch")
    memory = little(*words, on_cluster=bool(where))
    ended = script(KILLED, *words, *memory, *where)
    assert ended.code == -signal.SIGKILL, ended.err
    assert not Path("out.ome.zarr").exists()
    seen: list[TileProgress] = []
    real = report.tile

    def tile(progress: TileProgress) -> str:
        seen.append(progress)
        return real(progress)

    monkeypatch.setattr(report, "tile", tile)
    # On this process alone, whoever began.
    assert "begun anew" not in run(*words, *memory, "--resume").err
    assert seen[0].passes == 2
    run("skeletonize", "in.ome.zarr", "whole.ome.zarr")
    tiles, whole = (softmorph_cli.read(f"{which}.ome.zarr") for which in ("out", "whole"))
    np.testing.assert_array_equal(tiles.array, whole.array)
    assert sorted(path.name for path in Path().iterdir()) == ["in.ome.zarr", "out.ome.zarr", "whole.ome.zarr"]


def test_with_less_memory_a_run_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("skeletonize", "in.ome.zarr", "out.ome.zarr", "--scratch", "scratch")

    def stop(progress: TileProgress) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(report, "tile", stop)
        run(*words, "--memory", "1GB", code=130)
    ended = run(*words, *little(*words), "--resume")
    assert "is of a run with another " in ended.err
    assert "it was not continued but begun anew" in ended.err
    run("skeletonize", "in.ome.zarr", "whole.ome.zarr")
    tiles, whole = (softmorph_cli.read(f"{which}.ome.zarr") for which in ("out", "whole"))
    np.testing.assert_array_equal(tiles.array, whole.array)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("erode", "in.ome.zarr", "out.nii.gz", "--local-cluster"), 2, "as on a cluster, an OME-Zarr"),
        (
            ("erode", "in.ome.zarr", "out.zarr", "--local-cluster", "--scheduler", "x"),
            2,
            "choose one of them",
        ),
        (("erode", "in.ome.zarr", "out.zarr", "--local-cluster", "--device", "cuda"), 2, "on the CPU"),
        (("erode", "in.ome.zarr", "out.zarr", "--memory", "much"), 2, "such as 4GB or 512MiB"),
        (("erode", "in.ome.zarr", "out.zarr", "--memory", "1MB"), 1, "too little memory"),
        (("erode", "in.ome.zarr", "out.nii.gz", "--memory", "1GB"), 2, "end its name with .zarr"),
        (("erode", "in.ome.zarr", "out.zarr", "--dry-run"), 2, "add --memory SIZE"),
        (("erode", "in.ome.zarr", "out.zarr", "--resume"), 2, "--resume needs the --scratch"),
        (("erode", "in.ome.zarr", "out.zarr", "--memory", "1GB", "--argmax"), 2, "--argmax needs"),
        (
            ("skeletonize", "in.ome.zarr", "out.zarr", "--memory", "1GB", "--method", "product"),
            1,
            "add --iterations N, or --method nested",
        ),
        (
            ("skeletonize", "in.ome.zarr", "out.zarr", "--memory", "1GB", "--resample", "iso"),
            2,
            "takes the whole map",
        ),
        (("erode", "none.zarr", "out.zarr", "--memory", "1GB"), 1, "does not exist"),
    ],
)
def test_what_does_not_go_with_tiles_is_refused(words: tuple[str, ...], code: int, says: str) -> None:
    refused(*words, code=code, says=says)


def test_other_formats_are_read_too() -> None:
    image = random_map((20, 21, 22))
    save("in.nii", image)
    run("dilate", "in.nii", "out.zarr", "--memory", "300MB")
    np.testing.assert_array_equal(softmorph_cli.read("out.zarr").array, softmorph_cli.dilation(image))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("4GB", 4 * 10**9),
        ("512MiB", 512 * 2**20),
        ("1.5 gb", 15 * 10**8),
        ("300M", 3 * 10**8),
        ("10kB", 10**4),
        ("4", None),
        ("GB", None),
        ("-1GB", None),
        ("4 apples", None),
    ],
)
def test_sizes_of_memory(text: str, count: int | None) -> None:
    assert bytes_of(text) == count
