"""Soft Dice (Milletari et al., 3DV 2016) and soft Jaccard."""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from softmorph_cli.losses.channels import ChannelLoss, Channels, space


def soft_dice(
    p: Tensor,
    g: Tensor,
    *,
    smooth_nr: float,
    smooth_dr: float,
    squared_pred: bool = False,
    jaccard: bool = False,
    batch: bool = False,
    soft_label: bool = False,
) -> Tensor:
    """Return (2 tp + smooth_nr) / (|p| + |g| + smooth_dr) of each item and channel.

    Args:
        p: Probabilities (B, C, [D,] H, W).
        g: Target in [0, 1], of the same shape.
        smooth_nr: Added to the numerator.
        smooth_dr: Added to the denominator.
        squared_pred: |p| is the sum of p^2, not of p; |g| likewise.
        jaccard: The denominator is twice the union, |p| + |g| - tp, instead.
        batch: Sum over the items, too.
        soft_label: tp is (|p| + |g| - |p - g|) / 2, not the sum of p g: for targets between 0 and 1 only the
            former is largest at p = g (Wang et al., NeurIPS 2023). Without effect beside `squared_pred`.

    Returns:
        (B, C), or (C,) with `batch`.
    """
    axes = (0, *space(p)) if batch else space(p)
    size_p, size_g = (p.square(), g.square()) if squared_pred else (p, g)
    sizes = size_p.sum(axes) + size_g.sum(axes)
    overlap_by_distance = soft_label and not squared_pred
    tp = (sizes - (p - g).abs().sum(axes)) / 2 if overlap_by_distance else (p * g).sum(axes)
    denominator = 2 * (sizes - tp) if jaccard else sizes
    return (2 * tp + smooth_nr) / (denominator + smooth_dr)


class SoftDiceLoss(ChannelLoss):
    """1 - soft Dice; equal to MONAI's `DiceLoss`.

    Args:
        squared_pred: See `soft_dice`, as the others here.
        jaccard: Soft Jaccard instead.
        smooth_nr: Added to the numerator.
        smooth_dr: Added to the denominator.
        batch: Sum over the items before dividing.
        soft_label: For targets between 0 and 1.
        **channels: See `ChannelLoss`.
    """

    def __init__(
        self,
        *,
        squared_pred: bool = False,
        jaccard: bool = False,
        smooth_nr: float = 1e-5,
        smooth_dr: float = 1e-5,
        batch: bool = False,
        soft_label: bool = False,
        **channels: Unpack[Channels],
    ) -> None:
        """Keep the settings.

        Raises:
            UsageError: If they exclude each other.
        """
        super().__init__(**channels)
        self.squared_pred, self.jaccard = squared_pred, jaccard
        self.batch, self.soft_label = batch, soft_label
        self.smooth_nr, self.smooth_dr = smooth_nr, smooth_dr

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss.

        Args:
            input: (B, C, [D,] H, W), probabilities or what sigmoid or softmax make them of.
            target: Of the same shape in [0, 1], or labels, see `ChannelLoss`.

        Raises:
            InputError: If shapes or values do not fit.
        """
        p, g = self.pair(input, target)
        dice = soft_dice(
            p,
            g,
            smooth_nr=self.smooth_nr,
            smooth_dr=self.smooth_dr,
            squared_pred=self.squared_pred,
            jaccard=self.jaccard,
            batch=self.batch,
            soft_label=self.soft_label,
        )
        return self.reduced(1 - dice, p.ndim - 2)
