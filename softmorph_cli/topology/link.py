"""How probabilities follow from logits, for channels by themselves and for classes that exclude each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
# Voxels as an index of the spatial axes.
Voxels = tuple[npt.NDArray[np.int64], ...]


class LinkFunction(Protocol):
    """What a repair has to know of channels; arrays have the channels first, then the spatial axes."""

    def logits(self, p: Array) -> Array:
        """Return the logits of probabilities strictly between 0 and 1."""

    def probabilities(self, z: Array) -> Array:
        """Return the probabilities."""

    def union(self, p: Array, members: Sequence[int]) -> Array:
        """Return the probability of any of some channels."""

    def height(self, z: Array, members: Sequence[int]) -> Array:
        """Return the logit of that probability."""

    def shares(self, z: Array, members: Sequence[int], at: Voxels) -> Array:
        """Return how the channels' logits change where the union's rises by 1, shape (C, N)."""

    def back(self, p: Array, slope: Array) -> Array:
        """Return the gradient with respect to the logits of what has this one with respect to p."""


class SigmoidLink:
    """Each channel by itself, p = sigmoid(z); the union of some has the largest of their probabilities."""

    def logits(self, p: Array) -> Array:
        """Return log p / (1 - p)."""
        z: Array = np.log(p) - np.log1p(-p)
        return z

    def probabilities(self, z: Array) -> Array:
        """Return the sigmoid."""
        from scipy.special import expit

        p: Array = expit(z)
        return p

    def union(self, p: Array, members: Sequence[int]) -> Array:
        """Return the largest."""
        largest: Array = p[members[0]] if len(members) == 1 else p[list(members)].max(axis=0)
        return largest

    def height(self, z: Array, members: Sequence[int]) -> Array:
        """Return the largest."""
        return self.union(z, members)

    def shares(self, z: Array, members: Sequence[int], at: Voxels) -> Array:
        """Return 1 for the member that is the largest."""
        values = np.stack([z[member][at] for member in members])
        shares = np.zeros((len(z), values.shape[1]), z.dtype)
        shares[np.array(members)[values.argmax(axis=0)], np.arange(values.shape[1])] = 1
        return shares

    def back(self, p: Array, slope: Array) -> Array:
        """Return slope p (1 - p)."""
        result: Array = slope * p * (1 - p)
        return result


class SoftmaxLink:
    """One class at each voxel, p = softmax(z); the union of some has the sum of their probabilities."""

    def logits(self, p: Array) -> Array:
        """Return log p."""
        z: Array = np.log(p)
        return z

    def probabilities(self, z: Array) -> Array:
        """Return the softmax."""
        from scipy.special import softmax

        p: Array = softmax(z, axis=0)
        return p

    def union(self, p: Array, members: Sequence[int]) -> Array:
        """Return the sum."""
        total: Array = p[list(members)].sum(axis=0)
        return total

    def height(self, z: Array, members: Sequence[int]) -> Array:
        """Return the logit of the sum: how far the members are above the others."""
        from scipy.special import logsumexp

        others = [c for c in range(len(z)) if c not in members]
        height: Array = logsumexp(z[list(members)], axis=0) - logsumexp(z[others], axis=0)
        return height

    def shares(self, z: Array, members: Sequence[int], at: Voxels) -> Array:
        """Return the smallest change: along the height's gradient."""
        here = np.stack([plane[at] for plane in z])
        gradient = self.probabilities(here)
        member = np.isin(np.arange(len(z)), members)
        for group, sign in ((member, 1), (~member, -1)):
            gradient[group] *= sign / np.maximum(gradient[group].sum(axis=0), np.finfo(here.dtype).tiny)
        shares: Array = gradient / np.square(gradient).sum(axis=0)
        return shares

    def back(self, p: Array, slope: Array) -> Array:
        """Return p (slope - sum of slope p)."""
        result: Array = p * (slope - (slope * p).sum(axis=0))
        return result
