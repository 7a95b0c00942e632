"""Topological repair: changing a map, as little as possible, until its mask has given Betti numbers.

Clough et al. (*A topological loss function for deep-learning based image segmentation using persistent homology*,
TPAMI 2020) propose their loss (module `loss`) also for single maps, after a network. Here no weights are trained: the
logits of the map itself are changed. Gradient descent on the loss is slow, as the gradient of a bar is nonzero in two
voxels only, so this algorithm differs from gradient descent:

- Only bars (persistence intervals of components, loops and cavities) on the wrong side of the threshold move: the bars
  among the beta longest that do not contain the threshold, and all other bars that do. The thousands of other short
  bars in a real map are left alone.
- The cheaper end of each such bar moves. Erasing a component costs the sum of its logits above the threshold; joining
  it to another costs the logits below the threshold along the way (twice the distance of the saddle to the foreground).
  Voxels that the repair itself put into a gap are not erased again.
- A move crosses the threshold in one step: a component or cavity with all of its voxels, a saddle with its neighbours,
  by a Gaussian of their distance. A gap of several voxels closes from saddle to saddle in as many steps.
- A voxel that was moved up, down and up again becomes more expensive each time, until another end or bar is cheaper.
- The squared change, summed over the voxels and weighted by lambda, pulls every voxel back as far as it does not cross
  the threshold again.

On rings and vessels with gaps and specks this took 1 to 5 steps and flipped at most a sixth of the voxels that Adam
with the gradient of the whole loss did in 17 to 46 (tests/benchmarks/repairs.py). The Betti numbers of every step are
counted exactly. Only loops in 3D need the whole cubical complex; their bars are reused for some steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from softmorph_cli.errors import InputError
from softmorph_cli.system.parameters import named
from softmorph_cli.topology.betti import Betti, betti_numbers
from softmorph_cli.topology.components import connectivities
from softmorph_cli.topology.link import LinkFunction, SigmoidLink, SoftmaxLink, Voxels
from softmorph_cli.topology.persistence import Diagram, diagram
from softmorph_cli.topology.prior import Prior, check_betti
from softmorph_cli.topology.repair_moves import Aim, Array, Mask, Snapshot, Tried, by_length, sampling

Kind = Literal["apart", "complete", "rest"]
Stopped = Literal["reached", "stuck", "max_steps"]
# Called with the step, the largest number of steps, and the Betti numbers of each prior's mask.
Progress = Callable[[int, int, Sequence[Betti]], None]

# Logits are finite: probabilities closer to 0 or 1 than this are certain, and ordered by their distance to the others.
_NEAREST: Final = 1e-4
_DEEPER: Final = 0.05  # logits for each voxel of that distance
# Any larger lambda pulls all the way back, as this one does.
_HEAVIEST: Final = 1e6
# Gaussians are truncated here, in standard deviations.
_REACH: Final = 3.0
# Bars of loops in 3D are reused for at most so many steps.
_KEPT: Final = 5


@dataclass(frozen=True)
class Repaired:
    """A repaired map.

    Attributes:
        array: The repaired map; within the region its values are rounded by `Repairer.rounded`.
        stopped: Why the repair stopped: "reached", "stuck" if no bar is left to move, or "max_steps".
        steps: Number of steps taken.
        best_step: Index of the step that gave the returned map, 0 for the input.
        before: Betti numbers, within the region, of each prior's mask of the rounded input.
        after: Betti numbers, within the region, of each prior's mask of the repaired map.
    """

    array: Array
    stopped: Stopped
    steps: int
    best_step: int
    before: tuple[Betti, ...]
    after: tuple[Betti, ...]


@dataclass(frozen=True)
class Repairer:
    """The parameters of a repair.

    Attributes:
        threshold: Voxels with a larger probability are foreground.
        connectivity: Connectivity of the foreground; None for 8 in 2D and 26 in 3D.
        weight: Lambda, the weight of the squared change summed over the voxels.
        max_steps: Maximum number of steps.
        smooth: Standard deviation of the change around a moved voxel, in voxels along each spatial axis.
        region: The box that may change, one slice for each spatial axis; the priors apply to the map cropped to that
            box. None for the whole map.
        kind: How the channels relate: "apart" if they are independent; for mutually exclusive classes "complete" if the
            probabilities sum to 1, "rest" if the background is the remainder. Exclusive classes stay exclusive.
        rounded: Function that rounds probabilities as a file stores them; Betti numbers are counted after rounding.
    """

    threshold: float = 0.5
    connectivity: int | None = None
    weight: float = 0.1
    max_steps: int = 100
    smooth: tuple[float, ...] = (1.0, 1.0, 1.0)
    region: tuple[slice, ...] | None = None
    kind: Kind = "apart"
    rounded: Callable[[Array], Array] | None = None

    @property
    def link(self) -> LinkFunction:
        """The link function between logits and probabilities of the channels."""
        return SigmoidLink() if self.kind == "apart" else SoftmaxLink()

    def union(self, array: Array, prior: Prior) -> Array:
        """Return the probability of the union of a prior's channels; the array has the channel axis first."""
        return np.minimum(self.link.union(array, prior.channels), 1)

    def masks(self, array: Array, priors: Sequence[Prior]) -> tuple[Mask, ...]:
        """Return, for each prior, the mask where the probability of the union of its channels exceeds the threshold."""
        return tuple(self.union(array, prior) > self.threshold for prior in priors)

    def betti_numbers(self, array: Array, priors: Sequence[Prior]) -> tuple[Betti, ...]:
        """Return the Betti numbers of the mask of each prior (the union of its channels above the threshold)."""
        return tuple(betti_numbers(mask, self.connectivity) for mask in self.masks(array, priors))

    def repair(self, array: Array, priors: Sequence[Prior], progress: Progress | None = None) -> Repaired:
        """Change a map until each prior's mask has its Betti numbers.

        The repair stops at the first step at which all masks have their Betti numbers. If no step reaches them, the map
        of the step with the smallest sum of absolute differences is returned.

        Args:
            array: Probabilities, float32 or float64, shape (C, Y, X) or (C, Z, Y, X); not modified.
            priors: Betti numbers of channels and of unions of channels.
            progress: Callback that receives the step, the maximum number of steps and the Betti numbers at every step.

        Raises:
            InputError: If a prior does not fit, a parameter is out of range, or the map is 0 everywhere.
        """
        self._check(array, priors)
        whole = (slice(None),) * (array.ndim - 1)
        box = (slice(None), *(self.region or whole))
        descent = _Descent(self._with_background(array[box]), priors, self)
        p = descent.result()
        found = before = after = self.betti_numbers(p, priors)
        best, best_step, fewest = p, 0, descent.missing(found)
        if fewest and not array[box].any():
            where = " in the region" if self.region else ""
            raise InputError(f"the map is 0 everywhere{where}: there is nothing to repair.")
        step = 0
        stopped: Stopped | None = None if fewest else "reached"
        while stopped is None:
            if progress is not None:
                progress(step, self.max_steps, found)
            if step == self.max_steps:
                stopped = "max_steps"
            elif not descent.move(p, found):
                stopped = "stuck"
            else:
                step += 1
                p = descent.result()
                found = self.betti_numbers(p, priors)
                missing = descent.missing(found)
                if missing < fewest:
                    best, best_step, fewest, after = p, step, missing, found
                stopped = None if missing else "reached"
        result = best = best[: len(array)]
        if self.region is not None:
            result = array.copy()
            result[box] = best
        return Repaired(result, stopped, step, best_step, before, after)

    def _check(self, array: Array, priors: Sequence[Prior]) -> None:
        dims = array.ndim - 1
        connectivities(dims, self.connectivity)
        for prior in priors:
            if all(number is None for number in check_betti(prior.betti, dims)):
                raise InputError(f"the prior {prior.text} asks for nothing: give a number, such as 1,any.")
            if self.kind == "complete" and len(prior.channels) == len(array):
                raise InputError("the union of all classes is everywhere; give a prior for fewer of them.")
        if not _NEAREST < self.threshold < 1 - _NEAREST:
            raise InputError(
                f"a repair needs a threshold between {_NEAREST:g} and {1 - _NEAREST:g}, not {self.threshold:g}: "
                f"such as {named('threshold', 0.5)}."
            )
        widest = max(self.smooth[-dims:])
        if widest > max(array.shape[1:]):
            raise InputError(
                f"a change of {widest:g} voxels around each voxel is wider than the map of {max(array.shape[1:])}: "
                f"use a smaller {named('smooth')}, such as 1vox."
            )

    def _with_background(self, array: Array) -> Array:
        """Return the array with the background appended as the last class, if the classes lack it (`kind` "rest")."""
        if self.kind != "rest":
            return array
        return np.concatenate([array, np.maximum(1 - array.sum(axis=0, keepdims=True), 0)])


class _Descent:
    """The state of a repair: the logits of the map, their change so far, and bars of 3D loops that are reused.

    Args:
        start: The input map, with the channel axis first.
        priors: Betti numbers of channels and of unions of channels.
        repairer: The parameters of the repair.
    """

    def __init__(self, start: Array, priors: Sequence[Prior], repairer: Repairer) -> None:
        self.start, self.priors, self.repairer = start, priors, repairer
        self.link = repairer.link
        self.logits = self.link.logits(np.clip(start, _NEAREST, 1 - _NEAREST).astype(np.float32))
        self.change = np.zeros_like(self.logits)
        self.level = np.float32(np.log(repairer.threshold) - np.log1p(-repairer.threshold))
        self.foreground = connectivities(start.ndim - 1, repairer.connectivity)[0]
        self.sigma = repairer.smooth[-(start.ndim - 1) :]
        self.peak = _peak(self.sigma)
        self.depths = [_depth(self.link.union(start, prior.channels), self.sigma) for prior in priors]
        self.tried = [Tried(start.shape[1:]) for _ in priors]
        self.steps = 0
        # By prior and dimension, with the step at which the bars were computed.
        self.kept: dict[tuple[int, int], tuple[Diagram, int]] = {}

    def smooth_result(self) -> Array:
        """Return the current probabilities; voxels that were not changed have bit for bit the values of the input."""
        moved = self.change != 0
        if self.repairer.kind != "apart":
            moved = moved.any(axis=0)
        p = self.link.probabilities(self.logits + self.change).astype(self.start.dtype)
        return np.where(moved, p, self.start)

    def result(self) -> Array:
        """Return the current probabilities, rounded as a file stores them."""
        p, rounded = self.smooth_result(), self.repairer.rounded
        return p if rounded is None else rounded(p).astype(p.dtype, copy=False)

    def missing(self, found: Sequence[Betti]) -> int:
        """Return the sum of the absolute differences between the Betti numbers found and those the priors ask for."""
        return sum(prior.off(betti.numbers) for betti, prior in zip(found, self.priors, strict=True))

    def move(self, p: Array, found: Sequence[Betti]) -> bool:
        """Take a step: change the logits so that wrong bars move across the threshold.

        Args:
            p: The current probabilities, as `result` returns them.
            found: The Betti numbers of each prior's mask of `p`.

        Returns:
            False if no bar was left to move, otherwise True.
        """
        self._pull_back()
        alone, spread = np.zeros_like(self.change), np.zeros_like(self.change)
        for number, (prior, betti) in enumerate(zip(self.priors, found, strict=True)):
            for aim in self._aims(number, p, betti) if prior.off(betti.numbers) else ():
                at = tuple(aim.at.T)
                if aim.spread:
                    self.tried[number].add(aim)
                shares = self.link.shares(self.logits + self.change, prior.channels, at)
                _keep_largest(spread if aim.spread else alone, at, aim.by * shares)
        if not alone.any() and not spread.any():
            return False
        self.change += alone
        for channel, peaks in enumerate(spread):
            _add_gaussians(peaks, self.sigma, self.peak, self.change[channel])
        self.steps += 1
        return True

    def _pull_back(self) -> None:
        """Move voxels back towards the input by a gradient step on the squared change, but not across the threshold."""
        p = self.smooth_result()
        weight = min(self.repairer.weight, _HEAVIEST)
        pull = self.link.logit_gradient(p, 2 * weight * (p - self.start))
        before, moved = self.change, np.abs(self.change)
        masks = self.repairer.masks(self.result(), self.priors)
        # Not beyond the input, however large lambda is.
        self.change = before - np.clip(pull, -moved, moved).astype(before.dtype)
        masks_now = self.repairer.masks(self.result(), self.priors)
        crossed = np.any([one != other for one, other in zip(masks, masks_now, strict=True)], axis=0)
        self.change[:, crossed] = before[:, crossed]

    def _aims(self, number: int, p: Array, betti: Betti) -> list[Aim]:
        """Return the moves of one step for the prior with index `number`, whose mask has the Betti numbers `betti`."""
        prior, members = self.priors[number], self.priors[number].channels
        height = self.link.union_logit(self.logits + self.change, members) + self.depths[number] - self.level
        (mask,), (original_mask,) = (self.repairer.masks(image, [prior]) for image in (p, self.start))
        snapshot = Snapshot(height, mask, original_mask, self.foreground, self.sigma, self.tried[number])
        aims: list[Aim] = []
        for dimension, asked in enumerate(prior.betti):
            if asked is None or asked == betti.numbers[dimension]:
                continue
            moves: list[Aim] = []
            if snapshot.needs_complex(dimension) and (number, dimension) in self.kept:
                bars, step = self.kept[number, dimension]
                if self.steps - step < _KEPT:
                    moves = snapshot.aims(bars, asked, dimension)
            if not moves:
                # Bars are computed of values in (0, 1) that are ordered as the logits, and sorted by probability.
                bars = diagram(0.5 + 0.5 * height / (1 + np.abs(height)), dimension, self.foreground)
                bars = by_length(bars, self.link.union(p, members), mask, self.tried[number])
                self.kept[number, dimension] = bars, self.steps
                moves = snapshot.aims(bars, asked, dimension)
            aims += moves
        return aims


def _keep_largest(changes: Array, at: Voxels, wanted: Array) -> None:
    """Write changes of the channels, shape (C, N), at the voxels `at`; a voxel keeps its largest change."""
    for channel, by in enumerate(wanted):
        order = np.argsort(np.abs(by), kind="stable")
        where = tuple(along[order] for along in at)
        here = changes[channel][where]
        changes[channel][where] = np.where(np.abs(by[order]) > np.abs(here), by[order], here)


def _depth(p: Array, sigma: Sequence[float]) -> Array:
    """Return offsets for the logits of certain voxels, whose probability is nearly 0 or 1; other voxels have offset 0.

    Offsets grow with the distance to voxels that are not certain, negative near 0 and positive near 1. They make a gap
    of zeros close where the gap is narrowest.
    """
    from scipy.ndimage import distance_transform_edt

    result = np.zeros(p.shape, np.float32)
    for certain, sign in ((p <= _NEAREST, -1), (p >= 1 - _NEAREST, 1)):
        if certain.any() and not certain.all():
            result += np.float32(sign * _DEEPER) * distance_transform_edt(certain, sampling=sampling(sigma))
    return result


def _peak(sigma: Sequence[float]) -> float:
    """Return the weight at the centre of the normalized, truncated Gaussian with standard deviations `sigma`."""
    weights = [np.exp(-0.5 * (np.arange(-_radius(size), _radius(size) + 1) / size) ** 2) for size in sigma]
    return float(np.prod([1 / along.sum() for along in weights]))


def _add_gaussians(peaks: Array, sigma: Sequence[float], peak: float, change: Array) -> None:
    """Add Gaussians to a change in place; where they overlap, their sum is limited to the largest peak.

    Args:
        peaks: The value at the centre of the Gaussian at each voxel, 0 for no Gaussian.
        sigma: Standard deviation along each axis, in voxels.
        peak: Weight at the centre of the normalized Gaussian.
        change: The array to which the Gaussians are added.
    """
    from scipy.ndimage import gaussian_filter

    at = np.nonzero(peaks)
    if not len(at[0]):
        return
    box = tuple(
        slice(max(0, int(along.min()) - _radius(size)), int(along.max()) + _radius(size) + 1)
        for along, size in zip(at, sigma, strict=True)
    )
    most = float(np.abs(peaks[at]).max())
    smooth = gaussian_filter(peaks[box], sigma, mode="constant", truncate=_REACH) / peak
    change[box] += np.clip(smooth, -most, most)


def _radius(sigma: float) -> int:
    return int(_REACH * sigma + 0.5)
