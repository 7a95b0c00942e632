"""The topological loss: the distance between the persistence bars of a map and the bars of a given topology."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.system import machine
from softmorph_cli.topology.patches import Place, in_threads
from softmorph_cli.topology.prior import BettiPrior, check_betti
from softmorph_cli.topology.stacks import Stack

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
    maps: Tensor,
    betti: Sequence[BettiPrior],
    connectivity: int | None = None,
    min_length: float = 0.0,
    *,
    pieces: Sequence[tuple[int, Place]] | None = None,
    threads: int | None = None,
) -> Tensor:
    """Return the topological loss of each of several maps, or of parts of them, each with Betti numbers of its own.

    Bars of different maps are computed in threads. The values at the births and deaths of all bars of all maps are read
    by one index operation, so that its backward pass fills one array. Dimensions of any number are not computed.

    Args:
        maps: Probabilities, shape (N, Y, X) or (N, Z, Y, X), on any device; bars are computed on the CPU.
        betti: For each map or part its Betti numbers, as for `topological_loss`.
        connectivity: As for `topological_loss`.
        min_length: As for `topological_loss`.
        pieces: For each part the index of its map and its place there, a slice for each axis: what is outside of a part
            counts as background. None for the whole maps.
        threads: Number of threads; None for the default of this process. The result does not depend on it.

    Returns:
        The losses, shape (N,) or (number of parts,), float64 for maps of float64, otherwise float32.

    Raises:
        InputError: As for `topological_loss`, or if there are not as many lists of Betti numbers as maps or parts.
        UsageError: As for `topological_loss`.
    """
    import torch

    check_min_length(min_length)
    whole = (slice(None),) * (maps.ndim - 1)
    parts = [(number, whole) for number in range(len(maps))] if pieces is None else pieces
    if len(betti) != len(parts):
        raise InputError(
            f"there are {len(parts)} maps, and Betti numbers for {len(betti)}: give them for each map."
        )
    asked = [check_betti(numbers, maps.ndim - 1) for numbers in betti]
    # NumPy has no bfloat16, and every smaller type fits into float32.
    wide = torch.float64 if maps.dtype == torch.float64 else torch.float32
    images = maps.detach().to("cpu", wide).numpy()
    wanted = np.array(
        [[-1 if number is None else number for number in numbers] for numbers in asked], np.int64
    ).reshape(-1, maps.ndim - 1)
    found = _ends(images, parts, wanted, connectivity, min_length, threads)
    voxels, owner, sign = (torch.from_numpy(part).to(maps.device) for part in found)
    values = torch.where(voxels >= 0, maps.flatten()[voxels.clamp(min=0)].to(wide), 0)
    squared = (values[0] - values[1]).square()
    missing = torch.from_numpy(wanted.clip(0).sum(1)).to(maps.device, wide)
    return missing.index_add(0, owner, sign.to(wide) * squared)


def check_min_length(min_length: float) -> None:
    """Raise UsageError if a minimum length of bars is outside of [0, 1]."""
    if not 0 <= min_length <= 1:
        raise UsageError(f"min_length {min_length:g}: bars have lengths between 0 and 1; such as 0.05.")


def _ends(
    images: npt.NDArray[Any],
    pieces: Sequence[tuple[int, Place]],
    wanted: npt.NDArray[np.int64],
    connectivity: int | None,
    min_length: float,
    threads: int | None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the births and deaths of all bars with a loss.

    Returns:
        The flat indices of the voxels of births and deaths in the array of all images, shape (2, M), -1 for a death at
        0; the index of each bar's part, shape (M,); the sign of its squared length in the loss, shape (M,): -1 for the
        bars that are wanted, 1 for all others.
    """
    stacks = list(Stack.of_all(images, pieces, wanted))
    threads = threads or machine.threads()
    # Few stacks are computed one after the other, each by all threads.
    inner = threads if len(stacks) < threads else 1
    found = in_threads(
        lambda stack: list(stack.ends(connectivity, min_length, inner)), stacks, threads // inner, images.size
    )
    strides = np.cumprod((1, *images.shape[:0:-1]), dtype=np.int64)[::-1]
    none = np.empty(0, np.int64)
    bars = [(none.reshape(2, 0), none, none)]
    for at, part, sign in itertools.chain.from_iterable(found):
        bars.append((np.where(at[..., -1] < 0, -1, at @ strides), part, sign))
    voxels, part, sign = zip(*bars, strict=True)
    return np.concatenate(voxels, axis=1), np.concatenate(part), np.concatenate(sign)
