"""Soft morphology and skeletons for predicted probability maps.

The names below load what they need when they are first used: importing the package alone loads neither
torch nor numba nor a file library.

>>> import softmorph_cli
>>> softmorph_cli.dilation([[0.0, 0.7, 0.0]])
array([[0.7, 0.7, 0.7]])
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "SoftClosing": "filters.modules",
    "SoftDilation": "filters.modules",
    "SoftErosion": "filters.modules",
    "SoftOpening": "filters.modules",
    "SoftSkeletonizer": "filters.modules",
    "betti_numbers": "api.analysis",
    "draw": "api.pictures",
    "evaluate": "api.analysis",
    "evaluate_prior": "api.priors",
    "inspect": "api.analysis",
    "interpolate": "api.interpolation",
    "read_prior": "api.priors",
    "repair": "api.repairs",
    "segment": "api.priors",
    "simplify": "api.simplification",
    "statistics": "api.analysis",
    "train_prior": "api.priors",
    "write_prior": "api.priors",
    "read": "io.reading",
    "write": "io.writing",
    "Volume": "volume",
    "SoftmorphError": "errors",
    "SoftmorphWarning": "errors",
}
# The home of every name that is not in the table.
_FUNCTIONS = "api.filters"

if TYPE_CHECKING:
    from softmorph_cli.api.analysis import betti_numbers as betti_numbers
    from softmorph_cli.api.analysis import evaluate as evaluate
    from softmorph_cli.api.analysis import inspect as inspect
    from softmorph_cli.api.analysis import statistics as statistics
    from softmorph_cli.api.filters import *  # noqa: F403
    from softmorph_cli.api.interpolation import interpolate as interpolate
    from softmorph_cli.api.pictures import draw as draw
    from softmorph_cli.api.priors import evaluate_prior as evaluate_prior
    from softmorph_cli.api.priors import read_prior as read_prior
    from softmorph_cli.api.priors import segment as segment
    from softmorph_cli.api.priors import train_prior as train_prior
    from softmorph_cli.api.priors import write_prior as write_prior
    from softmorph_cli.api.repairs import repair as repair
    from softmorph_cli.api.simplification import simplify as simplify
    from softmorph_cli.errors import SoftmorphError as SoftmorphError
    from softmorph_cli.errors import SoftmorphWarning as SoftmorphWarning
    from softmorph_cli.filters.modules import SoftClosing as SoftClosing
    from softmorph_cli.filters.modules import SoftDilation as SoftDilation
    from softmorph_cli.filters.modules import SoftErosion as SoftErosion
    from softmorph_cli.filters.modules import SoftOpening as SoftOpening
    from softmorph_cli.filters.modules import SoftSkeletonizer as SoftSkeletonizer
    from softmorph_cli.io.reading import read as read
    from softmorph_cli.io.writing import write as write
    from softmorph_cli.volume import Volume as Volume


def _functions() -> tuple[str, ...]:
    return tuple(import_module(f"{__name__}.{_FUNCTIONS}").__all__)


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return ["__version__", *sorted((*_HOMES, *_functions()))]
    if name in _HOMES or (not name.startswith("_") and name in _functions()):
        return getattr(import_module(f"{__name__}.{_HOMES.get(name, _FUNCTIONS)}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_functions()})
