"""Runs phases of a rule on one image: how the map is represented, how often to iterate, when to stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from softmorph_cli.compiler import DIAGRAM, MINMAX, RANKS, Step, compile_rule, is_increasing
from softmorph_cli.errors import InputError
from softmorph_cli.filters.method import Method, Scheme, find
from softmorph_cli.filters.settings import Progress, Result, Settings
from softmorph_cli.kernels.backend import Backend, Field
from softmorph_cli.kernels.bitplanes import WORD, bits_in_chunk, chunks
from softmorph_cli.rules.rule import Rule
from softmorph_cli.system.parameters import named

# From the reason that says least to the one that says most about what a person should know.
_REASONS = ("iterations", "stable", "tolerance", "max_iterations")

# The level set that a level of `smooth-levels` stands for lies above it.
_HALF = 0.5

# Of the summed negative part of a difference: rounding.
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
    """A rule applied some number of times, or until nothing changes (None).

    Attributes:
        rule: Which.
        iterations: How many times.
        prunes: Whether it lowers voxels that the rule keeps, too, down to the floor of the settings' contrast.
    """

    rule: Rule
    iterations: int | None
    prunes: bool = False

    @property
    def has_subfields(self) -> bool:
        """Whether a sub-iteration of the rule is for voxels of one parity alone."""
        return any(one.subfield is not None for one in self.rule.sub_iterations)


@dataclass(frozen=True)
class FilterJob:
    """One image's way through a filter.

    Attributes:
        operation: What to call it in progress reports.
        phases: One after the other, each on the result of the one before.
        settings: How to run.
        backend: Where to run.
        index: Number of the image among those of one call, from 0; random draws depend on it.
        count: How many images there are.
        part: Number of this job among those that one image takes, from 0.
        parts: How many those are.
        progress: Called after every sub-iteration.
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
        """The method in force."""
        return find(self.settings.method)


def run(job: FilterJob, image: Any) -> Result:
    """Return the soft filter of one image.

    Args:
        job: What to do.
        image: (Y, X) or (Z, Y, X) probabilities of the backend's kind; not modified.
    """
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
    """Return what to say where minima and maxima are not the rule at every threshold; nothing where they are."""
    rules = (
        [] if method.logic != MINMAX else [phase.rule for phase in phases if not is_increasing(phase.rule)]
    )
    return tuple(FUZZY.format(rule=rule.name) for rule in rules)


def nested(job: FilterJob, image: Any) -> Result:
    """Return the filter of all level sets at once, of which each stays within the one below.

    Up to 64 levels of a rule without subfields are bit planes; all else is done on values by their order, with
    the same result.
    """
    backend, sets = job.backend, job.settings.level_sets
    phases, results = job.phases, []
    if not backend.prunes and any(phase.prunes for phase in phases):
        raise InputError(f"{named('prune_contrast')} works on the CPU alone: add {named('device', 'cpu')}.")
    if sets is None:
        start = to_ranks(job, image)
        return _ranked(job, start, phases, floor_of(job, image))
    if in_planes(job.settings, phases[0]):
        first = sweep(replace(job, phases=phases[:1]), backend.pack_nested(image, sets))
        counts, phases = backend.count(first.image, WORD, image), phases[1:]
        results.append(replace(first, image=None))
        del first
    else:
        counts = to_ranks(job, image)
    if phases and not _capped(results):
        results.append(_ranked(job, counts, phases, floor_of(job, image)))
        counts = results[-1].image
    return replace(_in_turn(results), image=backend.refine(image, counts, sets))


def in_planes(settings: Settings, phase: Phase) -> bool:
    """Say whether the first phase of a nested filter runs on bit planes."""
    sets = settings.level_sets
    few = sets is not None and len(sets.thresholds) <= WORD
    return few and not phase.has_subfields


def to_ranks(job: FilterJob, image: Any) -> Any:
    """Return the values whose order a nested filter goes by where it does not run on bit planes."""
    sets = job.settings.level_sets
    if sets is None:
        return job.backend.above(image, job.settings.lowest or 0.0)
    return job.backend.bins(image, sets)


def floor_of(job: FilterJob, image: Any) -> Any:
    """Return what the values of a nested filter are pruned to, see `Field.begin`; None where nothing is pruned.

    The floor is the map minus the contrast. Pruning lowers a skeleton that has the topology of the map at every
    level, nowhere by more than the contrast; so components, loops and cavities of higher persistence remain
    (stability of persistence diagrams: Cohen-Steiner, Edelsbrunner & Harer, Discrete & Computational Geometry 37,
    2007).

    Args:
        job: What to do.
        image: The map.
    """
    if not any(phase.prunes for phase in job.phases):
        return None
    ranks = to_ranks(job, image)
    return (ranks - job.settings.contrast_in_ranks).clip(min=0)


def nested_binary(job: FilterJob, image: Any, threshold: float) -> Result:
    """Return the filter of {p > threshold} alone, as a Boolean image."""
    backend = job.backend
    # One plane is nested whatever the rule does to it.
    first = sweep(replace(job, phases=job.phases[:1]), backend.pack_mask(image, threshold), logic=DIAGRAM)
    mask, results = first.image != 0, [replace(first, image=None)]
    if job.phases[1:] and not _capped(results):
        results.append(_ranked(job, backend.count(first.image, 1, image), job.phases[1:]))
        mask = results[-1].image != 0
    return replace(_in_turn(results), image=mask)


def _capped(results: list[Result]) -> bool:
    return any(result.stop_reason == "max_iterations" for result in results)


def _in_turn(results: list[Result]) -> Result:
    """Return one result for phases that ran one after the other."""
    return replace(_together(results), iterations=sum(result.iterations for result in results))


def _ranked(job: FilterJob, values: Any, phases: tuple[Phase, ...], floor: Any = None) -> Result:
    """Return phases applied to values by their order, down to a floor."""
    return sweep(replace(job, phases=phases), values, logic=RANKS, floor=floor)


def run_difference(first: FilterJob, second: FilterJob, image: Any) -> Result:
    """Return what the first job leaves and the second does not.

    On bit planes that is exact: each level set or draw gives a binary difference of its own. On probabilities
    it is first minus second, cut at 0 (with a warning where that changes anything).
    """
    if first.method.scheme in (Scheme.LEVELS, Scheme.SAMPLES):
        return _planes(image, first, second)
    result = signed_difference(first, second, image)
    difference = result.image
    negative = below_zero(first.backend, difference) > NEGLIGIBLE
    return replace(result, image=difference.clip(min=0), warnings=(CLAMPED,) if negative else ())


def signed_difference(first: FilterJob, second: FilterJob, image: Any) -> Result:
    """Return the first job's probabilities minus the second's, where they may also be negative."""
    results = [run(first, image), run(second, image)]
    return replace(combine(results), image=results[0].image - results[1].image)


def below_zero(backend: Backend, difference: Any) -> float:
    """Return how much of a difference is negative, summed; above `NEGLIGIBLE` a person should know of it."""
    return backend.total(-difference.clip(max=0))


def pack(job: FilterJob, image: Any, chunk: int) -> Any:
    """Return the planes that a job on level sets or draws starts from: those of one chunk."""
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
        # Planes are packed anew for each job: keeping them would cost more memory than packing costs time.
        one = sweep(job, pack(job, image, chunk), chunk, parts)
        kept = one.image
        if without is not None:
            other = sweep(without, pack(job, image, chunk), chunk, parts)
            kept = kept & ~other.image
            results.append(replace(other, image=None))
        counted = backend.count(kept, bits_in_chunk(settings.planes, chunk), image)
        mean = counted if mean is None else mean + counted
        results.append(replace(one, image=None))
    mean /= settings.planes
    error = None
    if job.method.scheme is Scheme.SAMPLES:
        error = standard_error(mean, settings.planes)
    return replace(_together(results), image=mean, standard_error=error)


def _smooth_levels(job: FilterJob, image: Any) -> Result:
    count = job.settings.smooth_levels
    logits = job.backend.logits(image)
    total: Any = 0
    results = []
    for k in range(count):

        def one(logits: Any, k: int = k) -> Any:
            sharpened = job.backend.sharpen(logits, (k + 0.5) / count, job.settings.sharpness)
            result = sweep(job, sharpened, k, count)
            results.append(replace(result, image=None))
            return result.image

        # Level by level, or the maps of all levels would be kept for the gradient at once.
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
    """Return one result that tells of several images: their iterations, reason, radius and warnings."""
    told = dict.fromkeys(warning for result in results for warning in result.warnings)
    return replace(_together(results), radius=results[0].radius, warnings=tuple(told))


def sweep(
    job: FilterJob, image: Any, part: int = 0, parts: int = 1, *, logic: str | None = None, floor: Any = None
) -> Result:
    """Return the job's phases applied to one image just as it is represented.

    Args:
        job: What to do; its method's logic chooses the programs.
        image: Probabilities or planes of the backend's kind.
        part: Number of this run among those that one image takes, from 0, for progress.
        parts: How many those are.
        logic: Of the programs, where it is not that of the method.
        floor: See `Field.begin`.
    """
    traces = job.backend.traces and logic == RANKS and job.settings.level_sets is None
    traced = job.backend.traced(image) if traces else None
    field: Field = traced or job.backend.field(image)
    del image  # the field lets go of it when it can
    results = []
    try:
        for phase in job.phases:
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
                    # Asking would end what folds are done together for.
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

    stop = _FixedPoint() if _comes_to_rest(field, job) else _SmallChange(field, phase.rule, job)
    for iteration in range(1, job.settings.max_iterations + 1):
        stop.before(field)
        for step in steps:
            field.sweep(step)
            stop.after_sweep(field)
            report(iteration, field, step)
        if stop.reached(field):
            return iteration, stop.reason
    return job.settings.max_iterations, "max_iterations"


def _comes_to_rest(field: Field, job: FilterJob) -> bool:
    """Say whether a whole iteration may be waited for that changes nothing.

    Every level set or draw is binary, and so is what a binary image becomes by any method. Minima and maxima of
    probabilities take on none but those of the map and what they leave of 1. All else fades for ever.
    """
    if job.method.scheme in (Scheme.NESTED, Scheme.LEVELS, Scheme.SAMPLES) or job.method.finite:
        return True
    image = field.image()
    return job.backend.total(image * (1 - image)) == 0


class _FixedPoint:
    """Binary images, and all level sets of a map at once, stop when a whole iteration changes none of them."""

    reason = "stable"

    def before(self, field: Field) -> None:
        self.changed = 0

    def after_sweep(self, field: Field) -> None:
        self.changed += field.changed

    def reached(self, field: Field) -> bool:
        return self.changed == 0


class _SmallChange:
    """Probabilities stop when an iteration's summed change is at most a share of the first sum.

    The rule of the SoftMorph authors. A rule that only deletes (or only adds) changes by the difference of
    two sums; any other needs its image from before the iteration. A level of `smooth-levels` stands for a level set,
    and goes on as long as that changes: 2 % of a large map are many voxels.
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
