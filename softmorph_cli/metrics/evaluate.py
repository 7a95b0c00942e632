"""Two files compared: opened, brought onto one grid, and measured class by class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.io import documents
from softmorph_cli.io.options import DEFAULT, ReadOptions
from softmorph_cli.level_sets import at_level
from softmorph_cli.metrics.metric import Metric
from softmorph_cli.metrics.opt_j import NEAR, REACH
from softmorph_cli.metrics.pair import MetricSettings, Pair
from softmorph_cli.metrics.registry import METRICS
from softmorph_cli.metrics.sources import (
    Compared,
    Opened,
    check_held,
    compared,
    open_prediction,
    open_reference,
    strangers,
    wanted,
)
from softmorph_cli.metrics.street_mover import POINTS, sides
from softmorph_cli.skeleton import image_kind
from softmorph_cli.system import lengths
from softmorph_cli.system.data_frame import data_frame
from softmorph_cli.system.parameters import named

if TYPE_CHECKING:
    import pandas

# Of such maps, and of those with smaller voxels in mm, the tolerance of nsd is one voxel where none is chosen.
_FINE: Final = ("um", "nm")
FINE: Final = 0.1

# How classes that exclude each other are decided, in the JSON.
ARGMAX: Final = "argmax"


@dataclass(frozen=True)
class Evaluation:
    """What is compared, and how.

    Attributes:
        settings: Its tolerance aside, if one is given here.
        tolerance: A number and a unit, None for that of the pair, where there is one; or None.
        names: Metrics, by their names in the JSON; None for all that the settings ask for. A length that is
            named in mm is given in the unit of the prediction; one that is named in another unit needs a prediction in
            that unit.
        labels: Which classes; none for all.
        same_grid: Whether equal shapes are enough, whatever the headers say.
        reading: How they are read.
        strict: Whether a label that neither file holds is a mistake.
        one_class: Whether more than one class is refused.
        argmax: Whether classes that exclude each other are decided by the most probable one.
    """

    settings: MetricSettings
    tolerance: tuple[float, str | None] | None = None
    names: tuple[str, ...] | None = None
    labels: tuple[int, ...] = ()
    same_grid: bool = False
    reading: ReadOptions = DEFAULT
    strict: bool = True
    one_class: bool = False
    argmax: bool = True

    def __post_init__(self) -> None:
        """Refuse metrics that nobody knows.

        Raises:
            UsageError: If there is one.
        """
        known = [name for metric in METRICS for name in metric.names]
        spelled = {one for metric in METRICS for name in metric.names for one in metric.spelled(name)}
        for name in self.names or ():
            if name not in spelled:
                raise UsageError(
                    f"{named('metrics')} {name!r}: there is no such metric; choose from {', '.join(known)}."
                )

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics that are computed, each with the names alone that were asked for."""
        if self.names is None:
            return tuple(metric for metric in METRICS if metric.wanted(self.settings))
        asked = (
            replace(
                metric, names=tuple(one for one in metric.names if {*metric.spelled(one)} & {*self.names})
            )
            for metric in METRICS
        )
        return tuple(metric for metric in asked if metric.names)

    def check_unit(self, unit: str, path: Path | str) -> None:
        """Refuse lengths that were asked for in a unit which is not that of the prediction.

        Args:
            unit: That of the prediction: "mm", "um", "nm" or "voxels".
            path: The prediction.

        Raises:
            InputError: If there is one.
        """
        asked = self.names or ()
        for spelled in [metric.spelled(name) for metric in self.metrics for name in metric.names]:
            wrong = [one for one in spelled[1:] if one in asked and not one.endswith(f"_{unit}")]
            if wrong:
                has = "has no unit of length" if unit == "voxels" else f"is in {unit}"
                own = next(one for one in spelled if one.endswith(f"_{unit}"))
                raise InputError(
                    f"{named('metrics')} {wrong[0]}: {path} {has}, and this is called {own} there."
                )


@dataclass(frozen=True)
class ClassMetrics:
    """One class of one pair of files, or a region, which is the union of labels."""

    label: int
    name: str | None
    values: Mapping[str, float | None]
    notes: tuple[str, ...]
    region: tuple[int, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "label": self.label,
            "name": self.name,
            **({"region": list(self.region)} if self.region else {}),
            "metrics": dict(self.values),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, repr=False)
class Evaluated:
    """Two files or arrays and what was found.

    Attributes:
        prediction: What the JSON says of it.
        reference: What the JSON says of it.
        parameters: All that the metrics depend on.
        rows: One for each class.
        notes: What was decided, and about which file; None for both.
        held: The labels that either has.
    """

    prediction: Mapping[str, Any]
    reference: Mapping[str, Any]
    parameters: Mapping[str, Any]
    rows: tuple[ClassMetrics, ...]
    notes: tuple[tuple[Path | str | None, str], ...]
    held: frozenset[int]

    def __repr__(self) -> str:
        """Return the classes, and the values of a single one."""
        if len(self.rows) != 1:
            return f"<Evaluated: {len(self.rows)} classes, {', '.join(self.metrics(self.rows[0].label))}>"
        values = (
            f"{name} {'undefined' if value is None else format(value, '.4g')}"
            for name, value in self.rows[0].values.items()
        )
        return f"<Evaluated: {', '.join(values)}>"

    def metrics(self, label: int | None = None) -> Mapping[str, float | None]:
        """Return the values of a class by name; None is a value that is not defined.

        Args:
            label: Which class; None where there is only one.

        Raises:
            InputError: If there is no such class, or several and none is named.
        """
        found = [row for row in self.rows if label in (None, row.label)]
        if len(found) != 1:
            held = ", ".join(str(row.label) for row in self.rows)
            raise InputError(
                f"{'no such class' if label is not None else 'several classes'}: give one of {held}."
            )
        return found[0].values

    def to_pandas(self) -> pandas.DataFrame:
        """Return a row for each class; its columns are those of the CSV, those of the files aside.

        Raises:
            UsageError: If pandas is not installed.
        """
        return data_frame([{"label": row.label, "class": row.name, **row.values} for row in self.rows])

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON, its parameters aside; the metrics of a single class stand for themselves, too."""
        alone = {"metrics": dict(self.rows[0].values)} if len(self.rows) == 1 else {}
        return {
            "prediction": dict(self.prediction),
            "reference": dict(self.reference),
            **alone,
            "classes": [row.as_dict() for row in self.rows],
            "notes": [told if path is None else f"{path}: {told}" for path, told in self.notes],
        }


def evaluate_files(
    prediction: Path,
    reference: Path,
    order: Evaluation,
    *,
    stage: Callable[[str], None] = lambda name: None,
    look: Callable[[Pair], None] = lambda pair: None,
) -> Evaluated:
    """Compare two files.

    Args:
        prediction: A map, a mask, a label map, or a map of several classes.
        reference: A mask, a label map, or maps of the classes.
        order: What is compared, and how.
        stage: Called with the name of what begins.
        look: Called with every pair of maps before it is measured.

    Raises:
        SoftmorphError: If a file cannot be read, or the two cannot be compared.
    """
    stage("reading")
    mine = open_prediction(prediction, order.reading, reference, argmax=order.argmax)
    its = open_reference(reference, order.reading, labelled=bool(order.labels), argmax=order.argmax)
    return evaluate_opened(mine, its, order, stage=stage, look=look)


def evaluate_opened(
    mine: Opened,
    its: Opened,
    order: Evaluation,
    *,
    stage: Callable[[str], None] = lambda name: None,
    look: Callable[[Pair], None] = lambda pair: None,
) -> Evaluated:
    """Compare a prediction with a reference, both opened.

    Args:
        mine: The prediction.
        its: The reference.
        order: As for `evaluate_files`, and so are the others.
        stage: Called with the name of what begins.
        look: Called with every pair of maps before it is measured.

    Raises:
        SoftmorphError: If the two cannot be compared.
    """
    if order.strict:
        check_held(mine, its, order.labels)
    classes = wanted(mine, its, order.labels)
    if order.one_class and len(classes) > 1:
        held = ", ".join(map(str, classes))
        how = "keep one" if order.labels else "add one"
        raise InputError(
            f"an error map is of one class, and these are {held}: {how}, such as "
            f"{named('label', classes[0])}."
        )
    rows: list[ClassMetrics] = []
    notes: list[tuple[Path | str | None, str]] = [
        (one.path, note) for one in (mine, its) for note in one.notes
    ]
    notes += [(None, note) for note in strangers(mine, its) if not order.labels]
    parameters: dict[str, Any] = {}
    for each in compared(mine, its, order.labels, same_grid=order.same_grid):
        pair = Pair(each.prediction, each.reference, order.settings, each.decided)
        threshold, nearest = at_level(order.settings.threshold, image_kind.exact_levels(each.prediction))
        settings = replace(order.settings, tolerance=_tolerance(order, pair), threshold=threshold)
        pair = replace(pair, settings=settings)
        order.check_unit(pair.frame.suffix, mine.path)
        parameters = parameters or _parameters(pair, order)
        look(pair)
        which = f"class {each.name or each.label}, " if len(classes) > 1 else ""
        rows.append(_measured(each, pair, order, lambda title, which=which: stage(which + title)))  # type: ignore[misc]
        told = [*((None, note) for note in each.notes), *((mine.path, note) for note in nearest)]
        notes += [one for one in told if one not in notes]
    return Evaluated(
        _described(mine),
        _described(its),
        parameters,
        tuple(rows),
        tuple(notes),
        frozenset(mine.labels) | frozenset(its.labels),
    )


def _described(one: Opened) -> dict[str, Any]:
    path = {"path": str(one.path)} if isinstance(one.path, Path) else {}
    return documents.described(one.like) | path


def _measured(each: Compared, pair: Pair, order: Evaluation, stage: Callable[[str], None]) -> ClassMetrics:
    values: dict[str, float | None] = {}
    notes: list[str] = []
    for metric in order.metrics:
        stage(metric.title)
        reading = metric.compute(pair)
        asked = {one for name in metric.names for one in metric.spelled(name)}
        values |= {name: value for name, value in reading.values.items() if name in asked}
        notes += [note for note in reading.notes if note not in notes]
    return ClassMetrics(each.label, each.name, values, tuple(notes), each.region)


def _tolerance(order: Evaluation, pair: Pair) -> float:
    """Return the tolerance in the pair's unit.

    Where none is chosen it is 1 mm, or one voxel where 1 mm is many of them: any two maps would agree.
    """
    if order.tolerance is None:
        fine = pair.prediction.unit in _FINE or pair.frame.finest < FINE
        return pair.frame.finest if pair.unit is not None and fine else order.settings.tolerance
    number, unit = order.tolerance
    if unit is None:
        return number
    if unit == "vox":
        return number * pair.frame.finest
    try:
        return lengths.in_unit((number, unit), pair.unit)
    except InputError as error:
        raise InputError(f"{named('tolerance')} {number:g}{unit}: {error}") from error


def _parameters(pair: Pair, order: Evaluation) -> dict[str, Any]:
    finest, unit = pair.frame.finest, pair.frame.suffix
    by = ["threshold" if decided is None else ARGMAX for decided in pair.decided]
    told = pair.settings.as_dict(pair.dims)
    for key, one in zip(("threshold", "reference_threshold"), by, strict=True):
        told[key] = None if one == ARGMAX else told[key]
    if ARGMAX in by:
        told["ties"] += "; of classes that are equally probable the lower one counts"
    return {
        "decision": by[0],
        "reference_decision": by[1],
        **told,
        "nsd_tolerance_unit": unit,
        "same_grid": order.same_grid,
        "smd_points": POINTS,
        f"smd_longest_side_{unit}": float(sides(pair).max() * finest),
        "opt_j_reach_voxels": REACH,
        "opt_j_near_voxels": NEAR,
        **({f"opt_j_reach_{unit}": REACH * finest, f"opt_j_near_{unit}": NEAR * finest} if pair.unit else {}),
        "opt_j_matching": "one to one, the cheapest pair first; of equal ones the first node",
    }
