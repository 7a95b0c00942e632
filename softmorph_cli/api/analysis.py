"""The public functions that measure: statistics, Betti numbers, the graph of a skeleton, metrics against a reference.

Each function takes a NumPy array, a torch tensor, a `Volume` or the path of a file. Lengths are in the unit of the
voxel size: an array has none unless `spacing`, one number for each axis in array order, and `unit` ("mm", "um" or "nm")
are given. An array of floating-point numbers holds probabilities in [0, 1]; an array of booleans, or of the integers 0
and 1, is a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from softmorph_cli.api.images import (
    Image,
    advising_read,
    as_volume,
    at_level,
    is_placed,
    named_after,
    numbers,
    refuse_grid,
)
from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.io.options import DEFAULT, ReadOptions
from softmorph_cli.skeleton.tracing import Tracing
from softmorph_cli.system import lengths
from softmorph_cli.system.parameters import at_least, below_one, named

if TYPE_CHECKING:
    from softmorph_cli.metrics import evaluation, evaluation_inputs
    from softmorph_cli.metrics.statistics import Statistics
    from softmorph_cli.skeleton import analyse
    from softmorph_cli.topology.betti import Betti

__all__ = ["betti_numbers", "evaluate", "inspect", "statistics"]


def statistics(
    image: Image, *, spacing: Sequence[float] | None = None, unit: str | None = None
) -> Statistics:
    """Return the statistics of a probability map: its expected volume and how far it may be off, entropy, components.

    Args:
        image: Probabilities (Y, X) or (Z, Y, X) as an array or a tensor; a `Volume`, whose channels and times have
            statistics of their own; or a path.
        spacing: Of an array: voxel size along each axis, in array order.
        unit: Of `spacing`: "mm", "um" or "nm"; volumes are in it, else in voxels.

    Returns:
        `Statistics`: expected volume, its standard deviation for independent and for comonotone voxels, quantiles, a
        histogram, entropy; `per_channel`, `.to_pandas()` (a row for each channel) and `.as_dict()`.

    Raises:
        FileError: If a file cannot be read.
        InputError: If the image is no probability map, or the spacing does not fit it.
        UsageError: If a spacing is given for a `Volume` or a file.

    >>> import numpy as np
    >>> found = statistics(np.array([[0.5, 1.0, 0.0]]), spacing=(2.0, 1.0), unit="mm")
    >>> found
    <Statistics: volume 3 mm^2, std 1 (independent) to 1 (comonotone), 1 component above 0.5>
    >>> found.expected_volume, found.volume_unit, found.entropy_bits
    (3.0, 'mm^2', 1.0)
    """
    from softmorph_cli.metrics.statistics import Statistics

    volume = as_volume(image, spacing, unit)
    return Statistics.of(
        volume.array, spacing=volume.spacing, unit=volume.unit, spatial_dims=volume.spatial_dims
    )


def betti_numbers(image: Image, threshold: float = 0.5, connectivity: int | None = None) -> Betti:
    """Return how many components, loops and cavities a mask has, or what is above a threshold of a map.

    Outside the image is background. Computed by counting (Euler characteristic and Alexander duality).

    Args:
        image: A mask or probabilities, (Y, X) or (Z, Y, X), as an array or a tensor; a `Volume`; or a path.
        threshold: In [0, 1): a voxel above it is foreground. Of a file that is a nested skeleton the nearest level is
            taken.
        connectivity: Of the foreground: 8 (default) or 4 in 2D, 26 (default) or 6 in 3D; the background has the other.

    Returns:
        `Betti`: `b0` components, `b1` loops (in 2D holes), `b2` cavities (None in 2D), `euler`, `connectivity`.

    Raises:
        FileError: If a file cannot be read.
        InputError: If the image is no map or holds several, or there is no such connectivity.
        UsageError: If the threshold is out of range.

    >>> import numpy as np
    >>> ring = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)
    >>> betti_numbers(ring)
    Betti(b0=1, b1=1, b2=None, euler=0, connectivity=8)
    >>> betti_numbers(0.6 * ring, threshold=0.7).numbers
    (0, 0)
    """
    from softmorph_cli.io import select
    from softmorph_cli.topology.betti import betti_numbers as count

    below_one("threshold", threshold)
    volume = as_volume(image)
    with named_after(volume):
        volume = select.single(volume)
        cut, _ = at_level(threshold, volume)
        return count(volume.array > cut, connectivity)


def inspect(
    image: Image,
    *,
    map: Image | None = None,
    kind: Literal["map", "skeleton"] | None = None,
    threshold: float | None = None,
    prune: float | str | None = None,
    prune_cycles: Literal["shortest", "least-certain"] | None = None,
    levels: int = 64,
    resample: Literal["iso"] | None = None,
    root: str | int | Sequence[float] | None = None,
    spacing: Sequence[float] | None = None,
    unit: str | None = None,
    threads: int | None = None,
) -> analyse.Inspection:
    """Trace the centreline of a map, or a given skeleton, and measure its branches.

    A map's exact centreline is traced, that of `skeletonize(hard=True)` with cavities filled; the map's values along
    it say how certain each branch is.

    Args:
        image: One map or skeleton, (Y, X) or (Z, Y, X), as an array or a tensor; a `Volume`; or a path.
        map: Of a skeleton: the map it came from, for radii and certainty; an image of any kind on the same grid.
        kind: "map" or "skeleton"; by default "skeleton" for a file that softmorph wrote as one, else "map".
        threshold: In [0, 1): a voxel above it is foreground; default 0.5, of a soft skeleton 0.25, of a nested
            skeleton's file the nearest level.
        prune: Take off spurs shorter than this: a number in the map's unit (in voxels where it has none), a length
            such as "2mm" or "4vox", or "radius" for those that end inside the vessel they leave.
        prune_cycles: Take this branch out of every cycle.
        levels: Level sets of the soft skeleton that is measured along the curve: 8, 16, 32, 64; 0 for none.
        resample: "iso" to interpolate a map to cubic voxels first.
        root: Where the tree begins whose generations, Strahler orders and angles are measured: "widest" (in each
            component the end of its widest branch), the number of a branch, or a place (x, y, z) in the map's unit.
        spacing: Of an array: voxel size along each axis, in array order.
        unit: Of `spacing`: "mm", "um" or "nm".
        threads: On the CPU; None for as many as the machine allows.

    Returns:
        `Inspection`: `.graph` with its nodes, branches and components, `.notes`, `.warnings`; `.to_pandas()` (a row for
        each branch) and `.as_dict()`.

    Raises:
        FileError: If a file cannot be read.
        InputError: If the image is no map or holds several, or `map` does not lie on its grid.
        UsageError: If an argument is wrong whatever the image, or two do not go together.

    >>> import numpy as np
    >>> line = np.zeros((5, 12)); line[2, 1:11] = 0.75
    >>> found = inspect(line, spacing=(0.5, 0.5), unit="mm", levels=0)
    >>> found
    <Inspection: 1 component, 1 branch, 0 cycles, 2 end points, 0 junctions, length 4.5 mm>
    >>> found.graph.branches[0].spread("certainty")
    Spread(mean=0.75, min=0.75, max=0.75)
    """
    tracing = Tracing(
        kind=kind,
        threshold=threshold,
        prune=prune,
        prune_cycles=prune_cycles,
        levels=levels,
        resample=resample,
        root=root,
        threads=threads,
    )
    volume = as_volume(image, spacing, unit)
    sizeless = not is_placed(image) and None in (volume.spacing, volume.unit)
    if sizeless and tracing.length is not None and tracing.length[1] != "vox":
        sizes = (1.0,) * volume.spatial_dims
        raise InputError(
            f"prune={prune!r} is a length, and an array has no voxel size: pass spacing and unit, such as "
            f"spacing={sizes}, unit='mm', or give the length in voxels, such as prune='4vox'."
        )
    with named_after(volume):
        about = tracing.settle(volume)
        reference = None
        if map is not None:
            tracing.check_reference()
            # An array has the grid of its skeleton.
            reference = as_volume(map) if is_placed(map) else as_volume(map, volume.spacing, volume.unit)
        found = tracing.run(volume, reference)
    return replace(found, notes=(*about, *found.notes))


def evaluate(
    prediction: Image,
    reference: Image,
    *,
    metrics: Sequence[str] | str | None = None,
    label: int | str | Sequence[int | str] | None = None,
    threshold: float | None = None,
    tolerance: float | str | None = None,
    connectivity: int | None = None,
    all_components: bool = False,
    method: str = "nested",
    iterations: int | None = None,
    expensive: bool = False,
    patches: int | None = None,
    seed: int = 0,
    same_grid: bool = False,
    spacing: Sequence[float] | None = None,
    unit: str | None = None,
    threads: int | None = None,
) -> evaluation.Evaluated:
    """Return how well a prediction agrees with a reference: overlap, centrelines, topology, graphs, surfaces.

    `softmorph evaluate --explain` lists the definition and the paper of each metric.

    Args:
        prediction: Probabilities, a mask, or labels (integers, 0 is the background), (Y, X) or (Z, Y, X), as an array
            or a tensor; a `Volume`, which may have channels, one for each class; or a path.
        reference: What is true, on the same grid: a mask, labels, or the same.
        metrics: Names such as "dice" or ["cldice", "hd95_mm"]; None for all but the expensive ones.
        label: Compare these classes only, by number or name; None for all but 0.
        threshold: In [0, 1): a voxel of the prediction above it is foreground, the reference is cut at 0.5; None for
            0.5; of classes that exclude each other the most probable one, of nnU-Net's regions the last painted.
        tolerance: How far apart surfaces and centrelines still agree: a number in the map's unit (in voxels where
            it has none) or a length such as "2mm"; None for 1 mm, 1 voxel where the unit is smaller or unknown.
        connectivity: Of the foreground: 8 (default) or 4 in 2D, 26 (default) or 6 in 3D.
        all_components: Whether `tree_length_detected`, `branches_detected` and `leakage` measure all of the prediction,
            and not its largest component alone as the airway challenges do.
        method: How soft skeletons are made, for `soft_cldice`.
        iterations: Of soft skeletons; None until nothing changes.
        expensive: Whether the metrics that take long are computed too.
        patches: Also Betti errors of so many random patches.
        seed: Which patches.
        same_grid: Whether equal shapes suffice, whatever the voxel sizes and positions.
        spacing: Of arrays: voxel size along each axis, in array order.
        unit: Of `spacing`: "mm", "um" or "nm"; names of lengths end in it, such as `hd95_mm`.
        threads: On the CPU; None for as many as the machine allows.

    Returns:
        `Evaluated`: `.metrics()` of the only class, or of one of several, by name, None where a value is not defined;
        `.rows` with their notes, `.parameters`; `.to_pandas()` (a row for each class) and `.as_dict()`.

    Raises:
        FileError: If a file cannot be read.
        InputError: If the two cannot be compared: their shapes, places or classes differ.
        UsageError: If an argument is wrong whatever the images.

    >>> import numpy as np
    >>> truth = np.zeros((8, 8), bool); truth[2:6, 1:7] = True
    >>> found = evaluate(0.9 * np.roll(truth, 1, axis=0), truth, metrics=["dice", "betti_0_error"])
    >>> found
    <Evaluated: dice 0.75, betti_0_error 0>
    >>> found.metrics()["dice"]
    0.75
    """
    order = order_of(
        (metrics,) if isinstance(metrics, str) else metrics,
        (label,) if isinstance(label, int | str) else label,
        threshold,
        tolerance,
        same_grid=same_grid,
        connectivity=connectivity,
        all_components=all_components,
        method=method,
        iterations=iterations,
        expensive=expensive,
        patches=patches,
        seed=seed,
        threads=threads,
    )
    if all(is_placed(one) for one in (prediction, reference)):
        refuse_grid(spacing=spacing, unit=unit)
    grid = (spacing, unit)
    mine = _opened(prediction, order, grid, reference=reference)
    return order.of_opened(mine, _opened(reference, order, grid))


def order_of(
    metrics: Sequence[str] | None,
    label: Sequence[int | str] | None,
    threshold: float | None,
    tolerance: float | str | None,
    *,
    same_grid: bool,
    reading: ReadOptions = DEFAULT,
    strict: bool = True,
    error_map: bool = False,
    keep_pair: bool = False,
    **settings: Any,
) -> evaluation.Evaluation:
    """Return the parameters of a comparison as an `Evaluation`, for `evaluate` and the command alike.

    Args:
        metrics: Names of the metrics; None for all metrics that the settings include.
        label: Labels of the classes to compare; None for all classes.
        threshold: Threshold of the prediction; None for 0.5, and for the most probable of exclusive classes.
        tolerance: Tolerance of the surface metric `nsd`.
        same_grid: Whether equal shapes are enough, whatever voxel sizes and positions the headers state.
        reading: Options for reading the prediction.
        strict: Whether a label that neither file contains is an error.
        error_map: Whether a label map of the topological errors is made too.
        keep_pair: Whether the two maps are kept in the result.
        **settings: Further fields of `MetricSettings`.

    Raises:
        UsageError: If a value is out of range.
    """
    from softmorph_cli.metrics import evaluation

    for one in label or ():
        if not isinstance(one, str):
            at_least(0)("label", one)
    return evaluation.Evaluation(
        settings=evaluation.MetricSettings(threshold=0.5 if threshold is None else threshold, **settings),
        tolerance=_tolerance(tolerance),
        names=None if metrics is None else tuple(metrics),
        labels=tuple(label or ()),
        same_grid=same_grid,
        reading=reading,
        strict=strict,
        error_map=error_map,
        keep_pair=keep_pair,
        argmax=threshold is None,
    )


def _tolerance(tolerance: float | str | None) -> tuple[float, str | None] | None:
    if tolerance is None:
        return None
    if isinstance(tolerance, str):
        return lengths.parse(tolerance, named("tolerance", option="distance-tolerance"))
    if not 0 <= tolerance < float("inf"):
        raise UsageError(f"{named('tolerance')} {tolerance:g}: a distance is at least 0.")
    return tolerance, None


def _opened(
    image: Image,
    order: evaluation.Evaluation,
    grid: tuple[Sequence[float] | None, str | None],
    *,
    reference: Image | None = None,
) -> evaluation_inputs.Opened:
    """Open an image as the prediction of a comparison if `reference` is given, otherwise as the reference."""
    from softmorph_cli.metrics import evaluation_inputs
    from softmorph_cli.volume import Volume

    if isinstance(image, str | Path):
        path = Path(image)
        with advising_read(path):
            if reference is None:
                labelled = bool(order.labels)
                return evaluation_inputs.open_reference(
                    path, order.reading, labelled=labelled, argmax=order.argmax
                )
            beside = Path(reference) if isinstance(reference, str | Path) else None
            return evaluation_inputs.open_prediction(path, order.reading, beside, argmax=order.argmax)
    name = "the reference" if reference is None else "the prediction"
    if isinstance(image, Volume):
        return evaluation_inputs.open_array(str(image.source.path) if image.source else name, image)
    labels = numbers(image)
    if labels.dtype.kind not in "iu":
        return evaluation_inputs.open_array(name, as_volume(image, *grid))
    if labels.size and labels.min() < 0:
        raise InputError(f"{name}: labels are integers from 0, not {labels.min()}.")
    return evaluation_inputs.open_array(name, (labels, as_volume(labels > 0, *grid)))
