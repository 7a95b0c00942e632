"""The measuring functions: one result whatever kind of image, right values, the command line's documents as dicts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt
import pytest
import torch
from typer.testing import CliRunner

import softmorph_cli as sm
from softmorph_cli.cli.app import app

SPACING = (0.5, 0.5)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def fork() -> npt.NDArray[np.float32]:
    """A line of 11 pixels at 0.75, with a spur of 3 pixels above its seventh."""
    image = np.zeros((9, 15), np.float32)
    image[5, 2:13] = 0.75
    image[2:5, 8] = 0.75
    return image


def every_kind(image: npt.NDArray[np.float32]) -> dict[str, Any]:
    volume = sm.Volume(image, "YX", spacing=SPACING, unit="mm")
    sm.write(volume, "map.nii.gz")
    return {
        "array": image,
        "tensor": torch.from_numpy(image).requires_grad_(),
        "half": image.astype(np.float16),
        "list": image.tolist(),
        "volume": volume,
        "str": "map.nii.gz",
        "path": Path("map.nii.gz"),
    }


def grid(image: Any) -> dict[str, Any]:
    return {} if isinstance(image, sm.Volume | str | Path) else {"spacing": SPACING, "unit": "mm"}


def told(*arguments: object) -> Any:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_statistics_are_the_same_of_every_kind(fork: npt.NDArray[np.float32]) -> None:
    for image in every_kind(fork).values():
        found = sm.statistics(image, **grid(image))
        assert found.expected_volume == pytest.approx(14 * 0.75 * 0.25)
        assert found.volume_unit == "mm^2"
        assert found.volume_std_comonotone == pytest.approx(14 * 0.25 * np.sqrt(0.75 * 0.25), rel=1e-3)
        assert found.components_above_half == 1
    assert found.as_dict() == told("stats", "map.nii.gz", "--json")["statistics"]


def test_a_table_of_statistics_has_a_row_for_each_channel(fork: npt.NDArray[np.float32]) -> None:
    both = sm.Volume(np.stack([fork, fork / 3]), "CYX", SPACING, "mm", channels=("a", "b"))
    table = sm.statistics(both).to_pandas()
    assert list(table["index"]) == [0, 1]
    assert list(table["expected_area_mm2"]) == pytest.approx([14 * 0.75 / 4, 14 * 0.25 / 4])
    assert list(table["components_above_half"]) == [1, 0]
    alone = sm.statistics(fork).to_pandas()
    assert "index" not in alone
    assert alone["expected_voxels"].tolist() == [10.5]


def test_betti_numbers_are_the_same_of_every_kind() -> None:
    ring = np.zeros((5, 6), np.float32)
    ring[1:4, 1:5] = 0.75
    ring[2, 2] = 0.625
    kinds = every_kind(ring)
    for image in kinds.values():
        assert sm.betti_numbers(image).numbers == (1, 0)
        assert sm.betti_numbers(image, 0.7).numbers == (1, 1)
        assert sm.betti_numbers(image, threshold=0.75).numbers == (0, 0)
    mask = ring > 0.7
    for one in (mask, mask.astype(np.uint8), torch.from_numpy(mask)):
        assert sm.betti_numbers(one).numbers == (1, 1)
    # Two squares that touch at a corner.
    assert sm.betti_numbers(np.eye(2, dtype=bool)).b0 == 1
    assert sm.betti_numbers(np.eye(2, dtype=bool), connectivity=4).b0 == 2
    document = told("topology", "numbers", "map.nii.gz", "--no-bars", "--threshold", "0.7", "--json")
    found = sm.betti_numbers("map.nii.gz", 0.7).as_dict()
    assert found == {"betti": {"b0": 1, "b1": 1}, "euler": 0}
    assert found.items() <= document["classes"][0].items()


def test_an_inspection_is_the_same_of_every_kind(fork: npt.NDArray[np.float32]) -> None:
    for image in every_kind(fork).values():
        found = sm.inspect(image, levels=0, **grid(image))
        graph = found.graph
        assert (len(graph.branches), len(graph.end_points), len(graph.junctions)) == (3, 3, 1)
        assert graph.frame.unit == "mm"
        pruned = sm.inspect(image, levels=0, prune="2mm", **grid(image))
        assert pruned.graph.length == pytest.approx(5.0, rel=0.02)
        assert sm.inspect(image, levels=0, prune=2.0, **grid(image)).graph.length == pruned.graph.length
        assert len(sm.inspect(image, levels=0, prune="2vox", **grid(image)).graph.branches) == 3
    document = told("inspect", "map.nii.gz", "--levels", 0, "--prune", "2mm", "--json")
    files = sm.inspect("map.nii.gz", levels=0, prune="2mm").as_dict()
    assert {name: document[name] for name in files} == files


def test_a_table_of_branches(fork: npt.NDArray[np.float32]) -> None:
    found = sm.inspect(fork, levels=0, spacing=SPACING, unit="mm")
    table = found.to_pandas()
    assert len(table) == 3
    assert table["length_mm"].sum() == pytest.approx(found.graph.length)
    assert set(table["certainty_mean"]) == {0.75}
    nothing = sm.inspect(np.zeros((4, 5)), levels=0)
    assert list(nothing.to_pandas().columns)[:3] == ["branch", "component", "kind"]
    assert len(nothing.to_pandas()) == 0
    assert nothing.warnings[0].startswith("nothing is above 0.5")


def test_a_skeleton_and_its_map() -> None:
    image = np.zeros((9, 15), np.float32)
    image[2:7, 2:13] = 0.75
    skeleton = sm.skeletonize(image, hard=True)
    found = sm.inspect(skeleton, kind="skeleton", map=image, levels=0)
    assert {"radius", "certainty"} <= set(found.graph.branches[0].along)
    assert set(sm.inspect(skeleton, kind="skeleton").graph.branches[0].along) == set()
    # softmorph wrote it as a skeleton.
    sm.write(sm.Volume(image, "YX"), "map.nii.gz")
    assert CliRunner().invoke(app, ["skeletonize", "map.nii.gz", "s.nii.gz", "--hard"]).exit_code == 0
    made = sm.inspect("s.nii.gz")
    assert made.parameters["as"] == "skeleton"
    assert made.notes[0].endswith("add kind='map' if it is not.")
    assert sm.inspect("s.nii.gz", kind="map", levels=0).parameters["as"] == "map"


def test_an_evaluation_is_the_same_of_every_kind(fork: npt.NDArray[np.float32]) -> None:
    truth = fork > 0
    truth[2:5, 8] = False
    names = ["dice", "recall", "betti_0_error", "hd95_mm"]
    sm.write(sm.Volume(truth.astype(np.float32), "YX", SPACING, "mm"), "truth.nii.gz")
    for image in every_kind(fork).values():
        for reference in (truth, truth.astype(np.uint8), "truth.nii.gz"):
            more = grid(image) or grid(reference)
            found = sm.evaluate(image, reference, metrics=names, **more)
            assert dict(found.metrics())["dice"] == pytest.approx(2 * 11 / (14 + 11))
            assert found.metrics()["recall"] == 1
            assert list(found.metrics()) == names
    document = told("evaluate", "map.nii.gz", "truth.nii.gz", "--metrics", ",".join(names), "--json")
    files = sm.evaluate("map.nii.gz", "truth.nii.gz", metrics=names)
    assert {name: document[name] for name in files.as_dict()} == files.as_dict()
    assert document["parameters"] == files.parameters


def test_labels_are_compared_class_by_class() -> None:
    labels = np.zeros((8, 12), np.uint8)
    labels[1:4, 1:5], labels[5:7, 6:11] = 1, 5
    found = sm.evaluate(np.roll(labels, 1, axis=1), labels, metrics="dice")
    table = found.to_pandas()
    assert list(table["label"]) == [1, 5]
    assert list(table["dice"]) == pytest.approx([0.75, 0.8])
    assert found.metrics(5) == {"dice": pytest.approx(0.8)}
    with pytest.raises(sm.SoftmorphError, match="give one of 1, 5"):
        found.metrics()
    assert len(sm.evaluate(labels, labels, metrics="dice", label=5).rows) == 1
    # Channels in their order are classes 1, 2, ...
    maps = np.stack([labels == 1, labels == 5]).astype(np.float32)
    compact = np.where(labels == 5, 2, labels)
    of_channels = sm.evaluate(
        sm.Volume(maps, "CYX", channels=("a", "b")), compact, metrics="dice"
    ).to_pandas()
    assert of_channels.to_dict("list") == {"label": [1, 2], "class": ["a", "b"], "dice": [1.0, 1.0]}


@pytest.mark.parametrize(
    ("tolerance", "agrees"), [(0.4, False), (0.6, True), ("0.4mm", False), ("1vox", True)]
)
def test_a_tolerance_is_in_the_unit_of_the_map(tolerance: float | str, agrees: bool) -> None:
    truth = np.zeros((8, 8), bool)
    truth[2:6, 2:6] = True
    moved = np.roll(truth, 1, axis=0)
    found = sm.evaluate(moved, truth, metrics="nsd", tolerance=tolerance, spacing=(0.5, 0.5), unit="mm")
    nsd = found.metrics()["nsd"]
    assert nsd is not None
    assert (nsd == 1) == agrees


def test_a_repair_gives_back_the_kind_that_it_was_given() -> None:
    broken = np.full((7, 15), 0.125, np.float32)
    broken[3, 1:6] = broken[3, 8:14] = 0.875
    for name, image in every_kind(broken).items():
        found = sm.repair(image, (1, 0), **grid(image))
        assert found.reached
        assert found.betti[0].numbers == (1, 0)
        assert found.change["voxels_flipped"] == [2]
        assert sm.betti_numbers(found.image).numbers == (1, 0)
        if name == "half":
            assert found.image.dtype == np.float16
        elif name in ("array", "list"):
            assert isinstance(found.image, np.ndarray)
        elif name == "tensor":
            assert isinstance(found.image, torch.Tensor)
            assert found.image.dtype == torch.float32
        else:
            assert isinstance(found.image, sm.Volume)
            assert found.image.spacing == SPACING
    document = told("topology", "repair", "map.nii.gz", "out.nii.gz", "--betti", "1,0", "--json")
    made = sm.repair("map.nii.gz", (1, 0)).as_dict()
    made["certificate"]["path"] = "out.nii.gz"
    assert {name: document[name] for name in made} == made
    assert broken[3, 6] == np.float32(0.125)


def test_an_interpolation_gives_back_the_kind_that_it_was_given() -> None:
    rows = np.linspace(0, 1, 15, dtype=np.float32) * np.ones((7, 1), np.float32)
    for name, image in every_kind(rows).items():
        found = sm.interpolate(image, missing=[2, 3])
        assert (found.axis, found.missing, found.document["invented_voxels"]) == ("y", (2, 3), 30)
        kind = (
            torch.Tensor
            if name == "tensor"
            else np.ndarray
            if name in ("array", "list", "half")
            else sm.Volume
        )
        assert isinstance(found.image, kind)
        assert isinstance(found.filled, kind)
        if name in ("half", "tensor"):
            assert getattr(found.image, "dtype", None) == image.dtype
        shown = getattr(found.image, "array", found.image)
        np.testing.assert_allclose(np.asarray(shown, np.float32), rows, atol=2e-3)
    assert repr(found) == "<Interpolation along y, missing 2:4, invented voxels 30>"
    assert found.reached
    document = told("interpolate", "map.nii.gz", "out.nii.gz", "--missing", "2:4", "--json")
    made = sm.interpolate("map.nii.gz", missing="2:4").as_dict()
    assert document["steps"][0]["interpolation"] == made


def test_a_repair_of_channels_and_unions() -> None:
    one = np.full((7, 15), 0.125, np.float32)
    other = one.copy()
    one[3, 1:6] = one[3, 8:14] = 0.875
    other[3, 8:14] = 0.875
    both = sm.Volume(np.stack([one, other]), "CYX", channels=("a", "b"))
    found = sm.repair(both, {"a": (1, 0), ("a", "b"): (1, 0)})
    assert [prior.channels for prior in found.priors] == [(0,), (0, 1)]
    assert found.reached
    assert np.array_equal(found.image.array[1], other)


def test_a_repair_that_fails_says_so() -> None:
    image = np.full((5, 5), 0.25)
    image[2, 2] = 0.75
    with pytest.warns(
        sm.SoftmorphWarning, match=r"the Betti numbers 1,5 were not reached .* has 1,0"
    ) as caught:
        found = sm.repair(image, (1, 5), max_steps=0)
    assert not found.reached
    assert caught[0].filename == __file__


def test_only_the_region_is_repaired() -> None:
    image = np.full((7, 15), 0.125)
    image[3, 1:6] = image[3, 8:14] = 0.875
    with pytest.warns(sm.SoftmorphWarning):
        # There is one component in each half.
        assert not sm.repair(image, (2, 0), region=":,0:6", max_steps=0).reached
    found = sm.repair(image, (1, 0), region=":,4:10")
    assert found.reached
    assert np.array_equal(found.image[:, 10:], image[:, 10:])


def test_types() -> None:
    from softmorph_cli.api.repairs import Repair

    image = np.zeros((5, 5))
    image[2, 1:4] = 0.75
    assert assert_type(sm.repair(image, (1, 0)), Repair[npt.NDArray[Any]]).reached
    assert assert_type(sm.repair(torch.from_numpy(image), (1, 0)).image, torch.Tensor).shape == (5, 5)
    assert assert_type(sm.repair(sm.Volume(image, "YX"), (1, 0)).image, sm.Volume).axes == "YX"
    assert assert_type(sm.interpolate(image, missing="1").image, npt.NDArray[Any]).shape == (5, 5)
    assert assert_type(sm.interpolate(torch.from_numpy(image), missing="1").image, torch.Tensor).shape == (
        5,
        5,
    )
    assert assert_type(sm.interpolate(sm.Volume(image, "YX"), missing="1").image, sm.Volume).axes == "YX"
    assert isinstance(assert_type(sm.betti_numbers(image).b0, int), int)
    assert isinstance(assert_type(sm.statistics(image).mean, float), float)
    assert isinstance(assert_type(sm.inspect(image, levels=0).graph.length, float), float)


def test_representations_are_short(fork: npt.NDArray[np.float32]) -> None:
    results = [
        sm.statistics(fork),
        sm.betti_numbers(fork),
        sm.inspect(fork, levels=0),
        sm.evaluate(fork, fork > 0, metrics=["dice", "cldice"]),
        sm.repair(fork, (1, 0)),
    ]
    assert [len(repr(one)) < 160 for one in results] == [True] * 5
    assert repr(results[2]).startswith(
        "<Inspection: 1 component, 3 branches, 0 cycles, 3 end points, 1 junction, "
    )
    assert repr(results[3]) == "<Evaluated: dice 1, cldice 1>"
    assert repr(results[4]) == "<Repair: reached, Betti numbers 1,0, steps 0, voxels flipped 0>"


def test_a_table_without_pandas_names_it(
    fork: npt.NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = sm.statistics(fork)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(sm.SoftmorphError, match="needs pandas"):
        found.to_pandas()


def test_a_label_of_masks_without_labels_is_refused() -> None:
    mask = np.zeros((12, 12))
    mask[3:9, 3:9] = 0.9
    for one in (mask > 0, mask, mask.astype(np.float32)):
        with pytest.raises(
            sm.SoftmorphError, match=r"there is no label 7: .* without labels: leave label out"
        ):
            sm.evaluate(one, mask > 0, metrics="dice", label=7)
        assert sm.evaluate(one, mask > 0, metrics="dice", label=1).metrics()["dice"] == 1
