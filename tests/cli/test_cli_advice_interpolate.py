"""What messages of `interpolate` advise: typed as in `test_cli_advice`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_advice import Row, after, follow, soft
from helpers_cli import nibabel, save

from softmorph_cli.completion import prior_file
from softmorph_cli.completion.box import Box
from softmorph_cli.completion.network import Architecture, ImplicitFunction
from softmorph_cli.completion.prior import Prior


def with_gaps(name: str) -> None:
    """Write a map whose slices 0, 2 and 5 of 6 are empty."""
    image = soft()
    image[[0, 2, 5]] = 0
    save(name, image)


def with_an_empty_end() -> None:
    """Write a map whose last slice is empty."""
    image = soft()
    image[5] = 0
    save("map.nii.gz", image)


def with_an_image_elsewhere() -> None:
    """Write a map, and an image 500 mm away from it."""
    save("map.nii.gz", soft())
    affine = nibabel.load("map.nii.gz").affine.copy()
    affine[:3, 3] += 500
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 6, 7), np.uint8), affine), "far.nii.gz")


def with_a_prior() -> None:
    """Write a map and a shape prior that has learned nothing."""
    generator = torch.Generator().manual_seed(0)
    architecture = Architecture(3, 2, 8, 1, "sine", False)
    network = ImplicitFunction(architecture, generator)
    weights = {name: one.detach() for name, one in network.state_dict().items()}
    latents, box = torch.randn(8, 8, generator=generator), Box((30.0, 30.0, 30.0), "mm")
    names = tuple(f"case {k}" for k in range(8))
    learned = Prior(architecture, weights, latents, ("bar",), "ZYX", None, box, None, subjects=names)
    prior_file.save(learned, Path("bars.safetensors"))
    save("map.nii.gz", soft())


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
    "slices that are empty at an end alone": Row(
        with_an_empty_end,
        "interpolate map.nii.gz out.nii.gz --missing empty",
        ("--missing 5",),
        without="--missing empty",
        then={"--missing 5": "interpolate map.nii.gz out.nii.gz --missing 5"},
    ),
    "empty slices that are not named": Row(
        lambda: with_gaps("map.nii.gz"),
        "interpolate map.nii.gz out.nii.gz --spacing iso",
        ("--missing empty",),
        code=0,
        then={"--missing empty": "interpolate map.nii.gz whole.nii.gz --spacing iso --missing empty"},
    ),
    "the grid of an image of another place": Row(
        with_an_image_elsewhere,
        "interpolate map.nii.gz out.nii.gz --like far.nii.gz",
        ("--spacing iso",),
        mentions=("--like",),
        then={"--spacing iso": "interpolate map.nii.gz out.nii.gz --spacing iso"},
    ),
    "one slice that is observed": Row(
        with_a_prior,
        "interpolate map.nii.gz out.nii.gz --missing 0:3,4:",
        ("--prior FILE",),
        then={
            "--prior FILE": "interpolate map.nii.gz out.nii.gz --missing 0:3,4: --prior bars.safetensors --min-fit 0"
        },
    ),
    "a prior and a method": Row(
        with_a_prior,
        "interpolate map.nii.gz out.nii.gz --missing 3 --prior bars.safetensors --method logit",
        ("--prior", "--method"),
        code=2,
        then={
            "--prior": "interpolate map.nii.gz out.nii.gz --missing 3 --prior bars.safetensors --min-fit 0",
            "--method": "interpolate map.nii.gz out.nii.gz --missing 3 --method logit",
        },
    ),
    "a least fit of no prior": Row(
        with_a_prior,
        "interpolate map.nii.gz out.nii.gz --missing 3 --min-fit 0",
        ("--prior FILE",),
        mentions=("--min-fit",),
        code=2,
        then={
            "--prior FILE": "interpolate map.nii.gz out.nii.gz --missing 3 --min-fit 0 --prior bars.safetensors"
        },
    ),
    "the device of no fit": Row(
        with_a_prior,
        "interpolate map.nii.gz out.nii.gz --missing 3 --device cpu",
        ("--prior FILE",),
        mentions=("--device",),
        code=2,
        then={
            "--prior FILE": "interpolate map.nii.gz out.nii.gz --missing 3 --device cpu --prior bars.safetensors "
            "--min-fit 0"
        },
    ),
    "a prior that is poorer than logits": Row(
        with_a_prior,
        "interpolate map.nii.gz out.nii.gz --missing 3 --axis z --prior bars.safetensors --min-fit 0",
        ("--method logit",),
        code=0,
        then={"--method logit": "interpolate map.nii.gz other.nii.gz --missing 3 --axis z --method logit"},
    ),
    "the mask of two steps": Row(
        lambda: save("map.nii.gz", soft()),
        "chain map.nii.gz out.nii.gz interpolate:missing=2 interpolate:missing=4 --filled new.nii.gz",
        ("interpolate:missing=5:9,12",),
        mentions=("--filled",),
        code=2,
        then={
            "interpolate:missing=5:9,12": "chain map.nii.gz out.nii.gz interpolate:missing=2:3,4 --filled new.nii.gz"
        },
    ),
    "the mask of a step on another grid": Row(
        lambda: with_gaps("map.nii.gz"),
        "chain map.nii.gz out.nii.gz interpolate:missing=empty resample --filled new.nii.gz",
        ("interpolate:missing=empty,spacing=iso",),
        mentions=("--filled",),
        code=2,
        then={
            "interpolate:missing=empty,spacing=iso": "chain map.nii.gz out.nii.gz "
            "interpolate:missing=empty,spacing=iso --filled new.nii.gz"
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
