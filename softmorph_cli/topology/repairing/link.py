"""Link functions, which convert the logits of channels to probabilities and back.

Arrays have the channel axis first, then the spatial axes. The argument `members` lists the indices of the channels
whose union is considered.
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
    """The link function of independent channels, p = sigmoid(z); the probability of a union is the maximum."""

    def logits(self, p: Array) -> Array:
        """Return the logits z of probabilities p, which lie strictly between 0 and 1."""
        z: Array = np.log(p) - np.log1p(-p)
        return z

    def probabilities(self, z: Array) -> Array:
        """Return the probabilities p of logits z."""
        from scipy.special import expit

        p: Array = expit(z)
        return p

    def union(self, p: Array, members: Sequence[int]) -> Array:
        """Return the probability of the union of the channels `members`."""
        largest: Array = p[members[0]] if len(members) == 1 else p[list(members)].max(axis=0)
        return largest

    def union_logit(self, z: Array, members: Sequence[int]) -> Array:
        """Return the logit of the probability of the union of the channels `members`."""
        return self.union(z, members)

    def shares(self, z: Array, members: Sequence[int], at: Voxels) -> Array:
        """Return the changes of the logits, shape (C, N), that raise the logit of the union by 1 at N voxels."""
        values = np.stack([z[member][at] for member in members])
        shares = np.zeros((len(z), values.shape[1]), z.dtype)
        shares[np.array(members)[values.argmax(axis=0)], np.arange(values.shape[1])] = 1
        return shares

    def logit_gradient(self, p: Array, gradient: Array) -> Array:
        """Return the gradient with respect to the logits, given the gradient with respect to the probabilities p."""
        result: Array = gradient * p * (1 - p)
        return result


class SoftmaxLink:
    """The link function of mutually exclusive classes, p = softmax(z); the probability of a union is a sum.

    The methods have the same meaning as those of `SigmoidLink`.
    """

    def logits(self, p: Array) -> Array:
        """Return logits of probabilities p above 0: log p."""
        z: Array = np.log(p)
        return z

    def probabilities(self, z: Array) -> Array:
        """Return the probabilities of logits z: their softmax over the channels."""
        from scipy.special import softmax

        p: Array = softmax(z, axis=0)
        return p

    def union(self, p: Array, members: Sequence[int]) -> Array:
        """Return the probability of the union of the classes `members`: the sum of their probabilities."""
        total: Array = p[list(members)].sum(axis=0)
        return total

    def union_logit(self, z: Array, members: Sequence[int]) -> Array:
        """Return the logit of the probability of the union: log p(members) - log p(all other classes)."""
        from scipy.special import logsumexp

        others = [c for c in range(len(z)) if c not in members]
        logit: Array = logsumexp(z[list(members)], axis=0) - logsumexp(z[others], axis=0)
        return logit

    def shares(self, z: Array, members: Sequence[int], at: Voxels) -> Array:
        """Return the smallest change of the logits, shape (C, N), that raises the logit of the union by 1 at N voxels.

        The change is along the gradient of the union's logit.
        """
        here = np.stack([plane[at] for plane in z])
        gradient = self.probabilities(here)
        member = np.isin(np.arange(len(z)), members)
        for group, sign in ((member, 1), (~member, -1)):
            gradient[group] *= sign / np.maximum(gradient[group].sum(axis=0), np.finfo(here.dtype).tiny)
        shares: Array = gradient / np.square(gradient).sum(axis=0)
        return shares

    def logit_gradient(self, p: Array, gradient: Array) -> Array:
        """Return the gradient with respect to the logits, p (g - sum of g p), given the gradient g for p."""
        result: Array = p * (gradient - (gradient * p).sum(axis=0))
        return result


LinkFunction = SigmoidLink | SoftmaxLink
