"""Soft Dice (Milletari et al., 3DV 2016) and soft Jaccard."""

from __future__ import annotations

from functools import partial
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
    """Return soft Dice of each item and channel: (2 tp + smooth_nr) / (|p| + |g| + smooth_dr).

    |p| and |g| are sums over all voxels, and tp (true positives) is the sum of p g.

    Args:
        p: Probabilities (B, C, [D,] H, W).
        g: Target in [0, 1], of the shape of `p`.
        smooth_nr: Constant that is added to the numerator.
        smooth_dr: Constant that is added to the denominator.
        squared_pred: Whether |p| and |g| are sums of squares.
        jaccard: Whether the denominator is twice the union, |p| + |g| - tp.
        batch: Whether to sum over the items of the batch, too.
        soft_label: Whether tp is (|p| + |g| - |p - g|) / 2, which unlike the sum of p g is largest at p = g for targets
            between 0 and 1 (Wang et al., NeurIPS 2023). This has no effect if `squared_pred`.

    Returns:
        Tensor of shape (B, C), or (C,) with `batch`.
    """
    axes = (0, *space(p)) if batch else space(p)
    size_p, size_g = (p.square(), g.square()) if squared_pred else (p, g)
    sizes = size_p.sum(axes) + size_g.sum(axes)
    overlap_by_distance = soft_label and not squared_pred
    tp = (sizes - (p - g).abs().sum(axes)) / 2 if overlap_by_distance else (p * g).sum(axes)
    denominator = 2 * (sizes - tp) if jaccard else sizes
    return (2 * tp + smooth_nr) / (denominator + smooth_dr)


class SoftDiceLoss(ChannelLoss):
    """The soft Dice loss: 1 - soft Dice, equal to MONAI's `DiceLoss`.

    Args:
        squared_pred: Whether the sizes in the denominator are sums of squares.
        jaccard: Whether to compute soft Jaccard instead of soft Dice.
        smooth_nr: Constant that is added to the numerator.
        smooth_dr: Constant that is added to the denominator.
        batch: Whether to sum over the items of the batch before dividing.
        soft_label: Whether targets may lie between 0 and 1: the loss is then least where input and target are equal.
        **channels: Arguments of `ChannelLoss`: activation, background, one-hot labels and reduction.
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
        """Make the loss.

        Raises:
            UsageError: If arguments exclude each other.
        """
        super().__init__(**channels)
        self.dice = partial(
            soft_dice,
            smooth_nr=smooth_nr,
            smooth_dr=smooth_dr,
            squared_pred=squared_pred,
            jaccard=jaccard,
            batch=batch,
            soft_label=soft_label,
        )

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch.

        Args:
            input: Output of the network (B, C, [D,] H, W): probabilities, or logits with `sigmoid` or `softmax`.
            target: Target in [0, 1] of the shape of `input`, or with `to_onehot_y` labels (B, 1, [D,] H, W).

        Raises:
            InputError: If shapes or values do not fit.
        """
        p, g = self.pair(input, target)
        return self.reduced(1 - self.dice(p, g), p.ndim - 2)
