"""The nested skeleton by its definition, in plain NumPy: slow, short, no planes.

Every value is replaced by its rank among the thresholds (or, for exact levels, among all values). In one sub-iteration
a voxel is lowered to the highest rank at which the rule keeps it; candidates are its own rank and those of its
neighbours below it, since nothing changes between them. All voxels go at once, from what the image was before.

Of the package nothing is used but the rules' expressions and the thresholds.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from helpers_reference import truth

from softmorph_cli.level_sets import Levels, LevelSets
from softmorph_cli.rules import catalog
from softmorph_cli.rules.expression import Expression, turned, variables
from softmorph_cli.rules.rule import Rule


def nested_reference(
    image: np.ndarray,
    levels: Levels = 16,
    rules: Sequence[Rule] | None = None,
    *,
    finish: bool = True,
    lowest: float | None = None,
    iterations: int | None = None,
) -> np.ndarray:
    """Return the nested skeleton of a small map of 2 or 3 axes, in the map's type.

    Args:
        image: Probabilities.
        levels: How many, or "exact".
        rules: One after another, each to its fixed point; by default thinning, then thinning by subfields.
        finish: Whether the default is finished: with `rules`, their number says it.
        lowest: As in `LevelSets`; of exact levels, values up to it are background.
        iterations: Of the first rule, instead of its fixed point; the others are left out.
    """
    dims = image.ndim
    if rules is None:
        names = ("thinning", "thinning-subfields") if finish else ("thinning",)
        rules = [catalog.bundled(name, dims) for name in names]
    if iterations is not None:
        rules = rules[:1]
    if levels == "exact":
        kept = np.where(image > (lowest or 0), image, 0)
        values = np.unique(np.append(kept, 0))
        ranks = np.searchsorted(values, kept)
        for rule in rules:
            ranks = stable(ranks, rule, iterations=iterations)
        return values[ranks]
    sets = LevelSets(levels, lowest)
    ranks = sets.bins(image) + 1
    first, rest = rules[0], rules[1:]
    total = stable(ranks, first, iterations=iterations)
    for rule in rest:
        total = stable(total, rule)
    # A voxel keeps its own value where its bin allows it.
    bounds = np.append(0, sets.floats(image.dtype)[1])
    return np.where(total > 0, np.minimum(image, bounds[total]), 0)


def stable(ranks: np.ndarray, rule: Rule, *, iterations: int | None = None) -> np.ndarray:
    """Apply a deleting rule to all level sets of an image of whole numbers, until nothing changes.

    Args:
        ranks: From 0, the background.
        rule: Its sub-iterations may be restricted to subfields.
        iterations: A number of them instead.
    """
    done = 0
    while iterations is None or done < iterations:
        before = ranks
        for sub_iteration in rule.sub_iterations:
            condition = turned(sub_iteration.expression, sub_iteration.rotation)
            new = lowered(ranks, condition)
            if sub_iteration.subfield is not None:
                parity = np.array(sub_iteration.subfield).reshape(-1, *(1,) * ranks.ndim)
                elsewhere = (np.indices(ranks.shape) % 2 != parity).any(axis=0)
                new = np.where(elsewhere, ranks, new)
            ranks = new
        done += 1
        if np.array_equal(before, ranks):
            break
    return ranks


def lowered(ranks: np.ndarray, condition: Expression) -> np.ndarray:
    """Return the highest rank at which each voxel does not meet the condition for being deleted."""
    at = np.nonzero(ranks)
    padded = np.pad(ranks, 1)
    offsets = list(product((-1, 0, 1), repeat=ranks.ndim))
    around = np.array([padded[tuple(i + 1 + d for i, d in zip(at, o, strict=True))] for o in offsets])
    rows = {o: offsets.index(o) for o in variables(condition)}
    candidate = ranks[at].copy()
    open_ = np.arange(len(candidate))
    while len(open_):
        near = around[:, open_]
        deleted = truth(condition, {o: near[row] >= candidate[open_] for o, row in rows.items()})
        open_, near = open_[deleted], near[:, deleted]
        candidate[open_] = np.where(near < candidate[open_], near, 0).max(axis=0)
        open_ = open_[candidate[open_] > 0]
    result = ranks.copy()
    result[at] = candidate
    return result


def pruned(ranks: np.ndarray, condition: Expression, floor: np.ndarray) -> np.ndarray:
    """Return each voxel lowered to just below the lowest value, from a floor up, at which it meets the condition.

    It stays at that value where the next lower one of its neighbours is below the floor.
    """
    padded, result = np.pad(ranks, 1), ranks.copy()
    for place in np.argwhere(ranks > 0):
        at = tuple(place)
        around = {o: padded[tuple(place + 1 + o)] for o in product((-1, 0, 1), repeat=ranks.ndim)}
        values = {value for value in around.values() if 0 < value <= ranks[at] and value >= floor[at]}
        asked = {o: around[o] for o in variables(condition)}
        met = [v for v in values if truth(condition, {o: np.array([n >= v]) for o, n in asked.items()})[0]]
        if met:
            below = max((n for n in around.values() if n < min(met)), default=0)
            result[at] = below if below >= floor[at] else min(met)
    return result
