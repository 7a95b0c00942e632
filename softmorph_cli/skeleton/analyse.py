"""Inspection of one image: its centreline is computed, traced to a graph, pruned and measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.filters.operations.skeletonize import Skeleton
from softmorph_cli.filters.settings import Progress, Settings
from softmorph_cli.io.documents import data_frame
from softmorph_cli.io.select import single
from softmorph_cli.kernels.level_sets import LevelSets, at_level
from softmorph_cli.skeleton.cavities import filled
from softmorph_cli.skeleton.curve import CurveVoxels, of_map, of_skeleton
from softmorph_cli.skeleton.export.document import document
from softmorph_cli.skeleton.export.table import branch_rows, column_names
from softmorph_cli.skeleton.frame import Frame, check_same_grid
from softmorph_cli.skeleton.graph import Quantity, SkeletonGraph, measure, path_length
from softmorph_cli.skeleton.hierarchy import parse_root, rooted
from softmorph_cli.skeleton.image_kind import MAP, SKELETON, THRESHOLDS, exact_levels
from softmorph_cli.skeleton.prune import prune_cycles, prune_spurs
from softmorph_cli.skeleton.radii import radii
from softmorph_cli.skeleton.trace import Graph, Sample, Voxels, trace
from softmorph_cli.system import machine
from softmorph_cli.system.parameters import below_one, in_shell, named, take_a_part
from softmorph_cli.system.printable import plural
from softmorph_cli.volume import Volume

if TYPE_CHECKING:
    import pandas

CYCLES: Final = ("shortest", "least-certain")
# Method of the soft skeleton whose values are measured along the centreline of a map. A nested skeleton is 0 at half of
# these voxels, as its lines lie beside the centreline.
SOFT: Final = "levels"
# If branches share more than this part of the centreline, a warning says that lengths are unreliable.
SHARED: Final = 0.1


@dataclass(frozen=True)
class Choices:
    """Parameters of an inspection.

    Attributes:
        kind: "map" if the exact centreline of the image is traced, "skeleton" if the image itself is traced.
        threshold: Threshold in [0, 1); voxels with a larger value are foreground. None for 0.5, or 0.25 for a skeleton;
            for a nested skeleton (exact at some levels) the level nearest to 0.5.
        prune: Spurs (branches with one free end) shorter than this length, in the unit of the image, are removed; 0
            removes none.
        prune_inside: Whether spurs shorter than the radius of the vessel at their junction are removed.
        prune_cycles: Which branch of every cycle is removed: "shortest", "least-certain" or None.
        levels: Number of levels of the soft skeleton whose values are measured along the centreline; 0 for no soft
            skeleton.
        root: Where the tree begins whose generations and Strahler orders are counted: "widest", the number of a branch
            or a place (x, y, z); None for no tree.
        threads: Number of CPU threads; None for as many as the machine allows.
    """

    kind: str = MAP
    threshold: float | None = None
    prune: float = 0.0
    prune_inside: bool = False
    prune_cycles: str | None = None
    levels: int = 64
    threads: int | None = None
    root: str | int | Sequence[float] | None = None

    def __post_init__(self) -> None:
        """Check that all parameters are in range.

        Raises:
            UsageError: If a parameter is out of range.
        """
        if self.kind not in THRESHOLDS:
            raise UsageError(f"{named('kind', option='as')} {self.kind}: use map or skeleton.")
        below_one("threshold", self.cut)
        if self.levels:
            Settings(SOFT, levels=self.levels)
        if not self.prune >= 0:
            raise UsageError(f"{named('prune')} {self.prune:g}: a length is at least 0.")
        if self.root is not None:
            parse_root(self.root)
        if self.prune_cycles not in (None, *CYCLES):
            raise UsageError(f"{named('prune_cycles')} {self.prune_cycles}: use {' or '.join(CYCLES)}.")

    @property
    def cut(self) -> float:
        """The threshold, or the default threshold of the kind of image if none is given."""
        return THRESHOLDS[self.kind] if self.threshold is None else self.threshold


@dataclass(frozen=True, repr=False)
class Inspection:
    """Result of an inspection: the graph of a centreline or a skeleton, with its measurements.

    Attributes:
        volume: The map, or the skeleton if no map was given; without channel or time axes.
        graph: The graph of the centreline or the skeleton.
        parameters: Parameters of the inspection by name, for the JSON and the HTML page.
        notes: Remarks on how the image was processed, one sentence each.
        warnings: Remarks on doubtful results, one sentence each.
    """

    volume: Volume
    graph: SkeletonGraph
    parameters: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Return a short text with the counts of components, branches and nodes and the length of the graph."""
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
        """Return the result as the JSON object of `softmorph inspect`, without the description of the file."""
        return {
            "parameters": {name: value for name, value in self.parameters.items() if value is not None},
            "notes": list(self.notes),
            **document(self.graph),
            "warnings": list(self.warnings),
        }

    def to_pandas(self) -> pandas.DataFrame:
        """Return a data frame with a row for each branch, the longest first, and the columns of the CSV.

        Raises:
            UsageError: If pandas is not installed.
        """
        return data_frame(branch_rows(self.graph), column_names(self.graph.frame))


# Stages of an inspection, in order; the caller reads and writes.
STAGES: Final = ("reading", "centreline", "radii", "soft skeleton", "branches", "writing")


def inspect(
    volume: Volume,
    choices: Choices | None = None,
    *,
    reference: Volume | None = None,
    progress: Callable[[Progress], None] | None = None,
    stage: Callable[[str], None] = lambda name: None,
) -> Inspection:
    """Trace the centreline of a map, or a given skeleton, and measure the branches.

    Args:
        volume: A probability map, or a skeleton.
        choices: Parameters of the inspection; None for the defaults.
        reference: The map from which a given skeleton was made; the radius and the certainty are measured on it.
        progress: Callback that is called after every sub-iteration of thinning.
        stage: Callback that receives the name of each stage, one of `STAGES`, when the stage begins.

    Raises:
        InputError: If the image has several channels, or the two images are not on one grid.
        UsageError: If a reference is given for a map.
    """
    volume = single(volume)
    levels = exact_levels(volume)
    choices, nearest = _at_level(choices or Choices(), levels)
    if reference is not None:
        if choices.kind == MAP:
            raise UsageError("a reference map goes with a skeleton: a map is its own.")
        reference = single(reference)
        check_same_grid(reference, volume)
    if choices.prune_inside and choices.kind == SKELETON and reference is None:
        raise UsageError(
            f"{named('prune', 'radius')} needs the map: add {_map_typed()}, or give a length, such as "
            f"{named('prune', '5vox')}."
        )
    soft_levels = _affordable(volume, choices.levels if choices.kind == MAP else 0)
    stage("centreline")
    find = of_map if choices.kind == MAP else of_skeleton
    curve = find(volume, choices.cut, choices.threads, progress)
    frame = Frame.of(volume)
    warnings = list(curve.warnings)
    if frame.counted != frame.suffix:
        warnings.append(f"the unit of the voxel size is unknown: lengths are in {frame.counted}.")
    if choices.kind == MAP and soft_levels < choices.levels:
        instead = f"{soft_levels} levels" if soft_levels else "no levels"
        warnings.append(
            f"the soft skeleton has {instead} instead of {choices.levels}: more would not fit into memory."
        )
    quantities: dict[str, Sample] = {}
    source = volume if choices.kind == MAP else reference
    if source is not None and len(curve.voxels):
        stage("radii")
        # A reference is cut like a map, unless the skeleton is one of its level sets.
        cut = choices.cut if choices.kind == MAP or levels is not None else THRESHOLDS[MAP]
        quantities, doubts = _of_map(source, curve, cut, frame)
        warnings += doubts
    # The soft skeleton takes most of the memory: release the filled map first.
    curve = replace(curve, image=None)
    soft = bool(((volume.array != 0) & (volume.array != 1)).any())
    if choices.kind == SKELETON and soft:
        quantities[Quantity.LEVELS if reference is not None else Quantity.CERTAINTY] = _values(volume.array)
    if soft_levels and len(curve.voxels):
        stage("soft skeleton")
        skeletonize = Skeleton(SOFT, levels=soft_levels, threads=choices.threads)
        quantities[Quantity.LEVELS] = _kept_values(skeletonize(volume.array, progress).image, curve.voxels)
    stage("branches")
    graph = trace(curve.voxels)
    pruned = _prune(graph, choices, frame, quantities)
    measured = measure(graph, frame, volume.array.shape, quantities)
    if choices.root is not None:
        measured = rooted(measured, parse_root(choices.root))
    measured = replace(measured, name=volume.source.channel if volume.source else None)
    given: Any = levels.count if isinstance(levels, LevelSets) else levels
    return Inspection(
        # The reference may come without a place: it has that of the skeleton.
        volume=volume if reference is None else volume.with_array(reference.array.astype(volume.array.dtype)),
        graph=measured,
        parameters={
            "as": choices.kind,
            "threshold": choices.cut,
            "prune": "radius" if choices.prune_inside else choices.prune or None,
            "prune_cycles": choices.prune_cycles,
            "levels": soft_levels if choices.kind == MAP and Quantity.LEVELS in quantities else given,
            "root": choices.root,
            **pruned,
        },
        notes=(*nearest, *curve.notes, *_short_spurs(measured, choices)),
        warnings=(*warnings, *_doubts(measured, level=curve.level)),
    )


def _of_map(
    source: Volume, curve: CurveVoxels, cut: float, frame: Frame
) -> tuple[dict[str, Sample], list[str]]:
    """Return samplers of the radius and the certainty, and warnings.

    A sampler is a function that returns the values of a quantity at given voxels.

    Args:
        source: The map from which the radius and the certainty are taken.
        curve: The voxels of the centreline.
        cut: The threshold at which the map has its surface.
        frame: The affine map from array indices to world coordinates.
    """
    quantities: dict[str, Sample] = {}
    warnings = []
    image = filled(source.array, cut)[0] if curve.image is None else curve.image
    radius = radii(image, cut, frame)
    if radius is None:
        warnings.append("the map has no surface inside the image, so radii are not known.")
    else:
        quantities[Quantity.RADIUS] = radius
    quantities[Quantity.CERTAINTY] = _values(source.array)
    outside = int(np.count_nonzero(quantities[Quantity.CERTAINTY](curve.voxels) <= cut))
    if curve.image is None and outside:
        warnings.append(
            f"{outside:,} of {len(curve.voxels):,} voxels of the skeleton lie where the map is not above {cut:g}: "
            "their radius counts as 0."
        )
    return quantities, warnings


def _doubts(graph: SkeletonGraph, *, level: bool) -> list[str]:
    """Return warnings about a graph whose lengths are unreliable, such as that of a solid object.

    `level` states whether the graph is that of one level set of a nested skeleton, which changes the advice.
    """
    warnings = []
    shared = _shared(graph)
    if shared > SHARED:
        why = (
            "what loops and cavities of higher levels leave filled is many voxels here: make the skeleton with "
            f"fewer {named('levels')}, or with {named('hard', True)}."
            if level
            else "this object is no network of curves, or its branches are as short as they are thick."
        )
        warnings.append(
            f"{shared:.0%} of the centreline is shared by branches within junctions, and counts in the length of each, "
            f"so that lengths are too large: {why}"
        )
    if graph.nodes and not graph.branches:
        count = len(graph.nodes)
        voxels = "a single voxel" if count == 1 else f"{count:,} single voxels"
        warnings.append(f"the centreline is {voxels}: it has no branch, and so no length.")
    return warnings


def _map_typed() -> str:
    return "--map MAP" if in_shell() else "map=MAP"


def _at_level(
    choices: Choices, levels: LevelSets | Literal["exact"] | None
) -> tuple[Choices, tuple[str, ...]]:
    """Return the parameters with the threshold moved to the nearest level of a nested skeleton, and a note on that."""
    if levels is None:
        return choices, ()
    threshold = THRESHOLDS[MAP] if choices.threshold is None else choices.threshold
    used, notes = at_level(threshold, levels)
    return replace(choices, threshold=used), notes


def _affordable(volume: Volume, levels: int) -> int:
    """Return how many levels of the soft skeleton, at most `levels`, fit into memory; 0 if no soft skeleton fits.

    Raises:
        InputError: If not even the computation of the centreline fits into memory.
    """
    allowed = machine.memory()
    if allowed is None:
        return levels
    # The map, a copy without cavities, the mask and the copy of ITK.
    base = 2 * volume.array.nbytes + 3 * volume.array.size
    for count in (levels, *(fewer for fewer in (64, 32, 16, 8) if fewer < levels)):
        each = Settings(SOFT, levels=count or 8).bytes_per_voxel(volume.array.itemsize)
        if base + volume.array.size * each <= allowed:
            return count
    least = base + volume.array.size * 4
    if least > allowed:
        raise InputError(
            f"inspecting this map needs about {least / 2**30:.1f} GiB, and "
            f"{allowed / 2**30:.1f} GiB may be used: {take_a_part()}."
        )
    return 0


def _prune(graph: Graph, choices: Choices, frame: Frame, quantities: Mapping[str, Sample]) -> dict[str, int]:
    """Prune a graph in place; return the numbers of removed cycles and spurs under the names of the JSON."""
    length = path_length(frame)
    pruned = {}
    if choices.prune_cycles == "shortest":
        pruned["pruned_cycles"] = prune_cycles(graph, length)
    elif choices.prune_cycles == "least-certain":
        if Quantity.CERTAINTY not in quantities:
            raise UsageError(
                f"{named('prune_cycles', 'least-certain')} needs soft values: add {_map_typed()}, or take "
                f"{named('prune_cycles', 'shortest')}."
            )
        certainty = quantities[Quantity.CERTAINTY]
        pruned["pruned_cycles"] = prune_cycles(graph, lambda path: float(certainty(path).mean()))
    # Spurs after cycles: an opened cycle may leave a spur.
    if choices.prune_inside:
        if Quantity.RADIUS not in quantities:
            raise InputError(
                f"no radii are known here: give {named('prune')} a length, such as {named('prune', '5vox')}."
            )
        radius = quantities[Quantity.RADIUS]
        pruned["pruned_spurs"] = prune_spurs(graph, lambda junction: float(radius(junction)[0]), length)
    elif choices.prune:
        pruned["pruned_spurs"] = prune_spurs(graph, lambda junction: choices.prune, length)
    return pruned


def _values(array: npt.NDArray[Any]) -> Sample:
    return lambda voxels: array[tuple(voxels.T)].astype(np.float64)


def _kept_values(image: npt.NDArray[Any], voxels: Voxels) -> Sample:
    """Return a sampler of an image that stores only its values at the given voxels (in C order), not the image."""
    shape = image.shape
    at = np.ravel_multi_index(tuple(voxels.T), shape)
    values = image.ravel()[at].astype(np.float64)

    def sample(wanted: Voxels) -> npt.NDArray[np.float64]:
        rows = np.searchsorted(at, np.ravel_multi_index(tuple(wanted.T), shape))
        return np.asarray(values[rows])

    return sample


def _shared(graph: SkeletonGraph) -> float:
    """Return the fraction of the inner voxels of branches that repeat a voxel of another branch; 0 without voxels."""
    inner = [branch.voxels[1:-1] for branch in graph.branches if len(branch.voxels) > 2]
    if not inner:
        return 0.0
    flat = np.ravel_multi_index(tuple(np.concatenate(inner).T), graph.shape)
    return 1 - len(np.unique(flat)) / len(flat)


def _short_spurs(graph: SkeletonGraph, choices: Choices) -> list[str]:
    """Return a note on spurs that are shorter than the vessel radius at their junction, unless spurs were pruned."""
    if choices.prune_inside or choices.prune or not graph.branches:
        return []
    if Quantity.RADIUS not in graph.branches[0].along:
        return []
    inside = sum(b.type == "spur" for b in graph.branches)
    if inside == 0:
        return []
    ends = (
        "1 spur ends inside the vessel it leaves"
        if inside == 1
        else f"{inside:,} spurs end inside their vessel"
    )
    return [f"{ends}: {named('prune', 'radius')} takes such spurs off."]
