"""What a batch that is resumed with other parameters says of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from softmorph_cli.filters.settings import Settings
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.pipeline.batch.differences import differences
from softmorph_cli.pipeline.batch.recipe import Recipe
from softmorph_cli.pipeline.chain import filters
from softmorph_cli.pipeline.outputs import OutputOptions
from softmorph_cli.system.parameters import named_as_options


def recipe(*steps: str, settings: Settings | None = None, **reading: object) -> Recipe:
    settings = settings or Settings()
    return Recipe(tuple(filters(list(steps), settings)), settings, reading=ReadOptions(**reading))  # type: ignore[arg-type]


USUAL = recipe("close:iterations=1", "erode")


@pytest.mark.parametrize(
    ("other", "wanted"),
    [
        (recipe("close:iterations=1", "erode"), []),
        (recipe("close:iterations=2", "erode"), ["iterations of close was 1 and is 2"]),
        (recipe("close:radius=2mm", "erode"),
         ["radius of close was not given and is 2mm", "iterations of close was 1 and is not given"]),
        (recipe("close:iterations=1", "dilate"), ["the steps were close erode and are close dilate"]),
        (recipe("close:iterations=1"), ["the steps were close erode and are close"]),
        (recipe("close:iterations=1", "erode:method=product"), ["method of erode was minmax and is product"]),
        (recipe("close:iterations=1", "erode", channel=1), ["--channel was not given and is 1"]),
        (recipe("close:iterations=1", "erode", like=Path("a.nii.gz")), ["--reference was not given and is a.nii.gz"]),
        (replace(USUAL, writing=OutputOptions(output_type="uint8")), ["--output-type was not given and is uint8"]),
        (replace(USUAL, writing=OutputOptions(argmax=True)), ["--argmax was not given and is True"]),
    ],
)  # fmt: skip
def test_each_parameter_is_named_with_both_values(other: Recipe, wanted: list[str]) -> None:
    with named_as_options():
        found = differences(USUAL.parameters, other.parameters)
    assert sorted(found) == sorted(wanted)


def test_a_file_that_has_changed_under_its_name(tmp_path: Path) -> None:
    mask = tmp_path / "mask.npy"
    mask.write_bytes(b"1")
    given = recipe("erode", mask=mask)
    before = given.parameters
    mask.write_bytes(b"22")
    with named_as_options():
        assert differences(before, given.parameters) == ["--mask was mask.npy and is mask.npy, changed since"]


def test_what_is_no_recipe_differs_in_nothing_that_can_be_said() -> None:
    assert differences({"steps": 3}, USUAL.parameters) == []
