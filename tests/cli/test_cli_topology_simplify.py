"""softmorph topology simplify, the step simplify, and skeletonize --simplify: no short bar is in the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_cli import load, process, refused, run, save

import softmorph_cli
from softmorph_cli.filters.settings import Progress
from softmorph_cli.io.reading import read
from softmorph_cli.pipeline.steps.simplifying import Simplify
from softmorph_cli.pipeline.steps.simplifying import left_over as left_over_words
from softmorph_cli.topology.persistence import bars
from softmorph_cli.volume import Volume


def short(image: np.ndarray, persistence: float, connectivity: int | None = None) -> list[int]:
    """Return the numbers of short bars; the first bar of components is that of the map."""
    found = bars(image, connectivity).diagrams
    counts = [int((one.birth.astype(float) - one.death < persistence).sum()) for one in found]
    lasting = found[0].birth.max() < persistence
    return [counts[0] - int(lasting), *counts[1:]]


def plane(seed: int = 0) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    image = gaussian_filter(np.random.default_rng(seed).random((40, 40)), 1)
    return np.asarray((image - image.min()) / np.ptp(image), np.float32)


def test_a_process_writes_a_map_without_short_bars() -> None:
    image = plane()
    save("p.nii.gz", image)
    ended = process(
        *("topology", "simplify", "p.nii.gz", "o.nii.gz", "--persistence", "0.1"),
        *("--json", "--json-file", "o.json", "--preview", "o.png"),
    )
    assert ended.code == 0
    result = load("o.nii.gz").reshape(image.shape)
    before = short(image, 0.1)
    assert min(before) > 0
    assert short(result, 0.1) == [0, 0]
    (step,) = ended.json["steps"]
    assert step["short_bars"] == {"count_before": before, "count_after": [0, 0]}
    assert step["reached"] is True
    difference = np.abs(result.astype(np.float64) - image)
    assert step["change"]["max_abs"] == pytest.approx(float(difference.max()))
    assert step["change"]["max_abs"] <= 0.1
    assert step["change"]["sum_abs"] == pytest.approx(float(difference.sum()), rel=1e-6)
    assert f"short bars b0 b1: before {before[0]} {before[1]}, after 0 0" in ended.err
    assert json.loads(Path("o.json").read_text())["steps"] == ended.json["steps"]
    assert Path("o.png").stat().st_size > 1000
    source = read("o.nii.gz").source
    assert source is not None
    assert source.provenance["command"] == "softmorph topology simplify"
    # Python does the same.
    made = softmorph_cli.simplify(image, 0.1)
    np.testing.assert_array_equal(made.image, result)
    assert (list(made.before), list(made.after)) == (before, [0, 0])
    assert made.as_dict()["short_bars"] == step["short_bars"]
    assert repr(made).startswith(
        f"<Simplification: short bars {before[0]},{before[1]} before, 0,0 after, largest"
    )


@pytest.mark.parametrize(
    ("target", "kind"), [("o.png", None), ("o.tif", "uint8"), ("o.npy", "uint8"), ("o.nrrd", "float32")]
)
@pytest.mark.parametrize("connectivity", [8, 4])
def test_what_the_file_holds_has_no_short_bars(target: str, kind: str | None, connectivity: int) -> None:
    save("p.npy", plane(1))
    options = ["--output-type", kind] if kind else []
    # 0.1 is 25.5 steps of 255: rounding alone makes bars of 25 steps of longer ones.
    run(
        *("topology", "simplify", "p.npy", target, "--persistence", "0.1", "--connectivity", connectivity),
        *options,
    )
    back = read(target, divide_by=255 if target == "o.npy" else None).array.reshape(40, 40)
    assert short(back, 0.1, connectivity) == [0, 0]
    assert np.abs(back.astype(float) - plane(1)).max() <= 0.1 + 0.5 / 255


def left_over() -> np.ndarray:
    """Noise in 3D, of which short loops are left."""
    return np.random.default_rng(0).random((12, 12, 12)).astype(np.float32)


def test_loops_that_are_left_are_counted_and_end_with_3() -> None:
    save("n.nii.gz", left_over())
    ended = run("topology", "simplify", "n.nii.gz", "o.nii.gz", "--persistence", "0.3", "--json", code=3)
    result = load("o.nii.gz")
    left = short(result, 0.3)
    assert (left[0], left[2]) == (0, 0)
    assert left[1] > 0
    (step,) = ended.json["steps"]
    assert step["short_bars"] == {"count_before": short(left_over(), 0.3), "count_after": left}
    assert step["reached"] is False
    assert (
        f"simplify: bars shorter than 0.3 are left of 0 components, {left[1]} loops, 0 cavities." in ended.err
    )
    run("chain", "n.nii.gz", "c.nii.gz", "simplify:persistence=0.3", code=3)
    np.testing.assert_array_equal(load("c.nii.gz"), result)
    with pytest.warns(softmorph_cli.SoftmorphWarning, match=f"{left[1]} loops"):
        assert softmorph_cli.simplify(left_over(), 0.3).after == tuple(left)


def test_a_region_changes_alone_and_channels_are_simplified_apart(tmp_path: Path) -> None:
    images = np.stack([plane(2), plane(3)])
    save("c.nii.gz", images[0])
    run(
        *("topology", "simplify", "c.nii.gz", "o.nii.gz", "--persistence", "0.2", "--region", "5:30,8:32"),
    )
    result = load("o.nii.gz").reshape(40, 40)
    box = np.zeros((40, 40), bool)
    box[5:30, 8:32] = True
    np.testing.assert_array_equal(result[~box], images[0][~box])
    assert short(result[5:30, 8:32], 0.2) == [0, 0]
    assert (result[box] != images[0][box]).any()
    both = softmorph_cli.simplify(Volume(images, axes="CYX"), 0.1)
    for one, image in zip(both.image.array, images, strict=True):
        np.testing.assert_array_equal(one, softmorph_cli.simplify(image, 0.1).image)
    # Of arrays whose first axis is the fastest, images along two axes are no views.
    several = np.stack([images, images[::-1]])
    fastest = softmorph_cli.simplify(Volume(np.asfortranarray(several), axes="TCYX"), 0.1)
    np.testing.assert_array_equal(fastest.image.array, np.stack([both.image.array, both.image.array[::-1]]))
    assert list(both.before) == (np.array(short(images[0], 0.1)) + short(images[1], 0.1)).tolist()


def test_a_skeleton_of_a_simplified_map_is_that_of_the_chain_and_smaller() -> None:
    save("v.nii.gz", plane())
    run("skeletonize", "v.nii.gz", "plain.nii.gz", "--levels", 64)
    ended = run("skeletonize", "v.nii.gz", "one.nii.gz", "--simplify", 0.2, "--levels", 64, "--json")
    run("chain", "v.nii.gz", "two.nii.gz", "simplify:persistence=0.2", "skeletonize:levels=64")
    np.testing.assert_array_equal(load("one.nii.gz"), load("two.nii.gz"))
    assert [step["operation"] for step in ended.json["steps"]] == ["simplify", "skeletonize"]
    above = [int((load(name) > 0.5).sum()) for name in ("plain.nii.gz", "one.nii.gz")]
    assert above[1] < above[0]


def test_a_batch_simplifies_every_file() -> None:
    Path("in").mkdir()
    for seed in range(2):
        save(f"in/{seed}.nii.gz", plane(seed))
    run("batch", "in", "out", "simplify:persistence=0.1")
    for seed in range(2):
        assert short(load(f"out/{seed}.nii.gz").reshape(40, 40), 0.1) == [0, 0]


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ((), 2, "say what is cancelled: --persistence 0.1"),
        (
            ("--persistence", "0"),
            2,
            "--persistence 0: it must be above 0 and at most 1, such as --persistence 0.1.",
        ),
        (("--persistence", "1.5"), 2, "--persistence 1.5: it must be above 0"),
        (("--persistence", "0.1", "--connectivity", "6"), 1, "connectivity 6 has no topology in 2D"),
        (("--persistence", "0.1", "--connectivity", "5"), 2, "--connectivity 5 has no topology"),
        (("--persistence", "0.1", "--region", "0:90,0:9"), 1, "--region '0:90,0:9' does not fit"),
    ],
)
def test_what_cannot_be_simplified_is_refused(options: tuple[Any, ...], code: int, says: str) -> None:
    save("p.nii.gz", plane())
    refused("topology", "simplify", "p.nii.gz", "o.nii.gz", *options, code=code, says=says)


def test_a_step_without_a_persistence_and_tiles_are_refused() -> None:
    save("p.nii.gz", plane())
    says = "simplify needs a persistence, as in simplify:persistence=0.1."
    refused("chain", "p.nii.gz", "o.nii.gz", "simplify", code=2, says=says)
    refused(
        *("skeletonize", "p.nii.gz", "o.zarr", "--simplify", "0.1", "--memory", "1GB"),
        code=2,
        says="--simplify needs the whole map in memory, not tiles: leave --simplify out",
    )


def test_loops_that_are_left_are_explained() -> None:
    told = "The search for changes of at most 0.3 in each voxel has found none that cancel these loops."
    assert left_over_words([0, 4, 0], 0.3).endswith(told)
    for short_ones in ([0, 4], [1, 4, 0], [0, 4, 1]):
        assert told not in left_over_words(short_ones, 0.3)


def test_every_trial_of_moves_is_told() -> None:
    told: list[Progress] = []
    volume = Volume(np.stack([left_over(), left_over()]), axes="CZYX")
    result = Simplify(persistence=0.3).run(volume, told.append)
    # At least as many trials as rounds that were kept; each says of which image it is.
    assert len(told) >= result.iterations > 0
    assert {(one.operation, one.parts) for one in told} == {("simplify", 2)}
    for part in (1, 2):
        trials = [one.iteration for one in told if one.part == part]
        assert trials == list(range(1, len(trials) + 1))
        assert all(one.iterations is not None and one.iterations >= len(trials) for one in told)
