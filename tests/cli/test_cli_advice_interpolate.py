"""What messages of `interpolate` advise: typed as in `test_cli_advice`."""

from __future__ import annotations

import pytest
from helpers_advice import Row, after, follow, soft
from helpers_cli import save


def with_gaps(name: str) -> None:
    """Write a map whose slices 0, 2 and 5 of 6 are empty."""
    image = soft()
    image[[0, 2, 5]] = 0
    save(name, image)


TABLE = {
    "nothing to interpolate": Row(
        after(lambda: save("map.nii.gz", soft()), lambda: with_gaps("gaps.nii.gz")),
        "interpolate map.nii.gz out.nii.gz",
        ("--missing 5:9,12", "--missing empty", "--spacing iso"),
        code=2,
        then={
            "--missing 5:9,12": "interpolate map.nii.gz out.nii.gz --missing 1:3,4",
            "--missing empty": "interpolate gaps.nii.gz out.nii.gz --missing empty",
            "--spacing iso": "interpolate map.nii.gz out.nii.gz --spacing iso",
        },
    ),
    "nothing empty to interpolate": Row(
        lambda: save("map.nii.gz", soft()),
        "interpolate map.nii.gz out.nii.gz --missing empty",
        ("--missing 5:9,12", "--spacing iso"),
        without="--missing empty",
        then={
            "--missing 5:9,12": "interpolate map.nii.gz out.nii.gz --missing 1:3,4",
            "--spacing iso": "interpolate map.nii.gz out.nii.gz --missing empty --spacing iso",
        },
    ),
    "two grids": Row(
        lambda: save("map.nii.gz", soft()),
        "interpolate map.nii.gz out.nii.gz --spacing iso --like map.nii.gz",
        ("--spacing", "--like"),
        code=2,
        then={
            "--spacing": "interpolate map.nii.gz out.nii.gz --spacing iso",
            "--like": "interpolate map.nii.gz out.nii.gz --like map.nii.gz",
        },
    ),
    "empty slices at the ends": Row(
        lambda: with_gaps("map.nii.gz"),
        "interpolate map.nii.gz out.nii.gz --missing empty",
        ("--missing 0,5", "--axis"),
        code=0,
        then={
            "--missing 0,5": "interpolate map.nii.gz ends.nii.gz --missing 0,5",
            "--axis": "interpolate map.nii.gz across.nii.gz --missing 3 --axis x",
        },
    ),
    "the grid of an image for a map without a place": Row(
        after(lambda: save("map.tif", soft(), (2, 1, 1)), lambda: save("image.nii.gz", soft())),
        "interpolate map.tif out.tif --like image.nii.gz",
        ("--spacing iso",),
        mentions=("--like",),
        then={"--spacing iso": "interpolate map.tif out.tif --spacing iso"},
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_what_a_message_advises_works(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(name, TABLE[name], monkeypatch)
