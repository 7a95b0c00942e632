"""What is to be done to a map, and how far each voxel of the result looks for it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from softmorph_cli.compiler import DIAGRAM, RANKS, Step, compile_rule
from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.filters.filter import MASK, Sequences, SoftFilter
from softmorph_cli.filters.method import Method, Scheme, find
from softmorph_cli.filters.morphology import reach
from softmorph_cli.filters.operations import Morphology, Skeleton
from softmorph_cli.filters.run import Phase, in_planes
from softmorph_cli.filters.settings import Result, Settings
from softmorph_cli.filters.skeleton import CLDICE_ITERATIONS, mark_finished
from softmorph_cli.kernels.bitplanes import chunks as words_of
from softmorph_cli.kernels.bitplanes import word_of
from softmorph_cli.rules.neighborhood import subfields


@dataclass(frozen=True)
class Part:
    """An image that is brought to rest a few iterations at a time.

    Attributes:
        name: What to call it beside the others, for people; "" for the only one.
        phase: The rule, and how often.
        logic: Of the rule's programs, see `compile_rule`.
        dtype: Of a voxel: unsigned for planes, floating for values; None for values of the map's own type.
        word: Of planes: which 64.
        follows: Whether it starts from the previous part's result, and only if that part reached its fixed point;
            if not, it starts from the map.
    """

    name: str
    phase: Phase
    logic: str
    dtype: np.dtype[Any] | None
    word: int = 0
    follows: bool = False

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps of one iteration."""
        return compile_rule(self.phase.rule, self.logic)

    @property
    def ranked(self) -> bool:
        """Whether it is values that go by their order; else planes."""
        return self.logic == RANKS

    def reach(self) -> tuple[int, ...]:
        """Return how far one iteration looks along each axis."""
        return iteration_reach(self.steps, self.phase.rule.dimensions)

    def type_for(self, wide: np.dtype[Any]) -> np.dtype[Any]:
        """Return the type of a voxel where a map is computed in the type `wide`."""
        return self.dtype or wide


@dataclass(frozen=True)
class Task:
    """A filter made ready for a map of some shape.

    Attributes:
        filter: It, as it is asked for.
        settings: How it runs; their method is "nested" where it is a hard skeleton.
        shape: The map's.
        name: What to call it, for people.
        sequences: The phases; two sequences where the result is their difference; none for clDice.
        iterations: How many, as a result reports it; None until nothing changes.
        radius: The radius reached, where one was asked for.
    """

    filter: SoftFilter
    settings: Settings
    shape: tuple[int, ...]
    name: str
    sequences: Sequences
    iterations: int | None
    radius: tuple[float, ...] | None = None

    @property
    def hard(self) -> bool:
        """Whether the result is a mask."""
        return self.filter.gives == MASK

    @property
    def cut(self) -> float:
        """Of a hard skeleton: the threshold of the map that it is the skeleton of."""
        assert isinstance(self.filter, Skeleton)
        return self.filter.cut

    @property
    def method(self) -> Method:
        """The method in force."""
        return find(self.settings.method)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """What runs a few iterations at a time, one after the other; empty where all has to be done at once."""
        if len(self.sequences) != 1:
            return ()
        (first, *others), settings = self.sequences[0], self.settings
        if self.method.scheme is Scheme.NESTED:
            name, sets = "thinning" if others else "", settings.level_sets
            # Numbers of levels are exact in either type.
            kind = np.dtype(np.float32) if sets is not None or self.hard else None
            if self.hard:
                begun = Part(name, first, DIAGRAM, np.dtype(np.uint8))
            elif in_planes(settings, first):
                begun = Part(name, first, self.method.logic, word_of(settings.planes))
            else:
                begun = Part(name, first, RANKS, kind)
            return begun, *(Part(_name(phase), phase, RANKS, kind, follows=True) for phase in others)
        if others or self.method.scheme not in (Scheme.LEVELS, Scheme.SAMPLES):
            return ()
        words = words_of(settings.planes)
        return tuple(
            Part(
                f"levels {word + 1} of {len(words)}" if len(words) > 1 else "",
                first,
                self.method.logic,
                word_of(settings.planes),
                word,
            )
            for word in words
        )

    @property
    def reach(self) -> tuple[int, ...]:
        """How far one iteration looks along each axis, of whatever part."""
        return tuple(map(max, zip(*(part.reach() for part in self.parts), strict=True)))

    @property
    def halo(self) -> tuple[int, ...] | None:
        """How far the whole filter looks along each axis; None where that has no end."""
        dimensions = len(self.shape)
        if self.method.scheme is Scheme.POOLING:
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
        phases = [(phase, self.method.logic) for phases in self.sequences for phase in phases]
        # Words of planes have the same programs.
        phases = list(dict.fromkeys((part.phase, part.logic) for part in self.parts)) or phases
        programs = [
            (step.program.fingerprint, step.offsets, step.outside, phase.iterations, *(step.subfield or ()))
            for phase, logic in phases
            for step in compile_rule(phase.rule, logic)
        ]
        return {
            "operation": self.name,
            "shape": list(self.shape),
            "settings": self.settings.as_dict(),
            "iterations": self.iterations,
            "threshold": self.cut if self.hard else None,
            "programs": hashlib.sha256(repr(programs).encode()).hexdigest(),
        }

    def marked(self, result: Result) -> Result:
        """Return a result that says whether it is finished, where that may be asked."""
        if not isinstance(self.filter, Skeleton) or self.method.scheme is not Scheme.NESTED:
            return result
        return mark_finished(result, self.sequences[0])


def _name(phase: Phase) -> str:
    """Return what to call a phase of a skeletonization."""
    if phase.prunes:
        return "pruning"
    return "finishing" if phase.has_subfields else "thinning"


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


def task(chosen: SoftFilter, shape: tuple[int, ...]) -> Task:
    """Make a filter ready for a map of some shape.

    Args:
        chosen: The filter; the device is always the CPU.
        shape: The map's.

    Raises:
        SoftmorphError: If the filter and the shape do not fit each other, or the filter stops by what all of the map
            does.
    """
    dimensions = len(shape)
    if dimensions not in (2, 3) or 0 in shape:
        raise InputError(f"a map of shape {shape}: (Y, X) or (Z, Y, X) is expected, none of them 0.")
    if not chosen.device.startswith(("auto", "cpu")):
        raise UsageError(f"tiles are filtered on the CPU: leave out device {chosen.device!r}.")
    made = _task(chosen, shape)
    if made.halo is None and not made.parts:
        other = "nested" if isinstance(chosen, Skeleton) else "levels"
        raise InputError(
            f"method {made.method.name} without --iterations stops by what all of the map does, which "
            f"tiles do not have: add --iterations N, or --method {other}."
        )
    return made


def _task(chosen: SoftFilter, shape: tuple[int, ...]) -> Task:
    sequences = chosen.phases(shape)
    match chosen:
        case Skeleton():
            settings, iterations = chosen.settings, chosen.resolved().iterations
            if find(settings.method).scheme is Scheme.POOLING:
                sequences, iterations = (), iterations or CLDICE_ITERATIONS
            return Task(chosen, settings, shape, chosen.title, sequences, iterations)
        case Morphology():
            far = reach(shape, chosen)
            return Task(chosen, chosen.settings, shape, chosen.title, sequences, max(far.steps), far.radius)
        case _:
            ((phase,),) = sequences
            return Task(chosen, chosen.settings, shape, phase.rule.name, sequences, phase.iterations)
