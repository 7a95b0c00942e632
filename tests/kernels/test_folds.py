"""Erosion and dilation in one pass over rows, against brute force and torch: every element, type and border."""

from __future__ import annotations

from functools import reduce
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from helpers_fields import Steps, plain, reference, swept, without_fold
from helpers_maps import close, same_bits
from helpers_run import sweep_all

import softmorph_cli
from softmorph_cli.compiler.compile import DIAGRAM, Fold, compile_rule
from softmorph_cli.compiler.program import Op
from softmorph_cli.kernels import folds, thread_pool
from softmorph_cli.kernels.folds import Folds
from softmorph_cli.kernels.numba_cpu import NumbaField
from softmorph_cli.kernels.thread_pool import Pool
from softmorph_cli.rules import structuring
from softmorph_cli.rules.neighborhood import CONNECTIVITIES

ELEMENTS = [(c, d) for d, all_ in CONNECTIVITIES.items() for c in all_]
TYPES = ("float32", "float64", "uint8", "uint16", "uint32", "uint64")
EPSILON = {"float32": 1e-6, "float64": 1e-15}
SHAPES: dict[int, list[tuple[int, ...]]] = {
    2: [(1, 1), (1, 9), (9, 1), (2, 2), (2, 203), (5, 64), (33, 65)],
    3: [(1, 1, 1), (1, 1, 7), (1, 5, 9), (5, 1, 9), (5, 9, 1), (2, 2, 203), (3, 4, 65), (7, 6, 5)],
}


def _image(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Dense, with exact zeros and ones; planes are mostly ones, so that an erosion leaves something."""
    rng = np.random.default_rng(sum(shape))
    if dtype.startswith("u"):
        bits = np.iinfo(dtype).bits
        words = [(rng.random(shape) < 0.8).astype(dtype) << np.array(k, dtype) for k in range(bits)]
        return reduce(np.bitwise_or, words)
    image = rng.random(shape)
    return np.where(rng.random(shape) < 0.2, rng.integers(0, 2, shape), image).astype(dtype)


def _brute(image: np.ndarray, offsets: Any, fold: Fold | None) -> np.ndarray:
    """Every neighbour within the image, one after the other."""
    assert fold is not None
    planes = image.dtype.kind == "u"
    combine = {Op.MIN: np.minimum, Op.MAX: np.maximum, Op.MUL: np.bitwise_and if planes else np.multiply}
    full = np.iinfo(image.dtype).max if planes else 1

    def negated(values: np.ndarray) -> np.ndarray:
        return (values ^ full if planes else 1 - values) if fold.complement else values

    padded = np.pad(negated(image), 1, constant_values=0 if fold.op is Op.MAX else full)
    windows = (
        padded[tuple(slice(1 + o, 1 + o + n) for o, n in zip(offset, image.shape, strict=True))]
        for offset in offsets
    )
    return negated(reduce(combine[fold.op], windows))


def _check(steps: Steps, dtype: str, shapes: Any, threads: int) -> None:
    (step,) = steps
    assert step.fold is not None
    for shape in shapes:
        image = _image(shape, dtype)
        got, changed = swept(image, steps, 3, threads=threads)
        wanted, before = image, image
        for count in changed:
            once = swept(before, steps, 1)[0]
            assert count == (once != before).sum()
            wanted, before = _brute(wanted, step.offsets, step.fold), once
        assert same_bits(got, before)
        if dtype in EPSILON:
            assert close(got, wanted, EPSILON[dtype])
            assert close(got, reference(image, steps, 3)[0], EPSILON[dtype])
        else:
            assert same_bits(got, wanted)
            assert same_bits(got, reference(image, steps, 3)[0])


# ---------------------------------------------------------------- every element and type

ALL = [
    pytest.param(
        kind, connectivity, dimensions, logic, dtype,
        # Each kernel takes a second to compile: of six types one in turn, by default.
        marks=() if (3 * number + place) % 6 == column else pytest.mark.heavy,
    )
    for number, kind in enumerate(("erosion", "dilation"))
    for place, (connectivity, dimensions) in enumerate(ELEMENTS)
    for column, dtype in enumerate(TYPES)
    for logic in ((DIAGRAM, "minmax") if dtype.startswith("f") else (DIAGRAM,))
]  # fmt: skip


@pytest.mark.parametrize(("kind", "connectivity", "dimensions", "logic", "dtype"), ALL)
def test_every_element(kind: str, connectivity: int, dimensions: int, logic: str, dtype: str) -> None:
    steps = compile_rule(getattr(structuring, kind)(connectivity, dimensions), logic)
    _check(steps, dtype, SHAPES[dimensions], threads=2 + len(kind) % 2)


def test_each_type_and_element_is_among_the_default_cases() -> None:
    usual = [case.values for case in ALL if not case.marks]
    assert {case[0] for case in usual} == {"erosion", "dilation"}
    assert {case[1:3] for case in usual} == set(ELEMENTS)
    assert {case[4] for case in usual} == set(TYPES)


LIMITED = [axes for count in (1, 2) for axes in combinations(range(3), count)]


@pytest.mark.parametrize(
    ("axes", "connectivity"),
    [
        pytest.param(a, c, marks=() if a in ((0,), (1, 2)) and c == 6 else pytest.mark.heavy)
        for a in LIMITED
        for c in (6, 26)
    ],
)
def test_elements_that_reach_along_some_axes_only(axes: tuple[int, ...], connectivity: int) -> None:
    steps = compile_rule(structuring.erosion(connectivity, 3, axes), DIAGRAM)
    _check(steps, "float32", SHAPES[3], threads=3)


@pytest.mark.parametrize("operation", ["erosion", "dilation"])
def test_a_radius_on_anisotropic_voxels(operation: str, request: pytest.FixtureRequest) -> None:
    image = _image((7, 9, 70), "float64")
    run = getattr(softmorph_cli, operation)
    how: dict[str, Any] = {"radius": 3.0, "spacing": (3.0, 1.4, 1.0), "connectivity": 6, "method": DIAGRAM}
    got = run(image, **how)
    wanted = image
    # floor(3 / spacing) is 1, 2, 3.
    for axes in ((0, 1, 2), (1, 2), (2,)):
        (step,) = compile_rule(getattr(structuring, operation)(6, 3, axes), DIAGRAM)
        wanted = _brute(wanted, step.offsets, step.fold)
    assert close(got, wanted, 1e-14)
    request.getfixturevalue("torch_only")
    assert close(got, run(image, **how), 1e-14)


# ---------------------------------------------------------------- the caller's array

EROSION = compile_rule(structuring.erosion(6, 3), DIAGRAM)


def _views() -> dict[str, np.ndarray]:
    whole = _image((12, 14, 40), "float64")
    swapped = whole.astype(">f8").byteswap().view("<f8")
    return {
        "plain": whole,
        "strided": whole[::2, 1:-1, 3::3],
        "turned": whole.transpose(2, 0, 1),
        "reversed": whole[:, ::-1, ::-1],
        "fortran": np.asfortranarray(whole),
        "one value": np.broadcast_to(np.float64(0.5), (3, 4, 5)),
        "copied": swapped,
    }


@pytest.mark.parametrize("name", _views())
@pytest.mark.parametrize("read_only", [False, True])
def test_any_view_is_read_and_not_modified(name: str, read_only: bool) -> None:
    view = _views()[name]
    if read_only:
        view.flags.writeable = False
    before = view.copy()
    field = NumbaField(view, threads=2)
    field.begin(EROSION)
    for iteration in range(1, 5):
        sweep_all(field, EROSION)
        assert close(field.image(), swept(before, EROSION, iteration)[0], 0)
        assert same_bits(np.ascontiguousarray(view), np.ascontiguousarray(before))
    assert not np.shares_memory(field.image(), view)
    field.close()


def test_a_result_is_not_the_callers_array_even_where_nothing_changes() -> None:
    image = np.ones((5, 6, 7))
    for method in ("multilinear", "minmax", "levels"):
        result = softmorph_cli.erosion(image, method=method)
        assert same_bits(result, image)
        assert not np.shares_memory(result, image)


def test_results_of_one_filter_outlive_the_next() -> None:
    first = softmorph_cli.erosion(_image((9, 9, 99), "float64"), iterations=3)
    kept = first.copy()
    for _ in range(3):
        softmorph_cli.dilation(1 - _image((9, 9, 99), "float64"), iterations=3)
    assert same_bits(first, kept)


# ---------------------------------------------------------------- several phases, and the way taken


@pytest.mark.parametrize("operation", ["opening", "closing"])
def test_opening_and_closing(operation: str) -> None:
    image = _image((5, 8, 90), "float64")
    order = ("erosion", "dilation") if operation == "opening" else ("dilation", "erosion")
    wanted = image
    for kind in order:
        (step,) = compile_rule(getattr(structuring, kind)(6, 3), DIAGRAM)
        for _ in range(2):
            wanted = _brute(wanted, step.offsets, step.fold)
    got = getattr(softmorph_cli, operation)(image, method=DIAGRAM, iterations=2, threads=3)
    assert close(got, wanted, 1e-14)


def test_only_folds_run_without_padding() -> None:
    image = _image((4, 5, 6), "float64")
    for steps, short in ((EROSION, True), (without_fold(EROSION), False)):
        field = NumbaField(image, threads=1)
        field.begin(steps)
        assert isinstance(field._algorithm, Folds) is short
        sweep_all(field, steps)
        assert close(field.image(), _brute(image, EROSION[0].offsets, EROSION[0].fold), 1e-15)
        field.close()


@pytest.mark.parametrize("logic", ["einstein", "hamacher", "lukasiewicz", "drastic"])
def test_fuzzy_logics_that_depend_on_the_order_are_no_folds(logic: str) -> None:
    # These fold from left to right as written; rounding makes their order count.
    assert [step.fold for step in compile_rule(structuring.erosion(4, 2), logic)] == [None]


def test_threads_do_not_matter() -> None:
    for shape in SHAPES[3]:
        image = _image(shape, "float64")
        wanted = plain(image, EROSION, 3)
        for threads in (1, 2, 3, 5, 64):
            got = swept(image, EROSION, 3, threads=threads)
            assert same_bits(got[0], wanted[0])
            assert got[1] == wanted[1]


def test_the_comparison_sees_another_element() -> None:
    image = _image((5, 6, 70), "float64")
    (wide,) = compile_rule(structuring.erosion(18, 3), DIAGRAM)
    got = swept(image, EROSION, 1)[0]
    assert close(got, _brute(image, EROSION[0].offsets, EROSION[0].fold), 1e-15)
    assert not close(got, _brute(image, wide.offsets, wide.fold), 1e-3)
    assert not close(got, _brute(image, EROSION[0].offsets, Fold(Op.MIN)), 1e-3)
    assert not close(got, _brute(image, EROSION[0].offsets, Fold(Op.MUL, complement=True)), 1e-3)


# ---------------------------------------------------------------- several for each pass over memory

DILATION, ERODE = structuring.dilation, structuring.erosion
SEQUENCES: dict[int, list[tuple[Any, int, Any]]] = {
    2: [*3 * [(DILATION, 4, None)], *2 * [(ERODE, 8, (1,))], *3 * [(ERODE, 4, None)]],
    3: [*2 * [(DILATION, 26, None)], *3 * [(DILATION, 6, (1, 2))], *4 * [(ERODE, 18, None)]],
}


@pytest.mark.parametrize("chunk", [1, 40, 1 << 16])
@pytest.mark.parametrize("window", [1, 3000, 1 << 23])
@pytest.mark.parametrize("logic", [DIAGRAM, "minmax"])
def test_pipelined_folds_equal_folds_one_by_one(
    logic: str, window: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folds, "_WINDOW", window)
    monkeypatch.setattr(folds, "_CHUNK", chunk)
    for shape in ((1, 1), (1, 9), (9, 1), (40, 23), (97, 8), (1, 5, 9), (5, 1, 9), (30, 4, 6), (41, 7, 5)):
        image = _image(shape, "float32")
        steps = [compile_rule(make(c, len(shape), axes), logic)[0] for make, c, axes in SEQUENCES[len(shape)]]
        wanted = NumbaField(image, threads=1)
        for step in steps:
            wanted.begin((step,))
            wanted.sweep(step)
            changed = wanted.changed
        for threads in (1, 2, 3, 7):
            monkeypatch.setattr(thread_pool, "_SMALL", 0)
            field = NumbaField(image, threads=threads)
            for number, step in enumerate(steps):
                field.begin((step,))
                field.sweep(step)
                if number == 4:  # one looks at it on the way
                    field.image()
            assert same_bits(field.image(), wanted.image()), (shape, threads)
            assert field.changed == changed
        assert not np.shares_memory(field.image(), image)


def test_the_sequences_above_are_pipelined() -> None:
    image = _image((30, 4, 6), "float32")
    way = Folds(image, Pool(1, image.size))
    # Not so many that what the first reads has left the cache before the last needs it.
    assert way._depth == 12
    (step,) = EROSION
    for waiting in (*range(1, 12), 0):
        way.sweep(step)
        assert len(way._queue) == waiting
