"""The topological loss (Clough et al., TPAMI 2020) of each class, and of unions of classes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from operator import index
from typing import Any, SupportsIndex, Unpack

import numpy as np
import torch
from torch import Tensor

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.losses.channels import ChannelLoss, Channels
from softmorph_cli.topology.loss import check_min_length, topological_losses
from softmorph_cli.topology.prior import Prior

_Numbers = list[int | None]


class TopologicalLoss(ChannelLoss):
    """The topological loss: the distance between the persistence bars of each class and those of a given topology.

    The loss needs no target and does not depend on where a class is: add it, with a small weight, to a loss of a
    target. The gradient is nonzero only where bars are born or die. Bars are computed on the CPU, one map after the
    other; the values at their ends are read from the whole batch at once. A batch has the loss, and the gradient, of
    its maps one by one (`topology.loss.topological_loss`).

    Args:
        prior: The Betti numbers b0, b1 and, in 3D, b2, None for any number; or one such sequence for each compared
            class; or a `topology.prior.Prior` for each class or union of classes, whose channels are those of the
            network, counted from 0. None if every call gives `priors` for each class.
        connectivity: Connectivity of the foreground: 8 (default) or 4 in 2D, 26 (default) or 6 in 3D.
        min_length: In [0, 1]. Bars beyond the longest ones that the prior asks for have no loss if they are shorter
            than it, so that noise costs nothing. Bars that the prior asks for have their loss at any length.
        exclusive: Whether each voxel belongs to one class, so that the probability of a union is the sum of its
            classes', at most 1; otherwise it is their maximum. `softmorph topology repair` does the same. Default:
            True with softmax, else False.
        **channels: Arguments of `ChannelLoss`: activation, background and reduction ("none": shape (B, P, [1,] 1, 1)
            with P priors); `to_onehot_y` has no effect.

    >>> import torch
    >>> from softmorph_cli.topology.prior import Prior
    >>> p = torch.rand(2, 3, 16, 16).softmax(1)
    >>> heart = TopologicalLoss([Prior((1,), (1, 1)), Prior((1, 2), (1, None))], exclusive=True, min_length=0.05)
    >>> heart(p).shape
    torch.Size([])
    >>> digits = TopologicalLoss(reduction="none")
    >>> digits(p[:, :1], priors=[(1, 0), (None, 1)]).shape  # one for each image
    torch.Size([2, 1, 1, 1])
    """

    def __init__(
        self,
        prior: Iterable[SupportsIndex | None]
        | Iterable[Iterable[SupportsIndex | None]]
        | Iterable[Prior]
        | Prior
        | None = None,
        connectivity: int | None = None,
        min_length: float = 0.0,
        *,
        exclusive: bool | None = None,
        **channels: Unpack[Channels],
    ) -> None:
        """Make the loss; `forward` checks whether the prior fits the input.

        Raises:
            UsageError: If arguments exclude each other, `min_length` is outside of [0, 1], or the prior is no sequence
                of integers or of `Prior`s.
        """
        super().__init__(**channels)
        check_min_length(min_length)
        self.unions, self.priors = _priors(prior)
        self.connectivity, self.min_length = connectivity, min_length
        self.exclusive = self.softmax if exclusive is None else exclusive

    def forward(
        self, input: Tensor, target: Tensor | None = None, *, priors: Tensor | Sequence[Any] | None = None
    ) -> Tensor:
        """Return the loss of a batch.

        Args:
            input: Output of the network (B, C, [D,] H, W): probabilities, or logits with `sigmoid` or `softmax`.
            target: Ignored argument, so that the signature is that of the other losses.
            priors: Betti numbers of each item, which replace those of the loss: a tensor, an array or nested lists of
                shape (B, d), for all priors of an item, or (B, P, d), with d = 2 or 3 spatial axes and P the number of
                the `Prior`s of the loss or, without them, of the compared classes. None, NaN and -1 stand for any
                number.

        Raises:
            InputError: If shape or values of the input do not fit, the priors do not fit the input, or there are none.
        """
        p = self.probabilities(input)
        return self.reduced(self._losses(p, input.shape[1] - p.shape[1], priors), p.ndim - 2)

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # kernels on the CPU
    def _losses(self, p: Tensor, left_out: int, priors: Tensor | Sequence[Any] | None) -> Tensor:
        """Return the losses of items and priors, shape (B, P), of probabilities without their `left_out` channels."""
        maps = p if self.unions is None else self._unions(p, left_out)
        items, count = maps.shape[:2]
        if priors is not None:
            betti = _per_item(priors, items, count, p.ndim - 2)
        elif self.priors is None:
            raise InputError(
                "there is no prior: give TopologicalLoss one, such as (1, 0), or the call priors=, one for each item."
            )
        elif len(self.priors) not in (1, count):
            raise InputError(
                f"{len(self.priors)} priors do not fit {count} classes: give one for all, or one for each."
            )
        else:
            betti = self.priors * (items * count // len(self.priors))
        losses = topological_losses(maps.flatten(0, 1), betti, self.connectivity, self.min_length)
        return losses.reshape(items, count)

    def _unions(self, p: Tensor, left_out: int) -> Tensor:
        """Return the probability of the union of each prior's channels, shape (B, P, [D,] H, W)."""
        maps = []
        for channels in self.unions or ():
            members = [channel - left_out for channel in channels]
            if not members or min(members) < 0 or max(members) >= p.shape[1]:
                kept = f"{left_out} to {p.shape[1] + left_out - 1}"
                raise InputError(f"the prior of channels {channels} does not fit: {kept} are compared.")
            if self.exclusive and len(set(members)) == p.shape[1] + left_out:
                raise InputError("the union of all classes is everywhere; give a prior for fewer of them.")
            planes = p[:, members]
            maps.append(planes.sum(1).clamp(max=1) if self.exclusive else planes.max(1).values)
        return torch.stack(maps, 1)


def _priors(prior: Any) -> tuple[list[tuple[int, ...]] | None, list[_Numbers] | None]:
    """Return the channels of each prior, None for one class each, and lists of Betti numbers; a single list for all."""
    if prior is None:
        return None, None
    try:
        given: list[Any] = [prior] if isinstance(prior, Prior) else list(prior)
        unions = None
        if given and all(isinstance(one, Prior) for one in given):
            unions, given = [one.channels for one in given], [one.betti for one in given]
        elif not all(isinstance(one, Iterable) for one in given):
            given = [given]
        found = [[None if number is None else index(number) for number in one] for one in given]
    except TypeError:
        found = []
    if not found:
        raise UsageError(
            f"prior {prior!r}: whole numbers b0, b1 and, in 3D, b2 are needed, as in (1, 0), or one such sequence "
            "for each class."
        )
    return unions, found


def _per_item(priors: Any, items: int, count: int, dims: int) -> list[_Numbers]:
    """Return the Betti numbers of each item and prior, `items * count` lists."""
    given = priors.tolist() if hasattr(priors, "tolist") else priors
    table = np.array(given, dtype=object)
    if table.shape not in ((items, dims), (items, count, dims)):
        raise InputError(
            f"priors of shape {table.shape} do not fit {items} items of {dims} spatial axes: give "
            f"({items}, {dims}), or ({items}, {count}, {dims}) for each class."
        )
    numbers = [[_number(one) for one in row] for row in table.reshape(-1, dims)]
    return numbers if table.ndim == 3 else [row for row in numbers for _ in range(count)]


def _number(given: Any) -> int | None:
    """Return a Betti number, None for None, NaN and -1."""
    try:
        number = -1.0 if given is None else float(given)
    except (TypeError, ValueError):
        number = math.inf
    if math.isnan(number) or number == -1:
        return None
    if not (number.is_integer() and number >= 0):
        raise InputError(
            f"priors hold {given!r}: Betti numbers are 0, 1, 2, ...; None, NaN or -1 for any number."
        )
    return int(number)
