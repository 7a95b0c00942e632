"""Where the values of a nested filter come from, and the way back of a gradient to there.

Every value of such a result is 0 or the value of some voxel of the map. Which voxel that is does not change when
the map changes a little, so the gradient of the value belongs to it, and to it alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from softmorph_cli.compiler import Step
from softmorph_cli.kernels.torch_eager import TorchBackend, window


class TracedTorchField:
    """See `softmorph_cli.kernels.backend.Field`: ranked steps on tensors, whatever field carries them out.

    Args:
        backend: Where to compute.
        image: (..., Y, X) or (..., Z, Y, X), floating point.
    """

    def __init__(self, backend: TorchBackend, image: Tensor) -> None:
        """Start from an image, each voxel of which has its own value."""
        self._field: Any = backend.field(image)
        self._origins = torch.arange(image.numel(), device=image.device).reshape(image.shape)
        self.begin, self.image, self.close = self._field.begin, self._field.image, self._field.close

    @property
    def changed(self) -> int:
        """How many voxels the last sweep altered."""
        changed: int = self._field.changed
        return changed

    def sweep(self, step: Step) -> None:
        """Apply one sub-iteration; a voxel that is lowered takes the value of the first neighbour that has it."""
        before = self._field.image().clone()
        self._field.sweep(step)
        after = self._field.image()
        dimensions = len(step.offsets[0]) if step.offsets else 0
        # Outside of the image nothing has a value that a voxel could take: all of them are above 0.
        values, origins = (pad(x, (1, 1) * dimensions) for x in (before, self._origins))
        least = torch.full_like(self._origins, before.numel())
        for offset in step.offsets:
            same = window(values, offset) == after
            least = torch.where(same, torch.minimum(least, window(origins, offset)), least)
        self._origins = torch.where(after == before, self._origins, least)

    def origins(self) -> Tensor:
        """Return for each voxel the raster index of the voxel that its value comes from; -1 where it is 0."""
        return torch.where(self._field.image() > 0, self._origins, -1)


def with_gradient(image: Tensor, values: Tensor, origins: Tensor) -> Tensor:
    """Return values of which each hands its gradient to the voxel that it comes from. Differentiable once.

    Args:
        image: The map, which may require a gradient.
        values: The result, of the map's shape, without a gradient.
        origins: For each value the raster index of a voxel of `image`, or -1 for none; any integers.
    """
    flat = origins.flatten()
    places = (flat >= 0).nonzero().flatten()
    result: Tensor = _HandedBack.apply(image, values, places, flat[places])  # type: ignore[no-untyped-call]
    return result


class _HandedBack(Function):
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
        # The order of additions is fixed: on the CPU by the first, on CUDA, where it sorts, by the second.
        if gradient.is_cuda:
            slope.view(-1).index_put_((sources,), shares, accumulate=True)
        else:
            slope.view(-1).index_add_(0, sources, shares)
        return slope, None, None, None
