"""Training of a shape prior on complete maps: the network's weights and a latent vector for each subject.

The method is that of NISF (Stolt-Anso et al., MICCAI 2023); activations, sizes and rates are softmorph's own; with them
the training takes a minute of one thread. Runs of one seed on one thread of one machine give the same tensors.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from softmorph_cli.completion import prior_document, prior_file
from softmorph_cli.completion.box import Box, Coordinates, Frame, Grid
from softmorph_cli.completion.checkpoint import Checkpoint as Checkpoint
from softmorph_cli.completion.checkpoint import TrainingState
from softmorph_cli.completion.checkpoint import fingerprint as fingerprint
from softmorph_cli.completion.network import Architecture, ImplicitFunction, find_device
from softmorph_cli.completion.objective import WEIGHT_OF_INTENSITY, WEIGHT_OF_LATENTS, soft_dice
from softmorph_cli.completion.options import TrainingOptions as TrainingOptions
from softmorph_cli.completion.prior import Array, IntensityRule, Prior, background_first
from softmorph_cli.errors import InputError
from softmorph_cli.system.parameters import named
from softmorph_cli.volume import Volume

FEWEST: Final = 8
_RATE_OF_WEIGHTS: Final = 5e-4
_RATE_OF_LATENTS: Final = 1e-2
_SPREAD_OF_LATENTS: Final = 1e-2
_NOISE_OF_COORDINATES: Final = 1e-4
# Each subject is drawn at least once in so many steps: of 1,500 digits, 16 a step, nothing was learned.
_STEPS_A_VISIT: Final = 24
# Steps between two calls of the progress callback.
_EVERY: Final = 20


@dataclass(frozen=True)
class Subject:
    """A complete map, and where it was.

    Attributes:
        name: What messages call it, such as its file.
        probabilities: Probabilities of the classes with the background first, of shape (classes, *grid); they sum to 1.
        classes: The names of the foreground classes.
        grid: The grid of the map.
        image: The image of the same grid, as stored; None if there is none.
        named: Whether the map states the names of its classes; if not, they are "class 1", ... in order.
    """

    name: str
    probabilities: Array
    classes: tuple[str, ...]
    grid: Grid
    image: npt.NDArray[Any] | None = None
    named: bool = True

    @classmethod
    def of(
        cls, name: str, volume: Volume, image: npt.NDArray[Any] | None = None, voxels: bool = False
    ) -> Subject:
        """Return a map as a subject.

        Args:
            name: What messages call it.
            volume: A map of exclusive classes along its channel axis, or of one class.
            image: The image on the same grid, of any type.
            voxels: Whether lengths are counted in voxels.

        Raises:
            InputError: If the channels do not exclude each other, the image has another shape, or the map has no voxel
                size and `voxels` is false.
        """
        axis = volume.class_axis() if volume.mapped_axes else None
        dims = volume.spatial_dims
        shape = volume.array.shape[-dims:]
        channels = volume.array if axis is None else np.moveaxis(volume.array, axis, 0)
        if channels.size != (1 if axis is None else len(channels)) * np.prod(shape):
            raise InputError(
                f"{name} has the axes {volume.axes}, and a prior is of one image with its classes: give a file "
                "for each image."
            )
        channels = channels.reshape(-1, *shape)
        names = volume.channels if volume.channels and len(volume.channels) == len(channels) else None
        if names is None and volume.source and volume.source.channel and not volume.source.numbers:
            names = (volume.source.channel,)  # the only image, which the file names
        found, classes, _ = background_first(channels, names, name)
        if image is not None and image.shape != shape:
            raise InputError(
                f"{name} has the shape {shape}, and its image {image.shape}: give an image on the grid of the map."
            )
        return cls(name, found, classes, Grid.of(volume, voxels), image, names is not None)


@dataclass(frozen=True)
class TrainingProgress:
    """The progress of a training.

    Attributes:
        step: The number of steps that are done.
        steps: The number of all steps.
        loss: The mean loss of the steps since the last call.
        seconds_left: The time that the rest will take, from the time of the steps so far.
    """

    step: int
    steps: int
    loss: float
    seconds_left: float


Report = Callable[[TrainingProgress], None]


def train(
    subjects: Sequence[Subject],
    options: TrainingOptions | None = None,
    progress: Report | None = None,
    checkpoint: Checkpoint | None = None,
) -> Prior:
    """Train a prior on all given subjects; `validation.train_and_validate` holds some of them out.

    Args:
        subjects: At least 8 maps of the same classes, whose arrays have the same orientation. Either all have an image,
            or none.
        options: The settings.
        progress: A function that is called every 20 steps.
        checkpoint: Where the state is kept while the training runs, and from where it goes on: with the same result as
            without an interruption. It stays when the training is done.

    Raises:
        InputError: If there are too few subjects, or they do not fit each other.
        FileError: If the checkpoint is damaged or of another training.
    """
    options = options or TrainingOptions()
    axes, directions = check(subjects)
    first = subjects[0]
    box = Box.around([one.grid for one in subjects])
    if options.box is not None:
        if len(options.box) != len(axes):
            sides = ",".join(f"{side:g}" for side in options.box)
            raise InputError(
                f"{named('box', sides)} has {len(options.box)} sides, and the maps have {len(axes)} spatial axes: give "
                f"{len(axes)} sides, or leave it out."
            )
        box = Box(options.box, first.grid.unit)
    frames = [Frame.of(one.grid) for one in subjects]
    for one, frame in zip(subjects, frames, strict=True):
        box.check(one.grid, frame, one.name)
    places = [box.coordinates(one.grid, frame) for one, frame in zip(subjects, frames, strict=True)]
    rule = None if first.image is None else IntensityRule()
    architecture = Architecture(
        len(axes),
        len(first.probabilities),
        options.width,
        options.layers,
        options.activation,
        rule is not None,
    )
    tensors = prior_document.tensors_of(architecture, len(subjects))
    prior_file.check_size(4 * sum(map(math.prod, tensors.values())))
    device = find_device(options.device)
    samples = _Samples(subjects, places, rule, device)
    names = tuple(one.name for one in subjects)
    kept = None if checkpoint is None else checkpoint.read(fingerprint(subjects, options))
    network, latents = _optimize(architecture, samples, len(names), options, progress, checkpoint, kept)
    return Prior(
        architecture=architecture,
        weights={name: tensor.detach().cpu() for name, tensor in network.state_dict().items()},
        latents=latents.detach().cpu(),
        classes=first.classes,
        axes=axes,
        directions=directions,
        box=box,
        intensity=rule,
        subjects=names,
        training=settings_of(options),
        seed=options.seed,
    )


def settings_of(options: TrainingOptions) -> dict[str, Any]:
    """Return the settings that a prior states: all but the box, which it states itself, and the device."""
    return {key: value for key, value in asdict(options).items() if key not in ("box", "device")}


def check(subjects: Sequence[Subject]) -> tuple[str, tuple[tuple[float, ...], ...] | None]:
    """Return the spatial axes of the subjects and their directions.

    Raises:
        InputError: If the subjects are too few, or do not fit each other.
    """
    if len(subjects) < FEWEST:
        raise InputError(
            f"a prior is learned from at least {FEWEST} maps, and these are {len(subjects)}: add maps to the folder."
        )
    first = subjects[0]
    directions = None
    if first.grid.oriented:
        directions = tuple(tuple(map(float, side)) for side in Frame.of(first.grid).directions)
    if len(set(first.classes)) < len(first.classes) or not all(first.classes):
        raise InputError(
            f"{first.name} has the classes {', '.join(map(repr, first.classes))}: give each channel a name of its own, "
            "or none any name."
        )
    for one in subjects[1:]:
        if one.classes != first.classes:
            raise InputError(
                f"{one.name} has the classes {', '.join(one.classes)}, and {first.name} {', '.join(first.classes)}: "
                "give maps of the same classes in the same order."
            )
        if one.grid.dims != first.grid.dims:
            raise InputError(
                f"{one.name} has {one.grid.dims} spatial axes, and {first.name} {first.grid.dims}: give maps "
                "that are all 2D or all 3D."
            )
        if (one.grid.unit, one.grid.oriented) != (first.grid.unit, first.grid.oriented):
            raise InputError(
                f"of {one.name} and {first.name} only one states a unit of lengths, or the directions of its axes; "
                f"{named('voxels', True)} ignores both."
            )
        if not Frame.of(one.grid, directions).as_stored:
            raise InputError(
                f"{one.name} has its axes in other directions than {first.name}: bring the arrays to one orientation."
            )
        if (one.image is None) != (first.image is None):
            without = one.name if one.image is None else first.name
            raise InputError(f"{without} has no image, and others have: give one for each map, or none.")
    return "ZYX"[-first.grid.dims :], directions


class _Samples:
    """The voxels of all subjects in one table each of probabilities and intensities, to be drawn from at random."""

    def __init__(
        self,
        subjects: Sequence[Subject],
        places: Sequence[Coordinates],
        rule: IntensityRule | None,
        device: torch.device,
    ) -> None:
        sizes = [place.size for place in places]
        rows = [one.probabilities.reshape(len(one.probabilities), -1).T for one in subjects]
        self.targets = torch.from_numpy(np.concatenate(rows)).to(device)
        self.images: Tensor | None = None
        if rule is not None:
            scaled = [rule.apply(one.image).ravel() for one in subjects if one.image is not None]
            self.images = torch.from_numpy(np.concatenate(scaled)).to(device)
        self.sizes = torch.tensor(sizes)
        self.starts = torch.tensor(np.cumsum([0, *sizes[:-1]]))
        self.shapes = torch.tensor([place.shape for place in places])
        self.matrices = torch.from_numpy(np.stack([place.matrix for place in places]))
        self.offsets = torch.from_numpy(np.stack([place.offset for place in places]))
        self.device = device

    def draw(
        self, count: int, points: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Return indices of subjects, and coordinates, targets and intensities of voxels of each."""
        chosen = torch.randperm(len(self.sizes), generator=generator)[:count]
        parts = torch.rand(count, points, generator=generator, dtype=torch.float64)
        flat = (parts * self.sizes[chosen, None]).long()
        rest, indices = flat, []
        for size in self.shapes[chosen].T.flip(0):
            indices.append(rest % size[:, None])
            rest = rest // size[:, None]
        places = torch.stack(indices[::-1], -1).double() @ self.matrices[chosen] + self.offsets[chosen, None]
        places = places.float() + _NOISE_OF_COORDINATES * torch.randn(
            places.shape, generator=generator, dtype=torch.float32
        )
        rows = (flat + self.starts[chosen, None]).to(self.device)
        images = None if self.images is None else self.images[rows]
        return chosen.to(self.device), places.to(self.device), self.targets[rows], images


def _optimize(
    architecture: Architecture,
    samples: _Samples,
    subjects: int,
    options: TrainingOptions,
    progress: Report | None,
    checkpoint: Checkpoint | None,
    kept: Mapping[str, Tensor] | None,
) -> tuple[ImplicitFunction, Tensor]:
    generator = torch.Generator().manual_seed(options.seed)
    network = ImplicitFunction(architecture, generator)
    initial = _SPREAD_OF_LATENTS * torch.randn(subjects, architecture.width, generator=generator)
    network.to(samples.device).train()
    latents = nn.Parameter(initial.to(samples.device))
    weights = [*network.parameters()]
    optimizer = torch.optim.Adam(
        [{"params": weights, "lr": _RATE_OF_WEIGHTS}, {"params": [latents], "lr": _RATE_OF_LATENTS}],
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.steps)
    training = TrainingState(network, latents, optimizer, schedule, generator)
    done = 0 if kept is None else training.restore(kept)
    count = min(max(options.subjects, subjects // _STEPS_A_VISIT), subjects)
    points = max(1, options.subjects * options.points // max(count, options.subjects))
    began, losses = time.perf_counter(), torch.zeros((), device=samples.device)
    since = 0
    for step in range(done + 1, options.steps + 1):
        chosen, places, targets, images = samples.draw(count, points, generator)
        vectors = latents[chosen]
        loss = _loss(network(places, vectors), targets, images) + WEIGHT_OF_LATENTS * vectors.square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        losses += loss.detach()
        since += 1
        if progress is not None and (step % _EVERY == 0 or step == options.steps):
            left = (time.perf_counter() - began) / (step - done) * (options.steps - step)
            progress(TrainingProgress(step, options.steps, float(losses) / since, left))
            losses.zero_()
            since = 0
        if checkpoint is not None and checkpoint.due:
            checkpoint.write(training.tensors(step))
    return network.eval(), latents


def _loss(found: tuple[Tensor, Tensor | None], targets: Tensor, images: Tensor | None) -> Tensor:
    """Return binary cross-entropy + 1 - soft Dice of the classes, and of the intensity 10 x binary cross-entropy."""
    logits, intensities = found
    shares = torch.softmax(logits, -1)
    loss = nn.functional.binary_cross_entropy(shares.clamp(1e-6, 1 - 1e-6), targets)
    loss = loss + 1 - soft_dice(shares, targets, 1).mean()
    if images is not None and intensities is not None:
        of_images = nn.functional.binary_cross_entropy_with_logits(intensities, images)
        loss = loss + WEIGHT_OF_INTENSITY * of_images
    return loss
