"""Maps larger than memory, through the command line: tile by tile, and what is refused there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import everything, random_map, refused, run, save
from helpers_maps import vessels

import softmorph_cli
from softmorph_cli.units import bytes_of

SHAPE = (70, 66, 80)


@pytest.fixture(autouse=True)
def _maps() -> None:
    image = softmorph_cli.Volume(
        vessels(SHAPE, 4, noise=0.05).astype(np.float32), "ZYX", (0.002, 0.001, 0.001), "mm"
    )
    softmorph_cli.write(image, "in.ome.zarr")


@pytest.mark.parametrize(
    "words",
    [
        ("erode", "--iterations", 2),
        ("close", "--radius", "2um"),
        ("skeletonize", "--levels", 16),
        ("skeletonize", "--hard", "--threshold", 0.4),
        ("apply", "majority"),
    ],
)
def test_tile_by_tile_is_what_the_whole_map_gives(words: tuple[object, ...]) -> None:
    name, *more = words
    rule = [more.pop(0)] if name == "apply" else []
    run(name, *rule, "in.ome.zarr", "tiles.ome.zarr", *more, "--memory", "300MB", "--stats", "t.json")
    run(name, *rule, "in.ome.zarr", "whole.ome.zarr", *more, "--stats", "w.json")
    tiles, whole = (softmorph_cli.read(f"{which}.ome.zarr") for which in ("tiles", "whole"))
    np.testing.assert_array_equal(tiles.array, whole.array)
    assert (tiles.spacing, tiles.unit) == (whole.spacing, whole.unit)
    told, wanted = (json.loads(Path(f"{which}.json").read_text()) for which in "tw")
    assert told["before"] == wanted["before"]
    assert told["after"] == wanted["after"]
    step, same = told["steps"][0], wanted["steps"][0]
    for key in ("operation", "method", "parameters", "iterations", "stop_reason", "radius_reached"):
        assert step[key] == same[key]
    made = (v.source.provenance for v in (tiles, whole) if v.source)
    assert len({json.dumps(dict(one), sort_keys=True) for one in made}) == 1


def test_a_dry_run_tells_and_does_nothing() -> None:
    before = everything()
    told = run("skeletonize", "in.ome.zarr", "out.zarr", "--memory", "260MB", "--levels", 8, "--dry-run").out
    assert "tiles: " in told
    assert "memory, at most: " in told
    assert everything() == before


def test_the_scratch_folder_is_empty_in_the_end() -> None:
    run("skeletonize", "in.ome.zarr", "out.zarr", "--levels", 8, "--memory", "260MB", "--scratch", "scratch")
    assert not Path("scratch").exists()
    assert sorted(path.name for path in Path().iterdir()) == ["in.ome.zarr", "out.zarr"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("erode", "in.ome.zarr", "out.zarr", "--memory", "much"), 2, "such as 4GB or 512MiB"),
        (("erode", "in.ome.zarr", "out.zarr", "--memory", "1MB"), 1, "too little memory"),
        (("erode", "in.ome.zarr", "out.nii.gz", "--memory", "1GB"), 2, "end its name with .zarr"),
        (("erode", "in.ome.zarr", "out.zarr", "--dry-run"), 2, "add --memory SIZE"),
        (("erode", "in.ome.zarr", "out.zarr", "--resume"), 2, "--resume needs the --scratch"),
        (("erode", "in.ome.zarr", "out.zarr", "--memory", "1GB", "--preview", "p.png"), 2, "--preview needs"),
        (
            ("skeletonize", "in.ome.zarr", "out.zarr", "--memory", "1GB", "--method", "product"),
            1,
            "give iterations, or use method levels",
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
