"""Targets of coarser heads: class planes pooled to each head's size (Reiss et al., CVPR 2021).

A class plane is a channel that holds 1 where the class is present, 0 where it is absent, and NaN where this is unknown.
A coarse cell (pixel of a coarse head) may contain several classes: max-pooling gives the set of all classes in the
cell, so that a vessel one pixel wide remains at every size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from torch import Tensor
from torch.nn import functional

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.losses.channels import ChannelLoss

POOLINGS: Final = ("max", "mean", "nearest")
# By the number of axes.
_MAX: Final[dict[int, Callable[..., Tensor]]] = {
    2: functional.adaptive_max_pool2d,
    3: functional.adaptive_max_pool3d,
}
_MEAN: Final[dict[int, Callable[..., Tensor]]] = {
    2: functional.adaptive_avg_pool2d,
    3: functional.adaptive_avg_pool3d,
}
# They check and convert targets of the two kinds.
_PLANES: Final = ChannelLoss()
_LABELS: Final = ChannelLoss(to_onehot_y=True)


def label_pyramid(
    target: Tensor,
    sizes: Sequence[Sequence[int]],
    *,
    classes: int | None = None,
    ignore_index: int | None = None,
    pooling: str = "max",
) -> list[Tensor]:
    """Return the targets of several heads: for each cell (pixel) of a head the classes in that cell.

    Cell i of n along an axis of N pixels holds pixels floor(i N / n) to ceil((i + 1) N / n) - 1, as in torch's adaptive
    pooling: where n does not divide N, neighbouring cells share pixels, and no pixel is left out. Every size is pooled
    from the full size. Where n divides N, "max" is a flat dilation by a block of N / n pixels, then subsampling.

    With "max", a cell with unknown pixels is 1 for a class that another of its pixels has, otherwise NaN, because the
    class may be present. `MultiLabelDeepSupervisionLoss` leaves NaN out.

    Args:
        target: Planes (B, C, [D,] H, W) in [0, 1] or NaN; or, with `classes`, whole labels (B, 1, [D,] H, W).
        sizes: The size ([D,] H, W) of each head in pixels, at most that of the target unless `pooling` is "nearest".
        classes: Number of classes, background (label 0) included; the target holds labels 0 to `classes` - 1.
        ignore_index: The label of pixels whose class is unknown, any integer, also within 0 to `classes` - 1.
        pooling: "max": 1 if the class is anywhere in the cell. "mean": the class's share of the cell's pixels, NaN if a
            pixel is unknown. "nearest": the value of the pixel at the cell's centre, as in MONAI; thin objects vanish.

    Returns:
        For each size a tensor (B, C, *size) of float32 (float64 if the planes are float64) with values 0, 1 and NaN;
        with "mean", or if planes have such values, also values between 0 and 1.

    Raises:
        UsageError: If the pooling is unknown, or `ignore_index` is given without `classes`.
        InputError: If shapes, values or sizes do not fit.

    Source:
        S. Reiss et al., "Every annotation counts: multi-label deep supervision for medical image segmentation", 2021.

    Example:
        >>> import torch
        >>> from softmorph_cli.losses import label_pyramid
        >>> labels = torch.zeros(1, 1, 4, 4, dtype=torch.long)
        >>> labels[0, 0, 0, 1], labels[0, 0, 3, 3] = 1, 255
        >>> (coarse,) = label_pyramid(labels, [(2, 2)], classes=2, ignore_index=255)
        >>> coarse[0, 1]  # class 1: in the first cell, and perhaps in the last
        tensor([[1., 0.],
                [0., nan]])
    """
    planes = class_planes(target, classes, ignore_index)
    return [pooled(planes, size, pooling) for size in sizes]


def class_planes(target: Tensor, classes: int | None = None, ignore_index: int | None = None) -> Tensor:
    """Return a target at full size as a plane (channel) for each class; the arguments are those of `label_pyramid`."""
    if classes is None:
        if ignore_index is not None:
            raise UsageError(
                "ignore_index is a label, and planes hold none: set them to NaN where not known."
            )
        known = _PLANES.truth(target.detach().nan_to_num(0), None)
        return known.masked_fill(target.isnan(), math.nan)
    if ignore_index is None:
        return _one_hot(target.detach(), classes)
    # In int64, or -1 would be 255 among uint8.
    ignored = (target if target.is_floating_point() else target.long()) == ignore_index
    return _one_hot(target.detach().masked_fill(ignored, 0), classes).masked_fill(ignored, math.nan)


def _one_hot(labels: Tensor, classes: int) -> Tensor:
    if classes < 2:
        raise InputError(f"classes={classes}: labels need at least 2, the background is one of them.")
    return _LABELS.truth(labels, classes)


def pooled(planes: Tensor, size: Sequence[int], pooling: str) -> Tensor:
    """Return class planes (B, C, [D,] H, W) reduced to a size by the pooling "max", "mean" or "nearest".

    Raises:
        UsageError: If the pooling is unknown.
        InputError: If the size does not fit.
    """
    checked_pooling(pooling)
    whole, size = tuple(planes.shape[2:]), tuple(size)
    if size == whole:
        return planes
    if len(size) != len(whole) or min(size) < 1:
        raise InputError(
            f"size {size} does not fit a target of {whole}: {len(whole)} numbers from 1 are needed."
        )
    if pooling == "nearest":
        return functional.interpolate(planes, size, mode="nearest-exact")
    if any(n > most for n, most in zip(size, whole, strict=True)):
        raise InputError(
            f"a head of {size} is larger than its target of {whole}: enlarge the target first, or pooling='nearest'."
        )
    if pooling == "mean":
        return _MEAN[len(size)](planes, size)
    pool = _MAX[len(size)]
    # NaN would win in every cell that it is in, and there it must lose to 1.
    known = pool(planes.nan_to_num(0), size)
    uncertain = pool(planes.isnan().to(planes.dtype), size) > 0
    return known.masked_fill(uncertain & (known < 1), math.nan)


def checked_pooling(pooling: str) -> str:
    """Return the name of a pooling if it is known.

    Raises:
        UsageError: If no pooling has this name.
    """
    if pooling not in POOLINGS:
        raise UsageError(f"unknown pooling {pooling!r}: use one of {', '.join(POOLINGS)}.")
    return pooling
