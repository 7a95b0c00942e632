"""Programs with a gradient on CUDA: Triton's kernels in a `torch.autograd.Function`.

As on the CPU, autograd stores only the input map of each sub-iteration.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from softmorph_cli.compiler import Step
from softmorph_cli.kernels.torch_eager import TorchBackend, TorchField
from softmorph_cli.kernels.triton_cuda import sweep, sweep_backward


class _Fused(Function):
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
    """See `softmorph_cli.kernels.backend.Field`; leading axes are allowed."""

    def sweep(self, step: Step) -> None:
        """Apply a sub-iteration."""
        self._before = self._image
        self._image = _Fused.apply(self._image.contiguous(), step)  # type: ignore[no-untyped-call]


class FusedBackend(TorchBackend):
    """See `softmorph_cli.kernels.backend.Backend`: tensors on a CUDA device, with a gradient."""

    name = "triton_cuda"

    def field(self, image: Any) -> FusedField:
        """Start a filter of an image."""
        return FusedField(self.array(image))
