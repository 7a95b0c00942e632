"""Boolean expressions over the neighbours of a voxel.

Expressions are interned: equal expressions are the same object and are compared by identity. A symmetric function
such as "at least 14 of 27" is therefore a small graph with shared nodes instead of an exponentially large tree.

The logic `product` and the t-norms evaluate an expression as it was written, because their AND and OR are not
distributive; a decision diagram depends only on the Boolean function. Operations on more than two operands are
evaluated from left to right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from softmorph_cli.rules.neighborhood import Offset, Rotation, rotate


@dataclass(frozen=True, eq=False)
class Expression:
    """Base class of the nodes of Boolean expressions; the functions of this module, such as `var`, create the nodes."""

    def __and__(self, other: Expression) -> Expression:
        """Return `self AND other`."""
        return all_of(self, other)

    def __or__(self, other: Expression) -> Expression:
        """Return `self OR other`."""
        return any_of(self, other)

    def __xor__(self, other: Expression) -> Expression:
        """Return `self XOR other`."""
        return xor(self, other)

    def __invert__(self) -> Expression:
        """Return `NOT self`."""
        return negation(self)

    @property
    def arguments(self) -> tuple[Expression, ...]:
        """The operands of the node, from left to right; empty for constants and variables."""
        return ()

    def __reduce__(self) -> tuple[Callable[..., Expression], tuple[Any, ...]]:
        """Return the function and arguments with which pickle recreates the node, as an interned object."""
        match self:
            case Constant():
                return constant, (self.value,)
            case Var():
                return var, (self.offset,)
            case Not():
                return negation, (self.operand,)
            case And():
                return all_of, self.operands
            case Or():
                return any_of, self.operands
            case _:
                return xor, self.arguments


@dataclass(frozen=True, eq=False)
class Constant(Expression):
    """The Boolean constant true or false."""

    value: bool


@dataclass(frozen=True, eq=False)
class Var(Expression):
    """A Boolean variable that is true if the voxel at an offset from the centre voxel is foreground."""

    offset: Offset


@dataclass(frozen=True, eq=False)
class Not(Expression):
    """The negation (NOT) of one operand."""

    operand: Expression = field(repr=False)

    @property
    def arguments(self) -> tuple[Expression, ...]:
        """The operand of the negation, as a tuple of length 1."""
        return (self.operand,)


@dataclass(frozen=True, eq=False)
class _Operation(Expression):
    # Not in the repr: as a tree, a shared graph is exponentially large.
    operands: tuple[Expression, ...] = field(repr=False)

    @property
    def arguments(self) -> tuple[Expression, ...]:
        """The operands of the operation, from left to right."""
        return self.operands


class And(_Operation):
    """The conjunction (AND) of two or more operands."""


class Or(_Operation):
    """The disjunction (OR) of two or more operands."""


class Xor(_Operation):
    """The parity (XOR) of two or more operands, evaluated from left to right."""


@cache
def constant(value: bool) -> Constant:
    """Return the node for the Boolean constant `value`."""
    return Constant(value)


@cache
def var(offset: Offset) -> Var:
    """Return the variable that is true if the voxel at `offset` from the centre voxel is foreground."""
    return Var(offset)


@cache
def negation(operand: Expression) -> Expression:
    """Return the negation of an operand; a double negation is simplified to the operand, and a constant is inverted."""
    if isinstance(operand, Not):
        return operand.operand
    return constant(not operand.value) if isinstance(operand, Constant) else Not(operand)


def all_of(*operands: Expression) -> Expression:
    """Return the AND of the operands (true if there are none)."""
    return _fold(And, operands, neutral=True)


def any_of(*operands: Expression) -> Expression:
    """Return the OR of the operands (false if there are none)."""
    return _fold(Or, operands, neutral=False)


@cache
def xor(*operands: Expression) -> Expression:
    """Return the parity (XOR) of one or more operands."""
    return operands[0] if len(operands) == 1 else Xor(operands)


@cache
def _fold(kind: type[And] | type[Or], operands: tuple[Expression, ...], *, neutral: bool) -> Expression:
    if constant(not neutral) in operands:
        return constant(not neutral)
    kept = tuple(operand for operand in operands if operand is not constant(neutral))
    if not kept:
        return constant(neutral)
    return kept[0] if len(kept) == 1 else kind(kept)


def at_least(count: int, operands: Sequence[Expression]) -> Expression:
    """Return the expression "at least `count` of `operands` are true", a graph of O(count * len(operands)) nodes."""

    @cache
    def of_rest(wanted: int, first: int) -> Expression:
        left = len(operands) - first
        if wanted <= 0:
            return constant(True)
        if wanted > left:
            return constant(False)
        return any_of(all_of(operands[first], of_rest(wanted - 1, first + 1)), of_rest(wanted, first + 1))

    return of_rest(count, 0)


def exactly(count: int, operands: Sequence[Expression]) -> Expression:
    """Return the expression "exactly `count` of `operands` are true"."""

    @cache
    def of_rest(wanted: int, first: int) -> Expression:
        if wanted < 0 or wanted > len(operands) - first:
            return constant(False)
        if first == len(operands):
            return constant(True)
        head = operands[first]
        return any_of(
            all_of(head, of_rest(wanted - 1, first + 1)), all_of(negation(head), of_rest(wanted, first + 1))
        )

    return of_rest(count, 0)


def walk(expression: Expression) -> Iterator[Expression]:
    """Yield every distinct node of an expression once, in topological order: operands before nodes that use them."""
    seen: set[Expression] = set()
    stack: list[tuple[Expression, bool]] = [(expression, False)]
    while stack:
        node, ready = stack.pop()
        if ready:
            yield node
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((argument, False) for argument in reversed(node.arguments))


def variables(expression: Expression) -> tuple[Offset, ...]:
    """Return the offsets of the variables of an expression, in the order in which `walk` meets them."""
    return tuple(node.offset for node in walk(expression) if isinstance(node, Var))


def turned(expression: Expression, rotation: Rotation) -> Expression:
    """Return a copy of an expression in which the offset of every variable is rotated by `rotation`."""
    new: dict[Expression, Expression] = {}
    for node in walk(expression):
        arguments = [new[argument] for argument in node.arguments]
        match node:
            case Var():
                new[node] = var(rotate(node.offset, rotation))
            case Not():
                new[node] = negation(arguments[0])
            case And():
                new[node] = all_of(*arguments)
            case Or():
                new[node] = any_of(*arguments)
            case Xor():
                new[node] = xor(*arguments)
            case _:
                new[node] = node
    return new[expression]


def canonical(expression: Expression) -> str:
    """Return an expression as text with one line per distinct node; equal texts mean equal expressions."""
    number: dict[Expression, int] = {}
    lines = []
    for index, node in enumerate(walk(expression)):
        number[node] = index
        match node:
            case Constant():
                lines.append(f"const {int(node.value)}")
            case Var():
                lines.append(f"var {' '.join(map(str, node.offset))}")
            case _:
                operands = " ".join(str(number[argument]) for argument in node.arguments)
                lines.append(f"{type(node).__name__.lower()} {operands}")
    return "\n".join(lines)
