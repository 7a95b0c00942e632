"""Runs programs as plain torch operations, on any device, with autograd: the reference for tests of other backends.

Images may have leading axes: a sweep then processes a batch of images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from softmorph_cli.compiler.compile import Step
from softmorph_cli.compiler.program import Op, execute
from softmorph_cli.kernels.bitplanes import (
    FINALIZER,
    GOLDEN,
    LOGIT_RANGE,
    WORD,
    bits_in_chunk,
    seed_key,
    signed,
)
from softmorph_cli.kernels.level_sets import LevelSets, round_down
from softmorph_cli.rules.neighborhood import Offset

_TYPES: Final = {torch.float32: np.float32, torch.float64: np.float64}


def _divide(a: Tensor, b: Tensor) -> Tensor:
    # The inner `where` keeps the unused branch finite: otherwise 0 * inf in the backward pass gives NaN.
    empty = b == 0
    safe = torch.where(empty, 1, b)
    # a / b with the derivative (da - q db) / b: torch's -(q / b) db overflows if b is subnormal.
    whole, quotient = safe.detach(), (a / safe).detach()
    return torch.where(empty, 0, (a - quotient * (safe - whole)) / whole)


def _floats(like: Tensor) -> Mapping[Op, Callable[..., Tensor]]:
    return {
        Op.CONST: lambda value: like.new_full((), value),
        Op.NOT: lambda a: 1 - a,
        Op.ADD: torch.add,
        Op.SUB: torch.sub,
        Op.MUL: torch.mul,
        Op.DIV: _divide,
        Op.MIN: torch.minimum,
        Op.MAX: torch.maximum,
        Op.MIX: lambda x, low, high: low + x * (high - low),
        Op.STEP: lambda a: (a > 0).to(a.dtype),
    }


def _bits(like: Tensor) -> Mapping[Op, Callable[..., Tensor]]:
    return {
        Op.CONST: lambda value: like.new_full((), -value),
        Op.NOT: torch.bitwise_not,
        Op.MUL: torch.bitwise_and,
        Op.MIX: lambda x, low, high: low ^ (x & (low ^ high)),
        Op.FILL: lambda a: a | -a,
    }


class TorchField:
    """A field (`backend.Field`) on any torch device; the image is a floating-point tensor, or int64 bit planes."""

    def __init__(self, image: Tensor) -> None:
        self._image = self._before = image
        self._floor: Tensor | None = None

    @property
    def changed(self) -> int:
        """The number of voxels that the last sweep changed."""
        return int((self._image != self._before).sum())

    def begin(self, steps: tuple[Step, ...], floor: Tensor | None = None) -> None:
        """Set the floor of ranked steps; the steps themselves are not needed."""
        self._floor = floor

    def sweep(self, step: Step) -> None:
        """Apply a step (compiled sub-iteration) to all voxels at once."""
        self._before = self._image
        if self._image.requires_grad and torch.is_grad_enabled():
            self._image = _Recomputed.apply(self._image, partial(_sweep, step=step, floor=self._floor))  # type: ignore[no-untyped-call]
        else:
            self._image = _sweep(self._image, step, self._floor)

    def image(self) -> Tensor:
        """Return the current image."""
        return self._image

    def close(self) -> None:
        """Do nothing: there are no buffers to release."""


class _Sharpen(Function):
    """The function sigmoid(sharpness (logits - level)), with one temporary map instead of autograd's four."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, level: float, sharpness: float) -> Tensor:
        result = (logits - level).mul_(sharpness).sigmoid_()
        ctx.save_for_backward(result)
        ctx.sharpness = sharpness
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (result,) = ctx.saved_tensors
        slope = (1 - result).mul_(result).mul_(gradient).mul_(ctx.sharpness)
        return slope, None, None


class _Recomputed(Function):
    """A function of which autograd stores only the input; the backward pass repeats it. Differentiable once.

    The hundred intermediate values of each sub-iteration of a 64^3 skeleton would take more than 64 GB.
    torch.utils.checkpoint also repeats the work, but its inputs are freed only by the garbage collector.
    """

    @staticmethod
    def forward(ctx: Any, image: Tensor, work: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(image)
        ctx.work = work
        return work(image)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (image,) = ctx.saved_tensors
        with torch.enable_grad():
            again = image.detach().requires_grad_()
            result = ctx.work(again)
        if not result.requires_grad:  # a rule that does not depend on the map
            return torch.zeros_like(image), None
        return torch.autograd.grad(result, again, gradient)[0], None


def _sweep(image: Tensor, step: Step, floor: Tensor | None = None) -> Tensor:
    planes = not image.is_floating_point()
    dimensions = len(step.offsets[0]) if step.offsets else 0
    outside: float = -step.outside if planes else step.outside
    if step.ranked:
        # Without -0.0; the value outside is below or above all values.
        image, outside = image + 0, torch.inf if outside else 0
    padded = pad(image, (1, 1) * dimensions, value=outside) if dimensions else image
    neighbors = [window(padded, offset) for offset in step.offsets]
    if step.ranked:
        result = _ranked(image, neighbors, step, floor)
    else:
        result = execute(step.program, neighbors, _bits(image) if planes else _floats(image))
    if step.subfield is not None:
        result = torch.where(_in_subfield(image, step.subfield), result, image)
    return result.expand_as(image)


def _ranked(image: Tensor, neighbors: list[Tensor], step: Step, floor: Tensor | None) -> Tensor:
    """Return each voxel lowered to the highest value at which the step does not delete it.

    The candidates are the values of the neighbours (inputs of the step). The program runs once on a word per
    neighbour, whose bit j says whether the neighbour is at least as high as candidate j.
    """
    candidates = torch.stack(neighbors)
    bits = (1 << torch.arange(len(neighbors), device=image.device)).reshape(-1, *(1,) * image.ndim)
    words = [((value >= candidates) * bits).sum(0) for value in neighbors]
    kept = execute(step.program, words, _bits(words[0]))
    if floor is not None:
        return _to_the_floor(image, neighbors, kept, floor)
    result = torch.zeros_like(image)
    for j, candidate in enumerate(neighbors):
        # Candidates above the voxel's value do not count: its own bit is not set for them.
        held = (kept >> j & 1).bool() & (candidate > 0)
        result = torch.where(held, torch.maximum(result, candidate), result)
    return result


def _to_the_floor(image: Tensor, neighbors: list[Tensor], kept: Tensor, floor: Tensor) -> Tensor:
    """Return each voxel lowered as far as the floor allows, by the procedure in `Field.begin`.

    Args:
        image: The values.
        neighbors: The values at each offset of the step: the candidates.
        kept: A word for each voxel whose bit j says whether the rule does not delete the voxel at candidate j.
        floor: The value below which a voxel is not lowered.
    """
    lowest = torch.full_like(image, torch.inf)
    for j, candidate in enumerate(neighbors):
        deleted = ~(kept >> j & 1).bool() & (candidate <= image) & (candidate >= floor) & (candidate > 0)
        lowest = torch.where(deleted, torch.minimum(lowest, candidate), lowest)
    below = torch.zeros_like(image)
    for candidate in neighbors:
        below = torch.where(candidate < lowest, torch.maximum(below, candidate), below)
    return torch.where(lowest.isinf(), image, torch.where(below >= floor, below, lowest))


def _in_subfield(image: Tensor, subfield: Offset) -> Tensor:
    """Return a mask of the voxels whose indices along the last axes have the parities of `subfield`."""
    mask = torch.ones((), dtype=torch.bool, device=image.device)
    for axis, parity in zip(range(-len(subfield), 0), subfield, strict=True):
        places = torch.arange(image.shape[axis], device=image.device)
        mask = mask & ((places & 1) == parity).reshape(-1, *(1,) * (-axis - 1))
    return mask


def window(padded: Tensor, offset: Offset) -> Tensor:
    """Return a view of a padded image, shifted by an offset, with the shape of the image without padding."""
    for axis, o in enumerate(offset, start=-len(offset)):
        padded = padded.narrow(axis, 1 + o, padded.shape[axis] - 2)
    return padded


def tops(sets: LevelSets, dtype: torch.dtype) -> Tensor:
    """Return, for n = 0, 1, ..., the greatest number of a type that a voxel in exactly n level sets can have."""
    return torch.as_tensor(np.concatenate(([0], round_down(sets.upper_bounds, _TYPES[dtype]))), dtype=dtype)


class TorchBackend:
    """The backend (`backend.Backend`) of plain torch operations on any device; bit planes are int64."""

    name = "torch_eager"
    batches = True
    traces = False
    prunes = True

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)

    def array(self, image: Any) -> Tensor:
        """Return an image as a tensor on the backend's device."""
        return torch.as_tensor(image, device=self.device)

    def field(self, image: Any) -> TorchField:
        """Start a filter of an image; return the field that is swept."""
        return TorchField(self.array(image))

    def traced(self, image: Any) -> Any:
        """Start a filter by ranked steps that records the voxel from which each value comes; return the field."""
        from softmorph_cli.kernels.origins import TracedTorchField

        return TracedTorchField(self, self.array(image))

    def is_probability(self, image: Any) -> bool:
        """Return whether all values lie in [0, 1]."""
        low, high = self.extremes(image)
        return low >= 0 and high <= 1

    def extremes(self, image: Any) -> tuple[float, float]:
        """Return the minimum and the maximum of an image; both are NaN if the image contains NaN."""
        # One transfer from the device.
        low, high = torch.stack(torch.aminmax(self.array(image).detach())).tolist()
        return low, high

    def pack_levels(self, image: Any, levels: int, chunk: int) -> Tensor:
        """Return the level sets {p > (k + 1/2) / levels}, for k from 64 chunk on, as bit planes."""
        values = self.array(image)
        values = values if levels & (levels - 1) == 0 else values.double()
        below = torch.ceil(values * levels - 0.5).to(torch.int64) - 64 * chunk
        bits = bits_in_chunk(levels, chunk)
        codes = torch.tensor([(1 << n) - 1 if n < 64 else -1 for n in range(bits + 1)], device=self.device)
        return codes[below.clamp(0, bits)]

    def pack_samples(self, image: Any, draws: int, chunk: int, seed: int, index: int) -> Tensor:
        """Return independent Bernoulli draws, from draw 64 chunk on, as bit planes."""
        values = self.array(image)
        thresholds = (values.double() * 2.0**32).to(torch.int64)
        voxels = torch.arange(values.numel(), device=self.device).reshape(values.shape)
        key = signed(seed_key(seed, index))
        planes = torch.zeros_like(thresholds)
        for bit in range(bits_in_chunk(draws, chunk)):
            counter = (voxels << 20) + (64 * chunk + bit)
            planes |= (_shift(_mix(counter * signed(GOLDEN) + key), 32) < thresholds).to(torch.int64) << bit
        return planes

    def pack_nested(self, image: Any, sets: LevelSets) -> Tensor:
        """Return the level sets {p > t_k} as bit planes; the lowest threshold t_0 is the highest bit of a word."""
        count = len(sets.thresholds)
        # The upper n bits of a word are -1 shifted: the sign bit, the lowest threshold, is among them.
        codes = torch.tensor([-1 << (64 - n) if n else 0 for n in range(count + 1)], device=self.device)
        return codes[self.bins(image, sets).to(torch.int64)]

    def bins(self, image: Any, sets: LevelSets) -> Tensor:
        """Return the number of thresholds below each value."""
        values = self.array(image).detach()
        thresholds = torch.as_tensor(sets.thresholds, device=values.device)
        return torch.bucketize(values.double(), thresholds).to(values.dtype)

    def refine(self, image: Any, counts: Any, sets: LevelSets) -> Tensor:
        """Return the map lowered to the upper end of each voxel's bin (interval between thresholds)."""
        values = self.array(image)
        bounds = tops(sets, values.dtype).to(values.device)[counts.to(torch.int64)]
        # Where both are equal the value keeps its gradient; -0.0 becomes 0.
        return torch.where(values > bounds, bounds, values) + 0

    def above(self, image: Any, threshold: float) -> Tensor:
        """Return the map where it is above a threshold, and 0 elsewhere."""
        values = self.array(image)
        # A value is above the threshold if and only if it is above the threshold rounded down to its type.
        return torch.where(values > float(round_down(threshold, _TYPES[values.dtype])), values, 0)

    def pack_mask(self, image: Any, threshold: float) -> Tensor:
        """Return the binary image {p > threshold} as bit planes in which all bits are equal."""
        return -(self.array(image) > threshold).to(torch.int64)

    def count(self, planes: Any, bits: int, like: Any) -> Tensor:
        """Return the number of set bits among the lowest `bits` bits of each voxel, in the type of `like`."""
        x = planes if bits == WORD else planes & ((1 << bits) - 1)
        x = x - (_shift(x, 1) & 0x5555555555555555)
        x = (x & 0x3333333333333333) + (_shift(x, 2) & 0x3333333333333333)
        x = (x + _shift(x, 4)) & 0x0F0F0F0F0F0F0F0F
        return _shift(x * 0x0101010101010101, 56).to(self.array(like).dtype)

    def logits(self, image: Any) -> Tensor:
        """Return the logits of probabilities, clipped to [-16, 16]."""
        # Clamped before the logit, whose derivative at 0 and 1 is infinite.
        return torch.logit(self.array(image).clamp(*LOGIT_RANGE))

    def sharpen(self, logits: Any, level: float, sharpness: float) -> Tensor:
        """Return sigmoid(sharpness * (logits - logit(level))), a steep sigmoid around a level."""
        result: Tensor = _Sharpen.apply(logits, float(np.log(level / (1 - level))), sharpness)  # type: ignore[no-untyped-call]
        return result

    def streamed(self, work: Callable[[Any], Any], image: Any) -> Any:
        """Return `work(image)`; autograd stores only `image`, and the backward pass repeats the work."""
        return _Recomputed.apply(image, work)  # type: ignore[no-untyped-call]

    def total(self, image: Any) -> float:
        """Return the sum of an image: each row on the device, then the rows' sums in NumPy's fixed order."""
        rows = self.array(image).detach().double().sum(dim=-1)
        return float(rows.cpu().numpy().sum())

    def distance(self, first: Any, second: Any) -> float:
        """Return the sum of absolute differences of two images, in float64."""
        return self.total((first.detach().double() - second.detach().double()).abs())


# torch has no unsigned 64-bit arithmetic: products wrap around as for unsigned integers, right shifts need a mask.
def _shift(value: Tensor, places: int) -> Tensor:
    return (value >> places) & ((1 << (64 - places)) - 1)


def _mix(value: Tensor) -> Tensor:
    for places, factor in FINALIZER:
        value = (value ^ _shift(value, places)) * signed(factor)
    return value ^ _shift(value, 31)
