"""The methods that make a binary filter soft, and the capabilities of each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.system.printable import meant

if TYPE_CHECKING:
    from softmorph_cli.kernels.level_sets import Levels


class Scheme(Enum):
    """The representation in which a map is processed."""

    STEPWISE = auto()  # probabilities; the output of each step is the input of the next
    NESTED = auto()  # bit planes of level sets that stay nested, or values by their order
    LEVELS = auto()  # bit planes of independent level sets
    SAMPLES = auto()  # bit planes of random draws
    SMOOTH_LEVELS = auto()  # steep sigmoids around several levels, one after the other
    POOLING = auto()  # clDice's skeleton by min- and max-pooling


@dataclass(frozen=True)
class Method:
    """A method that makes a binary filter soft.

    Attributes:
        name: The name of the method that users type.
        scheme: The representation in which the method processes a map.
        logic: The name of the logic (formulas of AND, OR and NOT) that `compile_rule` compiles a rule for.
        differentiable: Whether the method has a gradient.
        levels: The default number of level sets or random draws; None if the method uses neither.
        finite: Whether a step returns only values v of the map and 1 - v, so that the iteration converges.
    """

    name: str
    scheme: Scheme
    logic: str
    differentiable: bool = True
    levels: Levels | None = None
    finite: bool = False


# The logics "multilinear" and "nested" are DIAGRAM and NESTED of the compiler, whose import would delay --help.
_ALL: Final = (
    Method(
        "multilinear", Scheme.STEPWISE, "multilinear"
    ),  # exact expectation of each step, independent voxels
    Method("product", Scheme.STEPWISE, "product"),  # the papers' polynomial: AND = ab, OR = a + b - ab
    # An increasing filter at every threshold; else minimum and maximum.
    Method("minmax", Scheme.STEPWISE, "minmax", finite=True),
    Method("lukasiewicz", Scheme.STEPWISE, "lukasiewicz"),  # AND = max(0, a + b - 1)
    Method("einstein", Scheme.STEPWISE, "einstein"),  # AND = ab / (2 - (a + b - ab))
    Method("hamacher", Scheme.STEPWISE, "hamacher"),  # AND = ab / (a + b - ab)
    # AND = the minimum where the other is 1, else 0
    Method("drastic", Scheme.STEPWISE, "drastic", differentiable=False, finite=True),
    # Every level set is thinned to a centreline that contains those of the levels above.
    Method("nested", Scheme.NESTED, "nested", levels=16),
    # The mean of the binary filter over the level sets of the map; then its differentiable form.
    Method("levels", Scheme.LEVELS, "multilinear", differentiable=False, levels=64),
    Method("smooth-levels", Scheme.SMOOTH_LEVELS, "multilinear"),
    # The mean over random draws of the whole map, with its standard error.
    Method("sampled", Scheme.SAMPLES, "multilinear", differentiable=False, levels=64),
    # The clDice paper's skeleton by min- and max-pooling.
    Method("cldice", Scheme.POOLING, "minmax"),
)
METHODS: Final = {method.name: method for method in _ALL}

# The papers' names.
ALIASES: Final = {"probabilistic": "multilinear", "quasi-probabilistic": "product", "bounded": "lukasiewicz"}


def find(name: str | None) -> Method:
    """Return a method by its name or alias; None as a name is an error.

    Raises:
        UsageError: If no method has this name; the message lists all names.
    """
    method = None if name is None else METHODS.get(ALIASES.get(name, name))
    if method is None:
        known = (*METHODS, *ALIASES)
        raise UsageError(f"unknown method {name!r}{meant(str(name), known)}: use one of {', '.join(known)}.")
    return method


def check_method(method: str, *, thinning: bool = False) -> None:
    """Refuse method `cldice`, which is a skeleton itself, and `nested` unless `thinning` says that the rule may thin.

    Raises:
        UsageError: If the method is refused; the message names the operation to use it with.
    """
    scheme = find(method).scheme
    if scheme is Scheme.POOLING:
        raise UsageError(
            f"method {method!r} is a skeleton: use it with skeletonize, and leave the method out here."
        )
    if scheme is Scheme.NESTED and not thinning:
        raise UsageError(
            f"method {method!r} is for thinnings: use it with skeletonize, and leave it out here."
        )


def check_gradient(method: str | None) -> None:
    """Refuse a method that has no gradient.

    Raises:
        InputError: If the method has no gradient; the message lists the methods that have a gradient.
    """
    if not find(method).differentiable:
        able = ", ".join(name for name, m in METHODS.items() if m.differentiable)
        raise InputError(
            f"method {method!r} has no gradient, but the input requires one: use 'smooth-levels', the "
            f"differentiable form of levels (or another of {able}), or pass image.detach()."
        )
