"""Measures of the segmentation of images that a shape prior was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from softmorph_cli.completion.fitting import explained, fit_intensities, predict
from softmorph_cli.completion.prior import Prior
from softmorph_cli.completion.training import Subject
from softmorph_cli.completion.validation import dice_of


def segmented(
    prior: Prior, subjects: Sequence[Subject], seed: int = 0, device: str = "auto"
) -> dict[str, Any]:
    """Return how well a prior segments images of subjects that it was not trained on, from their intensities alone.

    Args:
        prior: A prior that was trained with images.
        subjects: Subjects with images.
        seed: The seed of the fits.
        device: "auto", "cpu", "cuda" or "cuda:N".

    Returns:
        The number of `subjects`; as mean, low and high (the least and the largest) the share of the variance that is
        `explained`, and the `dice` of each class and of "all" as one; a class that no subject has is left out.
    """
    shares: list[float] = []
    dice: dict[str, list[float]] = {}
    for one in subjects:
        assert one.image is not None
        _, place = prior.place(one.grid, one.name)
        fit = fit_intensities(prior, one.image, place, None, seed, device)
        shares.append(explained(prior, fit.latent, one.image, place, device))
        labels = predict(prior, fit.latent, place, device).argmax(0)
        for name, value in dice_of(labels, one.probabilities.argmax(0), prior.classes).items():
            if value is not None:
                dice.setdefault(name, []).append(value)
    return {
        "subjects": len(shares),
        "explained": _range(shares),
        "dice": {name: _range(values) for name, values in dice.items()},
    }


def _range(values: Sequence[float]) -> dict[str, float]:
    return {"mean": float(np.mean(values)), "low": min(values), "high": max(values)}
