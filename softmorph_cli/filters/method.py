"""The ways to make a binary filter soft, and what each of them can do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from softmorph_cli.compiler import DIAGRAM, NESTED
from softmorph_cli.errors import UsageError
from softmorph_cli.kernels.level_sets import Levels


class Scheme(Enum):
    """How a map is represented while the steps run."""

    STEPWISE = auto()  # as probabilities; each step's output feeds the next
    NESTED = auto()  # as the bit planes of its level sets, which stay nested, or as values by their order
    LEVELS = auto()  # as the bit planes of its level sets, each by itself
    SAMPLES = auto()  # as the bit planes of random draws
    SMOOTH_LEVELS = auto()  # as a few steep sigmoids of itself, one after the other
    POOLING = auto()  # clDice's own skeleton, made of minima and maxima


@dataclass(frozen=True)
class Method:
    """One way to make a binary filter soft.

    Attributes:
        name: What people type.
        scheme: How it runs.
        logic: Which program of a rule it runs, see `compile_rule`.
        differentiable: Whether autograd can pass through.
        summary: One line for people.
        levels: How many level sets or draws it takes unless the caller says; None where it has none.
        finite: Whether a step gives no values but those of the map and what they leave of 1, so that it comes to rest.
    """

    name: str
    scheme: Scheme
    logic: str
    differentiable: bool
    summary: str
    levels: Levels | None = None
    finite: bool = False


_ALL: Final = (
    Method(
        "multilinear", Scheme.STEPWISE, DIAGRAM, True, "exact expectation of each step, independent voxels"
    ),
    Method("product", Scheme.STEPWISE, "product", True, "the papers' polynomial: AND = ab, OR = a + b - ab"),
    Method(
        "minmax",
        Scheme.STEPWISE,
        "minmax",
        True,
        "an increasing filter at every threshold; else min and max",
        finite=True,
    ),
    Method("lukasiewicz", Scheme.STEPWISE, "lukasiewicz", True, "bounded sums: AND = max(0, a + b - 1)"),
    Method("einstein", Scheme.STEPWISE, "einstein", True, "AND = ab / (2 - (a + b - ab))"),
    Method("hamacher", Scheme.STEPWISE, "hamacher", True, "AND = ab / (a + b - ab)"),
    Method(
        "drastic", Scheme.STEPWISE, "drastic", False, "AND = min where the other is 1, else 0", finite=True
    ),
    Method(
        "nested",
        Scheme.NESTED,
        NESTED,
        True,
        "every level set thinned to a centreline that holds those of the levels above",
        16,
    ),
    Method(
        "levels",
        Scheme.LEVELS,
        DIAGRAM,
        False,
        "mean of the binary filter over the level sets of the map",
        64,
    ),
    Method("smooth-levels", Scheme.SMOOTH_LEVELS, DIAGRAM, True, "differentiable form of levels"),
    Method(
        "sampled",
        Scheme.SAMPLES,
        DIAGRAM,
        False,
        "mean over random draws of the whole map, with its error",
        64,
    ),
    Method(
        "cldice",
        Scheme.POOLING,
        "minmax",
        True,
        "min/max-pool skeleton of the clDice paper (skeletonize only)",
    ),
)
METHODS: Final = {method.name: method for method in _ALL}

# The papers' own words.
ALIASES: Final = {"probabilistic": "multilinear", "quasi-probabilistic": "product", "bounded": "lukasiewicz"}


def find(name: str | None) -> Method:
    """Return a method by its name or alias.

    Args:
        name: None, of settings that leave the method to the filter, is no method.

    Raises:
        UsageError: If there is none; the message lists them.
    """
    method = None if name is None else METHODS.get(ALIASES.get(name, name))
    if method is None:
        raise UsageError(f"unknown method {name!r}: use one of {', '.join((*METHODS, *ALIASES))}.")
    return method
