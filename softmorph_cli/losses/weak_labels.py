"""Targets from less than a mask: boxes, labels of whole images, and a network's own predictions.

All of them are planes of `label_pyramid` (1: the class is there, 0: it is not, NaN: not known) or labels that it takes,
and go into `MultiLabelDeepSupervisionLoss`, whose coarse heads can learn from what is true of a cell as a whole.
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
    """Return planes of one image in which each box is filled in the plane of its class.

    Boxes may overlap, and none has priority: a pixel in two boxes is 1 in both planes. Outside of its boxes a class
    is 0; outside of all of them the background is 1.

    Args:
        boxes: (N, 4) or (N, 6) in pixels, as skimage's `regionprops` gives them: the first row, column (or plane, row,
            column), then the first ones after the box. None at all is an image of background.
        labels: N classes, 1 to `classes` - 1.
        shape: ([D,] H, W) of the image in pixels.
        classes: How many there are, the background included.
        background: Its value within boxes. NaN: nothing is known. 0: boxes are full of their objects. 1: it is there
            too, which is true of the coarse cells of thin objects.

    Returns:
        (C, [D,] H, W) of float32; `torch.stack` makes a batch of several.

    Raises:
        InputError: If a box is empty or outside of the image, or a label is no class.

    Source:
        S. Reiss et al., 2021, for filled boxes; that the background is not known within them is this package's choice.

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
    """Return planes that say what labels of whole images say.

    A class that an image does not have is 0 in every pixel. One that it has is somewhere, so it is NaN in every pixel;
    if the image is a single cell, it is there: 1. That is the target of `head.amax((-2, -1), keepdim=True)`.

    Args:
        present: (B, C), 1 or True where the image has the class; channel 0 is the background.
        shape: ([D,] H, W) of the planes, of the image or of a head.

    Returns:
        (B, C, [D,] H, W) of float32.

    Raises:
        InputError: If `present` is not of 0 and 1, or names no class for an image.

    Source:
        The definition of the pyramid. S. Reiss et al., 2021, filter pseudo-labels by them, see `pseudo_labels`.

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

    Of the network that is trained itself they make it self-taught, of a running average of it (mean-taught) they are
    steadier; `torch.optim.swa_utils.AveragedModel` is that average, with theta_T <- a theta_T + (1 - a) theta_S after
    each step. a = 0.5 was the best in the paper, where a = 0 is the student itself.

    Args:
        logits: (B, C, [D,] H, W) of a softmax over C >= 2 classes, the background being channel 0.
        present: (B, C), 1 where the image has the class: others are not chosen. A label of the image, if there is one.
        least: Where the class has a lower probability, the label is `ignore_index`. (The paper's rule is not known; by
            default every pixel counts.) In [0, 1]; the probability is among the classes that the image has.
        ignore_index: For `MultiLabelDeepSupervisionLoss` or `label_pyramid`, which leave such pixels out.

    Returns:
        (B, 1, [D,] H, W) of int64, without gradient.

    Raises:
        UsageError: If `least` is no probability.
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
