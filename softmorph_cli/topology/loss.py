"""The topological loss: the distance between the persistence bars of a map and the bars of a given topology."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.topology.persistence import Diagram, bars, diagram
from softmorph_cli.topology.prior import BettiPrior, check_betti

if TYPE_CHECKING:
    from torch import Tensor


def topological_loss(
    p: Tensor, betti: BettiPrior, connectivity: int | None = None, min_length: float = 0.0
) -> Tensor:
    r"""Return the topological loss of a map for given Betti numbers.

    Clough et al., *A topological loss function for deep-learning based image segmentation using persistent
    homology*, TPAMI 2020. For each dimension k, with bars from birth b to death d by falling length,

        sum over the beta_k longest bars of (1 - |b - d|^2)  +  sum over all others of |b - d|^2.

    A missing bar counts as one of length 0, with loss 1. The loss is 0 if there are exactly the given numbers of bars,
    all of length 1. Its gradient is nonzero only in the voxels where bars are born or die.

    Args:
        p: Probabilities, shape (Y, X) or (Z, Y, X), on any device; bars are computed on the CPU.
        betti: The Betti numbers b0, b1 and, in 3D, b2; None for any number: bars of that dimension have no loss.
        connectivity: Connectivity of the foreground: 8 (default) or 4 in 2D, 26 (default) or 6 in 3D.
        min_length: In [0, 1]. Of the bars beyond the beta_k longest, those shorter than it have no loss. The beta_k
            longest have their loss at any length.

    Returns:
        The loss, a scalar tensor with the dtype of p.

    Raises:
        InputError: If p does not have 2 or 3 axes or has values outside [0, 1], or the Betti numbers do not fit the
            map.
        UsageError: If `min_length` is outside of [0, 1].

    >>> import torch
    >>> p = torch.tensor([[0.9, 0.1, 0.6]])
    >>> round(topological_loss(p, (1, 0)).item(), 2)  # 1 - 0.9^2 + (0.6 - 0.1)^2
    0.44
    """
    return topological_losses(p[None], [betti], connectivity, min_length)[0].to(p.dtype)


def topological_losses(
    maps: Tensor, betti: Sequence[BettiPrior], connectivity: int | None = None, min_length: float = 0.0
) -> Tensor:
    """Return the topological loss of each of several maps, each with Betti numbers of its own.

    The values at the births and deaths of all bars of all maps are read by one index operation, so that its backward
    pass fills one array. Dimensions of any number are not computed, where others can do without them (loops in 3D).

    Args:
        maps: Probabilities, shape (N, Y, X) or (N, Z, Y, X), on any device; bars are computed on the CPU.
        betti: For each map its Betti numbers, as for `topological_loss`.
        connectivity: As for `topological_loss`.
        min_length: As for `topological_loss`.

    Returns:
        The losses, shape (N,), float64 for maps of float64, otherwise float32.

    Raises:
        InputError: As for `topological_loss`, or if there are not as many lists of Betti numbers as maps.
        UsageError: As for `topological_loss`.
    """
    import torch

    check_min_length(min_length)
    if len(betti) != len(maps):
        raise InputError(
            f"there are {len(maps)} maps, and Betti numbers for {len(betti)}: give them for each map."
        )
    asked = [check_betti(numbers, maps.ndim - 1) for numbers in betti]
    # NumPy has no bfloat16, and every smaller type fits into float32.
    wide = torch.float64 if maps.dtype == torch.float64 else torch.float32
    images = maps.detach().to("cpu", wide).numpy()
    voxels, inside, owner, sign = (
        torch.from_numpy(part).to(maps.device) for part in _ends(images, asked, connectivity, min_length)
    )
    values = torch.where(inside, maps[tuple(voxels)].to(wide), 0)
    squared = (values[0] - values[1]).square()
    wanted = [sum(number or 0 for number in numbers) for numbers in asked]
    return torch.tensor(wanted, dtype=wide, device=maps.device).index_add(0, owner, sign * squared)


def check_min_length(min_length: float) -> None:
    """Raise UsageError if a minimum length of bars is outside of [0, 1]."""
    if not 0 <= min_length <= 1:
        raise UsageError(f"min_length {min_length:g}: bars have lengths between 0 and 1; such as 0.05.")


def _ends(
    images: npt.NDArray[Any],
    asked: Sequence[tuple[int | None, ...]],
    connectivity: int | None,
    min_length: float,
) -> tuple[npt.NDArray[Any], ...]:
    """Return the births and deaths of all bars with a loss.

    Returns:
        The array indices of births and deaths, shape (1 + d, 2, M), 0 for a death at 0; whether they are at a voxel,
        shape (2, M); the index of each bar's map, shape (M,); the sign of its squared length in the loss, shape (M,):
        -1 for the bars that are asked for, 1 for all others.
    """
    at = [np.empty((2, 0, images.ndim - 1), np.int64)]
    owner, sign = [np.empty(0, np.int64)], [np.empty(0, images.dtype)]
    for number, (image, numbers) in enumerate(zip(images, asked, strict=True)):
        for wanted, found in _diagrams(image, numbers, connectivity):
            # Bars are sorted by falling length.
            kept = min(len(found), max(wanted, int(np.count_nonzero(found.length >= min_length))))
            at.append(np.stack([found.birth_at[:kept], found.death_at[:kept]]))
            owner.append(np.full(kept, number))
            sign.append(np.where(np.arange(kept) < wanted, -1, 1).astype(images.dtype))
    voxels, owners = np.concatenate(at, axis=1), np.concatenate(owner)
    index = np.stack([np.broadcast_to(owners, voxels.shape[:2]), *np.maximum(np.moveaxis(voxels, -1, 0), 0)])
    return index, voxels[..., 0] >= 0, owners, np.concatenate(sign)


def _diagrams(
    image: npt.NDArray[Any], numbers: Sequence[int | None], connectivity: int | None
) -> Iterator[tuple[int, Diagram]]:
    """Yield the Betti number that is asked for and the bars of each dimension whose number is not any."""
    # Loops in 3D need a complex, which has the bars of all dimensions.
    whole = None not in numbers or (image.ndim == 3 and numbers[1] is not None)
    together = bars(image, connectivity).diagrams if whole else None
    for dimension, wanted in enumerate(numbers):
        if wanted is not None:
            yield wanted, together[dimension] if together else diagram(image, dimension, connectivity)
