"""softmorph interpolate --prior on a label map: each label that the prior knows is a class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_cli import load, nibabel, refused, run

import softmorph_cli as sm
from softmorph_cli.completion import prior_file
from softmorph_cli.completion.box import Box
from softmorph_cli.completion.network import Architecture, ImplicitFunction
from softmorph_cli.completion.prior import Prior

OBSERVED = [0, 1, 2, 4, 5]
WORDS = ("--missing", "3", "--prior", "prior.safetensors", "--min-fit", 0)


@pytest.fixture(autouse=True)
def labels(here: Path) -> np.ndarray:
    """Write labels 5 and 2, and a prior of both that has learned nothing; return the labels."""
    generator = torch.Generator().manual_seed(0)
    architecture = Architecture(3, 3, 8, 1, "sine", False)
    weights = {
        name: one.detach() for name, one in ImplicitFunction(architecture, generator).state_dict().items()
    }
    latents, box = torch.randn(8, 8, generator=generator), Box((30.0, 30.0, 30.0), "mm")
    cases = tuple(f"case {k}" for k in range(8))
    names = ("class 2", "class 5")
    prior = Prior(architecture, weights, latents, names, "ZYX", None, box, None, subjects=cases)
    prior_file.save(prior, Path("prior.safetensors"))
    prior_file.save(replace(prior, classes=("wall", "lumen")), Path("other.safetensors"))
    array = np.zeros((6, 8, 7), np.uint8)
    array[:, 2:5, 1:3], array[:, 2:5, 3:6] = 5, 2
    array[3] = 0
    nibabel.save(nibabel.Nifti1Image(array.T, np.diag([1, 1, 3, 1])), "labels.nii.gz")
    return array


def test_probabilities_of_each_label(labels: np.ndarray) -> None:
    ended = run("interpolate", "labels.nii.gz", "out.npy", *WORDS)
    assert "labels are read as probabilities of 0 and 1, a channel each: class 2, class 5." in ended.err
    made = np.load("out.npy")
    for label, channel in zip((2, 5), made, strict=True):
        np.testing.assert_array_equal(channel[OBSERVED], labels[OBSERVED] == label)
    # Of an untrained prior neither 0 nor 1, as the network is smooth.
    assert 0 < made[:, 3].min() < made[:, 3].max() < 1
    with pytest.warns(sm.SoftmorphWarning, match="left out one at a time"):
        found = sm.interpolate("labels.nii.gz", missing=[3], prior="prior.safetensors", min_fit=0).image
    assert found.channels == ("class 2", "class 5")
    np.testing.assert_allclose(found.array, made, atol=1e-5)


def test_the_most_probable_label(labels: np.ndarray) -> None:
    run("interpolate", "labels.nii.gz", "out.nii.gz", *WORDS, "--argmax")
    made = load("out.nii.gz")
    np.testing.assert_array_equal(made[OBSERVED], labels[OBSERVED])
    assert set(np.unique(made)) <= {0, 2, 5}


def test_labels_that_the_prior_does_not_know() -> None:
    message = refused(
        "interpolate", "labels.nii.gz", "out.nii.gz", "--missing", "3", "--prior", "other.safetensors"
    )
    assert "labels.nii.gz holds the labels 2, 5, and the classes of the prior are wall, lumen" in message
