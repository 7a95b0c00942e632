"""A filter that is prepared for tiles: its parts (sequences of iterations), and the reach of its iterations."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from softmorph_cli.compiler.compile import DIAGRAM, RANKS, Step, compile_rule
from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.filters.filter import MASK, Sequences, SoftFilter
from softmorph_cli.filters.method import Method, Scheme, find
from softmorph_cli.filters.operations.morphological import Morphology
from softmorph_cli.filters.operations.skeletonize import Skeleton
from softmorph_cli.filters.run import Phase, in_planes
from softmorph_cli.filters.settings import Result, Settings
from softmorph_cli.filters.skeleton import CLDICE_ITERATIONS, mark_finished
from softmorph_cli.kernels.bitplanes import chunks as words_of
from softmorph_cli.kernels.bitplanes import word_of
from softmorph_cli.rules.neighborhood import subfields


@dataclass(frozen=True)
class Part:
    """A part of a filter: a sequence of iterations of one rule on one image, run in passes of a few iterations.

    Attributes:
        name: Name of the part for display; "" if the filter has a single part.
        phase: The rule and its number of iterations.
        logic: The logic that the rule is compiled with (an argument of `compile_rule`), such as bit planes or ranks.
        dtype: The dtype of a voxel: unsigned integers for bit planes, floating-point for values; None for the
            floating-point dtype that the map is computed in.
        word: For bit planes, the index of the word of up to 64 planes that the image contains.
        follows: Whether the part starts from the result of the previous part, if that result is stable; else the part
            starts from the map.
    """

    name: str
    phase: Phase
    logic: str
    dtype: np.dtype[Any] | None
    word: int = 0
    follows: bool = False

    @property
    def steps(self) -> tuple[Step, ...]:
        """The compiled steps (sub-iterations) of one iteration."""
        return compile_rule(self.phase.rule, self.logic)

    @property
    def ranked(self) -> bool:
        """Whether the image has values of which only the order matters (ranks), instead of bit planes."""
        return self.logic == RANKS

    def reach(self) -> tuple[int, ...]:
        """Return the reach along each axis: the distance in voxels within which one iteration reads other voxels."""
        return iteration_reach(self.steps, self.phase.rule.dimensions)

    def type_for(self, wide: np.dtype[Any]) -> np.dtype[Any]:
        """Return the dtype of a voxel, for a map that is computed in the dtype `wide`."""
        return self.dtype or wide


@dataclass(frozen=True)
class TiledFilter:
    """A filter that is prepared for the tiles of a map.

    Attributes:
        filter: The filter as requested by the user.
        settings: The filter's settings, whose method is "nested" for a hard skeleton.
        shape: The map's shape.
        name: Name of the filter for display.
        sequences: Sequences of phases (a rule and its number of iterations); two sequences if the result is the
            difference of two filters, none for clDice.
        iterations: The number of iterations that a result reports; None if iterations end when no voxel changes.
        radius: The radius that the iterations reach along each axis, if a radius was requested.
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
        """Whether the result is a binary mask, as for a hard skeleton."""
        return self.filter.gives == MASK

    @property
    def cut(self) -> float:
        """The threshold of the map for a hard skeleton."""
        assert isinstance(self.filter, Skeleton)
        return self.filter.cut

    @property
    def method(self) -> Method:
        """The method that makes the binary filter soft, as chosen or by default."""
        return find(self.settings.method)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The parts that run in passes, one after the other; empty if only a single pass is possible."""
        if len(self.sequences) != 1:
            return ()
        (first, *others), settings = self.sequences[0], self.settings
        if self.method.scheme is Scheme.NESTED:
            name, sets = "thinning" if others else "", settings.level_sets
            # Numbers of levels are exact in both types.
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
        """The largest reach of one iteration of any part along each axis."""
        return tuple(map(max, zip(*(part.reach() for part in self.parts), strict=True)))

    @property
    def halo(self) -> tuple[int, ...] | None:
        """The reach of the whole filter along each axis; None if the number of iterations is unlimited."""
        dimensions = len(self.shape)
        if self.method.scheme is Scheme.POOLING:
            # N + 1 erosions, and one dilation.
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
        """Return all parameters that the result depends on beside the map, as values for JSON."""
        phases = [(phase, self.method.logic) for phases in self.sequences for phase in phases]
        # Parts that differ only in their word of planes have the same programs.
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
        """Return `result`; for a skeleton with method nested, with the attribute `finished` set."""
        if not isinstance(self.filter, Skeleton) or self.method.scheme is not Scheme.NESTED:
            return result
        return mark_finished(result, self.sequences[0])


def _name(phase: Phase) -> str:
    if phase.prunes:
        return "pruning"
    return "finishing" if phase.has_subfields else "thinning"


def iteration_reach(steps: tuple[Step, ...], dimensions: int) -> tuple[int, ...]:
    """Return the reach of one iteration along each axis: the distance in voxels within which it reads other voxels.

    The reach is that of all steps of the iteration one after the other. A step on a subfield (every second voxel along
    each axis) depends on earlier steps only through neighbours in other subfields, so that the reach of 8 such steps
    is less than 8.
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


def tiled_filter(chosen: SoftFilter, shape: tuple[int, ...]) -> TiledFilter:
    """Return a filter that is prepared for the tiles of a map with the given shape.

    Raises:
        SoftmorphError: If the filter does not suit the shape, or its stopping rule depends on the whole map.
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


def _task(chosen: SoftFilter, shape: tuple[int, ...]) -> TiledFilter:
    sequences = chosen.phases(shape)
    match chosen:
        case Skeleton():
            settings, iterations = chosen.settings, chosen.resolved().iterations
            if find(settings.method).scheme is Scheme.POOLING:
                sequences, iterations = (), iterations or CLDICE_ITERATIONS
            return TiledFilter(chosen, settings, shape, chosen.title, sequences, iterations)
        case Morphology():
            far = chosen.reach(shape)
            return TiledFilter(
                chosen, chosen.settings, shape, chosen.title, sequences, max(far.steps), far.radius
            )
        case _:
            ((phase,),) = sequences
            return TiledFilter(chosen, chosen.settings, shape, phase.rule.name, sequences, phase.iterations)
