"""The identity in the manifest of a tiled run: a run with another identity is not resumed."""

from __future__ import annotations

import pytest
from helpers_filters import made
from helpers_frozen import agrees

from softmorph_cli.filters.settings import Settings
from softmorph_cli.tiled.tiled_filter import tiled_filter

FILTERS = {
    "nested": (made("skeletonize", Settings()), (40, 50, 60)),
    "exact": (made("skeletonize", Settings(levels="exact", prune_contrast=0.05)), (40, 50, 60)),
    "hard": (made("skeletonize", hard=True, threshold=0.4), (70, 80)),
    "cldice": (made("skeletonize", Settings("cldice"), iterations=3), (70, 80)),
    "levels": (made("skeletonize", Settings("levels", levels=128)), (40, 50, 60)),
    "closing": (made("closing", erosion=26, dilation=26, radius=2.0, spacing=(1.0, 0.5, 0.5)), (40, 50, 60)),
    "tophat": (made("tophat", Settings("product"), iterations=2), (70, 80)),
    "majority": (made("apply", rule="majority", iterations=2), (40, 50, 60)),
}


@pytest.mark.parametrize("name", FILTERS)
def test_the_identity_of_a_filter(name: str) -> None:
    spec, shape = FILTERS[name]
    agrees(f"tiles_{name}", tiled_filter(spec, shape).identity())
