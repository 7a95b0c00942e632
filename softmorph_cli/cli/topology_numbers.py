"""softmorph topology numbers."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from softmorph_cli.cli import answer, filtering, report
from softmorph_cli.cli.command import note
from softmorph_cli.cli.progress import reporting
from softmorph_cli.cli.topology_options import MaskOptions, NumbersOutput
from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.io import documents
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.plots.options import check_picture
from softmorph_cli.system.units import sign

if TYPE_CHECKING:
    import numpy.typing as npt

    from softmorph_cli.skeleton.frame import Frame
    from softmorph_cli.topology import persistence
    from softmorph_cli.topology.betti import Betti
    from softmorph_cli.volume import Volume

# Names of homology classes by dimension, for each number of spatial axes.
NAMES: Final = {2: ("components", "holes"), 3: ("components", "loops", "cavities")}
_ONE: Final = {"components": "component", "holes": "hole", "loops": "loop", "cavities": "cavity"}
# Equal steps of the threshold at which the JSON has Betti curves.
_STEPS = 100
_SHOWN: Final = (0.1, 0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True)
class _Found:
    """Betti numbers and bars of one channel, or of a map without channels."""

    name: str
    betti: Betti
    bars: persistence.Bars | None


def numbers(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="Probability map, or a mask.", show_default=False)
    ],
    *,
    mask_options: MaskOptions,
    output: NumbersOutput,
    reading: ReadOptions,
) -> None:
    """Betti numbers of a map: at a threshold, along all thresholds, and its longest persistence bars.

    A bar is a component, loop or cavity that exists between two thresholds: as the threshold is lowered, it appears at
    its birth, and at its death it meets an older component or is filled. Birth - death is its persistence; short bars
    are mostly noise. Voxel indices are those of the array, z first; world coordinates those of the file.
    """
    from softmorph_cli.pipeline import describe

    _check(source, output, reading)
    started = time.perf_counter()
    volume = filtering.read_volume(source, reading)
    mask_options, nearest = mask_options.at_level(volume)
    volume, rounded, shown = (volume, (), _SHOWN) if output.no_bars else _at_levels(volume)
    notes = [*volume.notes, *nearest, *rounded]
    which = describe.which(volume, reading.time)
    read_seconds = time.perf_counter() - started
    started = time.perf_counter()
    try:
        with reporting(quiet=output.quiet) as progress:
            parts = _named_parts(volume)
            if output.plot is not None and len(parts) > 1:
                from softmorph_cli.io import select

                held, choose = select.several(volume) or ("", "")
                raise InputError(f"it holds {held}, and --plot draws one: {choose}.")
            found = []
            for number, (name, array) in enumerate(parts):
                if progress is not None:
                    progress.stage(name or "counting", number, len(parts))
                found.append(_count_one(name, array, mask_options, output))
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    from softmorph_cli.skeleton.frame import Frame
    from softmorph_cli.topology import components

    frame = Frame.of(volume)
    foreground, background = components.connectivities(volume.spatial_dims, mask_options.connectivity)
    content = {
        "input": documents.described(volume) | {"read_with": reading.as_json},
        "parameters": {
            "threshold": mask_options.threshold,
            "connectivity": foreground,
            "background_connectivity": background,
        },
        "classes": [_as_document(one, volume, frame, output.top) for one in found],
    }
    seconds = {"read": read_seconds, "topology": time.perf_counter() - started}
    if output.plot is not None:
        _draw(found[0], volume, mask_options.threshold, output, f"{source.name}{which}")
    answer.give(documents.document("topology numbers", content, seconds=seconds, notes=notes), output)
    if not output.quiet:
        for message in notes:
            note(message)
    if not (output.json or output.quiet):
        cut = reading.region is not None
        _show(found, volume, frame, mask_options.threshold, output, f"{source}{which}", shown=shown, cut=cut)


def _check(source: Path, output: NumbersOutput, reading: ReadOptions) -> None:
    if output.top < 0:
        raise UsageError(f"--top {output.top}: give a number of bars, or 0 for all.")
    if output.plot is not None and output.no_bars:
        raise UsageError("--plot draws bars: leave out --no-bars.")
    check_picture("plot", output.plot)
    outputs = [path for path in (output.plot, output.json_file) if path is not None]
    filtering.check_side_outputs(source, reading.files, outputs, None, force=output.force)


def _named_parts(volume: Volume) -> list[tuple[str, npt.NDArray[Any]]]:
    """Return the channels and times of a map with their names, or the map itself without a name if it has none."""
    import numpy as np

    from softmorph_cli.io.select import part_name

    shape = volume.array.shape[: -volume.spatial_dims]
    return [(part_name(volume, index, 2), volume.array[index]) for index in np.ndindex(shape)]


def _at_levels(volume: Volume) -> tuple[Volume, tuple[str, ...], tuple[float, ...]]:
    """Return a nested skeleton with values rounded up to its levels, a note, and the thresholds of the table.

    Between its levels the skeleton has components and loops that the map does not have.
    """
    from softmorph_cli.kernels.level_sets import LevelSets
    from softmorph_cli.skeleton import image_kind

    levels = image_kind.exact_levels(volume)
    if not isinstance(levels, LevelSets):
        return volume, (), _SHOWN
    note_on_levels = (
        f"bars are those of the {levels.count} levels of this nested skeleton: values are rounded up to them."
    )
    shown = tuple(dict.fromkeys(levels.nearest(threshold) for threshold in _SHOWN))
    return replace(volume, array=levels.rounded_up(volume.array)), (note_on_levels,), shown


def _count_one(
    name: str, array: npt.NDArray[Any], mask_options: MaskOptions, output: NumbersOutput
) -> _Found:
    from softmorph_cli.topology import persistence
    from softmorph_cli.topology.betti import Betti, betti_numbers

    threshold, connectivity = mask_options.threshold, mask_options.connectivity
    # The bars at a threshold below 0 are those at 0, but then all voxels are foreground.
    if output.no_bars or threshold < 0:
        betti = betti_numbers(array > threshold, connectivity)
        return _Found(name, betti, None if output.no_bars else persistence.bars(array, connectivity))
    found = persistence.bars(array, connectivity)
    # A comparison with the array rounds the threshold to the array's type.
    return _Found(name, Betti.of(found.betti(array.dtype.type(threshold)), found.connectivity), found)


def _as_document(one: _Found, volume: Volume, frame: Frame, top: int) -> dict[str, Any]:
    names = NAMES[volume.spatial_dims]
    document: dict[str, Any] = {"class": one.name or None, **one.betti.as_dict()}
    if one.bars is None:
        return document
    thresholds = [k / _STEPS for k in range(_STEPS + 1)]
    curves = one.bars.curves(thresholds)
    document["curves"] = {"thresholds": thresholds} | {f"b{k}": c.tolist() for k, c in enumerate(curves)}
    document["bars"] = {name: len(bars) for name, bars in zip(names, one.bars.diagrams, strict=True)}
    document["longest_bars"] = [
        {
            "dimension": dimension,
            "birth": birth,
            "death": death,
            "length": birth - death,
            "birth_voxel": list(born),
            "death_voxel": list(died) if died else None,
            "birth_world": _world(frame, born),
            "death_world": _world(frame, died) if died else None,
        }
        for dimension, birth, death, born, died in _longest(one.bars, top)
    ]
    document["world_unit"] = frame.suffix
    return document


_Bar = tuple[int, float, float, tuple[int, ...], tuple[int, ...] | None]


def _longest(bars: persistence.Bars, top: int) -> list[_Bar]:
    """Return the longest bars: dimension, birth, death, and the voxels of both; None for a death at 0."""
    every: list[_Bar] = []
    for dimension, diagram in enumerate(bars.diagrams):
        part = slice(top or None)
        for birth, death, born, died in zip(
            diagram.birth[part].tolist(),
            diagram.death[part].tolist(),
            diagram.birth_at[part].tolist(),
            diagram.death_at[part].tolist(),
            strict=True,
        ):
            every.append((dimension, birth, death, tuple(born), tuple(died) if died[0] >= 0 else None))
    every.sort(key=lambda bar: bar[2] - bar[1])
    return every[: top or None]


def _world(frame: Frame, index: tuple[int, ...]) -> list[float]:
    import numpy as np

    place: list[float] = frame.world(np.array(index)).tolist()
    return place


def _in_world(frame: Frame) -> bool:
    """Return whether a map has world coordinates; without a voxel size they would be reversed indices."""
    return frame.unit is not None


def _places(frame: Frame, index: tuple[int, ...] | None) -> list[str]:
    """Return the table cells for one end (birth or death) of a bar; the index None is that of a death at 0."""
    if index is None:
        return ["-", *(["-"] if _in_world(frame) else [])]
    world = [" ".join(f"{place:.4g}" for place in _world(frame, index))] if _in_world(frame) else []
    return [" ".join(map(str, index)), *world]


def _draw(one: _Found, volume: Volume, threshold: float, output: NumbersOutput, title: str) -> None:
    from softmorph_cli.plots.charts.persistence import draw_persistence

    assert one.bars is not None
    assert output.plot is not None
    words = f"above {threshold:g} (shaded): {counted(one.betti)}; {one.betti.connectivity}-connected"
    draw_persistence(
        one.bars,
        NAMES[volume.spatial_dims],
        threshold,
        title=f"softmorph topology numbers {title}",
        subtitle=words,
    ).save(output.plot, force=output.force)


def counted(betti: Betti) -> str:
    """Return "1 component, 2 loops, 0 cavities"."""
    names = NAMES[len(betti.numbers)]
    return ", ".join(
        f"{number:,} {_ONE[name] if number == 1 else name}"
        for number, name in zip(betti.numbers, names, strict=True)
    )


def _show(
    found: list[_Found],
    volume: Volume,
    frame: Frame,
    threshold: float,
    output: NumbersOutput,
    title: str,
    *,
    shown: tuple[float, ...],
    cut: bool,
) -> None:
    names = NAMES[volume.spatial_dims]
    lines = [
        [f"{name} (b{k})", *(f"{one.betti.numbers[k]:,}" for one in found)] for k, name in enumerate(names)
    ]
    lines.append(["Euler characteristic", *(f"{one.betti.euler:,}" for one in found)])
    heads = ", ".join(f"{level:g}" for level in shown)
    for k, name in enumerate(names):
        curves = [one.bars.curves(shown)[k] for one in found if one.bars is not None]
        if curves:
            lines.append([f"{name} above {heads}", *(" ".join(f"{n:,}" for n in curve) for curve in curves)])
    from softmorph_cli.topology import components

    foreground, background = components.connectivities(volume.spatial_dims, found[0].betti.connectivity)
    footer = f"{foreground}-connected, the background {background}-connected"
    columns = ("", *(one.name or f"above {threshold:g}" for one in found))
    report.table(
        f"{title}, above {threshold:g}", columns, lines, err=False, footer=footer, figures=len(found)
    )
    for one in found:
        if one.bars is None:
            continue
        rows = [
            [
                _ONE[names[dimension]],
                f"{birth:.4g}",
                *_places(frame, born),
                f"{death:.4g}",
                *_places(frame, died),
                f"{birth - death:.4g}",
            ]
            for dimension, birth, death, born, died in _longest(one.bars, output.top)
        ]
        left = sum(map(len, one.bars.diagrams)) - len(rows)
        axes = " ".join(volume.spatial_axes.lower())
        places = [f"at\n({axes})", *([f"in {sign(frame.suffix)}\n(x y z)"] if _in_world(frame) else [])]
        counted_from = "voxels count from the corner of --region" if cut else ""
        more = f"{left:,} more bar{'s' if left > 1 else ''}; --top 0 shows all" if left else ""
        columns = ("", "birth", *places, "death", *places, "persistence")
        report.table(
            f"longest bars{' of ' + one.name if one.name else ''}",
            columns,
            rows,
            err=False,
            footer="; ".join(part for part in (more, counted_from) if part) if rows else "none: the map is 0",
            figures=3 + 2 * len(places),
        )
