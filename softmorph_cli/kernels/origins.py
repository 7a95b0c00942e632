"""Records the voxels from which the values of a nested filter come, and passes the gradient to these voxels.

Every value of the result is 0 or the value of a voxel of the map. That voxel (the origin) does not change under small
changes of the map, so the gradient of the value is the gradient of the origin's value.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from softmorph_cli.compiler.compile import Step
from softmorph_cli.kernels.torch_eager import TorchBackend, window


class TracedTorchField:
    """A field of ranked steps on tensors that records the origins of the values, for any torch backend."""

    def __init__(self, backend: TorchBackend, image: Tensor) -> None:
        self._field: Any = backend.field(image)
        self._origins = torch.arange(image.numel(), device=image.device).reshape(image.shape)
        self.begin, self.image, self.close = self._field.begin, self._field.image, self._field.close

    @property
    def changed(self) -> int:
        """The number of voxels that the last sweep changed."""
        changed: int = self._field.changed
        return changed

    def sweep(self, step: Step) -> None:
        """Apply a step to all voxels at once.

        A lowered voxel takes the least origin (raster index) of the neighbours that had the new value before the
        step.
        """
        before = self._field.image().clone()
        self._field.sweep(step)
        after = self._field.image()
        dimensions = len(step.offsets[0]) if step.offsets else 0
        # The padding is 0, and no voxel takes its value from there: all new origins have values above 0.
        values, origins = (pad(x, (1, 1) * dimensions) for x in (before, self._origins))
        least = torch.full_like(self._origins, before.numel())
        for offset in step.offsets:
            same = window(values, offset) == after
            least = torch.where(same, torch.minimum(least, window(origins, offset)), least)
        self._origins = torch.where(after == before, self._origins, least)

    def origins(self) -> Tensor:
        """Return the raster index of the voxel from which each value comes; -1 where the value is 0."""
        return torch.where(self._field.image() > 0, self._origins, -1)


def with_gradient(image: Tensor, values: Tensor, origins: Tensor) -> Tensor:
    """Return `values` as a tensor that passes gradients to the voxels of origin; differentiable once.

    Args:
        image: The map, which may require a gradient.
        values: The result of the filter, of the map's shape, without a gradient.
        origins: For each value the raster index of the voxel of `image` from which the value comes, or -1 for none;
            of any integer type.
    """
    flat = origins.flatten()
    places = (flat >= 0).nonzero().flatten()
    result: Tensor = _ToOrigins.apply(image, values, places, flat[places])  # type: ignore[no-untyped-call]
    return result


class _ToOrigins(Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, values: Tensor, places: Tensor, sources: Tensor) -> Tensor:
        ctx.save_for_backward(places, sources)
        return values.view_as(values)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        places, sources = ctx.saved_tensors
        shares = gradient.flatten()[places]
        slope = torch.zeros_like(gradient, memory_format=torch.contiguous_format)
        # In a deterministic order: index_put_ sorts on CUDA, index_add_ is sequential on the CPU.
        if gradient.is_cuda:
            slope.view(-1).index_put_((sources,), shares, accumulate=True)
        else:
            slope.view(-1).index_add_(0, sources, shares)
        return slope, None, None, None
