"""Execution of the phases of a filter on one image: representation, iterations and stopping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from softmorph_cli.compiler.compile import DIAGRAM, MINMAX, RANKS, Step, compile_rule, is_increasing
from softmorph_cli.errors import InputError
from softmorph_cli.filters.method import Method, Scheme, find
from softmorph_cli.filters.settings import Progress, Result, Settings
from softmorph_cli.kernels.backend import Backend, Field
from softmorph_cli.kernels.bitplanes import WORD, bits_in_chunk, chunks
from softmorph_cli.rules.rule import Rule
from softmorph_cli.system.parameters import named

# In ascending order of relevance to the user: of several images the last reason is reported.
_REASONS = ("iterations", "stable", "tolerance", "max_iterations")

# The threshold of the level set that a level of `smooth-levels` represents.
_HALF = 0.5

# A summed negative part of a difference up to this is rounding.
NEGLIGIBLE = 1e-6

FUZZY = (
    "{rule} is not increasing, so method minmax is the papers' fuzzy logic on it and no threshold of the result is "
    "the rule's: use method levels for the mean of the rule over the level sets of the map."
)

CLAMPED = (
    "a soft opening or closing can pass its input: the difference was negative at some voxels and is 0 there."
)


@dataclass(frozen=True)
class Phase:
    """A step of a filter: a rule and its number of iterations.

    Attributes:
        rule: The rule that is applied.
        iterations: The number of iterations; None to iterate until nothing changes.
        prunes: Whether the phase also lowers voxels that the rule keeps, by at most `prune_contrast` of the settings.
    """

    rule: Rule
    iterations: int | None
    prunes: bool = False

    @property
    def has_subfields(self) -> bool:
        """Whether any sub-iteration of the rule changes only voxels of one subfield (a parity of coordinates)."""
        return any(one.subfield is not None for one in self.rule.sub_iterations)


@dataclass(frozen=True)
class FilterJob:
    """The filtering of one image: phases, settings and backend.

    Attributes:
        operation: The name of the filter in progress reports.
        phases: The phases in order, each applied to the result of the previous one.
        settings: The settings of the phases, with a method.
        backend: The backend that computes the phases.
        index: The index of the image among the images of one call, from 0; random draws depend on the index.
        count: The number of images of the call.
        part: The index of this job among the jobs of one image, from 0.
        parts: The number of jobs of one image.
        progress: Callback that is called after every sub-iteration.
    """

    operation: str
    phases: tuple[Phase, ...]
    settings: Settings
    backend: Backend
    index: int = 0
    count: int = 1
    part: int = 0
    parts: int = 1
    progress: Callable[[Progress], None] | None = None

    @property
    def method(self) -> Method:
        """The method of the settings."""
        return find(self.settings.method)


def run(job: FilterJob, image: Any) -> Result:
    """Return the result of a job for an image (Y, X) or (Z, Y, X), an array of the backend, which is not modified."""
    match job.method.scheme:
        case Scheme.NESTED:
            return nested(job, image)
        case Scheme.LEVELS | Scheme.SAMPLES:
            return _planes(image, job)
        case Scheme.SMOOTH_LEVELS:
            return _smooth_levels(job, image)
        case _:
            result = sweep(job, image)
            return replace(result, warnings=(*result.warnings, *fuzzy(job.method, job.phases)))


def fuzzy(method: Method, phases: tuple[Phase, ...]) -> tuple[str, ...]:
    """Return a warning for every phase of method `minmax` whose rule does not commute with thresholds."""
    if method.logic != MINMAX:
        return ()
    return tuple(FUZZY.format(rule=p.rule.name) for p in phases if not is_increasing(p.rule))


def nested(job: FilterJob, image: Any) -> Result:
    """Return the result of method `nested`: all level sets filtered at once, each staying within the next lower one.

    Up to 64 levels of a rule without subfields are filtered as bit planes; all other cases are computed on the ranks
    (order) of values, with the same result.
    """
    backend, sets = job.backend, job.settings.level_sets
    phases, results = job.phases, []
    if not backend.prunes and any(phase.prunes for phase in phases):
        raise InputError(f"{named('prune_contrast')} works on the CPU alone: add {named('device', 'cpu')}.")
    if sets is None:
        return sweep(job, to_ranks(job, image), logic=RANKS, floor=floor_of(job, image))
    if in_planes(job.settings, phases[0]):
        first = sweep(job, backend.pack_nested(image, sets), phases[:1])
        counts, phases = backend.count(first.image, WORD, image), phases[1:]
        results.append(replace(first, image=None))
        del first
    else:
        counts = to_ranks(job, image)
    if phases and not _capped(results):
        results.append(sweep(job, counts, phases, logic=RANKS, floor=floor_of(job, image)))
        counts = results[-1].image
    return replace(_in_turn(results), image=backend.refine(image, counts, sets))


def in_planes(settings: Settings, phase: Phase) -> bool:
    """Return whether the first phase of a nested filter runs on bit planes."""
    sets = settings.level_sets
    return sets is not None and len(sets.thresholds) <= WORD and not phase.has_subfields


def to_ranks(job: FilterJob, image: Any) -> Any:
    """Return the ranks for method `nested` without bit planes: values of which only the order matters."""
    sets = job.settings.level_sets
    if sets is None:
        return job.backend.above(image, job.settings.lowest or 0.0)
    return job.backend.bins(image, sets)


def floor_of(job: FilterJob, image: Any) -> Any:
    """Return the floor of pruning, the lowest value that `Field.begin` lets each voxel take; None without pruning.

    The floor is the map minus the contrast. Pruning lowers a skeleton that has the topology of the map at every
    level, nowhere by more than the contrast; so components, loops and cavities of higher persistence remain
    (stability of persistence diagrams: Cohen-Steiner, Edelsbrunner & Harer, Discrete & Computational Geometry 37,
    2007).
    """
    if not any(phase.prunes for phase in job.phases):
        return None
    ranks = to_ranks(job, image)
    return (ranks - job.settings.contrast_in_ranks).clip(min=0)


def nested_binary(job: FilterJob, image: Any, threshold: float) -> Result:
    """Return the result of method `nested` for the mask {p > threshold}, as a Boolean image."""
    backend = job.backend
    # A single plane is nested under any rule.
    first = sweep(job, backend.pack_mask(image, threshold), job.phases[:1], logic=DIAGRAM)
    mask, results = first.image != 0, [replace(first, image=None)]
    if job.phases[1:] and not _capped(results):
        results.append(sweep(job, backend.count(first.image, 1, image), job.phases[1:], logic=RANKS))
        mask = results[-1].image != 0
    return replace(_in_turn(results), image=mask)


def _capped(results: list[Result]) -> bool:
    return any(result.stop_reason == "max_iterations" for result in results)


def _in_turn(results: list[Result]) -> Result:
    """Return one result, without image, for phases that ran one after the other; their iterations add up."""
    return replace(_together(results), iterations=sum(result.iterations for result in results))


def run_difference(first: FilterJob, second: FilterJob, image: Any) -> Result:
    """Return the difference of the results of two jobs: the foreground of the first without that of the second.

    On bit planes the difference is exact: a binary one for each level set or draw. On probabilities it is the first
    result minus the second, clipped at 0 (with a warning if values were negative).
    """
    if first.method.scheme in (Scheme.LEVELS, Scheme.SAMPLES):
        return _planes(image, first, second)
    result = signed_difference(first, second, image)
    difference = result.image
    negative = below_zero(first.backend, difference) > NEGLIGIBLE
    return replace(result, image=difference.clip(min=0), warnings=(CLAMPED,) if negative else ())


def signed_difference(first: FilterJob, second: FilterJob, image: Any) -> Result:
    """Return the first job's probabilities minus the second's, negative values included."""
    results = [run(first, image), run(second, image)]
    return replace(combine(results), image=results[0].image - results[1].image)


def below_zero(backend: Backend, difference: Any) -> float:
    """Return the summed negative part of a difference; a sum above `NEGLIGIBLE` is more than rounding."""
    return backend.total(-difference.clip(max=0))


def pack(job: FilterJob, image: Any, chunk: int) -> Any:
    """Return one chunk of the bit planes (level sets or random draws of the image) that a job starts from."""
    settings = job.settings
    if job.method.scheme is Scheme.LEVELS:
        return job.backend.pack_levels(image, settings.planes, chunk)
    return job.backend.pack_samples(image, settings.planes, chunk, settings.seed, job.index)


def standard_error(mean: Any, draws: int) -> Any:
    """Return the standard error of a mean over random draws."""
    return (mean * (1 - mean) / (draws - 1)) ** 0.5


def _planes(image: Any, job: FilterJob, without: FilterJob | None = None) -> Result:
    settings, backend = job.settings, job.backend
    parts = len(chunks(settings.planes))
    mean: Any = None
    results = []
    for chunk in chunks(settings.planes):
        # Planes are packed anew for each job: packing is fast, and keeping them would take much memory.
        one = sweep(job, pack(job, image, chunk), part=chunk, parts=parts)
        kept = one.image
        if without is not None:
            other = sweep(without, pack(job, image, chunk), part=chunk, parts=parts)
            kept = kept & ~other.image
            results.append(replace(other, image=None))
        counted = backend.count(kept, bits_in_chunk(settings.planes, chunk), image)
        mean = counted if mean is None else mean + counted
        results.append(replace(one, image=None))
    mean /= settings.planes
    error = standard_error(mean, settings.planes) if job.method.scheme is Scheme.SAMPLES else None
    return replace(_together(results), image=mean, standard_error=error)


def _smooth_levels(job: FilterJob, image: Any) -> Result:
    count = job.settings.smooth_levels
    logits = job.backend.logits(image)
    total: Any = 0
    results = []
    for k in range(count):

        def one(logits: Any, k: int = k) -> Any:
            sharpened = job.backend.sharpen(logits, (k + 0.5) / count, job.settings.sharpness)
            result = sweep(job, sharpened, part=k, parts=count)
            results.append(replace(result, image=None))
            return result.image

        # Level by level: otherwise the maps of all levels would be kept for the gradient at once.
        total = total + job.backend.streamed(one, logits)
    return replace(_together(results), image=total / count)


def _together(results: list[Result]) -> Result:
    finished = [result.finished for result in results if result.finished is not None]
    return Result(
        image=None,
        iterations=max(result.iterations for result in results),
        stop_reason=max((result.stop_reason for result in results), key=_REASONS.index),
        finished=all(finished) if finished else None,
    )


def combine(results: list[Result]) -> Result:
    """Return one result with the iterations, stop reason, radius and warnings of several images."""
    warnings = dict.fromkeys(warning for result in results for warning in result.warnings)
    return replace(_together(results), radius=results[0].radius, warnings=tuple(warnings))


def sweep(
    job: FilterJob,
    image: Any,
    phases: tuple[Phase, ...] | None = None,
    *,
    part: int = 0,
    parts: int = 1,
    logic: str | None = None,
    floor: Any = None,
) -> Result:
    """Return the result of phases applied to one image in its current representation.

    Args:
        job: The job that the phases belong to.
        image: Probabilities, ranks or bit planes, as an array of the backend.
        phases: The phases to apply; by default those of the job.
        part: The index of this call among the calls of `sweep` for one image, from 0, for progress reports.
        parts: The number of these calls.
        logic: The logic that rules are compiled for; by default that of the job's method.
        floor: The lowest value that pruning lets each voxel take; None without pruning.
    """
    traces = job.backend.traces and logic == RANKS and job.settings.level_sets is None
    traced = job.backend.traced(image) if traces else None
    field: Field = traced or job.backend.field(image)
    del image  # so that the field can free it
    results = []
    try:
        for phase in job.phases if phases is None else phases:
            steps = compile_rule(phase.rule, logic or job.method.logic)
            field.begin(steps, floor if phase.prunes else None)
            done = part + parts * (job.part + job.parts * job.index)
            report = _Reporter(job, phase, done, parts * job.parts * job.count)
            results.append(_iterate(field, steps, phase, job, report))
            if results[-1][1] == "max_iterations":
                break
        result = field.image()
        origins = None if traced is None else traced.origins()
    finally:
        field.close()
    return Result(
        image=result,
        origins=origins,
        iterations=sum(iterations for iterations, _ in results),
        stop_reason=max((reason for _, reason in results), key=_REASONS.index, default="iterations"),
    )


class _Reporter:
    def __init__(self, job: FilterJob, phase: Phase, part: int, parts: int) -> None:
        self.job, self.phase, self.part, self.parts = job, phase, part, parts

    def __call__(self, iteration: int, field: Field, step: Step) -> None:
        if self.job.progress is not None:
            self.job.progress(
                Progress(
                    operation=self.job.operation,
                    iteration=iteration,
                    iterations=self.phase.iterations,
                    # Folds are put off and computed together; the count would force their computation.
                    changed=None if step.fold else field.changed,
                    part=self.part + 1,
                    parts=self.parts,
                )
            )


def _iterate(
    field: Field, steps: tuple[Step, ...], phase: Phase, job: FilterJob, report: _Reporter
) -> tuple[int, str]:
    if phase.iterations is not None:
        for iteration in range(1, phase.iterations + 1):
            for step in steps:
                field.sweep(step)
                report(iteration, field, step)
        return phase.iterations, "iterations"

    stop = _FixedPoint() if _converges(field, job) else _SmallChange(field, phase.rule, job)
    for iteration in range(1, job.settings.max_iterations + 1):
        stop.before(field)
        for step in steps:
            field.sweep(step)
            stop.after_sweep(field)
            report(iteration, field, step)
        if stop.reached(field):
            return iteration, stop.reason
    return job.settings.max_iterations, "max_iterations"


def _converges(field: Field, job: FilterJob) -> bool:
    """Return whether the iteration of a job reaches a fixed point, where nothing changes.

    Level sets and draws are binary, and a binary image stays binary under any method. Minima and maxima only take
    values v of the map and 1 - v. All other values fade without converging.
    """
    if job.method.scheme in (Scheme.NESTED, Scheme.LEVELS, Scheme.SAMPLES) or job.method.finite:
        return True
    image = field.image()
    return job.backend.total(image * (1 - image)) == 0


class _FixedPoint:
    """Criterion for binary images and nested level sets: stop when a whole iteration changes nothing."""

    reason = "stable"

    def before(self, field: Field) -> None:
        self.changed = 0

    def after_sweep(self, field: Field) -> None:
        self.changed += field.changed

    def reached(self, field: Field) -> bool:
        return self.changed == 0


class _SmallChange:
    """Criterion for probabilities: stop when the summed change of an iteration is at most a share of the initial sum.

    This is the criterion of the SoftMorph authors. The change of a rule that only deletes (or only adds) is the
    difference of two sums; any other rule needs a copy of the image from before the iteration. A level of
    `smooth-levels` represents a level set and continues as long as the level set changes: 2 % of a large map are many
    voxels.
    """

    def __init__(self, field: Field, rule: Rule, job: FilterJob) -> None:
        self.backend = job.backend
        self.monotone = rule.absorbing is not None
        self.sets = job.method.scheme is Scheme.SMOOTH_LEVELS
        self.first = self.sum = self.backend.total(field.image())
        self.tolerance = job.settings.tolerance
        self.reason = "tolerance"

    def before(self, field: Field) -> None:
        if not self.monotone:
            self.image = field.image() + 0
        if self.sets:
            self.set = field.image() > _HALF

    def after_sweep(self, field: Field) -> None:
        pass

    def reached(self, field: Field) -> bool:
        if self.monotone:
            now = self.backend.total(field.image())
            change, self.sum = abs(self.sum - now), now
        else:
            change = self.backend.distance(self.image, field.image())
        if change == 0:
            self.reason = "stable"
        moved = self.sets and bool((self.set != (field.image() > _HALF)).any())
        return change <= self.tolerance * self.first and not moved
