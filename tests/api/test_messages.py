"""Errors and warnings speak the language that was spoken to: keywords of Python, options of the command line."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

import softmorph_cli as sm
from softmorph_cli.filters.operations import OPERATIONS
from softmorph_cli.filters.operations.morphological import Morphology
from softmorph_cli.filters.operations.skeletonize import Skeleton
from softmorph_cli.io.select import first_along
from softmorph_cli.kernels.backend import choose
from softmorph_cli.metrics.grid import on_one_grid
from softmorph_cli.metrics.pair import MetricSettings
from softmorph_cli.skeleton.analyse import Choices
from softmorph_cli.skeleton.analyse import inspect as look
from softmorph_cli.system.parameters import named, named_as_options
from softmorph_cli.topology.prior import Prior

SOFT = np.zeros((7, 9), np.float32)
SOFT[2:5, 1:8] = 0.75
MASK = SOFT > 0
SOLID = np.zeros((6, 7, 8), np.float32)
SOLID[1:5, 1:6, 1:7] = 0.75
LABELS = MASK.astype(np.uint8) * 3
LABELS[3] = 2
CLASSES = sm.Volume(np.stack([SOFT, SOFT / 2]), "CYX", (1.0, 1.0), "mm", channels=("a", "b"))
TIMES = sm.Volume(np.stack([[SOFT, SOFT / 2]] * 3), "TCYX")
NESTED = {"parameters": {"method": "nested", "levels": 8}}
HERE = sm.Volume(SOFT, "YX", (1.0, 1.0), "mm")
THERE = sm.Volume(SOFT, "YX", (1.0, 1.5), "mm")

COLOUR = np.zeros((7, 9, 3), np.uint8)
COLOUR[2:5, 1:8] = 255

Call = Callable[[], Any]

WRONG: dict[str, list[Call]] = {
    "erosion": [
        lambda: sm.erosion(SOFT, iterations=0),
        lambda: sm.erosion(SOFT, iterations=1, radius=2.0),
        lambda: sm.erosion(SOFT, radius=2.0),
        lambda: sm.erosion(SOFT, radius="2mm"),
        lambda: sm.erosion(SOFT, radius="2"),
        lambda: sm.erosion(SOFT, radius=-1.0),
        lambda: sm.erosion(SOFT, connectivity=5),
        lambda: sm.erosion(SOFT, connectivity=26),
        lambda: sm.erosion(SOFT, method="nested"),
        lambda: sm.erosion(SOFT, method="sampled", levels=9),
        lambda: sm.erosion(SOFT, threads=0),
        lambda: sm.erosion(SOFT, device="cuda:99"),
        lambda: sm.erosion(SOFT * 3),
        lambda: sm.erosion(SOFT[0]),
        lambda: sm.erosion(HERE, spacing=(1.0, 1.0)),
        lambda: sm.erosion(HERE, radius="0.1mm"),
        lambda: sm.erosion(HERE, prune_contrast=0.5),
        lambda: sm.erosion("missing.nii.gz"),
        lambda: sm.erosion("classes.npz"),
        lambda: sm.erosion("colour.png"),
    ],
    "skeletonize": [
        lambda: sm.skeletonize(SOFT, hard=True, method="nested"),
        lambda: sm.skeletonize(SOFT, hard=True, iterations=2),
        lambda: sm.skeletonize(SOFT, threshold=0.5),
        lambda: sm.skeletonize(SOFT, hard=True, threshold=1.0),
        lambda: sm.skeletonize(SOFT, resample="iso"),
        lambda: sm.skeletonize(SOFT, resample="cubic"),
        lambda: sm.skeletonize(sm.Volume(SOFT, "YX"), resample="iso"),
        lambda: sm.skeletonize(THERE.with_array(SOFT), levels="exact", method="levels"),
        lambda: sm.skeletonize(SOFT, levels=7),
        lambda: sm.skeletonize(SOFT, levels="all"),  # type: ignore[call-overload]
        lambda: sm.skeletonize(SOFT, lowest=1.0),
        lambda: sm.skeletonize(SOFT, prune_contrast=0.001),
        lambda: sm.skeletonize(SOFT, preset="cldice", method="levels"),
        lambda: sm.skeletonize(SOFT, preset="softmorph-3d"),
        lambda: sm.skeletonize(SOFT, max_iterations=0),
        lambda: sm.skeletonize(SOFT, tolerance=-1.0),
        lambda: sm.skeletonize(SOFT / 100, hard=True, threshold=0.5, method="levels"),
        lambda: sm.skeletonize(sm.Volume(SOLID, "ZYX", (3.0, 1.0, 1.0), "mm")),
        lambda: sm.skeletonize(HERE, hard=True, levels=8),
        lambda: sm.skeletonize(sm.Volume(SOFT, "YX"), iterations=2, finish=False, method="levels"),
    ],
    "apply_rule": [
        lambda: sm.apply_rule("zhang-suen", SOFT, method="nested"),
        lambda: sm.apply_rule("prune", SOFT, method="nested"),
        lambda: sm.apply_rule("no-such-rule", SOFT),
        lambda: sm.apply_rule("missing.toml", SOFT),
        lambda: sm.apply_rule("majority", SOFT, iterations=0),
        lambda: sm.apply_rule("zhang-suen-2d", SOLID),
    ],
    "statistics": [
        lambda: sm.statistics(LABELS),
        lambda: sm.statistics(SOFT * 3),
        lambda: sm.statistics(np.zeros((2, 3, 4, 5))),
        lambda: sm.statistics(SOFT, spacing=(1.0,)),
        lambda: sm.statistics(HERE, spacing=(1.0, 1.0)),
        lambda: sm.statistics(HERE, unit="mm"),
        lambda: sm.statistics(np.zeros((0, 3))),
        lambda: sm.statistics([["a"]]),  # an array of text
        lambda: sm.statistics("missing.tif"),
    ],
    "betti_numbers": [
        lambda: sm.betti_numbers(SOFT, threshold=1.0),
        lambda: sm.betti_numbers(SOFT, threshold=float("nan")),
        lambda: sm.betti_numbers(SOFT, connectivity=6),
        lambda: sm.betti_numbers(SOLID, connectivity=18),
        lambda: sm.betti_numbers(CLASSES),
        lambda: sm.betti_numbers(TIMES),
        lambda: sm.betti_numbers("classes.nii.gz"),
        lambda: sm.betti_numbers(LABELS),
    ],
    "inspect": [
        lambda: sm.inspect(SOFT, kind="vessel"),  # type: ignore[arg-type]
        lambda: sm.inspect(SOFT, threshold=1.0),
        lambda: sm.inspect(SOFT, prune=-1.0),
        lambda: sm.inspect(SOFT, prune="2"),
        lambda: sm.inspect(SOFT, prune="2mm"),
        lambda: sm.inspect(SOFT, prune="radius", kind="skeleton"),
        lambda: sm.inspect(MASK, prune_cycles="longest"),  # type: ignore[arg-type]
        lambda: sm.inspect(MASK, prune_cycles="least-certain", kind="skeleton"),
        lambda: sm.inspect(SOFT, levels=9),
        lambda: sm.inspect(SOFT, map=SOFT),
        lambda: sm.inspect(SOFT, kind="skeleton", map=SOFT[1:]),
        lambda: sm.inspect(SOFT, resample="cubic"),  # type: ignore[arg-type]
        lambda: sm.inspect(SOFT, resample="iso"),
        lambda: sm.inspect(HERE, kind="skeleton", resample="iso"),
        lambda: sm.inspect(CLASSES),
        lambda: sm.inspect("classes.nii.gz"),
        lambda: sm.inspect(SOFT, unit="cm", spacing=(1.0, 1.0)),
    ],
    "draw": [
        lambda: sm.draw(SOFT, "."),
        lambda: sm.draw(SOFT, "p.jpg"),
        lambda: sm.draw(SOFT, "p.png", color="radius"),
        lambda: sm.draw(sm.inspect(SOFT), "p.png", color="colour"),  # type: ignore[arg-type]
        lambda: sm.draw(sm.inspect(SOFT), "p.png", color="generation"),
        lambda: sm.draw(SOFT, "p.png", color="colour"),  # type: ignore[arg-type]
        lambda: sm.draw(SOFT, "p.png", dpi=7),
        lambda: sm.draw(SOFT, "p.png", dpi="300"),  # type: ignore[arg-type]
        lambda: sm.draw(SOFT, "p.png", light=True, views="z"),
        lambda: sm.draw(SOLID, "p.png", views="w"),
        lambda: sm.draw(SOLID, "p.png", views=("z", "y")),  # type: ignore[arg-type]
        lambda: sm.draw(SOLID, "p.png", projection="sum"),
        lambda: sm.draw(SOLID, "p.png", projection=5),  # type: ignore[arg-type]
        lambda: sm.draw(SOLID, "p.png", projection="5mm"),
        lambda: sm.draw(SOFT, "p.png", orientation="radiological"),
        lambda: sm.draw(SOFT, "p.png", background=SOFT[1:]),
        lambda: sm.draw(SOFT, "p.png", background=SOFT * np.nan),
        lambda: sm.draw(SOFT, "p.png", background=np.full(SOFT.shape, 1e300)),
        lambda: sm.draw(SOFT, "p.png", background="missing.nii.gz"),
        lambda: sm.draw(SOFT, "p.png", result=SOFT[1:]),
        lambda: sm.draw(sm.inspect(SOFT), "p.png", result=SOFT),
    ],
    "evaluate": [
        lambda: sm.evaluate(SOFT, MASK, metrics="accuracies"),
        lambda: sm.evaluate(HERE, MASK, metrics="hd95_um"),
        lambda: sm.evaluate(SOFT, MASK, threshold=1.0),
        lambda: sm.evaluate(SOFT, MASK, tolerance=-1.0),
        lambda: sm.evaluate(SOFT, MASK, tolerance="1mm"),
        lambda: sm.evaluate(SOFT, MASK, tolerance="far"),
        lambda: sm.evaluate(SOFT, MASK, connectivity=5),
        lambda: sm.evaluate(SOFT, MASK, connectivity=26),
        lambda: sm.evaluate(SOFT, MASK, iterations=0),
        lambda: sm.evaluate(SOFT, MASK, patches=0),
        lambda: sm.evaluate(SOFT, MASK, seed=-1),
        lambda: sm.evaluate(SOFT, MASK, threads=0),
        lambda: sm.evaluate(SOFT, MASK, method="best"),
        lambda: sm.evaluate(SOFT, MASK[1:]),
        lambda: sm.evaluate(SOFT, MASK.T),
        lambda: sm.evaluate(SOLID, SOLID[2]),
        lambda: sm.evaluate(HERE, THERE),
        lambda: sm.evaluate(HERE, sm.Volume(MASK[::2].astype(np.float32), "YX", (1.75, 1.0), "mm")),
        lambda: sm.evaluate(HERE, HERE, spacing=(1.0, 1.0)),
        lambda: sm.evaluate(SOFT, LABELS),
        lambda: sm.evaluate(LABELS, LABELS, label=7),
        lambda: sm.evaluate(LABELS, LABELS, label=(1, -1)),
        lambda: sm.evaluate(SOFT, MASK, label=-1),
        lambda: sm.evaluate(SOFT, MASK, spacing=(1.0, 1.0), unit="x"),
        lambda: sm.evaluate(SOFT, SOFT, label=(1, 2)),
        lambda: sm.evaluate(LABELS.astype(np.int8) - 1, LABELS),
        lambda: sm.evaluate("classes.nii.gz", SOFT),
        lambda: sm.evaluate(TIMES, SOFT),
        lambda: sm.evaluate("colour.png", SOFT),
        lambda: sm.evaluate(SOFT, "colour.png"),
    ],
    "repair": [
        lambda: sm.repair(SOFT, (1, 0, 0)),
        lambda: sm.repair(SOFT, (-1, 0)),
        lambda: sm.repair(SOFT, (1, 0), threshold=0.0),
        lambda: sm.repair(SOFT, (1, 0), threshold=1.0),
        lambda: sm.repair(SOFT, (1, 0), weight=-1.0),
        lambda: sm.repair(SOFT, (1, 0), max_steps=-1),
        lambda: sm.repair(SOFT, (2, 0), smooth=100.0),
        lambda: sm.repair(SOFT, (1, 0), smooth="1mm"),
        lambda: sm.repair(SOFT, (1, 0), smooth="wide"),
        lambda: sm.repair(SOFT, (1, 0), region="1:2"),
        lambda: sm.repair(SOFT, (1, 0), region="all"),
        lambda: sm.repair(SOFT, (1, 0), region="0:70,:"),
        lambda: sm.repair(SOFT, (1, 0), connectivity=26),
        lambda: sm.repair(SOFT * 0, (1, 0)),
        lambda: sm.repair(SOFT, {}),
        lambda: sm.repair(CLASSES, (1, 0)),
        lambda: sm.repair(CLASSES, {"c": (1, 0)}),
        lambda: sm.repair(TIMES, (1, 0)),
        lambda: sm.repair("classes.nii.gz", (1, 0)),
        lambda: sm.repair(SOFT, (4, 0), max_steps=0),
    ],
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sm.write(CLASSES, "classes.nii.gz")
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(COLOUR, isVector=True), "colour.png")


def message(call: Call) -> str:
    """Return what a call is refused with, or warned of."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", sm.SoftmorphWarning)
        with pytest.raises((sm.SoftmorphError, sm.SoftmorphWarning)) as caught:
            call()
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "number"), [(name, number) for name, calls in WRONG.items() for number in range(len(calls))]
)
def test_no_message_of_python_names_an_option(name: str, number: int) -> None:
    said = message(WRONG[name][number])
    assert "--" not in said


def test_every_measuring_function_is_called_wrongly() -> None:
    from softmorph_cli.api import analysis, filters, pictures

    alike = {one.title for one in OPERATIONS.values() if issubclass(one, Morphology)} - set(WRONG)
    assert set(WRONG) | alike == {*filters.__all__, *analysis.__all__, *pictures.__all__, "repair"}


def hard(**given: Any) -> Call:
    return lambda: Skeleton(hard=True, **given)


@pytest.mark.parametrize(
    ("call", "in_python", "in_shell"),
    [
        (hard(method="nested"), "hard=True is the exact", "--hard is the exact"),
        (lambda: Choices(kind="vessel"), "kind vessel: use", "--as vessel: use"),
        (lambda: Choices(prune=-1), "prune -1: a", "--prune -1: a"),
        (
            lambda: look(sm.Volume(SOFT, "YX"), Choices(kind="skeleton", prune_inside=True)),
            "prune='radius' needs the map: add map=MAP, or give a length, such as prune='5vox'.",
            "--prune radius needs the map: add --map MAP, or give a length, such as --prune 5vox.",
        ),
        (lambda: MetricSettings(patches=0), "patches 0: at least", "--patches 0: at least"),
        (lambda: Prior.parse_betti("1,x"), "betti '1,x': give", "--betti '1,x': give"),
        (lambda: choose("cpu", threads=0), "threads 0: at least", "--threads 0: at least"),
        (
            lambda: on_one_grid(HERE, THERE),
            "add same_grid=True, which takes the first one's size",
            "add --same-grid, which takes the first one's size",
        ),
        (
            lambda: on_one_grid(HERE, sm.Volume(SOFT[1:], "YX")),
            "compare what they share: [0:6, 0:9] of both arrays.",
            "compare what they share: add --region 0:6,0:9.",
        ),
        (
            lambda: look(CLASSES),
            "one is taken at a time: pass one of them.",
            "one is taken at a time: add --channel a or b.",
        ),
        (
            lambda: look(sm.read("classes.nii.gz")),
            "one is taken at a time: pass one of them, such as read('classes.nii.gz', channel=0).",
            "one is taken at a time: add --channel 0 or 1.",
        ),
    ],
)
def test_a_message_in_both_languages(call: Call, in_python: str, in_shell: str) -> None:
    assert in_python in message(call)
    with named_as_options():
        assert in_shell in message(call)


def test_what_python_is_advised_to_do_works() -> None:
    said = message(lambda: sm.betti_numbers("classes.nii.gz"))
    advised = said.partition("such as ")[2].rstrip(".")
    assert advised == "read('classes.nii.gz', channel=0)"
    assert sm.betti_numbers(sm.read("classes.nii.gz", channel=0)).numbers == (1, 0)


def test_the_nearest_metric_is_named() -> None:
    said = message(lambda: sm.evaluate(SOFT, MASK, metrics="hd95"))
    assert said.startswith(
        "metrics 'hd95': there is no such metric (did you mean 'hd95_mm'?); choose from dice, "
    )
    assert "did you mean" not in message(lambda: sm.evaluate(SOFT, MASK, metrics="walrus"))


def test_what_arrays_lack_is_named_and_given(tmp_path: Path) -> None:
    """The unit and the size of an array's voxels, its axes; a label below 0 is none."""
    assert message(lambda: sm.evaluate(SOFT, MASK, label=-1)) == "label -1: at least 0 is needed."
    sizes = (1.0, 1.0)
    said = message(lambda: sm.evaluate(SOFT, MASK, spacing=sizes, unit="x"))
    assert said == "unit='x': a voxel size is in 'mm', 'um', 'nm'."
    for unit in ("mm", "um", "nm"):
        assert f"hd95_{unit}" in sm.evaluate(SOFT, MASK, spacing=sizes, unit=unit).metrics()
    line = np.zeros((9, 30))
    line[4, 2:28] = line[:4, 15] = 0.75  # a line with a spur
    said = message(lambda: sm.inspect(line, prune="6mm", levels=0))
    assert said.startswith("prune='6mm' is a length, and an array has no voxel size: pass spacing and unit,")
    assert said.endswith(
        "such as spacing=(1.0, 1.0), unit='mm', or give the length in voxels, such as prune='4vox'."
    )
    for more in ({"prune": "6mm", "spacing": sizes, "unit": "mm"}, {"prune": "6vox"}):
        assert len(sm.inspect(line, levels=0, **more).graph.branches) == 1
    assert len(sm.inspect(line, levels=0, prune="1vox").graph.branches) == 3
    said = message(lambda: sm.inspect(line, resample="iso"))
    assert said == "the image does not say how large its voxels are: leave out resample='iso'."
    said = message(lambda: sm.write(line, tmp_path / "out.npy"))  # type: ignore[arg-type]
    assert 'is a Volume, which has axes and a voxel size, not ndarray: pass Volume(array, "YX")' in said
    sm.write(sm.Volume(line, "YX"), tmp_path / "out.npy")
    assert np.array_equal(sm.read(tmp_path / "out.npy").array, line)


@pytest.mark.parametrize(
    "call",
    [
        lambda image: sm.erosion(image),
        lambda image: sm.betti_numbers(image),
        lambda image: sm.evaluate(image, SOFT, metrics="dice"),
        lambda image: sm.evaluate(SOFT, image, metrics="dice"),
    ],
)
def test_options_of_reading_are_for_read(call: Callable[[Any], Any]) -> None:
    said = message(lambda: call("colour.png"))
    assert "choose one with channel=0 (red)" in said
    assert said.endswith("That is for read: pass the volume that read('colour.png', ...) returns.")
    call(sm.read("colour.png", channel=1))


def test_names_of_parameters() -> None:
    assert (named("max_steps"), named("hard", True), named("kind", "map", option="as")) == (
        "max_steps",
        "hard=True",
        "kind='map'",
    )
    with named_as_options():
        assert (named("max_steps"), named("hard", True), named("kind", "map", option="as")) == (
            "--max-steps",
            "--hard",
            "--as map",
        )
        assert named("finish", False) == "--no-finish"
    assert first_along("T", "Q") == "time=0, channel_axis='Q', channel=0"
