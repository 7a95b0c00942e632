"""The options of pictures, declared once for all commands with `--preview` and all functions that draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Protocol, Self

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.system import lengths
from softmorph_cli.system.parameters import Parameter, check_all, declared, named, one_of

if TYPE_CHECKING:
    from softmorph_cli.plots.theme import Theme

PICTURES: Final = "Pictures"
PREVIEW: Final = "PATH.png|pdf|svg"
# What is drawn into; the other options of the group say how the first looks.
FILES: Final = ("preview", "report")
FORMATS: Final = ("png", "pdf", "svg")
# A pixel of the layout is a pixel of a PNG at this resolution.
BASE_DPI: Final = 144
VIEWS: Final = ("axial", "coronal", "sagittal", "z", "y", "x")
# Of a centreline; the first is the default.
COLORINGS: Final = ("certainty", "radius", "generation", "branch")
PROJECTIONS: Final = ("maximum", "mean", "slice")
# Of images in a PDF or SVG, as journals ask for.
_PRINTED: Final = 300
_DPI: Final = (20, 1200)


def _dpi(name: str, value: int) -> None:
    least, most = _DPI
    if not (isinstance(value, int | float) and least <= value <= most):
        raise UsageError(f"{named(name)} {value}: give {least} to {most} dots per inch, such as 300.")


class Placed(Protocol):
    """The geometry of a map, in memory or in a file."""

    @property
    def axes(self) -> str:
        """The letters of the axes, the spatial ones last."""

    @property
    def spacing(self) -> tuple[float, ...] | None:
        """The voxel size along each spatial axis."""

    @property
    def unit(self) -> str | None:
        """The unit of the voxel size."""

    @property
    def affine(self) -> Any:
        """The affine from array indices to world coordinates."""


@dataclass(frozen=True, kw_only=True)
class PictureOptions:
    """The options of every picture.

    Raises:
        UsageError: If a value is wrong for every picture.
    """

    panel: ClassVar = PICTURES

    light: Annotated[
        bool,
        Parameter("Of --preview: on white, as for print.", flags=("--light",), group=PICTURES),
    ] = False
    dpi: Annotated[
        int | None,
        Parameter(
            f"Of --preview: dots per inch of a PNG, and of images in a PDF or SVG. (default: {BASE_DPI}; PDF, SVG"
            f" {_PRINTED})",
            "N",
            group=PICTURES,
            check=_dpi,
        ),
    ] = None

    orientation: Annotated[
        str | None,
        Parameter(
            "Of --preview: lay the body as radiologists do (its right at the left), as neurologists do, or as the file"
            " stores it, and write the sides' letters. (default: neurological, where the file knows sides)",
            "radiological|neurological|stored",
            group=PICTURES,
            check=one_of("radiological", "neurological", "stored"),
        ),
    ] = None

    def __post_init__(self) -> None:
        """Check the values, those of a class beside this one as well."""
        check_all(self)
        if (beside := getattr(super(), "__post_init__", None)) is not None:
            beside()

    @property
    def view_names(self) -> tuple[str, ...]:
        """The planes or axes that are shown of a volume; empty for all of them."""
        return ()

    @property
    def theme(self) -> Theme:
        """The colours."""
        from softmorph_cli.plots.theme import DARK, LIGHT

        return LIGHT if self.light else DARK

    @property
    def dots_per_inch(self) -> int:
        """The resolution of a PNG, and of the images of other formats."""
        return self.dpi or BASE_DPI

    @property
    def given(self) -> list[str]:
        """The names of the options that differ from their defaults."""
        known = declared(type(self)).values()
        ours = [one for one in known if one.about.group == PICTURES and one.name not in FILES]
        return [one.name for one in ours if getattr(self, one.name) != one.default]

    def of_file(self, path: Path) -> Self:
        """Return the options for a file of a picture, with the resolution that is usual for its format."""
        return self if self.dpi or format_of(path) == "png" else replace(self, dpi=_PRINTED)


def _views(name: str, value: str) -> None:
    known = value.split(",") if isinstance(value, str) else [""]
    if not set(known) <= set(VIEWS) or len(set(known)) < len(known):
        raise UsageError(
            f"{named(name)} {value}: give some of axial, coronal, sagittal, or of the axes z, y, x, such as "
            f"{named(name, 'coronal,axial')}."
        )


def _projection(name: str, value: str) -> None:
    if value in PROJECTIONS:
        return
    try:
        lengths.parse(str(value), named(name))
    except UsageError:
        raise UsageError(
            f"{named(name)} {value}: give maximum, mean or slice, or the thickness of a slab, such as "
            f"{named(name, '10mm')} or 5vox."
        ) from None


@dataclass(frozen=True, kw_only=True)
class ViewOptions(PictureOptions):
    """The options of pictures that show a volume from several sides.

    Raises:
        UsageError: If a value is wrong for every picture.
    """

    views: Annotated[
        str | None,
        Parameter(
            "Of --preview of a volume: the planes to draw, in this order; z, y, x are the axes of the array."
            " (default: z,y,x)",
            "axial,coronal,sagittal",
            group=PICTURES,
            check=_views,
        ),
    ] = None
    projection: Annotated[
        str | None,
        Parameter(
            "Of --preview of a volume: draw the maximum or the mean along the line of sight, the slice that holds most,"
            " or the maximum of a slab around that slice. (default: maximum; of a dense map slice or mean)",
            "maximum|mean|slice|THICKNESS",
            group=PICTURES,
            check=_projection,
        ),
    ] = None
    background: Annotated[
        Path | None,
        Parameter(
            "Of --preview: draw over this image, such as the CT or the micrograph, of any values and of the same grid.",
            "IMAGE",
            group=PICTURES,
        ),
    ] = None

    @property
    def view_names(self) -> tuple[str, ...]:
        """The planes or axes that are shown of a volume; empty for all of them."""
        return tuple(self.views.split(",")) if self.views else ()

    @property
    def in_slices(self) -> bool:
        """Whether slices or slabs are asked for."""
        return self.projection is not None and self.projection not in PROJECTIONS[:2]

    def refuse_views(self, reason: str) -> None:
        """Refuse the options of a picture of a map from several sides.

        Raises:
            UsageError: If one of them is given.
        """
        for name in ("views", "projection", "background"):
            if getattr(self, name) is not None:
                raise UsageError(f"{named(name)}: {reason}; leave {named(name)} out.")

    def check_map(self, place: Placed, name: str) -> None:
        """Refuse what a picture of a map, called `name`, cannot have.

        Raises:
            InputError: If an option does not go with the map.
        """
        dims, affine = 3 if place.axes.endswith("ZYX") else 2, place.affine
        if dims == 2:
            for option in ("views", "projection"):
                if getattr(self, option) is not None:
                    raise InputError(
                        f"{name} is 2D, and {named(option)} is of volumes: leave {named(option)} out."
                    )
        known = affine is not None and dims == 3
        if self.orientation in ("radiological", "neurological") and not known:
            raise InputError(
                f"{name} does not say which sides of a body its axes go to: leave {named('orientation')} out, or give "
                f"{named('orientation', 'stored')}."
            )
        if set(self.view_names) & set(VIEWS[:3]) and not known:
            raise InputError(
                f"{name} does not say which sides of a body its axes go to: name the axes instead of planes, such as "
                f"{named('views', 'z,y')}."
            )
        if dims == 3:
            try:
                self.depths(place.spacing, place.unit)
            except InputError as error:
                raise InputError(f"{name}: {error}") from error

    def depths(self, spacing: Sequence[float] | None, unit: str | None) -> tuple[int, ...]:
        """Return the number of slices along each axis of a volume that are shown together.

        Raises:
            InputError: If the projection is a length and the size of a voxel is not known.
        """
        if not self.in_slices or self.projection is None or self.projection == "slice":
            return (1, 1, 1)
        thickness = lengths.parse(self.projection, named("projection"))
        if thickness[1] == "vox":
            return (max(1, round(thickness[0])),) * 3
        size = lengths.in_unit(thickness, unit if spacing else None)
        return tuple(max(1, round(size / side)) for side in spacing or ())


DEFAULT: Final = ViewOptions()


def format_of(path: Path) -> str:
    """Return the format of a picture that the end of its name tells; a PNG unless it is a PDF or an SVG."""
    end = path.suffix.lower().removeprefix(".")
    return end if end in FORMATS else "png"


def check_picture(option: str, path: Path | None) -> None:
    """Refuse the name of a picture that is none of a PNG, a PDF or an SVG.

    Raises:
        UsageError: If the name has another ending.
    """
    if path is not None and path.suffix.lower().removeprefix(".") not in FORMATS:
        raise UsageError(
            f"{named(option, path)}: a {option} is a PNG, a PDF or an SVG; end its name with .png, .pdf or .svg."
        )
