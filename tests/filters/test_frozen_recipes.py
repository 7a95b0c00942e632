"""The text by which the torch operator knows a filter, as compiled graphs hold it."""

from __future__ import annotations

import json

import pytest
from helpers_frozen import agrees

from softmorph_cli import SoftClosing, SoftDilation, SoftErosion, SoftOpening, SoftSkeletonizer

MODULES = {
    "erosion": SoftErosion(),
    "dilation": SoftDilation(18, 2, "product"),
    "opening": SoftOpening(iterations=3, erosion_connectivity=26, dilation_connectivity=6),
    "closing": SoftClosing(method="levels", levels=64, device="cpu"),
    "skeletonizer": SoftSkeletonizer(4),
    "nested": SoftSkeletonizer(method="nested", levels=64, surrogate=True, lowest=0.25),
}


@pytest.mark.parametrize("name", MODULES)
def test_the_recipe_of_a_module(name: str) -> None:
    agrees(f"recipe_{name}", json.loads(MODULES[name].recipe))
