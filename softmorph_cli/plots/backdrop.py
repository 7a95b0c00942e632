"""The image over which a map or a centreline is drawn, such as the CT or the micrograph that it was made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.io.reading import read_image
from softmorph_cli.metrics import grid
from softmorph_cli.plots.options import ViewOptions
from softmorph_cli.plots.views import Box, View
from softmorph_cli.system.parameters import named
from softmorph_cli.volume import Volume

# Of the shown pixels, from black to white: single bright voxels and air decide nothing.
PERCENTILES: Final = (1, 99)

Grey = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Backdrop:
    """An image below a map, in its own values.

    Attributes:
        values: The image, of the shape of the map.
        words: What the image is, for the picture.
        projection: "maximum" or "mean": what is shown of it along the line of sight where a map is projected.
    """

    values: npt.NDArray[Any]
    words: str
    projection: str = "mean"

    @classmethod
    def read(cls, path: Path, volume: Volume, look: ViewOptions, reading: ReadOptions) -> Self:
        """Read the image of a file, whose grid has to be that of a map.

        Args:
            path: A file of any format that is read.
            volume: The map, without mapped axes; or with some, of which the grid counts.
            look: The options of the picture.
            reading: The options with which the map was read, of which axes and region hold for the image too.

        Raises:
            FileError: If the file cannot be read.
            InputError: If its grid differs from that of the map.
        """
        values, like = read_image(path, reading.only("space"), first=True)
        own = volume.single(0) if volume.mapped_axes else volume
        try:
            grid.on_one_grid(like, own)
        except InputError as error:
            raise InputError(f"{named('background', path)}: {error}") from error
        return cls(values, ", ".join((path.name, *like.notes)), look.projection or "mean")

    def isotropic(self, volume: Volume) -> Self:
        """Return the image on the grid of cubic voxels to which a map was interpolated.

        Args:
            volume: The map before, without mapped axes; or with some, of which the grid counts.
        """
        from softmorph_cli.filters.resample import isotropic

        low, high = float(self.values.min()), float(self.values.max())
        # Only probabilities are interpolated; shifted and scaled, an image is interpolated alike.
        scaled = (np.asarray(self.values, np.float32) - low) / ((high - low) or 1)
        own = volume.single(0) if volume.mapped_axes else volume
        values = isotropic(replace(own, array=scaled)).array * (high - low) + low
        return replace(self, values=values, words=f"{self.words}, interpolated")

    def within(self, box: Box, views: Sequence[View]) -> Behind:
        """Return what is behind a box of the map in some views, with one scale of grey for all of them.

        Raises:
            InputError: If the box reaches beyond the image, because the map was brought to another grid.
        """
        if any(part.stop > size for part, size in zip(box, self.values.shape, strict=True)):
            drawn, own = (
                " × ".join(map(str, shape)) for shape in ([part.stop for part in box], self.values.shape)
            )
            raise InputError(
                f"{named('background')}: the result is on another grid, of {drawn} voxels, than the image, of {own}: "
                "bring the image to that grid first."
            )
        seen = {view: view.oriented(self._seen(box, view)) for view in views}
        shown = np.concatenate([image.ravel() for image in seen.values()])
        low, high = (float(value) for value in np.percentile(shown, PERCENTILES))
        if high <= low:
            low, high = float(shown.min()), float(shown.max())
        projected = all(view.axis is not None and view.plane is None for view in views)
        how = f" ({self.projection} along the line of sight)" if projected else ""
        first, last = PERCENTILES
        least, most = (f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}" for value in (low, high))
        span = f"from {least} (black, percentile {first}) to {most} (white, {last})"
        words = f"over {self.words}{how}, {span}"
        return Behind(seen, low, high, words)

    def _seen(self, box: Box, view: View) -> Grey:
        values = self.values[box]
        if view.axis is None:
            return np.asarray(values, np.float64)
        part = values[(slice(None),) * view.axis + (view.part(values.shape[view.axis]),)]
        # A slab is what its caption says, a maximum.
        mean = self.projection == "mean" and view.plane is None
        made = part.mean(axis=view.axis, dtype=np.float64) if mean else part.max(axis=view.axis)
        return np.asarray(made, np.float64)


def settle(look: ViewOptions, volume: Volume, reading: ReadOptions, name: str) -> Backdrop | None:
    """Check that a picture of a map can be as its options ask, and return the image to be drawn below it, if any.

    Args:
        look: The options of the picture.
        volume: The map.
        reading: The options with which the map was read.
        name: The name of the map in messages.

    Raises:
        FileError: If the image cannot be read.
        InputError: If an option does not go with the map, or the grid of the image is another one.
    """
    look.check_map(volume, name)
    return None if look.background is None else Backdrop.read(look.background, volume, look, reading)


@dataclass(frozen=True)
class Behind:
    """What is behind the views of a map.

    Attributes:
        seen: The image in each view, in its own values.
        low: The value that is drawn black.
        high: The value that is drawn white.
        words: What the image is and how it is drawn.
    """

    seen: Mapping[View, Grey]
    low: float
    high: float
    words: str

    def image(self, view: View, rows: int, columns: int) -> Grey:
        """Return the greys of a view, from 0 to 1, in a number of rows and columns."""
        image = averaged(self.seen[view], rows, columns)
        return np.asarray(((image - self.low) / (self.high - self.low or 1.0)).clip(0, 1))


def averaged(image: Grey, height: int, width: int) -> Grey:
    """Return an image at another size: shrinking takes the mean of the pixels of a pixel, growing repeats them."""
    for axis, size in enumerate((height, width)):
        length = image.shape[axis]
        if size < length:
            starts = np.arange(size) * length // size
            counts = np.diff([*starts, length])
            image = np.add.reduceat(image, starts, axis=axis) / np.expand_dims(counts, 1 - axis)
        else:
            image = image.take((2 * np.arange(size) + 1) * length // (2 * size), axis=axis)
    return image


def blended(
    grey: Grey, colors: npt.NDArray[np.uint8], opacity: npt.NDArray[np.float64]
) -> npt.NDArray[np.uint8]:
    """Return colours, shape (rows, columns, 3), over greys from 0 to 1; `opacity` has the shape (rows, columns)."""
    share = np.asarray(opacity)[..., None]
    mixed = share * colors[..., :3] + (1 - share) * 255 * grey[..., None]
    return np.asarray(np.rint(mixed), np.uint8)
