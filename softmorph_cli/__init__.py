"""Soft morphology and skeletons for predicted probability maps.

The names below load what they need when they are first used: importing the package alone loads neither
torch nor numba nor a file library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "apply_rule": "filters.functions",
    "blackhat": "filters.functions",
    "closing": "filters.functions",
    "dilation": "filters.functions",
    "erosion": "filters.functions",
    "gradient": "filters.functions",
    "opening": "filters.functions",
    "skeletonize": "filters.functions",
    "tophat": "filters.functions",
    "SoftClosing": "filters.modules",
    "SoftDilation": "filters.modules",
    "SoftErosion": "filters.modules",
    "SoftOpening": "filters.modules",
    "SoftSkeletonizer": "filters.modules",
    "read": "io",
    "write": "io",
    "Volume": "volume",
    "SoftmorphError": "errors",
    "SoftmorphWarning": "errors",
}

__all__ = ["__version__", *sorted(_HOMES)]

if TYPE_CHECKING:
    from softmorph_cli.errors import SoftmorphError as SoftmorphError
    from softmorph_cli.errors import SoftmorphWarning as SoftmorphWarning
    from softmorph_cli.filters.functions import apply_rule as apply_rule
    from softmorph_cli.filters.functions import blackhat as blackhat
    from softmorph_cli.filters.functions import closing as closing
    from softmorph_cli.filters.functions import dilation as dilation
    from softmorph_cli.filters.functions import erosion as erosion
    from softmorph_cli.filters.functions import gradient as gradient
    from softmorph_cli.filters.functions import opening as opening
    from softmorph_cli.filters.functions import skeletonize as skeletonize
    from softmorph_cli.filters.functions import tophat as tophat
    from softmorph_cli.filters.modules import SoftClosing as SoftClosing
    from softmorph_cli.filters.modules import SoftDilation as SoftDilation
    from softmorph_cli.filters.modules import SoftErosion as SoftErosion
    from softmorph_cli.filters.modules import SoftOpening as SoftOpening
    from softmorph_cli.filters.modules import SoftSkeletonizer as SoftSkeletonizer
    from softmorph_cli.io import read as read
    from softmorph_cli.io import write as write
    from softmorph_cli.volume import Volume as Volume


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
