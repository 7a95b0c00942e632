"""Runs programs on a GPU, by the Triton kernels that `triton_source` generates.

The expected time of a sub-iteration of the 3D thinning on a 512^3 float32 map, by counting the machine code for sm_90
(68 registers, nothing spilled, 24 warps on a multiprocessor); it has not been measured on a GPU. A voxel takes
360 instructions: 233 for the program's 120 nodes, 65 for the 9 loads and their addresses, 31 for its share of a tile's
prologue. 134 million voxels at 128 lanes a cycle on 132 multiprocessors of 1.75 to 1.98 GHz make 1.45 to 1.65
ms if every cycle issues, 5.6 to 6.4 times the clone of the map (1.07 GB at 4.2 TB/s: 0.26 ms); memory is idle
most of that time. 64 level sets take 420 instructions in 128 registers, 1.7 to 1.9 ms. A gradient takes 800
instructions in 253 registers (8 warps, so hardly every cycle issues) and 9 scratch values written and read:
3.2 to 3.7 ms and 2.3 ms.

A block of 16 x 16 x 32 voxels is skipped if nothing in it or its 26 neighbours has changed since the same step was last
applied. `stamps` contains for each block the index of the last sweep that changed it; whether a stamp that the same
sweep writes is read before or after makes no difference to the result.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cache
from math import prod
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from softmorph_cli.compiler.compile import Step
from softmorph_cli.compiler.program import Program
from softmorph_cli.kernels import source_cache, triton_gradient, triton_source
from softmorph_cli.rules.neighborhood import DIRECTIONS, Offset, rotate

# A block of voxels for skipping is DEEP x DEEP x WIDE; a program instance processes half of one, rolling DEEP deep.
_DEEP: Final = 16
_HIGH: Final = 8
_WIDE: Final = 32
_TILE: Final = {"DEEP": _DEEP, "HIGH": _HIGH, "WIDE": _WIDE}
# One voxel per lane; contraction is explicit in the source, see `triton_source`.
_OPTIONS: Final = {"num_warps": _HIGH * _WIDE // 32, "num_stages": 1, "enable_fp_fusion": False}
# The gradient needs all registers; no two of its kernels have to agree bit for bit.
_FREE: Final = {"num_stages": 1, "enable_fp_fusion": True}
_GRADIENT: Final = {"DEEP": 32, "HIGH": 4, "WIDE": 32, "num_warps": 4, **_FREE}
_COLLECT: Final = {"DEEP": 1, "HIGH": 8, "WIDE": 32, "num_warps": 8, **_FREE}

# Bytes of scratch memory that a gradient takes at most (but for a single slab of `_GRADIENT["DEEP"]` rows).
_SCRATCH: Final = 1 << 28


class _Turn(NamedTuple):
    """The orientation of the program of a step in the image.

    Attributes:
        program: The program, with offsets of three axes.
        axes: For each canonical axis (axis of the program), the image axis: 0 for z, 1 for y, 2 for x.
        signs: For each canonical axis, 1 if it has the same direction as the image axis, -1 if the opposite
            direction.
    """

    program: Program
    axes: tuple[int, ...]
    signs: tuple[int, ...]


@cache
def _turn(step: Step) -> _Turn:
    dimensions = _dimensions(step)
    program, rotation = Program(step.offsets, step.program.instructions), None
    for candidate in DIRECTIONS[dimensions].values():
        if tuple(rotate(offset, candidate) for offset in step.program.inputs) == step.offsets:
            program, rotation = step.program, candidate
            break
    unit: list[Offset] = [tuple(int(i == j) for j in range(dimensions)) for i in range(dimensions)]
    # A step whose offsets are no rotation of the program's inputs is a separate program without a rotation.
    turned = [u if rotation is None else rotate(u, rotation) for u in unit]
    images = [(0, 0, *u)[-3:] for u in turned]
    if dimensions == 2:
        images.insert(0, (1, 0, 0))
    axes = tuple(next(axis for axis in range(3) if u[axis]) for u in images)
    signs = tuple(sum(u) for u in images)
    return _Turn(triton_source.solid(program), axes, signs)


def _dimensions(step: Step) -> int:
    return len(step.offsets[0]) if step.offsets else 2


class _Frame(NamedTuple):
    """The geometry of an image along the canonical axes (the axes in which the program's rule was drawn).

    Attributes:
        sizes: The number of voxels along each canonical axis.
        strides: The stride of each canonical axis, in voxels.
        signs: For each canonical axis, 1 or -1 for its direction in the image.
        images: The number of images in the batch.
        across: Whether the image's last axis is canonical axis 1 (otherwise axis 2).
    """

    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    signs: tuple[int, ...]
    images: int
    across: bool

    @classmethod
    def of(cls, image: Tensor, dimensions: int, turn: _Turn) -> _Frame:
        shape = _solid_shape(image, dimensions)
        strides = (shape[1] * shape[2], shape[2], 1)
        return cls(
            sizes=tuple(shape[axis] for axis in turn.axes),
            strides=tuple(strides[axis] for axis in turn.axes),
            signs=turn.signs,
            images=image.numel() // prod(shape),
            across=turn.axes[1] == 2,
        )

    @property
    def geometry(self) -> tuple[int, ...]:
        return (*self.sizes, *self.strides, *self.signs, int(self.across), prod(self.sizes))

    def tiles(self, rows: int, deep: int, high: int, wide: int) -> int:
        """Return the number of tiles of size deep x high x wide for `rows` rows along canonical axis 0."""
        other, last = reversed(self.sizes[1:]) if self.across else self.sizes[1:]
        return self.images * -(-rows // deep) * -(-other // high) * -(-last // wide)


def _solid_shape(image: Tensor, dimensions: int) -> tuple[int, ...]:
    """Return the shape (Z, Y, X) of an image; 2D images form one stack along Z, in which offsets along Z are 0."""
    return tuple(image.shape[-3:]) if dimensions == 3 else (prod(image.shape[:-2]), *image.shape[-2:])


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@cache
def _forward(program: Program, dtype: str, outside: int, ranked: bool, subfield: bool) -> Any:
    text = triton_source.generate(program, dtype, outside, ranked=ranked, subfield=subfield)
    return source_cache.load(f"{program.fingerprint}_{dtype}_triton", text).sweep


@cache
def _backward(program: Program, dtype: str, outside: int) -> Any:
    text = triton_gradient.generate_backward(program, dtype, outside)
    return source_cache.load(f"{program.fingerprint}_{dtype}_triton_gradient", text)


def device_of(tensor: Tensor) -> AbstractContextManager[Any]:
    """Return a context in which kernels run on the device of a tensor (under Triton's interpreter on the CPU)."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


class _Track(NamedTuple):
    """The records of a sweep: for each block the last sweep that changed it, and the number of changed voxels."""

    stamps: Tensor
    changed: Tensor
    now: int
    depth: int


def _sweep(image: Tensor, result: Tensor, step: Step, track: _Track | None) -> None:
    turn = _turn(step)
    frame = _Frame.of(image, _dimensions(step), turn)
    chosen = step.subfield is not None
    kernel = _forward(turn.program, _name(image.dtype), step.outside, step.ranked, chosen)
    if track is None:
        notes, where, clock = (result, result), (0, 0, 0), (0, 0)
    else:
        notes, clock = track[:2], track[2:]
        strides = track.stamps.stride()
        rolled, other = turn.axes[0], 1 - turn.axes[0]
        where = (strides[0], strides[1 + rolled], strides[1 + other])
    grid = (frame.tiles(frame.sizes[0], _DEEP, _HIGH, _WIDE),)
    with device_of(image):
        kernel[grid](
            image,
            result,
            *notes,
            *frame.geometry,
            *where,
            *clock,
            *_parities(step, turn),
            TRACK=track is not None,
            **_TILE,
            **_OPTIONS,
        )


def _parities(step: Step, turn: _Turn) -> tuple[int, ...]:
    """Return the parities of a step's subfield along the canonical axes; empty if the step concerns all voxels."""
    if step.subfield is None:
        return ()
    # In 2D the first axis counts images.
    parities = (2, *step.subfield)[-3:]
    return tuple(parities[axis] for axis in turn.axes)


def sweep(image: Tensor, step: Step) -> Tensor:
    """Return an image after a step (compiled sub-iteration).

    Args:
        image: A tensor (..., Y, X) or (..., Z, Y, X) on a CUDA device, of floats or bit planes.
        step: The step.

    Raises:
        ValueError: If the program has arithmetic and the image consists of bit planes.
    """
    image = image.detach().contiguous()
    result = torch.empty_like(image)
    if image.numel():
        _sweep(image, result, step, None)
    return result


def sweep_backward(gradient: Tensor, image: Tensor, step: Step, *, scratch: int = _SCRATCH) -> Tensor:
    """Return the gradient of a step's input from the gradient of the step's result, deterministically.

    Args:
        gradient: The gradient of the result.
        image: The input of `sweep`, float32 or float64.
        step: The step (compiled sub-iteration).
        scratch: The memory for intermediate sums, in bytes.
    """
    if step.subfield is not None:
        # Voxels of other subfields keep their value, and so their gradient.
        chosen: tuple[Any, ...] = (..., *(slice(parity, None, 2) for parity in step.subfield))
        staying = gradient.clone()
        staying[chosen] = 0
        whole = replace(step, subfield=None)
        return sweep_backward(gradient - staying, image, whole, scratch=scratch) + staying
    image, gradient = image.detach().contiguous(), gradient.contiguous()
    result = torch.zeros_like(image)
    if not image.numel() or not step.offsets:
        return result
    turn = _turn(step)
    dimensions = _dimensions(step)
    shape = _solid_shape(image, dimensions)
    kernels = _backward(turn.program, _name(image.dtype), step.outside)
    sums = triton_gradient.partial_count(turn.program)
    # As many images at once as the scratch memory allows; an image that is too large is processed in slabs.
    together = max(1, scratch // (sums * prod(shape) * image.itemsize))
    stacks = [tensor.view(-1, *shape) for tensor in (image, gradient, result)]
    for one in range(0, len(stacks[0]), together):
        images, seed, into = (stack[one : one + together] for stack in stacks)
        frame = _Frame.of(images, 3, turn)
        line = images.numel() // frame.sizes[0]
        rows = min(frame.sizes[0], max(_GRADIENT["DEEP"], scratch // (sums * line * image.itemsize)))
        partials = image.new_empty(sums * rows * line)
        for first in range(0, frame.sizes[0], rows):
            slab = min(rows, frame.sizes[0] - first)
            where = (*frame.geometry, first, slab, slab * line)
            with device_of(image):
                kernels.spread[_grid(frame, slab, _GRADIENT)](images, seed, partials, *where, **_GRADIENT)
                kernels.collect[_grid(frame, slab, _COLLECT)](partials, into, *where, **_COLLECT)
    return result


def _grid(frame: _Frame, rows: int, options: dict[str, int]) -> tuple[int]:
    return (frame.tiles(rows, options["DEEP"], options["HIGH"], options["WIDE"]),)


class TritonField:
    """A field (`backend.Field`) on a GPU, swept by Triton kernels; the image is as for `sweep` and not modified."""

    def __init__(self, image: Tensor) -> None:
        self._current = image.detach().contiguous()
        # The given image is not modified, and released after the first sweep.
        self._given = True
        self._spare: Tensor | None = None
        self._stamps: Tensor | None = None
        self._changed = torch.zeros((), dtype=torch.int64, device=image.device)
        self._sweeps = 0
        self._depth = 0

    @property
    def changed(self) -> int:
        """The number of voxels that the last sweep changed; reading it waits for the device."""
        return int(self._changed)

    def begin(self, steps: tuple[Step, ...], floor: Any = None) -> None:
        """Set the steps that will be swept in turn."""
        # The first two sweeps fill the two buffers; until then no block may be skipped.
        self._depth = max(len(steps), 2)
        dimensions = max(map(_dimensions, steps))
        shape = _solid_shape(self._current, dimensions)
        images = self._current.numel() // prod(shape)
        # A padding of one block on each side, so that the kernel needs no test of the image's bounds.
        blocks = (-(-size // edge) + 2 for size, edge in zip(shape, (_DEEP, _DEEP, _WIDE), strict=True))
        size = (images, *blocks)
        self._stamps = torch.full(size, self._sweeps, dtype=torch.int32, device=self._current.device)

    def sweep(self, step: Step) -> None:
        """Apply a step (compiled sub-iteration) to all voxels at once."""
        if self._stamps is None:
            self.begin((step,))
        assert self._stamps is not None
        self._sweeps += 1
        self._changed.zero_()
        target = torch.empty_like(self._current) if self._spare is None else self._spare
        _sweep(self._current, target, step, _Track(self._stamps, self._changed, self._sweeps, self._depth))
        self._spare = None if self._given else self._current
        self._current, self._given = target, False

    def image(self) -> Tensor:
        """Return the current image, which is valid until the next sweep."""
        return self._current

    def close(self) -> None:
        """Release the buffers of the field other than the current image."""
        self._spare = self._stamps = None
