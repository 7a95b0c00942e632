"""The topological loss (Clough et al., TPAMI 2020) of each class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import index
from typing import Any, SupportsIndex, Unpack

import torch
from torch import Tensor

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.losses.channels import ChannelLoss, Channels
from softmorph_cli.topology.loss import topological_loss


class TopologicalLoss(ChannelLoss):
    """The topological loss: the distance between the persistence bars of each class and those of a given topology.

    The loss needs no target and does not depend on where a class is: add it, with a small weight, to a loss of a
    target. The gradient is nonzero only where bars are born or die. Bars are computed on the CPU, one map after the
    other.

    Args:
        prior: The Betti numbers b0, b1 and, in 3D, b2; or one such sequence for each compared class.
        connectivity: Connectivity of the foreground: 8 (default) or 4 in 2D, 26 (default) or 6 in 3D.
        **channels: Arguments of `ChannelLoss`: activation, background and reduction; `to_onehot_y` has no effect.
    """

    def __init__(
        self,
        prior: Iterable[SupportsIndex] | Iterable[Iterable[SupportsIndex]],
        connectivity: int | None = None,
        **channels: Unpack[Channels],
    ) -> None:
        """Make the loss; `forward` checks whether the prior fits the input.

        Raises:
            UsageError: If arguments exclude each other, or the prior is no sequence of integers.
        """
        super().__init__(**channels)
        self.priors = _priors(prior)
        self.connectivity = connectivity

    def forward(self, input: Tensor, target: Tensor | None = None) -> Tensor:
        """Return the loss of a batch.

        Args:
            input: Output of the network (B, C, [D,] H, W): probabilities, or logits with `sigmoid` or `softmax`.
            target: Ignored argument, so that the signature is that of the other losses.

        Raises:
            InputError: If shape or values of the input do not fit, or the prior does not fit the input.
        """
        p = self.probabilities(input)
        classes = p.shape[1]
        if len(self.priors) not in (1, classes):
            raise InputError(
                f"{len(self.priors)} priors do not fit {classes} classes: give one for all, or one for each."
            )
        priors = self.priors if len(self.priors) == classes else self.priors * classes
        losses = [
            _loss(one, prior, self.connectivity)
            for item in p
            for one, prior in zip(item, priors, strict=True)
        ]
        return self.reduced(torch.stack(losses).reshape(p.shape[:2]), p.ndim - 2)


def _priors(prior: Any) -> list[list[int]]:
    """Return a prior as lists of Betti numbers, one list for each class, or a single list for all classes."""
    try:
        several = all(isinstance(one, Iterable) for one in prior)
        found = [[index(number) for number in one] for one in (prior if several else [prior])]
    except TypeError:
        found = []
    if not found:
        raise UsageError(
            f"prior {prior!r}: whole numbers b0, b1 and, in 3D, b2 are needed, as in (1, 0), or one such sequence "
            "for each class."
        )
    return found


@torch.compiler.disable  # type: ignore[untyped-decorator]  # gudhi, on the CPU
def _loss(p: Tensor, prior: Sequence[int], connectivity: int | None) -> Tensor:
    return topological_loss(p, prior, connectivity)
