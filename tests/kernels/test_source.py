"""Generated kernels: in a real file, vectorisable, and recovered when the cache is damaged."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from softmorph_cli.compiler.compile import DIAGRAM, compile_rule
from softmorph_cli.compiler.necessary_conditions import needs
from softmorph_cli.kernels import folds, numba_cpu, source_cache
from softmorph_cli.kernels.numba_cpu import NumbaField
from softmorph_cli.kernels.numba_source import pull_text, sweep_text
from softmorph_cli.rules import catalog, structuring
from softmorph_cli.system import cache

STEPS = compile_rule(structuring.erosion(4, 2), DIAGRAM)
THINNING = compile_rule(catalog.bundled("thinning-3d"), DIAGRAM)[0]
FLOAT = np.dtype(np.float32)
IMAGE = np.full((4, 5), 0.5, np.float32)


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    _forget()
    yield tmp_path / "cache" / "kernels"
    _forget()


def _forget() -> None:
    source_cache.load.cache_clear()
    numba_cpu._sweep_kernel.cache_clear()
    folds._kernel.cache_clear()
    numba_cpu._select_kernel.cache_clear()


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


def _bits(path: Path) -> None:
    """Other machine code of the same length and age, which a process that runs it does not survive."""
    state, content = path.stat(), bytearray(path.read_bytes())
    start = max(content.find(b"\x7fELF"), 0) + 64
    content[start : start + 400] = bytes(one ^ 0x55 for one in content[start : start + 400])
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize("damage", [_empty, _half, _zeros, _bits])
@pytest.mark.parametrize("suffix", ["py", "nbc", "nbi", "pyc", "sums"])
def test_a_damaged_cache_is_replaced(suffix: str, damage: Callable[[Path], None], fresh: Path) -> None:
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


KINDS = """
import numpy as np
import softmorph_cli as sm
image = np.random.default_rng(0).random((12, 13)).astype(np.float32)
sm.erosion(image)
sm.skeletonize(image, levels="exact")
sm.skeletonize(image.astype(np.float64), levels="exact")
"""


def test_damaged_machine_code_of_any_kernel_is_compiled_again(fresh: Path) -> None:
    """In a separate process, which loading it would crash."""

    def run() -> None:
        subprocess.run([sys.executable, "-c", KINDS], check=True)

    run()
    compiled = sorted(fresh.rglob("*.nbc"))
    kinds = {path.name.split("_")[0] for path in compiled}
    assert kinds >= {"fold", "improper", "ranks"}
    sums = {path: path.read_text() for path in fresh.glob("*.sums")}
    assert len(sums) == len(list(fresh.glob("*.py")))
    # Nothing is compiled, or summed up, a second time.
    stamps = {path: path.stat().st_mtime_ns for path in (*compiled, *sums)}
    run()
    assert {path: path.stat().st_mtime_ns for path in (*sorted(fresh.rglob("*.nbc")), *sums)} == stamps
    for path in compiled:
        _bits(path)
    run()
    run()


def test_every_index_of_the_generated_code_is_unsigned() -> None:
    program = THINNING.program
    texts = [sweep_text(program, FLOAT, needs(THINNING), 0), pull_text(program, FLOAT, (0, 1), 3)]
    for text in texts:
        (signature,) = re.findall(r'@njit\(\s*"(?:int64|void)\((.*?)\)",', text, re.DOTALL)
        assert signature.count("uint64") >= 4
        assert re.findall(r"(?<!u)int64", signature) == []


def test_each_type_and_each_condition_has_a_separate_kernel() -> None:
    texts = {
        sweep_text(THINNING.program, np.dtype(dtype), pairs, 0)
        for dtype in ("float32", "float64", "uint8", "uint64")
        for pairs in ((), ((0, 1),), ((0, 0),), ((0, 1), (1, 0)))
    }
    assert len(texts) == 16


def test_long_compiling_is_announced(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(source_cache, "_NOTE_AFTER", 0.05)
    source_cache.load("slow", "import time\ntime.sleep(1)\nvalue = 3\n")
    assert [record.getMessage() for record in caplog.records] == [
        "compiling slow: this is done once, and kept"
    ]


def test_short_compiling_is_not(fresh: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert source_cache.load("quick", "value = 3\n").value == 3
    assert caplog.records == []


def test_a_kernel_file_is_written_once(fresh: Path) -> None:
    _erode()
    (path,) = fresh.glob("*.py")
    before = path.stat().st_mtime_ns
    _forget()
    _erode()
    assert path.stat().st_mtime_ns == before
    assert len(list(fresh.glob("*.py"))) == 1
