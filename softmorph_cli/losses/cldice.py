"""Soft clDice (Shit et al., CVPR 2021) with any differentiable skeleton, alone and together with soft Dice.

The min/max-pool skeleton of a map that is 1 everywhere is empty, as it has no border to thin from. So a prediction of
foreground everywhere has a perfect clDice, in MONAI's loss as here with method "cldice", and a network may converge to
it early in training. Keep alpha low, or use "nested" or "smooth-levels", which take the outside of the map for
background.

The best on drawn vessels in 2D and 3D (`softmorph_cli.losses.example`) was "nested" with `levels="exact", lowest=0.25`
and alpha 0.5: a higher clDice than with Dice alone on all ten seeds. Values up to `lowest` are background: networks
output some probability everywhere, most of which would count as skeleton. The default stays "cldice", whose values are
MONAI's.

Three other properties of MONAI's losses are changed, or can be:

- clDice of several classes is one ratio of sums over all of them, which a large class dominates. `per_class=True`
  computes one clDice for each class, like Dice.
- Dice + clDice with reduction "none" broadcasts (B, C, 1, 1) against (B,) to (B, C, 1, B), which mixes items. Here the
  result is (B, C, 1, 1), with each item's own clDice, equal to MONAI's if B is 1.
- alpha may exceed 1/2, which the paper excludes; here that is an error, as is `iter_=0`, a skeleton without thinning.
"""

from __future__ import annotations

from typing import Final, Unpack, cast

from torch import Tensor

from softmorph_cli.errors import UsageError
from softmorph_cli.filters.method import Scheme, find
from softmorph_cli.filters.modules import SoftSkeletonizer
from softmorph_cli.filters.settings import MethodOptions
from softmorph_cli.losses.channels import Channels, SkeletonLoss, space
from softmorph_cli.losses.dice import soft_dice

# The default of MONAI.
ITERATIONS: Final = 3


class Skeletal(Channels, MethodOptions, total=False):
    """Keyword arguments of `ChannelLoss` (channels) and of `SoftSkeletonizer` (skeletons)."""


class ClDiceOptions(Skeletal, total=False):
    """Keyword arguments of `SoftCLDiceLoss`, which explains them."""

    smooth_nr: float
    smooth_dr: float
    smooth: float
    per_class: bool


class SoftCLDiceLoss(SkeletonLoss):
    """The soft clDice loss: 1 - clDice, the harmonic mean of topology precision and sensitivity.

    Precision is the share of the input's skeleton within the target, sensitivity the share of the target's skeleton
    within the input. With method "cldice" the loss is equal to MONAI's `SoftclDiceLoss`.

    Args:
        iter_: Number of thinning iterations of the soft skeletons, about the largest radius in voxels. By default 3, as
            in MONAI; with "nested" until nothing changes.
        method: The kind of soft skeleton: "cldice" is the paper's min/max-pool skeleton, "nested" has a centreline at
            every level (with `levels`, `lowest`, `surrogate`), "smooth-levels" has a gradient that does not vanish; all
            are listed in `softmorph_cli.filters.method`.
        smooth_nr: Constant that is added to the numerators of topology precision and sensitivity.
        smooth_dr: Constant that is added to the denominators of precision and sensitivity.
        smooth: Constant that is added to the denominator of the harmonic mean.
        per_class: Whether to compute clDice for each class instead of once over all classes.
        **how: Arguments of `ChannelLoss`, and of the method (`softmorph_cli.filters.settings.MethodOptions`).

    With `reduction="none"` the result is (B,), or (B, C, [1,] 1, 1) with `per_class`.
    """

    def __init__(
        self,
        iter_: int | None = None,
        method: str = "cldice",
        *,
        smooth_nr: float = 1.0,
        smooth_dr: float = 1.0,
        smooth: float = 1e-4,
        per_class: bool = False,
        **how: Unpack[Skeletal],
    ) -> None:
        """Make the loss and its skeletonizer.

        Raises:
            UsageError: If an argument is out of range, or arguments exclude each other.
        """
        channels = {name: how[name] for name in Channels.__annotations__ if name in how}  # type: ignore[literal-required]
        rest = {name: value for name, value in how.items() if name not in channels}
        super().__init__(**cast(Channels, channels))
        if iter_ is None and find(method).scheme is not Scheme.NESTED:
            iter_ = ITERATIONS
        self.skeletonizer = SoftSkeletonizer(iter_, method, **cast(MethodOptions, rest))
        if not smooth > 0:
            raise UsageError(
                f"smooth {smooth:g}: it must be positive, or two empty skeletons would give 0 / 0."
            )
        self.smooth_nr, self.smooth_dr, self.smooth = smooth_nr, smooth_dr, smooth
        self.per_class = per_class

    def forward(self, input: Tensor, target: Tensor, target_skeleton: Tensor | None = None) -> Tensor:
        """Return the loss of a batch.

        Args:
            input: Output of the network (B, C, [D,] H, W): probabilities, or logits with `sigmoid` or `softmax`.
            target: Target in [0, 1] of the shape of `input`, or with `to_onehot_y` labels (B, 1, [D,] H, W).
            target_skeleton: Skeleton of the target, as `skeleton(target)` returns; by default (None) it is computed.

        Raises:
            InputError: If shapes or values do not fit, or a gradient is required of a method without gradient.
        """
        p, g = self.pair(input, target)
        losses = 1 - self._cldice(p, g, target_skeleton)
        if self.reduction == "none" and not self.per_class:
            return losses.flatten()
        return self.reduced(losses, p.ndim - 2)

    def skeletonized(self, batch: Tensor) -> Tensor:
        """Return the soft skeletons of a batch (B, C, [D,] H, W), channel by channel."""
        skeleton: Tensor = self.skeletonizer(batch)
        return skeleton

    def _cldice(self, p: Tensor, g: Tensor, target_skeleton: Tensor | None) -> Tensor:
        """Return soft clDice of each item of a batch, shape (B, C), or (B, 1) if computed over all classes."""
        of_p, of_g = self.skeletonized(p), self.skeleton_of_target(g, target_skeleton)
        axes = space(p) if self.per_class else tuple(range(1, p.ndim))

        def share(skeleton: Tensor, other: Tensor) -> Tensor:
            return ((skeleton * other).sum(axes) + self.smooth_nr) / (skeleton.sum(axes) + self.smooth_dr)

        precision, sensitivity = share(of_p, g), share(of_g, p)
        cldice = 2 * precision * sensitivity / (precision + sensitivity + self.smooth)
        return cldice if self.per_class else cldice[:, None]


class SoftDiceCLDiceLoss(SoftCLDiceLoss):
    """The weighted sum of two losses: (1 - alpha) (1 - soft Dice) + alpha (1 - soft clDice).

    With method "cldice" the loss is equal to MONAI's `SoftDiceclDiceLoss`.

    Args:
        iter_: Number of thinning iterations of the soft skeletons, as in `SoftCLDiceLoss`.
        alpha: The weight of clDice, 0 to 1/2.
        method: The kind of soft skeleton, as in `SoftCLDiceLoss`.
        **options: Further arguments of `SoftCLDiceLoss`; `smooth_nr` and `smooth_dr` are used for Dice, too.

    With `reduction="none"` the result is (B, C, [1,] 1, 1).
    """

    def __init__(
        self,
        iter_: int | None = None,
        alpha: float = 0.5,
        method: str = "cldice",
        **options: Unpack[ClDiceOptions],
    ) -> None:
        """Make the loss and its skeletonizer.

        Raises:
            UsageError: If an argument is out of range, or arguments exclude each other.
        """
        super().__init__(iter_, method, **options)
        if not 0 <= alpha <= 0.5:
            raise UsageError(f"alpha {alpha:g}: it lies between 0 (soft Dice alone) and 0.5.")
        self.alpha = alpha

    def forward(self, input: Tensor, target: Tensor, target_skeleton: Tensor | None = None) -> Tensor:
        """Return the loss of a batch; arguments and errors are those of `SoftCLDiceLoss.forward`."""
        p, g = self.pair(input, target)
        dice = 1 - soft_dice(p, g, smooth_nr=self.smooth_nr, smooth_dr=self.smooth_dr)
        cldice = 1 - self._cldice(p, g, target_skeleton)
        # Reduced separately, so that a sum counts one clDice over all classes once.
        first, second = (self.reduced(losses, p.ndim - 2) for losses in (dice, cldice))
        return (1 - self.alpha) * first + self.alpha * second
