"""A learned shape prior: the network, the latent vectors of the training subjects, and what is needed to use them."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from softmorph_cli import __version__
from softmorph_cli.classes import SUM, background
from softmorph_cli.completion.box import Box, Coordinates, Frame, Grid
from softmorph_cli.completion.network import Architecture, ImplicitFunction
from softmorph_cli.errors import InputError, SoftmorphWarning

# The least sum of probabilities that can be divided by it; a voxel with less lies outside of a mask.
_LEAST: Final = 1e-6

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class IntensityRule:
    """How intensities of an image become numbers from 0 to 1: percentiles of the image become 0 and 1, the rest is cut.

    Attributes:
        low: The percentile of the image that becomes 0.
        high: The percentile that becomes 1.
    """

    low: float = 1.0
    high: float = 99.0

    def apply(self, image: npt.NDArray[Any]) -> Array:
        """Return the normalised image.

        Raises:
            InputError: If the image is constant, or holds values that are not finite.

        >>> IntensityRule(0, 100).apply(np.array([[10, 20], [30, 50]])).tolist()
        [[0.0, 0.25], [0.5, 1.0]]
        """
        if not np.isfinite(image).all():
            raise InputError("the image holds values that are not finite: replace them.")
        low, high = np.percentile(image, (self.low, self.high))
        if not high > low:
            raise InputError(
                f"the image is constant ({low:g}) apart from its extremes and shows no object: give another image."
            )
        scaled: Array = np.clip((image - low) / (high - low), 0, 1).astype(np.float32)
        return scaled


@dataclass(frozen=True)
class FitSettings:
    """The settings of the fit of a latent vector, by Adam with a rate that falls to 0 as a cosine.

    Attributes:
        steps: The number of steps.
        points: The number of voxels that each step draws at random.
        rate: The learning rate at the start.
    """

    steps: int
    points: int
    rate: float


@dataclass(frozen=True)
class Row:
    """A row of the table of validation: the mean Dice of a method on the hidden slices of subjects not trained on.

    Attributes:
        gap: Which slices were hidden, as `slices.gap` takes it: "every:2".
        method: "prior", "logit" or "linear".
        label: The class, or "all" for all foreground classes as one.
        dice: The mean over the subjects; None if no subject has the class there.
        low: The lower end of the 95 % confidence interval of the mean; None for fewer than two subjects.
        high: Its upper end.
        subjects: The number of subjects.
    """

    gap: str
    method: str
    label: str
    dice: float | None
    low: float | None
    high: float | None
    subjects: int


@dataclass(frozen=True, eq=False)
class Prior:
    """A learned shape prior; instances are immutable.

    Attributes:
        architecture: The numbers that define the network.
        weights: The tensors of the network, by name, float32 on the CPU.
        latents: The latent vectors of the training subjects, of shape (subjects, width).
        classes: The names of the foreground classes, in the order of the channels after the background.
        axes: The spatial axes of its maps, "YX" or "ZYX".
        directions: A unit vector in the world for each of these axes; None where maps state no directions.
        box: The space of the prior.
        intensity: How images are normalised; None if the prior was trained without images.
        completion: Settings of the fit to the slices of a map that exist.
        segmentation: Settings of the fit to an image.
        subjects: The names of the training subjects.
        training: The settings of the training, by name.
        validation: The table of validation; empty if no subjects were held out.
        seed: The seed of all random numbers.
        version: The version of softmorph that trained it.
    """

    architecture: Architecture
    weights: Mapping[str, Tensor]
    latents: Tensor
    classes: tuple[str, ...]
    axes: str
    directions: tuple[tuple[float, ...], ...] | None
    box: Box
    intensity: IntensityRule | None
    completion: FitSettings = FitSettings(steps=100, points=1024, rate=3e-2)
    segmentation: FitSettings = FitSettings(steps=75, points=2048, rate=2e-2)
    subjects: tuple[str, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    validation: tuple[Row, ...] = ()
    seed: int = 0
    version: str = __version__

    def __repr__(self) -> str:
        """Return a summary: the tensors would fill pages."""
        return (
            f"<Prior of {', '.join(self.classes)}: {self.axes}, {self.architecture.width} x "
            f"{self.architecture.layers}, {len(self.latents)} subjects, seed {self.seed}, softmorph {self.version}>"
        )

    @cached_property
    def mean(self) -> Tensor:
        """The mean of the latent vectors, of shape (width,): where each fit starts."""
        return torch.mean(self.latents, 0)

    @cached_property
    def covariance(self) -> Tensor:
        """The covariance of the latent vectors, of shape (width, width)."""
        return torch.cov(self.latents.T).reshape(2 * self.latents.shape[1:])

    def network(self, device: torch.device | str = "cpu") -> ImplicitFunction:
        """Return the network, frozen: on the CPU its tensors are those of the prior and not copies."""
        with torch.device("meta"):
            network = ImplicitFunction(self.architecture)
        network.load_state_dict(dict(self.weights), assign=True)
        return network.requires_grad_(False).eval().to(device)

    def network_hash(self) -> str:
        """Return the SHA-256 of names, shapes and values of the network's tensors, in hexadecimal digits."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.weights.items()):
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(np.ascontiguousarray(tensor.numpy(), "<f4").tobytes())
        return digest.hexdigest()

    def place(self, grid: Grid, name: str = "the map") -> tuple[Frame, Coordinates]:
        """Return the frame of a subject, and the coordinates of the voxels of its grid.

        A `SoftmorphWarning` says so where only one of the two states the unit of its lengths.

        Args:
            grid: The grid of the subject's map.
            name: What messages call the map.

        Raises:
            InputError: If the grid does not fit into the box.
        """
        frame = Frame.of(grid, self.directions)
        self.box.check(grid, frame, name)
        if (grid.unit is None) != (self.box.unit is None):
            unitless, other = (name, "the prior") if grid.unit is None else ("the prior", name)
            unit = grid.unit or self.box.unit
            warnings.warn(
                f"{unitless} states no unit of lengths: they are taken as {unit}, as those of {other}.",
                SoftmorphWarning,
                stacklevel=2,
            )
        return frame, self.box.coordinates(grid, frame)

    def exclusive(
        self, channels: npt.NDArray[Any], names: Sequence[str] | None, name: str = "the map"
    ) -> tuple[Array, list[int]]:
        """Return the probabilities of the prior's classes, and the channel of the map that holds each.

        Args:
            channels: Probabilities, of shape (channels, *grid).
            names: The name of each channel; None if the file states none: the order is then that of the prior.
            name: What messages call the map.

        Returns:
            Probabilities of shape (classes, *grid) with the background first, and for each class the channel of the
            map; -1 if the background is computed as 1 minus the sum.

        Raises:
            InputError: If the map holds classes that the prior lacks, or lacks some of its classes.
        """
        found, held, order = background_first(channels, names, name, self.classes)
        if names is None and len(held) != len(self.classes):
            count = "1 class" if len(held) == 1 else f"{len(held)} classes"
            raise InputError(
                f"{name} holds {count} without names, and the prior has {len(self.classes)} "
                f"({', '.join(self.classes)}): give a map with a channel for each, in this order."
            )
        if names is None:
            return found, order
        alien = [one for one in held if one not in self.classes]
        lacking = [one for one in self.classes if one not in held]
        if alien or lacking:
            what = f"lacks {', '.join(alien)}" if alien else f"also has {', '.join(lacking)}"
            raise InputError(
                f"{name} holds {', '.join(held)}, and the prior {what}: use a prior of the same classes."
            )
        picked = [0, *(1 + held.index(one) for one in self.classes)]
        return found[picked], [order[k] for k in picked]


def background_first(
    channels: npt.NDArray[Any],
    names: Sequence[str] | None,
    name: str = "the map",
    foreground: Sequence[str] = (),
) -> tuple[Array, tuple[str, ...], list[int]]:
    """Return probabilities of classes that exclude each other, with the background first.

    Which channel is the background is said in `softmorph_cli.classes`. If none is, the background is 1 minus the sum of
    the channels; it is 1 where all channels, a background among them, are 0.

    Args:
        channels: Probabilities, of shape (channels, *grid).
        names: The name of each channel, or None.
        name: What messages call the map.
        foreground: Names of classes that are no background. A map with these names alone has no background.

    Returns:
        Probabilities of shape (classes, *grid), whose sum is 1; the names of the foreground classes ("class 1", ... if
        there are none); the channel of each class, -1 if the background is computed as 1 minus the sum.

    Raises:
        InputError: If the sum of the channels exceeds 1, so that they do not exclude each other.

    >>> background_first(np.array([[[0.25, 1.0]]]), ["vessel"])[0].tolist()
    [[[0.75, 0.0]], [[0.25, 1.0]]]
    """
    total = channels.sum(axis=0, dtype=np.float64)
    if float(total.max()) > 1 + SUM:
        raise InputError(
            f"the channels of {name} sum to {float(total.max()):.3g} in a voxel, and the classes of a prior exclude "
            "each other: give a label map, or probabilities whose sum is at most 1."
        )
    all_known = names is not None and set(names) <= set(foreground)
    at = None if all_known else background(channels, names)
    front = [k for k in range(len(channels)) if k != at]
    if not front:
        raise InputError(f"{name} holds nothing but a background: give a map with a channel for each class.")
    first = np.clip(1 - total, 0, 1) if at is None else channels[at]
    found = np.stack([first, *(channels[k] for k in front)]).astype(np.float32)
    found[0][found.sum(axis=0) < _LEAST] = 1
    found /= found.sum(axis=0)
    held = tuple(names[k] if names is not None else f"class {at}" for at, k in enumerate(front, 1))
    return found, held, [-1 if at is None else at, *front]
