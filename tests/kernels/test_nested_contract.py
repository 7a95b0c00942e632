"""What every backend must do with nested level sets: `test_contract.Contract` inherits it.

The reference is plain Python: voxel by voxel, level by level, with the rules as they stand in the papers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import product

import numpy as np
import pytest
import torch
from helpers_contract import Backed, lopsided
from helpers_maps import same_bits, vessels
from helpers_reference import NUMBERED, RING_OFFSETS, TURNS_2D, TURNS_3D, deletes_2d, deletes_3d, turn
from scipy import ndimage

from softmorph_cli.compiler.compile import DIAGRAM, NESTED, RANKS, Step, compile_rule
from softmorph_cli.compiler.program import Builder, Op
from softmorph_cli.filters.run import FilterJob, Phase, nested_binary, run
from softmorph_cli.filters.settings import Settings
from softmorph_cli.kernels.backend import Backend
from softmorph_cli.kernels.bitplanes import WORD
from softmorph_cli.kernels.level_sets import Levels, LevelSets
from softmorph_cli.kernels.torch_eager import TorchBackend
from softmorph_cli.rules import catalog

FLOATS = ("float32", "float64")
RULES = [("thinning", 2), ("thinning-subfields", 2), ("thinning", 3), ("thinning-subfields", 3)]

# Says of a neighbourhood of 3 x 3 (x 3) Boolean values whether the one in the middle is deleted.
Deletes = Callable[[np.ndarray], bool]


def steps_of(name: str, dimensions: int, logic: str) -> tuple[Step, ...]:
    return compile_rule(catalog.bundled(name, dimensions), logic)


# ---------------------------------------------------------------------- the reference


def _thins_2d(direction: str) -> Deletes:
    return lambda block: deletes_2d([block[1 + y, 1 + x] for y, x in RING_OFFSETS], direction)


def _thins_3d(direction: str) -> Deletes:
    places = [tuple(1 + o for o in turn(n, direction)) for n in NUMBERED]
    return lambda block: bool(deletes_3d(np.array([[block[place]] for place in places]))[0])


def _finishes(block: np.ndarray) -> bool:
    """Whether the middle is simple (8, 4; 26, 6) and not the end of a curve."""
    return _simple_and_no_end(block.shape, block.tobytes())


@cache
def _simple_and_no_end(shape: tuple[int, ...], values: bytes) -> bool:
    block = np.frombuffer(values, bool).reshape(shape).copy()
    middle = (1,) * len(shape)
    block[middle] = False
    near = np.abs(np.indices(shape) - 1).sum(axis=0)
    foreground = ndimage.label(block, np.ones(shape))[1]
    # The background counts in the neighbourhood without the corners, as far as it touches the middle.
    labels, _ = ndimage.label(~block & (near > 0) & (near <= 2))
    background = len(set(labels[(near == 1) & ~block]))
    return foreground == 1 and background == 1 and block.sum() != 1


def conditions(name: str, dimensions: int) -> tuple[Deletes, ...]:
    """A rule's conditions, sub-iteration by sub-iteration."""
    if name == "thinning":
        if dimensions == 2:
            return tuple(_thins_2d(direction) for direction in TURNS_2D)
        return tuple(_thins_3d(direction) for direction in TURNS_3D)
    return (_finishes,) * (1 << dimensions)


def lowered(values: np.ndarray, step: Step, deletes: Deletes) -> np.ndarray:
    """One ranked step: the highest value, of a voxel's own and lower ones around it, at which the rule keeps it."""
    result: np.ndarray = np.maximum(values, values.dtype.type(0)) + 0
    around = np.pad(result, 1, constant_values=np.inf if step.outside else 0)
    for place in np.ndindex(values.shape):
        if step.subfield is not None and any(i % 2 != p for i, p in zip(place, step.subfield, strict=True)):
            continue
        block = around[tuple(slice(i, i + 3) for i in place)]
        own = result[place]
        candidates = sorted({value for value in block.flat if 0 < value <= own}, reverse=True)
        result[place] = next((c for c in candidates if not deletes(block >= c)), 0)
    return result


def blobs(shape: tuple[int, ...], seed: int, kinds: int) -> np.ndarray:
    """Numbers from 0 to `kinds` - 1 in blobs of a few voxels, which rules find something to delete in."""
    rng = np.random.default_rng(seed)
    return ndimage.maximum_filter(np.where(rng.random(shape) < 0.3, rng.integers(0, kinds, shape), 0), 2)


def special_values(dtype: str) -> np.ndarray:
    """-0.0, 0, subnormal numbers, neighbours among the numbers of a type, values that meet often, 1."""
    kind = np.finfo(dtype)
    quarter = kind.dtype.type(0.25)
    small = [-0.0, 0.0, kind.smallest_subnormal, 3 * kind.smallest_subnormal, kind.tiny]
    return np.array([*small, quarter, np.nextafter(quarter, kind.dtype.type(1)), 0.3, 0.7, 1.0], dtype)


def ladder(counts: np.ndarray, dtype: str) -> np.ndarray:
    """Planes of which as many have a bit as `counts` says, from the highest down."""
    bits = 8 * np.dtype(dtype).itemsize
    words = np.array([(1 << bits) - (1 << bits - n) for n in range(bits + 1)], f"u{np.dtype(dtype).itemsize}")
    return np.asarray(words[counts].view(dtype))


def counted(planes: np.ndarray) -> np.ndarray:
    counts = np.bitwise_count(planes.view(f"u{planes.itemsize}")).astype(int)
    assert same_bits(planes, ladder(counts, planes.dtype.name)), "the level sets are not nested"
    return np.asarray(counts)


def exact_thresholds(count: int, lowest: float | None) -> list[Fraction]:
    """t_0, t_1, ...: k / L rounded to float64, as an exact number."""
    first = 1 / (2 * count) if lowest is None else lowest
    grid = [Fraction(k / count) for k in range(1, count)]
    return [Fraction(first), *(t for t in grid if t > first)]


LEVELS = [
    (8, None),
    (16, None),
    (64, None),
    (16, 0.0),
    (16, 0.1),
    (32, 0.25),
    (64, 0.999),
    (192, 0.8),
    # More than planes have bits.
    (3, None),
    (10, None),
    (128, None),
    (192, 0.01),
]


def near_thresholds(count: int, lowest: float | None, dtype: str) -> np.ndarray:
    """The thresholds as a type has them, their neighbours among its numbers, and what else might go wrong."""
    kind = np.dtype(dtype).type
    at = np.array([float(t) for t in exact_thresholds(count, lowest)], dtype)
    around = [at, np.nextafter(at, kind(2)), np.nextafter(at, kind(0))]
    drawn = np.random.default_rng(count).random(200).astype(dtype)
    return np.concatenate([*around, drawn, special_values(dtype), [np.nextafter(kind(1), kind(0))]])


def held(value: float, thresholds: list[Fraction]) -> int:
    """How many thresholds lie below a value."""
    return bisect_left(thresholds, Fraction(float(value)))


def job(backend: Backend, dimensions: int, levels: Levels, lowest: float | None = None) -> FilterJob:
    """A finished skeleton by the method `nested`."""
    rules = (catalog.bundled(name, dimensions) for name in ("thinning", "thinning-subfields"))
    settings = Settings(method="nested", levels=levels, lowest=lowest)
    return FilterJob("skeleton", tuple(Phase(rule, None) for rule in rules), settings, backend)


class NestedContract(Backed):
    """Subclasses of `Contract` are asked all of this."""

    def some(self, steps: tuple[Step, ...]) -> range:
        """Numbers of the steps of a rule in 3D that there is time for."""
        return range(len(steps))

    @torch.no_grad()
    def lower(self, image: np.ndarray, *steps: Step) -> np.ndarray:
        """Ranked steps; what they do to a gradient is said elsewhere."""
        return self.sweep(image, *steps)

    # ------------------------------------------------------------------ planes

    def test_filling_sets_all_bits_above_the_lowest(self) -> None:
        builder = Builder()
        fill = builder.build(builder.emit(Op.FILL, builder.input((0, 0))))
        step = Step(fill, fill.inputs, outside=0, absorbing=None)
        rng = np.random.default_rng(0)
        for dtype in self.plane_types:
            bits = 8 * np.dtype(dtype).itemsize
            words = [0, 1, 1 << bits - 1, (1 << bits) - 1, 6]
            words += [int(rng.integers(1 << 62)) << 2 >> int(rng.integers(64)) for _ in range(60)]
            words = [word % (1 << bits) for word in words]
            wanted = [sum(1 << k for k in range(bits) if word % (1 << k + 1)) for word in words]
            unsigned = f"u{bits // 8}"
            got = self.sweep(np.array([words], unsigned).view(dtype), step)
            assert same_bits(got, np.array([wanted], unsigned).view(dtype))

    @pytest.mark.parametrize(("name", "dimensions"), RULES[:3])
    def test_planes_stay_nested_and_are_those_of_the_reference(self, name: str, dimensions: int) -> None:
        steps, rules = steps_of(name, dimensions, NESTED), conditions(name, dimensions)
        for dtype in self.plane_types if (name, dimensions) == ("thinning", 2) else self.plane_types[-1:]:
            bits = 8 * np.dtype(dtype).itemsize
            counts = blobs((9, 35) if dimensions == 2 else (4, 5, 9), bits, bits + 1)
            differ = 0
            for k in range(len(steps)) if dimensions == 2 else self.some(steps):
                got = counted(self.sweep(ladder(counts, dtype), steps[k]))
                assert (got == lowered(counts.astype(float), steps[k], rules[k])).all()
                differ += (got != counts).sum()
            assert differ > 0

    # ------------------------------------------------------------------ subfields

    def check_subfields(self, image: np.ndarray, step: Step) -> int:
        everywhere = self.sweep(image, step)
        changed = 0
        for subfield in product((0, 1), repeat=image.ndim):
            got = self.sweep(image, replace(step, subfield=subfield))
            wanted = image.copy()
            mine = tuple(slice(parity, None, 2) for parity in subfield)
            wanted[mine] = everywhere[mine]
            assert same_bits(got, wanted)
            changed += (got != image).sum()
        assert changed == (everywhere != image).sum()
        return changed

    @pytest.mark.parametrize("shape", [(7, 67), (8, 34), (3, 5)])
    @pytest.mark.parametrize("dtype", [*FLOATS, "planes"])
    def test_subfields_in_2d(self, dtype: str, shape: tuple[int, int]) -> None:
        self.check_directions(dtype, shape, steps_of("thinning", 2, DIAGRAM))

    @pytest.mark.parametrize("dtype", [*FLOATS, "planes"])
    def test_subfields_in_3d(self, dtype: str) -> None:
        self.check_directions(dtype, (3, 5, 7), lopsided(bits=dtype == "planes"))

    def check_directions(self, dtype: str, shape: tuple[int, ...], steps: tuple[Step, ...]) -> None:
        rng = np.random.default_rng(5)
        planes = self.plane_types if len(shape) == 2 else self.plane_types[-1:]
        for name in planes if dtype == "planes" else (dtype,):
            image = 0.02 + 0.96 * rng.random(shape)
            words = rng.integers(-(2**63), 2**63 - 1, shape).astype(name) if dtype == "planes" else None
            image = image.astype(name) if words is None else words
            assert sum(self.check_subfields(image, step) for step in steps) > 0

    # ------------------------------------------------------------------ values by their order

    @pytest.mark.parametrize("dtype", FLOATS)
    @pytest.mark.parametrize(("name", "dimensions"), RULES)
    def test_ranked_steps_are_those_of_the_reference(self, name: str, dimensions: int, dtype: str) -> None:
        values = special_values(dtype)
        steps, rules = steps_of(name, dimensions, RANKS), conditions(name, dimensions)
        image = values[blobs((9, 13) if dimensions == 2 else (4, 5, 6), 2, len(values))]
        differ = 0
        for k in range(len(steps)) if dimensions == 2 else self.some(steps):
            wanted = lowered(image, steps[k], rules[k])
            assert same_bits(self.lower(image, steps[k]), wanted)
            differ += (wanted != image).sum()
        assert differ > 0

    @pytest.mark.parametrize("name", ["thinning", "thinning-subfields"])
    def test_outside_is_as_high_as_any_value_where_it_is_foreground(self, name: str) -> None:
        counts = blobs((7, 9), 4, 12).astype(np.float32)
        differ = 0
        for step, rule in zip(steps_of(name, 2, RANKS), conditions(name, 2), strict=True):
            one = replace(step, outside=1)
            wanted = lowered(counts, one, rule)
            assert same_bits(self.lower(counts, one), wanted)
            differ += (wanted != lowered(counts, step, rule)).sum()
        assert differ > 0

    @pytest.mark.parametrize("shape", [(1, 1), (1, 7), (9, 1), (2, 65), (1, 1, 1), (5, 1, 3), (2, 2, 35)])
    def test_ranked_steps_on_any_shape(self, shape: tuple[int, ...]) -> None:
        image = np.random.default_rng(1).choice([0.0, 0.5, 0.7, 1.0], shape)
        steps, rules = steps_of("thinning", len(shape), RANKS), conditions("thinning", len(shape))
        for k in range(len(steps)) if len(shape) == 2 else self.some(steps):
            assert same_bits(self.lower(image, steps[k]), lowered(image, steps[k], rules[k]))

    @pytest.mark.parametrize("shape", [(9, 13), (4, 5, 6)], ids=str)
    @torch.no_grad()
    def test_values_come_from_the_first_neighbour_that_has_them(self, shape: tuple[int, ...]) -> None:
        """Step by step, of values that meet often: a lowered voxel takes the least of its neighbours' origins."""
        image = blobs(shape, 3, 6) / 8
        steps = steps_of("thinning", len(shape), RANKS)[:3]
        field = self.backend().traced(self.give(image))
        field.begin(steps)
        values, origins = image, np.arange(image.size).reshape(shape)
        for step in steps:
            field.sweep(step)
            before, values, sources = values, self.take(field.image()), origins.copy()
            for place in np.argwhere((values != before) & (values > 0)):
                around = tuple(slice(max(i - 1, 0), i + 2) for i in place)
                sources[tuple(place)] = origins[around][before[around] == values[tuple(place)]].min()
            origins = sources
        found = self.take(field.origins())
        field.close()
        assert (found == np.where(values > 0, origins, -1)).all()
        assert (origins != np.arange(image.size).reshape(shape)).any()

    @pytest.mark.parametrize("name", ["thinning", "thinning-subfields"])
    def test_ranked_steps_on_empty_and_full_maps(self, name: str) -> None:
        steps, rules = steps_of(name, 2, RANKS), conditions(name, 2)
        assert not self.lower(np.zeros((5, 6)), *steps).any()
        full = np.full((7, 8), 0.4, np.float32)
        wanted = full
        for step, rule in zip(steps, rules, strict=True):
            wanted = lowered(wanted, step, rule)
        assert same_bits(self.lower(full, *steps), wanted)
        assert 0 < (wanted == full).sum() < full.size

    def test_ranked_steps_on_non_contiguous_input_and_no_writing_to_it(self) -> None:
        whole = vessels((14, 24), 3, noise=0.1)
        kept = whole.copy()
        view = whole[::2, 1:-1].T
        steps = steps_of("thinning", 2, RANKS)
        assert same_bits(self.lower(view, *steps), self.lower(view.copy(), *steps))
        assert same_bits(whole, kept)

    @torch.no_grad()
    @pytest.mark.parametrize("dtype", FLOATS)
    @pytest.mark.parametrize("name", ["thinning", "thinning-subfields"])
    def test_ranked_steps_to_the_end(self, name: str, dtype: str) -> None:
        image = vessels((17, 70), 2, noise=0.2).astype(dtype)
        steps = steps_of(name, 2, RANKS)
        got, changed = self.swept(image, steps, 9)
        wanted, expected = _Oracle().swept(image, steps, 9)
        assert same_bits(got, wanted)
        assert changed == expected
        assert sum(changed[-len(steps) :]) == 0 < min(changed[: len(steps)])
        assert set(np.unique(got)) <= {0.0, *np.unique(image)}

    # ------------------------------------------------------------------ thresholds, exactly

    @pytest.mark.parametrize("dtype", FLOATS)
    @pytest.mark.parametrize(("count", "lowest"), LEVELS)
    def test_bins_and_planes(self, count: int, lowest: float | None, dtype: str) -> None:
        sets, thresholds = LevelSets(count, lowest), exact_thresholds(count, lowest)
        image = near_thresholds(count, lowest, dtype).reshape(1, -1)
        wanted = np.array([[held(value, thresholds) for value in image[0]]])
        assert set(range(len(thresholds) + 1)) == set(wanted[0])
        backend = self.backend()
        found = self.take(backend.bins(self.give(image), sets))
        assert same_bits(found, wanted.astype(dtype))
        if len(thresholds) > WORD or count < 8 or count % 8:
            return
        planes = backend.pack_nested(self.give(image), sets)
        assert (counted(self.take(planes)) == wanted).all()
        assert same_bits(self.take(backend.count(planes, WORD, self.give(image))), wanted.astype(dtype))

    @pytest.mark.parametrize("dtype", FLOATS)
    @pytest.mark.parametrize(("count", "lowest"), LEVELS)
    def test_refined_values_stay_in_their_bins(self, count: int, lowest: float | None, dtype: str) -> None:
        sets, thresholds = LevelSets(count, lowest), exact_thresholds(count, lowest)
        values = near_thresholds(count, lowest, dtype)
        most = np.array([held(value, thresholds) for value in values])
        counts = np.stack([most, most // 2, np.maximum(most - 1, 0), 0 * most])
        image = np.broadcast_to(values, counts.shape).copy()
        refined = self.take(self.backend().refine(self.give(image), self.give(counts.astype(dtype)), sets))
        assert refined.dtype == dtype
        bounds = [Fraction(0), *thresholds[1:], Fraction(1)]
        for n, value, got in zip(counts.flat, image.flat, refined.flat, strict=True):
            top = min(Fraction(float(value)), bounds[n])
            # The greatest number of the type that is not above.
            assert Fraction(float(got)) <= top
            assert Fraction(float(np.nextafter(got, got.dtype.type(2)))) > top
            assert held(got, thresholds) == n
        assert not np.signbit(refined).any()

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_what_is_above_a_threshold(self, dtype: str) -> None:
        kind = np.dtype(dtype).type
        for threshold in (0.0, 0.1, 0.5, 1 / 3, float(np.finfo(dtype).smallest_subnormal)):
            at = kind(threshold)
            values = [np.nextafter(at, kind(0)), at, np.nextafter(at, kind(2)), *special_values(dtype)]
            image = np.array([values], dtype)
            wanted = [v if Fraction(float(v)) > Fraction(threshold) else kind(0) for v in image[0]]
            assert same_bits(
                self.take(self.backend().above(self.give(image), threshold)), np.array([wanted], dtype)
            )

    # ------------------------------------------------------------------ the whole way

    @torch.no_grad()
    @pytest.mark.parametrize(("levels", "lowest"), [(8, None), (16, 0.2), (64, None)])
    def test_planes_are_ranked_values_of_their_counts(self, levels: int, lowest: float | None) -> None:
        image, sets, backend = vessels((15, 40), 1, noise=0.2), LevelSets(levels, lowest), self.backend()
        results = []
        for start, logic in (
            (backend.pack_nested(self.give(image), sets), NESTED),
            (backend.bins(self.give(image), sets), RANKS),
        ):
            got, changed = self.swept(self.take(start), steps_of("thinning", 2, logic), 6)
            results.append((counted(got) if logic == NESTED else got, changed))
        assert (results[0][0] == results[1][0]).all()
        assert results[0][1] == results[1][1]
        assert sum(results[0][1]) > 100

    @torch.no_grad()
    def check_job(self, image: np.ndarray, levels: Levels, lowest: float | None) -> None:
        mine, oracle = self.backend(), TorchBackend("cpu")
        got = run(job(mine, image.ndim, levels, lowest), self.give(image))
        wanted = run(job(oracle, image.ndim, levels, lowest), torch.as_tensor(image))
        skeleton = self.take(got.image)
        assert same_bits(skeleton, wanted.image.numpy())
        assert (got.iterations, got.stop_reason) == (wanted.iterations, "stable")
        assert 0 < (skeleton > 0.5).sum() < (image > 0.5).sum() / 2

    @pytest.mark.parametrize("dtype", FLOATS)
    @pytest.mark.parametrize(
        ("levels", "lowest"),
        [(8, None), (64, None), (192, 0.8), (128, None), ("exact", None), ("exact", 0.2)],
    )
    def test_a_nested_skeleton(self, levels: Levels, lowest: float | None, dtype: str) -> None:
        self.check_job(vessels((15, 41), 5, noise=0.1).astype(dtype), levels, lowest)

    @pytest.mark.parametrize("levels", [16, "exact"])
    def test_a_nested_skeleton_in_3d(self, levels: Levels) -> None:
        self.check_job(vessels((9, 10, 35), 5, noise=0.1).astype(np.float32), levels, None)

    @torch.no_grad()
    def test_one_plane_of_a_nested_skeleton(self) -> None:
        image = vessels((15, 41), 6, noise=0.1)
        got = nested_binary(job(self.backend(), 2, 16), self.give(image), 0.5)
        wanted = nested_binary(job(TorchBackend("cpu"), 2, 16), torch.as_tensor(image), 0.5)
        assert same_bits(self.take(got.image), wanted.image.numpy())
        whole = run(job(TorchBackend("cpu"), 2, 16), torch.as_tensor((image > 0.5).astype(float))).image
        assert same_bits(self.take(got.image), (whole > 0.5).numpy())


class _Oracle(Backed):
    """The backend that the others are held against."""

    def backend(self) -> TorchBackend:
        return TorchBackend("cpu")

    def give(self, array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(array)

    def take(self, image: torch.Tensor) -> np.ndarray:
        return image.numpy().copy()
