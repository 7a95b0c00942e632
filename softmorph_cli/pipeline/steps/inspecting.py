"""The step `inspect`: the branches, components and cases of a skeleton or a map between two steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

from softmorph_cli.filters.filter import CHAIN, Filter
from softmorph_cli.pipeline.steps.measuring import Measurable, Measured, Measuring, Table
from softmorph_cli.skeleton.tracing import CurveOptions, Tracing
from softmorph_cli.system.parameters import Parameter
from softmorph_cli.system.printable import plural
from softmorph_cli.system.units import sign

if TYPE_CHECKING:
    from softmorph_cli.skeleton import analyse
    from softmorph_cli.volume import Volume

# The tables by the name of their option.
TABLES: Final = {"csv": "branches", "summary": "cases", "components": "components"}


def _file(what: str) -> Parameter:
    return Parameter(f"Of a chain: write a row for each {what}.", "PATH.csv")


@dataclass(frozen=True, kw_only=True)
class Inspect(CurveOptions, Measuring):
    """The centreline of the map between two steps, or the skeleton that the step before has made."""

    csv: Annotated[Path | None, _file("branch")] = None
    summary: Annotated[Path | None, _file("class")] = None
    components: Annotated[Path | None, _file("component")] = None

    operation: ClassVar = "inspect"
    help: ClassVar = "The branches of the skeleton that the step before has made, or of the map's centreline."
    examples: ClassVar = ()

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            UsageError: If a parameter is invalid for any image.
        """
        Filter.__post_init__(self)
        assert self.tracing is not None

    @property
    def tracing(self) -> Tracing:
        """How the centreline is traced."""
        return Tracing(**{name: getattr(self, name) for name in CurveOptions.__dataclass_fields__})

    @classmethod
    def table_names(cls) -> tuple[str, ...]:
        """Return the names of the tables."""
        return tuple(TABLES.values())

    @property
    def outputs(self) -> dict[str, Path]:
        """The files of the tables."""
        given = {table: getattr(self, option) for option, table in TABLES.items()}
        return {table: path for table, path in given.items() if path is not None}

    def measure(self, given: Measurable) -> Measured:
        """Trace and measure each class of the map; radii and certainty of a skeleton are those of its map."""
        from softmorph_cli.plots.graph_preview import thumbnails
        from softmorph_cli.skeleton import export

        found: list[analyse.Inspection] = []
        notes: list[str] = []
        origins = None if given.origin is None else iter(classes_of(given.origin))
        for image in classes_of(given.volume):
            tracing = self.tracing
            tracing.settle(image)
            origin = None if origins is None else next(origins)
            one = tracing.run(image, None if tracing.of_map else origin, given.progress, place=CHAIN)
            found.append(one)
            notes += one.notes
        tables = {
            table: Table(
                export.cases.header(option, found[0].graph),
                [row for one in found for row in _rows(option, one)],
                found[0].graph.frame.suffix,
            )
            for option, table in TABLES.items()
        }
        return Measured(
            tables,
            _document(found),
            _words(found),
            tuple(dict.fromkeys(notes)),
            tuple(dict.fromkeys(warning for one in found for warning in one.warnings)),
            thumbnails(found[0].volume, found[0].graph) if given.pictures else {},
            tuple(found) if given.page else (),
        )


def classes_of(volume: Volume) -> Iterator[Volume]:
    """Yield the single image of a volume, or the image of each class that it holds.

    Raises:
        InputError: If it holds several images that are no classes, such as times.
    """
    from softmorph_cli.io import select
    from softmorph_cli.io.nnunet import classes

    axis, source = volume.class_axis(), volume.source
    if axis is None:
        yield select.single(volume)
        return
    labels = classes(volume).labels if len(volume.mapped_axes) == 1 else ()
    for k in range(volume.array.shape[axis]):
        if 0 in labels and labels[k] == 0:
            continue  # the background
        index = tuple(k if letter == axis else 0 for letter in range(len(volume.mapped_axes)))
        name = select.part_name(volume, index, least=2)
        named = None if source is None else replace(source, channel=name)
        yield replace(volume.single(k), source=named)


def _rows(option: str, found: analyse.Inspection) -> list[dict[str, Any]]:
    from softmorph_cli.skeleton import export

    rows = export.cases.rows(option, Path(), found.graph, found.warnings)
    return [{name: value for name, value in row.items() if name != "file"} for row in rows]


def _document(found: list[analyse.Inspection]) -> dict[str, Any]:
    from softmorph_cli.skeleton import export

    cases = [
        {
            **({"class": one.graph.name} if one.graph.name else {}),
            "parameters": {name: value for name, value in one.parameters.items() if value is not None},
            **export.document(one.graph)["graph"],
        }
        for one in found
    ]
    return {"cases": cases}


def _words(found: list[analyse.Inspection]) -> str:
    length = sum(one.graph.length for one in found)
    branches = plural(sum(len(one.graph.branches) for one in found), "branch")
    return f"{branches}, {length:.5g} {sign(found[0].graph.frame.suffix)}"
