"""The topological loss (Clough et al., TPAMI 2020) of each class, and of unions of classes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from operator import index
from typing import Any, Final, SupportsIndex, Unpack

import numpy as np
import torch
from torch import Tensor

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.losses.channels import ChannelLoss, Channels
from softmorph_cli.system import machine
from softmorph_cli.topology.loss import check_min_length, topological_losses
from softmorph_cli.topology.patches import (
    Place,
    betti_of_pieces,
    check_patch,
    grid,
    grid_shape,
    random_place,
    sizes_along,
)
from softmorph_cli.topology.prior import Prior

_Numbers = list[int | None]
_UNKNOWN: Final = (
    "with random_patch=True each call draws the place of its patches: give the call a target, not priors."
)


class TopologicalLoss(ChannelLoss):
    """The topological loss: the distance between the persistence bars of each class and those of a given topology.

    The loss needs no target and does not depend on where a class is: add it, with a small weight, to a loss of a
    target. The gradient is nonzero only where bars are born or die. Bars are computed on the CPU, of several maps at a
    time (OMP_NUM_THREADS limits the threads); the values at their ends are read from the whole batch at once. A batch
    has the loss, and the gradient, of its maps one by one (`topology.loss.topological_loss`).

    With `patch` the maps are divided into patches, as for large images in Hu et al., *Topology-preserving deep image
    segmentation*, NeurIPS 2019: what has to be connected is then said for each place, and not of the whole alone. Each
    patch is a map of its own, outside of which is background, and its Betti numbers are those of the target there. A
    map has the mean loss of its patches, so that the weight of the loss does not depend on the size of the map.

    Args:
        prior: The Betti numbers b0, b1 and, in 3D, b2, None for any number; or one such sequence for each compared
            class; or a `topology.prior.Prior` for each class or union of classes, whose channels are those of the
            network, counted from 0. None if every call gives `priors`, or a target, whose Betti numbers are then asked
            for. With `patch` the numbers of a `Prior` have no effect, its channels have, and no other prior is taken.
        connectivity: Connectivity of the foreground: 8 (default) or 4 in 2D, 26 (default) or 6 in 3D.
        min_length: In [0, 1]. Bars beyond the longest ones that the prior asks for have no loss if they are shorter
            than it, so that noise costs nothing. Bars that the prior asks for have their loss at any length.
        exclusive: Whether each voxel belongs to one class, so that the probability of a union is the sum of its
            classes', at most 1; otherwise it is their maximum. `softmorph topology repair` does the same. Default:
            True with softmax, else False.
        patch: Size of patches in voxels, one for all axes or one for each; the last patch along an axis may be smaller.
            None for the whole map.
        random_patch: Whether each call takes one patch of each item instead of all, at a place that torch's generator
            draws anew, and that is the same for all classes: the time of a step then does not grow with the images.
        **channels: Arguments of `ChannelLoss`: activation, background, labels of a target, and reduction ("none": shape
            (B, P, [1,] 1, 1) with P priors).

    >>> import torch
    >>> from softmorph_cli.topology.prior import Prior
    >>> p = torch.rand(2, 3, 16, 16).softmax(1)
    >>> heart = TopologicalLoss([Prior((1,), (1, 1)), Prior((1, 2), (1, None))], exclusive=True, min_length=0.05)
    >>> heart(p).shape
    torch.Size([])
    >>> digits = TopologicalLoss(reduction="none")
    >>> digits(p[:, :1], priors=[(1, 0), (None, 1)]).shape  # one for each image
    torch.Size([2, 1, 1, 1])
    >>> vessels = TopologicalLoss(patch=8)
    >>> target = (torch.rand(2, 1, 16, 16) > 0.5).float()
    >>> numbers = vessels.betti(target)  # once for each case; then from the data loader
    >>> numbers.shape  # items, classes, 2 x 2 patches, b0 and b1
    torch.Size([2, 1, 2, 2, 2])
    >>> bool(vessels(p[:, :1], priors=numbers) == vessels(p[:, :1], target))
    True
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
        patch: SupportsIndex | Iterable[SupportsIndex] | None = None,
        random_patch: bool = False,
        **channels: Unpack[Channels],
    ) -> None:
        """Make the loss; `forward` checks whether the prior fits the input.

        Raises:
            UsageError: If arguments exclude each other, `min_length` is outside of [0, 1], the sizes of a patch are no
                whole numbers of at least 1, or the prior is no sequence of integers or of `Prior`s.
        """
        super().__init__(**channels)
        check_min_length(min_length)
        self.unions, self.priors = _priors(prior)
        self.connectivity, self.min_length = connectivity, min_length
        self.exclusive = self.softmax if exclusive is None else exclusive
        self.patch, self.random_patch = check_patch(patch), random_patch
        if random_patch and self.patch is None:
            raise UsageError(
                "random_patch=True has no effect without patch: give its size, such as patch=32."
            )
        if self.patch is not None and self.priors is not None and self.unions is None:
            raise UsageError(
                f"patch={self.patch} excludes a prior, as each patch has Betti numbers of its own: leave out the prior "
                "and call the loss with a target, or leave out patch."
            )

    def forward(
        self, input: Tensor, target: Tensor | None = None, *, priors: Tensor | Sequence[Any] | None = None
    ) -> Tensor:
        """Return the loss of a batch.

        Args:
            input: Output of the network (B, C, [D,] H, W): probabilities, or logits with `sigmoid` or `softmax`.
            target: Target (B, C, [D,] H, W), or labels (B, 1, [D,] H, W) with `to_onehot_y`. Where there is no prior,
                its Betti numbers are asked for, those of {target > 0.5}; otherwise it has no effect.
            priors: Betti numbers of each item, which replace those of the loss and of the target: a tensor, an array or
                nested lists of shape (B, d), for all priors of an item, or (B, P, d), with d = 2 or 3 spatial axes and
                P the number of the `Prior`s of the loss or, without them, of the compared classes. With `patch` the
                result of `betti`, shape (B, P, [patches along D,] along H, along W, d). None, NaN and -1 stand for any
                number.

        Raises:
            InputError: If shape or values of the input, the target or the priors do not fit, or there is nothing that
                says which Betti numbers are asked for.
        """
        fixed = self.patch is None and self.priors is not None
        if target is None or priors is not None or fixed:
            p, truth = self.probabilities(input), None
        else:
            p, truth = self.pair(input, target)
        return self.reduced(self._losses(p, truth, input.shape[1] - p.shape[1], priors), p.ndim - 2)

    def betti(self, target: Tensor, channels: int | None = None) -> Tensor:
        """Return the Betti numbers of a target, for the argument `priors` of the loss.

        They can be counted once for each case. To ask for any number of loops set `numbers[..., 1] = -1`, which also
        saves most of the time in 3D.

        Args:
            target: Target (B, C, [D,] H, W), or labels (B, 1, [D,] H, W) with `to_onehot_y`. The numbers are those of
                {target > 0.5}.
            channels: Number of channels of the network; required if the target holds labels.

        Returns:
            Betti numbers of int64, shape (B, P, d), with `patch` (B, P, [patches along D,] along H, along W, d).

        Raises:
            InputError: If shape or values do not fit, `channels` is missing, or the place of patches is random.
        """
        if self.random_patch:
            raise InputError(_UNKNOWN)
        g = self.truth(target, channels, "betti")
        masks = self._compared(g, (channels or target.shape[1]) - g.shape[1])
        space = masks.shape[2:]
        numbers = torch.tensor(self._counted(masks, self._places(len(masks), space)))
        return numbers.reshape(*masks.shape[:2], *self._along(space), len(space))

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # compiled kernels, on the CPU
    def _losses(
        self, p: Tensor, truth: Tensor | None, left_out: int, priors: Tensor | Sequence[Any] | None
    ) -> Tensor:
        """Return the losses of items and priors, shape (B, P), of probabilities without their `left_out` channels."""
        maps = self._compared(p, left_out)
        items, count = maps.shape[:2]
        places = self._places(items, maps.shape[2:])
        betti: list[_Numbers]
        if priors is not None:
            if self.random_patch:
                raise InputError(_UNKNOWN)
            betti = _per_item(priors, items, count, self._along(maps.shape[2:]), p.ndim - 2)
        elif truth is not None:
            betti = self._counted(self._compared(truth, left_out), places)
        else:
            betti = self._fixed(items, count)
        losses = topological_losses(
            maps.flatten(0, 1), betti, self.connectivity, self.min_length, pieces=_pieces(places, count)
        )
        return losses.reshape(items, count, -1).mean(-1)

    def _places(self, items: int, space: tuple[int, ...]) -> list[list[Place]]:
        """Return the places of the patches of each item, or of the whole map."""
        sizes = sizes_along(space, self.patch)
        if self.random_patch:
            return [[random_place(space, sizes)] for _ in range(items)]
        return [grid(space, sizes)] * items

    def _along(self, space: tuple[int, ...]) -> tuple[int, ...]:
        """Return the number of patches along each axis; nothing without patches."""
        return () if self.patch is None else grid_shape(space, sizes_along(space, self.patch))

    def _counted(self, truth: Tensor, places: list[list[Place]]) -> list[_Numbers]:
        """Return the Betti numbers of each patch of each class of each item."""
        masks = (truth > 0.5).flatten(0, 1).numpy(force=True)
        pieces = _pieces(places, truth.shape[1])
        numbers: list[_Numbers] = betti_of_pieces(
            masks, pieces, self.connectivity, machine.threads()
        ).tolist()
        return numbers

    def _fixed(self, items: int, count: int) -> list[_Numbers]:
        """Return the Betti numbers of the loss, for each class of each item."""
        if self.patch is not None:
            raise InputError(
                f"patch={self.patch}: each patch has Betti numbers of its own: call the loss with a target, or with "
                "priors=loss.betti(target)."
            )
        if self.priors is None:
            raise InputError(
                "there is no prior: give TopologicalLoss one, such as (1, 0), or the call priors=, one for each item, "
                "or a target, whose Betti numbers are then asked for."
            )
        if len(self.priors) not in (1, count):
            raise InputError(
                f"{len(self.priors)} priors do not fit {count} classes: give one for all, or one for each."
            )
        return self.priors * (items * count // len(self.priors))

    def _compared(self, p: Tensor, left_out: int) -> Tensor:
        """Return the maps of classes or of unions, shape (B, P, [D,] H, W)."""
        return p if self.unions is None else self._unions(p, left_out)

    def _unions(self, p: Tensor, left_out: int) -> Tensor:
        """Return the probability of the union of each prior's channels, shape (B, P, [D,] H, W)."""
        maps = []
        for channels in self.unions or ():
            members = [channel - left_out for channel in dict.fromkeys(channels)]
            if not members or min(members) < 0 or max(members) >= p.shape[1]:
                kept = f"{left_out} to {p.shape[1] + left_out - 1}"
                raise InputError(f"the prior of channels {channels} does not fit: {kept} are compared.")
            if self.exclusive and len(members) == p.shape[1] + left_out:
                raise InputError("the union of all classes is everywhere; give a prior for fewer of them.")
            planes = p[:, members]
            maps.append(planes.sum(1).clamp(max=1) if self.exclusive else planes.max(1).values)
        return torch.stack(maps, 1)


def _priors(prior: Any) -> tuple[list[tuple[int, ...]] | None, list[_Numbers] | None]:
    """Return the channels of each prior, None for one class each, and lists of Betti numbers; a single list for all."""
    if prior is None:
        return None, None
    try:
        given: list[Any] = [prior] if isinstance(prior, Prior) else list(_plain(prior))
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


def _pieces(places: list[list[Place]], count: int) -> list[tuple[int, Place]]:
    """Return the index of the map and the place of each patch of `count` maps of each item."""
    return [
        (item * count + k, place)
        for item, of_item in enumerate(places)
        for k in range(count)
        for place in of_item
    ]


def _per_item(priors: Any, items: int, count: int, along: tuple[int, ...], dims: int) -> list[_Numbers]:
    """Return the Betti numbers that a call gives, for each patch of each class of each item.

    `along` holds the number of patches along each axis, and is empty without patches.
    """
    table = np.array(_plain(priors), dtype=object)
    whole = (items, count, *along, dims)
    if table.shape == (items, dims) and not along:
        table = np.repeat(table, count, axis=0)
    elif table.shape != whole:
        accepted = (
            f"{whole}, as of betti(target)" if along else f"({items}, {dims}), or {whole} for each class"
        )
        raise InputError(
            f"priors of shape {table.shape} do not fit {items} items of {dims} spatial axes: give {accepted}."
        )
    return [[_number(one) for one in row] for row in table.reshape(-1, dims)]


def _plain(given: Any) -> Any:
    """Return an array or a tensor as nested lists, anything else as it is."""
    return given.tolist() if hasattr(given, "tolist") else given


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
