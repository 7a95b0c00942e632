"""Skeleton recall loss (Kirchhoff et al., ECCV 2024), which needs no soft skeleton of the prediction."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor, nn

from softmorph_cli.errors import UsageError
from softmorph_cli.filters.modules import SoftDilation
from softmorph_cli.filters.operations.skeletonize import Skeleton
from softmorph_cli.losses.channels import Channels, SkeletonLoss, space


class SkeletonRecallLoss(SkeletonLoss):
    """The skeleton recall loss: 1 - the share of the target's dilated skeleton that the prediction covers.

    The exact skeleton of each class of the target, {g > 1/2}, is dilated within that class. (The paper skeletonizes the
    union of all classes and splits the result among the classes.) Recall ignores false positives: add this loss to a
    Dice or cross entropy loss. The background's skeleton is rarely meaningful: leave it out with
    `include_background=False`.

    Args:
        radius: Number of dilations with the 4- or 6-connected element, in voxels; 2 in the paper.
        smooth_nr: Constant that is added to the numerator.
        smooth_dr: Constant that is added to the denominator.
        **channels: Arguments of `ChannelLoss`: activation, background, one-hot labels and reduction.
    """

    def __init__(
        self, radius: int = 2, *, smooth_nr: float = 1.0, smooth_dr: float = 1.0, **channels: Unpack[Channels]
    ) -> None:
        """Make the loss.

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
        """Return the loss of a batch.

        Args:
            input: Output of the network (B, C, [D,] H, W): probabilities, or logits with `sigmoid` or `softmax`.
            target: Target in [0, 1] of the shape of `input`, or with `to_onehot_y` labels (B, 1, [D,] H, W).
            target_skeleton: Skeleton of the target, as `skeleton(target)` returns; by default (None) it is computed.

        Raises:
            InputError: If shapes or values do not fit.
        """
        p, g = self.pair(input, target)
        skeleton = self.skeleton_of_target(g, target_skeleton)
        axes = space(p)
        recall = ((skeleton * p).sum(axes) + self.smooth_nr) / (skeleton.sum(axes) + self.smooth_dr)
        return self.reduced(1 - recall, p.ndim - 2)

    def skeletonized(self, batch: Tensor) -> Tensor:
        """Return the dilated skeletons (values 0 and 1) of a batch (B, C, [D,] H, W), channel by channel."""
        thin = _centrelines(batch.detach()).to(batch.dtype)
        dilated: Tensor = self.dilation(thin) * (batch.detach() > 0.5)
        return dilated


@torch.compiler.disable  # type: ignore[untyped-decorator]  # thinning until nothing changes: nothing to fuse
def _centrelines(batch: Tensor) -> Tensor:
    thin: Tensor = Skeleton(hard=True, spatial_dims=batch.ndim - 2)(batch).image
    return thin
