"""The public functions of the filters, with the command line's defaults.

Every function takes a NumPy array or a torch tensor with values in [0, 1] and returns one of the same kind; or a
`Volume` or the path of a file, and returns a `Volume`. Arrays (Y, X) are 2D and (Z, Y, X) are 3D; with further leading
axes pass `spatial_dims=2` or `spatial_dims=3`, and each image is filtered separately. The input is never modified.
float32 and float64 are computed as they are, everything narrower in float32.

With a `Volume` or a file lengths have units, `radius="2mm"`, and `resample="iso"` is available.

With `method="sampled"` a function returns two images: the mean and its standard error. (Its type is that of one.)
"""

from __future__ import annotations

import inspect
import textwrap
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeAlias, Unpack, cast, overload

from softmorph_cli.api.images import Array, Image, Placed, placed, refuse_grid
from softmorph_cli.errors import SoftmorphWarning, UsageError
from softmorph_cli.filters.filter import SoftFilter
from softmorph_cli.filters.operations import morphological
from softmorph_cli.filters.operations.rules import ApplyRule
from softmorph_cli.filters.operations.skeletonize import Skeleton
from softmorph_cli.filters.settings import MethodOptions
from softmorph_cli.rules.rule import Rule
from softmorph_cli.system.parameters import Declared, arguments, declared, keyword
from softmorph_cli.system.printable import meant

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from softmorph_cli.volume import Volume

P = ParamSpec("P")


class Function(Protocol[P]):
    """A public function: an image, then the parameters of its filter; the image's kind decides that of the result."""

    @overload
    def __call__(self, image: Array, /, *args: P.args, **kwargs: P.kwargs) -> npt.NDArray[Any]: ...
    @overload
    def __call__(self, image: Tensor, /, *args: P.args, **kwargs: P.kwargs) -> Tensor: ...
    @overload
    def __call__(self, image: Placed, /, *args: P.args, **kwargs: P.kwargs) -> Volume: ...


def _function_of(make: Callable[P, SoftFilter], name: str) -> Function[P]:
    """Return the public function of a filter: its parameters are keyword arguments, which follow the image.

    Args:
        make: The filter's class.
        name: The function's name.
    """
    known = _in_order(make)
    names = {one.name for one in known}

    def run(image: Any, *args: P.args, **kwargs: P.kwargs) -> Any:
        for wrong in kwargs.keys() - names:
            raise TypeError(f"{name}() got an unexpected keyword argument {wrong!r}{meant(wrong, names)}")
        return _filtered(make(*args, **kwargs), image)

    image = inspect.Parameter("image", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Image)
    run.__name__ = run.__qualname__ = name
    run.__doc__ = _documentation(make, known)
    run.__signature__ = inspect.Signature([image, *map(keyword, known)], return_annotation=Image)  # type: ignore[attr-defined]
    return cast("Function[P]", run)


def _in_order(make: Any) -> list[Declared]:
    """Return the parameters of a filter, its own before those of its method."""
    known, own = declared(make), make.own_keys()
    return [*own.values(), *(one for name, one in known.items() if name not in own)]


_IMAGE = (
    "image: Probabilities in [0, 1]: a NumPy array or torch tensor, floating-point or Boolean, of shape (Y, X), "
    "(Z, Y, X) or, with `spatial_dims`, (..., Y, X) or (..., Z, Y, X); a `Volume`; or the path of a file, read as "
    "`read` does."
)
_RETURNS = (
    "An image of the same kind, shape and floating-point type, float32 where that is none; of a path a `Volume`. Two "
    'with `method="sampled"`: the mean and its standard error.'
)
_RAISES = (
    "UsageError: If a parameter is wrong whatever the image.",
    "InputError: If the image is no probability map, or a parameter does not fit it.",
    "FileError: If a file cannot be read.",
)


def _documentation(make: Any, known: Sequence[Declared]) -> str:
    """Return the docstring of a function: the class's, and the help of each parameter."""
    summary, _, rest = (inspect.getdoc(make) or "").partition("\n")
    about, _, example = rest.strip().partition("\n\n>>> ")
    return "\n\n".join(
        filter(
            None,
            (
                f"Return the {summary[0].lower()}{summary[1:]}",
                about,
                f"{_section('Args', [_IMAGE])}\n{arguments(known)}",
                _section("Returns", [_RETURNS]),
                _section("Raises", _RAISES),
                f">>> {example}" if example else "",
            ),
        )
    )


def _section(title: str, lines: Sequence[str]) -> str:
    hanging = "" if title == "Returns" else "    "
    wrapped = "\n".join(textwrap.fill(line, 108, subsequent_indent=hanging) for line in lines)
    return f"{title}:\n{textwrap.indent(wrapped, '    ')}"


def _filtered(chosen: SoftFilter, image: Any) -> Any:
    """Return the filtered image, of any kind, and issue the warnings of the filter."""
    volume = placed(image)
    found, error, messages = _of_array(chosen, image) if volume is None else _of_volume(chosen, volume)
    for message in messages:
        # The caller of the public function, which calls this one.
        warnings.warn(message, SoftmorphWarning, stacklevel=3)
    return found if error is None else (found, error)


def _of_array(chosen: SoftFilter, image: Any) -> tuple[Any, Any, Sequence[str]]:
    if isinstance(chosen, Skeleton) and chosen.resample is not None:
        raise UsageError(
            f"resample={chosen.resample!r} needs the voxel size, which an array does not hold: pass a Volume, such as "
            'Volume(array, "ZYX", spacing=(2.0, 1.0, 1.0)), or the path of a file.'
        )
    result = chosen(image)
    return result.image, result.standard_error, result.warnings


def _of_volume(chosen: SoftFilter, volume: Volume) -> tuple[Volume, Volume | None, Sequence[str]]:
    from softmorph_cli.pipeline.apply_filter import perform
    from softmorph_cli.skeleton import image_kind

    grid = {name: getattr(chosen, name, None) for name in ("spatial_dims", "spacing", "unit")}
    refuse_grid(**grid)
    settled, nearest = chosen.settled(image_kind.exact_levels(volume))
    name = str(volume.source.path) if volume.source else "the volume"
    filtered, prepared, result = perform(settled, volume, name=name)
    error = None if result.standard_error is None else prepared.with_array(result.standard_error)
    return replace(filtered, notes=(*filtered.notes, *nearest)), error, result.warnings


erosion = _function_of(morphological.Erosion, "erosion")
dilation = _function_of(morphological.Dilation, "dilation")
opening = _function_of(morphological.Opening, "opening")
closing = _function_of(morphological.Closing, "closing")
gradient = _function_of(morphological.Gradient, "gradient")
tophat = _function_of(morphological.TopHat, "tophat")
blackhat = _function_of(morphological.BlackHat, "blackhat")
skeletonize = _function_of(Skeleton, "skeletonize")


class RuleOptions(MethodOptions, total=False):
    """Keyword arguments of `apply_rule`; their meaning and defaults are stated there."""

    iterations: int | None
    method: str | None


class ArrayOptions(RuleOptions, total=False):
    """The same of an array, which may have leading axes."""

    spatial_dims: int | None


AnyRule: TypeAlias = str | Path | Rule


@overload
def apply_rule(rule: AnyRule, image: Array, **options: Unpack[ArrayOptions]) -> npt.NDArray[Any]: ...
@overload
def apply_rule(rule: AnyRule, image: Tensor, **options: Unpack[ArrayOptions]) -> Tensor: ...
@overload
def apply_rule(rule: AnyRule, image: Placed, **options: Unpack[RuleOptions]) -> Volume: ...
def apply_rule(
    rule: AnyRule,
    image: Image,
    *,
    iterations: int | None = None,
    method: str | None = None,
    spatial_dims: int | None = None,
    **how: Unpack[MethodOptions],
) -> Any:
    """Return any Boolean rule as a soft filter.

    Args:
        rule: The name of a bundled rule, the path of a TOML file, or a `Rule`.
        image: Probabilities in [0, 1], as for `erosion`: an array, a tensor, a `Volume` or a path.
        iterations: How many; default that of the rule.
        method: How the rule is made soft; default "minmax" for an increasing rule, "nested" for a
            thinning whose level sets can be kept nested, "levels" for any other.
        spatial_dims: 2 or 3 where an array has leading axes.
        **how: The other parameters of `skeletonize` that belong to a method or the machine, such as `levels`.

    Returns:
        An image of the same kind, as `erosion`.

    Raises:
        RuleError: If the rule does not exist, is malformed, too large, or for other dimensions.
        FileError: If its file, or that of the image, cannot be read.
        UsageError: If an argument is wrong whatever the image.
        InputError: If the image is no probability map.

    >>> import numpy as np
    >>> print(apply_rule("majority", np.array([[0.9, 0.9, 0.9], [0.9, 0.1, 0.9], [0.9, 0.9, 0.9]]))[1])
    [0.9 0.9 0.9]
    """
    chosen = ApplyRule(method, rule=rule, iterations=iterations, spatial_dims=spatial_dims, **how)
    return _filtered(chosen, image)


# The public names: `softmorph_cli` has each of them. Written out, because type checkers read it.
__all__ = [
    "apply_rule",
    "blackhat",
    "closing",
    "dilation",
    "erosion",
    "gradient",
    "opening",
    "skeletonize",
    "tophat",
]
