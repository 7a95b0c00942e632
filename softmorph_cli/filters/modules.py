"""The filters as `torch.nn.Module`s over (B, C, [D,] H, W), with gradients, for training.

The modules have no parameters to be trained. Input values have to lie in [0, 1]: apply a sigmoid or softmax first. The
default methods are those of the papers that the modules are named after; functions and commands of the same filters
have other default methods.
"""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from torch import Tensor, nn

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.filters.filter import SoftFilter
from softmorph_cli.filters.method import Scheme, find
from softmorph_cli.filters.operations.morphological import (
    Closing,
    Dilation,
    Erosion,
    Morphology,
    Opening,
    TwoElements,
)
from softmorph_cli.filters.operations.skeletonize import Skeleton
from softmorph_cli.filters.operators import apply, recipe
from softmorph_cli.filters.settings import MethodOptions


def _checked(batch: Tensor) -> Tensor:
    if batch.ndim not in (4, 5):
        raise InputError(
            f"a batch is (B, C, H, W) or (B, C, D, H, W); this tensor has shape {tuple(batch.shape)}."
        )
    return batch


class _Module(nn.Module):
    """Base of the modules: a `torch.nn.Module` that applies one filter."""

    filter: SoftFilter

    def _hold(self, chosen: SoftFilter) -> None:
        self.filter = chosen
        self.recipe = recipe(chosen)

    def forward(self, batch: Tensor) -> Tensor:
        """Return the filtered batch, of the same shape and type.

        Args:
            batch: (B, C, H, W) or (B, C, D, H, W) with values in [0, 1].

        Raises:
            InputError: If shape or values do not fit, or the method has no gradient and the batch requires one.
        """
        return apply(_checked(batch), self.recipe)

    def extra_repr(self) -> str:
        """Return the parameters of the filter that differ from their defaults, as text."""
        chosen = {name: value for name, value in self.filter.as_json().items() if name != "operation"}
        return ", ".join(f"{name}={value!r}" for name, value in chosen.items())


class _Morphology(_Module):
    operation: ClassVar[type[Morphology]]

    def __init__(
        self,
        connectivity: int | None = None,
        iterations: int = 1,
        method: str = "multilinear",
        *,
        erosion_connectivity: int | None = None,
        dilation_connectivity: int | None = None,
        **options: Unpack[MethodOptions],
    ) -> None:
        """Make the module and its filter.

        Args:
            connectivity: Connectivity of the structuring element: 4 (default) or 8 in 2D, 6 (default), 18 or 26 in 3D.
            iterations: The number of iterations.
            method: How the Boolean rule is made soft; default "multilinear", as in the paper. (The
                functions use "minmax".)
            erosion_connectivity: Connectivity for the erosion, instead of `connectivity`.
            dilation_connectivity: Connectivity for the dilation, instead of `connectivity`.
            **options: Settings of the method and the device, listed in `softmorph_cli.filters.settings.MethodOptions`.

        Raises:
            UsageError: If an argument is out of range.
        """
        super().__init__()
        given: dict[str, Any] = {
            "connectivity": connectivity,
            "iterations": iterations,
            "method": method,
            "erosion_connectivity": erosion_connectivity,
            "dilation_connectivity": dilation_connectivity,
            **options,
        }
        if not issubclass(self.operation, TwoElements):
            own = given.pop("erosion_connectivity"), given.pop("dilation_connectivity")
            given["connectivity"] = next((one for one in own if one is not None), connectivity)
        self._hold(self.operation(**given))


class SoftErosion(_Morphology):
    """Soft erosion: the soft AND of all voxels in the structuring element.

    >>> import torch
    >>> SoftErosion()(torch.full((1, 1, 3, 3), 0.5))[0, 0, 1, 1]
    tensor(0.0312)
    """

    operation = Erosion


class SoftDilation(_Morphology):
    """Soft dilation: the soft OR of all voxels in the structuring element.

    >>> import torch
    >>> SoftDilation()(torch.full((1, 1, 3, 3), 0.5))[0, 0, 1, 1]
    tensor(0.9688)
    """

    operation = Dilation


class SoftOpening(_Morphology):
    """Soft opening: soft erosions followed by soft dilations.

    >>> import torch
    >>> SoftOpening(method="minmax")(torch.full((1, 1, 3, 3), 0.5)).mean()
    tensor(0.5000)
    """

    operation = Opening


class SoftClosing(_Morphology):
    """Soft closing: soft dilations followed by soft erosions.

    >>> import torch
    >>> SoftClosing(method="minmax")(torch.full((1, 1, 3, 3), 0.5)).mean()
    tensor(0.5000)
    """

    operation = Closing


class SoftSkeletonizer(_Module):
    """Soft skeleton with a gradient that does not fade, by default with the method `smooth-levels`.

    Method "nested" returns the same values as without a gradient. With `levels="exact"` every value is copied from some
    voxel, to which the gradient is passed; with a number of levels the gradient is passed to voxels that keep their
    value, and with `surrogate=True` also to voxels that are lowered to the upper end of their bin.

    Args:
        iterations: The number of thinning iterations; about the largest radius in voxels. Required, because a number
            that depends on the data would vary from batch to batch, except for "nested", which by default (None)
            runs until nothing changes.
        method: How the thinning is made soft; default "smooth-levels". (The function
            `skeletonize` uses "nested".)
        **options: Settings of the method and the device, listed in `softmorph_cli.filters.settings.MethodOptions`.

    >>> import torch
    >>> logits = torch.zeros((1, 1, 5, 9), requires_grad=True)
    >>> skeleton = SoftSkeletonizer(iterations=2)(logits.sigmoid())
    >>> skeleton.sum().backward()
    >>> logits.grad.shape
    torch.Size([1, 1, 5, 9])
    """

    def __init__(
        self, iterations: int | None = None, method: str = "smooth-levels", **options: Unpack[MethodOptions]
    ) -> None:
        """Make the module and its filter.

        Raises:
            UsageError: If an argument is out of range.
        """
        super().__init__()
        chosen = find(method)
        if iterations is None and chosen.scheme is not Scheme.NESTED:
            raise UsageError(f"method {chosen.name} needs a number of iterations, such as iterations=3.")
        self.iterations = iterations
        self._hold(Skeleton(chosen.name, iterations=iterations, **options))


__all__ = ["SoftClosing", "SoftDilation", "SoftErosion", "SoftOpening", "SoftSkeletonizer"]
