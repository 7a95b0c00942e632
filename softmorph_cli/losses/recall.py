"""Skeleton recall (Kirchhoff et al., ECCV 2024), which needs no soft skeleton of the prediction."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor, nn

from softmorph_cli.errors import UsageError
from softmorph_cli.filters.modules import SoftDilation
from softmorph_cli.filters.operations.skeletonize import Skeleton
from softmorph_cli.losses.channels import Channels, SkeletonLoss, space


class SkeletonRecallLoss(SkeletonLoss):
    """1 - the share of the target's dilated skeleton that the prediction covers.

    The exact skeleton of each class of the target, {g > 1/2}, is dilated within that class. (The paper skeletonizes the
    union of all classes and splits the result among them.) Recall ignores false positives: add it to a Dice or cross
    entropy loss. The background's skeleton is rarely meaningful: leave it out with `include_background=False`.

    Args:
        radius: Iterations of dilation with the 4- or 6-connected element, in voxels; 2 in the paper.
        smooth_nr: Added to the numerator.
        smooth_dr: Added to the denominator.
        **channels: See `ChannelLoss`.
    """

    def __init__(
        self, radius: int = 2, *, smooth_nr: float = 1.0, smooth_dr: float = 1.0, **channels: Unpack[Channels]
    ) -> None:
        """Store the arguments.

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
            input: (B, C, [D,] H, W), probabilities, or logits with `sigmoid` or `softmax`.
            target: Of the same shape in [0, 1], or labels, see `ChannelLoss`.
            target_skeleton: The result of `skeleton(target)`, or another skeleton of that shape; by default it is
                computed.

        Raises:
            InputError: If shapes or values do not fit.
        """
        p, g = self.pair(input, target)
        skeleton = self.skeleton_of_target(g, target_skeleton)
        axes = space(p)
        recall = ((skeleton * p).sum(axes) + self.smooth_nr) / (skeleton.sum(axes) + self.smooth_dr)
        return self.reduced(1 - recall, p.ndim - 2)

    def skeletonized(self, batch: Tensor) -> Tensor:
        """Return the dilated skeletons, of 0 and 1, of (B, C, [D,] H, W)."""
        thin = _centrelines(batch.detach()).to(batch.dtype)
        dilated: Tensor = self.dilation(thin) * (batch.detach() > 0.5)
        return dilated


@torch.compiler.disable  # type: ignore[untyped-decorator]  # thinning until nothing changes: nothing to fuse
def _centrelines(batch: Tensor) -> Tensor:
    thin: Tensor = Skeleton(hard=True, spatial_dims=batch.ndim - 2)(batch).image
    return thin
