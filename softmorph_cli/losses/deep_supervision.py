"""Deep supervision: a loss at each of several heads (outputs) of a network, from fine to coarse resolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.losses.label_pyramid import checked_pooling, class_planes, pooled

WEIGHT_MODES: Final = ("exp", "same", "two")


class DeepSupervisionLoss(nn.Module):
    """The weighted sum of one loss over heads (outputs) of several sizes; with pooling "nearest" equal to MONAI's.

    The target is pooled to the cells (output pixels) of each head. "nearest" takes one pixel for a whole cell, so thin
    vessels are lost. "max" gives each cell all of its classes: a multi-hot target, for losses with a sigmoid. "mean"
    gives the shares of the classes, for losses with a softmax. The target has one channel (plane) for each class;
    `label_pyramid` makes such planes from labels in one channel.

    Unlike in MONAI, too few weights and unknown modes are refused, and float64 stays float64.

    Args:
        loss: A loss of an output (B, C, [D,] H, W) and a target of that shape, from this package or from MONAI.
        weight_mode: The weight of head l, where l = 0 is the finest: "exp": max(0.5^l, 0.0625); "same": 1; "two": 1 for
            the finest, else 0.5.
        weights: A weight for each head, instead of `weight_mode`; weights beyond the last head are ignored.
        pooling: How the target is reduced to the size of a head: "max", "mean" or "nearest".

    Example:
        >>> import torch
        >>> from softmorph_cli.losses import DeepSupervisionLoss, SoftDiceLoss
        >>> criterion = DeepSupervisionLoss(SoftDiceLoss(sigmoid=True), weight_mode="two")
        >>> target = torch.zeros(1, 1, 8, 8)
        >>> target[..., 3, 3] = 1
        >>> heads = [torch.full((1, 1, n, n), -100.0) for n in (8, 4, 2)]  # nothing is found at any size
        >>> round(criterion(heads, target).item(), 3)  # 1 + 0.5 + 0.5
        2.0
    """

    def __init__(
        self,
        loss: nn.Module,
        weight_mode: str = "exp",
        weights: Sequence[float] | None = None,
        pooling: str = "max",
    ) -> None:
        """Make the loss.

        Raises:
            UsageError: If the mode or the pooling is unknown.
        """
        super().__init__()
        if weight_mode not in WEIGHT_MODES:
            raise UsageError(f"unknown weight_mode {weight_mode!r}: use one of {', '.join(WEIGHT_MODES)}.")
        self.loss = loss
        self.weight_mode = weight_mode
        self.weights = None if weights is None else tuple(weights)
        self.pooling = checked_pooling(pooling)

    def weights_of(self, levels: int) -> tuple[float, ...]:
        """Return the weights of a number of heads (`levels`), the finest first.

        Raises:
            InputError: If there are fewer weights than heads.
        """
        if self.weights is not None:
            if len(self.weights) < levels:
                raise InputError(f"{len(self.weights)} weights for {levels} heads: give one for each.")
            return self.weights[:levels]
        if self.weight_mode == "exp":
            return tuple(max(0.5**level, 0.0625) for level in range(levels))
        return tuple(1.0 if level == 0 or self.weight_mode == "same" else 0.5 for level in range(levels))

    def forward(self, input: Tensor | Sequence[Tensor], target: Tensor) -> Tensor:
        """Return the loss of a batch.

        Args:
            input: The outputs (B, C, [D,] H, W) of the heads, the finest first; or a single output, whose weight is 1.
            target: Target (B, C, [D,] H, W), usually of the size of the finest head; with pooling "nearest" also
                labels in one channel.

        Raises:
            InputError: If the list of heads is empty, or shapes do not fit.
        """
        if isinstance(input, Tensor):
            return self._loss(input, target)
        if not input:
            raise InputError("there is no head: the network returned an empty list.")
        each = [self._loss(head, self._at(head, target)) for head in input]
        weighted = [w * one for w, one in zip(self.weights_of(len(each)), each, strict=True)]
        return torch.stack(weighted).sum(0)

    def _loss(self, head: Tensor, target: Tensor) -> Tensor:
        value: Tensor = self.loss(_wide(head), target)
        return value

    def _at(self, head: Tensor, target: Tensor) -> Tensor:
        if head.ndim != target.ndim:
            raise InputError(
                f"a head has shape {tuple(head.shape)} and the target {tuple(target.shape)}: both need the axes of "
                "items and channels, as target[:, None] gives them."
            )
        if self.pooling != "nearest" and target.shape[1] == 1 < head.shape[1]:
            raise InputError(
                f"labels in one channel cannot be pooled by {self.pooling!r}: give planes of the classes, as "
                f"label_pyramid(target, [target.shape[2:]], classes={head.shape[1]})[0] makes them."
            )
        if head.shape[2:] == target.shape[2:]:
            return target
        coarse = pooled(_wide(target), head.shape[2:], self.pooling)
        # Labels stay whole numbers; shares of classes are none.
        return coarse if self.pooling == "mean" else coarse.to(target.dtype)


def _wide(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


class MultiLabelDeepSupervisionLoss(nn.Module):
    """Binary cross-entropy of each head with the classes in each of its cells (Reiss et al., CVPR 2021, eq. 9).

    (1/h) sum over heads k of the mean of BCE(sigmoid(f_k), m_k), where f_k are the logits of head k and m_k is the
    target that `label_pyramid` gives at the size of f_k. The mean is over items, classes and cells (output pixels);
    unknown cells (NaN) are left out, and a head without known cells counts 0. The network needs a final output as well,
    whose cross-entropy the user adds.

    Args:
        to_onehot_y: Whether the target holds labels 0 to C - 1 in one channel.
        ignore_index: The label of pixels whose class is unknown.
        pooling: How the target is reduced to the size of a head: "max", as in the paper, "mean" or "nearest".
        reduction: How the losses of the heads are combined: "mean", as in the paper, or "sum", as in
            the code that its authors released.

    Example:
        >>> import torch
        >>> from softmorph_cli.losses import MultiLabelDeepSupervisionLoss
        >>> deep = MultiLabelDeepSupervisionLoss(to_onehot_y=True)
        >>> labels = torch.randint(0, 3, (2, 1, 16, 16))
        >>> final = torch.zeros(2, 3, 16, 16, requires_grad=True)
        >>> heads = [torch.zeros(2, 3, n, n, requires_grad=True) for n in (8, 4)]
        >>> loss = torch.nn.functional.cross_entropy(final, labels[:, 0]) + deep(heads, labels)
        >>> round(loss.item(), 4)  # log(3) + log(2): nothing is learned yet
        1.7918
    """

    def __init__(
        self,
        *,
        to_onehot_y: bool = False,
        ignore_index: int | None = None,
        pooling: str = "max",
        reduction: str = "mean",
    ) -> None:
        """Make the loss.

        Raises:
            UsageError: If pooling or reduction is unknown, or `ignore_index` is given without `to_onehot_y`.
        """
        super().__init__()
        if reduction not in ("mean", "sum"):
            raise UsageError(f"unknown reduction {reduction!r}: use one of mean, sum.")
        if ignore_index is not None and not to_onehot_y:
            raise UsageError(
                "ignore_index is a label: set to_onehot_y=True, or planes to NaN where not known."
            )
        self.to_onehot_y, self.ignore_index = to_onehot_y, ignore_index
        self.pooling = checked_pooling(pooling)
        self.reduction = reduction

    def forward(self, input: Tensor | Sequence[Tensor], target: Tensor | Sequence[Tensor]) -> Tensor:
        """Return the loss of a batch.

        Args:
            input: Logits (B, C, [D,] H, W) of each head, in any order; or the logits of a single head.
            target: Planes (B, C, [D,] H, W), a channel for each class, in [0, 1] or NaN; with `to_onehot_y` labels
                (B, 1, [D,] H, W); or a list of planes, one tensor for each head, as `label_pyramid` returns.

        Raises:
            InputError: If the list of heads is empty, or shapes or values do not fit.
        """
        heads = [input] if isinstance(input, Tensor) else list(input)
        if not heads:
            raise InputError("there is no head: the network returned an empty list.")
        if isinstance(target, Tensor):
            planes = class_planes(target, heads[0].shape[1] if self.to_onehot_y else None, self.ignore_index)
            targets = [pooled(planes, head.shape[2:], self.pooling) for head in heads]
        else:
            targets = list(target)
        if len(targets) != len(heads):
            raise InputError(f"{len(heads)} heads and {len(targets)} targets: one for each is needed.")
        each = torch.stack([_known_mean(head, m) for head, m in zip(heads, targets, strict=True)])
        return each.mean() if self.reduction == "mean" else each.sum()


def _known_mean(head: Tensor, target: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of a head over the cells whose target is known (not NaN)."""
    if head.shape != target.shape:
        hint = "; labels in one channel need to_onehot_y=True" if target.shape[1] == 1 < head.shape[1] else ""
        raise InputError(
            f"a head has shape {tuple(head.shape)} and its target {tuple(target.shape)}: they must agree{hint}."
        )
    f = _wide(head)
    known = ~target.isnan()
    # The sum of the weights is the count of what is known; a mean over NaN would have NaN as its slope.
    total = functional.binary_cross_entropy_with_logits(
        f, target.nan_to_num(0).to(f.dtype), known.to(f.dtype), reduction="sum"
    )
    return total / known.sum().clamp(min=1)
