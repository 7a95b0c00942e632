"""Lowers (translates) a decision diagram or an expression to a program.

The logic `multilinear` evaluates the diagram: each node is low + x (high - low), which is the expectation of the
Boolean function for independent voxels, and on bit planes the function itself. The logic `minmax` evaluates the
diagram of an increasing rule: each node is max(low, min(x, high)), so that every level set of the result is the rule
applied to that level set. The fuzzy logics evaluate the expression as it was written, because their AND does not
distribute over OR.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Final

from softmorph_cli.compiler.diagram import DecisionDiagram
from softmorph_cli.compiler.program import Builder, Op, Program
from softmorph_cli.rules.expression import And, Constant, Expression, Not, Var, Xor, walk

Connective = Callable[[Builder, int, int], int]


def lower_diagram(diagram: DecisionDiagram, *, nested: bool = False) -> Program:
    """Return the program of a diagram, which computes the exact expectation on probabilities, the rule on bit planes.

    Args:
        diagram: The Boolean function that gives the new value of a voxel.
        nested: Whether the program acts on bit planes of nested level sets. A voxel is then deleted from a level only
            if it is deleted from all higher levels, so that the level sets stay nested.
    """
    builder = Builder()
    result = _lower_nodes(diagram, builder, builder.mix)
    return builder.build(builder.emit(Op.FILL, result) if nested else result)


def lower_increasing(diagram: DecisionDiagram) -> Program:
    """Return the program, in minima and maxima, that applies an increasing diagram at every threshold."""
    builder = Builder()

    def choose(x: int, low: int, high: int) -> int:
        within = x if high == builder.const(1) else builder.emit(Op.MIN, x, high)
        return within if low == builder.const(0) else builder.emit(Op.MAX, low, within)

    return builder.build(_lower_nodes(diagram, builder, choose))


def _lower_nodes(diagram: DecisionDiagram, builder: Builder, choose: Callable[[int, int, int], int]) -> int:
    references = [builder.const(0), builder.const(1)]
    for node in diagram.nodes:
        references.append(choose(builder.input(node.offset), references[node.low], references[node.high]))
    return references[diagram.root]


def lower_expression(expression: Expression, logic: str) -> Program:
    """Return the program of an expression as it was written, under the logic with the name `logic` in `LOGICS`."""
    conjunction, disjunction, parity = LOGICS[logic]
    builder = Builder()
    value: dict[Expression, int] = {}
    for node in walk(expression):
        arguments = [value[argument] for argument in node.arguments]
        match node:
            case Constant():
                value[node] = builder.const(int(node.value))
            case Var():
                value[node] = builder.input(node.offset)
            case Not():
                value[node] = builder.negate(arguments[0])
            case _:
                fold = (
                    conjunction if isinstance(node, And) else parity if isinstance(node, Xor) else disjunction
                )
                value[node] = reduce(lambda a, b, f=fold: f(builder, a, b), arguments)  # type: ignore[misc]
    return builder.build(value[expression])


def _dual(conjunction: Connective) -> Connective:
    """Return the OR that is dual to an AND, NOT (NOT a AND NOT b): near 1 a closed form would divide by zero."""
    return lambda b, x, y: b.negate(conjunction(b, b.negate(x), b.negate(y)))


def _parity(conjunction: Connective, disjunction: Connective) -> Connective:
    return lambda b, x, y: disjunction(b, conjunction(b, x, b.negate(y)), conjunction(b, b.negate(x), y))


def _operation(op: Op) -> Connective:
    return lambda b, x, y: b.emit(op, x, y)


_product, _minimum, _maximum = map(_operation, (Op.MUL, Op.MIN, Op.MAX))


def _bounded_and(b: Builder, x: int, y: int) -> int:
    # max(0, x + y - 1), computed as x - (1 - y): exact if both are near 1.
    return b.emit(Op.MAX, b.const(0), b.emit(Op.SUB, x, b.negate(y)))


def _bounded_or(b: Builder, x: int, y: int) -> int:
    return b.emit(Op.MIN, b.const(1), b.emit(Op.ADD, x, y))


def _einstein_and(b: Builder, x: int, y: int) -> int:
    # 2 - (x + y - xy) = 1 + (1 - x)(1 - y)
    below = b.emit(Op.ADD, b.const(1), b.emit(Op.MUL, b.negate(x), b.negate(y)))
    return b.emit(Op.DIV, b.emit(Op.MUL, x, y), below)


def _einstein_or(b: Builder, x: int, y: int) -> int:
    below = b.emit(Op.ADD, b.const(1), b.emit(Op.MUL, x, y))
    return b.emit(Op.DIV, b.emit(Op.ADD, x, y), below)


def _hamacher_and(b: Builder, x: int, y: int) -> int:
    # x + y - xy = x + y (1 - x); it is 0 only at x = y = 0, where DIV returns 0 as the logic defines.
    below = b.emit(Op.ADD, x, b.emit(Op.MUL, y, b.negate(x)))
    # x (y / ..), not (xy) / ..: the quotient and the derivatives stay in [0, 1], near the origin, too.
    return b.emit(Op.MUL, x, b.emit(Op.DIV, y, below))


def _drastic_and(b: Builder, x: int, y: int) -> int:
    one_is_one = b.negate(b.emit(Op.STEP, b.negate(_maximum(b, x, y))))
    return _minimum(b, _minimum(b, x, y), one_is_one)


def _drastic_or(b: Builder, x: int, y: int) -> int:
    none_is_zero = b.emit(Op.STEP, _minimum(b, x, y))
    return _maximum(b, _maximum(b, x, y), none_is_zero)


def _probabilistic_parity(b: Builder, x: int, y: int) -> int:
    return b.mix(x, y, b.negate(y))


def _logic(conjunction: Connective, disjunction: Connective) -> tuple[Connective, Connective, Connective]:
    return conjunction, disjunction, _parity(conjunction, disjunction)


# AND, OR and XOR of every logic. NOT is 1 - a in all of them.
LOGICS: Final[dict[str, tuple[Connective, Connective, Connective]]] = {
    "product": (_product, _dual(_product), _probabilistic_parity),
    "minmax": _logic(_minimum, _maximum),
    "lukasiewicz": _logic(_bounded_and, _bounded_or),
    "einstein": _logic(_einstein_and, _einstein_or),
    "hamacher": _logic(_hamacher_and, _dual(_hamacher_and)),
    "drastic": _logic(_drastic_and, _drastic_or),
}
