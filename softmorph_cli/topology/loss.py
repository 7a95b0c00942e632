"""The topological loss: the distance between the persistence bars of a map and the bars of a given topology."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from softmorph_cli.topology.persistence import bars
from softmorph_cli.topology.prior import check_betti

if TYPE_CHECKING:
    from torch import Tensor


def topological_loss(p: Tensor, betti: Sequence[int], connectivity: int | None = None) -> Tensor:
    r"""Return the topological loss of a map for given Betti numbers.

    Clough et al., *A topological loss function for deep-learning based image segmentation using persistent
    homology*, TPAMI 2020. For each dimension k, with bars from birth b to death d by falling length,

        sum over the beta_k longest bars of (1 - |b - d|^2)  +  sum over all others of |b - d|^2.

    A missing bar counts as one of length 0, with loss 1. The loss is 0 if there are exactly the given numbers of bars,
    all of length 1. Its gradient is nonzero only in the voxels where bars are born or die.

    Args:
        p: Probabilities, shape (Y, X) or (Z, Y, X), on any device; bars are computed on the CPU.
        betti: The Betti numbers b0, b1 and, in 3D, b2.
        connectivity: Connectivity of the foreground: 8 (default) or 4 in 2D, 26 (default) or 6 in 3D.

    Returns:
        The loss, a scalar tensor with the dtype of p.

    Raises:
        InputError: If p does not have 2 or 3 axes or has values outside [0, 1], or the Betti numbers do not fit the
            map.
    """
    import torch

    betti = check_betti(betti, p.ndim)
    values = p.detach().to("cpu")
    # NumPy has no bfloat16, and every smaller type fits into float32.
    values = values if values.dtype == torch.float64 else values.float()
    found = bars(values.numpy(), connectivity)
    loss = p.new_zeros(())
    for asked, diagram in zip(betti, found.diagrams, strict=True):
        squared = (_read(p, diagram.birth_at) - _read(p, diagram.death_at)).square()
        loss = loss + asked - squared[:asked].sum() + squared[asked:].sum()
    return loss


def _read(p: Tensor, at: npt.NDArray[np.int64]) -> Tensor:
    """Return the values of p at array indices, shape (N, d), differentiably; the value at index -1 (outside) is 0."""
    import torch

    inside = torch.from_numpy(at[:, 0] >= 0).to(p.device)
    values = p[tuple(torch.from_numpy(along).to(p.device) for along in np.maximum(at.T, 0))]
    return torch.where(inside, values, torch.zeros_like(values))
