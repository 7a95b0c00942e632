"""What messages about pictures advise: typed as in `test_cli_advice`."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_advice import Row, follow, soft
from helpers_cli import save


def bar() -> None:
    """Write a map, which knows the sides of a body."""
    save("map.nii.gz", soft())


def without_sides() -> None:
    """Write a map that knows nothing but its values."""
    np.save("map.npy", soft())


def without_radii() -> None:
    """Write the voxels of a line, without the map that they were made from."""
    image = np.zeros((3, 9, 12), np.uint8)
    image[1, 4, 2:10] = 1
    save("line.nii.gz", image)
    save("map.nii.gz", np.where(image == 1, 0.9, 0.1).astype(np.float32))


def pair() -> None:
    save("pred.nii.gz", soft())
    save("ref.nii.gz", (soft() > 0.5).astype(np.uint8))


def flat() -> None:
    np.save("flat.npy", soft()[0])


TABLE = {
    "a look without a picture": Row(
        bar,
        "stats map.nii.gz --light",
        ("--preview PATH.png", "leave it out"),
        without="--light",
        mentions=("--light",),
        code=2,
        then={"--preview PATH.png": "stats map.nii.gz --light --preview p.png"},
    ),
    "a picture of no known format": Row(
        bar,
        "stats map.nii.gz --preview p.jpg",
        ("end its name with .png, .pdf or .svg",),
        mentions=("--preview",),
        code=2,
        then={"end its name with .png, .pdf or .svg": "stats map.nii.gz --preview p.pdf"},
    ),
    "the sides of a body that a file does not know": Row(
        without_sides,
        "stats map.npy --preview p.png --orientation radiological",
        ("leave --orientation out", "--orientation stored"),
        without="--orientation radiological",
    ),
    "the planes of a body that a file does not know": Row(
        without_sides,
        "stats map.npy --preview p.png --views axial",
        ("--views z,y",),
        without="--views axial",
    ),
    "planes of an image": Row(
        flat,
        "stats flat.npy --preview p.png --views z",
        ("leave --views out",),
        without="--views z",
    ),
    "planes that are none": Row(
        bar,
        "stats map.nii.gz --preview p.png --views above",
        ("--views coronal,axial",),
        without="--views above",
        code=2,
    ),
    "a projection that is none": Row(
        bar,
        "stats map.nii.gz --preview p.png --projection deep",
        ("--projection 10mm",),
        without="--projection deep",
        code=2,
    ),
    "a projection of where two maps disagree": Row(
        pair,
        "evaluate pred.nii.gz ref.nii.gz --metrics dice --preview p.png --projection mean",
        ("--projection 5vox", "leave it out"),
        without="--projection mean",
        code=2,
    ),
    "planes of slices": Row(
        bar,
        "interpolate map.nii.gz out.nii.gz --missing 2 --preview p.png --views z",
        ("leave --views out",),
        without="--views z",
        code=2,
    ),
    "generations without a root": Row(
        bar,
        "inspect map.nii.gz --levels 0 --preview p.png --color generation",
        ("--root widest",),
        mentions=("--color",),
        code=2,
    ),
    "radii of a skeleton alone": Row(
        without_radii,
        "inspect line.nii.gz --as skeleton --preview p.png --color radius",
        ("--map MAP",),
        mentions=("--color",),
        then={
            "--map MAP": "inspect line.nii.gz --as skeleton --preview p.png --color radius --map map.nii.gz"
        },
    ),
    "a resolution that no printer has": Row(
        bar,
        "stats map.nii.gz --preview p.png --dpi 5",
        ("give 20 to 1200 dots per inch",),
        mentions=("--dpi",),
        code=2,
        then={"give 20 to 1200 dots per inch": "stats map.nii.gz --preview p.png --dpi 20"},
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_what_a_message_advises_works(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(name, TABLE[name], monkeypatch)
