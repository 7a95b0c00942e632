"""The classes, intensities and tensors of a prior."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers_prior import untrained

from softmorph_cli.completion.box import Grid
from softmorph_cli.completion.prior import IntensityRule, background_first
from softmorph_cli.errors import InputError, SoftmorphWarning


def test_mean_and_covariance_of_the_latent_vectors() -> None:
    prior = untrained()
    latents = prior.latents.double().numpy()
    assert prior.mean.numpy() == pytest.approx(latents.mean(0), abs=1e-6)
    assert prior.covariance.numpy() == pytest.approx(np.cov(latents.T), abs=1e-5)


def test_a_prior_is_printed_as_a_line() -> None:
    prior = untrained()
    text = repr(prior)
    assert text.startswith(f"<Prior of {', '.join(prior.classes)}: {prior.axes}, ")
    assert f"{len(prior.latents)} subjects, seed {prior.seed}, " in text
    assert len(text) < 200
    assert "tensor" not in text


def test_the_hash_changes_with_any_weight_and_not_with_their_order() -> None:
    prior = untrained()
    turned = replace(prior, weights=dict(reversed([*prior.weights.items()])))
    assert turned.network_hash() == prior.network_hash()
    for name, tensor in prior.weights.items():
        other = tensor.clone()
        other.view(-1)[-1] += 1e-3
        assert replace(prior, weights={**prior.weights, name: other}).network_hash() != prior.network_hash()


def test_the_network_has_the_tensors_of_the_prior_and_is_frozen() -> None:
    prior = untrained()
    network = prior.network()
    for name, one in network.named_parameters():
        assert one.data_ptr() == prior.weights[name].data_ptr()
        assert not one.requires_grad


def test_intensities_are_cut_at_percentiles() -> None:
    image = np.random.default_rng(0).normal(100, 20, (8, 9)).astype(np.float32)
    low, high = np.percentile(image, 5), np.percentile(image, 90)
    found = IntensityRule(5, 90).apply(image)
    assert found == pytest.approx(np.clip((image - low) / (high - low), 0, 1), abs=1e-6)
    assert found.dtype == np.float32


def test_images_that_show_nothing() -> None:
    with pytest.raises(InputError, match="the image is constant"):
        IntensityRule().apply(np.full((4, 4), 7))
    with pytest.raises(InputError, match="not finite"):
        IntensityRule().apply(np.array([0.0, np.nan, 1.0]))


def test_a_background_is_what_the_classes_lack_to_one() -> None:
    channels = np.array([[[0.25, 0.0, 1.0]], [[0.5, 0.0, 0.0]]], np.float32)
    found, names, order = background_first(channels, ("a", "b"))
    assert found.tolist() == [[[0.25, 1.0, 0.0]], [[0.25, 0.0, 1.0]], [[0.5, 0.0, 0.0]]]
    assert (names, order) == (("a", "b"), [-1, 0, 1])


def test_a_background_among_the_channels_comes_first() -> None:
    channels = np.array([[[0.25]], [[0.5]], [[0.25]]], np.float32)
    found, names, order = background_first(channels, ("a", "Background", "b"))
    assert (found.ravel().tolist(), names, order) == ([0.5, 0.25, 0.25], ("a", "b"), [1, 0, 2])
    found, names, order = background_first(channels, None)
    assert (names, order) == (("class 1", "class 2"), [0, 1, 2])


def test_classes_that_overlap_or_are_none() -> None:
    with pytest.raises(InputError, match=r"sum to 1\.5 in a voxel.*: give a label map, or prob"):
        background_first(np.array([[[1.0]], [[0.5]]]), ("a", "b"))
    with pytest.raises(InputError, match="nothing but a background"):
        background_first(np.array([[[1.0]]]), ("background",))


def test_classes_are_found_by_name_in_any_order() -> None:
    prior = untrained()  # of "wall" and "größe"
    channels = np.array([[[0.125]], [[0.5]]], np.float32)
    found, order = prior.exclusive(channels, ("größe", "wall"))
    assert (found.ravel().tolist(), order) == ([0.375, 0.5, 0.125], [-1, 1, 0])
    found, order = prior.exclusive(channels, None)
    assert (found.ravel().tolist(), order) == ([0.375, 0.125, 0.5], [-1, 0, 1])


@pytest.mark.parametrize(
    ("count", "names", "message"),
    [
        (
            2,
            ("wall", "lumen"),
            "holds wall, lumen, and the prior lacks lumen: use a prior of the same classes",
        ),
        (1, ("wall",), "holds wall, and the prior also has größe"),
        (1, None, r"holds 1 class without names, and the prior has 2 \(wall, größe\)"),
    ],
)
def test_other_classes_are_refused(count: int, names: tuple[str, ...] | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        untrained().exclusive(np.zeros((count, 2, 2), np.float32), names)


def test_one_unit_of_lengths_is_taken_as_the_other() -> None:
    prior = replace(untrained(), directions=None)
    affine = np.eye(4)[[2, 1, 0, 3]] * [[0.01], [0.01], [0.01], [1]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prior.place(Grid((8, 8, 8), affine, True, "mm"), "map.nii")
    said = "map.nii states no unit of lengths: they are taken as mm, as those of the prior"
    with pytest.warns(SoftmorphWarning, match=said):
        prior.place(Grid((8, 8, 8), affine, True, None), "map.nii")
    unitless = replace(prior, box=replace(prior.box, unit=None))
    said = "the prior states no unit of lengths: they are taken as mm, as those of map.nii"
    with pytest.warns(SoftmorphWarning, match=said):
        unitless.place(Grid((8, 8, 8), affine, True, "mm"), "map.nii")


def test_tensors_on_the_cpu_are_float32() -> None:
    assert {one.dtype for one in untrained().weights.values()} == {torch.float32}
