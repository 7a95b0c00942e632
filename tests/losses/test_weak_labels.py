"""Boxes, labels of images and predictions as targets: what they claim is true of the mask they stand for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers_losses import labels, noise
from skimage.measure import label, regionprops
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.losses import MultiLabelDeepSupervisionLoss, label_pyramid
from softmorph_cli.losses.weak_labels import boxes_to_target, image_labels_to_target, pseudo_labels

NAN = math.nan

# ---------------------------------------------------------------- boxes


def test_boxes_that_overlap_by_hand() -> None:
    planes = boxes_to_target([(0, 0, 2, 2), (1, 1, 3, 4)], [1, 2], (3, 4), 3)
    wanted = torch.tensor(
        [
            [[NAN, NAN, 1, 1], [NAN, NAN, NAN, NAN], [1, NAN, NAN, NAN]],
            [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]],
            [[0, 0, 0, 0], [0, 1, 1, 1], [0, 1, 1, 1]],
        ]
    )
    torch.testing.assert_close(planes, wanted, equal_nan=True)
    for background in (0.0, 1.0):
        whole = boxes_to_target([(0, 0, 2, 2), (1, 1, 3, 4)], [1, 2], (3, 4), 3, background=background)
        torch.testing.assert_close(whole, wanted.nan_to_num(background))


@pytest.mark.parametrize("shape", [(20, 17), (9, 10, 8)], ids=str)
def test_boxes_of_skimage_hold_their_objects(shape: tuple[int, ...]) -> None:
    mask = noise(*shape, seed=1).numpy() > 0.93
    found = regionprops(label(mask))  # type: ignore[no-untyped-call]
    boxes, names = [one.bbox for one in found], [1 + k % 2 for k in range(len(found))]
    planes = boxes_to_target(torch.tensor(boxes), torch.tensor(names), shape, 3).numpy()
    truth = np.zeros((3, *shape), bool)
    for one, name in zip(found, names, strict=True):
        truth[(name, *one.coords.T)] = True
    truth[0] = ~mask
    assert planes.shape == truth.shape
    assert (planes[1:][truth[1:]] == 1).all(), "no pixel of an object is said not to be one"
    assert not (planes[0] == 0).any()
    assert truth[0][planes[0] == 1].all(), "where the background is claimed, it is"


def test_no_box_is_background() -> None:
    planes = boxes_to_target([], [], (2, 3), 3)
    assert planes[0].min() == 1
    assert planes[1:].max() == 0


@pytest.mark.parametrize(
    ("box", "name", "message"),
    [
        ((0, 0, 0, 2), 1, "is empty or reaches beyond"),
        ((0, 0, 5, 2), 1, "is empty or reaches beyond"),
        ((-1, 0, 2, 2), 1, "is empty or reaches beyond"),
        ((0, 0, 2), 1, "4 whole numbers"),
        ((0, 0, 1.5, 2), 1, "4 whole numbers"),
        ((0, 0, NAN, 2), 1, "4 whole numbers"),
        ((0, 0, 2, 2), 0, "1 to 2 are the classes"),
        ((0, 0, 2, 2), 3, "1 to 2 are the classes"),
    ],
)
def test_boxes_that_are_refused(box: tuple[float, ...], name: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        boxes_to_target(torch.tensor([box]), [name], (4, 4), 3)


def test_boxes_need_labels_and_a_background() -> None:
    with pytest.raises(InputError, match="1 boxes and 2 labels"):
        boxes_to_target([(0, 0, 1, 1)], [1, 2], (4, 4), 3)
    with pytest.raises(InputError, match="background=2"):
        boxes_to_target([(0, 0, 1, 1)], [1], (4, 4), 3, background=2)


# ---------------------------------------------------------------- labels of images


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (1, 1, 1), (2, 3, 2)], ids=str)
def test_labels_of_images_claim_only_what_is_true(size: tuple[int, ...]) -> None:
    target = labels(6, 4, *(2 * n for n in size), seed=2)
    target[noise(*target.shape, seed=3) < 0.6] = 0
    present = label_pyramid(target, [(1,) * len(size)], classes=4)[0].reshape(6, 4)
    assert 0 < present[:, 1:].mean() <= 1
    (truth,) = label_pyramid(target, [size], classes=4)
    planes = image_labels_to_target(present, size)
    known = ~planes.isnan()
    assert torch.equal(planes[known], truth[known])
    assert bool(known.all()) == (math.prod(size) == 1)
    assert torch.equal(image_labels_to_target(present.bool(), size).nan_to_num(2), planes.nan_to_num(2))


@pytest.mark.parametrize(
    ("present", "message"),
    [
        (torch.tensor([1, 0]), r"0 and 1 of shape \(B, C\)"),
        (torch.tensor([[1, 2]]), r"0 and 1 of shape \(B, C\)"),
        (torch.tensor([[1, NAN]]), r"0 and 1 of shape \(B, C\)"),
        (torch.tensor([[1, 0], [0, 0]]), "no class at all"),
    ],
)
def test_labels_of_images_that_are_refused(present: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        image_labels_to_target(present, (2, 2))
    with pytest.raises(InputError, match=message if present.ndim == 2 else "fits"):
        pseudo_labels(torch.zeros(len(present), 2, 4, 4), present)


# ---------------------------------------------------------------- predictions


def test_pseudo_labels_by_hand() -> None:
    scores = torch.tensor([[3.0, 0, 0], [0, 2, 1], [0, 1, 5]])  # of three pixels
    logits = scores.T.reshape(1, 3, 1, 3).repeat(2, 1, 1, 1).requires_grad_()
    found = pseudo_labels(logits)
    assert not found.requires_grad
    assert found.dtype == torch.int64
    assert found.flatten().tolist() == [0, 1, 2, 0, 1, 2]
    # The second image has no class 2: its third pixel is the best of the others.
    found = pseudo_labels(logits, torch.tensor([[1, 1, 1], [1, 1, 0]]))
    assert found.flatten().tolist() == [0, 1, 2, 0, 1, 1]


def test_pseudo_labels_that_are_not_certain() -> None:
    p = torch.tensor([[0.9, 0.1], [0.45, 0.55]])
    logits = p.log().T.reshape(1, 2, 1, 2)
    assert pseudo_labels(logits, least=0.5).flatten().tolist() == [0, 1]
    assert pseudo_labels(logits, least=0.6).flatten().tolist() == [0, -1]
    assert pseudo_labels(logits, least=0.6, ignore_index=255).flatten().tolist() == [0, 255]
    with pytest.raises(UsageError, match=r"least=60: a probability is needed"):
        pseudo_labels(logits, least=60)


def test_they_go_into_the_loss() -> None:
    logits = noise(2, 3, 8, 8, seed=5, dtype=torch.float32) * 6
    found = pseudo_labels(logits, least=0.7)
    assert 0 < (found == -1).double().mean() < 1
    heads = [torch.zeros(2, 3, 4, 4, requires_grad=True), torch.zeros(2, 3, 2, 2, requires_grad=True)]
    value = MultiLabelDeepSupervisionLoss(to_onehot_y=True, ignore_index=-1)(heads, found)
    assert value.item() == pytest.approx(math.log(2))


def test_the_teacher_is_the_running_average() -> None:
    """Eq. 10 of the paper is torch's `AveragedModel`: theta_T <- a theta_T + (1 - a) theta_S, buffers too."""
    torch.manual_seed(0)
    student = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3))
    average = get_ema_multi_avg_fn(0.75)  # type: ignore[no-untyped-call]
    teacher = AveragedModel(student, multi_avg_fn=average, use_buffers=True)
    teacher.update_parameters(student)  # the first is a copy
    before = {name: one.detach().clone() for name, one in teacher.module.state_dict().items()}
    for one in student.parameters():
        nn.init.normal_(one)
    student(noise(4, 1, 3, 3, dtype=torch.float32))  # moves the buffers
    teacher.update_parameters(student)
    for name, now in teacher.module.state_dict().items():
        if now.is_floating_point():
            torch.testing.assert_close(now, 0.75 * before[name] + 0.25 * student.state_dict()[name])


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (torch.zeros(1, 1, 4, 4), "C >= 2"),
        (torch.zeros(2, 4, 4), "C >= 2"),
        (torch.full((1, 2, 4, 4), NAN), "NaN"),
    ],
)
def test_logits_that_are_refused(logits: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pseudo_labels(logits)
