"""Generated kernels: in a real file, vectorisable, and recovered when the cache is damaged."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from softmorph_cli import cache
from softmorph_cli.compiler import DIAGRAM, compile_rule
from softmorph_cli.kernels import numba_cpu, source
from softmorph_cli.kernels.numba_cpu import NumbaField, generate
from softmorph_cli.rules import structuring

STEPS = compile_rule(structuring.erosion(4, 2), DIAGRAM)
IMAGE = np.full((4, 5), 0.5, np.float32)


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    _forget()
    yield tmp_path / "cache" / "kernels"
    _forget()


def _forget() -> None:
    source.load.cache_clear()
    numba_cpu._kernel.cache_clear()


def _erode() -> np.ndarray:
    field = NumbaField(IMAGE, threads=1)
    field.begin(STEPS)
    field.sweep(STEPS[0])
    return field.image().copy()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize("damage", [_empty, _half, _zeros])
@pytest.mark.parametrize("suffix", ["py", "nbc", "nbi"])
def test_a_damaged_cache_is_made_anew(suffix: str, damage: Callable[[Path], None], fresh: Path) -> None:
    right = _erode()
    files = [path for path in fresh.rglob(f"*.{suffix}") if path.is_file()]
    assert files
    for path in files:
        damage(path)
    if suffix == "py":
        for path in fresh.rglob("*.pyc"):
            path.unlink()
    _forget()
    assert np.array_equal(_erode(), right)
    _forget()
    assert np.array_equal(_erode(), right)


def test_every_index_of_the_generated_code_is_unsigned() -> None:
    text = generate(STEPS[0].program, np.dtype(np.float32), None)
    signature = re.search(r'"int64\((.*?)"\n\s*"(.*?)"', text, re.DOTALL)
    assert signature is not None
    assert "uint64, uint64, uint64" in signature[1]
    # int32 is for the stamps alone.
    assert re.findall(r"(?<!u)int64", signature[1] + signature[2]) == []


def test_types_and_skipping_have_kernels_of_their_own() -> None:
    program = STEPS[0].program
    texts = {
        generate(program, np.dtype(dtype), absorbing)
        for dtype in ("float32", "float64", "uint8", "uint64")
        for absorbing in (None, 0, 1)
    }
    assert len(texts) == 12


def test_a_kernel_file_is_written_once(fresh: Path) -> None:
    _erode()
    (path,) = fresh.glob("*.py")
    before = path.stat().st_mtime_ns
    _forget()
    _erode()
    assert path.stat().st_mtime_ns == before
    assert len(list(fresh.glob("*.py"))) == 1
