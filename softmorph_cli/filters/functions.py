"""The public functions: arrays in, arrays of the same kind out, with the command line's defaults.

Every function takes a NumPy array or a torch tensor with values in [0, 1]. (Y, X) is 2D and (Z, Y, X) is 3D;
with further leading axes say `spatial_dims=2` or `spatial_dims=3`, and each image is filtered by itself. The
input is never modified. float32 and float64 are computed as they are, everything narrower in float32.

With `method="sampled"` a function returns two arrays: the mean and its standard error.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, TypedDict, Unpack

from softmorph_cli.errors import SoftmorphWarning
from softmorph_cli.filters import operations
from softmorph_cli.filters.filter import SoftFilter
from softmorph_cli.filters.settings import Result
from softmorph_cli.parameters import Declared, arguments, declared, keyword
from softmorph_cli.rules.rule import Rule

P = ParamSpec("P")


class How(TypedDict, total=False):
    """Keyword arguments of every module and loss; their meaning and defaults are those of `Settings`."""

    levels: int | Literal["exact"]
    lowest: float | None
    finish: bool
    prune_contrast: float
    surrogate: bool
    smooth_levels: int
    sharpness: float
    seed: int
    tolerance: float
    max_iterations: int
    device: str
    threads: int | None


def _function_of(make: Callable[P, SoftFilter], name: str) -> Callable[Concatenate[Any, P], Any]:
    """Return the public function of a filter: its parameters are keyword arguments, which follow the image.

    Args:
        make: The filter's class.
        name: The function's name.
    """

    def run(image: Any, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        return _output(make(*args, **kwargs)(image))

    run.__name__ = run.__qualname__ = name
    summary, _, rest = (inspect.getdoc(make) or "").partition("\n")
    known = _in_order(make)
    parts = [
        f"Return the {summary[0].lower()}{summary[1:]}",
        rest.strip(),
        f"Args:\n    image: Probabilities, see the module's docstring.\n{arguments(known)}",
        "Raises:\n    SoftmorphError: If an argument is wrong, or does not fit the image.",
    ]
    run.__doc__ = "\n\n".join(filter(None, parts))
    image = inspect.Parameter("image", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    run.__signature__ = inspect.Signature([image, *map(keyword, known)])  # type: ignore[attr-defined]
    return run


def _in_order(make: Any) -> list[Declared]:
    """Return the parameters of a filter, its own before those of its method."""
    known, own = declared(make), make.own_keys()
    return [*own.values(), *(one for name, one in known.items() if name not in own)]


def _output(result: Result) -> Any:
    for warning in result.warnings:
        warnings.warn(warning, SoftmorphWarning, stacklevel=3)
    return result.image if result.standard_error is None else (result.image, result.standard_error)


erosion = _function_of(operations.Erosion, "erosion")
dilation = _function_of(operations.Dilation, "dilation")
opening = _function_of(operations.Opening, "opening")
closing = _function_of(operations.Closing, "closing")
gradient = _function_of(operations.Gradient, "gradient")
tophat = _function_of(operations.TopHat, "tophat")
blackhat = _function_of(operations.BlackHat, "blackhat")
skeletonize = _function_of(operations.Skeleton, "skeletonize")


def apply_rule(
    rule: str | Path | Rule,
    image: Any,
    *,
    iterations: int | None = None,
    method: str | None = None,
    spatial_dims: int | None = None,
    **how: Unpack[How],
) -> Any:
    """Return any Boolean rule as a soft filter.

    Args:
        rule: The name of a bundled rule, the path of a TOML file, or a `Rule`.
        image: Probabilities, see the module's docstring.
        iterations: How many; default as the rule says.
        method: How the rule is made soft; default "minmax" for an increasing rule, "nested" for a
            thinning whose level sets can be kept nested, "levels" for any other.
        spatial_dims: 2 or 3 where there are leading axes.
        **how: See `How`.

    Raises:
        RuleError: If the rule does not exist, is malformed, too large, or for other dimensions.
        FileError: If its file cannot be read.
        UsageError: If an argument is wrong whatever the image.

    >>> import numpy as np
    >>> print(apply_rule("majority", np.array([[0.9, 0.9, 0.9], [0.9, 0.1, 0.9], [0.9, 0.9, 0.9]]))[1])
    [0.9 0.9 0.9]
    """
    chosen = operations.ApplyRule(method, rule=rule, iterations=iterations, spatial_dims=spatial_dims, **how)
    return _output(chosen(image))


# The public names: `softmorph_cli` has each of them.
__all__ = sorted(
    name
    for name, one in globals().items()
    if getattr(one, "__module__", "") == __name__ and name[0].islower()
)
