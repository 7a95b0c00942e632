"""Tables of deleting rules: what the program says, kept on disk and never trusted blindly."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_reference import TURNS_2D, TURNS_3D, turn

from softmorph_cli.compiler import deletions as tables
from softmorph_cli.compiler.compile import RANKS, Step, compile_rule
from softmorph_cli.compiler.deletions import DeletionTable, table_of
from softmorph_cli.compiler.program import NUMBERS, execute
from softmorph_cli.rules import catalog
from softmorph_cli.rules.rulefile import loads
from softmorph_cli.system import cache

RULES = [("thinning", 2), ("thinning", 3), ("thinning-subfields", 2), ("thinning-subfields", 3)]


def steps_of(name: str, dimensions: int) -> tuple[Step, ...]:
    return compile_rule(catalog.bundled(name, dimensions), RANKS)


def deleted(table: DeletionTable, numbers: np.ndarray) -> np.ndarray:
    """What a table says about configurations."""
    found: np.ndarray = table.bits[numbers >> 3] >> (numbers & 7) & 1 == 1
    return found


def kept_by_program(step: Step, table: DeletionTable, numbers: np.ndarray) -> np.ndarray:
    """The program's result at a foreground voxel with these configurations of neighbours."""
    inputs: list[Any] = [np.ones(numbers.size)] * len(step.offsets)
    for position, k in enumerate(table.neighbours):
        inputs[k] = (numbers >> position & 1).astype(float)
    kept: np.ndarray = np.broadcast_to(execute(step.program, inputs, NUMBERS), numbers.shape) == 1
    return kept


def deletes_beside(table: DeletionTable, position: int) -> bool:
    """Whether a voxel is deleted in any configuration with this neighbour in the foreground."""
    if position < 3:
        return bool((table.bits & (0xAA, 0xCC, 0xF0)[position]).any())
    return bool(table.bits.reshape(-1, 2, 1 << position - 3)[:, 1].any())


@pytest.mark.parametrize(("name", "dimensions"), RULES)
def test_the_table_is_the_program(name: str, dimensions: int) -> None:
    rng = np.random.default_rng(1)
    for step in steps_of(name, dimensions):
        table = table_of(step)
        count = len(table.neighbours)
        assert count == 3**dimensions - 1
        assert [step.offsets[k] for k in table.neighbours].count((0,) * dimensions) == 0
        if dimensions == 2:
            numbers = np.arange(256)
        else:
            # At all densities, and close to both ends.
            drawn = rng.random((40_000, count)) < rng.random((40_000, 1))
            drawn[:100] = np.tri(100, count, count - 100, dtype=bool)
            numbers = drawn @ (1 << np.arange(count))
        found = deleted(table, numbers)
        assert (found == ~kept_by_program(step, table, numbers)).all()
        assert 0 < found.sum() < found.size


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_border_is_the_side_a_direction_looks_from(dimensions: int) -> None:
    if dimensions == 2:
        sides: dict[str, tuple[int, ...]] = dict(
            zip(TURNS_2D, ((-1, 0), (0, 1), (1, 0), (0, -1)), strict=True)
        )
    else:
        sides = {name: turn((0, -1, 0), name) for name in TURNS_3D}
    for side, step in zip(sides.values(), steps_of("thinning", dimensions), strict=True):
        table = table_of(step)
        assert step.offsets[table.neighbours[table.border]] == side
        assert not deletes_beside(table, table.border)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_subfields_have_no_border(dimensions: int) -> None:
    table = table_of(steps_of("thinning-subfields", dimensions)[0])
    assert table.border == -1
    assert all(deletes_beside(table, position) for position in range(len(table.neighbours)))


@pytest.mark.parametrize("when", ["N", "~N & S", "N & S & E & W & ~NW"])
def test_few_neighbours(when: str) -> None:
    rule = loads(f'dimensions = 2\naction = "delete"\nwhen = "{when}"\nschedule = ["N"]\n', name="few")
    (step,) = compile_rule(rule, RANKS)
    table = table_of(step)
    numbers = np.arange(1 << len(table.neighbours))
    assert (deleted(table, numbers) == ~kept_by_program(step, table, numbers)).all()


# ---------------------------------------------------------------------- on disk


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    tables._table.cache_clear()
    yield tmp_path / "cache" / "tables"
    tables._table.cache_clear()


def _without_end(text: str) -> str:
    return text[: len(text) // 2]


def _one_letter(text: str) -> str:
    return text[:30] + ("A" if text[30] != "A" else "B") + text[31:]


def _shorter(text: str) -> str:
    return base64.b64encode(zlib.compress(zlib.decompress(base64.b64decode(text))[1:])).decode()


def _nothing(text: str) -> str:
    return base64.b64encode(zlib.compress(b"")).decode()


DAMAGES: list[Callable[[str], str]] = [
    lambda text: "",
    lambda text: "no table",
    lambda text: "ü" * 40,
    _without_end,
    _one_letter,
    _shorter,
    _nothing,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_table_is_computed_again_and_replaced(fresh: Path, damage: Callable[[str], str]) -> None:
    (step, *_) = steps_of("thinning", 2)
    right = table_of(step)
    (entry,) = fresh.iterdir()
    whole = entry.read_text()
    entry.write_text(damage(whole))
    assert entry.read_text() != whole
    for _ in range(2):
        tables._table.cache_clear()
        found = table_of(step)
        assert (found.bits == right.bits).all()
        assert (found.neighbours, found.border) == (right.neighbours, right.border)
        assert entry.read_text() == whole


def test_a_table_that_is_kept_is_not_computed_again(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (step, *_) = steps_of("thinning", 2)
    computed = table_of(step)
    tables._table.cache_clear()
    monkeypatch.setattr(tables, "_evaluate", None)
    read = table_of(step)
    assert (read.bits == computed.bits).all()
    assert read.border == computed.border
    # Numba compiles once for both.
    assert not read.bits.flags.writeable
    assert not computed.bits.flags.writeable


def test_one_table_serves_all_directions(fresh: Path) -> None:
    found = [table_of(step) for step in steps_of("thinning", 2)]
    assert len(list(fresh.iterdir())) == 1
    assert len({table.bits.ctypes.data for table in found}) == 1
