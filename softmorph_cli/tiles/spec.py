"""What is to be done to a map, and how far each voxel of the result looks for it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from softmorph_cli.compiler import Step, compile_rule
from softmorph_cli.errors import InputError, RuleError, UsageError
from softmorph_cli.filters import morphology
from softmorph_cli.filters.custom import load_rule, resolved
from softmorph_cli.filters.defaults import METHOD_OF
from softmorph_cli.filters.method import Family, Method, find
from softmorph_cli.filters.morphology import Element, check_method
from softmorph_cli.filters.run import Phase
from softmorph_cli.filters.settings import Settings
from softmorph_cli.filters.skeleton import CLDICE_ITERATIONS
from softmorph_cli.rules import catalog
from softmorph_cli.rules.neighborhood import subfields
from softmorph_cli.rules.rule import Rule

SKELETONIZE: Final = "skeletonize"
APPLY: Final = "apply"


@dataclass(frozen=True)
class Spec:
    """A filter as a person asks for it.

    Attributes:
        operation: "skeletonize", "apply", or a key of `morphology.OPERATIONS`.
        settings: Method (None for the filter's own), levels and so on; the device is always the CPU, and `progress`
            is not called.
        iterations: Of "skeletonize" and "apply": how many; None for the rule's own number, which may be until
            nothing changes.
        hard: Of "skeletonize": the binary skeleton of {p > threshold}.
        threshold: For `hard`.
        element: Of the morphological operations.
        rule: Of "apply": see `custom.load_rule`.
    """

    operation: str
    settings: Settings = field(default_factory=Settings)
    iterations: int | None = None
    hard: bool = False
    threshold: float = 0.5
    element: Element = field(default_factory=Element)
    rule: str | Path | Rule | None = None


@dataclass(frozen=True)
class Task:
    """A filter made ready for a map of some shape.

    Attributes:
        spec: What was asked for; its method is "levels" where it is a hard skeleton.
        shape: The map's.
        name: What to call it, for people.
        sequences: The phases; two sequences where the result is their difference; none for clDice.
        iterations: How many, as a result reports it; None until nothing changes.
        radius: The radius reached, where one was asked for.
    """

    spec: Spec
    shape: tuple[int, ...]
    name: str
    sequences: tuple[tuple[Phase, ...], ...]
    iterations: int | None
    radius: tuple[float, ...] | None = None

    @property
    def settings(self) -> Settings:
        """How it runs."""
        return self.spec.settings

    @property
    def method(self) -> Method:
        """The method in force."""
        return find(self.settings.method)

    @property
    def binary(self) -> bool:
        """Whether it runs on bit planes."""
        return self.method.family in (Family.LEVELS, Family.SAMPLES)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps of one iteration, where there is one phase."""
        return compile_rule(self.sequences[0][0].rule, self.method.logic)

    @property
    def passable(self) -> bool:
        """Whether it can run a few iterations at a time, its planes being kept in between."""
        return self.binary and len(self.sequences) == 1 and len(self.sequences[0]) == 1

    @property
    def reach(self) -> tuple[int, ...]:
        """How far one iteration looks along each axis, where there is one phase."""
        return iteration_reach(self.steps, len(self.shape))

    @property
    def halo(self) -> tuple[int, ...] | None:
        """How far the whole filter looks along each axis; None where that has no end."""
        dimensions = len(self.shape)
        if self.method.family is Family.POOLING:
            # The last of N + 1 erosions, and the dilation of what it leaves.
            return ((self.iterations or CLDICE_ITERATIONS) + 2,) * dimensions
        reaches = [(0,) * dimensions]
        for phases in self.sequences:
            total = [0] * dimensions
            for phase in phases:
                if phase.iterations is None:
                    return None
                one = iteration_reach(compile_rule(phase.rule, self.method.logic), dimensions)
                total = [t + phase.iterations * r for t, r in zip(total, one, strict=True)]
            reaches.append(tuple(total))
        return tuple(map(max, zip(*reaches, strict=True)))

    def identity(self) -> dict[str, Any]:
        """Return what the result depends on, as plain values."""
        programs = [
            (step.program.fingerprint, step.offsets, step.outside, step.subfield, phase.iterations)
            for phases in self.sequences
            for phase in phases
            for step in compile_rule(phase.rule, self.method.logic)
        ]
        return {
            "operation": self.name,
            "shape": list(self.shape),
            "settings": self.settings.as_dict(),
            "iterations": self.iterations,
            "threshold": self.spec.threshold if self.spec.hard else None,
            "programs": hashlib.sha256(repr(programs).encode()).hexdigest(),
        }


def iteration_reach(steps: tuple[Step, ...], dimensions: int) -> tuple[int, ...]:
    """Return how far one iteration looks along each axis: what its steps reach, one after the other.

    A step over a subfield takes on only what its neighbours of the other subfields have looked at before it, so 8
    such steps together reach less than 8.
    """
    none = (0,) * dimensions
    reach = dict.fromkeys(subfields(dimensions), none)
    for step in steps:
        moved = {}
        for parity in reach:
            if step.subfield in (None, parity):
                looked = [none]
                for offset in step.offsets:
                    there = reach[tuple((p + o) % 2 for p, o in zip(parity, offset, strict=True))]
                    looked.append(tuple(r + abs(o) for r, o in zip(there, offset, strict=True)))
                moved[parity] = tuple(map(max, *looked)) if step.offsets else none
        reach |= moved
    return tuple(map(max, *reach.values()))


def task(spec: Spec, shape: tuple[int, ...]) -> Task:
    """Make a filter ready for a map of some shape.

    Raises:
        InputError: If the shape, connectivity or spacing do not fit each other, or the filter stops by a sum
            over the whole map.
        RuleError: If the rule does not exist or is for other dimensions.
        UsageError: If an argument is out of range.
    """
    dimensions = len(shape)
    if dimensions not in (2, 3) or 0 in shape:
        raise InputError(f"a map of shape {shape}: (Y, X) or (Z, Y, X) is expected, none of them 0.")
    if spec.iterations is not None and spec.iterations < 1:
        raise UsageError(f"iterations {spec.iterations}: at least 1 is needed.")
    if not spec.settings.device.startswith(("auto", "cpu")):
        raise UsageError(f"tiles are filtered on the CPU: leave out device {spec.settings.device!r}.")
    spec = _resolved(spec)
    match spec.operation:
        case "skeletonize":
            made = _skeletonize(spec, shape)
        case "apply":
            made = _apply(spec, shape)
        case name:
            far, sequences = morphology.plan(name, shape, spec.element)
            made = Task(spec, shape, name, sequences, max(far.steps), far.radius)
    if made.halo is None and not made.binary:
        raise InputError(
            f"method {made.method.name} without a number of iterations stops by a sum over the whole map, which "
            "tiles do not have: give iterations, or use method levels."
        )
    return made


def _resolved(spec: Spec) -> Spec:
    """Return a filter with the method it has."""
    if spec.operation == APPLY:
        if spec.rule is None:
            raise UsageError("apply needs a rule.")
        settings = resolved(spec.settings, spec.rule)
    elif spec.operation in METHOD_OF:
        settings = spec.settings.resolved(METHOD_OF[spec.operation])
    else:
        known = ", ".join((*METHOD_OF, APPLY))
        raise UsageError(f"unknown operation {spec.operation!r}: use one of {known}.")
    if spec.operation != SKELETONIZE:
        check_method(settings.method)
    return replace(spec, settings=settings)


def _skeletonize(spec: Spec, shape: tuple[int, ...]) -> Task:
    if not 0 <= spec.threshold < 1:
        raise UsageError(f"threshold {spec.threshold:g}: it must be at least 0 and below 1.")
    if spec.hard:
        spec = replace(spec, settings=replace(spec.settings, method="levels"))
    if find(spec.settings.method).family is Family.POOLING:
        return Task(spec, shape, "skeleton", (), spec.iterations or CLDICE_ITERATIONS)
    rule = catalog.bundled("thinning", len(shape))
    return Task(spec, shape, "skeleton", ((Phase(rule, spec.iterations),),), spec.iterations)


def _apply(spec: Spec, shape: tuple[int, ...]) -> Task:
    assert spec.rule is not None
    rule = load_rule(spec.rule, len(shape))
    if rule.dimensions != len(shape):
        raise RuleError(f"rule {rule.name!r} is {rule.dimensions}D, but the map is {len(shape)}D.")
    iterations = rule.iterations if spec.iterations is None else spec.iterations
    return Task(spec, shape, rule.name, ((Phase(rule, iterations),),), iterations)
