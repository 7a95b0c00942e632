"""The public function that draws maps, results and skeletons as PNG, PDF or SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from softmorph_cli.api.images import Image, as_volume, is_placed, numbers
from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.io.options import DEFAULT
from softmorph_cli.system.parameters import one_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from softmorph_cli.plots.preview import Backdrop
    from softmorph_cli.skeleton.analyse import Inspection
    from softmorph_cli.volume import Volume

__all__ = ["draw"]


def draw(
    image: Image | Inspection,
    path: str | Path,
    *,
    result: Image | None = None,
    title: str = "",
    color: Literal["certainty", "radius", "generation", "branch"] = "certainty",
    background: str | Path | npt.ArrayLike | None = None,
    views: str | None = None,
    projection: str | None = None,
    orientation: Literal["radiological", "neurological", "stored"] | None = None,
    light: bool = False,
    dpi: int | None = None,
    spacing: Sequence[float] | None = None,
    unit: str | None = None,
    force: bool = False,
) -> None:
    """Draw a map, a map beside the result of a filter, or the skeleton of an inspection, as `--preview` does.

    In a PDF and an SVG lines and letters are drawn as such; only maps and images consist of pixels.

    Args:
        image: Probabilities (Y, X) or (Z, Y, X) as an array or a tensor; a `Volume`; a path; or what `inspect` returns,
            of which the skeleton is drawn over the map.
        path: The file to write; it ends in .png, .pdf or .svg.
        result: Of a map: the result of a filter, of the same shape, that is shown beside it.
        title: The first line of the picture.
        color: Of an inspection: colour the curve by its soft value ("certainty"), by the vessel's radius, by the
            generation (`inspect` with `root`), or by branch.
        background: An image of any values that is shown below, such as the CT or the micrograph: an array of the shape
            of the map, or a path.
        views: Of a volume: the planes to draw, such as "axial,coronal", or axes of the array, such as "z,y".
        projection: Of a volume: "maximum", "mean", "slice" (the one that holds most), or the thickness of a slab around
            that slice, such as "10mm" or "5vox".
        orientation: "radiological" shows the right of the body at the left, "neurological" at the right, "stored" as
            the file stores it; the letters of the sides are written.
        light: Draw on white, as for print.
        dpi: Dots per inch of a PNG (144 by default), and of images in a PDF or SVG (300 by default).
        spacing: Of an array: voxel size along each axis, in array order.
        unit: Of `spacing`: "mm", "um" or "nm".
        force: Whether an existing file may be replaced.

    Raises:
        FileError: If `path` exists and `force` is False, or a file cannot be read or written.
        InputError: If the images do not go together, or an option does not go with them.
        UsageError: If an option is wrong for every image.

    >>> import numpy as np, softmorph_cli
    >>> bar = np.zeros((20, 60)); bar[8:12, 5:55] = 0.9
    >>> softmorph_cli.draw(bar, "bar.svg", result=softmorph_cli.skeletonize(bar, hard=True), light=True)
    >>> found = softmorph_cli.inspect(bar, spacing=(0.5, 0.5), unit="um")
    >>> softmorph_cli.draw(found, "bar.pdf", color="radius", background=np.random.rand(20, 60))
    """
    from softmorph_cli.plots.options import COLORINGS, ViewOptions, check_picture
    from softmorph_cli.plots.preview import preview, settle
    from softmorph_cli.skeleton.analyse import Inspection

    path = Path(path)
    check_picture("path", path)
    one_of(*COLORINGS)("color", color)
    file = Path(background) if isinstance(background, str | Path) else None
    look = ViewOptions(
        light=light,
        dpi=dpi,
        orientation=orientation,
        views=views,
        projection=projection,
        background=file,
    ).of_file(path)
    if isinstance(image, Inspection):
        if result is not None or spacing is not None or unit is not None:
            raise UsageError(
                "result, spacing and unit are for maps; an inspection has its own: leave them out."
            )
        volume = image.volume
    else:
        if color != "certainty":
            raise UsageError("color is of a skeleton: pass what inspect returns, or leave color out.")
        volume = as_volume(image, spacing, unit)
    backdrop: Backdrop | None = settle(look, volume, DEFAULT, "the image")
    if background is not None and not isinstance(background, str | Path):
        backdrop = _given(background, volume, projection)
    if isinstance(image, Inspection):
        from softmorph_cli.plots.graph_preview import preview_graph

        drawn = preview_graph(volume, image.graph, title=title, look=look, backdrop=backdrop, color=color)
        drawn.save(path, force=force)
        return
    own = (None, None) if is_placed(result) else (spacing, unit)
    after = None if result is None else as_volume(result, *own)
    preview(volume, after, path, title=title, force=force, look=look, backdrop=backdrop)


def _given(background: npt.ArrayLike, volume: Volume, projection: str | None) -> Backdrop:
    """Return an array as what is drawn below a map."""
    import numpy as np

    from softmorph_cli.plots.preview import Backdrop

    with np.errstate(over="ignore"):  # to infinity, which is refused
        values = np.asarray(numbers(background), np.float32)
    shape = volume.array.shape[-volume.spatial_dims :]
    if values.shape != shape:
        raise InputError(
            f"background has shape {values.shape} and the map {shape}: give an image of the map's shape."
        )
    if not np.isfinite(values).all():
        raise InputError("background holds values that are no finite numbers; replace them first.")
    return Backdrop(values, "the image", projection or "mean")
