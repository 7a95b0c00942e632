"""What every backend must do, once: the class below is subclassed for each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from helpers_maps import close, same_bits, vessels
from helpers_reference import (
    NUMBERED,
    RING_OFFSETS,
    TURNS_2D,
    TURNS_3D,
    deletes_2d,
    deletes_3d,
    expectation,
    neighbourhoods_near_templates,
    turn,
)
from helpers_run import sweep_all
from test_nested_contract import NestedContract

from softmorph_cli.compiler.compile import DIAGRAM, Step, compile_rule
from softmorph_cli.compiler.program import Instruction, Op, Program
from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.kernels.autograd import CompiledBackend
from softmorph_cli.kernels.backend import Backend, choose
from softmorph_cli.kernels.bitplanes import bits_in_chunk
from softmorph_cli.kernels.numba_cpu import NumbaBackend
from softmorph_cli.kernels.torch_eager import TorchBackend
from softmorph_cli.rules import catalog, structuring

FLOATS = ("float32", "float64")
EPSILON = {"float32": 3e-6, "float64": 1e-14}


def thinning(dimensions: int) -> tuple[Step, ...]:
    return compile_rule(catalog.bundled("thinning", dimensions), DIAGRAM)


@cache
def tiles_2d() -> np.ndarray:
    """All 512 neighbourhoods, side by side: block k is configuration k, its centre is bit 4."""
    blocks = np.array([[n >> k & 1 for k in range(9)] for n in range(512)]).reshape(16, 32, 3, 3)
    return blocks.transpose(0, 2, 1, 3).reshape(48, 96)


@cache
def expected_2d(direction: str) -> np.ndarray:
    """The value of the centre of every block after one sub-iteration."""
    blocks = tiles_2d().reshape(16, 3, 32, 3).transpose(0, 2, 1, 3).reshape(512, 3, 3).astype(bool)
    return np.array(
        [b[1, 1] and not deletes_2d([b[1 + y, 1 + x] for y, x in RING_OFFSETS], direction) for b in blocks]
    ).reshape(16, 32)


@cache
def tiles_3d(direction: str) -> tuple[np.ndarray, np.ndarray]:
    """An image of blocks near the templates as drawn for a direction, and the blocks themselves."""
    drawn = neighbourhoods_near_templates(np.random.default_rng(7), 30)
    drawn = drawn[:, : drawn.shape[1] // 9 * 9]
    blocks = np.ones((drawn.shape[1], 3, 3, 3), int)
    for offset, values in zip(NUMBERED, drawn, strict=True):
        z, y, x = turn(offset, direction)
        blocks[:, 1 + z, 1 + y, 1 + x] = values
    rows = blocks.reshape(3, 3, -1, 3, 3, 3).transpose(0, 3, 1, 4, 2, 5)
    return rows.reshape(9, 9, -1), blocks


def numbered(blocks: np.ndarray, direction: str) -> np.ndarray:
    """The 26 neighbours of every block's centre in the numbering of a direction."""
    turned = (turn(offset, direction) for offset in NUMBERED)
    return np.stack([blocks[:, 1 + z, 1 + y, 1 + x] for z, y, x in turned])


def fractional_blocks(dimensions: int, count: int, fractional: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    size = 3**dimensions
    blocks = (rng.random((count, size)) < rng.random((count, 1))).astype(float)
    for block in blocks:
        places = rng.choice(size, fractional, replace=False)
        block[places] = rng.random(fractional)
        if block[size // 2] == 0:
            block[size // 2] = 1
    return blocks


class Contract(NestedContract):
    """The contract of all backends; `test_nested_contract` has the part for nested level sets."""

    # ------------------------------------------------------------------ binary input: the rule itself

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_2d_rule_on_all_512_neighbourhoods(self, dtype: str) -> None:
        for direction, step in zip(TURNS_2D, thinning(2), strict=True):
            got = self.sweep(tiles_2d().astype(dtype), step)[1::3, 1::3]
            assert got.dtype == dtype
            assert (got == expected_2d(direction)).all()

    def test_2d_rule_in_every_bit_of_every_plane_type(self) -> None:
        for dtype in self.plane_types:
            for direction, step in zip(TURNS_2D, thinning(2), strict=True):
                got = self.sweep(self.planes(tiles_2d() == 1, dtype), step)[1::3, 1::3]
                assert same_bits(got, self.planes(expected_2d(direction), dtype))

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_3d_rule_on_sampled_neighbourhoods(self, dtype: str) -> None:
        for direction, step in zip(TURNS_3D, thinning(3), strict=True):
            image, blocks = tiles_3d(direction)
            wanted = ~deletes_3d(numbered(blocks, direction) == 1)
            got = self.sweep(image.astype(dtype), step)[1::3, 1::3, 1::3]
            assert (got.ravel() == wanted).all()
            assert 0.2 < wanted.mean() < 0.8

    def test_bits_do_not_mix(self) -> None:
        rng = np.random.default_rng(1)
        dtype = self.plane_types[-1]
        bits = 64 if "64" in dtype else 8
        masks = rng.random((bits, 7, 9, 11)) < np.linspace(0.1, 0.9, bits)[:, None, None, None]
        words = sum((m.astype(np.uint64) << np.uint64(k)) for k, m in enumerate(masks))
        steps = thinning(3)
        got = self.sweep(words.view("int64") if dtype == "int64" else words.astype(dtype), *steps)
        for k, mask in enumerate(masks):
            alone = self.sweep(self.planes(mask, dtype), *steps) != 0
            assert ((got.view("uint64") >> np.uint64(k) & np.uint64(1) == 1) == alone).all()

    # ------------------------------------------------------------------ probabilities: the expectation

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_2d_multilinear_is_the_brute_force_expectation(self, dtype: str) -> None:
        blocks = fractional_blocks(2, 48, 9, 3).astype(dtype)
        image = blocks.reshape(6, 8, 3, 3).transpose(0, 2, 1, 3).reshape(18, 24)
        for direction, step in zip(TURNS_2D, thinning(2), strict=True):

            def keeps(voxels: np.ndarray, direction: str = direction) -> np.ndarray:
                squares = voxels.reshape(3, 3, -1)
                rings = np.stack([squares[1 + y, 1 + x] for y, x in RING_OFFSETS])
                deleted = np.array([deletes_2d(ring, direction) for ring in rings.T])
                return np.asarray(squares[1, 1] & ~deleted)

            wanted = [expectation(block.astype(float), keeps) for block in blocks]
            got = self.sweep(image, step)[1::3, 1::3].ravel()
            assert close(got, wanted, EPSILON[dtype])

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_3d_multilinear_is_the_brute_force_expectation(self, dtype: str) -> None:
        blocks = fractional_blocks(3, 36, 10, 4).astype(dtype)
        image = blocks.reshape(3, 3, 4, 3, 3, 3).transpose(0, 3, 1, 4, 2, 5).reshape(9, 9, 12)
        for direction, step in zip(TURNS_3D, thinning(3), strict=True):

            def keeps(voxels: np.ndarray, direction: str = direction) -> np.ndarray:
                cubes = voxels.reshape(3, 3, 3, -1).transpose(3, 0, 1, 2)
                return np.asarray(cubes[:, 1, 1, 1] & ~deletes_3d(numbered(cubes, direction)))

            wanted = [expectation(block.astype(float), keeps) for block in blocks]
            got = self.sweep(image, step)[1::3, 1::3, 1::3].ravel()
            assert close(got, wanted, EPSILON[dtype])
            assert any(0.01 < w < 0.99 for w in wanted)

    # ------------------------------------------------------------------ shapes, borders, memory

    @pytest.mark.parametrize(
        "shape", [(1, 1), (1, 7), (9, 1), (2, 65), (3, 64), (5, 63), (4, 201), (31, 129)]
    )
    def test_shapes_in_2d(self, shape: tuple[int, ...]) -> None:
        self.check_shape(shape, 2)

    @pytest.mark.parametrize(
        "shape",
        [(1, 1, 1), (1, 5, 9), (5, 1, 9), (5, 9, 1), (2, 3, 64), (3, 2, 65), (2, 2, 203), (4, 5, 130)],
    )
    def test_shapes_in_3d(self, shape: tuple[int, ...]) -> None:
        self.check_shape(shape, 3)

    def check_shape(self, shape: tuple[int, ...], dimensions: int) -> None:
        """Compare with a slice of the same image in the middle of a larger one full of zeros."""
        rng = np.random.default_rng(9)
        image = rng.random(shape)
        around = np.zeros(tuple(s + 6 for s in shape))
        inside = (slice(3, -3),) * dimensions
        around[inside] = image
        steps = thinning(dimensions)
        got = self.sweep(image, *steps)
        assert got.shape == shape
        assert close(got, self.sweep(around, *steps)[inside], 1e-14)
        assert close(got, TorchContract().sweep(image, *steps), 1e-14)

    @pytest.mark.parametrize("dimensions", [2, 3])
    def test_empty_and_full_maps(self, dimensions: int) -> None:
        shape = (9,) * dimensions
        eroded = compile_rule(structuring.erosion(8 if dimensions == 2 else 6, dimensions), DIAGRAM)
        for steps in (thinning(dimensions), eroded):
            assert (self.sweep(np.zeros(shape), *steps) == 0).all()
        assert (self.sweep(np.ones(shape), *eroded) == 1).all()
        thinned = self.sweep(np.ones(shape), *thinning(dimensions))
        assert 0 < thinned.sum() < 9**dimensions
        assert set(np.unique(thinned)) == {0, 1}

    def test_outside_counts_as_the_step_says(self) -> None:
        (step,) = compile_rule(structuring.erosion(4, 2), DIAGRAM)
        image = np.full((3, 4), 0.5)
        inner = np.full((3, 4), 0.5**4)
        inner[[0, 0, -1, -1], [0, -1, 0, -1]] = 0.5**3
        inner[1, 1:3] = 0.5**5
        assert close(self.sweep(image, step), inner, 1e-15)
        assert close(
            self.sweep(image, replace(step, outside=0, fold=None)), np.pad(np.full((1, 2), 0.5**5), 1), 1e-15
        )

    def test_outside_changes_between_two_filters_on_one_field(self) -> None:
        erosion = compile_rule(structuring.erosion(4, 2), DIAGRAM)
        dilation = compile_rule(structuring.dilation(4, 2), DIAGRAM)
        image = np.random.default_rng(2).random((6, 70))
        field = self.backend().field(self.give(image))
        for steps in (erosion, dilation, erosion):
            field.begin(steps)
            sweep_all(field, steps, 2)
        wanted = image
        for steps in (erosion, dilation, erosion):
            for _ in range(2):
                wanted = self.sweep(wanted, *steps)
        assert close(self.take(field.image()), wanted, 1e-15)
        field.close()

    @pytest.mark.parametrize("dtype", ["float64", "planes"])
    def test_non_contiguous_input_and_no_writing_to_it(self, dtype: str) -> None:
        rng = np.random.default_rng(3)
        whole = rng.random((14, 10, 12))
        if dtype == "planes":
            dtype = self.plane_types[-1]
            whole = self.planes(whole > 0.4, dtype)
        view = whole[::2, 1:-1].transpose(2, 0, 1)
        kept = whole.copy()
        steps = thinning(3)
        got = self.sweep(view, *steps)
        assert same_bits(got, self.sweep(np.ascontiguousarray(view), *steps))
        assert same_bits(whole, kept)

    def test_changed_counts_the_voxels_that_differ(self) -> None:
        image = vessels((6, 20, 210), 4)
        steps = thinning(3)
        field = self.backend().field(self.give(image))
        field.begin(steps)
        before = image
        seen = 0
        for _ in range(4):
            for step in steps:
                field.sweep(step)
                now = self.take(field.image())
                assert field.changed == (now != before).sum()
                seen += field.changed
                before = now
        assert seen > 100
        field.close()

    def test_constant_programs(self) -> None:
        (step,) = compile_rule(structuring.dilation(4, 2), DIAGRAM)
        for value in (0, 1):
            program = Program((), (Instruction(Op.CONST, (value,)),))
            constant = replace(step, program=program, offsets=(), fold=None)
            for dtype in FLOATS:
                assert (self.sweep(np.full((4, 5), 0.3, dtype), constant) == value).all()

    # ------------------------------------------------------------------ representations

    @pytest.mark.parametrize("levels", [8, 16, 32, 64, 128, 192])
    @pytest.mark.parametrize("dtype", FLOATS)
    def test_level_sets_are_exact(self, levels: int, dtype: str) -> None:
        rng = np.random.default_rng(levels)
        ties = ((np.arange(levels) + 0.5) / levels).astype(dtype)
        if levels == 192 and dtype == "float64":
            ties = ties[:0]  # not representable: either side of the tie is correct
        up, down, ends = (np.array(v, dtype) for v in (2, -1, [0, 1]))
        values = np.concatenate(
            [rng.random(200).astype(dtype), ties, np.nextafter(ties, up), np.nextafter(ties, down), ends]
        )
        image = values.reshape(1, -1)
        backend = self.backend()
        for chunk in range(-(-levels // 64)):
            planes = self.take(backend.pack_levels(self.give(image), levels, chunk)).view()
            bits = bits_in_chunk(levels, chunk)
            for k in range(bits):
                # In float64 the comparison is exact for float32 values, and for every power of two.
                wanted = image.astype(np.float64) > (64 * chunk + k + 0.5) / levels
                got = planes.astype(np.uint64) >> np.uint64(k) & np.uint64(1)
                assert ((got == 1) == wanted).all()
            counted = self.take(backend.count(self.give(planes), bits, self.give(image)))
            below = np.ceil(image.astype(np.float64) * levels - 0.5) - 64 * chunk
            assert counted.dtype == dtype
            assert (counted == np.clip(below, 0, bits)).all()

    def test_a_mask_fills_all_bits(self) -> None:
        image = np.array([[0.0, 0.5, np.nextafter(0.5, 1), 1.0]])
        planes = self.take(self.backend().pack_mask(self.give(image), 0.5))
        assert same_bits(planes, self.planes(np.array([[False, False, True, True]]), str(planes.dtype)))

    @pytest.mark.parametrize("dtype", FLOATS)
    def test_sharpening(self, dtype: str) -> None:
        image = np.array([[0.0, 1e-9, 0.2, 0.5, 0.7, 1 - 1e-5, 1.0]], dtype)
        backend = self.backend()
        got = self.take(backend.sharpen(backend.logits(self.give(image)), 0.3, 5.0))
        with np.errstate(divide="ignore"):
            logits = np.clip(np.log(image.astype(float)) - np.log1p(-image.astype(float)), -16, 16)
        wanted = 1 / (1 + np.exp(-5.0 * (logits - np.log(0.3 / 0.7))))
        assert got.dtype == dtype
        assert close(got, wanted, 1e-12 if dtype == "float64" else 1e-5)
        assert np.isfinite(got).all()

    def test_sums_are_float64(self) -> None:
        image = np.random.default_rng(0).random((7, 33, 65)).astype(np.float32)
        backend = self.backend()
        total = backend.total(self.give(image))
        assert total == pytest.approx(image.astype(np.float64).sum(), rel=1e-14)
        assert backend.distance(self.give(image), self.give(1 - image)) == pytest.approx(
            np.abs(image.astype(np.float64) - (1 - image)).sum(), rel=1e-14
        )


class TorchContract(Contract):
    plane_types = ("int64",)

    def backend(self) -> Backend:
        return TorchBackend("cpu")

    def give(self, array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(array)

    def take(self, image: Any) -> np.ndarray:
        values: np.ndarray = image.numpy().copy()
        return values


class TestTorchEager(TorchContract):
    def test_leading_axes_are_separate_images(self) -> None:
        batch = np.random.default_rng(0).random((2, 3, 5, 6, 7))
        steps = thinning(3)
        got = self.sweep(batch, *steps)
        for index in np.ndindex(2, 3):
            assert same_bits(got[index], self.sweep(batch[index], *steps))


class TestNumbaCpu(Contract):
    plane_types = ("uint8", "uint16", "uint32", "uint64")

    def backend(self) -> Backend:
        return NumbaBackend(2)

    def give(self, array: np.ndarray) -> np.ndarray:
        return array

    @pytest.mark.parametrize("threads", [1, 3, 7])
    def test_any_number_of_threads_gives_the_same_bits(self, threads: int) -> None:
        image = vessels((5, 33, 210), 8)
        steps = thinning(3)
        results = []
        for count in (2, threads):
            field = NumbaBackend(count).field(image)
            field.begin(steps)
            changed = sweep_all(field, steps, 3)
            results.append((field.image().copy(), changed))
            field.close()
        assert same_bits(results[0][0], results[1][0])
        assert results[0][1] == results[1][1]
        assert sum(results[0][1]) > 0

    @pytest.mark.parametrize("dtype", FLOATS)
    @pytest.mark.parametrize("draws", [8, 64, 128])
    def test_draws_are_those_of_torch_for_any_number_of_threads(self, draws: int, dtype: str) -> None:
        image = np.random.default_rng(0).random((4, 5, 17)).astype(dtype)
        image[0, 0, :3] = (0, 1, 0.5)
        for chunk in range(-(-draws // 64)):
            wanted = TorchBackend("cpu").pack_samples(torch.tensor(image), draws, chunk, -7, 3).numpy()
            for threads in (1, 2, 7):
                got = NumbaBackend(threads).pack_samples(image, draws, chunk, -7, 3)
                assert got.dtype == f"uint{min(draws, 64)}"
                assert (got.astype(np.uint64) == wanted.view(np.uint64)).all()


@pytest.mark.parametrize("make", [lambda: TorchBackend("cpu"), lambda: NumbaBackend(2)])
def test_draws_depend_on_seed_image_voxel_and_number_alone(make: Callable[[], Any]) -> None:
    image = np.full((40, 50), 0.3, np.float32)
    backend = make()
    give = torch.as_tensor if backend.name == "torch_eager" else np.asarray

    def draw(draws: int, chunk: int, seed: int, index: int) -> np.ndarray:
        return np.asarray(backend.pack_samples(give(image), draws, chunk, seed, index)).astype(np.uint64)

    first = draw(64, 0, 5, 0)
    assert (draw(192, 0, 5, 0) == first).all()
    assert (draw(8, 0, 5, 0) == first & np.uint64(0xFF)).all()
    for other in (draw(64, 0, 6, 0), draw(64, 0, 5, 1), draw(128, 1, 5, 0)):
        agreement = np.bitwise_count(~(other ^ first)).mean() / 64
        assert agreement == pytest.approx(0.3**2 + 0.7**2, abs=0.01)
    assert np.bitwise_count(first).mean() / 64 == pytest.approx(0.3, abs=0.01)
    shifted = np.bitwise_count(~(first[:, 1:] ^ first[:, :-1])).mean() / 64
    assert shifted == pytest.approx(0.3**2 + 0.7**2, abs=0.01)
    planes = np.array([(first >> np.uint64(k) & np.uint64(1)).mean() for k in range(64)])
    assert np.abs(planes - 0.3).max() < 5 * (0.21 / image.size) ** 0.5


def test_the_cpu_uses_the_given_number_of_threads_or_all_that_are_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("softmorph_cli.system.machine.threads", lambda: 5)
    for threads, expected in ((None, 5), (1, 1), (3, 3)):
        backend = choose("cpu", threads=threads)
        assert isinstance(backend, NumbaBackend)
        assert backend.threads == expected


def test_choosing_a_backend() -> None:
    assert choose("auto", threads=3).name == "numba_cpu"
    assert isinstance(choose("cpu", gradient=True), CompiledBackend)
    for device in ("gpu", "cpu:0", "cuda:x", "cuda:-1", ""):
        with pytest.raises(UsageError, match="unknown device"):
            choose(device)
    with pytest.raises(UsageError, match="at least 1"):
        choose("cpu", threads=0)
    with pytest.raises(InputError, match="cuda:99' is not there"):
        choose("cuda:99")
