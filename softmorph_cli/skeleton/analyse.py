"""Inspect one image: find its curve, trace it, measure it, and say what a person should know about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.filters.operations import Skeleton
from softmorph_cli.filters.settings import Progress, Settings
from softmorph_cli.kernels.level_sets import Levels, LevelSets, at_level
from softmorph_cli.skeleton.cavities import filled
from softmorph_cli.skeleton.curve import of_map, of_skeleton
from softmorph_cli.skeleton.export.document import document
from softmorph_cli.skeleton.export.rows import columns
from softmorph_cli.skeleton.frame import Frame
from softmorph_cli.skeleton.graph import CERTAINTY, LEVELS, RADIUS, SkeletonGraph, measure, path_length
from softmorph_cli.skeleton.kind import MAP, SKELETON, THRESHOLDS, exact_levels, fitting, single
from softmorph_cli.skeleton.prune import prune_cycles, prune_spurs
from softmorph_cli.skeleton.radii import radii
from softmorph_cli.skeleton.trace import Sample, Voxels, trace
from softmorph_cli.system import machine
from softmorph_cli.system.data_frame import data_frame
from softmorph_cli.system.parameters import in_shell, named, take_a_part
from softmorph_cli.system.printable import plural
from softmorph_cli.volume import Volume

if TYPE_CHECKING:
    import pandas

CYCLES: Final = ("shortest", "least-certain")
# The method of the soft skeleton whose values are measured along a map's centreline. A nested one is 0 at half of that
# centreline's voxels: its lines lie beside it, held by those of the levels above.
SOFT: Final = "levels"
# More than this share of the centreline within junctions, and lengths mean little.
SHARED: Final = 0.1


@dataclass(frozen=True)
class Choices:
    """What to look at, and what to leave out.

    Attributes:
        kind: "map" (a probability map, whose exact centreline is traced) or "skeleton" (a file that is one).
        threshold: A voxel above it belongs to the curve's object; None for 0.5, of a skeleton that is not exact at
            its levels 0.25.
        prune: Spurs shorter than this go, in the frame's unit; 0 for none.
        prune_inside: Whether spurs go whose tip lies inside the vessel they leave: shorter than its radius.
        prune_cycles: "shortest" or "least-certain": which branch of every cycle goes; None for none.
        levels: Level sets of the soft skeleton whose values are measured along the curve; 0 for none.
        threads: On the CPU; None for as many as the machine allows.
    """

    kind: str = MAP
    threshold: float | None = None
    prune: float = 0.0
    prune_inside: bool = False
    prune_cycles: str | None = None
    levels: int = 64
    threads: int | None = None

    def __post_init__(self) -> None:
        """Refuse what is wrong whatever the image.

        Raises:
            UsageError: If a value is out of range.
        """
        if self.kind not in THRESHOLDS:
            raise UsageError(f"{named('kind', option='as')} {self.kind}: use map or skeleton.")
        if not 0 <= self.cut < 1:
            raise UsageError(f"{named('threshold')} {self.cut:g}: it must be at least 0 and below 1.")
        if self.levels:
            Settings(SOFT, levels=self.levels)
        if not self.prune >= 0:
            raise UsageError(f"{named('prune')} {self.prune:g}: a length is at least 0.")
        if self.prune_cycles not in (None, *CYCLES):
            raise UsageError(f"{named('prune_cycles')} {self.prune_cycles}: use {' or '.join(CYCLES)}.")

    @property
    def cut(self) -> float:
        """The threshold in force."""
        return THRESHOLDS[self.kind] if self.threshold is None else self.threshold


@dataclass(frozen=True, repr=False)
class Inspection:
    """What was found in one image.

    Attributes:
        volume: The map; of a skeleton file without a map, the file itself. Two or three axes, nothing mapped.
        graph: The graph of its curve.
        parameters: What was asked for, by name, for the JSON and the page.
        notes: What was decided, one sentence each.
        warnings: What a person should know about the result, one sentence each.
    """

    volume: Volume
    graph: SkeletonGraph
    parameters: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return what the graph holds."""
        graph = self.graph
        parts = (
            (len(graph.components), "component"),
            (len(graph.branches), "branch"),
            (graph.cycles, "cycle"),
            (len(graph.end_points), "end point"),
            (len(graph.junctions), "junction"),
        )
        counts = ", ".join(plural(number, name) for number, name in parts)
        return f"<Inspection: {counts}, length {graph.length:.4g} {graph.frame.suffix}>"

    def as_dict(self) -> dict[str, Any]:
        """Return it as `softmorph inspect` tells it in JSON, the file it was read from aside."""
        return {
            "parameters": {name: value for name, value in self.parameters.items() if value is not None},
            "notes": list(self.notes),
            **document(self.graph),
            "warnings": list(self.warnings),
        }

    def to_pandas(self) -> pandas.DataFrame:
        """Return a row for each branch, the longest first; units are in the names of the columns, as in the CSV.

        Raises:
            UsageError: If pandas is not installed.
        """
        asked = columns(self.graph.frame)
        return data_frame(
            [{name: ask(branch) for name, ask in asked.items()} for branch in self.graph.branches], [*asked]
        )


# What a long inspection goes through, in order; reading and writing are the caller's.
STAGES: Final = ("reading", "centreline", "radii", "soft skeleton", "branches", "writing")


def inspect(
    volume: Volume,
    choices: Choices | None = None,
    *,
    reference: Volume | None = None,
    progress: Callable[[Progress], None] | None = None,
    stage: Callable[[str], None] = lambda name: None,
) -> Inspection:
    """Trace and measure the curve in a map, or a curve that is there already.

    Args:
        volume: A probability map, or a skeleton.
        choices: What to look at.
        reference: Of a skeleton, the map it came from: it brings radii and certainty.
        progress: Called after every sub-iteration of thinning.
        stage: Called with the name of what begins, one of `STAGES`.

    Raises:
        InputError: If the image holds several channels, or the two do not fit each other.
        UsageError: If a reference is given for a map.
    """
    volume = single(volume)
    exact = exact_levels(volume)
    choices, nearest = _at_level(choices or Choices(), exact)
    if reference is not None:
        if choices.kind == MAP:
            raise UsageError("a reference map goes with a skeleton: a map is its own.")
        reference = fitting(single(reference), volume)
    if choices.prune_inside and choices.kind == SKELETON and reference is None:
        raise UsageError(
            f"{named('prune', 'radius')} needs the map: add {_map_typed()}, or give a length, such as "
            f"{named('prune', '5vox')}."
        )
    wanted = choices.levels if choices.kind == MAP else 0
    levels = _affordable(volume, wanted)
    stage("centreline")
    find = of_map if choices.kind == MAP else of_skeleton
    found = find(volume, choices.cut, choices.threads, progress)
    source = volume if choices.kind == MAP else reference
    quantities: dict[str, Sample] = {}
    frame = Frame.of(volume)
    warnings = list(found.warnings)
    if frame.counted != frame.suffix:
        warnings.append(f"the unit of the voxel size is unknown: lengths are in {frame.counted}.")
    if levels < wanted:
        instead = f"{levels} levels" if levels else "no levels"
        warnings.append(
            f"the soft skeleton has {instead} instead of {choices.levels}: more would not fit into memory."
        )
    if source is not None and len(found.voxels):
        stage("radii")
        # A reference is cut where a map is, or where the skeleton is that of a level of it.
        cut = choices.cut if choices.kind == MAP or exact is not None else THRESHOLDS[MAP]
        radius = radii(filled(source.array, cut)[0] if found.image is None else found.image, cut, frame)
        if radius is None:
            warnings.append("the map has no surface inside the image, so radii are not known.")
        else:
            quantities[RADIUS] = radius
        quantities[CERTAINTY] = _at(source.array)
        outside = int(np.count_nonzero(quantities[CERTAINTY](found.voxels) <= cut))
        if choices.kind == SKELETON and outside:
            warnings.append(
                f"{outside:,} of {len(found.voxels):,} voxels of the skeleton lie where the map is not above {cut:g}: "
                "their radius counts as 0."
            )
    # The copy without cavities is not needed any more, and the soft skeleton takes most of the memory.
    found = replace(found, image=None)
    if choices.kind == SKELETON and not found.binary:
        quantities[LEVELS if reference is not None else CERTAINTY] = _at(volume.array)
    if choices.kind == MAP and levels and len(found.voxels):
        stage("soft skeleton")
        soft = Skeleton(SOFT, levels=levels, threads=choices.threads)
        quantities[LEVELS] = _sampled(soft(volume.array, progress).image, found.voxels)
    stage("branches")
    graph = trace(found.voxels)
    gone = _prune(graph, choices, frame, quantities)
    measured = measure(graph, frame, volume.array.shape, quantities)
    measured = replace(measured, name=volume.source.channel if volume.source else None)
    shared = _shared(measured)
    if shared > SHARED:
        why = (
            "what loops and cavities of higher levels leave filled is many voxels here: make the skeleton with "
            f"fewer {named('levels')}, or with {named('hard', True)}."
            if found.level
            else "this object is no network of curves."
        )
        warnings.append(
            f"branches run together within junctions along {shared:.0%} of the centreline, and each of them counts "
            f"that length: {why}"
        )
    if measured.nodes and not measured.branches:
        count = len(measured.nodes)
        what = "a single voxel" if count == 1 else f"{count:,} single voxels"
        warnings.append(f"the centreline is {what}: it has no branch, and so no length.")
    return Inspection(
        # The map's values at the skeleton's place: a map may come without one.
        volume=volume if reference is None else volume.with_array(reference.array.astype(volume.array.dtype)),
        graph=measured,
        parameters={
            "as": choices.kind,
            "threshold": choices.cut,
            "prune": "radius" if choices.prune_inside else choices.prune or None,
            "prune_cycles": choices.prune_cycles,
            "levels": levels if LEVELS in quantities and choices.kind == MAP else _count(exact),
            **gone,
        },
        notes=(*nearest, *found.notes, *_remarks(measured, choices)),
        warnings=tuple(warnings),
    )


def _map_typed() -> str:
    return "--map MAP" if in_shell() else "map=MAP"


def _at_level(
    choices: Choices, exact: LevelSets | Literal["exact"] | None
) -> tuple[Choices, tuple[str, ...]]:
    """Return choices whose threshold is a level of a nested skeleton, and what is to be said of that."""
    if exact is None:
        return choices, ()
    asked = THRESHOLDS[MAP] if choices.threshold is None else choices.threshold
    used, told = at_level(asked, exact)
    return replace(choices, threshold=used), told


def _affordable(volume: Volume, levels: int) -> int:
    """Return as many of these levels as fit into memory, 0 if none do.

    Raises:
        InputError: If not even the centreline fits.
    """
    allowed = machine.memory()
    if allowed is None:
        return levels
    # The map, a copy without its cavities, the mask and what ITK makes of it.
    base = 2 * volume.array.nbytes + 3 * volume.array.size
    for count in (levels, *(fewer for fewer in (64, 32, 16, 8) if fewer < levels)):
        if (
            base
            + volume.array.size * Settings(SOFT, levels=count or 8).bytes_per_voxel(volume.array.itemsize)
            <= allowed
        ):
            return count
    if base + volume.array.size * 4 > allowed:
        raise InputError(
            f"inspecting this map needs about {(base + 4 * volume.array.size) / 2**30:.1f} GiB, and "
            f"{allowed / 2**30:.1f} GiB may be used: {take_a_part()}."
        )
    return 0


def _count(exact: LevelSets | Literal["exact"] | None) -> Levels | None:
    return exact.count if isinstance(exact, LevelSets) else exact


def _prune(graph: Any, choices: Choices, frame: Frame, quantities: Mapping[str, Sample]) -> dict[str, int]:
    """Prune a graph as chosen; return how much went, by name."""
    length = path_length(frame)
    gone = {}
    if choices.prune_cycles == "shortest":
        gone["pruned_cycles"] = prune_cycles(graph, length)
    elif choices.prune_cycles == "least-certain":
        if CERTAINTY not in quantities:
            raise UsageError(
                f"{named('prune_cycles', 'least-certain')} needs soft values: add {_map_typed()}, or take "
                f"{named('prune_cycles', 'shortest')}."
            )
        certainty = quantities[CERTAINTY]
        gone["pruned_cycles"] = prune_cycles(graph, lambda path: float(certainty(path).mean()))
    # Cycles first: what is left of one may be a spur.
    if choices.prune_inside:
        if RADIUS not in quantities:
            raise InputError(
                f"no radii are known here: give {named('prune')} a length, such as {named('prune', '5vox')}."
            )
        inside = quantities[RADIUS]
        gone["pruned_spurs"] = prune_spurs(graph, lambda fork: float(inside(fork)[0]), length)
    elif choices.prune:
        gone["pruned_spurs"] = prune_spurs(graph, lambda fork: choices.prune, length)
    return gone


def _at(array: npt.NDArray[Any]) -> Sample:
    return lambda voxels: array[tuple(voxels.T)].astype(np.float64)


def _sampled(image: npt.NDArray[Any], voxels: Voxels) -> Sample:
    """Keep an image's values at some voxels, and let the image go."""
    at = np.ravel_multi_index(tuple(voxels.T), image.shape)
    values = image.ravel()[at].astype(np.float64)
    shape = image.shape

    def ask(wanted: Voxels) -> npt.NDArray[np.float64]:
        # `argwhere` gave the voxels in C order, so their numbers are sorted.
        found: npt.NDArray[np.float64] = values[
            np.searchsorted(at, np.ravel_multi_index(tuple(wanted.T), shape))
        ]
        return found

    return ask


def _shared(measured: SkeletonGraph) -> float:
    """Return how many voxels of paths lie on other paths too, their ends aside, as a share of all voxels.

    Paths that are all ends share none.
    """
    inner = [branch.voxels[1:-1] for branch in measured.branches if len(branch.voxels) > 2]
    if not inner:
        return 0.0
    flat = np.ravel_multi_index(tuple(np.concatenate(inner).T), measured.shape)
    return 1 - len(np.unique(flat)) / len(flat)


def _remarks(measured: SkeletonGraph, choices: Choices) -> list[str]:
    if (
        choices.prune_inside
        or choices.prune
        or not measured.branches
        or RADIUS not in measured.branches[0].along
    ):
        return []
    # Nodes are numbered from 1 on; a path begins at the first of its two.
    inside = sum(
        b.length < b.along[RADIUS][0 if measured.nodes[b.nodes[0] - 1].degree > 1 else -1]
        for b in measured.branches
        if b.kind == "spur"
    )
    if inside == 0:
        return []
    ends = (
        "1 spur ends inside the vessel it leaves"
        if inside == 1
        else f"{inside:,} spurs end inside their vessel"
    )
    return [f"{ends}: {named('prune', 'radius')} takes such spurs off."]
