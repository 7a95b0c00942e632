"""Evaluation of a prediction against a reference: both are checked to lie on one grid and compared class by class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.io import documents
from softmorph_cli.io.documents import data_frame
from softmorph_cli.io.exclusive import Exclusive
from softmorph_cli.io.options import DEFAULT, ReadOptions
from softmorph_cli.kernels.level_sets import at_level
from softmorph_cli.metrics.chosen_labels import numbers
from softmorph_cli.metrics.error_map import ErrorMap, error_map
from softmorph_cli.metrics.evaluation_inputs import (
    Compared,
    Opened,
    check_held,
    compared,
    compared_labels,
    open_prediction,
    open_reference,
    unrelated,
)
from softmorph_cli.metrics.metric import Metric
from softmorph_cli.metrics.opt_j import NEAR, REACH
from softmorph_cli.metrics.pair import MetricSettings as MetricSettings
from softmorph_cli.metrics.pair import Pair
from softmorph_cli.metrics.registry import METRICS
from softmorph_cli.metrics.street_mover import POINTS, sides
from softmorph_cli.skeleton import image_kind
from softmorph_cli.system.parameters import named
from softmorph_cli.system.printable import meant
from softmorph_cli.system.units import COUNTED

if TYPE_CHECKING:
    import pandas

# The default tolerance of nsd is one voxel for maps in these units, and for voxels smaller than FINE in mm.
_FINE_UNITS: Final = ("um", "nm")
FINE: Final = 0.1

# In the JSON: how exclusive classes are decided.
ARGMAX: Final = "argmax"
PAINTED: Final = "painted"


@dataclass(frozen=True)
class ClassMetrics:
    """The metrics of one class, or of a region, which is a union of labels.

    Attributes:
        label: Label of the class; 1 for a mask.
        name: Name of the class, if it has one.
        values: Value of each metric by JSON name; None for a metric that is not defined.
        notes: Reasons for undefined values and other remarks, one sentence each.
        region: The labels whose union is compared; empty for a class.
    """

    label: int
    name: str | None
    values: Mapping[str, float | None]
    notes: tuple[str, ...]
    region: tuple[int, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the label, the name, the metrics and the notes of the class as a JSON object."""
        return {
            "label": self.label,
            "class": self.name,
            **({"region": list(self.region)} if self.region else {}),
            "metrics": dict(self.values),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, repr=False)
class Evaluated:
    """Result of the comparison of a prediction with a reference.

    Attributes:
        prediction: Description of the prediction (path, shape, ...) as a JSON object.
        reference: Description of the reference as a JSON object.
        parameters: All settings that affect the metrics, as a JSON object.
        rows: Metrics of each class.
        notes: Remarks on how the files were read, each with the path of the file, or None if it concerns both files.
        held: Labels that the prediction or the reference contains.
        error_map: Label map of the topological errors; None if it was not requested.
        pair: The two maps that were compared, with their masks and centrelines; None if it was not requested.
    """

    prediction: Mapping[str, Any]
    reference: Mapping[str, Any]
    parameters: Mapping[str, Any]
    rows: tuple[ClassMetrics, ...]
    notes: tuple[tuple[Path | str | None, str], ...]
    held: frozenset[int]
    error_map: ErrorMap | None = None
    pair: Pair | None = None

    def __repr__(self) -> str:
        """Return a short text: the metric values of a single class, or the number of classes and the metric names."""
        if len(self.rows) != 1:
            return f"<Evaluated: {len(self.rows)} classes, {', '.join(self.metrics(self.rows[0].label))}>"
        values = (
            f"{name} {'undefined' if value is None else format(value, '.4g')}"
            for name, value in self.rows[0].values.items()
        )
        return f"<Evaluated: {', '.join(values)}>"

    def metrics(self, label: int | None = None) -> Mapping[str, float | None]:
        """Return the metric values of one class by name; a value is None if the metric is not defined.

        Args:
            label: Label of the class; may be None if the evaluation has only one class.

        Raises:
            InputError: If no class has this label, or the evaluation has several classes and no label is given.
        """
        found = [row for row in self.rows if label in (None, row.label)]
        if len(found) != 1:
            held = ", ".join(str(row.label) for row in self.rows)
            raise InputError(
                f"{'no such class' if label is not None else 'several classes'}: give one of {held}."
            )
        return found[0].values

    def to_pandas(self) -> pandas.DataFrame:
        """Return a data frame with a row for each class and the columns of the CSV, except the columns with file names.

        Raises:
            UsageError: If pandas is not installed.
        """
        return data_frame([{"label": row.label, "class": row.name, **row.values} for row in self.rows])

    def as_dict(self) -> dict[str, Any]:
        """Return the evaluation as a JSON object, without the parameters.

        If there is only one class, the key `metrics` repeats its values at the top level.
        """
        alone = {"metrics": dict(self.rows[0].values)} if len(self.rows) == 1 else {}
        return {
            "prediction": dict(self.prediction),
            "reference": dict(self.reference),
            **alone,
            "classes": [row.as_dict() for row in self.rows],
            "notes": [note if path is None else f"{path}: {note}" for path, note in self.notes],
        }


@dataclass(frozen=True)
class Evaluation:
    """The parameters of a comparison of a prediction with a reference: the metrics, the classes and the settings.

    Attributes:
        settings: Settings of the metrics; the attribute `tolerance` below takes precedence over `settings.tolerance`.
        tolerance: Tolerance of the normalised surface Dice (nsd) as a number and a unit, where the unit None means the
            unit of the prediction; None for the default tolerance.
        names: JSON names of the metrics to compute; None for all metrics that the settings include. A name that ends in
            "mm" stands for the length in um or nm too; another unit must be the prediction's own, and a metric that
            the prediction cannot have is an error.
        labels: Labels of the classes to compare, by number or name; empty for all classes.
        same_grid: Whether maps of equal shape are compared even if their headers state different positions.
        reading: Options for reading the files.
        strict: Whether a label that neither file contains is an error.
        error_map: Whether a label map of the topological errors is made too; possible for a single class only.
        keep_pair: Whether the two maps are kept in the result, for a picture; possible for a single class only.
        argmax: Whether the mask of a class that excludes the others is where that class is the most probable one,
            rather than where its probability is above the threshold.
    """

    settings: MetricSettings
    tolerance: tuple[float, str | None] | None = None
    names: tuple[str, ...] | None = None
    labels: tuple[int | str, ...] = ()
    same_grid: bool = False
    reading: ReadOptions = DEFAULT
    strict: bool = True
    error_map: bool = False
    keep_pair: bool = False
    argmax: bool = True

    def __post_init__(self) -> None:
        """Check the names of the metrics.

        Raises:
            UsageError: If a name is not that of a metric.
        """
        spellings = {one for metric in METRICS for one in metric.spellings}
        for name in self.names or ():
            if name not in spellings:
                known = [name for metric in METRICS for name in metric.names]
                raise UsageError(
                    f"{named('metrics')} {name!r}: there is no such metric{meant(name, known)}; choose from "
                    f"{', '.join(known)}."
                )

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics that are computed, each reduced to the names that were requested."""
        if self.names is None:
            return tuple(metric for metric in METRICS if metric.wanted(self.settings))
        chosen = (
            replace(
                metric, names=tuple(one for one in metric.names if {*metric.spelled(one)} & {*self.names})
            )
            for metric in METRICS
        )
        return tuple(metric for metric in chosen if metric.names)

    def of_files(
        self, prediction: Path, reference: Path, stage: Callable[[str], None] = lambda name: None
    ) -> Evaluated:
        """Read a prediction and a reference from files and compare them.

        Args:
            prediction: Path of a map, a mask, a label map, or a map of several classes.
            reference: Path of a mask, a label map, or a map of several classes.
            stage: Callback that receives the name of each stage, such as "reading", when the stage begins.

        Raises:
            SoftmorphError: If a file cannot be read, or the two maps cannot be compared.
        """
        stage("reading")
        mine = open_prediction(prediction, self.reading, reference, argmax=self.argmax)
        its = open_reference(reference, self.reading, labelled=bool(self.labels), argmax=self.argmax)
        return self.of_opened(mine, its, stage)

    def of_opened(
        self, mine: Opened, its: Opened, stage: Callable[[str], None] = lambda name: None
    ) -> Evaluated:
        """Compare a prediction with a reference, both already read.

        Args:
            mine: The prediction.
            its: The reference.
            stage: Callback that receives the name of each metric when its computation begins.

        Raises:
            InputError: If the two cannot be compared.
        """
        chosen = numbers(mine, its, self.labels)
        if self.strict:
            check_held(mine, its, chosen)
        classes = compared_labels(mine, its, chosen)
        if (self.error_map or self.keep_pair) and len(classes) > 1:
            how = "keep one" if self.labels else "add one"
            what = "an error map" if self.error_map else "a preview"
            raise InputError(
                f"{what} is of one class, and these are {', '.join(map(str, classes))}: {how}, such as "
                f"{named('label', classes[0])}."
            )
        rows: list[ClassMetrics] = []
        notes: list[tuple[Path | str | None, str]] = [
            (side.path, note) for side in (mine, its) for note in side.notes
        ]
        notes += [(side.path, _decided(side.exclusive)) for side in (mine, its) if side.exclusive is not None]
        notes += [(None, note) for note in unrelated(mine, its) if not self.labels]
        parameters: dict[str, Any] = {}
        located, kept = None, None
        for each in compared(mine, its, chosen, same_grid=self.same_grid):
            pair = Pair(each.prediction, each.reference, self.settings, each.decided)
            threshold, nearest = at_level(self.settings.threshold, image_kind.exact_levels(each.prediction))
            settings = replace(self.settings, tolerance=self._tolerance(pair), threshold=threshold)
            pair = replace(pair, settings=settings)
            self._check_unit(pair.frame.suffix, mine.path)
            notes += [note for note in self._left_out(pair, mine.path) if note not in notes]
            parameters = parameters or self._parameters(pair, (mine, its))
            located = error_map(pair) if self.error_map else None
            kept = pair if self.keep_pair else None
            prefix = f"class {each.name or each.label}, " if len(classes) > 1 else ""
            rows.append(self._measured(each, pair, stage, prefix))
            more = [*((None, note) for note in each.notes), *((mine.path, note) for note in nearest)]
            notes += [note for note in more if note not in notes]
        held = frozenset(mine.labels) | frozenset(its.labels)
        return Evaluated(
            _described(mine), _described(its), parameters, tuple(rows), tuple(notes), held, located, kept
        )

    def _measured(
        self, each: Compared, pair: Pair, stage: Callable[[str], None], prefix: str
    ) -> ClassMetrics:
        values: dict[str, float | None] = {}
        notes: list[str] = []
        for metric in self.metrics:
            stage(prefix + metric.title)
            reading = metric.compute(pair)
            absent = metric.solid if pair.dims == 2 else ()
            values |= {
                name: value
                for name, value in reading.values.items()
                if name in metric.spellings and name not in absent
            }
            notes += [note for note in reading.notes if note not in notes]
        return ClassMetrics(each.label, each.name, values, tuple(notes), each.region)

    def _left_out(self, pair: Pair, path: Path | str) -> list[tuple[Path | str | None, str]]:
        """Return a note on the metrics that images in 2D do not have; none in 3D.

        Raises:
            InputError: If the user asked for such a metric by name.
        """
        absent = [name for metric in self.metrics for name in metric.solid if name in metric.names]
        if pair.dims == 3 or not absent:
            return []
        if self.names is not None:
            raise InputError(
                f"{named('metrics')} {absent[0]}: {path} is 2D, and cavities are those of volumes: leave it out."
            )
        are = f"{' and '.join(absent)} {'is' if len(absent) == 1 else 'are'}"
        return [(None, f"{are} left out: the images are 2D, and cavities are those of volumes.")]

    def _check_unit(self, unit: str, path: Path | str) -> None:
        """Raise InputError if a metric name ends in a unit that the prediction does not have.

        "mm" stands for um and nm too; a prediction without a unit has lengths in voxels, in 2D pixels.
        """
        unknown = unit in COUNTED.values()
        names = self.names or ()
        for spelled in [metric.spelled(name) for metric in self.metrics for name in metric.names]:
            others = spelled if unknown and len(spelled) > 1 else spelled[1:]
            wrong = [one for one in others if one in names and not one.endswith(f"_{unit}")]
            if wrong:
                has = "has no unit of length" if unknown else f"is in {unit}"
                own = next(one for one in spelled if one.endswith(f"_{unit}"))
                raise InputError(
                    f"{named('metrics')} {wrong[0]}: {path} {has}, and this is called {own} there."
                )

    def _tolerance(self, pair: Pair) -> float:
        """Return the tolerance of the normalised surface Dice in the unit of the prediction.

        The default is 1 mm. If voxels are much smaller than that, or the unit is um or nm, the default is one voxel,
        as within 1 mm any two surfaces would agree.
        """
        if self.tolerance is None:
            fine = pair.prediction.unit in _FINE_UNITS or pair.frame.finest < FINE
            return pair.frame.finest if pair.unit is not None and fine else self.settings.tolerance
        number, unit = self.tolerance
        if unit is None:
            return number
        try:
            return pair.frame.length_of((number, unit))
        except InputError as error:
            raise InputError(
                f"{named('tolerance', option='distance-tolerance')} {number:g}{unit}: {error}"
            ) from error

    def _parameters(self, pair: Pair, both: Sequence[Opened]) -> dict[str, Any]:
        finest, unit = pair.frame.finest, pair.frame.suffix
        by = [
            "threshold" if side.exclusive is None else PAINTED if side.exclusive.regions else ARGMAX
            for side in both
        ]
        settings = pair.settings.as_dict(pair.dims)
        for key, how in zip(("threshold", "reference_threshold"), by, strict=True):
            settings[key] = None if how in (ARGMAX, PAINTED) else settings[key]
        if ARGMAX in by:
            settings["ties"] += "; of classes that are equally probable the lower one counts"
        return {
            "decision": by[0],
            "reference_decision": by[1],
            **settings,
            "nsd_tolerance_unit": unit,
            "same_grid": self.same_grid,
            "smd_points": POINTS,
            f"smd_longest_side_{unit}": float(sides(pair).max() * finest),
            "opt_j_reach_voxels": REACH,
            "opt_j_near_voxels": NEAR,
            **(
                {f"opt_j_reach_{unit}": REACH * finest, f"opt_j_near_{unit}": NEAR * finest}
                if pair.unit
                else {}
            ),
            "opt_j_matching": "one to one, the cheapest pair first; of equal ones the first node",
        }


def _decided(found: Exclusive) -> str:
    if found.regions:
        return (
            "its regions are painted over each other in the order of regions_class_order, as nnU-Net does; "
            f"{named('threshold', 0.5)} decides each separately."
        )
    return (
        "its classes exclude each other, and at each voxel the most probable one counts, as in nnU-Net; "
        f"{named('threshold', 0.5)} decides each separately."
    )


def _described(side: Opened) -> dict[str, Any]:
    path = {"path": str(side.path)} if isinstance(side.path, Path) else {}
    return documents.described(side.like) | path
