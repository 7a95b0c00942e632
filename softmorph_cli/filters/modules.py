"""The filters as `torch.nn.Module`s over (B, C, [D,] H, W), with gradients, for training.

They hold no parameters. Values must lie in [0, 1]: put a sigmoid or softmax before them. Their default methods are
those of the papers whose names they carry; the functions and commands of the same filters have others.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Unpack

from torch import Tensor, nn

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.filters.functions import How
from softmorph_cli.filters.method import Family, find
from softmorph_cli.filters.morphology import Element, check_method
from softmorph_cli.filters.operators import apply, recipe
from softmorph_cli.filters.settings import Settings
from softmorph_cli.rules.neighborhood import CONNECTIVITIES


def _checked(batch: Tensor) -> Tensor:
    if batch.ndim not in (4, 5):
        raise InputError(
            f"a batch is (B, C, H, W) or (B, C, D, H, W); this tensor has shape {tuple(batch.shape)}."
        )
    return batch


class _Morphology(nn.Module):
    operation: str

    def __init__(
        self,
        connectivity: int | None = None,
        iterations: int = 1,
        method: str = "multilinear",
        *,
        erosion_connectivity: int | None = None,
        dilation_connectivity: int | None = None,
        **how: Unpack[How],
    ) -> None:
        """Choose the filter.

        Args:
            connectivity: 4 or 8 in 2D, 6, 18 or 26 in 3D; default 4 and 6.
            iterations: How often.
            method: How the Boolean rule is made soft; default "multilinear", as the paper. (The functions:
                "minmax".)
            erosion_connectivity: Overrides `connectivity` for the erosion.
            dilation_connectivity: Overrides `connectivity` for the dilation.
            **how: See `softmorph_cli.filters.functions.How`.

        Raises:
            UsageError: If an argument is out of range.
        """
        super().__init__()
        if iterations < 1:
            raise UsageError(f"iterations {iterations}: at least 1 is needed.")
        known = {None}.union(*CONNECTIVITIES.values())
        for value in (connectivity, erosion_connectivity, dilation_connectivity):
            if value not in known:
                raise UsageError(f"connectivity {value}: use 4 or 8 in 2D, 6, 18 or 26 in 3D.")
        self.settings = Settings(method, **how)
        check_method(method)
        self.element = Element(
            connectivity if erosion_connectivity is None else erosion_connectivity,
            connectivity if dilation_connectivity is None else dilation_connectivity,
            iterations,
        )
        self.recipe = recipe(self.operation, self.settings, **asdict(self.element))

    def forward(self, batch: Tensor) -> Tensor:
        """Return the filtered batch, of the same shape and type.

        Args:
            batch: (B, C, H, W) or (B, C, D, H, W) with values in [0, 1].

        Raises:
            InputError: If shape or values do not fit, or the method has no gradient and one is needed.
        """
        return apply(_checked(batch), self.recipe)

    def extra_repr(self) -> str:
        """Say what is set."""
        return f"{self.element}, method={self.settings.method!r}"


class SoftErosion(_Morphology):
    """Soft erosion: AND over the structuring element."""

    operation = "erosion"


class SoftDilation(_Morphology):
    """Soft dilation: OR over the structuring element."""

    operation = "dilation"


class SoftOpening(_Morphology):
    """Soft opening: erosions, then dilations."""

    operation = "opening"


class SoftClosing(_Morphology):
    """Soft closing: dilations, then erosions."""

    operation = "closing"


class SoftSkeletonizer(nn.Module):
    """Soft skeleton with a gradient that does not fade: `smooth-levels` unless another method is chosen.

    "nested" is as exact here as without a gradient: with `levels="exact"` every value is that of some voxel, which
    gets its gradient; with a number of levels the voxels that keep their value get it, and with `surrogate=True`
    those that are cut to the top of their bin, too.

    Args:
        iterations: How many thinning iterations; about the largest radius in voxels. Required, because a
            number found from the data would change from batch to batch; but None, to the end, is the default of
            "nested", of which further iterations change nothing.
        method: How the thinning is made soft; default "smooth-levels". (The function `skeletonize`: "nested".)
        **how: See `softmorph_cli.filters.functions.How`.
    """

    def __init__(
        self, iterations: int | None = None, method: str = "smooth-levels", **how: Unpack[How]
    ) -> None:
        """Choose the filter.

        Raises:
            UsageError: If an argument is out of range.
        """
        super().__init__()
        chosen = find(method)
        if iterations is None and chosen.family is not Family.NESTED:
            raise UsageError(f"method {chosen.name} needs a number of iterations, such as iterations=3.")
        if iterations is not None and iterations < 1:
            raise UsageError(f"iterations {iterations}: at least 1 is needed.")
        self.iterations = iterations
        self.settings = Settings(chosen.name, **how)
        self.recipe = recipe("skeleton", self.settings, iterations=iterations)

    def forward(self, batch: Tensor) -> Tensor:
        """Return the soft skeletons, of the same shape and type.

        Args:
            batch: (B, C, H, W) or (B, C, D, H, W) with values in [0, 1].

        Raises:
            InputError: If shape or values do not fit, or the method has no gradient and one is needed.
        """
        return apply(_checked(batch), self.recipe)

    def extra_repr(self) -> str:
        """Say what is set."""
        return f"iterations={self.iterations}, method={self.settings.method!r}"


__all__ = ["SoftClosing", "SoftDilation", "SoftErosion", "SoftOpening", "SoftSkeletonizer"]
