"""The options of pictures, declared once for all commands with `--preview` and all functions that draw."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Self

from softmorph_cli.errors import UsageError
from softmorph_cli.system.parameters import Parameter, check_all, named

if TYPE_CHECKING:
    from softmorph_cli.plots.theme import Theme

PICTURES: Final = "Pictures"
PREVIEW: Final = "PATH.png|pdf|svg"
FORMATS: Final = ("png", "pdf", "svg")
# A pixel of the layout is a pixel of a PNG at this resolution.
BASE_DPI: Final = 144
# Of images in a PDF or SVG, as journals ask for.
_PRINTED: Final = 300
_DPI: Final = (20, 1200)


def _dpi(name: str, value: int) -> None:
    least, most = _DPI
    if not least <= value <= most:
        raise UsageError(f"{named(name)} {value}: give {least} to {most} dots per inch, such as 300.")


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

    def __post_init__(self) -> None:
        """Check the values, those of a class beside this one as well."""
        check_all(self)
        if (beside := getattr(super(), "__post_init__", None)) is not None:
            beside()

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
        # A command may hold other options in the same bundle.
        known = (one for base in type(self).__mro__ if base in PICTURE_OPTIONS for one in fields(base))
        return [one.name for one in known if getattr(self, one.name) != one.default]

    def of_file(self, path: Path) -> Self:
        """Return the options for a file of a picture, with the resolution that is usual for its format."""
        return self if self.dpi or format_of(path) == "png" else replace(self, dpi=_PRINTED)


PICTURE_OPTIONS: Final = (PictureOptions,)
DEFAULT: Final = PictureOptions()


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
            f"--{option} {path}: a {option} is a PNG, a PDF or an SVG; end its name with .png, .pdf or .svg."
        )
