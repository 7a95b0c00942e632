"""The functions of Python by the names of their commands."""

from __future__ import annotations

from typing import Any

import numpy as np
from helpers_cli import random_map

import softmorph_cli

SQUARE = random_map((9, 11), 3)
FUNCTIONS: dict[str, Any] = {
    "erode": softmorph_cli.erosion,
    "dilate": softmorph_cli.dilation,
    "open": softmorph_cli.opening,
    "close": softmorph_cli.closing,
    "gradient": softmorph_cli.gradient,
    "tophat": softmorph_cli.tophat,
    "blackhat": softmorph_cli.blackhat,
    "skeletonize": softmorph_cli.skeletonize,
}


def quietly(function: Any, *arguments: Any, **more: Any) -> np.ndarray:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", softmorph_cli.SoftmorphWarning)
        result: np.ndarray = function(*arguments, **more)
    return result
