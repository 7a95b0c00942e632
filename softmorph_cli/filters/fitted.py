"""Completion of a map by a shape prior, which is fitted to the slices that are observed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from softmorph_cli.completion.between import Scale
from softmorph_cli.errors import InputError
from softmorph_cli.filters import resample
from softmorph_cli.system.parameters import named

if TYPE_CHECKING:
    from torch import Tensor

    from softmorph_cli.completion.box import Coordinates
    from softmorph_cli.completion.fitting import Fit
    from softmorph_cli.completion.prior import Prior
    from softmorph_cli.completion.validation import LeftOut
    from softmorph_cli.volume import Volume

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FittedPrior:
    """A prior fitted to a map.

    Attributes:
        prior: The prior.
        coordinates: The coordinates of the map's voxels in the prior's box.
        fit: The fitted latent vector, with its agreement on the observed slices.
        left_out: The Dice of masks on observed slices that were left out of a fit, one at a time, beside that of logit
            interpolation; None if no slice can be left out.
        channels: The channel of the map that holds each class of the prior, -1 for a background that it lacks.
        filled: The map without missing slices, of shape (C, ...).
        predicted: The probabilities of the prior at all voxels, of the same shape.
    """

    prior: Prior
    coordinates: Coordinates
    fit: Fit
    left_out: LeftOut | None
    channels: list[int]
    filled: Array
    predicted: Array

    @classmethod
    def of(cls, prior: Prior, volume: Volume, observed: Mask, axis: int, device: str = "auto") -> FittedPrior:
        """Fit a prior to the observed slices of a map, and fill the others.

        Args:
            prior: The prior.
            volume: The map, with axes (C, ...) and C = 1 for a single image.
            observed: For each slice along the axis whether it is observed.
            axis: The axis of the slices, counted from the first spatial axis.
            device: "auto", "cpu", "cuda" or "cuda:N".

        Raises:
            InputError: If the map does not fit the prior, or its observed slices are empty.
        """
        from softmorph_cli.completion import fitting, validation
        from softmorph_cli.completion.box import VOXELS, Grid

        voxels = prior.box.unit == VOXELS
        if volume.spacing is None and volume.affine is None and not voxels:
            if volume.source is None:
                raise InputError(
                    "the map does not say how large its voxels are, and the prior counts in lengths: pass a Volume "
                    "with spacing=, such as Volume(array, 'ZYX', spacing=(3, 1, 1), unit='mm')."
                )
            raise InputError(
                "the file does not say how large its voxels are, and the prior counts in lengths: write their "
                "size into the file."
            )
        maps, number = volume.array, np.arange(len(observed))
        along = [1] * volume.spatial_dims
        along[axis] = -1
        seen = observed.reshape(along)
        # What stands in the missing slices counts for nothing: one that is observed takes their place.
        complete = np.take(maps, np.where(observed, number, number[observed][0]), axis + 1)
        given, channels = prior.exclusive(complete, volume.channels)
        _, place = prior.place(Grid.of(volume, voxels=voxels))
        fit = fitting.fit_probabilities(prior, given, seen, place, device=device)
        left_out = validation.leave_one_out(prior, given, observed, axis, place, device=device)
        predicted = cls._in_channels(fitting.predict(prior, fit.latent, place, device), channels, maps)
        return cls(prior, place, fit, left_out, channels, np.where(seen, maps, predicted), predicted)

    @staticmethod
    def _in_channels(classes: Array, channels: list[int], like: Array) -> Array:
        """Return probabilities of the prior's classes in the order and type of the channels of a map."""
        found = np.zeros((len(like), *classes.shape[1:]), like.dtype)
        for number, channel in enumerate(channels):
            if channel >= 0:
                found[channel] = np.clip(classes[number], 0, 1)
        return found

    def on_grid(self, old: tuple[int, ...], grid: Volume, matrix: Matrix) -> Array:
        """Return the map on another grid, of shape (C, ...): the prior there, corrected as at the observed slices.

        The correction is the difference between the map and the prior, in logits; it is interpolated linearly, and is 0
        at missing slices. So the result goes over into the observed slices without a step.

        Args:
            old: The spatial shape of the map, with three axes.
            grid: A map on the other grid.
            matrix: The 4 x 4 matrix from its indices to those of the map, as of `interpolation`.
        """
        new = grid.spatial_dims
        shape = grid.array.shape[-new:]
        predicted = self._at(self.fit.latent, grid, matrix)
        scale = Scale.of(self.filled, "logit", 0, exclusive=len(self.filled) > 1)
        away = scale.encode(self.filled) - scale.encode(self.predicted)
        three = (1,) * (3 - new) + shape
        moved = resample.at_places(away.reshape(-1, *old), matrix[:3, :3], matrix[:3, 3], three)
        scores = scale.encode(predicted) + moved.reshape(-1, *shape)
        return scale.decode(np.clip(scores, 0, 1))

    def mean_on_grid(self, grid: Volume, matrix: Matrix) -> Array:
        """Return what the prior knows without the map, that of its mean latent vector, on a grid as `on_grid` does."""
        return self._at(self.prior.mean, grid, matrix)

    def _at(self, latent: Tensor, grid: Volume, matrix: Matrix) -> Array:
        """Return the probabilities of the prior for a latent vector on another grid, in the channels of the map."""
        from softmorph_cli.completion import fitting

        dims, new = self.filled.ndim - 1, grid.spatial_dims
        steps = matrix[3 - dims : 3, 3 - new : 3].T @ self.coordinates.matrix
        offset = matrix[3 - dims : 3, 3] @ self.coordinates.matrix + self.coordinates.offset
        place = replace(self.coordinates, shape=grid.array.shape[-new:], matrix=steps, offset=offset)
        predicted = fitting.predict(self.prior, latent, place, self.fit.device)
        return self._in_channels(predicted, self.channels, self.filled)

    @property
    def agreement(self) -> float:
        """The agreement with the observed slices: the mean over classes of 2 sum min(p, q) / sum (p + q)."""
        return self.fit.agreement or 0.0

    @property
    def document(self) -> dict[str, Any]:
        """The entry of the fit in the JSON document."""
        left_out = self.left_out
        return {
            "agreement": self.agreement,
            "left_out": None
            if left_out is None
            else {"slices": list(left_out.slices), "prior": left_out.prior, "logit": left_out.logit},
            "network": self.prior.network_hash(),
            "seconds": self.fit.seconds,
        }


def told(fits: list[FittedPrior], least: float) -> tuple[list[str], list[str], str | None]:
    """Return notes and warnings on the fits of a map, and what falls short of the least agreement, or None."""
    measured = figures(fits)
    worst = measured["prior_agreement"]
    notes = [f"the agreement of the prior with the observed slices is {worst:.3f}."]
    warnings = []
    if "left_out_prior" in measured:
        prior, logit = measured["left_out_prior"], measured["left_out_logit"]
        text = (
            f"on observed slices, left out one at a time, the masks of the prior have a Dice of {prior:.3f} and those "
            f"of interpolated logits {logit:.3f}"
        )
        if prior < logit:
            warnings.append(f"{text}: {named('method', 'logit')} in place of the prior may do better here.")
        else:
            notes.append(f"{text}.")
    if worst >= least:
        return notes, warnings, None
    short = (
        f"the agreement of the prior with the observed slices is {worst:.3f} only, less than {named('min_fit')} "
        f"{least:g}: the map is completed, but its object may be no such shape as the prior has learned."
    )
    return notes[1:], warnings, short


def figures(fits: Sequence[FittedPrior]) -> dict[str, float]:
    """Return the figures of the fits of a map in a table, by the name of the column.

    Returns:
        The agreement of the poorest fit with the observed slices, and the means of the measures of prior and logit
        interpolation on slices that were left out; without what was not measured.
    """
    if not fits:
        return {}
    found = {"prior_agreement": min(one.agreement for one in fits)}
    judged = [one.left_out for one in fits if one.left_out is not None]
    if judged:
        found |= {
            f"left_out_{name}": float(np.mean([getattr(one, name) for one in judged]))
            for name in ("prior", "logit")
        }
    return found
