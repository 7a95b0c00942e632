"""The Betti matching loss: the distance between the matched persistence bars of two maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.system import machine
from softmorph_cli.topology.matching import Matched, match_dimensions
from softmorph_cli.topology.patches import in_threads

if TYPE_CHECKING:
    from torch import Tensor

# Each term of the loss is a weight times the squared difference of the values at two ends of bars. An end is the map
# (0 or 1) and the array indices of a voxel, -1 for the value 0.
_Terms = tuple[npt.NDArray[np.int64], npt.NDArray[Any]]


def betti_matching_losses(
    first: Tensor, second: Tensor, connectivity: int | None = None, dimensions: Sequence[int] | None = None
) -> Tensor:
    r"""Return the Betti matching loss of each of several pairs of maps.

    Stucki et al., *Topologically faithful image segmentation via induced matching of persistence barcodes*, ICML 2023.
    With births b and deaths d of the bars of both maps, the loss of a pair is

        sum over matched bars of 2 ((b - b')^2 + (d - d')^2)  +  sum over all other bars, of either map, of (b - d)^2.

    `topology.matching` defines what is matched. The gradient is nonzero only where bars are born or die.

    Args:
        first: Probabilities, shape (N, Y, X) or (N, Z, Y, X), on any device; bars are computed on the CPU.
        second: Probabilities or masks of 0 and 1, of the same shape and dtype; it may need a gradient too.
        connectivity: Connectivity of the foreground: 8 (default) or 4 in 2D, 26 (default) or 6 in 3D.
        dimensions: The dimensions that count: 0 components, 1 loops, 2 cavities in 3D; None for all.

    Returns:
        The losses, shape (N,), float64 for maps of float64, otherwise float32.

    Raises:
        InputError: If the maps have different shapes or dtypes, not 2 or 3 spatial axes or values outside of [0, 1].
        UsageError: If there is no such dimension.

    >>> import torch
    >>> p, mask = torch.tensor([[[0.9, 0.2, 0.0, 0.7]]]), torch.tensor([[[0.0, 1.0, 0.0, 0.0]]])
    >>> round(betti_matching_losses(p, mask)[0].item(), 2)  # 2 (0.9 - 1)^2 + 0.7^2
    0.51
    """
    import torch

    if first.shape != second.shape or first.dtype != second.dtype:
        raise InputError(
            f"matching needs maps of one shape and type; these are {first.dtype} {tuple(first.shape)} and "
            f"{second.dtype} {tuple(second.shape)}."
        )
    chosen = checked_dimensions(dimensions, first.ndim - 1)
    # NumPy has no bfloat16, and every smaller type fits into float32.
    wide = torch.float64 if first.dtype == torch.float64 else torch.float32
    images = [maps.detach().to("cpu", wide).numpy() for maps in (first, second)]
    terms, owners = _terms(images[0], images[1], connectivity, chosen)
    ends, weights = (torch.from_numpy(part).to(first.device) for part in terms)
    owner = torch.from_numpy(owners).to(first.device)
    values = torch.zeros(ends.shape[:2], dtype=wide, device=first.device)
    for which, maps in enumerate((first, second)):
        here = (ends[..., 0] == which) & (ends[..., 1] >= 0)
        items = owner.expand(here.shape)[here]
        values = values.index_put((here,), maps[(items, *ends[here][:, 1:].T)].to(wide))
    squared = (values[0] - values[1]).square()
    return torch.zeros(len(first), dtype=wide, device=first.device).index_add(0, owner, weights * squared)


def checked_dimensions(dimensions: Sequence[int] | None, dims: int) -> tuple[int, ...]:
    """Return the dimensions of bars, or raise UsageError if there are none of them in maps of `dims` axes."""
    chosen = tuple(range(dims)) if dimensions is None else tuple(dimensions)
    if not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= set(range(dims)):
        raise UsageError(
            f"dimensions {chosen}: name some of {tuple(range(dims))}, each once: components, loops"
            + (", cavities." if dims == 3 else ".")
        )
    return chosen


def _terms(
    first: npt.NDArray[Any],
    second: npt.NDArray[Any],
    connectivity: int | None,
    dimensions: Sequence[int],
) -> tuple[_Terms, npt.NDArray[np.int64]]:
    """Return the ends of all terms of all pairs, shape (2, M, 1 + d), their weights, and the pair of each term."""
    threads = machine.threads()
    # Few pairs are computed one after the other, each by all threads.
    inner = threads if len(first) < threads else 1

    def terms_of(pair: tuple[npt.NDArray[Any], npt.NDArray[Any]]) -> list[_Terms]:
        matching = match_dimensions(*pair, dimensions, connectivity, inner)
        return [_of_dimension(matched) for matched in matching.dimensions]

    empty = (np.empty((2, 0, first.ndim), np.int64), np.empty(0, first.dtype))
    each = in_threads(terms_of, list(zip(first, second, strict=True)), threads // inner, first.size)
    flat = [empty, *(one for terms in each for one in terms)]
    counts = [sum(len(weights) for _, weights in terms) for terms in each]
    ends = np.concatenate([ends for ends, _ in flat], axis=1)
    return (ends, np.concatenate([weights for _, weights in flat])), np.repeat(np.arange(len(each)), counts)


def _of_dimension(matched: Matched) -> _Terms:
    """Return the terms of the bars of one dimension."""
    first, second = matched.first[matched.pairs[:, 0]], matched.second[matched.pairs[:, 1]]
    pairs = [
        (_end(0, first.birth_at), _end(1, second.birth_at)),
        (_end(0, first.death_at), _end(1, second.death_at)),
    ]
    for which, (diagram, rows) in enumerate(
        zip((matched.first, matched.second), matched.unmatched, strict=True)
    ):
        rest = diagram[rows]
        pairs.append((_end(which, rest.birth_at), _end(which, rest.death_at)))
    weights = [np.full(len(one), weight) for (one, _), weight in zip(pairs, (2, 2, 1, 1), strict=True)]
    ends = np.stack([np.concatenate(side) for side in zip(*pairs, strict=True)])
    return ends, np.concatenate(weights).astype(matched.first.birth.dtype)


def _end(which: int, at: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the ends of bars of one map."""
    return np.concatenate([np.full((len(at), 1), which), at], axis=1)
