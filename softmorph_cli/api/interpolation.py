"""The public function `interpolate`, which fills missing slices and makes finer grids."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar, Unpack, overload

from softmorph_cli.api.images import Array, Image, Placed, as_given, as_volume, is_placed
from softmorph_cli.errors import SoftmorphWarning

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from softmorph_cli.completion.prior import Prior
    from softmorph_cli.filters.operations.interpolate import Interpolate
    from softmorph_cli.volume import Volume

T = TypeVar("T")


@dataclass(frozen=True, repr=False)
class Interpolation(Generic[T]):
    """Result of `interpolate`: the completed map, and what of it is invented.

    Attributes:
        image: The completed map, an array or a tensor as the input; a `Volume` if the input was a `Volume` or a path.
        filled: The invented voxels as 0 and 1, of the kind of `image` and its spatial shape: no observed slice of the
            input passes through them.
        missing: The indices of the slices that were missing, from 0.
        axis: The letter of their axis: "z", "y" or "x".
        document: The entry `interpolation` of the JSON document of `softmorph interpolate`.
        notes: Assumptions that the user should know, one sentence each.
        shortfall: If a fit is poorer than requested, the sentence that says so.
    """

    image: T
    filled: T
    missing: tuple[int, ...]
    axis: str
    document: dict[str, Any]
    notes: tuple[str, ...]
    shortfall: str | None = None

    @property
    def reached(self) -> bool:
        """Whether a fit is as good as requested; true without a fit."""
        return self.shortfall is None

    def __repr__(self) -> str:
        """Return a short text: the axis and the missing slices, without the values."""
        from softmorph_cli.completion.slices import words

        missing, count = words(list(self.missing)) or "none", self.document["invented_voxels"]
        return f"<Interpolation along {self.axis}, missing {missing}, invented voxels {count:,}>"

    def as_dict(self) -> dict[str, Any]:
        """Return the entry `interpolation` of the JSON document of `softmorph interpolate`."""
        return dict(self.document)


class Options(TypedDict, total=False):
    """The keyword arguments of `interpolate` for type checkers; `interpolate` documents them."""

    missing: str | int | Sequence[int] | None
    axis: str | None
    method: str | None
    prior: str | Path | Prior | None
    min_fit: float | None
    device: str
    threads: int | None


class PlacedOptions(Options, total=False):
    """The keyword arguments for maps with a voxel size."""

    spacing: str | None
    like: Placed | None


@overload
def interpolate(image: Array, **options: Unpack[Options]) -> Interpolation[npt.NDArray[Any]]: ...
@overload
def interpolate(image: Tensor, **options: Unpack[Options]) -> Interpolation[Tensor]: ...
@overload
def interpolate(image: Placed, **options: Unpack[PlacedOptions]) -> Interpolation[Volume]: ...
def interpolate(
    image: Image,
    *,
    missing: str | int | Sequence[int] | None = None,
    axis: str | None = None,
    spacing: str | None = None,
    like: Placed | None = None,
    method: str | None = None,
    prior: str | Path | Prior | None = None,
    min_fit: float | None = None,
    device: str = "auto",
    threads: int | None = None,
) -> Interpolation[Any]:
    """Fill missing slices of a map, or interpolate it on a finer grid; observed slices come out bit-identical.

    "logit" interpolates logit(0.02 + 0.96 p), so that a border between two slices moves and does not blur; "linear" the
    probabilities; "shape" signed distances to the border at 0.5 within slices, of which a distance of d voxels is
    mapped back to 0.5 + d, from 0 to 1; "nearest" repeats the nearest slice. Classes that exclude each other keep their
    sum. Before the first observed slice and after the last, the nearest one is repeated.

    Args:
        image: Probabilities, (Y, X) or (Z, Y, X), as an array or a tensor; a `Volume`, which may have further axes; or
            a path. It is never written to.
        missing: The missing slices, from 0: an index, several, or text such as "5:9,12" for 5 to 8 and 12; or "empty",
            for the slices between others that are 0 throughout.
        axis: The axis of the slices: "z", "y" or "x"; by default "z", of a 2D map "y".
        spacing: The grid of the result: "iso" for cubic voxels of the finest spacing, a length such as "0.5mm", or one
            for each axis, "2mm,1mm,1mm". For a `Volume` or a file.
        like: The path of an image, or a `Volume`, whose grid the result takes; outside of the map it is 0.
        method: "logit" (default), "linear", "shape" or "nearest".
        prior: A shape prior, as of `train_prior` or `softmorph prior train`, or the path of its file, in place of a
            method: it is fitted to the observed slices, and gives the others. A file may then hold labels that are
            classes of the prior; the result has a channel for each.
        min_fit: With `prior`: if its agreement with the observed slices, 2 sum min(p, q) / sum (p + q) of the
            probabilities of both, is below it, by default 0.8, a `SoftmorphWarning` says so, and `.reached` of the
            result is false.
        device: With `prior`: "cpu", "cuda" or "cuda:N"; "auto" is CUDA if there is one.
        threads: With `prior`: the number of CPU threads; None for as many as the machine allows.

    Returns:
        `Interpolation`: `.image` of the kind that was given, `.filled` with the invented voxels, `.as_dict()`.

    Raises:
        FileError: If a file cannot be read.
        InputError: If nothing is missing, fewer than two slices are observed, or an argument does not fit the map.
        UsageError: If an argument is wrong whatever the image.

    >>> import numpy as np
    >>> found = interpolate(np.array([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), missing=[1])
    >>> print(found.image[1].round(3), found.filled[:, 0])
    [0.  1.  0.5] [0. 1. 0.]
    """
    import numpy as np

    from softmorph_cli.filters.operations.interpolate import Interpolate
    from softmorph_cli.io.reading import read_grid
    from softmorph_cli.pipeline.apply_filter import perform
    from softmorph_cli.volume import Volume

    named = missing if missing is None or isinstance(missing, str) else ",".join(map(str, np.ravel(missing)))
    given = {
        "missing": named,
        "axis": axis,
        "spacing": spacing,
        "like": None if like is None or isinstance(like, Volume) else Path(like),
        "grid": _grid(like) if isinstance(like, Volume) else None,
        "method": method,
        "prior": Path(prior) if isinstance(prior, str | Path) else None,
        "learned": None if isinstance(prior, str | Path) else prior,
        "min_fit": min_fit,
        "device": device,
        "threads": threads,
    }
    chosen = Interpolate.make(given).opened(read_grid)
    volume = as_volume(image) if prior is None or not isinstance(image, str | Path) else _read(image, chosen)
    name = str(volume.source.path) if volume.source else "the map"
    _, _, result = perform(chosen, volume, name=name)
    found = result.completed
    assert found is not None
    made, mask = found.volume, found.mask
    made = replace(made, notes=(*made.notes, *found.notes))
    messages = [*result.warnings, *([] if found.shortfall is None else [found.shortfall])]
    for message in messages:
        warnings.warn(message, SoftmorphWarning, stacklevel=2)
    placed = is_placed(image)
    return Interpolation(
        made if placed else as_given(made.array, image),
        mask if placed else as_given(mask.array, image),
        tuple(found.document["missing"]),
        found.document["axis"],
        found.document,
        found.notes,
        found.shortfall,
    )


def _read(path: str | Path, chosen: Interpolate) -> Volume:
    from softmorph_cli.io.options import DEFAULT
    from softmorph_cli.pipeline.subjects import read_for

    return read_for(Path(path), DEFAULT, chosen.learned)


def _grid(volume: Volume) -> Volume:
    """Return the grid of a map: its first image."""
    first = volume.array[(0,) * len(volume.mapped_axes)]
    return replace(volume, array=first, axes=volume.spatial_axes, channels=None)
