"""Priors for tests of what is done with them: untrained, so that they are there at once."""

from __future__ import annotations

import torch

from softmorph_cli.completion.box import Box
from softmorph_cli.completion.network import Architecture, ImplicitFunction
from softmorph_cli.completion.options import METHODS
from softmorph_cli.completion.prior import FitSettings, IntensityRule, Prior, Row


def untrained(seed: int = 0, *, intensity: bool = True, subjects: int = 9) -> Prior:
    """Return a prior of a small network with random tensors, in which no field has its default."""
    generator = torch.Generator().manual_seed(seed)
    architecture = Architecture(3, 3, 6, 2, "relu", intensity)
    network = ImplicitFunction(architecture, generator)
    return Prior(
        architecture=architecture,
        weights={name: one.detach() for name, one in network.state_dict().items()},
        latents=torch.randn(subjects, 6, generator=generator),
        classes=("wall", "größe"),
        axes="ZYX",
        directions=((0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
        box=Box((16.25, 0.1 + 0.2, 32.0), "mm"),
        intensity=IntensityRule(2.0, 97.5) if intensity else None,
        completion=FitSettings(60, 512, 0.02),
        segmentation=FitSettings(40, 256, 0.01),
        subjects=tuple(f"case {k}" for k in range(subjects)),
        training={"steps": 5, "activation": "relu", "rates": [0.1, 0.2]},
        validation=(
            *(Row("every 2nd", method, "all", 0.9, 0.85, 0.95, 4) for method in METHODS),
            *(Row("end of 4", method, "wall", None, None, None, 0) for method in METHODS),
        ),
        seed=17,
        version="0.0.1",
    )
