"""Changing a map, as little as need be, until its mask at a threshold has the Betti numbers asked for.

Clough et al. (*A topological loss function for deep-learning based image segmentation using persistent homology*,
TPAMI 2020) propose their loss (see `loss`) also for single maps, after a network. There are no weights here: what
moves is the logits of the map, and each bar of the loss has a gradient in two voxels only. What is done about that:

- Only bars on the wrong side of the threshold move anything: those among the beta longest that do not live there, and
  all others that do. A real map has thousands of short bars elsewhere, and they are left alone.
- Of such a bar one end moves, the one that costs less: to erase a component its logits above the threshold are added
  up, to join it the logits below along the way (twice the distance of the saddle to what is foreground). What the
  repair itself put into a gap is not erased again.
- It moves past the threshold at once: a component or cavity with all of its voxels, a saddle with its neighbours, by
  a Gaussian of their distance. A gap of several voxels closes from saddle to saddle in as many steps.
- What is moved up, down and up again gets dearer every time, until another end or another bar is taken instead.
- The square of the change, summed over the voxels and weighted by lambda, pulls everything back as far as no voxel
  crosses the threshold: what is bridged stays so.

On rings and vessels with gaps and specks this took 1 to 5 steps and flipped at most a sixth of the voxels that Adam
with the gradient of the whole loss did in 17 to 46 (tests/benchmarks/repairs.py). The Betti numbers of every step are
counted (`betti`); in 3D loops alone need all of the complex, and their bars are used until none of them is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from softmorph_cli.errors import InputError
from softmorph_cli.system.parameters import named
from softmorph_cli.topology.betti import Betti, betti_numbers, connectivities
from softmorph_cli.topology.link import LinkFunction, SigmoidLink, SoftmaxLink, Voxels
from softmorph_cli.topology.moves import Aim, Array, Mask, Snapshot, Tried, by_length, sampling
from softmorph_cli.topology.persistence import Diagram, diagram
from softmorph_cli.topology.prior import Prior, check_prior

Kind = Literal["apart", "complete", "rest"]
Stopped = Literal["reached", "stuck", "max_steps"]
# Called with the step, the most there may be, and the Betti numbers of each prior's mask.
Progress = Callable[[int, int, Sequence[Betti]], None]

# Logits are finite: closer to 0 and 1 than this, voxels are told apart by their distance to the others.
_NEAREST: Final = 1e-4
_DEEPER: Final = 0.05  # in logits, for each voxel further from the others
# A larger lambda pulls all the way back, as this one does.
_HEAVIEST: Final = 1e6
# Gaussians end here, in standard deviations.
_REACH: Final = 3.0
# Bars of loops in 3D are used for so many steps at most.
_KEPT: Final = 5


@dataclass(frozen=True)
class Settings:
    """How a repair goes.

    Attributes:
        threshold: A voxel above it is foreground.
        connectivity: Of the foreground; None for 8 or 26.
        weight: Lambda, the weight of the squared change summed over the voxels.
        max_steps: The most steps.
        smooth: Standard deviation of the change around a voxel that moves, in voxels along each spatial axis.
        region: The box that may change, one slice for each spatial axis; the priors are those of the map cut out
            there. None for the whole map.
        kind: What the channels are to each other: "apart", or classes that exclude each other, which they stay:
            "complete" where they sum to 1, "rest" where the background is what they leave of it.
        rounded: What a file makes of probabilities; the Betti numbers are those of the result.
    """

    threshold: float = 0.5
    connectivity: int | None = None
    weight: float = 0.1
    max_steps: int = 100
    smooth: tuple[float, ...] = (1.0, 1.0, 1.0)
    region: tuple[slice, ...] | None = None
    kind: Kind = "apart"
    rounded: Callable[[Array], Array] | None = None


@dataclass(frozen=True)
class Repaired:
    """A repaired map.

    Attributes:
        array: The map, as `Settings.rounded` leaves it within the region.
        stopped: "reached", "stuck" where no bar is left to move, or "max_steps".
        steps: How many steps were taken.
        best_step: The step whose map it is, 0 for the input.
        before: Betti numbers of each prior's mask, within the region, as a file would hold the input.
        after: The same of the result.
    """

    array: Array
    stopped: Stopped
    steps: int
    best_step: int
    before: tuple[Betti, ...]
    after: tuple[Betti, ...]


def repair(
    array: Array, priors: Sequence[Prior], settings: Settings, progress: Progress | None = None
) -> Repaired:
    """Change a map until each prior's mask has its Betti numbers.

    Stops at the first step that has them all; else the best step counts, that with the least sum of differences.

    Args:
        array: Probabilities, float32 or float64, shape (C, Y, X) or (C, Z, Y, X); never written to.
        priors: What is asked for, of channels and of unions of channels.
        settings: How.
        progress: Called at every step.

    Raises:
        InputError: If a prior does not fit, a setting is out of range, or there is nothing to repair in a map of 0.
    """
    dims = array.ndim - 1
    connectivities(dims, settings.connectivity)
    for prior in priors:
        check_prior(prior.betti, dims)
        if settings.kind == "complete" and len(prior.channels) == len(array):
            raise InputError("the union of all classes is everywhere; give a prior for fewer of them.")
    if not _NEAREST < settings.threshold < 1 - _NEAREST:
        raise InputError(
            f"a repair needs a threshold between {_NEAREST:g} and {1 - _NEAREST:g}, not {settings.threshold:g}: "
            f"such as {named('threshold', 0.5)}."
        )
    widest = max(settings.smooth[-dims:])
    if widest > max(array.shape[1:]):
        raise InputError(
            f"a change of {widest:g} voxels around each voxel is wider than the map of {max(array.shape[1:])}: "
            f"use a smaller {named('smooth')}, such as 1vox."
        )
    whole = (slice(None),) * dims
    box = (slice(None), *(settings.region or whole))
    state = _State(_with_rest(array[box], settings.kind), priors, settings)
    p = state.result()
    found = before = count(p, priors, settings)
    best, best_step, fewest = p, 0, state.missing(found)
    if fewest and not array[box].any():
        where = " in the region" if settings.region else ""
        raise InputError(f"the map is 0 everywhere{where}: there is nothing to repair.")
    step, stopped = 0, _stopped(fewest)
    while stopped is None:
        if progress is not None:
            progress(step, settings.max_steps, found)
        if step == settings.max_steps:
            stopped = "max_steps"
        elif not state.move(p, found):
            stopped = "stuck"
        else:
            step += 1
            p = state.result()
            found = count(p, priors, settings)
            missing = state.missing(found)
            if missing < fewest:
                best, best_step, fewest = p, step, missing
            stopped = _stopped(missing)
    after = count(best, priors, settings)
    result = best = best[: len(array)]
    if settings.region is not None:
        result = array.copy()
        result[box] = best
    return Repaired(result, stopped, step, best_step, before, after)


def masks(array: Array, priors: Sequence[Prior], settings: Settings) -> tuple[Mask, ...]:
    """Return what is above the threshold, of each prior.

    Args:
        array: Probabilities, shape (C, Y, X) or (C, Z, Y, X).
        priors: Of which channels.
        settings: The threshold, and what the channels are to each other.
    """
    return tuple(union(array, prior, settings) > settings.threshold for prior in priors)


def union(array: Array, prior: Prior, settings: Settings) -> Array:
    """Return the probability of any of a prior's channels.

    Args:
        array: Probabilities, shape (C, Y, X) or (C, Z, Y, X).
        prior: Of which channels.
        settings: What the channels are to each other.
    """
    return np.minimum(_link(settings.kind).union(array, prior.channels), 1)


def count(array: Array, priors: Sequence[Prior], settings: Settings) -> tuple[Betti, ...]:
    """Return the Betti numbers of each prior's mask."""
    return tuple(betti_numbers(mask, settings.connectivity) for mask in masks(array, priors, settings))


def _link(kind: Kind) -> LinkFunction:
    return SigmoidLink() if kind == "apart" else SoftmaxLink()


def _with_rest(array: Array, kind: Kind) -> Array:
    """Return the channels, and the background as the last of them where they leave it out."""
    if kind != "rest":
        return array
    return np.concatenate([array, np.maximum(1 - array.sum(axis=0, keepdims=True), 0)])


def _stopped(missing: int) -> Stopped | None:
    return None if missing else "reached"


@dataclass
class _Kept:
    """Bars that are used for several steps."""

    diagram: Diagram
    step: int


@dataclass
class _State:
    """A map on its way: what it was, and how far its logits have moved."""

    start: Array
    priors: Sequence[Prior]
    settings: Settings
    link: LinkFunction = field(init=False)
    logits: Array = field(init=False)
    change: Array = field(init=False)
    steps: int = 0
    kept: dict[tuple[int, int], _Kept] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.link = _link(self.settings.kind)
        near = np.clip(self.start, _NEAREST, 1 - _NEAREST).astype(np.float32)
        self.logits = self.link.logits(near)
        self.change = np.zeros_like(self.logits)
        self.level = np.float32(np.log(self.settings.threshold) - np.log1p(-self.settings.threshold))
        self.sigma = self.settings.smooth[-(self.start.ndim - 1) :]
        self.peak = _peak(self.sigma)
        self.deeper = [_deeper(self.link.union(self.start, p.channels), self.sigma) for p in self.priors]
        self.tried = [Tried(self.start.shape[1:]) for _ in self.priors]

    def smooth_result(self) -> Array:
        """Return the probabilities; where nothing moved they are those of the input, to the bit."""
        moved = self.change != 0
        if self.settings.kind != "apart":
            moved = moved.any(axis=0)
        p = self.link.probabilities(self.logits + self.change).astype(self.start.dtype)
        return np.where(moved, p, self.start)

    def result(self) -> Array:
        """Return them as a file holds them."""
        p = self.smooth_result()
        return p if self.settings.rounded is None else self.settings.rounded(p).astype(p.dtype, copy=False)

    def missing(self, found: Sequence[Betti]) -> int:
        """Return how far Betti numbers are from the priors, all differences added up."""
        return sum(
            abs(number - asked)
            for betti, prior in zip(found, self.priors, strict=True)
            for number, asked in zip(betti.numbers, prior.betti, strict=True)
        )

    def move(self, p: Array, found: Sequence[Betti]) -> bool:
        """Take a step; say whether there was anything to move."""
        self._pull_back()
        alone, spread = np.zeros_like(self.change), np.zeros_like(self.change)
        for number, (prior, betti) in enumerate(zip(self.priors, found, strict=True)):
            for aim in self._aims(number, p, betti) if betti.numbers != prior.betti else ():
                at = tuple(aim.at.T)
                if aim.spread:
                    self.tried[number].add(aim)
                shares = self.link.shares(self.logits + self.change, prior.channels, at)
                _strongest(spread if aim.spread else alone, at, aim.by * shares)
        if not alone.any() and not spread.any():
            return False
        self.change += alone
        for channel, peaks in enumerate(spread):
            _spread(peaks, self.sigma, self.peak, self.change[channel])
        self.steps += 1
        return True

    def _pull_back(self) -> None:
        """Go down the gradient of the squared change, but leave each mask as it is: what is bridged stays so."""
        p = self.smooth_result()
        pull = self.link.back(p, 2 * min(self.settings.weight, _HEAVIEST) * (p - self.start))
        before, moved = self.change, np.abs(self.change)
        was = masks(self.result(), self.priors, self.settings)
        # No further than back to the start, however large lambda is.
        self.change = before - np.clip(pull, -moved, moved).astype(before.dtype)
        now = masks(self.result(), self.priors, self.settings)
        crossed = np.any([one != other for one, other in zip(was, now, strict=True)], axis=0)
        self.change[:, crossed] = before[:, crossed]

    def _aims(self, number: int, p: Array, betti: Betti) -> list[Aim]:
        """Return what one prior moves."""
        prior, members = self.priors[number], self.priors[number].channels
        height = self.link.height(self.logits + self.change, members) + self.deeper[number] - self.level
        (mask,), (was,) = (masks(one, [prior], self.settings) for one in (p, self.start))
        scene = Snapshot(height, mask, was, self._foreground, self.sigma, self.tried[number])
        aims: list[Aim] = []
        for dimension, asked in enumerate(prior.betti):
            if betti.numbers[dimension] == asked:
                continue
            kept = self.kept.get((number, dimension)) if scene.costly(dimension) else None
            wrong: list[Aim] = []
            if kept is not None and self.steps - kept.step < _KEPT:
                wrong = scene.aims(kept.diagram, asked, dimension)
            if not wrong:
                # In (0, 1) and in the order of the logits; the longest are those in probability.
                bars = diagram(0.5 + 0.5 * height / (1 + np.abs(height)), dimension, self._foreground)
                bars = by_length(bars, self.link.union(p, members), mask, self.tried[number])
                self.kept[number, dimension] = _Kept(bars, self.steps)
                wrong = scene.aims(bars, asked, dimension)
            aims += wrong
        return aims

    @property
    def _foreground(self) -> int:
        return connectivities(self.start.ndim - 1, self.settings.connectivity)[0]


def _strongest(aims: Array, at: Voxels, wanted: Array) -> None:
    """Put changes of channels, shape (C, N), in their voxels; of several in one voxel the largest counts."""
    for channel, by in enumerate(wanted):
        order = np.argsort(np.abs(by), kind="stable")
        where = tuple(along[order] for along in at)
        here = aims[channel][where]
        aims[channel][where] = np.where(np.abs(by[order]) > np.abs(here), by[order], here)


def _deeper(p: Array, sigma: Sequence[float]) -> Array:
    """Return what tells certain voxels apart, in logits: the further from the others, the lower, or the higher.

    Without it a gap of zeros would be bridged somewhere, and not where it is narrowest.
    """
    from scipy.ndimage import distance_transform_edt

    result = np.zeros(p.shape, np.float32)
    for certain, sign in ((p <= _NEAREST, -1), (p >= 1 - _NEAREST, 1)):
        if certain.any() and not certain.all():
            result += np.float32(sign * _DEEPER) * distance_transform_edt(certain, sampling=sampling(sigma))
    return result


def _peak(sigma: Sequence[float]) -> float:
    """Return the largest weight of the Gaussian, in which a single voxel's value is multiplied by it."""
    weights = [np.exp(-0.5 * (np.arange(-_radius(size), _radius(size) + 1) / size) ** 2) for size in sigma]
    return float(np.prod([1 / along.sum() for along in weights]))


def _spread(aim: Array, sigma: Sequence[float], peak: float, change: Array) -> None:
    """Add to a change what single voxels should change by, as Gaussians of that height; where they meet, no more."""
    from scipy.ndimage import gaussian_filter

    at = np.nonzero(aim)
    if not len(at[0]):
        return
    box = tuple(
        slice(max(0, int(along.min()) - _radius(size)), int(along.max()) + _radius(size) + 1)
        for along, size in zip(at, sigma, strict=True)
    )
    most = float(np.abs(aim[at]).max())
    smooth = gaussian_filter(aim[box], sigma, mode="constant", truncate=_REACH) / peak
    change[box] += np.clip(smooth, -most, most)


def _radius(sigma: float) -> int:
    return int(_REACH * sigma + 0.5)
