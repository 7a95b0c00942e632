"""Importing the package stays light, and every public name is there."""

from __future__ import annotations

import subprocess
import sys

import pytest

import softmorph_cli

HEAVY = {"torch", "numba", "dd", "nibabel", "SimpleITK", "tifffile", "matplotlib", "scipy", "skimage"}


def _loaded_by(code: str) -> set[str]:
    script = f"import sys\n{code}\nsys.stdout.write(' '.join(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = _loaded_by("import softmorph_cli; softmorph_cli.__version__; dir(softmorph_cli)")
    assert "softmorph_cli" in loaded
    assert loaded & (HEAVY | {"numpy"}) == set()


@pytest.mark.parametrize(
    "code",
    [
        "from softmorph_cli import skeletonize, erosion, apply_rule",
        "from softmorph_cli.rules import catalog; catalog.bundled('thinning-3d')",
        "from softmorph_cli import Volume, read, write, SoftmorphError",
    ],
)
def test_functions_and_rules_load_nothing_heavy_before_they_run(code: str) -> None:
    assert _loaded_by(code) & HEAVY == set()


def test_filtering_an_array_needs_no_torch() -> None:
    code = "import numpy as np, softmorph_cli; softmorph_cli.erosion(np.ones((3, 3), np.float32))"
    loaded = _loaded_by(code)
    assert "numba" in loaded
    assert "torch" not in loaded


def test_the_check_can_fail() -> None:
    assert "scipy" in _loaded_by("import scipy")


def test_public_names_are_exactly_those_of_all() -> None:
    for name in softmorph_cli.__all__:
        assert getattr(softmorph_cli, name) is not None
        assert name in dir(softmorph_cli)
    with pytest.raises(AttributeError, match="no attribute 'skeletonise'"):
        _ = softmorph_cli.skeletonise
