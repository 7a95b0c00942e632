"""Batches for the tests of losses."""

from __future__ import annotations

import numpy as np
import torch
from helpers_maps import vessels
from torch import Tensor


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return independent, distinct values in (0, 1)."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def tubes(batch: int, channels: int, *space: int, seed: int = 0) -> Tensor:
    """Return soft vessels as float64 of (B, C, [D,] H, W)."""
    drawn = [vessels(space, seed + k, branches=3) for k in range(batch * channels)]
    return torch.tensor(np.stack(drawn).reshape(batch, channels, *space))


def logits_of(p: Tensor) -> Tensor:
    """Return the logits of probabilities, which are clipped to [0.01, 0.99]."""
    return torch.logit(p.clamp(0.01, 0.99))


def labels(batch: int, classes: int, *space: int, seed: int = 0) -> Tensor:
    """Return random labels as a target of one channel."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, classes, (batch, 1, *space), generator=generator)
