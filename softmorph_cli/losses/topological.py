"""The topological loss (Clough et al., TPAMI 2020) of each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor

from softmorph_cli.errors import InputError
from softmorph_cli.losses.channels import ChannelLoss, Channels
from softmorph_cli.topology.loss import topological_loss


class TopologicalLoss(ChannelLoss):
    """How far the persistence bars of each class are from those of a given topology.

    It needs no target, and says nothing of where the class is: add it, with a small weight, to a loss that does. Each
    bar's gradient reaches the two voxels that bear it. Bars are computed on the CPU, one map after the other.

    Args:
        prior: b0, b1 and, in 3D, b2; or one such sequence for each class that counts.
        connectivity: Of the foreground: 8 (default) or 4 in 2D, 26 (default) or 6 in 3D.
        **channels: See `ChannelLoss`; `to_onehot_y` has nothing to do here.
    """

    def __init__(
        self,
        prior: Sequence[int] | Sequence[Sequence[int]],
        connectivity: int | None = None,
        **channels: Unpack[Channels],
    ) -> None:
        """Keep the settings; whether they fit the maps is seen when there are some.

        Raises:
            UsageError: If arguments exclude each other.
        """
        super().__init__(**channels)
        numbers = [one for one in prior if isinstance(one, int)]
        self.priors = [numbers] if numbers else [list(one) for one in prior if not isinstance(one, int)]
        self.connectivity = connectivity

    def forward(self, input: Tensor, target: Tensor | None = None) -> Tensor:
        """Return the loss.

        Args:
            input: (B, C, [D,] H, W), probabilities or what sigmoid or softmax make them of.
            target: Not looked at; so that this goes where the other losses go.

        Raises:
            InputError: If shape or values do not fit, or the prior does not.
        """
        p = self.probabilities(input)
        classes = p.shape[1]
        if len(self.priors) not in (1, classes):
            raise InputError(
                f"{len(self.priors)} priors do not fit {classes} classes: give one for all, or one for each."
            )
        priors = self.priors if len(self.priors) == classes else self.priors * classes
        losses = [
            torch.stack(
                [_loss(one, prior, self.connectivity) for one, prior in zip(item, priors, strict=True)]
            )
            for item in p
        ]
        return self.reduced(torch.stack(losses), p.ndim - 2)


@torch.compiler.disable  # type: ignore[untyped-decorator]  # gudhi, on the CPU
def _loss(p: Tensor, prior: Sequence[int], connectivity: int | None) -> Tensor:
    return topological_loss(p, prior, connectivity)
