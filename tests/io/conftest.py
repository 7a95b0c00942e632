from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from softmorph_cli.volume import Volume

# Oblique, sheared, with a flip: nothing that a shortcut would survive.
AFFINE = np.array([[0.1, 0.2, -2.0, 5.0], [0.3, 1.5, 0.0, -7.0], [3.0, 0.1, 0.2, 9.0], [0, 0, 0, 1.0]])


@pytest.fixture
def volume() -> Volume:
    array = np.random.default_rng(0).random((4, 5, 6), dtype=np.float32)
    array[0, 0, :2] = 0, 1
    sizes = np.linalg.norm(AFFINE[:3, :3], axis=0)
    return Volume(array, "ZYX", tuple(float(s) for s in sizes), "mm", AFFINE.copy())


@pytest.fixture(autouse=True)
def silent(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Library code prints nothing, not even the C libraries below it."""
    yield
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nothing temporary is left."""
    yield tmp_path
    assert not [p.name for p in tmp_path.iterdir() if p.name.startswith(".softmorph")]
