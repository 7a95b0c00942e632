"""Tests whether a rule may run as `nested`: deleting any subset of the voxels a pass deletes keeps the topology.

The method `nested` deletes a voxel from a level only if the voxel is deleted from all higher levels, so at each level
it deletes a subset of the voxels that the rule deletes. In 2D the minimal sets of pixels whose deletion changes the
topology are known, and all are tested: single pixels, two 4-neighbours, and components within a 2 x 2 square (Ronse,
*Minimal test patterns for connectivity preservation in parallel thinning algorithms for binary digital images*,
1988). In 3D the deleted voxels have to be P-simple (module `p_simple`), which is sufficient but not necessary. Voxels
of one subfield are not neighbours: each of them has to be simple.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator, Set
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import resources
from itertools import combinations, product
from pathlib import Path
from typing import Any, Final

from softmorph_cli.compiler.compile import DIAGRAM, Step, compile_rule
from softmorph_cli.compiler.deletions import Words, deletions
from softmorph_cli.compiler.p_simple import first_failure
from softmorph_cli.compiler.program import Program
from softmorph_cli.errors import RuleError
from softmorph_cli.rules import catalog
from softmorph_cli.rules.expression import And, Expression
from softmorph_cli.rules.neighborhood import Offset, block, centre
from softmorph_cli.rules.picture import Template
from softmorph_cli.rules.ring import around, components, ring
from softmorph_cli.rules.rule import Action, Rule
from softmorph_cli.rules.simple_points import SUFFIX, simple, with_simple
from softmorph_cli.system import cache as disk
from softmorph_cli.system.parameters import in_shell, named
from softmorph_cli.system.printable import INDENT

# Part of the keys on disk: to be incremented when the findings change.
_EDITION: Final = 1

# The findings for the bundled 3D rules, written by `python -m softmorph_cli.compiler.nesting`.
KNOWN: Final = resources.files("softmorph_cli.compiler") / "nesting.json"


@dataclass(frozen=True)
class Nesting:
    """The result of the test whether a rule may run as `nested`, with a reason.

    Attributes:
        holds: Whether the rule may run as `nested`.
        reason: The reason, as a clause about the rule without a full stop.
        counterexample: A picture of an image for which the test fails, in the format of templates, with `d` for
            deleted voxels and, in 3D, `p` for neighbours that may be deleted together with them; None if no picture
            was drawn.
        repair: Whether the rule restricted to simple points and subfields (`simple_points.with_simple`) deletes any
            voxel; the restricted rule may run as `nested`.
    """

    holds: bool
    reason: str
    counterexample: str | None = None
    repair: bool = False

    def describe(self, rule: str) -> str:
        """Return a message for the user about a rule, with the counter-example and the command to type instead.

        Args:
            rule: The name or the file of the rule.
        """
        if self.holds:
            return f"rule {rule} can run as nested: {self.reason}."
        text, drawing = f"rule {rule} cannot run as nested: {self.reason}", ""
        if self.counterexample:
            marks = "1 foreground, 0 background, d deleted"
            marks += ", p may be deleted as well" if "p" in self.counterexample else ""
            drawing = INDENT + INDENT.join(self.counterexample.splitlines())
            text += f" (drawn below: {marks})"
        other = f"leave out {named('method', 'nested')}"
        if self.repair:
            command = f"apply_rule({rule + SUFFIX!r}, image, method='nested')"
            if in_shell():
                command = f"softmorph apply {shlex.quote(rule + SUFFIX)} IN OUT {named('method', 'nested')}"
            advice = f"Type {command} for this rule at simple points alone, subfield by subfield, or {other}."
        else:
            advice = f"{other[0].upper()}{other[1:]}."
        return f"{text}. {advice}{drawing}"


_PROVEN: Final = Nesting(
    True, "any subset of what one of its passes deletes may go without a change of topology"
)


@cache
def check(rule: Rule) -> Nesting:
    """Return whether a rule may run as `nested`, as a `Nesting`.

    In 3D the test takes some seconds for a new program; results are cached on disk.

    Raises:
        RuleError: If the decision diagram of the rule is too large.
    """
    if rule.action is not Action.DELETE:
        does = {Action.ADD: "adds", Action.SET: "sets"}[rule.action]
        return Nesting(False, f"it {does} voxels, and only deleting keeps each level inside the one below")
    if rule.outside:
        reason = "it takes what is outside the image for foreground, whose topology is another one"
        return Nesting(False, reason, repair=_repairable(rule))
    found: dict[tuple[Program, bool], Nesting] = {}
    steps = compile_rule(rule, DIAGRAM)
    differ = len({step.program for step in steps}) > 1
    for sub_iteration, step in zip(rule.sub_iterations, steps, strict=True):
        # Passes that differ only in their direction or subfield are tested once.
        kind = (step.program, step.subfield is not None)
        if kind not in found:
            proven = kind[1] and _implies_simple(sub_iteration.expression)
            found[kind] = _PROVEN if proven else _look_up(step, rule.dimensions)
            if not found[kind].holds:
                place = f"in its pass {sub_iteration.label} " if differ else ""
                return replace(found[kind], reason=place + found[kind].reason, repair=_repairable(rule))
    return _PROVEN


def _repairable(rule: Rule) -> bool:
    """Return whether a rule restricted to simple points still deletes voxels and has decision diagrams small enough."""
    try:
        return any(len(step.program.instructions) > 1 for step in compile_rule(with_simple(rule), DIAGRAM))
    except RuleError:
        return False


def _implies_simple(condition: Expression) -> bool:
    """Return whether a condition is the expression `simple`, or a conjunction that contains it."""
    if condition in (simple(2), simple(3)):
        return True
    return isinstance(condition, And) and any(map(_implies_simple, condition.arguments))


def _look_up(step: Step, dimensions: int) -> Nesting:
    key = _key(step)
    with suppress(KeyError):
        return Nesting(**_known()[key])
    kept = disk.load("nesting", key)
    if kept is not None:
        # A damaged entry is computed again and replaced.
        with suppress(ValueError, TypeError):
            return Nesting(**json.loads(kept))
    found = prove(step, dimensions)
    # Without a writable cache the next process computes it again.
    with suppress(OSError):
        disk.store("nesting", key, json.dumps(asdict(found)))
    return found


def _key(step: Step) -> str:
    text = f"{_EDITION}\n{step.subfield is not None}\n{step.program}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@cache
def _known() -> dict[str, dict[str, Any]]:
    known: dict[str, dict[str, Any]] = json.loads(KNOWN.read_text(encoding="utf-8"))
    return known


def prove(step: Step, dimensions: int) -> Nesting:
    """Return whether deleting any subset of a step's deleted voxels keeps the topology; tests all neighbourhoods."""
    deleted = deletions(step.program)
    alone = step.subfield is not None
    if dimensions == 3:
        return _prove_3d(deleted, alone=alone)
    reason, image, removed = next(_failures_2d(deleted, alone=alone), ("", frozenset(), frozenset()))
    return Nesting(False, reason, _draw_2d(image, removed)) if reason else _PROVEN


def _prove_3d(deleted: Words, *, alone: bool) -> Nesting:
    failure = first_failure(deleted, alone=alone)
    if failure is None:
        return _PROVEN
    # A voxel that is not simple is the better counter-example.
    image, peers = first_failure(deleted, alone=True) or failure
    if peers:
        reason = "a voxel that it deletes need not stay simple where it deletes neighbours as well"
    else:
        reason = "it deletes a voxel that is not simple, whose deletion alone may change the topology"
    marks = {o: "p" if o in peers else "1" if o in image else "0" for o in block(3)} | {centre(3): "d"}
    return Nesting(False, reason, str(Template(tuple(marks.items()))))


def _failures_2d(deleted: Words, *, alone: bool) -> Iterator[tuple[str, Set[Offset], Set[Offset]]]:
    """Yield the failures of a 2D rule: a reason, an image, and the pixels whose deletion changes the topology.

    Args:
        deleted: The truth table of the deletions, from `deletions.deletions`.
        alone: Whether no two neighbours are deleted at once (the pass is over one subfield).
    """

    def is_deleted(pixel: Offset, image: Set[Offset]) -> bool:
        bits = ring(2).bits(_about(pixel, image))
        return bool(int(deleted[bits // 64]) >> bits % 64 & 1)

    pixel = centre(2)
    for image in _images({pixel}):
        if is_deleted(pixel, image) and not _is_simple(image, 2):
            yield (
                "it deletes a pixel that is not simple, which alone changes components or holes",
                image,
                {pixel},
            )
    if alone:
        return
    for size in (2, 3, 4):
        for image in map(frozenset, combinations(product((0, 1), repeat=2), size)):
            if all(is_deleted(one, image) for one in image):
                yield f"it deletes a component of {size} pixels at once", image, image
    for other in ((0, 1), (1, 0)):
        for image in _images({pixel, other}):
            if is_deleted(pixel, image) and is_deleted(other, image):
                rest = _about(other, image - {pixel})
                if not _is_simple(rest, 2):
                    yield "it deletes two neighbours at once of which only one may go", image, {pixel, other}


def _images(pixels: Set[Offset]) -> Iterator[Set[Offset]]:
    """Yield all images that consist of `pixels` and any subset of the pixels' neighbours, the smallest image first."""
    near = sorted(set().union(*(around(pixel, set(block(2))) for pixel in pixels)) - pixels)
    for size in range(len(near) + 1):
        for chosen in combinations(near, size):
            yield pixels | set(chosen)


def _about(pixel: Offset, image: Set[Offset]) -> set[Offset]:
    """Return the foreground of an image in coordinates relative to a pixel."""
    return around((-pixel[0], -pixel[1]), image)


def _is_simple(image: Set[Offset], dimensions: int) -> bool:
    """Return whether the centre voxel of an image is a simple point."""
    neighbours = ring(dimensions)
    bits = neighbours.bits(image)
    foreground = components(bits, bits, neighbours.grow)
    background = components(neighbours.near & ~bits, neighbours.cross, neighbours.flow)
    return foreground == background == 1


def _draw_2d(image: Set[Offset], removed: Set[Offset]) -> str:
    rows, columns = (range(min(axis) - 1, max(axis) + 2) for axis in zip(*image, strict=True))

    def mark(pixel: Offset) -> str:
        return "d" if pixel in removed else "1" if pixel in image else "0"

    return "\n".join("".join(mark((y, x)) for x in columns) for y in rows)


def write(path: Path) -> None:
    """Write the results of the test for the bundled deleting 3D rules to a JSON file."""
    found: dict[str, Step] = {}
    for rule in map(catalog.bundled, catalog.names()):
        if rule.dimensions == 3 and rule.action is Action.DELETE:
            for step in compile_rule(rule, DIAGRAM):
                found.setdefault(_key(step), step)
    text = json.dumps({key: asdict(prove(step, 3)) for key, step in found.items()}, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(str(KNOWN)))
