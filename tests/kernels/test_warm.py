"""Compiling ahead: what a skeleton needs by default is there afterwards, and nothing is compiled again."""

from __future__ import annotations

import sys

import numpy as np

import softmorph_cli
from softmorph_cli.kernels.warm import kernels


def _compiled() -> dict[tuple[str, str], int]:
    """How many types each generated kernel has been compiled for."""
    return {
        (name, kernel): len(function.signatures)
        for name, module in list(sys.modules.items())
        if name.startswith("softmorph_cli.kernels.generated.")
        for kernel, function in vars(module).items()
        if hasattr(function, "signatures")
    }


def test_after_compiling_ahead_a_skeleton_in_2d_compiles_nothing() -> None:
    ahead = dict(kernels())
    for name in (
        "check of values, float32",
        "thinning-2d, nested, uint16",
        "thinning-2d, ranks, float32",
        "thinning-2d, multilinear, uint8",
        "thinning-subfields-2d, ranks, float32",
    ):
        ahead[name]()
    before = _compiled()
    image = np.random.default_rng(0).random((300, 301)).astype(np.float32)
    for how in ({}, {"levels": "exact"}, {"hard": True}):
        softmorph_cli.skeletonize(image, threads=2, **how)
    assert _compiled() == before
