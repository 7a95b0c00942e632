"""Topological repair: changing a map, as little as possible, until its mask has given Betti numbers.

Clough et al. (*A topological loss function for deep-learning based image segmentation using persistent homology*,
TPAMI 2020) propose their loss (module `loss`) also for single maps, after a network. Here no weights are trained: the
logits of the map itself are changed. Gradient descent on the loss is slow, as the gradient of a bar is nonzero in two
voxels only, so this algorithm differs from gradient descent:

- Only bars (persistence intervals of components, loops and cavities) on the wrong side of the threshold move: the bars
  among the beta longest that do not contain the threshold, and all other bars that do. The thousands of other short
  bars in a real map are left alone.
- The cheaper end of each such bar moves. A component that is too many is erased, at the cost of the sum of its logits
  above the threshold, or joined to another one along the best path, at the cost of the logits that the path lacks. The
  cheapest is settled first, and joined components count as one from then on, so that one step closes all gaps, of any
  width. Cavities are filled or opened likewise. Loops are cut at the voxel of birth or filled at that of death.
  Voxels that the repair itself put into a gap are not erased again.
- A move crosses the threshold in one step, and the neighbours of its voxels follow by a Gaussian of their distance,
  unless the move erases a component or fills a cavity.
- A voxel that was moved up, down and up again becomes more expensive each time, until another end or bar is cheaper.
  Priors of one channel, or of unions that share one, take turns and count each other's moves.
- The squared change, summed over the voxels and weighted by lambda, pulls every voxel back as far as it does not cross
  the threshold again.

Each step computes the voxels around its moves anew (module `repairing.current_map`), labels the components of each
mask, and computes the persistence bars where loops in 3D are wrong or bars have to be compared by length. The Betti
numbers of the result are counted once more, in another way. On rings and vessels with gaps and specks this takes 1 to 4
steps and flips at most a sixth of the voxels that Adam with the gradient of the whole loss does in 17 to 46
(tests/benchmarks/repairs.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from softmorph_cli.errors import InputError
from softmorph_cli.system.parameters import named
from softmorph_cli.topology.betti import Betti, Labelled, betti_numbers
from softmorph_cli.topology.components import connectivities
from softmorph_cli.topology.prior import Prior, check_betti
from softmorph_cli.topology.repairing.current_map import NEAREST, ChangingMap
from softmorph_cli.topology.repairing.link import LinkFunction, SigmoidLink, SoftmaxLink
from softmorph_cli.topology.repairing.moves import Snapshot, Tried
from softmorph_cli.topology.repairing.pieces import Aim, Array, Mask

Kind = Literal["apart", "complete", "rest"]
Stopped = Literal["reached", "stuck", "max_steps"]
# Called with the step, the largest number of steps, and the Betti numbers of each prior's mask.
Progress = Callable[[int, int, Sequence[Betti]], None]


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
        before = descent.found
        best, best_step, fewest = descent.map.array, 0, descent.missing()
        if fewest and not array[box].any():
            where = " in the region" if self.region else ""
            raise InputError(f"the map is 0 everywhere{where}: there is nothing to repair.")
        step = 0
        stopped: Stopped | None = None if fewest else "reached"
        while stopped is None:
            if progress is not None:
                progress(step, self.max_steps, descent.found)
            if step == self.max_steps:
                stopped = "max_steps"
            elif not descent.move():
                stopped = "stuck"
            else:
                step += 1
                missing = descent.missing()
                if missing < fewest:
                    best, best_step, fewest = descent.map.array, step, missing
                stopped = None if missing else "reached"
        # Counted in another way than at the steps.
        after = self.betti_numbers(best, priors)
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
        if not NEAREST < self.threshold < 1 - NEAREST:
            raise InputError(
                f"a repair needs a threshold between {NEAREST:g} and {1 - NEAREST:g}, not {self.threshold:g}: "
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
    """The state of a repair: the map, the components of its masks, and the moves that were tried.

    Args:
        start: The input map, with the channel axis first.
        priors: Betti numbers of channels and of unions of channels.
        repairer: The parameters of the repair.
    """

    def __init__(self, start: Array, priors: Sequence[Prior], repairer: Repairer) -> None:
        self.map, self.priors, self.repairer = ChangingMap(start, priors, repairer), priors, repairer
        self.tried = [Tried(start.shape[1:]) for _ in priors]
        self.steps = 0
        self._label()

    def _label(self) -> None:
        masks = [self.map.mask(number) for number in range(len(self.priors))]
        self.labelled = [Labelled.of(mask, self.repairer.connectivity) for mask in masks]

    @property
    def found(self) -> tuple[Betti, ...]:
        """The Betti numbers of each prior's mask."""
        return tuple(labelled.betti for labelled in self.labelled)

    def missing(self) -> int:
        """Return the sum of the absolute differences between the Betti numbers and those the priors ask for."""
        return sum(prior.off(betti.numbers) for betti, prior in zip(self.found, self.priors, strict=True))

    def move(self) -> bool:
        """Take a step: change the logits so that wrong bars move across the threshold.

        Returns:
            False if no bar was left to move, otherwise True.
        """
        self.map.pull_back()
        moves: list[tuple[Aim, Array]] = []
        first, self.steps = self.steps, self.steps + 1
        moved: set[int] = set()
        for number in np.roll(np.arange(len(self.priors)), -first).tolist():
            prior = self.priors[number]
            # Priors of one channel take turns, so that they do not all mend the same place.
            if not moved.isdisjoint(prior.channels):
                continue
            aims = Snapshot(self.map, number, self.labelled[number], self.tried[number]).aims(prior.betti)
            if aims:
                moved.update(prior.channels)
            for aim in aims:
                if aim.spread != "none":
                    # A channel may undo what was done for a union of it.
                    for tried, other in zip(self.tried, self.priors, strict=True):
                        if not set(prior.channels).isdisjoint(other.channels):
                            tried.add(aim)
                moves.append((aim, aim.by * self.map.shares(prior, aim.at)))
        changed = self.map.add(moves)
        if changed:
            self._label()
        return changed
