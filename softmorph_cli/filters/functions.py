"""The public functions: arrays in, arrays of the same kind out, with the command line's defaults.

Every function takes a NumPy array or a torch tensor with values in [0, 1]. (Y, X) is 2D and (Z, Y, X) is 3D;
with further leading axes say `spatial_dims=2` or `spatial_dims=3`, and each image is filtered by itself. The
input is never modified. float32 and float64 are computed as they are, everything narrower in float32.

With `method="sampled"` a function returns two arrays: the mean and its standard error.
"""

from __future__ import annotations

import inspect
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypedDict

from softmorph_cli.errors import SoftmorphWarning
from softmorph_cli.filters import operations
from softmorph_cli.filters.filter import SoftFilter
from softmorph_cli.level_sets import Levels
from softmorph_cli.parameters import declared
from softmorph_cli.rules.rule import Rule

P = ParamSpec("P")


class How(TypedDict, total=False):
    """Keyword arguments of every module and loss; their meaning and defaults are those of `Settings`."""

    levels: Levels
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


def function_of(make: Callable[P, SoftFilter]) -> Callable[Concatenate[Any, P], Any]:
    """Return the public function of a filter: its parameters are keyword arguments, which follow the image."""

    def run(image: Any, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        result = make(*args, **kwargs)(image)
        for warning in result.warnings:
            warnings.warn(warning, SoftmorphWarning, stacklevel=2)
        return result.image if result.standard_error is None else (result.image, result.standard_error)

    assert isinstance(make, type)
    image = inspect.Parameter("image", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    given = inspect.signature(make).parameters.values()
    keywords = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in given]
    run.__signature__ = inspect.Signature([image, *keywords])  # type: ignore[attr-defined]
    run.__doc__ = _documentation(make)
    return run


def _documentation(owner: type) -> str:
    """Return the docstring of a function: the class's, and each parameter's help."""
    summary, _, rest = (inspect.getdoc(owner) or "").partition("\n")
    lines = ["image: Probabilities, see the module's docstring."]
    lines += [f"{name}: {one.about.help}" for name, one in declared(owner).items()]
    arguments = textwrap.indent(
        "\n".join(textwrap.fill(one, 100, subsequent_indent="    ") for one in lines), "    "
    )
    raises = "Raises:\n    SoftmorphError: If an argument is wrong, or does not fit the image."
    return f"Return the {summary[0].lower()}{summary[1:]}\n{rest}\n\nArgs:\n{arguments}\n\n{raises}\n"


erosion = function_of(operations.Erosion)
dilation = function_of(operations.Dilation)
opening = function_of(operations.Opening)
closing = function_of(operations.Closing)
gradient = function_of(operations.Gradient)
tophat = function_of(operations.TopHat)
blackhat = function_of(operations.BlackHat)
skeletonize = function_of(operations.Skeleton)
_apply = function_of(operations.ApplyRule)


def apply_rule(rule: str | Path | Rule, image: Any, **parameters: Any) -> Any:
    """Return any Boolean rule as a soft filter; see `softmorph_cli.filters.operations.ApplyRule`.

    Args:
        rule: The name of a bundled rule, the path of a TOML file, or a `Rule`.
        image: Probabilities, see the module's docstring.
        **parameters: `iterations`, `method`, and what every function takes.

    Raises:
        RuleError: If the rule does not exist, is malformed, too large, or for other dimensions.
        FileError: If its file cannot be read.
        UsageError: If an argument is wrong whatever the image.
    """
    return _apply(image, rule=rule, **parameters)
