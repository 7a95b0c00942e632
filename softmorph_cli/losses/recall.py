"""Skeleton recall (Kirchhoff et al., ECCV 2024): no soft skeleton of the prediction is needed."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor, nn

from softmorph_cli.errors import UsageError
from softmorph_cli.filters.modules import SoftDilation
from softmorph_cli.filters.operations import Skeleton
from softmorph_cli.losses.channels import ChannelLoss, Channels, space
from softmorph_cli.losses.cldice import checked_skeleton


class SkeletonRecallLoss(ChannelLoss):
    """1 - the share of the target's thick skeleton that the prediction covers.

    The exact skeleton of each class of the target, {g > 1/2}, is dilated within that class. (The paper skeletonizes all
    classes as one and shares the result out among them.) The recall knows no false positives: add it to a Dice or
    cross entropy loss. The background's skeleton means little: leave it out with `include_background=False`.

    Args:
        radius: How far the skeleton is dilated: steps of the 4- or 6-connected element, in voxels; the paper's is 2.
        smooth_nr: Added to the numerator.
        smooth_dr: Added to the denominator.
        **channels: See `ChannelLoss`.
    """

    def __init__(
        self, radius: int = 2, *, smooth_nr: float = 1.0, smooth_dr: float = 1.0, **channels: Unpack[Channels]
    ) -> None:
        """Keep the settings.

        Raises:
            UsageError: If an argument is out of range, or arguments exclude each other.
        """
        super().__init__(**channels)
        if radius < 0:
            raise UsageError(f"radius {radius}: at least 0 voxels are needed.")
        # On zeros and ones the soft dilation is the binary one.
        self.dilation = SoftDilation(iterations=radius) if radius else nn.Identity()
        self.smooth_nr, self.smooth_dr = smooth_nr, smooth_dr

    def forward(self, input: Tensor, target: Tensor, target_skeleton: Tensor | None = None) -> Tensor:
        """Return the loss.

        Args:
            input: (B, C, [D,] H, W), probabilities or what sigmoid or softmax make them of.
            target: Of the same shape in [0, 1], or labels, see `ChannelLoss`.
            target_skeleton: What `skeleton(target)` gave, or any other thick skeleton of that shape.

        Raises:
            InputError: If shapes or values do not fit.
        """
        p, g = self.pair(input, target)
        thick = self._thick(g) if target_skeleton is None else checked_skeleton(target_skeleton, g)
        axes = space(p)
        recall = ((thick * p).sum(axes) + self.smooth_nr) / (thick.sum(axes) + self.smooth_dr)
        return self.reduced(1 - recall, p.ndim - 2)

    def skeleton(self, target: Tensor, channels: int | None = None) -> Tensor:
        """Return the target's thick skeleton of 0 and 1, to be kept and given to `forward`.

        Args:
            target: (B, C, [D,] H, W).
            channels: The network's; needed where the target holds labels.

        Returns:
            (B, C, [D,] H, W), without channel 0 where the background is left out.

        Raises:
            InputError: If shape or values do not fit, or channels is missing.
        """
        return self._thick(self.truth(target, channels))

    def _thick(self, g: Tensor) -> Tensor:
        thin = _centrelines(g.detach()).to(g.dtype)
        thick: Tensor = self.dilation(thin) * (g.detach() > 0.5)
        return thick


@torch.compiler.disable  # type: ignore[untyped-decorator]  # until stable: nothing that a compiler could fuse
def _centrelines(batch: Tensor) -> Tensor:
    thin: Tensor = Skeleton(hard=True, spatial_dims=batch.ndim - 2)(batch).image
    return thin
