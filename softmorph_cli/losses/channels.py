"""Base classes of the losses: activation, one-hot labels, background, checks, reduction, skeletons of targets."""

from __future__ import annotations

import math
import os
import sys
import warnings
from pathlib import Path
from typing import Final, TypedDict

import torch
from torch import Tensor, nn

from softmorph_cli.errors import InputError, SoftmorphWarning, UsageError

REDUCTIONS: Final = ("mean", "sum", "none")


class Channels(TypedDict, total=False):
    """Keyword arguments of every loss, with the names that MONAI uses; `ChannelLoss` explains them."""

    include_background: bool
    to_onehot_y: bool
    sigmoid: bool
    softmax: bool
    reduction: str


class ChannelLoss(nn.Module):
    """Base class of losses of batches (B, C, [D,] H, W); dtypes narrower than float32 are computed in float32.

    MONAI's arguments `other_act`, `weight` and `ignore_index` are not supported. Unlike in MONAI, NaN and values
    outside of [0, 1] raise an error, unless the loss is compiled, and so does a softmax over a single channel.

    Args:
        include_background: If False, channel 0 is left out; a single channel is never left out.
        to_onehot_y: Whether the target holds labels 0 to C - 1 in one channel.
        sigmoid: Whether to apply a sigmoid to the input first.
        softmax: Whether to apply a softmax over the channels to the input first.
        reduction: "mean" or "sum" over items and channels, or "none" for a result (B, C, [1,] 1, 1).
    """

    def __init__(
        self,
        *,
        include_background: bool = True,
        to_onehot_y: bool = False,
        sigmoid: bool = False,
        softmax: bool = False,
        reduction: str = "mean",
    ) -> None:
        """Make the loss.

        Raises:
            UsageError: If arguments exclude each other, or the reduction is unknown.
        """
        super().__init__()
        if sigmoid and softmax:
            raise UsageError("sigmoid=True and softmax=True exclude each other: choose one.")
        if reduction not in REDUCTIONS:
            raise UsageError(f"unknown reduction {reduction!r}: use one of {', '.join(REDUCTIONS)}.")
        self.include_background, self.to_onehot_y = include_background, to_onehot_y
        self.sigmoid, self.softmax = sigmoid, softmax
        self.reduction = reduction

    def pair(self, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the compared channels of input and target as two tensors of the same shape and dtype.

        Raises:
            InputError: If shapes or values do not fit.
        """
        p = self.probabilities(input)
        g = self.truth(target, input.shape[1]).to(p.dtype)
        if p.shape != g.shape:
            labels = target.shape[1] == 1 and input.shape[1] > 1
            hint = "; labels in one channel need to_onehot_y=True" if labels else ""
            raise InputError(
                f"input has shape {tuple(input.shape)} and target {tuple(target.shape)}: they must agree{hint}."
            )
        return p, g

    def probabilities(self, input: Tensor) -> Tensor:
        """Return the compared channels of a network's output as probabilities.

        Raises:
            InputError: If the shape or the values of the input do not fit.
        """
        _check_shape("input", input)
        if not input.is_floating_point():
            raise InputError(
                f"the input is of type {input.dtype}; probabilities or logits are floating-point numbers."
            )
        wide = input if input.dtype == torch.float64 else input.float()
        if self.softmax and input.shape[1] == 1:
            raise InputError("softmax=True over a single channel is 1 everywhere: use sigmoid=True.")
        p = wide.softmax(1) if self.softmax else wide.sigmoid() if self.sigmoid else wide
        # Of logits only NaN fails here, with the same message for all losses.
        check_values("input", p, "; if these are logits, set sigmoid=True or softmax=True")
        if p.shape[1] == 1 and not self.include_background:
            _note("include_background=False has no effect: there is a single channel, and it is kept.")
        return self._foreground(p)

    def truth(self, target: Tensor, channels: int | None, method: str = "skeleton") -> Tensor:
        """Return the compared channels of a target, with values in [0, 1].

        Args:
            target: Target (B, C, [D,] H, W), or labels (B, 1, [D,] H, W) with `to_onehot_y`.
            channels: Number of channels of the network; None for the number of channels of a target without labels.
            method: The method of the loss that was called, for the message about missing `channels`.

        Raises:
            InputError: If shape or values do not fit, or the target holds labels and `channels` is None.
        """
        _check_shape("target", target)
        if channels is None and self.to_onehot_y:
            raise InputError(
                "labels do not tell how many channels the network has: say it, as in "
                f"{method}(target, channels=3)."
            )
        channels = channels or target.shape[1]
        if self.to_onehot_y and channels > 1:
            return self._foreground(_one_hot(target, channels))
        if self.to_onehot_y:
            _note("to_onehot_y=True has no effect: the network has a single channel.")
        wide = target if target.dtype == torch.float64 else target.float()
        hint = "; labels of classes need to_onehot_y=True" if target.shape[1] == 1 and channels > 1 else ""
        check_values("target", wide, hint)
        return self._foreground(wide)

    def _foreground(self, batch: Tensor) -> Tensor:
        return batch if self.include_background or batch.shape[1] == 1 else batch[:, 1:]

    def reduced(self, losses: Tensor, dimensions: int) -> Tensor:
        """Return the losses of items and channels, reduced by the argument `reduction` of the loss.

        Args:
            losses: The losses, shape (B, C), or (C,) if the batch counts as one item.
            dimensions: 2 or 3, the number of axes of length 1 that reduction "none" appends, as in MONAI.
        """
        if self.reduction == "none":
            return losses.reshape(*losses.shape, *(1,) * dimensions)
        return losses.mean() if self.reduction == "mean" else losses.sum()


class SkeletonLoss(ChannelLoss):
    """Base class of losses that use a skeleton of the target, which can be computed once and passed in again."""

    def skeleton(self, target: Tensor, channels: int | None = None) -> Tensor:
        """Return the target's skeleton, for the argument `target_skeleton` of the loss.

        Args:
            target: Target (B, C, [D,] H, W), or labels (B, 1, [D,] H, W) with `to_onehot_y`.
            channels: Number of channels of the network; required if the target holds labels.

        Returns:
            Skeletons (B, C, [D,] H, W), without channel 0 if the background is left out.

        Raises:
            InputError: If shape or values do not fit, or `channels` is missing.
        """
        return self.skeletonized(self.truth(target, channels))

    def skeletonized(self, batch: Tensor) -> Tensor:
        """Return the skeletons of a batch (B, C, [D,] H, W) with values in [0, 1], channel by channel."""
        raise NotImplementedError

    def skeleton_of_target(self, g: Tensor, given: Tensor | None) -> Tensor:
        """Return the skeleton of the compared target `g`, on its device and with its dtype.

        Args:
            g: The compared channels of the target.
            given: The skeleton, if it was computed before; None to compute it.

        Raises:
            InputError: If the shape or the values of `given` do not fit.
        """
        if given is None:
            return self.skeletonized(g)
        if given.shape != g.shape:
            raise InputError(
                f"target_skeleton has shape {tuple(given.shape)}; the target as it is compared has {tuple(g.shape)}."
            )
        skeleton = given.to(g)
        check_values("target_skeleton", skeleton)
        return skeleton


def space(batch: Tensor) -> tuple[int, ...]:
    """Return the indices of the spatial axes of a batch (B, C, [D,] H, W)."""
    return tuple(range(2, batch.ndim))


def check_values(name: str, values: Tensor, hint: str = "") -> None:
    """Raise InputError for NaN and for values outside of [0, 1]; under `torch.compile` nothing is checked."""
    if torch.compiler.is_compiling():  # reading values would break the graph in two
        return
    low, high = torch.stack(torch.aminmax(values.detach())).tolist()
    if math.isnan(low):
        raise InputError(
            f"the {name} holds NaN: there is NaN or infinity in the data, or training has diverged."
        )
    if not (low >= 0 and high <= 1):
        # Enough digits to distinguish the float32 next to 1.
        found = f"from {low:.8g} to {high:.8g}"
        raise InputError(f"the {name} lies in [0, 1]; this one has values {found}{hint}.")


def _check_shape(name: str, batch: Tensor) -> None:
    if batch.ndim not in (4, 5) or 0 in batch.shape:
        hint = (
            f"; {name}[None] adds the axis of items, {name}[:, None] that of channels"
            if batch.ndim == 3
            else ""
        )
        raise InputError(
            f"the {name} has shape {tuple(batch.shape)}; (B, C, H, W) or (B, C, D, H, W) is expected, none of them "
            f"0{hint}."
        )


def _one_hot(labels: Tensor, channels: int) -> Tensor:
    if labels.shape[1] != 1:
        raise InputError(
            f"to_onehot_y=True takes labels in one channel; this target has {labels.shape[1]}: leave it out."
        )
    whole = labels.long()
    if not torch.compiler.is_compiling():
        low, high = torch.stack(torch.aminmax(whole)).tolist()
        if low < 0 or high >= channels:
            raise InputError(
                f"labels from {low} to {high} do not fit {channels} channels: 0 to {channels - 1} do."
            )
        if labels.is_floating_point() and bool((whole != labels).any()):
            raise InputError("to_onehot_y=True takes whole numbers; this target has others.")
    one_hot = torch.zeros((len(labels), channels, *labels.shape[2:]), device=labels.device)
    return one_hot.scatter_(1, whole, 1)


def _note(text: str) -> None:
    """Issue a warning at the line of the user's code, skipping the frames of this package and of torch.nn."""
    if torch.compiler.is_compiling():
        return
    within = tuple(str(Path(file).parents[1]) + os.sep for file in (__file__, nn.__file__))
    frame, depth = sys._getframe(), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(within):
        frame, depth = frame.f_back, depth + 1
    warnings.warn(text, SoftmorphWarning, stacklevel=depth)
