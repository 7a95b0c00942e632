"""The public boundary: arrays of the caller's kind in, arrays of the same kind out.

NumPy arrays and torch tensors are accepted. Axes (Y, X) are 2D and (Z, Y, X) are 3D; leading axes before these are
those of separate images, and need `spatial_dims`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.filters.method import METHODS, Scheme, find
from softmorph_cli.filters.run import combine
from softmorph_cli.filters.settings import Result, Settings
from softmorph_cli.kernels.backend import Backend, choose


def is_tensor(image: Any) -> bool:
    """Return whether an object is a torch tensor; torch is not imported for it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(image, torch.Tensor)


def as_array(image: Any) -> Any:
    """Return a tensor or NumPy array as it is, and anything else as a NumPy array.

    Raises:
        InputError: If it is a masked array, whose mask would be lost.
    """
    if isinstance(image, np.ma.MaskedArray):
        raise InputError("a masked array: fill it first, image.filled(0).")
    return image if is_tensor(image) else np.asarray(image)


def spatial_dimensions(image: Any, spatial_dims: int | None) -> int:
    """Return 2 or 3.

    Args:
        image: An array.
        spatial_dims: 2 or 3; None to take the number of axes.

    Raises:
        InputError: If the array has fewer axes than that, or not 2 or 3 where `spatial_dims` is None.
        UsageError: If `spatial_dims` is another number.
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


def for_each(
    image: Any,
    spatial_dims: int | None,
    settings: Settings,
    filter_one: Callable[[Backend, Any, int, int], Result],
    *,
    until_stable: bool,
) -> Result:
    """Run a filter on every image of an array.

    Args:
        image: What `as_array` gave, with values in [0, 1].
        spatial_dims: See `spatial_dimensions`.
        settings: Only method, device, threads and surrogate are used here.
        filter_one: Called with the backend, one image of its kind, the image's number and how many there are.
        until_stable: Whether each image stops by itself; if not, torch takes a whole batch at once.

    Raises:
        InputError: If the values are no probabilities, or a gradient is asked of a method that has none.
    """
    check_kind(image)
    dimensions = spatial_dimensions(image, spatial_dims)
    kind: _Torch | _NumPy = _Torch(image) if is_tensor(image) else _NumPy(image)
    if kind.gradient:
        check_gradient(settings.method)
    device = kind.device if settings.device == "auto" else settings.device
    scheme = find(settings.method).scheme
    # A nested filter is run without a gradient. Its gradient goes to the voxels that its values were copied from.
    traced = kind.gradient and scheme is Scheme.NESTED
    backend = choose(device, threads=settings.threads, gradient=kind.gradient and not traced)
    backend.traces = traced
    wide = kind.wide()
    images = wide.detach() if traced else wide
    if not backend.proper(backend.array(images)):
        low, high = backend.extremes(backend.array(images))
        raise InputError(f"probabilities lie in [0, 1]; this image has values from {low:g} to {high:g}.")
    alone = until_stable or scheme in (Scheme.NESTED, Scheme.LEVELS, Scheme.SAMPLES)
    if images.ndim == dimensions or (backend.batches and not alone):
        stack = [images]
    else:
        stack = images.reshape((-1, *images.shape[-dimensions:]))
    results = [filter_one(backend, backend.array(one), index, len(stack)) for index, one in enumerate(stack)]

    def together(parts: list[Any], gradient: Callable[[Any], Any] = lambda values: values) -> Any:
        if parts[0] is None:
            return None
        values = parts[0] if len(parts) == 1 else kind.stack(parts)
        return kind.own(gradient(values)).reshape(images.shape)

    def hand_back(values: Any) -> Any:
        return kind.traced(values, wide, [result.origins for result in results], settings.surrogate)

    return replace(
        combine(results),
        image=together([result.image for result in results], *([hand_back] if traced else [])),
        standard_error=together([result.standard_error for result in results]),
        device=device,
    )


class _NumPy:
    """A NumPy array of the caller; `_Torch` has the same methods for a tensor."""

    device = "cpu"
    gradient = False

    def __init__(self, image: np.ndarray[Any, Any]) -> None:
        self.image = image

    def traced(self, values: Any, wide: Any, origins: list[Any], surrogate: bool) -> Any:
        """Return a nested filter's values, here without a gradient."""
        return values

    def wide(self) -> Any:
        """Return the image in float32 or float64."""
        kind = self.image.dtype
        return np.ascontiguousarray(
            self.image, np.float64 if kind.kind == "f" and kind.itemsize > 4 else np.float32
        )

    def stack(self, parts: list[Any]) -> Any:
        """Return a backend's images as one."""
        return np.stack([part.cpu().numpy() if is_tensor(part) else part for part in parts])

    def own(self, values: Any) -> Any:
        """Return a backend's image as the caller's kind and type (uint8 for a binary one)."""
        array = values.cpu().numpy() if is_tensor(values) else values
        if array.dtype == np.bool_:
            return array.astype(np.uint8)
        return np.ascontiguousarray(array, self.image.dtype if self.image.dtype.kind == "f" else np.float32)


class _Torch:
    """See `_NumPy`."""

    def __init__(self, image: Any) -> None:
        import torch

        self.torch, self.image = torch, image
        self.device = str(image.device)
        self.gradient = image.requires_grad and torch.is_grad_enabled()

    def wide(self) -> Any:
        """Return the image in float32 or float64."""
        keep = self.image.dtype in (self.torch.float32, self.torch.float64)
        return self.image if keep else self.image.float()

    def traced(self, values: Any, wide: Any, origins: list[Any], surrogate: bool) -> Any:
        """Return a nested filter's values with a gradient.

        Args:
            values: Of the filter, all images in one.
            wide: What `wide` gave, through which the gradient goes.
            origins: For each image where its values come from; None for the voxels that keep their own.
            surrogate: Whether every voxel that is not 0 passes its gradient to itself, changed or not.
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
        """Return a backend's images as one."""
        return self.torch.stack([self.torch.as_tensor(part, device=self.image.device) for part in parts])

    def own(self, values: Any) -> Any:
        """Return a backend's image as the caller's kind and type (uint8 for a binary one)."""
        tensor = self.torch.as_tensor(values, device=self.image.device).contiguous()
        if tensor.dtype == self.torch.bool:
            return tensor.to(self.torch.uint8)
        return tensor.to(self.image.dtype if self.image.is_floating_point() else self.torch.float32)


def check_gradient(method: str | None) -> None:
    """Refuse a method that has no gradient.

    Raises:
        InputError: Naming one that has.
    """
    if not find(method).differentiable:
        able = ", ".join(name for name, m in METHODS.items() if m.differentiable)
        raise InputError(
            f"method {method!r} has no gradient, but the input requires one: use 'smooth-levels', the "
            f"differentiable form of levels (or another of {able}), or pass image.detach()."
        )


def check_kind(image: Any) -> None:
    """Refuse what cannot be a probability map, whatever its values.

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
