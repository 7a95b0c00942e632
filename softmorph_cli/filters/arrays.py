"""Filters of NumPy arrays and torch tensors: the result is of the same type as the input.

An array with axes (Y, X) is a 2D image, one with (Z, Y, X) a 3D image; arrays with leading axes hold several images
and need the argument `spatial_dims`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.filters.filter import MASK, Report, SoftFilter
from softmorph_cli.filters.method import Scheme, check_gradient, find
from softmorph_cli.filters.run import FilterJob, combine
from softmorph_cli.filters.settings import Result, warn_if_capped
from softmorph_cli.kernels.backend import choose


def is_tensor(image: Any) -> bool:
    """Return whether an object is a torch tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(image, torch.Tensor)


def as_array(image: Any) -> Any:
    """Return a tensor or NumPy array as it is, and anything else as a NumPy array.

    Raises:
        InputError: If the image is a masked array, because its mask would be lost.
    """
    if isinstance(image, np.ma.MaskedArray):
        raise InputError("a masked array: fill it first, image.filled(0).")
    return image if is_tensor(image) else np.asarray(image)


def spatial_dimensions(image: Any, spatial_dims: int | None) -> int:
    """Return the number of spatial dimensions, 2 or 3: `spatial_dims`, or the number of axes of the image if None.

    Raises:
        InputError: If the array has fewer than `spatial_dims` axes, or not 2 or 3 axes where `spatial_dims` is None.
        UsageError: If `spatial_dims` is neither 2 nor 3 nor None.
    """
    if spatial_dims not in (None, 2, 3):
        raise UsageError(f"spatial_dims is 2 or 3, not {spatial_dims!r}.")
    if spatial_dims is None and image.ndim not in (2, 3):
        raise InputError(
            f"an image of shape {tuple(image.shape)} has {image.ndim} axes: (Y, X) or (Z, Y, X) is expected; "
            "say spatial_dims=2 or spatial_dims=3 to filter each image of its leading axes."
        )
    dimensions: int = spatial_dims or image.ndim
    if image.ndim < dimensions:
        raise InputError(f"an image of shape {tuple(image.shape)} has no {dimensions} spatial axes.")
    return dimensions


def filter_array(chosen: SoftFilter, image: Any, progress: Report | None = None) -> Result:
    """Return the result of a filter on every image of an array.

    Args:
        chosen: The filter to apply.
        image: NumPy array or torch tensor in [0, 1]: (Y, X), (Z, Y, X), or with leading axes.
        progress: Callback that is called after every sub-iteration.

    Raises:
        InputError: If the image is no probability map or does not fit the filter, or a gradient is required of a
            method that has none.
        RuleError: If a rule is malformed, too large, or for other dimensions.
    """
    settings, image = chosen.settings, as_array(image)
    dimensions = spatial_dimensions(image, chosen.spatial_dims)
    sequences = chosen.phases(tuple(image.shape[-dimensions:]))
    if chosen.gives == MASK and is_tensor(image) and image.requires_grad:
        raise InputError("a hard skeleton has no gradient: pass image.detach(), or use smooth-levels.")
    check_kind(image)
    arrays: _Torch | _NumPy = _Torch(image) if is_tensor(image) else _NumPy(image)
    if arrays.gradient:
        check_gradient(settings.method)
    device = arrays.device if settings.device == "auto" else settings.device
    scheme = find(settings.method).scheme
    # A nested filter runs without a gradient, which then goes to the voxels that its values were copied from.
    traced = arrays.gradient and scheme is Scheme.NESTED
    backend = choose(device, threads=settings.threads, gradient=arrays.gradient and not traced)
    backend.traces = traced
    wide = arrays.wide()
    images = wide.detach() if traced else wide
    if not backend.is_probability(backend.array(images)):
        low, high = backend.extremes(backend.array(images))
        raise InputError(f"probabilities lie in [0, 1]; this image has values from {low:g} to {high:g}.")
    # A batch is filtered as one image unless its images stop one by one, or are packed into bit planes.
    fixed = scheme is Scheme.POOLING or all(p.iterations is not None for phases in sequences for p in phases)
    alone = not fixed or scheme in (Scheme.NESTED, Scheme.LEVELS, Scheme.SAMPLES)
    if images.ndim == dimensions or (backend.batches and not alone):
        stack = [images]
    else:
        stack = images.reshape((-1, *images.shape[-dimensions:]))
    name, results = chosen.title or sequences[0][0].rule.name, []
    for index, one in enumerate(stack):
        jobs = [
            FilterJob(name, phases, settings, backend, index, len(stack), part, len(sequences), progress)
            for part, phases in enumerate(sequences)
        ]
        results.append(chosen.run_image(jobs, backend.array(one), dimensions))

    def together(parts: list[Any], gradient: Callable[[Any], Any] = lambda values: values) -> Any:
        if parts[0] is None:
            return None
        values = parts[0] if len(parts) == 1 else arrays.stack(parts)
        return arrays.own(gradient(values)).reshape(images.shape)

    def with_gradient(values: Any) -> Any:
        return arrays.traced(values, wide, [result.origins for result in results], settings.surrogate)

    result = replace(
        combine(results),
        image=together([result.image for result in results], *([with_gradient] if traced else [])),
        standard_error=together([result.standard_error for result in results]),
        device=device,
    )
    return warn_if_capped(result, settings)


class _NumPy:
    """The caller's NumPy array; `_Torch` has the same methods for a torch tensor."""

    device = "cpu"
    gradient = False

    def __init__(self, image: np.ndarray[Any, Any]) -> None:
        self.image = image

    def traced(self, values: Any, wide: Any, origins: list[Any], surrogate: bool) -> Any:
        """Return the values of a filter with method `nested` as they are: NumPy arrays have no gradient."""
        return values

    def wide(self) -> Any:
        """Return the image as float32, or as float64 if its dtype is wider than float32."""
        kind = self.image.dtype
        return np.ascontiguousarray(
            self.image, np.float64 if kind.kind == "f" and kind.itemsize > 4 else np.float32
        )

    def stack(self, parts: list[Any]) -> Any:
        """Return images of the backend stacked along a new first axis."""
        return np.stack([part.cpu().numpy() if is_tensor(part) else part for part in parts])

    def own(self, values: Any) -> Any:
        """Return an image of the backend as the caller's kind of array and dtype (uint8 if it is Boolean)."""
        array = values.cpu().numpy() if is_tensor(values) else values
        if array.dtype == np.bool_:
            return array.astype(np.uint8)
        return np.ascontiguousarray(array, self.image.dtype if self.image.dtype.kind == "f" else np.float32)


class _Torch:
    """The caller's torch tensor; `_NumPy` has the same methods for a NumPy array."""

    def __init__(self, image: Any) -> None:
        import torch

        self.torch, self.image = torch, image
        self.device = str(image.device)
        self.gradient = image.requires_grad and torch.is_grad_enabled()

    def wide(self) -> Any:
        """Return the image as float32, or as float64 if its dtype is wider than float32."""
        keep = self.image.dtype in (self.torch.float32, self.torch.float64)
        return self.image if keep else self.image.float()

    def traced(self, values: Any, wide: Any, origins: list[Any], surrogate: bool) -> Any:
        """Return the values of a filter with method `nested`, connected with the input so that a gradient flows.

        Args:
            values: The filtered values of all images, stacked.
            wide: The tensor returned by the method `wide`, which receives the gradient.
            origins: For each image the raster indices of the voxels that its values come from; None: voxels that keep
                their value pass the gradient to themselves.
            surrogate: Whether every voxel above 0 passes its gradient to itself, whether its value changed or not.
        """
        from softmorph_cli.kernels.origins import with_gradient

        torch = self.torch
        values = torch.as_tensor(values, device=wide.device).reshape(wide.shape)
        if origins[0] is None:
            kept = (values > 0) & (surrogate | (values == wide.detach()))
            own = torch.arange(values.numel(), device=wide.device).reshape(wide.shape)
            return with_gradient(wide, values, torch.where(kept, own, -1))
        size = values.numel() // len(origins)
        first = size * torch.arange(len(origins), device=wide.device)[:, None]
        each = self.stack(origins).reshape(len(origins), size)
        return with_gradient(wide, values, torch.where(each < 0, -1, each + first))

    def stack(self, parts: list[Any]) -> Any:
        """Return images of the backend stacked along a new first axis."""
        return self.torch.stack([self.torch.as_tensor(part, device=self.image.device) for part in parts])

    def own(self, values: Any) -> Any:
        """Return an image of the backend as the caller's kind of array and dtype (uint8 if it is Boolean)."""
        tensor = self.torch.as_tensor(values, device=self.image.device).contiguous()
        if tensor.dtype == self.torch.bool:
            return tensor.to(self.torch.uint8)
        return tensor.to(self.image.dtype if self.image.is_floating_point() else self.torch.float32)


def check_kind(image: Any) -> None:
    """Refuse an array that cannot be a probability map because of its shape or type.

    Raises:
        InputError: If the array is empty or not of floating-point (or Boolean) type.
    """
    if 0 in image.shape:
        raise InputError(f"the image is empty: its shape is {tuple(image.shape)}.")
    kind = "f" if is_tensor(image) and image.is_floating_point() else getattr(image.dtype, "kind", "i")
    if kind != "f" and not str(image.dtype).endswith("bool"):
        raise InputError(
            f"probabilities are floating-point numbers, not {image.dtype}: divide by the maximum first."
        )
