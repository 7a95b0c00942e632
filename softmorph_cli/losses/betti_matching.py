"""The Betti matching loss (Stucki et al., ICML 2023) of each class of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor

from softmorph_cli.losses.channels import ChannelLoss, Channels
from softmorph_cli.topology.matching_loss import betti_matching_losses


class BettiMatchingLoss(ChannelLoss):
    """The Betti matching loss: the distance between the persistence bars of input and target that are the same.

    Unlike `TopologicalLoss`, which compares numbers, it compares places: a component of the input is matched with the
    component of the target to which it is connected in the maximum of both, and loops and cavities likewise. Matched
    bars are drawn to the births and deaths of the target's, all others are shortened
    (`topology.matching_loss.betti_matching_losses` has the formula). The gradient is nonzero only where bars are born
    or die, so add the loss, with a small weight, to another one. Bars are computed on the CPU, in threads.

    Args:
        connectivity: Connectivity of the foreground: 8 (default) or 4 in 2D, 26 (default) or 6 in 3D.
        dimensions: The dimensions that count: 0 components, 1 loops, 2 cavities in 3D; None for all.
        **channels: Arguments of `ChannelLoss`: activation, background, labels and reduction.

    >>> import torch
    >>> logits = torch.randn(2, 3, 16, 16, requires_grad=True)
    >>> labels = torch.randint(3, (2, 1, 16, 16))
    >>> loss = BettiMatchingLoss(softmax=True, to_onehot_y=True, include_background=False)
    >>> loss(logits, labels).backward()
    """

    def __init__(
        self,
        connectivity: int | None = None,
        *,
        dimensions: Sequence[int] | None = None,
        **channels: Unpack[Channels],
    ) -> None:
        """Make the loss; `forward` checks whether connectivity and dimensions fit the input.

        Raises:
            UsageError: If arguments exclude each other, or the reduction is unknown.
        """
        super().__init__(**channels)
        self.connectivity = connectivity
        self.dimensions = None if dimensions is None else tuple(dimensions)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch.

        Args:
            input: Output of the network (B, C, [D,] H, W): probabilities, or logits with `sigmoid` or `softmax`.
            target: Target of the same shape with values in [0, 1], or labels (B, 1, [D,] H, W) with `to_onehot_y`.

        Raises:
            InputError: If shapes or values do not fit, or the connectivity does not exist.
            UsageError: If there are no bars of the dimensions.
        """
        p, g = self.pair(input, target)
        return self.reduced(self._losses(p, g), p.ndim - 2)

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # kernels on the CPU
    def _losses(self, p: Tensor, g: Tensor) -> Tensor:
        """Return the losses of items and channels, shape (B, C)."""
        maps = [batch.flatten(0, 1) for batch in (p, g)]
        losses = betti_matching_losses(maps[0], maps[1], self.connectivity, self.dimensions)
        return losses.reshape(p.shape[:2])
