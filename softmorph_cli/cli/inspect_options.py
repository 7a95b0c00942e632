"""The options of softmorph inspect, in bundles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from softmorph_cli.cli import common
from softmorph_cli.plots.options import COLORINGS, PICTURES, PREVIEW, ViewOptions
from softmorph_cli.system.parameters import Parameter, one_of

TABLE, _TEXTS, _IMAGES = "The table", "Exports", "Images"


def _text(what: str) -> Parameter:
    return Parameter(what, "PATH|-", group=_TEXTS)


def _image(what: str) -> Parameter:
    return Parameter(what, "OUT", group=_IMAGES)


@dataclass(frozen=True)
class Curve:
    """The options of `softmorph inspect` for the voxels of the curve (skeleton) and the pruning of branches."""

    panel: ClassVar = "The curve"

    kind: Annotated[
        str | None,
        Parameter(
            "Whether IN is a map or a skeleton. (default: skeleton if softmorph wrote it as one, else map)",
            "map|skeleton",
            flags=("--as",),
        ),
    ] = None
    map_file: Annotated[
        Path | None,
        Parameter(
            "The map that the skeleton IN was made from, for radii and certainty.", "MAP", flags=("--map",)
        ),
    ] = None
    threshold: Annotated[
        float | None,
        Parameter(
            "A voxel above it is foreground; of a nested skeleton the nearest level is taken. (default: 0.5, of"
            " a skeleton by another method 0.25)",
            "P",
        ),
    ] = None
    resample: Annotated[
        str | None,
        Parameter(
            "iso: first interpolate a map to cubic voxels of the finest spacing; images are on that grid.",
            "iso",
        ),
    ] = None
    prune: Annotated[
        str | None,
        Parameter(
            "Remove spurs shorter than this, such as 2mm, 300um or 4vox, one after another; radius: those"
            " shorter than the vessel's radius where they leave it. (default: none)",
            "LENGTH|radius",
        ),
    ] = None
    prune_cycles: Annotated[
        str | None,
        Parameter("Remove this branch of every cycle. (default: cycles stay)", "shortest|least-certain"),
    ] = None
    root: Annotated[
        str | None,
        Parameter(
            "Where the tree begins, for generations, Strahler orders and angles: the end of the widest branch of each"
            " component, the node nearest to a place, or a branch by its number. (default: no tree)",
            "widest|x,y,z|BRANCH",
        ),
    ] = None
    levels: Annotated[
        int,
        Parameter(
            "Level sets of the soft skeleton that is measured along the curve: 8, 16, 32, 64; 0 for none. Fewer"
            " take less memory.",
            "N",
        ),
    ] = 64
    threads: Annotated[int | None, common.THREADS] = None


@dataclass(frozen=True)
class InspectOutput(ViewOptions):
    """The options of `softmorph inspect` for output files; a text with PATH - replaces the table on stdout."""

    json: Annotated[Path | None, _text("All numbers as one JSON object.")] = None
    csv: Annotated[Path | None, _text("A row for each branch, units in the names.")] = None
    summary: Annotated[Path | None, _text("A row for each file and class (CSV).")] = None
    components: Annotated[Path | None, _text("A row for each component (CSV).")] = None
    graphml: Annotated[Path | None, _text("The graph, cycles and paths kept.")] = None
    swc: Annotated[Path | None, _text("A tree with radii, for neuron tools.")] = None
    obj: Annotated[Path | None, _text("Polylines in world coordinates.")] = None
    shapes: Annotated[Path | None, _text("Branches as napari's table of shapes (CSV), in voxels.")] = None
    skeleton: Annotated[Path | None, _image("The curve's voxels, 0 and 1.")] = None
    branch_labels: Annotated[Path | None, _image("Each voxel of the curve as the number of its branch.")] = (
        None
    )
    tagged: Annotated[Path | None, _image("The curve: 1 end point, 2 junction, 3 in between.")] = None
    preview: Annotated[Path | None, Parameter("Draw the skeleton over the map.", PREVIEW, group=PICTURES)] = (
        None
    )
    color: Annotated[
        str,
        Parameter(
            "Of --preview: colour the curve by its soft value, the vessel's radius, the generation from --root, or by"
            " branch.",
            "|".join(COLORINGS),
            group=PICTURES,
            check=one_of(*COLORINGS),
        ),
    ] = COLORINGS[0]
    report: Annotated[
        Path | None,
        Parameter(
            "One page with pictures, tables and histograms that opens without a network.",
            "PATH.html",
            group=PICTURES,
        ),
    ] = None
    force: Annotated[bool, common.FORCE] = False

    @property
    def texts(self) -> dict[str, Path]:
        """The requested exports as text: PATH by name of the format."""
        names = ("json", "csv", "summary", "components", "graphml", "swc", "obj", "shapes")
        every = {name: getattr(self, name) for name in names}
        return {name: path for name, path in every.items() if path is not None}

    @property
    def images(self) -> dict[str, Path]:
        """The requested images: PATH by name of the image."""
        every = {name: getattr(self, name) for name in ("skeleton", "branch_labels", "tagged")}
        return {name: path for name, path in every.items() if path is not None}

    @property
    def others(self) -> dict[str, Path]:
        """The paths of the picture and of the HTML page, if requested."""
        every = {name: getattr(self, name) for name in ("preview", "report")}
        return {name: path for name, path in every.items() if path is not None}
