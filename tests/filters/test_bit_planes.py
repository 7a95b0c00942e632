"""Levels, the hard skeleton and sampling: many binary images at once must be as good as one by one."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from helpers_filters import thinning
from helpers_maps import Topology, close, same_bits, topology, vessels
from helpers_run import run_binary
from scipy import ndimage

import softmorph_cli
from softmorph_cli.errors import UsageError
from softmorph_cli.filters import arrays
from softmorph_cli.filters.settings import Settings
from softmorph_cli.kernels.torch_eager import TorchBackend
from softmorph_cli.rules import catalog

# A map of noise fades under every method; that is not what these tests are about.
pytestmark = pytest.mark.filterwarnings("ignore:the skeleton faded")


@cache
def smooth(dimensions: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((30, 34) if dimensions == 2 else (12, 13, 14))
    blurred = ndimage.gaussian_filter(noise, 1.3)
    scaled: np.ndarray = ((blurred - blurred.min()) / np.ptp(blurred)).astype(np.float32)
    return scaled


# ---------------------------------------------------------------------------------------------- levels


@pytest.mark.parametrize("dimensions", [2, 3])
def test_levels_are_the_mean_of_64_separate_binary_skeletons_bit_for_bit(dimensions: int) -> None:
    image = smooth(dimensions)[:10] if dimensions == 3 else smooth(dimensions)
    rule = catalog.bundled("thinning", dimensions)
    count = np.sum([run_binary(rule, image > (k + 0.5) / 64, None).astype(int) for k in range(64)], axis=0)
    assert same_bits(softmorph_cli.skeletonize(image, method="levels"), (count / 64).astype(np.float32))
    assert same_bits(softmorph_cli.skeletonize(image.astype(np.float64), method="levels"), count / 64)
    assert (count > 0).any()


@pytest.mark.parametrize("levels", [8, 16, 32, 128, 192])
def test_other_numbers_of_levels(levels: int) -> None:
    image = smooth(2, 1)
    rule = catalog.bundled("thinning-2d")
    # Exact comparison: neither the image nor the threshold is rounded.
    exact = np.vectorize(Fraction)(image.astype(np.float64))
    thresholds = [Fraction(2 * k + 1, 2 * levels) for k in range(levels)]
    count = np.sum([run_binary(rule, exact > threshold, None) for threshold in thresholds], axis=0)
    got = softmorph_cli.skeletonize(image, method="levels", levels=levels)
    assert same_bits(got, count.astype(np.float32) / np.float32(levels))


def test_levels_of_an_opening_are_those_of_scipy() -> None:
    image = smooth(2, 2)
    count = sum(
        ndimage.binary_opening(np.pad(image > (k + 0.5) / 8, 2, "edge"))[2:-2, 2:-2] for k in range(8)
    )
    got = softmorph_cli.opening(image, method="levels", levels=8)
    inner = (slice(2, -2),) * 2
    assert same_bits(got[inner], (np.asarray(count, np.float32) / np.float32(8))[inner])


@pytest.mark.parametrize("levels", [0, 1, 7, 24, 65, 100, -64, 1 << 21])
def test_levels_that_do_not_fill_words_are_refused(levels: int) -> None:
    with pytest.raises(UsageError, match="use 8, 16, 32 or a multiple of 64"):
        softmorph_cli.skeletonize(smooth(2), levels=levels)


def test_levels_do_not_depend_on_backend_or_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    image = smooth(3, 3)
    results = [softmorph_cli.skeletonize(image, method="levels", threads=n) for n in (1, 2, 3, 7)]
    monkeypatch.setattr(arrays, "choose", lambda *_a, **_k: TorchBackend("cpu"))
    results.append(softmorph_cli.skeletonize(torch.tensor(image), method="levels").numpy())
    assert all(same_bits(result, results[0]) for result in results)


def test_levels_stop_at_a_true_fixed_point() -> None:
    image = smooth(2, 4)
    result = thinning(image, Settings("levels"))
    assert result.stop_reason == "stable"
    more = thinning(image, Settings("levels"), iterations=result.iterations + 3)
    assert more.stop_reason == "iterations"
    assert more.iterations == result.iterations + 3
    assert same_bits(more.image, result.image)
    fewer = thinning(image, Settings("levels"), iterations=result.iterations - 1)
    assert same_bits(fewer.image, result.image)
    assert not same_bits(
        thinning(image, Settings("levels"), iterations=result.iterations - 2).image, fewer.image
    )


# ---------------------------------------------------------------------------------------------- hard


def _keeps_topology(mask: np.ndarray) -> bool:
    skeleton = softmorph_cli.skeletonize(mask.astype(np.float32), hard=True)
    assert skeleton.dtype == np.uint8
    assert (skeleton <= mask).all()
    assert set(np.unique(skeleton)) <= {0, 1}
    return topology(skeleton) == topology(mask)


def _dense_volumes(count: int, size: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.random((size,) * 3) < d for d in np.linspace(0.15, 0.9, count)]


def _dense_images(count: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    found = []
    for k, d in enumerate(np.linspace(0.2, 0.9, count)):
        noise = rng.random((40, 47))
        blurred = ndimage.gaussian_filter(noise, k % 3)
        found.append(blurred < np.quantile(blurred, d))
    return found


def test_hard_keeps_components_tunnels_and_cavities_of_volumes() -> None:
    volumes = _dense_volumes(20, 16, 1)
    assert all(_keeps_topology(volume) for volume in volumes)
    counts = [topology(volume) for volume in volumes]
    assert all(any(t[k] > 5 for t in counts) for k in range(3))


def test_hard_keeps_components_and_holes_of_images() -> None:
    images = _dense_images(60, 2)
    assert all(_keeps_topology(image) for image in images)
    assert sum(topology(image).tunnels for image in images) > 500


@pytest.mark.parametrize("part", range(10))
def test_hard_keeps_the_topology_of_200_volumes(part: int) -> None:
    assert all(_keeps_topology(volume) for volume in _dense_volumes(20, 24, 100 + part))


@pytest.mark.parametrize("part", range(5))
def test_hard_keeps_the_topology_of_300_images(part: int) -> None:
    assert all(_keeps_topology(image) for image in _dense_images(60, 200 + part))


def test_the_topology_check_can_fail() -> None:
    ring = np.ones((5, 5), bool)
    ring[2, 2] = False
    assert topology(ring) == Topology(1, 1, 0)
    assert topology(ring & (np.arange(5) < 3)) != topology(ring)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.75])
def test_hard_is_the_binary_skeleton_of_the_thresholded_map(threshold: float) -> None:
    image = smooth(3, 5).astype(np.float64)
    image[0, 0, 0] = threshold
    wanted = run_binary(catalog.bundled("thinning-3d"), image > threshold, None)
    got = softmorph_cli.skeletonize(image, hard=True, threshold=threshold, finish=False)
    assert same_bits(got, wanted.astype(np.uint8))


def test_hard_is_thin() -> None:
    skeleton = softmorph_cli.skeletonize(vessels((30, 200), 3), hard=True)
    assert skeleton.sum() > 50
    blocks = np.sum([np.roll(skeleton, (y, x), (0, 1)) for y in (0, 1) for x in (0, 1)], axis=0)[1:, 1:]
    assert (blocks == 4).sum() <= 0.02 * skeleton.sum()
    assert same_bits(softmorph_cli.skeletonize(skeleton.astype(np.float32), hard=True), skeleton)


@pytest.mark.parametrize("threshold", [1.0, -0.1, 1.5, float("nan")])
def test_thresholds_out_of_range_are_refused(threshold: float) -> None:
    with pytest.raises(UsageError, match="threshold"):
        softmorph_cli.skeletonize(smooth(2), hard=True, threshold=threshold)


def test_hard_gives_uint8_of_the_callers_kind() -> None:
    tensor = softmorph_cli.skeletonize(torch.tensor(smooth(2)), hard=True)
    assert tensor.dtype == torch.uint8
    assert same_bits(tensor.numpy(), softmorph_cli.skeletonize(smooth(2), hard=True))


# ---------------------------------------------------------------------------------------------- sampled


def test_sampled_does_not_depend_on_threads_or_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    image = smooth(3, 6)
    runs: list[Any] = [
        softmorph_cli.skeletonize(image, method="sampled", seed=3, threads=n) for n in (1, 2, 7)
    ]
    monkeypatch.setattr(arrays, "choose", lambda *_a, **_k: TorchBackend("cpu"))
    mean, error = softmorph_cli.skeletonize(torch.tensor(image), method="sampled", seed=3)
    runs.append((mean.numpy(), error.numpy()))
    for mean, error in runs:
        assert same_bits(mean, runs[0][0])
        assert close(error, runs[0][1], 1e-7)


def test_seeds_and_images_of_a_batch_draw_differently() -> None:
    image = np.full((20, 20), 0.5, np.float32)
    first, _ = softmorph_cli.erosion(image, method="sampled", seed=0)
    again, _ = softmorph_cli.erosion(image, method="sampled", seed=0)
    other, _ = softmorph_cli.erosion(image, method="sampled", seed=1)
    batch, _ = softmorph_cli.erosion(np.stack([image] * 3), method="sampled", seed=0, spatial_dims=2)
    assert same_bits(first, again)
    assert not same_bits(first, other)
    assert same_bits(batch[0], first)
    assert not same_bits(batch[1], first)
    assert not same_bits(batch[2], batch[1])


@pytest.mark.parametrize("operation", ["erosion", "dilation"])
@pytest.mark.parametrize("draws", [64, 512])
def test_mean_and_standard_error_are_statistically_right(operation: str, draws: int) -> None:
    rng = np.random.default_rng(9)
    image = rng.random((40, 45)) * 0.5 + (0.5 if operation == "erosion" else 0)
    exact = getattr(softmorph_cli, operation)(image, method="multilinear")
    mean, error = getattr(softmorph_cli, operation)(image, method="sampled", levels=draws, seed=11)
    truth = (exact * (1 - exact) / draws) ** 0.5
    z = (mean - exact) / truth
    assert np.abs(z).max() < 5.5
    assert abs(z.mean()) < 0.15
    assert 0.93 < z.std() < 1.07
    assert close(error, (mean * (1 - mean) / (draws - 1)) ** 0.5, 1e-12)
    assert np.median(error / truth) == pytest.approx(1, abs=0.1)


def test_certain_voxels_are_certain() -> None:
    mask = smooth(2, 7) > 0.5
    mean, error = softmorph_cli.skeletonize(mask.astype(np.float64), method="sampled")
    assert same_bits(mean, softmorph_cli.skeletonize(mask.astype(np.float64), hard=True).astype(np.float64))
    assert (error == 0).all()


def test_the_two_sides_of_a_sampled_gradient_see_the_same_draws() -> None:
    # One voxel: dilation and erosion are the voxel itself, in every single draw.
    mean, _ = softmorph_cli.gradient(np.full((1, 1), 0.5), method="sampled")
    assert mean[0, 0] == 0
    image = smooth(2, 8).astype(np.float64)
    difference, _ = softmorph_cli.gradient(image, method="sampled", seed=4)
    dilated, _ = softmorph_cli.dilation(image, method="sampled", seed=4)
    eroded, _ = softmorph_cli.erosion(image, method="sampled", seed=4)
    assert close(difference, dilated - eroded, 1e-12)


@pytest.mark.parametrize("method", ["levels", "sampled"])
@pytest.mark.parametrize("operation", ["tophat", "blackhat"])
def test_binary_hats_are_never_clamped(operation: str, method: str) -> None:
    # Level by level (draw by draw) an opening lies below its input: no warning, and 0 on a flat map.
    for value in (0.3, 0.305, 0.5):
        flat = getattr(softmorph_cli, operation)(np.full((6, 7), value), method=method)
        values = flat[0] if method == "sampled" else flat
        if method == "levels":
            assert (values == 0).all()
    result = getattr(softmorph_cli, operation)(smooth(2, 9), method=method)
    assert np.asarray(result[0] if method == "sampled" else result).max() > 0
