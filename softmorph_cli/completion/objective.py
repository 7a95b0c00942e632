"""Terms of the loss that the training and the fit of a shape prior share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from torch import Tensor

WEIGHT_OF_INTENSITY: Final = 10.0
WEIGHT_OF_LATENTS: Final = 1e-4
_SMOOTH: Final = 1e-5


def soft_dice(shares: Tensor, wanted: Tensor, axis: int) -> Tensor:
    """Return the soft Dice, 2 sum p q / sum (p + q), of probabilities whose voxels lie along an axis."""
    both = (shares * wanted).sum(axis)
    return (2 * both + _SMOOTH) / (shares.sum(axis) + wanted.sum(axis) + _SMOOTH)
