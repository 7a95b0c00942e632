"""The public function `simplify`, which cancels the short persistence bars of a map."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar, Unpack, overload

from softmorph_cli.api.images import Array, Image, Placed, as_given, as_volume, is_placed, named_after
from softmorph_cli.errors import SoftmorphWarning
from softmorph_cli.pipeline.steps.simplifying import Simplify

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from softmorph_cli.volume import Volume

T = TypeVar("T")


@dataclass(frozen=True, repr=False)
class Simplification(Generic[T]):
    """Result of `simplify`: the simplified map, with the numbers of short bars before and after.

    Attributes:
        image: The simplified map, an array or a tensor as the input; a `Volume` if the input was a `Volume` or a path.
        before: Numbers of short bars of the input: components, loops (in 2D holes) and, in 3D, cavities.
        after: The same of the result.
        change: `sum_abs` and `max_abs` of the change of the probabilities.
    """

    image: T
    before: tuple[int, ...]
    after: tuple[int, ...]
    change: Mapping[str, float]

    @property
    def reached(self) -> bool:
        """Whether no short bar is left."""
        return not any(self.after)

    def __repr__(self) -> str:
        """Return a short text: the numbers of short bars and the largest change."""
        before, after = (",".join(map(str, numbers)) for numbers in (self.before, self.after))
        largest = self.change["max_abs"]
        return f"<Simplification: short bars {before} before, {after} after, largest change {largest:.3g}>"

    def as_dict(self) -> dict[str, Any]:
        """Return the result as in the JSON of `softmorph topology simplify`."""
        return {
            "reached": self.reached,
            "change": dict(self.change),
            "short_bars": {"count_before": list(self.before), "count_after": list(self.after)},
        }


class Options(TypedDict, total=False):
    """The keyword arguments that `simplify` takes for every image, for type checkers; `simplify` documents them."""

    connectivity: int | None
    region: str | None


class ArrayOptions(Options, total=False):
    """The keyword arguments that `simplify` takes for arrays: `Options`, and the voxel size, which an array lacks."""

    spacing: Sequence[float] | None
    unit: str | None


@overload
def simplify(
    image: Array, persistence: float, **options: Unpack[ArrayOptions]
) -> Simplification[npt.NDArray[Any]]: ...
@overload
def simplify(
    image: Tensor, persistence: float, **options: Unpack[ArrayOptions]
) -> Simplification[Tensor]: ...
@overload
def simplify(image: Placed, persistence: float, **options: Unpack[Options]) -> Simplification[Volume]: ...
def simplify(
    image: Image,
    persistence: float,
    *,
    connectivity: int | None = None,
    region: str | None = None,
    spacing: Sequence[float] | None = None,
    unit: str | None = None,
) -> Simplification[Any]:
    """Cancel the components, loops and cavities of a map that last for less than a given persistence.

    A component lasts from its highest value (birth) down to the value at which it meets an older one (death), a loop or
    a cavity from the value at which it closes to that at which it is filled. Of components and cavities (in 2D holes)
    all that last for less are cancelled. Of loops in 3D some may be left; a `SoftmorphWarning` then says how many.

    Args:
        image: Probabilities, (Y, X) or (Z, Y, X), as an array or a tensor; a `Volume`, which may have channels, each
            simplified by itself; or a path. It is never written to.
        persistence: Above 0 and at most 1: what has birth - death below it is cancelled, and no value changes by more.
        connectivity: Of the foreground: 8 (default) or 4 in 2D, 26 (default) or 6 in 3D.
        region: "z0:z1,y0:y1,x0:x1" in voxels, ends open at will: only this box changes, and the bars are its own.
        spacing: Of an array: voxel size along each axis, in array order.
        unit: Of `spacing`: "mm", "um" or "nm".

    Returns:
        `Simplification`: `.image` of the kind that was given, with its floating-point type; `.before`, `.after`,
        `.change`, `.as_dict()`.

    Raises:
        FileError: If a file cannot be read.
        InputError: If the image is no map.
        UsageError: If an argument is wrong whatever the image.

    >>> import numpy as np
    >>> found = simplify(np.array([[0.5, 0.9, 0.85, 0.88, 0.2]]), persistence=0.1)
    >>> print(found.image)
    [[0.5  0.9  0.85 0.85 0.2 ]]
    >>> found.before, found.after
    ((1, 0), (0, 0))
    """
    step = Simplify(persistence=persistence, connectivity=connectivity, region=region)
    volume = as_volume(image, spacing, unit)
    with named_after(volume):
        found = step.run(volume)
    if found.shortfall is not None:
        warnings.warn(found.shortfall, SoftmorphWarning, stacklevel=2)
    result = volume.with_array(found.image)
    assert found.document is not None
    short = found.document["short_bars"]
    return Simplification(
        result if is_placed(image) else as_given(result.array, image),
        tuple(short["count_before"]),
        tuple(short["count_after"]),
        found.document["change"],
    )
