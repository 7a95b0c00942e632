"""The fields of the JSON documents of all commands: each is declared once, with its type and its meaning.

The reference in docs/ is made of these declarations, and the tests compare with them every document that they read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Field:
    """A field of an object.

    Attributes:
        kind: Type of the value: "text", "integer", "number", "flag" (true or false), "any" (an object or list whose
            content the meaning describes), the name of an object in `OBJECTS`, or "list of" one of these. Several are
            divided by " or ", "null" among them.
        meaning: What the value says, with its unit.
    """

    kind: str
    meaning: str


Fields = Mapping[str, Field]


def _fields(**known: tuple[str, str]) -> dict[str, Field]:
    return {name: Field(*one) for name, one in known.items()}


# {unit} in a name stands for mm, um, nm, ..., or for voxels or pixels where the size of a voxel is unknown.
UNIT: Final = "{unit}"


def _lengths(**known: str) -> dict[str, Field]:
    return {f"{name}_{UNIT}": Field("number or null", meaning) for name, meaning in known.items()}


_SPREAD: Final = _fields(
    mean=("number", "Mean, weighted by length."),
    min=("number", "Smallest value."),
    max=("number", "Largest value."),
)
_CASE: Final = ("text", "Name of the case: that of its files without the suffix.")
_LABEL: Final = ("integer", "Number of the class in label maps.")
_CLASS: Final = ("text or null", "Name of the class or channel; null if it has none.")
_DICE: Final = ("number or null", "Dice of the hidden slices, mean over the maps.")

OBJECTS: Final[Mapping[str, Fields]] = {
    "file": _fields(
        path=("text", "Path of the file or folder, as it was typed."),
        format=("text or null", "Name of the file's format."),
        shape=("list of integer", "Voxels along each axis, in array order."),
        axes=("text or null", "Letter of each axis, in array order: T, C, Z, Y, X."),
        spacing=(
            "list of number or null",
            "Size of a voxel along each spatial axis, in array order, in `unit`.",
        ),
        unit=("text or null", "Unit of `spacing`: mm, um, nm, ...; null if the file does not say."),
        dtype=("text or null", "Type of the stored numbers."),
        channel=("text or null", "Name of the channel that was read, of several."),
        channels=("list of text", "Names of the channels."),
        labels=("any", "Of a label map: number of each class by its name."),
        read_with=("any", "Options of reading that were given, by name."),
    ),
    "seconds": _fields(
        total=("number", "Wall-clock time of all stages."),
        read=("number", "Time of reading the input."),
        filter=("number", "Time of the filters."),
        write=("number", "Time of writing the output."),
        measure=("number", "Time of measuring."),
        inspect=("number", "Time of tracing and measuring the skeleton."),
        evaluate=("number", "Time of comparing."),
        topology=("number", "Time of counting."),
        repair=("number", "Time of the repair."),
        train=("number", "Time of the training."),
        fit=("number", "Time of the fit."),
        other=("number", "Time of everything but the fit."),
        processing=("number", "Sum of the times of all files, which may run at once."),
        compile=("number", "Time of compiling."),
    ),
    "error": _fields(
        message=("text", "The sentence that is printed on stderr; of several the first."),
        exit_code=("integer", "The exit status; of the whole run only."),
        kind=("text", "The exit status in a word; of the whole run only."),
    ),
    "statistics": _fields(
        sum=("number", "Expected number of foreground voxels."),
        expected_volume=("number", "Expected volume (2D: area), in `volume_unit`."),
        volume_std=("number", "The same as `volume_std_independent`."),
        volume_std_independent=("number", "Standard deviation of the volume if voxels are independent."),
        volume_std_comonotone=(
            "number",
            "Standard deviation of the volume if one threshold decides for all voxels.",
        ),
        volume_quantiles=("quantiles", "Quantiles of the volume if one threshold decides for all voxels."),
        volume_unit=("text", "Unit of volumes: mm^3, um^2, ..., or voxels, pixels."),
        mean=("number", "Mean value."),
        min=("number", "Smallest value."),
        max=("number", "Largest value."),
        histogram=("histogram", "Voxels by value."),
        entropy_bits=("number", "Entropy of the map, summed over independent voxels, in bits."),
        voxels_above_half=("integer", "Voxels above 0.5."),
        components_above_half=("integer", "Connected components of the voxels above 0.5."),
        connectivity=("integer", "Neighbours of a voxel that connect it."),
        index=("list of integer", "Index of the channel along the axes in front."),
        per_channel=("list of statistics", "The same of each channel, where there are several."),
        cases=("list of graph", "Of a step inspect, in place of the above: the graph of each class."),
    ),
    "quantiles": _fields(
        q05=("number", "Volume that is exceeded with probability 0.95."),
        q50=("number", "Median volume."),
        q95=("number", "Volume that is exceeded with probability 0.05."),
    ),
    "histogram": _fields(
        edges=("list of number", "Edges of the bins."), counts=("list of integer", "Voxels in each bin.")
    ),
    "step": _fields(
        operation=("text", "Name of the operation."),
        method=("text or null", "How the binary filter was made soft."),
        parameters=("any", "Parameters in force, by name."),
        iterations=(
            "integer or null",
            "Iterations (of repair: steps, of simplify: rounds of moves) that were done.",
        ),
        stop_reason=(
            "text or null",
            "Why it stopped: iterations, stable, tolerance, max_iterations, reached, stuck.",
        ),
        radius_reached=("list of number or null", "Of --radius: what whole voxels give along each axis."),
        radius_unit=("text or null", "Unit of `radius_reached`."),
        seconds=("seconds", "Time of the step."),
        after=("statistics", "Statistics of the map after the step, of several steps."),
        tiles=("tiles", "How a map larger than memory was cut."),
        interpolation=(
            "any",
            "Of interpolate: the slices that were missing, and how many voxels were invented.",
        ),
        measured=("statistics", "Of stats or inspect: what was measured."),
        reached=("flag", "Of repair and simplify: whether what was asked for is reached."),
        best_iteration=("integer", "Of repair: the step whose map was kept; 0 is the input."),
        change=("change", "Of repair and simplify: how much it changed."),
        certificate=("certificate", "Of repair: the Betti numbers before and after."),
        short_bars=("short_bars", "Of simplify: the bars below the persistence, as the file stores the map."),
    ),
    "tiles": _fields(
        shape=("list of integer", "Voxels of the map along each axis."),
        tile=("list of integer", "Voxels of a tile along each axis."),
        halo=("list of integer", "Voxels that are read around a tile along each axis."),
        count=("integer", "Number of tiles."),
        pass_length=("integer or null", "Iterations between two exchanges; null if there is one pass."),
        peak_bytes=("integer", "Memory of a process, at most."),
        scratch_bytes=("integer", "Disk space between passes, at a guess."),
        estimated_seconds=("number", "Time, at a guess."),
        workers=("integer", "Processes."),
        threads=("integer", "Threads of each process."),
    ),
    "change": _fields(
        sum_abs=("number", "Sum of the absolute changes of all voxels."),
        max_abs=("number", "Largest change of a voxel."),
        mean_squared=("number", "Mean squared change."),
        voxels_flipped=("list of integer", "Voxels that crossed the threshold, of each channel."),
    ),
    "graph": _fields(
        components=("integer", "Connected components."),
        cycles=("integer", "Independent cycles."),
        end_points=("integer", "Nodes with one branch."),
        junctions=("integer", "Nodes with three or more branches."),
        branches=("integer", "Branches."),
        lone_voxels=("integer", "Voxels without a branch."),
        voxels=("integer", "Voxels of the curve."),
        unit=("text", "Unit of lengths and places: mm, um, ..., voxels, pixels."),
        tortuosity_mean=("number or null", "Mean of length over chord, weighted by length."),
        generation_max=("integer or null", "Largest generation; null without --root."),
        strahler_max=("integer or null", "Largest Strahler order; null without --root."),
        radius=("spread or null", "Radius along the curve, in its `unit`."),
        certainty=("spread or null", "Values of the map along the curve."),
        levels=("spread or null", "Values of the soft skeleton along the curve."),
        parameters=("any", "In a chain: the parameters of the step."),
        **{"class": _CLASS},
    )
    | _lengths(length="Length of all branches.", longest_branch="Length of the longest branch."),
    "spread": _SPREAD | _fields(unit=("text", "Unit of a radius.")),
    "component": _fields(
        component=("integer", "Number of the component, the longest is 1."),
        branches=("integer", "Branches."),
        end_points=("integer", "Nodes with one branch."),
        junctions=("integer", "Nodes with three or more branches."),
        cycles=("integer", "Independent cycles."),
    )
    | _lengths(length="Length of its branches."),
    "branch": _fields(
        branch=("integer", "Number of the branch, the longest is 1."),
        component=("integer", "Number of its component."),
        kind=(
            "text",
            "end to end, spur (of one end point, of any length), inner or loop; branch_type says more.",
        ),
        branch_type=("text", "Its ends in the words of skan, such as junction-to-endpoint."),
        nodes=("list of integer", "Numbers of the nodes at its start and end."),
        start_node=("integer", "Number of the node at its start."),
        end_node=("integer", "Number of the node at its end."),
        tortuosity=("number or null", "Length over chord; null of a loop."),
        certainty_mean=("number or null", "Mean of the map's values along it."),
        certainty_min=("number or null", "Smallest of these."),
        levels_mean=("number or null", "Mean of the soft skeleton's values along it."),
        levels_min=("number or null", "Smallest of these."),
        voxels=("integer", "Voxels of the branch."),
        generation=("integer or null", "Branch points between the root and it; null without --root."),
        strahler=("integer or null", "Strahler order; null without --root."),
        parent=("integer or null", "Number of the branch before it; null without --root, and of the root."),
        angle_deg=("number or null", "Angle to its parent, in degrees."),
    )
    | _lengths(
        length="Length.",
        chord="Distance of its ends.",
        radius_mean="Mean radius.",
        radius_min="Smallest radius.",
        radius_max="Largest radius.",
        radius_start="Radius at its start.",
        radius_end="Radius at its end.",
    )
    | {f"cross_section_area_{UNIT}2": Field("number or null", "Mean area of its cross-section.")}
    | {
        f"{end}_{axis}_{what}": Field(kind, f"{where} of its {end} along {axis}.")
        for end in ("start", "end")
        for axis in "zyx"
        for what, kind, where in (("voxel", "integer", "Array index"), (UNIT, "number", "World coordinate"))
    },
    "node": _fields(
        node=("integer", "Number of the node."),
        component=("integer", "Number of its component."),
        kind=("text", "end, junction, isolated or loop."),
        degree=("integer", "Branches that end at it."),
        voxel=("list of integer", "Array index of its first voxel."),
        world=("list of number", "Its place (x, y, z) in world coordinates, in the graph's unit."),
    ),
    "class": _fields(
        **{"class": _CLASS},
        label=_LABEL,
        region=("list of integer", "Labels that make up the region."),
        metrics=("any", "Value of each metric by its name, null if undefined; units are in the names."),
        notes=("list of text", "Remarks on the class."),
        voxels=("integer", "Voxels of the class in the output."),
        betti=("betti", "Betti numbers above the threshold."),
        euler=("integer", "Euler characteristic."),
        curves=("any", "Betti numbers above each of the `thresholds`: lists b0, b1, b2."),
        bars=("any", "Number of persistence bars of each kind."),
        longest_bars=("list of bar", "The longest persistence bars."),
        world_unit=("text", "Unit of world coordinates."),
    ),
    "betti": _fields(
        b0=("integer", "Connected components."),
        b1=("integer", "Loops; in 2D holes."),
        b2=("integer", "Cavities, in 3D."),
    ),
    "bar": _fields(
        dimension=("integer", "0 component, 1 loop (2D: hole), 2 cavity."),
        birth=("number", "Largest threshold at which it is there."),
        death=("number", "Threshold at which it joins an older one, or is filled."),
        length=("number", "Birth minus death: the persistence of the bar."),
        birth_voxel=("list of integer", "Array index of the voxel where it is born."),
        death_voxel=(
            "list of integer or null",
            "Array index of the voxel where it dies; null where it dies at 0.",
        ),
        birth_world=("list of number", "The same in world coordinates (x, y, z)."),
        death_world=("list of number or null", "The same in world coordinates (x, y, z)."),
    ),
    "short_bars": _fields(
        count_before=(
            "list of integer",
            "Short bars before: components, loops (in 2D holes), in 3D cavities.",
        ),
        count_after=("list of integer", "Short bars after, in the same order."),
    ),
    "certificate": _fields(
        path=("text", "The file that was read back."),
        priors=("any", "For each prior: channels, the Betti numbers asked for, those before and after."),
    ),
    "prior": _fields(
        path=("text", "File of the prior."),
        network_sha256=("text", "SHA-256 of its network."),
        version=("text", "Version of softmorph that trained it."),
        architecture=("any", "Size of the network."),
        axes=("text", "Axes of its arrays."),
        directions=("any or null", "Directions of these axes in the world; null if they are not known."),
        orientation=("text or null", "The same in letters, such as SAR."),
        box=("any", "Size of the box that it fills, and its unit."),
        classes=("list of text", "Names of its classes."),
        subjects=("list of text", "Names of the maps that it was trained on."),
        intensity=("any or null", "Scale of the images that it was trained with."),
        completion=("any", "Settings of the fit to slices."),
        segmentation=("any", "Settings of the fit to images."),
        training=("any", "Settings of the training."),
        seed=("integer", "Seed of the training."),
        validation=("list of gap", "How well it found hidden slices of maps that were held out."),
    ),
    "gap": _fields(
        **{"class": ("text", "Name of the class, or all.")},
        hidden=("text", "Which slices were hidden."),
        method=("text", "prior, or a method of interpolation."),
        dice=_DICE,
        low=("number or null", "Lower end of the 95 % interval of the mean."),
        high=("number or null", "Upper end of the 95 % interval of the mean."),
        subjects=("integer", "Number of maps."),
    ),
    "pair": _fields(
        name=_CASE,
        prediction=("file", "The prediction."),
        reference=("file", "The reference."),
        metrics=("any", "Of one class alone: its metrics."),
        classes=("list of class", "Metrics of each class."),
        notes=("list of text", "Remarks on how the files were read."),
        parameters=("any", "Settings, where they differ from those of the first pair."),
    ),
    "summary": _fields(
        **{"class": _CLASS},
        label=_LABEL,
        metrics=("any", "Of each metric: count, mean, median, low and high of the interval."),
    ),
    "item": _fields(
        input=("file", "The file that was read."),
        output=("file", "The file that is written."),
        status=("text", "done, skipped, failed, not run or not finished."),
        action=("text", "With --dry-run: new, redo or skip."),
        why=("text or null", "With --dry-run: the reason."),
        error=("error or null", "Why it failed."),
        seconds=("seconds", "Time of the file."),
        steps=("list of step", "What each step did."),
        before=("statistics", "Statistics of the input."),
        after=("statistics", "Statistics of the output."),
        device=("text", "Where it ran."),
        statistics=("statistics", "Statistics of the map."),
        notes=("list of text", "Remarks on the file and the result."),
        warnings=("list of text", "What the user should know before using the result."),
        parameters=("any", "Parameters in force, by name."),
        graph=("graph", "Summary of the skeleton."),
        components=("list of component", "Components, the longest first."),
        branches=("list of branch", "Branches, the longest first."),
        nodes=("list of node", "End points and junctions."),
        invented_slices=("integer", "Of interpolate: slices that were missing."),
        prior_agreement=(
            "number or null",
            "Of interpolate with a prior: agreement with the observed slices.",
        ),
        left_out_prior=("number or null", "Dice of the prior on slices that were left out."),
        left_out_logit=("number or null", "Dice of the interpolation of logits on the same."),
        not_reached=("flag", "Whether the result is poorer than requested."),
        **{"class": _CLASS},
    ),
    "failed": _fields(input=("file", "The file."), name=_CASE, error=("error", "Why it failed.")),
    "unmatched": _fields(
        predictions=("list of text", "Predictions without a reference."),
        references=("list of text", "References without a prediction."),
    ),
    "counts": _fields(
        done=("integer", "Files with a result of this run."),
        skipped=("integer", "Files that were done before."),
        failed=("integer", "Files that failed."),
        not_run=("integer", "Files that were not begun."),
        not_finished=("integer", "Files that were begun and not finished."),
    ),
    "definition": _fields(
        names=("list of text", "Names of the values."),
        title=("text", "Title."),
        definition=("text", "Definition."),
        source=("text", "Source."),
        unit=("text", "Unit."),
        better=("text", "higher, lower or one: which values are good."),
        cost=("text", "Time at 128^3."),
        asked_by=("list of text", "Options without which it is not computed."),
    ),
    "rule": _fields(
        rule=("text", "Name of the rule."),
        title=("text", "What it does."),
        citation=("text or null", "Source."),
        dimensions=("integer", "2 or 3."),
        action=("text", "delete, add or set."),
        condition=("text", "Condition, which combines the templates."),
        sub_iterations=("integer", "Passes of one iteration."),
        iterations=("integer or null", "Iterations by default; null until nothing changes."),
        outside=("integer", "Value of voxels outside of the image."),
        templates=("any", "Template or expression by its name."),
    ),
    "timing": _fields(
        operation=("text", "Name of the operation."),
        method=("text", "Name of the method."),
        detail=("text", "Settings of the workload."),
        drawn_map=("text", "Kind of the map: noise or vessels."),
        shape=("list of integer", "Shape of the map."),
        share_above_half=("number", "Share of the voxels above 0.5."),
        best_seconds=("number", "Time of the fastest warm run."),
        runs=("integer", "Warm runs."),
        first_seconds=("number", "Time of the first run, which compiles or loads."),
        mvoxel_per_s=("number", "Millions of voxels in a second."),
        ratio_to_copy=("number", "Time over that of a plain copy."),
        ratio_to_ruler=("number or null", "Time over that of scipy.ndimage.grey_erosion."),
        peak_bytes=("integer or null", "Peak memory beyond the input."),
        peak_to_input=("number or null", "The same over the size of the input."),
        name=("text", "Name of the other library's function."),
        library=("text", "Name of the other library."),
        version=("text", "Its version."),
        work=("text or null", "The workload that it is compared with."),
        ratio=("number or null", "Time of the workload over its time."),
        smallest=("list of integer", "Shape of the smallest map."),
        largest=("list of integer", "Shape of the largest map."),
    ),
}
