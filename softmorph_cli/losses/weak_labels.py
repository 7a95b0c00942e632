"""Targets from less than a mask: boxes, labels of whole images, and a network's own predictions.

All targets are class planes (1: the class is present, 0: absent, NaN: unknown) or labels, as `label_pyramid` takes,
for `MultiLabelDeepSupervisionLoss`, whose coarse heads can learn which classes are present in a cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from softmorph_cli.errors import InputError, UsageError


def boxes_to_target(
    boxes: Sequence[Sequence[int]] | Tensor,
    labels: Sequence[int] | Tensor,
    shape: Sequence[int],
    classes: int,
    *,
    background: float = math.nan,
) -> Tensor:
    """Return the planes of an image, one for each class, in which the boxes of the class are filled with 1.

    Boxes may overlap without priority: a pixel in two boxes is 1 in both planes. Outside of its boxes a class is 0;
    outside of all boxes the background is 1.

    Args:
        boxes: N boxes, shape (N, 4) or (N, 6), in pixels, as skimage's `regionprops` returns: the first row, column (or
            plane, row, column) of the box, then the first ones after the box. N = 0 is an image of background.
        labels: The classes of the N boxes, 1 to `classes` - 1.
        shape: The shape ([D,] H, W) of the image in pixels.
        classes: Number of classes, the background included.
        background: Value of the background's plane within boxes. NaN: unknown. 0: objects fill their boxes. 1: boxes
            also contain background, which is true of the coarse cells of thin objects.

    Returns:
        Planes (C, [D,] H, W) of float32; `torch.stack` makes a batch of several images.

    Raises:
        InputError: If a box is empty or reaches outside of the image, or a label is no class of boxes.

    Source:
        S. Reiss et al., 2021, for filled boxes; an unknown background within boxes is this package's choice.

    Example:
        >>> from softmorph_cli.losses.weak_labels import boxes_to_target
        >>> planes = boxes_to_target([(0, 1, 2, 3)], [1], shape=(2, 4), classes=2)
        >>> planes[1]
        tensor([[0., 1., 1., 0.],
                [0., 1., 1., 0.]])
        >>> planes[0, 0]
        tensor([1., nan, nan, 1.])
    """
    rows, names = torch.as_tensor(boxes).tolist(), torch.as_tensor(labels).tolist()
    if len(rows) != len(names):
        raise InputError(f"{len(rows)} boxes and {len(names)} labels: each box needs one label.")
    if not (math.isnan(background) or 0 <= background <= 1):
        raise InputError(f"background={background:g}: it is 0, 1, between them, or NaN for not known.")
    planes = torch.zeros(classes, *shape)
    planes[0] = 1
    for box, name in zip(rows, names, strict=True):
        within = _slices(box, tuple(shape))
        if name not in range(1, classes):
            raise InputError(
                f"a box has label {name}: 1 to {classes - 1} are the classes that boxes can have."
            )
        planes[0][within] = background
        planes[int(name)][within] = 1
    return planes


def _slices(box: Sequence[float], shape: tuple[int, ...]) -> tuple[slice, ...]:
    low, high = box[: len(shape)], box[len(shape) :]
    if len(box) != 2 * len(shape) or not all(float(edge).is_integer() for edge in box):
        raise InputError(f"box {tuple(box)}: {2 * len(shape)} whole numbers fit an image of {shape}.")
    if any(not 0 <= a < b <= n for a, b, n in zip(low, high, shape, strict=True)):
        raise InputError(
            f"box {tuple(box)} is empty or reaches beyond an image of {shape}: give the first row, column and so on, "
            "then the first ones after the box."
        )
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def image_labels_to_target(present: Tensor, shape: Sequence[int]) -> Tensor:
    """Return the planes, one for each class, that follow from labels of whole images.

    A class that is absent from an image is 0 in every pixel. A class that is present is somewhere in the image, so
    every pixel is NaN (unknown); planes of a single cell are 1, the target of `head.amax((-2, -1), keepdim=True)`.

    Args:
        present: Labels of the images, shape (B, C): 1 or True where the image has the class; class 0 is the background.
        shape: The shape ([D,] H, W) of the planes, which is that of the image or of a head.

    Returns:
        Planes (B, C, [D,] H, W) of float32.

    Raises:
        InputError: If `present` has values other than 0 and 1, or an image has no class.

    Source:
        The definition of the label pyramid. S. Reiss et al., 2021, filter pseudo-labels by labels of images.

    Example:
        >>> import torch
        >>> from softmorph_cli.losses.weak_labels import image_labels_to_target
        >>> image_labels_to_target(torch.tensor([[1, 0, 1]]), (1, 2))[0, :, 0]
        tensor([[nan, nan],
                [0., 0.],
                [nan, nan]])
        >>> image_labels_to_target(torch.tensor([[1, 0, 1]]), (1, 1)).flatten()
        tensor([1., 0., 1.])
    """
    there = _presence(present)
    planes = there.float().reshape(*there.shape, *(1,) * len(shape)).repeat(1, 1, *shape)
    return planes if math.prod(shape) == 1 else planes.masked_fill(planes > 0, math.nan)


def _presence(present: Tensor) -> Tensor:
    if present.ndim != 2 or not bool(((present == 0) | (present == 1)).all()):
        raise InputError(
            f"labels of images are 0 and 1 of shape (B, C), not {tuple(present.shape)} of {present.dtype}: "
            "(mask.amax((-2, -1)) > 0) gives them of planes."
        )
    if not bool((present > 0).any(1).all()):
        raise InputError("an image has no class at all: the background, channel 0, is one.")
    return present > 0


@torch.no_grad()
def pseudo_labels(
    logits: Tensor, present: Tensor | None = None, *, least: float = 0.0, ignore_index: int = -1
) -> Tensor:
    """Return the most probable class of each pixel, as labels to train with.

    The logits may be those of the network being trained (self-taught), or of a running average of its weights
    (mean-taught), which vary less; `torch.optim.swa_utils.AveragedModel` is this average, with
    theta_T <- a theta_T + (1 - a) theta_S after each step. a = 0.5 was the best in the paper,
    where a = 0 is the student itself.

    Args:
        logits: Logits (B, C, [D,] H, W) for a softmax over C >= 2 classes; channel 0 is the background.
        present: Labels of the images, shape (B, C), if known: 1 where the image has the class; other classes are not
            chosen.
        least: Least probability, in [0, 1], among the classes that the image has: less probable labels become
            `ignore_index`. (The paper's rule is not known; by default every pixel counts.)
        ignore_index: Label of pixels that `MultiLabelDeepSupervisionLoss` and `label_pyramid` are to ignore.

    Returns:
        Labels (B, 1, [D,] H, W) of int64, without gradient.

    Raises:
        UsageError: If `least` is outside of [0, 1].
        InputError: If shapes or values do not fit.

    Source:
        S. Reiss et al., 2021, eq. 10; A. Tarvainen, H. Valpola, "Mean teachers are better role models", 2017.

    Example:
        >>> import torch
        >>> from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
        >>> from softmorph_cli.losses.weak_labels import pseudo_labels
        >>> student = torch.nn.Conv2d(1, 3, 1)
        >>> teacher = AveragedModel(student, multi_avg_fn=get_ema_multi_avg_fn(0.5), use_buffers=True)
        >>> images = torch.zeros(2, 1, 4, 4)
        >>> labels = pseudo_labels(teacher(images), torch.tensor([[1, 0, 0], [1, 0, 1]]))
        >>> labels.shape, bool((labels[0] == 0).all())
        (torch.Size([2, 1, 4, 4]), True)
        >>> teacher.update_parameters(student)  # after each step of the student's optimizer
    """
    if not 0 <= least <= 1:
        raise UsageError(f"least={least:g}: a probability is needed, 0 to 1.")
    if logits.ndim not in (4, 5) or logits.shape[1] < 2:
        raise InputError(
            f"logits have shape {tuple(logits.shape)}: (B, C, [D,] H, W) with C >= 2 is needed, the background being "
            "one class; of a single channel (logits > 0).long() are the labels."
        )
    scores = logits.detach().float()
    if bool(scores.isnan().any()):
        raise InputError(
            "the logits hold NaN: there is NaN or infinity in the data, or training has diverged."
        )
    if present is not None:
        if present.shape != logits.shape[:2]:
            raise InputError(
                f"labels of images have shape {tuple(present.shape)}: {tuple(logits.shape[:2])} fits."
            )
        absent = ~_presence(present).reshape(*present.shape, *(1,) * (logits.ndim - 2))
        scores = scores.masked_fill(absent, -math.inf)
    probability, label = scores.softmax(1).max(1, keepdim=True)
    return label.masked_fill(probability < least, ignore_index)
