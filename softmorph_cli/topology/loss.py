"""The topological loss: the distance between the persistence bars of a map and the bars of a given topology."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.system import machine
from softmorph_cli.topology.patches import Place, in_threads
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
    bars_of_all = _Ends(images, connectivity, min_length, threads or machine.threads()).of_all(parts, asked)
    voxels, owner, sign = (torch.from_numpy(part).to(maps.device) for part in bars_of_all)
    values = torch.where(voxels >= 0, maps.flatten()[voxels.clamp(min=0)].to(wide), 0)
    squared = (values[0] - values[1]).square()
    wanted = [sum(number or 0 for number in numbers) for numbers in asked]
    return torch.tensor(wanted, dtype=wide, device=maps.device).index_add(0, owner, sign * squared)


def check_min_length(min_length: float) -> None:
    """Raise UsageError if a minimum length of bars is outside of [0, 1]."""
    if not 0 <= min_length <= 1:
        raise UsageError(f"min_length {min_length:g}: bars have lengths between 0 and 1; such as 0.05.")


@dataclass(frozen=True)
class _Ends:
    """Where the bars with a loss are born and die.

    Attributes:
        images: Probabilities, shape (N, Y, X) or (N, Z, Y, X).
        connectivity: Connectivity of the foreground, or None.
        min_length: Minimum length of bars beyond those that are asked for.
        threads: Number of threads.
    """

    images: npt.NDArray[Any]
    connectivity: int | None
    min_length: float
    threads: int

    def of_all(
        self, pieces: Sequence[tuple[int, Place]], asked: Sequence[tuple[int | None, ...]]
    ) -> tuple[npt.NDArray[Any], ...]:
        """Return the bars of all parts of images.

        Returns:
            The flat indices of the voxels of births and deaths in the array of all images, shape (2, M), -1 outside of
            the map; the index of each bar's part, shape (M,); the sign of its squared length in the loss, shape (M,):
            -1 for the bars that are asked for, 1 for all others.
        """
        # Few maps are computed one after the other, each by all threads.
        inner = self.threads if len(pieces) < self.threads else 1
        found = in_threads(
            lambda one: self._of_one(one[0], one[1], inner),
            list(zip(pieces, asked, strict=True)),
            self.threads // inner,
            self.images.size,
        )
        voxels = [np.empty((2, 0), np.int64), *(ends for ends, _ in found)]
        signs = [np.empty(0, self.images.dtype), *(sign for _, sign in found)]
        owner = np.repeat(np.arange(len(found)), [len(sign) for _, sign in found])
        return np.concatenate(voxels, axis=1), owner, np.concatenate(signs)

    def _of_one(
        self, piece: tuple[int, Place], numbers: tuple[int | None, ...], threads: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any]]:
        """Return the flat indices of births and deaths of one part, and the signs of its bars."""
        number, place = piece
        space = self.images.shape[1:]
        starts = [along.indices(extent)[0] for along, extent in zip(place, space, strict=True)]
        strides = np.cumprod((1, *space[:0:-1]), dtype=np.int64)[::-1]
        first = int(number * np.prod(space, dtype=np.int64) + starts @ strides)
        voxels, signs = [np.empty((2, 0), np.int64)], [np.empty(0, self.images.dtype)]
        for wanted, found in _diagrams(self.images[number][place], numbers, self.connectivity, threads):
            # Bars are sorted by falling length.
            kept = min(len(found), max(wanted, int(np.count_nonzero(found.length >= self.min_length))))
            at = np.stack([found.birth_at[:kept], found.death_at[:kept]])
            voxels.append(np.where(at[..., 0] < 0, -1, at @ strides + first))
            signs.append(np.where(np.arange(kept) < wanted, -1, 1).astype(self.images.dtype))
        return np.concatenate(voxels, axis=1), np.concatenate(signs)


def _diagrams(
    image: npt.NDArray[Any], numbers: Sequence[int | None], connectivity: int | None, threads: int
) -> Iterator[tuple[int, Diagram]]:
    """Yield the Betti number that is asked for and the bars of each dimension whose number is not any."""
    # Loops in 3D need the bars of all dimensions.
    whole = None not in numbers or (image.ndim == 3 and numbers[1] is not None)
    together = bars(image, connectivity, threads).diagrams if whole else None
    for dimension, wanted in enumerate(numbers):
        if wanted is not None:
            yield (
                wanted,
                together[dimension] if together else diagram(image, dimension, connectivity, threads),
            )
