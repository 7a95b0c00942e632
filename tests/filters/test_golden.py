"""Golden values of tests/golden: every one through `torch_eager`, a chosen few through `numba_cpu`."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers_filters import made, thinning
from helpers_maps import close, golden_tolerance

from softmorph_cli.filters.settings import Settings

PATTERN = re.compile(
    r"(?P<operation>skeleton|erosion|dilation|opening|closing)_(?P<method>[a-z]+)(?P<levels>\d+)?"
    r"(?:_T(?P<smooth>\d+)_s(?P<sharpness>\d+))?_(?P<input>[pselh][23])"
    r"(?:_c(?P<both>\d+))?(?:_ec(?P<first>\d+)_dc(?P<then>\d+))?(?:_dc(?P<dilation>\d+)_ec(?P<erosion>\d+))?"
    r"(?:_i(?P<iterations>\d+))?"
)


@cache
def golden() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).parents[1] / "golden" / "soft_filters.npz") as data:
        return dict(data)


NAMES = tuple(name for name in golden() if "_" in name)
# Few programs, so that CI compiles few kernels; the contract holds the others.
COMPILED = (
    "skeleton_multilinear_p2_i3",
    "skeleton_multilinear_p3_i2",
    "skeleton_multilinear_e3_i2",
    "skeleton_product_s3_i2",
    "skeleton_einstein_e2_i1",
    "skeleton_hamacher_e2_i1",
    "skeleton_drastic_e2_i1",
    "skeleton_levels64_p2",
    "skeleton_levels64_s2",
    "skeleton_levels64_p3",
    "skeleton_levels64_s3",
    "skeleton_smoothlevels_T8_s20_s2_i2",
    "skeleton_smoothlevels_T8_s20_s3_i2",
    "skeleton_cldice_s2_i3",
    "erosion_multilinear_h2_c8_i1",
    "opening_multilinear_h3_ec26_dc6_i1",
)


def compute(name: str, image: Any) -> np.ndarray:
    """Run the filter that a golden name describes."""
    matched = PATTERN.fullmatch(name)
    assert matched is not None, name
    g = matched.groupdict()
    method = {"smoothlevels": "smooth-levels"}.get(g["method"], g["method"])
    settings = Settings(
        method,
        levels=int(g["levels"] or 64),
        smooth_levels=int(g["smooth"] or 16),
        sharpness=float(g["sharpness"] or 20),
    )
    iterations = None if g["iterations"] is None else int(g["iterations"])
    if g["operation"] == "skeleton":
        return np.asarray(thinning(image, settings, iterations=iterations).image)
    erosion = g["first"] or g["erosion"] or g["both"]
    dilation = g["then"] or g["dilation"] or g["both"]
    element = made(
        g["operation"], settings, erosion=int(erosion), dilation=int(dilation), iterations=iterations
    )
    return np.asarray(element(image).image)


def of(name: str) -> np.ndarray:
    matched = PATTERN.fullmatch(name)
    assert matched is not None
    return golden()[matched["input"]]


def test_the_file_is_complete_and_its_names_are_understood() -> None:
    assert len(NAMES) == 110
    assert all(PATTERN.fullmatch(name) for name in NAMES)
    assert set(COMPILED) <= set(NAMES)
    assert all(golden()[name].dtype == np.float64 for name in golden())


@pytest.mark.usefixtures("torch_only")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", NAMES)
def test_torch_eager(name: str, dtype: torch.dtype) -> None:
    got = compute(name, torch.tensor(of(name), dtype=dtype))
    assert got.dtype == (np.float64 if dtype is torch.float64 else np.float32)
    assert close(got, golden()[name], *golden_tolerance(got.dtype))


IN_BOTH_TYPES = tuple(n for n in COMPILED if not re.search("einstein|hamacher|drastic|cldice", n))


@pytest.mark.parametrize(
    ("name", "dtype"), [(n, "float64") for n in COMPILED] + [(n, "float32") for n in IN_BOTH_TYPES]
)
def test_numba_cpu(name: str, dtype: str) -> None:
    got = compute(name, of(name).astype(dtype))
    assert got.dtype == dtype
    assert close(got, golden()[name], *golden_tolerance(got.dtype))


def test_golden_values_tell_methods_apart() -> None:
    wanted = golden()["skeleton_multilinear_e3_i1"]
    for method in ("product", "minmax", "lukasiewicz", "einstein", "hamacher", "drastic"):
        assert not close(golden()[f"skeleton_{method}_e3_i1"], wanted, 1e-3)
