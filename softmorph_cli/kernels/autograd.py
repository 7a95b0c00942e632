"""Runs programs with a gradient on the CPU: compiled kernels in a `torch.autograd.Function`, differentiable once.

Autograd stores only the input map of each sub-iteration. The backward pass recomputes the values of a program in
registers and accumulates the gradients run by run (a run is a group of contiguous voxels). Slabs of the image
alternate between two colours, and only slabs of one colour are processed in parallel. So no two threads add to the
same voxel, and the sums do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from softmorph_cli.compiler.adjoint import adjoint
from softmorph_cli.compiler.compile import Step
from softmorph_cli.compiler.program import NUMBERS, execute_all
from softmorph_cli.kernels import numba_source, source_cache
from softmorph_cli.kernels.buffers import Array, BufferLayout
from softmorph_cli.kernels.numba_cpu import NumbaField, Sweeps
from softmorph_cli.kernels.thread_pool import Pool
from softmorph_cli.kernels.torch_eager import TorchBackend

# Thickness of a slab: planes of a volume, rows of an image. At least 2, or slabs of one colour would touch.
_PLANES: Final = 4
_ROWS: Final = 32


class CompiledField:
    """A field (`backend.Field`) on the CPU whose image is a tensor that may require a gradient.

    Sweeps are queued; they are computed when the image is read, as one node of autograd's graph.

    Args:
        image: A tensor (Y, X) or (Z, Y, X), float32 or float64, on the CPU; not modified.
        threads: The number of threads.
    """

    def __init__(self, image: Tensor, threads: int) -> None:
        self._image = image
        self._pool = Pool(threads, image.numel())
        self._pending: list[Step] = []

    @property
    def changed(self) -> int:
        """The number of voxels that the last sweep changed."""
        self.image()
        return self._sweeps.changed

    def begin(self, steps: tuple[Step, ...], floor: Any = None) -> None:
        """Load the kernels of the steps of an iteration; `floor` is ignored."""
        dtype = self.image().detach().numpy().dtype
        layout = BufferLayout(tuple(self._image.shape), numba_source.run_length(dtype))
        self._sweeps = Sweeps(layout, dtype, steps)

    def sweep(self, step: Step) -> None:
        """Queue a step (compiled sub-iteration)."""
        self._pending.append(step)

    def image(self) -> Tensor:
        """Compute the queued steps and return the current image."""
        if self._pending:
            work = tuple(self._pending), self._sweeps, self._pool
            self._pending = []
            self._image = _Chain.apply(self._image, *work)  # type: ignore[no-untyped-call]
        return self._image

    def close(self) -> None:
        """Do nothing: there are no buffers to release."""


class _Detached:
    """A field without a gradient on the CPU, which stores no maps and skips runs of voxels that no longer change."""

    def __init__(self, image: Tensor, threads: int) -> None:
        array = image.numpy()
        # torch has few operations on unsigned integers, so its planes are signed.
        self._signed = array.dtype.kind == "i"
        array = array.view(f"u{array.dtype.name}") if self._signed else array
        self._field = NumbaField(array, threads=threads)
        self.begin, self.sweep, self.close = self._field.begin, self._field.sweep, self._field.close

    @property
    def changed(self) -> int:
        return self._field.changed

    def image(self) -> Tensor:
        array = np.ascontiguousarray(self._field.image())
        return torch.from_numpy(array.view(array.dtype.name[1:]) if self._signed else array)


class _Chain(Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, steps: tuple[Step, ...], sweeps: Sweeps, pool: Pool) -> Tensor:
        # All maps in one allocation: separate ones would fragment the heap.
        maps = np.empty((len(steps) + 1, sweeps.layout.length), sweeps.dtype)
        sweeps.fill_padding(maps[0], pool, image.detach().numpy())
        for step, before, after in zip(steps, maps[:-1], maps[1:], strict=True):
            sweeps.fill_padding(after, pool)
            sweeps.sweep_all(step, before, after, pool)
        ctx.save_for_backward(torch.from_numpy(maps[:-1]))
        ctx.work = steps, sweeps.layout, pool
        return torch.from_numpy(sweeps.copy_out(maps[-1], pool))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        steps, layout, pool = ctx.work
        maps = ctx.saved_tensors[0].numpy()
        incoming, outgoing = np.zeros_like(maps[0]), np.zeros_like(maps[0])
        layout.image(incoming)[layout.inside] = gradient.numpy()
        for step, image in zip(reversed(steps), reversed(maps), strict=True):
            _pull(step, image, incoming, outgoing, layout, pool)
            incoming, outgoing = outgoing, incoming
        return torch.from_numpy(layout.image(incoming)[layout.inside].copy()), None, None, None


def _pull(step: Step, image: Array, gradient: Array, result: Array, layout: BufferLayout, pool: Pool) -> None:
    # Gradients of the padding are discarded: the next backward sweep does not read them.
    result.fill(0)
    if not step.offsets:  # a rule that does not depend on the map
        return
    if step.subfield is not None:
        # Voxels of other subfields keep their value, and so their gradient.
        chosen = tuple(slice(parity, None, 2) for parity in layout.parity(step.subfield))
        staying = gradient.copy()
        layout.image(staying)[layout.inside][chosen] = 0
        gradient -= staying
        _pull(replace(step, subfield=None), image, gradient, result, layout, pool)
        result += staying
        return
    kernel = _pull_kernel(step, image.dtype, len(layout.shape))
    offsets = layout.offsets(step)
    slab = _PLANES * layout.shape[1] if len(layout.shape) == 3 else _ROWS
    slabs = -(-layout.rows // slab)
    for colour in (0, 1):

        def part(first: int, last: int, colour: int = colour) -> None:
            for number in range(2 * first + colour, min(2 * last, slabs), 2):
                rows = np.uint64(number * slab), np.uint64(min((number + 1) * slab, layout.rows))
                kernel(image, gradient, result, offsets, layout.row_sizes, *rows)

        pool.share(part, (slabs + 1) // 2)


@cache
def _pull_kernel(step: Step, dtype: np.dtype[Any], dimensions: int) -> Callable[..., None]:
    text = numba_source.pull_text(step.program, dtype, _steady(step), dimensions)
    name = f"pull_{step.program.fingerprint}_{dtype.name}"
    return source_cache.load(name, text).pull  # type: ignore[no-any-return]


def _steady(step: Step) -> tuple[int, ...]:
    """Return the values, 0 or 1, such that the gradient passes unchanged where all inputs have that value."""
    reverse = adjoint(step.program)
    own = [float(k == step.centre) for k in range(len(step.offsets))]

    def shares(value: int) -> list[float]:
        inputs = [float(value)] * len(own)
        return execute_all(reverse.instructions, reverse.partials, [*inputs, 1.0], NUMBERS)

    return tuple(value for value in (0, 1) if shares(value) == own)


class CompiledBackend(TorchBackend):
    """The backend (`backend.Backend`) with a gradient on the CPU: tensors, swept by compiled kernels."""

    name = "numba_cpu"
    batches = False
    prunes = False

    def __init__(self, threads: int) -> None:
        super().__init__("cpu")
        self.threads = threads

    def field(self, image: Any) -> Any:
        """Start a filter of an image; return the field that is swept."""
        tensor = self.array(image)
        if tensor.requires_grad and torch.is_grad_enabled():
            return CompiledField(tensor, self.threads)
        return _Detached(tensor.detach(), self.threads)
