"""Example of deep supervision: a network learns drawn vessels of two kinds in 2D from only five masks.

Run: python -m softmorph_cli.losses.supervision_example [--seeds 8] [--labelled 5]

Bright and dim vessels are thin, the images noisy, their exposure uneven; an image has vessels of one kind or of both.
The network has one output at full size and three heads at 1/2, 1/4 and 1/8 of this size. All arms (ways of
training) of a seed start from the same weights and see the same images in the same order:

- cross-entropy: of the output, on the images that have masks. All other arms add eq. 9 of Reiss et al. at the heads:
- nearest, max-pooled: the targets of the heads are pooled by nearest or max (all arms below: by max);
- boxes: further images have boxes around their vessels, one for each piece of a vessel in a window of 16 x 16 pixels;
- self-taught, mean-taught: further images have no masks, and the predictions of the network itself, or of its running
  average, are the targets of their heads; with image labels, only the kinds that are in the image are predicted.

Drawn vessels stand for real ones, which no package ships with masks, boxes and labels. The difficulty of the images,
the rate and when teaching begins were settled on seeds 100 and 101; the published schedule is not known. Before images
had their kinds in turn, seeds 0 to 3 were run too. What came out is in tests/benchmarks/SUPERVISION.md.
"""

from __future__ import annotations

import argparse
import time
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from softmorph_cli.examples import head, positive, row, tell
from softmorph_cli.losses.deep_supervision import MultiLabelDeepSupervisionLoss
from softmorph_cli.losses.example import conv_block, interval
from softmorph_cli.losses.label_pyramid import label_pyramid
from softmorph_cli.losses.training_data import batched, bent, gapped, thickened, uneven
from softmorph_cli.losses.weak_labels import boxes_to_target, pseudo_labels

SIZE = 64
CLASSES: Final = 3  # background, bright, dim
# In turn, so that a few masks have both kinds.
KINDS: Final = ((1, 2), (1,), (2,))
CONTRAST: Final = {1: (0.9, 1.3), 2: (0.45, 0.7)}
RADIUS: Final = (0.8, 1.5)
WINDOW: Final = 16  # pixels; a box around a whole vessel would be the image
HEADS: Final = (2, 4, 8)
FURTHER = 60
TEST = 100
BATCH: Final = 4
WIDTH: Final = 8
RATE: Final = 5e-3
# The share of the steps after which predictions are good enough to learn from.
BEGIN: Final = 0.4
MEASURES: Final = ("Dice", "components off")

Labels = npt.NDArray[np.int64]


class Images(NamedTuple):
    """A set of images (N, 1, H, W) with the labels of their pixels (N, 1, H, W), 0 to 2."""

    images: Tensor
    labels: Tensor


class Arm(NamedTuple):
    """One way of training a network (an arm of the comparison): pooling at the heads, and the kind of weak targets."""

    pooling: str | None = None  # of the heads; None: they are not trained
    further: str | None = None  # "boxes", "self", "mean": what teaches on images without masks
    image_labels: bool = False


ARMS: Final = {
    "cross-entropy": Arm(),
    "nearest": Arm("nearest"),
    "max-pooled": Arm("max"),
    "max-pooled, boxes": Arm("max", "boxes"),
    "max-pooled, self-taught": Arm("max", "self"),
    "max-pooled, mean-taught": Arm("max", "mean"),
    "max-pooled, mean-taught, image labels": Arm("max", "mean", True),
}


def draw(count: int, rng: np.random.Generator) -> Images:
    """Return images with vessels of two kinds, drawn at random on an uneven, noisy background."""
    return Images(*batched(_draw_one(KINDS[number % len(KINDS)], rng) for number in range(count)))


def _draw_one(kinds: tuple[int, ...], rng: np.random.Generator) -> tuple[npt.NDArray[np.float32], Labels]:
    shape = (SIZE, SIZE)
    contrast, kind = np.full(shape, np.nan), np.zeros(shape, int)
    for number in range(rng.integers(2, 5)):
        name = kinds[number % len(kinds)]
        line = bent(rng, shape)
        kind[tuple(line.T)] = name
        contrast[tuple(line.T)] = gapped(rng, len(line), rng.uniform(*CONTRAST[name]), (1, 4), 0.1)
    drawn = thickened(contrast, rng.uniform(*RADIUS))
    background = uneven(rng, shape)
    image = rng.uniform(0.8, 1.25) * drawn.contrast + background + 0.25 * rng.normal(size=shape)
    return image.astype(np.float32), kind[drawn.nearest] * drawn.mask


def boxed(labels: Tensor) -> Tensor:
    """Return planes (N, C, H, W), a channel for each class, of boxes around each piece of a vessel in each window."""
    from scipy.ndimage import find_objects, label

    window = np.arange(SIZE) // WINDOW
    corner = SIZE * window[:, None] + window[None]
    targets = []
    for image in labels[:, 0].numpy():
        boxes, names = [], []
        for name in range(1, CLASSES):
            for place in np.unique(corner):
                pieces, _ = label((image == name) & (corner == place), np.ones((3, 3)))
                for rows, columns in find_objects(pieces):
                    boxes.append((rows.start, columns.start, rows.stop, columns.stop))
                    names.append(name)
        targets.append(boxes_to_target(boxes, names, image.shape, CLASSES))
    return torch.stack(targets)


def in_image(labels: Tensor) -> Tensor:
    """Return the labels of whole images, shape (N, C): 1 where any pixel of the image has the class, else 0."""
    return label_pyramid(labels, [(1, 1)], classes=CLASSES)[0][..., 0, 0]


class HeadedUNet(nn.Module):
    """A U-Net with three downsamplings and 80,000 weights: an output of logits at full size and three coarse heads."""

    def __init__(self) -> None:
        """Make the layers of the network."""
        super().__init__()
        widths = [WIDTH, 2 * WIDTH, 4 * WIDTH, 4 * WIDTH]
        self.down = nn.ModuleList(conv_block(a, b) for a, b in zip([1, *widths], widths, strict=False))
        self.up = nn.ModuleList(
            conv_block(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.last = nn.Conv2d(WIDTH, CLASSES, 1)
        self.heads = nn.ModuleList(nn.Conv2d(width, CLASSES, 1) for width in widths[1:])

    def forward(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the logits at full size, and the logits of the heads, the finest first."""
        kept = [self.down[0](images)]
        for block in list(self.down)[1:]:
            kept.append(block(nn.functional.max_pool2d(kept[-1], 2)))
        levels = [kept.pop()]
        for block in self.up:
            wider = interpolate(levels[-1], scale_factor=2, mode="bilinear")
            levels.append(block(torch.cat([wider, kept.pop()], 1)))
        output: Tensor = self.last(levels.pop())
        return output, [head(values) for head, values in zip(self.heads, levels[::-1], strict=True)]


def train(arm: Arm, seed: int, steps: int, average: float, masked: Images, further: Images) -> nn.Module:
    """Return a network trained by a number of steps of Adam, or its teacher (running average) if the arm uses one.

    Args:
        arm: The way of training.
        seed: Seed of the random weights and batches.
        steps: Number of steps.
        average: a of eq. 10, the share of the teacher's weights that remains in each step.
        masked: Images whose labels are used.
        further: Images of whose labels at most boxes, or the classes in the image, are used, depending on the arm.
    """
    torch.manual_seed(seed)
    network = HeadedUNet()
    ema = get_ema_multi_avg_fn(average)  # type: ignore[no-untyped-call]
    # With the buffers, the means and variances of the batches.
    mean = AveragedModel(network, multi_avg_fn=ema, use_buffers=True).eval()
    teacher = mean if arm.further == "mean" else network
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    deep = MultiLabelDeepSupervisionLoss(to_onehot_y=True, pooling=arm.pooling or "max")
    sizes = [(SIZE // shrink,) * 2 for shrink in HEADS]
    boxes = label_pyramid(boxed(further.labels), sizes) if arm.further == "boxes" else []
    present = in_image(further.labels) if arm.image_labels else None
    for step in range(steps):
        ours, more = (torch.randint(len(one.images), (BATCH,)) for one in (masked, further))
        images, labels = _turned(masked.images[ours], masked.labels[ours])
        output, heads = network(images)
        loss = cross_entropy(output, labels[:, 0])
        if arm.pooling:
            loss = loss + deep(heads, labels)
        if arm.further == "boxes":
            loss = loss + deep(network(further.images[more])[1], [level[more] for level in boxes])
        elif arm.further and step >= BEGIN * steps:
            scores = predicted(teacher, further.images[more])
            found = pseudo_labels(scores, None if present is None else present[more])
            loss = loss + deep(network(further.images[more])[1], found)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        if arm.further == "mean":
            mean.update_parameters(network)
    return teacher


@torch.no_grad()
def predicted(network: nn.Module, images: Tensor) -> Tensor:
    """Return the logits of a network in evaluation mode; its training mode is restored afterwards."""
    training = network.training
    output, _ = network.eval()(images)
    network.train(training)
    found: Tensor = output
    return found


def _turned(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return images and labels, both rotated and mirrored in the same way, chosen at random."""
    turns, mirrored = int(torch.randint(4, ())), int(torch.randint(2, ()))
    both = (torch.rot90(one, turns, (2, 3)) for one in (images, labels))
    first, second = (one.flip(3) if mirrored else one for one in both)
    return first, second


def measure(network: nn.Module, test: Images) -> tuple[float, ...]:
    """Return `MEASURES`, means over both kinds: Dice of all pixels, and the error of components in an image."""
    from scipy.ndimage import label

    found = pseudo_labels(predicted(network, test.images)).numpy()[:, 0]
    truth = test.labels.numpy()[:, 0]
    dice, off = [], []
    for name in range(1, CLASSES):
        ours, theirs = found == name, truth == name
        dice.append(2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()))
        counts = ([label(mask, np.ones((3, 3)))[1] for mask in masks] for masks in (ours, theirs))
        off.append(np.mean([abs(a - b) for a, b in zip(*counts, strict=True)]))
    return float(np.mean(dice)), float(np.mean(off))


def kept_by_nearest(labels: Tensor) -> list[float]:
    """Return, for each head, the share of the cells with a vessel that keep the vessel with pooling "nearest"."""
    sizes = [(SIZE // shrink,) * 2 for shrink in HEADS]
    nearest, whole = (
        label_pyramid(labels, sizes, classes=CLASSES, pooling=name) for name in ("nearest", "max")
    )
    return [(few[:, 1:].sum() / every[:, 1:].sum()).item() for few, every in zip(nearest, whole, strict=True)]


def main(arguments: list[str] | None = None) -> None:
    """Train a network for every arm and seed, and print its measures on test images."""
    parser = argparse.ArgumentParser(
        prog="python -m softmorph_cli.losses.supervision_example",
        description="Trains a small network on a few drawn vessels, with and without deep supervision.",
    )
    parser.add_argument("--seeds", type=positive, default=8, help="how many (default 8)")
    parser.add_argument("--first-seed", type=int, default=0, help="they count up from here (default 0)")
    parser.add_argument("--labelled", type=positive, default=5, help="images with masks (default 5)")
    parser.add_argument("--steps", type=positive, default=300, help="of training (default 300)")
    parser.add_argument(
        "--average", type=float, default=0.5, help="a of the teacher (default 0.5, the paper's best)"
    )
    parser.add_argument(
        "--arms", nargs="+", choices=ARMS, default=list(ARMS), metavar="ARM", help="default: all"
    )
    options = parser.parse_args(arguments)
    rows: dict[str, list[tuple[float, ...]]] = {name: [] for name in options.arms}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        rng = np.random.default_rng(seed)
        masked, further, test = (draw(count, rng) for count in (options.labelled, FURTHER, TEST))
        for name in options.arms:
            started = time.process_time()
            network = train(ARMS[name], seed, options.steps, options.average, masked, further)
            seconds = time.process_time() - started
            rows[name].append((*measure(network, test), seconds))
            tell(f"seed {seed}: {name}: " + ", ".join(f"{value:.3f}" for value in rows[name][-1]))
        shares = " / ".join(f"{share:.0%}" for share in kept_by_nearest(test.labels))
    tell(
        f"\nOf the test images' cells with a vessel at 1/2, 1/4, 1/8 of the size nearest targets keep {shares}.\n"
    )
    for line in table(rows):
        tell(line)


def table(rows: dict[str, list[tuple[float, ...]]]) -> list[str]:
    """Return a Markdown table: for each arm means, and paired differences from the first arm with 95 % intervals."""
    (baseline, alone), *_ = rows.items()
    less = f"minus {baseline}"
    lines = head(f"{len(alone)} seeds", "Dice", less, "above on", "components off", less, "below on", "CPU s")
    for name, found in rows.items():
        dice, off, seconds = np.mean(found, axis=0)
        gains = np.asarray(found) - np.asarray(alone)
        above, below = ((gains[:, 0] > 0).sum(), (gains[:, 1] < 0).sum())
        beside = (
            interval(gains[:, 0]),
            f"{above} of {len(gains)}",
            interval(gains[:, 1]),
            f"{below} of {len(gains)}",
        )
        a, b, c, d = ("",) * 4 if name == baseline else beside
        lines.append(row(name, f"{dice:.3f}", a, b, f"{off:.2f}", c, d, f"{seconds:.1f}"))
    return lines


if __name__ == "__main__":
    main()
