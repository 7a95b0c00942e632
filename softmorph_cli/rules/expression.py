"""Boolean expressions over the neighbours of a voxel.

Expressions are interned: equal expressions are the same object. Comparison is therefore by identity, and a symmetric
function such as "at least 14 of 27" is a small graph instead of an exponential tree.

`product` and the t-norms evaluate the tree as it was written (they are not distributive); the decision diagram depends
on the Boolean function only. Operations on more than two operands are evaluated from left to right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from softmorph_cli.rules.neighborhood import Offset, Rotation, rotate


@dataclass(frozen=True, eq=False)
class Expression:
    """Base class of nodes, which are made by the functions below."""

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
        """The node's operands, left to right."""
        return ()

    def __reduce__(self) -> tuple[Callable[..., Expression], tuple[Any, ...]]:
        """Return the function that makes the node: unpickled nodes are interned, too."""
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
    """True or false."""

    value: bool


@dataclass(frozen=True, eq=False)
class Var(Expression):
    """Whether the voxel at an offset is foreground."""

    offset: Offset


@dataclass(frozen=True, eq=False)
class Not(Expression):
    """Negation."""

    operand: Expression = field(repr=False)

    @property
    def arguments(self) -> tuple[Expression, ...]:
        """The operand."""
        return (self.operand,)


@dataclass(frozen=True, eq=False)
class _Operation(Expression):
    # Not in the repr: as a tree, a shared graph is exponentially large.
    operands: tuple[Expression, ...] = field(repr=False)

    @property
    def arguments(self) -> tuple[Expression, ...]:
        """The operands, left to right."""
        return self.operands


class And(_Operation):
    """Conjunction of two or more."""


class Or(_Operation):
    """Disjunction of two or more."""


class Xor(_Operation):
    """Parity of two or more, nested to the left."""


@cache
def constant(value: bool) -> Constant:
    """Return the constant."""
    return Constant(value)


@cache
def var(offset: Offset) -> Var:
    """Return the variable of an offset."""
    return Var(offset)


@cache
def negation(operand: Expression) -> Expression:
    """Return NOT operand; a double negation cancels."""
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
    """Return the parity of two or more operands."""
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
    """Return "at least `count` of the operands are true", a graph of `count * len(operands)` nodes."""

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
    """Return "exactly `count` of the operands are true"."""

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
    """Yield every distinct node once, operands before the nodes that use them."""
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
    """Return the offsets of an expression's variables in the order of their first occurrence."""
    return tuple(node.offset for node in walk(expression) if isinstance(node, Var))


def turned(expression: Expression, rotation: Rotation) -> Expression:
    """Return the expression with every offset rotated."""
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
    """Return a text with one line per distinct node: equal texts mean equal expressions."""
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
