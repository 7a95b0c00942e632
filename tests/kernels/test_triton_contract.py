"""The contract through Triton: on the GPU where there is one, else (small maps) through Triton's interpreter.

The interpreter is chosen when triton is imported, by TRITON_INTERPRET=1, and patches triton for good. So this
file skips itself in an ordinary run; `test_triton` runs it in a process of its own with the variable set.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers_contract import lopsided
from helpers_maps import close, same_bits, vessels
from helpers_run import sweep_all
from test_contract import Contract, thinning

import softmorph_cli
from softmorph_cli.compiler.compile import DIAGRAM, NESTED, RANKS, Step, compile_rule
from softmorph_cli.compiler.program import Builder, Op
from softmorph_cli.filters import arrays
from softmorph_cli.kernels.backend import Backend
from softmorph_cli.kernels.level_sets import Levels, LevelSets
from softmorph_cli.kernels.torch_eager import TorchBackend, TorchField
from softmorph_cli.rules import catalog, structuring

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
if not (INTERPRETED or torch.cuda.is_available()):
    pytest.skip("no GPU, and not under Triton's interpreter", allow_module_level=True)
pytest.importorskip("triton")

from softmorph_cli.kernels import triton_backend  # noqa: E402
from softmorph_cli.kernels.triton_backend import FusedBackend, TritonBackend  # noqa: E402
from softmorph_cli.kernels.triton_cuda import TritonField, sweep  # noqa: E402
from softmorph_cli.kernels.triton_stream import StreamedField  # noqa: E402

DEVICE = "cpu" if INTERPRETED else "cuda"


few = pytest.mark.skipif(INTERPRETED, reason="too slow for the interpreter")


class TestTriton(Contract):
    """Under the interpreter some tests take smaller maps, or one element type for both."""

    plane_types = ("uint8", "int64") if INTERPRETED else ("uint8", "int16", "int32", "int64")

    def backend(self) -> Backend:
        return TritonBackend(DEVICE)

    def give(self, array: np.ndarray) -> Any:
        return torch.as_tensor(array, device=DEVICE)

    def take(self, image: Any) -> np.ndarray:
        values: np.ndarray = image.cpu().numpy().copy()
        return values

    @pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=few)])
    def test_3d_rule_on_sampled_neighbourhoods(self, dtype: str) -> None:
        super().test_3d_rule_on_sampled_neighbourhoods(dtype)

    @pytest.mark.parametrize(
        "shape", [(1, 1), (9, 1), (17, 65), *(pytest.param(s, marks=few) for s in [(31, 129)])]
    )
    def test_shapes_in_2d(self, shape: tuple[int, ...]) -> None:
        super().test_shapes_in_2d(shape)

    @pytest.mark.parametrize(
        "shape", [(1, 1, 1), (5, 9, 1), (2, 3, 35), *(pytest.param(s, marks=few) for s in [(19, 18, 70)])]
    )
    def test_shapes_in_3d(self, shape: tuple[int, ...]) -> None:
        super().test_shapes_in_3d(shape)

    @few
    def test_bits_do_not_mix(self) -> None:
        super().test_bits_do_not_mix()

    @few
    def test_changed_counts_the_voxels_that_differ(self) -> None:
        super().test_changed_counts_the_voxels_that_differ()

    def some(self, steps: tuple[Step, ...]) -> range:
        """A direction that is not the program's own; a subfield whose parities are not all alike."""
        return range(1, 2) if INTERPRETED else range(len(steps))

    @pytest.mark.parametrize(
        ("name", "dtype"),
        [
            ("thinning-subfields", "float32"),
            *(pytest.param("thinning", dtype, marks=few) for dtype in ("float32", "float64")),
        ],
    )
    def test_ranked_steps_to_the_end(self, name: str, dtype: str) -> None:
        super().test_ranked_steps_to_the_end(name, dtype)

    @pytest.mark.parametrize(
        ("levels", "lowest", "dtype"),
        [
            (64, None, "float32"),
            ("exact", 0.2, "float64"),
            *(pytest.param(*how, marks=few) for how in [(8, None, "float32"), (128, None, "float64")]),
        ],
    )
    def test_a_nested_skeleton(self, levels: Levels, lowest: float | None, dtype: str) -> None:
        super().test_a_nested_skeleton(levels, lowest, dtype)

    @few
    @pytest.mark.parametrize("levels", [16, "exact"])
    def test_a_nested_skeleton_in_3d(self, levels: Levels) -> None:
        super().test_a_nested_skeleton_in_3d(levels)

    def test_leading_axes_are_separate_images(self) -> None:
        rng = np.random.default_rng(0)
        for shape, steps in (((2, 2, 3, 4, 5), lopsided()[:2]), ((3, 2, 9, 10), thinning(2)[:2])):
            batch = rng.random(shape)
            got = self.sweep(batch, *steps)
            for index in np.ndindex(shape[:2]):
                assert same_bits(got[index], self.sweep(batch[index], *steps))

    def test_draws_are_those_of_torch(self) -> None:
        image = np.random.default_rng(0).random((4, 5, 17)).astype(np.float32)
        image[0, 0, :3] = (0, 1, 0.5)
        for draws, chunk in ((8, 0), (64, 0), (128, 1)):
            wanted = TorchBackend("cpu").pack_samples(torch.tensor(image), draws, chunk, -7, 3).numpy()
            got = self.take(self.backend().pack_samples(self.give(image), draws, chunk, -7, 3))
            assert got.dtype == ("uint8" if draws == 8 else "int64")
            assert (got.view(f"u{got.itemsize}").astype(np.uint64) == wanted.view(np.uint64)).all()


def random_map(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> torch.Tensor:
    return torch.tensor(0.02 + 0.96 * np.random.default_rng(seed).random(shape), dtype=dtype)


def reference(image: torch.Tensor, step: Step) -> torch.Tensor:
    field = TorchField(image)
    field.sweep(step)
    return field.image()


# ---------------------------------------------------------------------- settled blocks


def quiet_map(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Tubes with long empty parts, as probabilities or as eight level sets."""
    soft = torch.tensor(vessels(shape, 1, branches=2, noise=0.1))
    return (
        soft.to(dtype) if dtype.is_floating_point else TorchBackend("cpu").pack_levels(soft, 8, 0).to(dtype)
    )


def swept(field: Any, steps: tuple[Step, ...], iterations: int) -> tuple[np.ndarray, list[int]]:
    field.begin(steps)
    changed = sweep_all(field, steps, iterations)
    return field.image().cpu().numpy().copy(), changed


def plainly(image: torch.Tensor, steps: tuple[Step, ...], iterations: int) -> tuple[np.ndarray, list[int]]:
    """The same kernels, without blocks; of planes the reference, which is exact (and has no narrow types)."""
    dtype, changed = image.dtype, []
    if not dtype.is_floating_point:
        image = image.long()
    for step in steps * iterations:
        after = sweep(image, step) if dtype.is_floating_point else reference(image, step)
        changed.append(int((after.to(dtype) != image.to(dtype)).sum()))
        image = after
    return image.to(dtype).cpu().numpy(), changed


SETTLING = [
    ((34, 70), torch.int64, thinning(2), 5),
    ((18, 70), torch.float32, thinning(2), 4),
    ((17, 9, 40), torch.uint8, lopsided(bits=True), 3),
    ((34, 70), torch.float32, compile_rule(catalog.bundled("thinning-subfields-2d"), RANKS), 6),
    ((34, 70), torch.uint8, compile_rule(catalog.bundled("thinning-2d"), NESTED), 6),
]


@pytest.mark.parametrize(("shape", "dtype", "steps", "iterations"), SETTLING)
def test_skipping_settled_blocks_changes_nothing(
    shape: tuple[int, ...], dtype: torch.dtype, steps: tuple[Step, ...], iterations: int
) -> None:
    image = quiet_map(shape, dtype).to(DEVICE)
    field = TritonField(image)
    got, changed = swept(field, steps, iterations)
    wanted, counted = plainly(image, steps, iterations)
    assert same_bits(got, wanted)
    assert changed == counted
    assert sum(changed) > 50
    assert same_bits(image.cpu(), quiet_map(shape, dtype))
    # Some blocks were changed after they might first have been skipped, and some were skipped.
    stamps = field._stamps
    assert stamps is not None
    assert stamps.max() > len(steps)
    assert stamps[:, 1:-1, 1:-1, 1:-1].min() < len(steps) * (iterations - 1)


def shifting() -> tuple[Step, ...]:
    """A step that eats away at one side, and two that do nothing."""
    builder = Builder()
    here = builder.input((0, 0))
    eaten = builder.build(builder.emit(Op.MUL, here, builder.input((0, -1))))
    same = builder.build(here)
    eat, rest = (Step(p, p.inputs, outside=0, absorbing=0) for p in (eaten, same))
    return eat, rest, rest


def test_the_comparison_sees_blocks_skipped_too_early() -> None:
    # Announcing one step and sweeping three takes blocks for settled that were last asked about another step.
    steps = shifting()
    image = torch.full((4, 70), 255, dtype=torch.uint8, device=DEVICE)
    wanted = plainly(image, steps, 4)[0]
    assert same_bits(swept(TritonField(image), steps, 4)[0], wanted)
    field = TritonField(image)
    field.begin(steps[:1])
    sweep_all(field, steps, 4)
    assert not same_bits(field.image().cpu(), wanted)


def test_settled_blocks_of_one_filter_are_not_settled_for_the_next() -> None:
    line = torch.zeros((5, 70), dtype=torch.float64, device=DEVICE)
    line[2, 5:60] = 1
    dilation = compile_rule(structuring.dilation(4, 2), DIAGRAM)
    field = TritonField(line)
    assert sum(swept(field, thinning(2), 2)[1]) == 0
    got, changed = swept(field, dilation, 1)
    assert changed == [2 * 55 + 2]
    assert same_bits(got, plainly(line, dilation, 1)[0])
    field.close()


# ---------------------------------------------------------------------- maps that do not fit


def streaming(free: int) -> TritonBackend:
    return TritonBackend(DEVICE, free=lambda _: free)


STREAMED = [
    ((19, 12), torch.float32, thinning(2)),
    ((23, 4, 5), torch.float64, lopsided()),
    ((23, 4, 5), torch.uint8, lopsided(bits=True)),
    # Of three steps the slabs are three rows or planes thick, and begin at odd ones, too.
    ((23, 12), torch.float32, compile_rule(catalog.bundled("thinning-subfields-2d"), RANKS)[:3]),
    ((23, 4, 5), torch.uint8, tuple(replace(s, subfield=(1, 0, 1)) for s in lopsided(bits=True)[:3])),
]


@pytest.mark.parametrize("on_the_host", [False] if INTERPRETED else [False, True])
@pytest.mark.parametrize(("shape", "dtype", "steps"), STREAMED)
def test_streaming_changes_no_bit(
    shape: tuple[int, ...], dtype: torch.dtype, steps: tuple[Step, ...], on_the_host: bool
) -> None:
    image = quiet_map(shape, dtype)
    given = image if on_the_host else image.to(DEVICE)
    field = streaming(free=image.nbytes).field(given)
    assert isinstance(field, StreamedField)
    wanted, counted = swept(TritonField(image.to(DEVICE)), steps, 2)
    got, changed = swept(field, steps, 2)
    assert same_bits(got, wanted)
    assert changed == counted
    assert len(field._slabs) > 1
    assert field.image().device == given.device
    assert same_bits(given.cpu(), quiet_map(shape, dtype))
    field.close()


def test_a_streamed_image_can_be_read_within_an_iteration() -> None:
    image = quiet_map((15, 20), torch.float64)
    steps = thinning(2)
    streamed, whole = streaming(0).field(image), TritonField(image.to(DEVICE))
    for field in (streamed, whole):
        field.begin(steps)
        sweep_all(field, steps[:3])
    assert same_bits(streamed.image().cpu(), whole.image().cpu())
    assert sweep_all(streamed, steps[3:]) == sweep_all(whole, steps[3:])
    # A step that was not announced, and another filter in the middle of an iteration.
    for field in (streamed, whole):
        sweep_all(field, steps[:1])
    dilation = compile_rule(structuring.dilation(8, 2), DIAGRAM)
    assert swept(streamed, dilation, 2)[1] == swept(whole, dilation, 2)[1]
    assert same_bits(streamed.image().cpu(), whole.image().cpu())


def test_slabs_in_which_nothing_can_change_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.zeros(32, 12, dtype=torch.uint8)
    image[3:6, 2:5] = 255
    steps = shifting()[:2]
    visits: list[int] = []
    visit = StreamedField._visit

    def counted(field: StreamedField, low: int, *rest: Any) -> Any:
        visits.append(low)
        return visit(field, low, *rest)

    monkeypatch.setattr(StreamedField, "_visit", counted)
    field = streaming(0).field(image)
    got, changed = swept(field, steps, 5)
    wanted, plain = plainly(image.to(DEVICE), steps, 5)
    assert same_bits(got, wanted)
    assert changed == plain
    assert len(field._slabs) == 16
    # Two iterations fill both buffers; then the slabs with the square and their neighbours, while it lasts.
    assert sorted(visits[32:]) == [0, 0, 2, 2, 4, 4, 6, 6]


def test_voxelwise_operations_are_the_same_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    image = quiet_map((6, 11, 13), torch.float32)
    whole, parts = TritonBackend(DEVICE), streaming(0)
    operations: list[Callable[[Any, Any], Any]] = [
        lambda backend, x: backend.pack_levels(x, 64, 0),
        lambda backend, x: backend.pack_levels(x, 192, 1),
        lambda backend, x: backend.pack_samples(x, 16, 0, 5, 2),
        lambda backend, x: backend.pack_mask(x, 0.5),
        lambda backend, x: backend.count(backend.pack_levels(x, 64, 0), 64, x),
        lambda backend, x: backend.sharpen(backend.logits(x), 0.3, 20.0),
        lambda backend, x: backend.pack_nested(x, LevelSets(64)),
        lambda backend, x: backend.bins(x, LevelSets(192)),
        lambda backend, x: backend.refine(x, backend.bins(x, LevelSets(16)) // 2, LevelSets(16)),
        lambda backend, x: backend.above(x, 0.3),
    ]
    wanted = [operation(whole, image.to(DEVICE)).cpu() for operation in operations]
    sums = whole.total(image.to(DEVICE)), whole.distance(image.to(DEVICE), 1 - image.to(DEVICE))
    monkeypatch.setattr(triton_backend, "_PART", 100)
    for operation, expected in zip(operations, wanted, strict=True):
        assert same_bits(operation(parts, image), expected)
    assert (parts.total(image), parts.distance(image, 1 - image)) == sums


def test_a_map_that_fits_is_moved_and_one_that_does_not_stays() -> None:
    image = torch.zeros(4, 5)
    assert streaming(4 * image.nbytes).array(image).device.type == DEVICE
    assert streaming(4 * image.nbytes - 1).array(image).device.type == "cpu"
    assert isinstance(TritonBackend(DEVICE).field(image.numpy()), TritonField)


# ---------------------------------------------------------------------- the whole way


@pytest.mark.parametrize(
    ("free", "options"),
    [
        (None, {"method": "levels", "levels": 8}),
        (None, {"method": "multilinear"}),
        (None, {"hard": True}),
        (0, {"method": "levels", "levels": 8}),
        (0, {"method": "nested"}),
        (0, {"method": "nested", "levels": "exact"}),
    ],
)
def test_skeletons_are_those_of_the_cpu(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], free: int | None
) -> None:
    image = quiet_map((12, 20), torch.float64).numpy()
    wanted = softmorph_cli.skeletonize(image, **options)
    backend = TritonBackend(DEVICE) if free is None else streaming(free)
    monkeypatch.setattr(arrays, "choose", lambda *_args, **_kwargs: backend)
    got = softmorph_cli.skeletonize(image, **options)
    assert close(got, wanted, 1e-12 if options == {"method": "multilinear"} else 0)


def test_autograd_goes_through_the_kernels() -> None:
    steps = compile_rule(catalog.bundled("thinning-2d"), DIAGRAM)
    image = torch.rand((2, 7, 9), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    results = []
    for backend in (FusedBackend("cpu"), TorchBackend("cpu")):
        start = image.clone().requires_grad_()
        field = backend.field(start)
        field.begin(steps)
        for step in steps:
            field.sweep(step)
        (gradient,) = torch.autograd.grad(field.image().square().sum(), start)
        results.append((field.image().detach(), gradient))
    for ours, theirs in zip(*results, strict=True):
        assert close(ours, theirs, 1e-12)
    assert results[0][1].abs().max() > 0.1
