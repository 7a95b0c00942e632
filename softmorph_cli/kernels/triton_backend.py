"""Defines the backends of a GPU with Triton kernels: without a gradient for maps of any size, and with a gradient."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from softmorph_cli.compiler.compile import Step
from softmorph_cli.kernels import triton_maps
from softmorph_cli.kernels.bitplanes import bits_in_chunk, seed_key
from softmorph_cli.kernels.level_sets import LevelSets
from softmorph_cli.kernels.torch_eager import TorchBackend, TorchField, tops
from softmorph_cli.kernels.triton_cuda import TritonField, device_of, sweep, sweep_backward
from softmorph_cli.kernels.triton_stream import StreamedField

# Voxels that are processed at a time of a map on the host.
_PART: Final = 1 << 24

_PLANES: Final = {8: torch.uint8, 16: torch.int16, 32: torch.int32, 64: torch.int64}


def free_memory(device: torch.device) -> int:
    """Return the number of bytes that torch can still allocate on a device."""
    if device.type != "cuda":
        return sys.maxsize
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


class TritonBackend(TorchBackend):
    """The backend (`backend.Backend`) of a GPU without a gradient; bit planes have the narrowest type that torch has.

    An image larger than a quarter of the device's free memory stays on the host and is processed on the device in
    parts, with a result that is bit for bit the same.

    Args:
        device: A CUDA device (the CPU under Triton's interpreter).
        free: A function that returns the number of free bytes of a device.
    """

    name = "triton_cuda"
    batches = False
    prunes = False

    def __init__(self, device: str, *, free: Callable[[torch.device], int] = free_memory) -> None:
        super().__init__(device)
        self._free = free
        self._roomy: dict[int, bool] = {}

    def _holds(self, size: int) -> bool:
        return size <= self._free(self.device)

    def array(self, image: Any) -> Tensor:
        """Return an image as a tensor on the device, or on the host if the image is large."""
        tensor = torch.as_tensor(image)
        stays = tensor.device.type == self.device.type or not self._holds(4 * tensor.nbytes)
        return tensor if stays else tensor.to(self.device)

    def field(self, image: Any) -> Any:
        """Start a filter of an image; return the field that is swept."""
        tensor = self.array(image)
        if tensor.device.type == self.device.type and self._holds(2 * tensor.nbytes):
            return TritonField(tensor)
        return StreamedField(tensor, self.device, self._free(self.device))

    def pack_levels(self, image: Any, levels: int, chunk: int) -> Tensor:
        """Return the level sets {p > (k + 1/2) / levels}, for k from 64 chunk on, as bit planes."""
        return self._packed(
            image, levels, lambda part, planes, _: triton_maps.pack_levels(part, planes, levels, chunk)
        )

    def pack_samples(self, image: Any, draws: int, chunk: int, seed: int, index: int) -> Tensor:
        """Return independent Bernoulli draws, from draw 64 chunk on, as bit planes."""
        key = seed_key(seed, index)
        return self._packed(
            image,
            draws,
            lambda part, planes, voxel: triton_maps.pack_samples(part, planes, draws, chunk, key, voxel),
        )

    def pack_nested(self, image: Any, sets: LevelSets) -> Tensor:
        """Return the level sets {p > t_k} as bit planes; the lowest threshold t_0 is the highest bit of a word."""
        return self._packed(image, sets.count, lambda part, planes, _: self._bins(part, planes, sets))

    def bins(self, image: Any, sets: LevelSets) -> Tensor:
        """Return the number of thresholds below each value, on the image's device."""
        tensor = self.array(image)
        found = torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)
        self._in_parts(lambda part, out, _: self._bins(part, out, sets), tensor, found)
        return found

    def _bins(self, part: Tensor, found: Tensor, sets: LevelSets) -> None:
        triton_maps.bins(part, found, torch.as_tensor(sets.thresholds, device=self.device))

    def refine(self, image: Any, counts: Any, sets: LevelSets) -> Tensor:
        """Return the map lowered to the upper end of each voxel's bin, on the map's device."""
        tensor = self.array(image)
        bounds, kept = tops(sets, tensor.dtype).to(self.device), counts.contiguous().view(-1)
        refined = torch.empty(tensor.shape, dtype=tensor.dtype, device=tensor.device)

        def write(part: Tensor, out: Tensor, first: int) -> None:
            here = kept[first : first + part.numel()].to(self.device)
            triton_maps.refine(part, here, out, bounds)

        self._in_parts(write, tensor, refined)
        return refined

    def above(self, image: Any, threshold: float) -> Tensor:
        """Return the map where it is above a threshold, and 0 elsewhere."""
        above = super().above
        return self._on_device(lambda part: above(part, threshold), self.array(image))

    def _packed(self, image: Any, levels: int, pack: Callable[[Tensor, Tensor, int], None]) -> Tensor:
        tensor = self.array(image)
        dtype = _PLANES[bits_in_chunk(levels, 0)]
        # The planes and two buffers of their field have to fit; otherwise they are stored on the host.
        # The decision is the same for all planes of a size, which may be combined with each other.
        size = 3 * tensor.numel() * dtype.itemsize
        room = self._roomy.setdefault(size, self._holds(size))
        planes = torch.empty(tensor.shape, dtype=dtype, device=tensor.device if room else "cpu")
        self._in_parts(pack, tensor, planes)
        return planes

    def pack_mask(self, image: Any, threshold: float) -> Tensor:
        """Return the binary image {p > threshold} as bit planes of 8 equal bits."""
        return -(self.array(image) > threshold).to(torch.uint8)

    def count(self, planes: Any, bits: int, like: Any) -> Tensor:
        """Return the number of set bits among the lowest `bits` bits of each voxel, in type and device of `like`."""
        like = self.array(like)
        counted = torch.empty(like.shape, dtype=like.dtype, device=like.device)
        self._in_parts(
            lambda part, out, _: triton_maps.count(part, out, bits), torch.as_tensor(planes), counted
        )
        return counted

    def logits(self, image: Any) -> Tensor:
        """Return the logits of probabilities, clipped to [-16, 16]."""
        return self._on_device(super().logits, self.array(image))

    def sharpen(self, logits: Any, level: float, sharpness: float) -> Tensor:
        """Return sigmoid(sharpness * (logits - logit(level))), a steep sigmoid around a level."""
        sharpen = super().sharpen
        return self._on_device(lambda part: sharpen(part, level, sharpness), logits)

    def _on_device(self, do: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
        """Return the result of the torch operation `do` on an image, computed on the device in parts if need be."""
        if image.device.type == self.device.type:
            return do(image)
        result = torch.empty_like(image, memory_format=torch.contiguous_format)
        self._in_parts(lambda part, out, _: out.copy_(do(part)), image, result)
        return result

    def total(self, image: Any) -> float:
        """Return the sum of an image: each row on the device, then the rows' sums in NumPy's fixed order."""
        return self._summed(self.array(image))

    def distance(self, first: Any, second: Any) -> float:
        """Return the sum of absolute differences of two images, in float64."""
        return self._summed(first, second)

    def _summed(self, *images: Tensor) -> float:
        lines = [image.detach().contiguous().view(-1, image.shape[-1]) for image in images]
        many = max(1, _PART // lines[0].shape[1])
        sums = []
        for first in range(0, len(lines[0]), many):
            here = [line[first : first + many].to(self.device) for line in lines]
            with device_of(here[0]):
                sums.append(triton_maps.row_sums(*here).cpu())
        return float(torch.cat(sums).numpy().sum())

    def _in_parts(self, do: Callable[[Tensor, Tensor, int], Any], image: Tensor, result: Tensor) -> None:
        """Compute a voxel-wise result: at once if everything is on the device, otherwise in parts.

        Args:
            do: A function that is called with a part of the input, the output for it, and the index of its first
                voxel.
            image: The input.
            result: The output, a contiguous tensor.
        """
        flat, out = image.detach().contiguous().view(-1), result.view(-1)
        size = flat.numel() if image.device == result.device and image.is_cuda else _PART
        for first in range(0, flat.numel(), size):
            target = out[first : first + size]
            part = flat[first : first + size].to(self.device)
            there = target.device.type == self.device.type
            written = target if there else torch.empty_like(target, device=self.device)
            with device_of(part):
                do(part, written, first)
            if not there:
                target.copy_(written)


class _Fused(Function):
    """A sub-iteration as a function with a gradient, of which autograd stores only the input."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, step: Step) -> Tensor:
        ctx.save_for_backward(image)
        ctx.step = step
        return sweep(image, step)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (image,) = ctx.saved_tensors
        return sweep_backward(gradient.contiguous(), image, ctx.step), None


class FusedField(TorchField):
    """A field (`backend.Field`) on a GPU with a gradient; the image may have leading axes, as a batch."""

    def sweep(self, step: Step) -> None:
        """Apply a step (compiled sub-iteration) to all voxels at once."""
        self._before = self._image
        self._image = _Fused.apply(self._image.contiguous(), step)  # type: ignore[no-untyped-call]


class FusedBackend(TorchBackend):
    """The backend (`backend.Backend`) of a GPU with a gradient: tensors on a CUDA device."""

    name = "triton_cuda"

    def field(self, image: Any) -> FusedField:
        """Start a filter of an image; return the field that is swept."""
        return FusedField(self.array(image))
