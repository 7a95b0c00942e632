"""Link functions: how the probabilities of channels follow from logits.

Arrays have the channels first, then the spatial axes. `members` are the channels of a union.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
# Voxels as an index of the spatial axes.
Voxels = tuple[npt.NDArray[np.int64], ...]


class SigmoidLink:
    """Independent channels, p = sigmoid(z); the probability of a union is the largest of its members'."""

    def logits(self, p: Array) -> Array:
        """Return the logits of probabilities strictly between 0 and 1."""
        z: Array = np.log(p) - np.log1p(-p)
        return z

    def probabilities(self, z: Array) -> Array:
        """Return the probabilities of logits."""
        from scipy.special import expit

        p: Array = expit(z)
        return p

    def union(self, p: Array, members: Sequence[int]) -> Array:
        """Return the probability of a union."""
        largest: Array = p[members[0]] if len(members) == 1 else p[list(members)].max(axis=0)
        return largest

    def union_logit(self, z: Array, members: Sequence[int]) -> Array:
        """Return the logit of the probability of a union."""
        return self.union(z, members)

    def shares(self, z: Array, members: Sequence[int], at: Voxels) -> Array:
        """Return the change of each channel's logit that raises the union's logit by 1, shape (C, N)."""
        values = np.stack([z[member][at] for member in members])
        shares = np.zeros((len(z), values.shape[1]), z.dtype)
        shares[np.array(members)[values.argmax(axis=0)], np.arange(values.shape[1])] = 1
        return shares

    def logit_gradient(self, p: Array, gradient: Array) -> Array:
        """Return the gradient with respect to the logits, given that with respect to the probabilities."""
        result: Array = gradient * p * (1 - p)
        return result


class SoftmaxLink:
    """Mutually exclusive classes, p = softmax(z); the probability of a union is the sum of its members'.

    Its methods are those of `SigmoidLink`.
    """

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

    def union_logit(self, z: Array, members: Sequence[int]) -> Array:
        """Return the logit of the sum: log of the members' probability less log of the others'."""
        from scipy.special import logsumexp

        others = [c for c in range(len(z)) if c not in members]
        logit: Array = logsumexp(z[list(members)], axis=0) - logsumexp(z[others], axis=0)
        return logit

    def shares(self, z: Array, members: Sequence[int], at: Voxels) -> Array:
        """Return the smallest such change, which is along the gradient of the union's logit."""
        here = np.stack([plane[at] for plane in z])
        gradient = self.probabilities(here)
        member = np.isin(np.arange(len(z)), members)
        for group, sign in ((member, 1), (~member, -1)):
            gradient[group] *= sign / np.maximum(gradient[group].sum(axis=0), np.finfo(here.dtype).tiny)
        shares: Array = gradient / np.square(gradient).sum(axis=0)
        return shares

    def logit_gradient(self, p: Array, gradient: Array) -> Array:
        """Return p (g - sum of g p)."""
        result: Array = p * (gradient - (gradient * p).sum(axis=0))
        return result


LinkFunction = SigmoidLink | SoftmaxLink
