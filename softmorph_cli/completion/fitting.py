"""Fit of a shape prior to a subject: the network is frozen, and the latent vector that minimises the loss is found.

Two kinds of data can be fitted: the slices of a probability map that exist (this kind is softmorph's own), and the
intensities of an image (the kind of NISF, Stolt-Anso et al., MICCAI 2023).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from softmorph_cli.completion.box import Coordinates
from softmorph_cli.completion.network import ImplicitFunction, find_device
from softmorph_cli.completion.objective import WEIGHT_OF_INTENSITY, WEIGHT_OF_LATENTS, soft_dice
from softmorph_cli.completion.prior import Array, FitSettings, Prior
from softmorph_cli.errors import InputError
from softmorph_cli.system import machine
from softmorph_cli.system.parameters import named

_WEIGHT_OF_DICE: Final = 3.0
# The probability from which on a voxel belongs to a class: less is the tail of a softmax.
HALF: Final = 0.5
# Points at once: some 30 MB for a network of width 64.
_CHUNK: Final = 1 << 15
# The largest number of observed voxels that measure a fit: large maps would take minutes.
_MEASURED: Final = 1 << 16

Loss = Callable[[Tensor, Tensor | None, Tensor], Tensor]


@dataclass(frozen=True)
class Fit:
    """A fitted latent vector.

    Attributes:
        latent: The latent vector, of shape (width,).
        agreement: For a fit to probabilities that with the observed voxels, at most 65,536 of them, drawn at random:
            the mean over the foreground classes that reach 0.5 there of 2 sum min(p, q) / sum (p + q). None for a fit
            to an image.
        seconds: The time of the fit.
        device: Where it was computed: "cpu", "cuda:0", ...
    """

    latent: Tensor
    agreement: float | None
    seconds: float
    device: str


@contextmanager
def on_threads(threads: int | None) -> Iterator[None]:
    """Have torch compute on a number of CPU threads; None for as many as the machine allows this process."""
    usual = torch.get_num_threads()
    torch.set_num_threads(threads or machine.threads())
    try:
        yield
    finally:
        torch.set_num_threads(usual)


def fit_probabilities(
    prior: Prior,
    probabilities: Array,
    observed: npt.NDArray[np.bool_],
    coordinates: Coordinates,
    settings: FitSettings | None = None,
    seed: int = 0,
    device: str = "auto",
) -> Fit:
    """Fit a latent vector to the observed voxels of a probability map.

    The loss is the cross-entropy + 3 x (1 - soft Dice of the foreground classes).

    Args:
        prior: The prior.
        probabilities: Probabilities of the prior's classes with the background first, of shape (classes, *grid); see
            `Prior.exclusive`. Values of voxels that are not observed are not used.
        observed: Which voxels are observed, of a shape that broadcasts to the grid; (Z, 1, 1) for slices along z.
        coordinates: The coordinates of the grid, from `Prior.place`.
        settings: The settings; None for those of the prior.
        seed: The seed of the voxels that are drawn.
        device: "auto", "cpu", "cuda" or "cuda:N".

    Raises:
        InputError: If nothing is observed, no class reaches 0.5 in an observed voxel, or the shapes do not fit.
    """
    if probabilities.shape != (prior.architecture.classes, *coordinates.shape):
        raise InputError(
            f"the prior has {prior.architecture.classes} classes with the background and the grid the shape "
            f"{coordinates.shape}, and the map has the shape {probabilities.shape}: give one array for each class, on "
            "the grid."
        )
    seen = np.broadcast_to(observed, coordinates.shape)
    if not probabilities[1:].max(where=seen, initial=0) >= HALF:
        raise InputError(
            "every observed slice is empty, as no class reaches 0.5: give a map with an object in an observed slice."
        )
    began = time.perf_counter()
    flat, rows = np.flatnonzero(seen), probabilities.reshape(len(probabilities), -1)

    def loss(logits: Tensor, _: Tensor | None, wanted: Tensor) -> Tensor:
        logs = torch.log_softmax(logits, -1)
        shares = logs.exp()
        dice = soft_dice(shares, wanted, 0)
        return -(wanted * logs).sum(-1).mean() + _WEIGHT_OF_DICE * (1 - dice[1:].mean())

    settings = settings or prior.completion
    found = _fit(prior, loss, flat, rows, coordinates, settings, seed, device)
    if len(flat) > _MEASURED:
        flat = flat[np.random.default_rng(seed).integers(len(flat), size=_MEASURED)]
    agreement = agreement_of(predict_at(prior, found, coordinates, flat, device), rows[:, flat])
    return Fit(found, agreement, time.perf_counter() - began, str(find_device(device)))


def fit_intensities(
    prior: Prior,
    image: npt.NDArray[Any],
    coordinates: Coordinates,
    settings: FitSettings | None = None,
    seed: int = 0,
    device: str = "auto",
) -> Fit:
    """Fit a latent vector to an image; `predict` then gives the probabilities of the classes.

    The loss is 10 x the binary cross-entropy of the intensities, from 0 to 1, + 1e-4 x the mean square of the vector.

    Args:
        prior: A prior that was trained with images.
        image: The image as stored; the prior's rule normalises it.
        coordinates: The coordinates of its grid, from `Prior.place`.
        settings: The settings; None for those of the prior.
        seed: The seed of the voxels that are drawn.
        device: "auto", "cpu", "cuda" or "cuda:N".

    Raises:
        InputError: If the prior was trained without images, the image is constant, or the shapes do not fit.
    """
    if prior.intensity is None:
        raise InputError(
            "the prior was trained without images, and cannot be fitted to one: train one with "
            f"{named('images', 'DIR')}."
        )
    if image.shape != coordinates.shape:
        raise InputError(
            f"the image has the shape {image.shape}, and the grid {coordinates.shape}: give an image on the grid."
        )
    values = prior.intensity.apply(image).reshape(1, -1)
    began = time.perf_counter()

    def loss(_: Tensor, intensities: Tensor | None, wanted: Tensor) -> Tensor:
        assert intensities is not None
        return WEIGHT_OF_INTENSITY * nn.functional.binary_cross_entropy_with_logits(intensities, wanted[:, 0])

    every = np.arange(coordinates.size)
    settings = settings or prior.segmentation
    found = _fit(prior, loss, every, values, coordinates, settings, seed, device, WEIGHT_OF_LATENTS)
    return Fit(found, None, time.perf_counter() - began, str(find_device(device)))


def _fit(
    prior: Prior,
    loss: Loss,
    flat: npt.NDArray[np.intp],
    rows: Array,
    coordinates: Coordinates,
    settings: FitSettings,
    seed: int,
    device: str,
    weight_of_latent: float = 0.0,
) -> Tensor:
    """Return the latent vector that Adam finds from the mean one."""
    where = find_device(device)
    network = prior.network(where)
    latent = prior.mean.clone().to(where).requires_grad_()
    moments = [torch.zeros_like(latent) for _ in range(2)]
    count = torch.zeros(())
    generator = torch.Generator().manual_seed(seed)
    for step in range(settings.steps):
        drawn = torch.randint(len(flat), (settings.points,), generator=generator)
        voxels = flat[drawn.numpy()]
        positions = torch.from_numpy(coordinates.at(voxels)).to(where)
        logits, intensities = network(positions, latent)
        value = loss(logits, intensities, torch.from_numpy(rows[:, voxels].T.copy()).to(where))
        if weight_of_latent:
            value = value + weight_of_latent * latent.square().mean()
        [gradient] = torch.autograd.grad(value, latent)
        rate = settings.rate * (1 + math.cos(math.pi * step / settings.steps)) / 2
        with torch.no_grad():
            _adam(latent, gradient, moments, count, rate)
    return latent.detach().cpu()


def _adam(values: Tensor, gradient: Tensor, moments: list[Tensor], count: Tensor, rate: float) -> None:
    """Take a step of Adam with torch's function: the class `torch.optim.Adam` imports a compiler, for a second."""
    adam(
        [values],
        [gradient],
        moments[:1],
        moments[1:],
        [],
        [count],
        amsgrad=False,
        beta1=0.9,
        beta2=0.999,
        lr=rate,
        weight_decay=0.0,
        eps=1e-8,
        maximize=False,
    )


def predict(prior: Prior, latent: Tensor, coordinates: Coordinates, device: str = "auto") -> Array:
    """Return the probabilities of the classes on any grid, the background first, of shape (classes, *grid).

    Voxels whose centres lie outside the box are background. Memory beside the result is bounded.

    Args:
        prior: The prior.
        latent: A latent vector, such as `Fit.latent` or `Prior.mean`.
        coordinates: The coordinates of the grid, from `Box.coordinates`.
        device: "auto", "cpu", "cuda" or "cuda:N".

    Raises:
        InputError: If the network gives values that are not finite.
    """
    every = np.arange(coordinates.size)
    found = predict_at(prior, latent, coordinates, every, device)
    return found.reshape(-1, *coordinates.shape)


def predict_at(
    prior: Prior, latent: Tensor, coordinates: Coordinates, flat: npt.NDArray[np.intp], device: str = "auto"
) -> Array:
    """Return the probabilities of the classes at some voxels of a grid, as `predict` does; shape (classes, N).

    Raises:
        InputError: If the network gives values that are not finite.
    """
    where = find_device(device)
    network: ImplicitFunction = prior.network(where)
    vector = latent.to(where)
    found = np.empty((prior.architecture.classes, len(flat)), np.float32)
    with torch.no_grad():
        for start in range(0, len(flat), _CHUNK):
            positions = coordinates.at(flat[start : start + _CHUNK])
            logits, _ = network(torch.from_numpy(positions).to(where), vector)
            part = torch.softmax(logits, -1).cpu().numpy().T
            if not np.isfinite(part).all():
                raise InputError("the prior gives values that are not finite: use another prior.")
            outside = ((positions < -1e-6) | (positions > 1 + 1e-6)).any(axis=1)
            if outside.any():
                part = np.where(outside, np.eye(len(part), dtype=np.float32)[:, :1], part)
            found[:, start : start + _CHUNK] = part
    return found


def complete(
    prior: Prior,
    probabilities: Array,
    observed: npt.NDArray[np.bool_],
    coordinates: Coordinates,
    seed: int = 0,
    device: str = "auto",
) -> tuple[Array, Fit]:
    """Return the map whose voxels that are not observed are those of the fitted prior, and the fit.

    Observed voxels are copied bit for bit. The arguments are those of `fit_probabilities`.

    Raises:
        InputError: As `fit_probabilities`.
    """
    fit = fit_probabilities(prior, probabilities, observed, coordinates, None, seed, device)
    hidden = ~np.broadcast_to(observed, coordinates.shape)
    filled = probabilities.copy()
    filled[:, hidden] = predict_at(prior, fit.latent, coordinates, np.flatnonzero(hidden), device)
    return filled, fit


def agreement_of(found: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> float | None:
    """Return the mean over classes of 2 sum min(p, q) / sum (p + q): 1 for equal maps, 0 for disjoint ones.

    Args:
        found: Probabilities of shape (classes, ...), with the background first, which does not count.
        wanted: Probabilities of the same shape; a class that reaches 0.5 nowhere does not count.

    >>> agreement_of(np.array([[0.5, 1.0], [0.5, 0.0]]), np.array([[0.5, 0.5], [0.5, 0.5]]))
    0.6666666666666666
    """
    each = [
        2 * float(np.minimum(p, q).sum(dtype=np.float64)) / float(p.sum(dtype=np.float64) + q.sum())
        for p, q in zip(found[1:], wanted[1:], strict=True)
        if q.max(initial=0) >= HALF
    ]
    return float(np.mean(each)) if each else None


def explained(
    prior: Prior, latent: Tensor, image: npt.NDArray[Any], coordinates: Coordinates, device: str = "auto"
) -> float:
    """Return R², the share of the variance of an image, as normalised, that the intensities of the network explain.

    It is 1 for a perfect fit, and 0 or less if the mean intensity of the image fits it as well.

    Args:
        prior: A prior that was trained with images.
        latent: A latent vector, such as `Fit.latent`.
        image: The image as stored.
        coordinates: The coordinates of its grid, from `Prior.place`.
        device: "auto", "cpu", "cuda" or "cuda:N".
    """
    assert prior.intensity is not None
    where = find_device(device)
    network, vector = prior.network(where), latent.to(where)
    values = prior.intensity.apply(image).ravel()
    squares = 0.0
    with torch.no_grad():
        for start in range(0, coordinates.size, _CHUNK):
            flat = np.arange(start, min(start + _CHUNK, coordinates.size))
            _, logits = network(torch.from_numpy(coordinates.at(flat)).to(where), vector)
            found = torch.sigmoid(logits).cpu().numpy()
            squares += float(np.square(found - values[flat], dtype=np.float64).sum())
    return 1 - squares / float(np.square(values - values.mean(), dtype=np.float64).sum())
