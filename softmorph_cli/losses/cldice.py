"""Soft clDice (Shit et al., CVPR 2021) with any differentiable skeleton, alone and beside soft Dice.

The min/max-pool skeleton of a map that is 1 everywhere is empty: nothing sticks out of it. So a prediction of
foreground everywhere has a perfect clDice, in MONAI's loss as here with method "cldice", and a young network can
fall for it. Keep alpha low, or take "nested" or "smooth-levels", for which the outside of the map is background.

What did best on drawn vessels in 2D and 3D (`softmorph_cli.losses.example`) is "nested" with `levels="exact",
lowest=0.25` and alpha 0.5: more clDice than Dice alone on all ten seeds. Values up to `lowest` are background: a
network has some probability everywhere, most of which would count as skeleton. The default stays "cldice", because the
values of the defaults are MONAI's.

Three more things in MONAI's own are odd. Its values are the default here; what differs:

- clDice of several classes is one ratio of sums over all of them, so a large class drowns a thin one.
  `per_class=True` takes one clDice for each class, as Dice is taken.
- Dice + clDice with reduction "none" broadcasts (B, C, 1, 1) against (B,) to (B, C, 1, B), in which items are mixed.
  Here item b gets its own clDice: (B, C, 1, 1), equal to MONAI's where B is 1.
- alpha may be above 1/2 there, which the paper rules out; it is refused here. So is `iter_=0`, a skeleton without
  thinning.
"""

from __future__ import annotations

from typing import Final, Unpack, cast

from torch import Tensor

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.filters.method import Scheme, find
from softmorph_cli.filters.modules import SoftSkeletonizer
from softmorph_cli.filters.settings import MethodOptions
from softmorph_cli.losses.channels import ChannelLoss, Channels, check_values, space
from softmorph_cli.losses.dice import soft_dice

# MONAI's.
ITERATIONS: Final = 3


class Skeletal(Channels, MethodOptions, total=False):
    """Keyword arguments of channels and of skeletons in one."""


class SoftCLDiceLoss(ChannelLoss):
    """1 - soft clDice: the harmonic mean of how much of each one's skeleton lies in the other.

    Equal to MONAI's `SoftclDiceLoss` with method "cldice".

    Args:
        iter_: Thinning iterations of the soft skeletons; about the largest radius in voxels. Default 3, MONAI's; of
            "nested": to the end.
        method: How skeletons are made soft: "cldice" is the paper's min/max-pool one, "nested" the one that is a
            centreline at every level (settings: `levels`, `lowest`, `surrogate`), "smooth-levels" one whose gradient
            does not fade; all in `softmorph_cli.filters.method`.
        smooth_nr: Added to the numerators of topology precision and sensitivity.
        smooth_dr: Added to their denominators.
        smooth: Added to the denominator of the harmonic mean.
        per_class: One clDice for each class instead of one over all.
        **how: See `ChannelLoss` and `softmorph_cli.filters.settings.MethodOptions`.

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
        """Choose the skeleton.

        Raises:
            UsageError: If an argument is out of range, or arguments exclude each other.
        """
        channels = {name: how[name] for name in Channels.__annotations__ if name in how}  # type: ignore[literal-required]
        rest = {name: value for name, value in how.items() if name not in channels}
        super().__init__(**cast(Channels, channels))
        to_the_end = iter_ is None and find(method).scheme is Scheme.NESTED
        iterations = None if to_the_end else ITERATIONS if iter_ is None else iter_
        self.skeletonizer = SoftSkeletonizer(iterations, method, **cast(MethodOptions, rest))
        if not smooth > 0:
            raise UsageError(
                f"smooth {smooth:g}: it must be positive, or two empty skeletons would give 0 / 0."
            )
        self.smooth_nr, self.smooth_dr, self.smooth = smooth_nr, smooth_dr, smooth
        self.per_class = per_class

    def forward(self, input: Tensor, target: Tensor, target_skeleton: Tensor | None = None) -> Tensor:
        """Return the loss.

        Args:
            input: (B, C, [D,] H, W), probabilities or what sigmoid or softmax make them of.
            target: Of the same shape in [0, 1], or labels, see `ChannelLoss`.
            target_skeleton: What `skeleton(target)` gave, or any other skeleton of that shape: it need not be
                made again in every epoch.

        Raises:
            InputError: If shapes or values do not fit, or the method has no gradient and one is needed.
        """
        p, g = self.pair(input, target)
        losses = 1 - self._cldice(p, g, target_skeleton)
        if self.reduction == "none" and not self.per_class:
            return losses.flatten()
        return self.reduced(losses, p.ndim - 2)

    def skeleton(self, target: Tensor, channels: int | None = None) -> Tensor:
        """Return the target's soft skeleton, to be kept and given to `forward`.

        Args:
            target: (B, C, [D,] H, W).
            channels: The network's; needed where the target holds labels.

        Returns:
            (B, C, [D,] H, W), without channel 0 where the background is left out.

        Raises:
            InputError: If shape or values do not fit, or channels is missing.
        """
        return self._skeletonized(self.truth(target, channels))

    def _skeletonized(self, batch: Tensor) -> Tensor:
        skeleton: Tensor = self.skeletonizer(batch)
        return skeleton

    def _cldice(self, p: Tensor, g: Tensor, target_skeleton: Tensor | None) -> Tensor:
        """Return soft clDice of each item: (B, C), or (B, 1) over all classes."""
        of_p = self._skeletonized(p)
        of_g = self._skeletonized(g) if target_skeleton is None else checked_skeleton(target_skeleton, g)
        axes = space(p) if self.per_class else tuple(range(1, p.ndim))

        def share(skeleton: Tensor, other: Tensor) -> Tensor:
            return ((skeleton * other).sum(axes) + self.smooth_nr) / (skeleton.sum(axes) + self.smooth_dr)

        precision, sensitivity = share(of_p, g), share(of_g, p)
        cldice = 2 * precision * sensitivity / (precision + sensitivity + self.smooth)
        return cldice if self.per_class else cldice[:, None]


class SoftDiceCLDiceLoss(SoftCLDiceLoss):
    """(1 - alpha) (1 - soft Dice) + alpha (1 - soft clDice).

    Equal to MONAI's `SoftDiceclDiceLoss` with method "cldice".

    Args:
        iter_: See `SoftCLDiceLoss`, as all but alpha; the smoothing constants are those of Dice, too.
        alpha: The weight of clDice, 0 to 1/2.
        method: How skeletons are made soft.
        smooth_nr: Added to numerators.
        smooth_dr: Added to denominators.
        smooth: Added to the denominator of the harmonic mean.
        per_class: One clDice for each class.
        **how: See `ChannelLoss` and `softmorph_cli.filters.settings.MethodOptions`.

    With `reduction="none"` the result is (B, C, [1,] 1, 1).
    """

    def __init__(
        self,
        iter_: int | None = None,
        alpha: float = 0.5,
        method: str = "cldice",
        *,
        smooth_nr: float = 1.0,
        smooth_dr: float = 1.0,
        smooth: float = 1e-4,
        per_class: bool = False,
        **how: Unpack[Skeletal],
    ) -> None:
        """Choose skeleton and weight.

        Raises:
            UsageError: If an argument is out of range, or arguments exclude each other.
        """
        super().__init__(
            iter_, method, smooth_nr=smooth_nr, smooth_dr=smooth_dr, smooth=smooth, per_class=per_class, **how
        )
        if not 0 <= alpha <= 0.5:
            raise UsageError(f"alpha {alpha:g}: it lies between 0 (soft Dice alone) and 0.5.")
        self.alpha = alpha

    def forward(self, input: Tensor, target: Tensor, target_skeleton: Tensor | None = None) -> Tensor:
        """Return the loss; arguments and errors as `SoftCLDiceLoss.forward`."""
        p, g = self.pair(input, target)
        dice = 1 - soft_dice(p, g, smooth_nr=self.smooth_nr, smooth_dr=self.smooth_dr)
        cldice = 1 - self._cldice(p, g, target_skeleton)
        # Each is reduced by itself: a sum counts one clDice over all classes once.
        first, second = (self.reduced(losses, p.ndim - 2) for losses in (dice, cldice))
        return (1 - self.alpha) * first + self.alpha * second


def checked_skeleton(skeleton: Tensor, g: Tensor) -> Tensor:
    """Return a target's skeleton that was made beforehand, on the target's device and of its type.

    Raises:
        InputError: If its shape or values do not fit.
    """
    if skeleton.shape != g.shape:
        raise InputError(
            f"target_skeleton has shape {tuple(skeleton.shape)}; the target as it is compared has {tuple(g.shape)}."
        )
    wide = skeleton.to(g)
    check_values("target_skeleton", wide)
    return wide
