"""The network of a shape prior: a function of a position and a subject's latent vector.

It is that of Stolt-Anso et al., "NISF: Neural implicit segmentation functions" (MICCAI 2023): fully connected layers
with residual connections and periodic activations, which give the class and the image intensity at any position.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from softmorph_cli.completion.options import ACTIVATIONS
from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.system.parameters import named

# The frequency of the sines (Sitzmann et al. 2020), and frequency and width of the wavelets (the published NISF).
SINE_FREQUENCY: Final = 30.0
WAVELET: Final = 10.0


@dataclass(frozen=True)
class Architecture:
    """The numbers that define a network.

    Attributes:
        dims: The number of coordinates of a position: 2 or 3.
        classes: The number of classes, with the background.
        width: The number of values of a layer, and of the latent vector.
        layers: The number of layers before those of the results.
        activation: "sine" (SIREN), "wire" (real Gabor wavelets) or "relu".
        intensity: Whether the network gives an image intensity too.
    """

    dims: int
    classes: int
    width: int = 64
    layers: int = 5
    activation: str = "sine"
    intensity: bool = True

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            UsageError: If a number is too small, or the activation is unknown.
        """
        if self.activation not in ACTIVATIONS:
            raise UsageError(f"unknown activation {self.activation!r}: use {', '.join(ACTIVATIONS)}.")
        if self.dims not in (2, 3) or self.classes < 2 or self.width < 1 or self.layers < 1:
            raise UsageError(
                f"a network has 2 or 3 coordinates, at least 2 classes, a width and layers of at least 1, not {self}."
            )


class ImplicitFunction(nn.Module):
    """A function from positions and a latent vector to class logits and the logit of the image intensity.

    The first layer takes position and latent vector together; the latent vector is added to its result, and each
    further layer adds to the one before.

    >>> function = ImplicitFunction(Architecture(dims=3, classes=4), torch.Generator().manual_seed(0))
    >>> classes, intensity = function(torch.rand(7, 3), torch.zeros(64))
    >>> tuple(classes.shape), tuple(intensity.shape)
    ((7, 4), (7,))
    """

    def __init__(self, architecture: Architecture, generator: torch.Generator | None = None) -> None:
        """Make a network whose weights are drawn with `generator`: SIREN's distribution, or for "relu" He's."""
        super().__init__()
        self.architecture = architecture
        width, dims = architecture.width, architecture.dims
        # Layers draw weights when they are made, from the random numbers of the whole process.
        with torch.random.fork_rng(devices=[]):
            self.first = nn.Linear(dims + width, width)
            self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(architecture.layers - 1))
            self.classes = nn.Linear(width, architecture.classes)
            self.intensity = nn.Linear(width, 1) if architecture.intensity else None
        self._draw(generator)

    def _draw(self, generator: torch.Generator | None) -> None:
        relu = self.architecture.activation == "relu"
        frequency = SINE_FREQUENCY if self.architecture.activation == "sine" else WAVELET
        with torch.no_grad():
            for layer in self.modules():
                if isinstance(layer, nn.Linear):
                    fan_in = layer.in_features
                    bound = math.sqrt(6 / fan_in) / (1 if relu else frequency)
                    if layer is self.first and not relu:
                        bound = 1 / fan_in
                    layer.weight.uniform_(-bound, bound, generator=generator)
                    layer.bias.uniform_(-1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), generator=generator)

    def forward(self, positions: Tensor, latents: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return class logits and intensity logits.

        Args:
            positions: Coordinates in the box, of shape (..., N, dims).
            latents: A latent vector for each set of positions, of shape (..., width).

        Returns:
            The logits of the classes, the background first, of shape (..., N, classes); the logits of the intensity,
            of shape (..., N), or None if the network gives no intensity.
        """
        dims = self.architecture.dims
        of_latents = nn.functional.linear(latents, self.first.weight[:, dims:], self.first.bias)
        values = positions @ self.first.weight[:, :dims].T + of_latents.unsqueeze(-2)
        values = self._activate(values) + latents.unsqueeze(-2)
        for layer in self.hidden:
            values = values + self._activate(layer(values))
        intensity = None if self.intensity is None else self.intensity(values).squeeze(-1)
        return self.classes(values), intensity

    def _activate(self, values: Tensor) -> Tensor:
        if self.architecture.activation == "sine":
            return torch.sin(SINE_FREQUENCY * values)
        if self.architecture.activation == "relu":
            return torch.relu(values)
        scaled = WAVELET * values
        return torch.cos(scaled) * torch.exp(-scaled.square())


def find_device(name: str) -> torch.device:
    """Return a device of torch.

    Args:
        name: "auto", "cpu", "cuda" or "cuda:N"; "auto" is CUDA if there is one.

    Raises:
        UsageError: If the name is none of these.
        InputError: If this machine does not have the device.
    """
    kind, _, number = name.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and not (kind == "cuda" and number.isdigit())):
        raise UsageError(f"unknown device {name!r}: use auto, cpu, cuda or cuda:N.")
    count = torch.cuda.device_count() if kind != "cpu" else 0
    if kind == "cuda" and int(number or 0) >= count:
        raise InputError(
            f"device {name!r} is not there: torch sees {count} CUDA devices; use {named('device', 'cpu')}."
        )
    return torch.device("cpu" if kind == "cpu" or count == 0 else f"cuda:{number or 0}")
