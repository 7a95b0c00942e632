"""Fits of a prior: the network stays as it is, observed slices come out as they went in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers_subjects import SIDE, disc, drawn, prior

from softmorph_cli.completion import fitting, hearts
from softmorph_cli.completion.box import Grid
from softmorph_cli.completion.fitting import (
    agreement_of,
    complete,
    fit_intensities,
    fit_probabilities,
    predict,
)
from softmorph_cli.completion.training import TrainingOptions, train
from softmorph_cli.errors import InputError

FRESH = drawn(4, 100)
EVERY_2ND = np.arange(8) % 2 == 0


def stack(
    observed: np.ndarray[tuple[int], np.dtype[np.bool_]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return observed[:, None, None]


def test_observed_slices_come_out_bit_identical_and_the_network_stays() -> None:
    one = FRESH[0]
    soft = (
        np.random.default_rng(0)
        .dirichlet(np.ones(4), one.grid.shape)
        .transpose(3, 0, 1, 2)
        .astype(np.float32)
    )
    before = prior().network_hash()
    _, place = prior().place(one.grid)
    filled, fit = complete(prior(), soft, stack(EVERY_2ND), place)
    assert filled[:, EVERY_2ND].tobytes() == soft[:, EVERY_2ND].tobytes()
    assert not np.array_equal(filled[:, ~EVERY_2ND], soft[:, ~EVERY_2ND])
    assert filled.sum(0) == pytest.approx(1, abs=1e-5)
    assert prior().network_hash() == before
    assert not torch.equal(fit.latent, prior().mean)


def test_hidden_values_have_no_effect() -> None:
    one = FRESH[0]
    _, place = prior().place(one.grid)
    other = one.probabilities.copy()
    other[:, ~EVERY_2ND] = np.nan
    first, _ = complete(prior(), one.probabilities, stack(EVERY_2ND), place)
    second, _ = complete(prior(), other, stack(EVERY_2ND), place)
    assert first.tobytes() == second.tobytes()


def test_both_fits_find_more_than_the_mean_latent_vector() -> None:
    gains = []
    for one in FRESH:
        _, place = prior().place(one.grid)
        mean = agreement_of(predict(prior(), prior().mean, place), one.probabilities)
        of_slices = fit_probabilities(prior(), one.probabilities, np.array(True), place)
        assert one.image is not None
        of_image = fit_intensities(prior(), one.image, place)
        found = [
            agreement_of(predict(prior(), fit.latent, place), one.probabilities)
            for fit in (of_slices, of_image)
        ]
        assert of_slices.agreement == pytest.approx(found[0])
        assert of_image.agreement is None
        gains.append([found[0] or 0, found[1] or 0, mean or 0])
    slices, image, mean_latent = np.mean(gains, axis=0)
    assert slices > image > mean_latent
    assert slices - mean_latent > 0.1


def test_the_same_seed_gives_the_same_fit() -> None:
    one = FRESH[1]
    _, place = prior().place(one.grid)
    fits = [
        fit_probabilities(prior(), one.probabilities, np.array(True), place, seed=seed) for seed in (0, 0, 1)
    ]
    assert torch.equal(fits[0].latent, fits[1].latent)
    assert not torch.equal(fits[0].latent, fits[2].latent)


def test_a_grid_of_half_the_steps_equals_the_native_one_at_shared_points() -> None:
    one = FRESH[1]
    frame, place = prior().place(one.grid)
    affine = one.grid.affine.copy()
    affine[:3, :3] /= 2
    finer = Grid(tuple(2 * size - 1 for size in one.grid.shape), affine, True, "mm")
    found = predict(prior(), prior().latents[0], prior().box.coordinates(finer, frame))
    native = predict(prior(), prior().latents[0], place)
    assert np.abs(found[:, ::2, ::2, ::2] - native).max() <= 1e-5


def test_an_oblique_plane_is_that_of_the_drawn_heart() -> None:
    rng = np.random.default_rng(100)
    one, heart = FRESH[0], hearts.draw_heart(rng)
    frame, place = prior().place(one.grid)
    fit = fit_probabilities(prior(), one.probabilities, np.array(True), place)
    along, down = np.array([np.cos(0.6), 0, np.sin(0.6)]), np.array([0, 1, 0])
    affine = np.eye(4)
    affine[:3, :3] = np.stack([np.cross(along, down), down, along], axis=1)
    affine[:3, 3] = frame.middle - 30 * (along + down)
    plane = Grid((1, 61, 61), affine, True, "mm")
    masks = predict(prior(), fit.latent, prior().box.coordinates(plane, frame))[:, 0].argmax(0) > 0
    rows, columns = np.indices((61, 61))
    world = affine[:3, 3] + rows[..., None] * down + columns[..., None] * along
    # The heart fills the cube whose first voxel lies at (7, -3, 11) in the world.
    corner = np.array([7.0, -3.0, 11.0]) - np.array([SIDE / size for size in one.grid.shape[::-1]]) / 2
    truth = heart.labels_at(((world - corner) / SIDE)[..., ::-1]) > 0
    assert 2 * (masks & truth).sum() / (masks.sum() + truth.sum()) > 0.75


def test_beyond_the_box_is_background() -> None:
    grid = FRESH[0].grid
    frame, _ = prior().place(grid)
    affine = grid.affine.copy()
    affine[:3, 3] += 200
    far = prior().box.coordinates(Grid((2, 2, 2), affine, True, "mm"), frame)
    assert predict(prior(), prior().mean, far).reshape(4, -1).T.tolist() == [[1, 0, 0, 0]] * 8


def test_parts_of_a_grid_equal_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    _, place = prior().place(FRESH[0].grid)
    whole = predict(prior(), prior().mean, place)
    monkeypatch.setattr(fitting, "_CHUNK", 77)
    assert predict(prior(), prior().mean, place) == pytest.approx(whole, abs=1e-6)


def test_a_large_map_is_measured_on_some_of_its_voxels(monkeypatch: pytest.MonkeyPatch) -> None:
    one = FRESH[1]
    _, place = prior().place(one.grid)
    whole = fit_probabilities(prior(), one.probabilities, np.array(True), place)
    monkeypatch.setattr(fitting, "_MEASURED", 1500)
    part = fit_probabilities(prior(), one.probabilities, np.array(True), place)
    assert torch.equal(part.latent, whole.latent)
    assert part.agreement != whole.agreement
    assert part.agreement == pytest.approx(whole.agreement, abs=0.05)


def test_maps_in_2d() -> None:
    discs = train([disc(k) for k in range(8)], TrainingOptions(150, 0, 16, 3, device="cpu", points=128))
    one = disc(50)
    _, place = discs.place(one.grid)
    rows = np.arange(16) % 3 == 0
    filled, fit = complete(discs, one.probabilities, rows[:, None], place)
    assert filled[:, rows].tobytes() == one.probabilities[:, rows].tobytes()
    assert fit.agreement is not None
    assert fit.agreement > 0.8


def test_fits_that_cannot_be() -> None:
    one = FRESH[0]
    _, place = prior().place(one.grid)
    empty = np.zeros_like(one.probabilities)
    empty[0] = 1
    trace = empty + np.float32(1e-9)
    for map_, observed in (
        (empty, np.array(True)),
        (trace, np.array(True)),
        (one.probabilities, np.array(False)),
    ):
        with pytest.raises(InputError, match="every observed slice is empty"):
            fit_probabilities(prior(), map_, observed, place)
    with pytest.raises(InputError, match="the prior has 4 classes with the background"):
        fit_probabilities(prior(), one.probabilities[:3], np.array(True), place)
    with pytest.raises(InputError, match="the image has the shape"):
        fit_intensities(prior(), np.zeros((2, 2, 2)), place)
    with pytest.raises(InputError, match=r"trained without images, .*: train one with images=DIR"):
        fit_intensities(replace(prior(), intensity=None), np.zeros(one.grid.shape), place)


def test_a_prior_without_finite_values_is_named() -> None:
    one = FRESH[0]
    _, place = prior().place(one.grid)
    huge = replace(prior(), weights={name: 1e30 * tensor for name, tensor in prior().weights.items()})
    with pytest.raises(InputError, match="the prior gives values that are not finite: use another prior"):
        complete(huge, one.probabilities, stack(EVERY_2ND), place)


def test_agreement_by_hand() -> None:
    found = np.array([[0.0, 0.5], [0.75, 0.0], [0.25, 0.5]])
    wanted = np.array([[0.5, 1.0], [0.5, 0.0], [0.0, 0.0]])
    assert agreement_of(found, wanted) == pytest.approx(2 * 0.5 / 1.25)
    assert agreement_of(found, found) == 1
    assert agreement_of(found, np.array([[1.0, 1.0], [0, 0], [0, 0]])) is None


def test_a_class_with_a_trace_of_probability_does_not_count() -> None:
    wanted = np.array([[0.0, 1.0], [1.0 - 1e-6, 0.0], [1e-6, 0.0]])
    found = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    assert agreement_of(found, wanted) == pytest.approx(1)
    # A class that reaches one half anywhere does.
    assert agreement_of(found, np.array([[0.0, 0.5], [1.0, 0.0], [0.0, 0.5]])) == pytest.approx(0.5)
