"""Builds reduced ordered binary decision diagrams (ROBDDs) of expressions with the library dd.

The diagrams of dd have complemented edges. This module removes them: each reachable pair of a node and a sign becomes
a separate node.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, reduce
from typing import Any, Final

from softmorph_cli.errors import RuleError
from softmorph_cli.rules.expression import And, Constant, Expression, Not, Var, Xor, variables, walk
from softmorph_cli.rules.neighborhood import Offset

# Straight-line code of this length compiles in seconds; intermediate diagrams may be larger.
MAX_NODES: Final = 2_000
_MAX_INTERMEDIATE_NODES: Final = 200_000


@dataclass(frozen=True)
class Decision:
    """A node of a decision diagram: it refers to `low` if the voxel at `offset` is background, else to `high`.

    `low` and `high` are references: 0 is the constant false, 1 is the constant true, k + 2 is node k of the diagram.
    """

    offset: Offset
    low: int
    high: int


@dataclass(frozen=True)
class DecisionDiagram:
    """A reduced ordered binary decision diagram.

    Attributes:
        nodes: The decision nodes, children before parents.
        root: The reference (0, 1 or k + 2, as in `Decision`) of the node that represents the whole function.
        order: The offsets of the variables from the top of the diagram to the bottom.
    """

    nodes: tuple[Decision, ...]
    root: int
    order: tuple[Offset, ...] = field(default=(), compare=False)

    def __len__(self) -> int:
        """Return the number of decision nodes of the diagram."""
        return len(self.nodes)


def build(expression: Expression, order: tuple[Offset, ...] = ()) -> DecisionDiagram:
    """Return the decision diagram of an expression.

    Args:
        expression: The Boolean function.
        order: The offsets of variables from the top of the diagram to the bottom; other variables follow in the order
            of their occurrence in the expression. dd's reordering by sifting is not used: it depends on Python's hash
            seed, and the compiled program has to be reproducible.

    Raises:
        RuleError: If the diagram exceeds `MAX_NODES` nodes.
    """
    import dd.bdd

    # By dd's annotations the class is abstract.
    dd_bdd: Any = dd.bdd
    manager = dd_bdd.BDD()
    manager.max_nodes = _MAX_INTERMEDIATE_NODES
    names = {offset: f"v{','.join(map(str, offset))}" for offset in (*order, *variables(expression))}
    offsets = {name: offset for offset, name in names.items()}
    manager.declare(*names.values())
    try:
        root = _translate(expression, names, manager)
    except RuntimeError as error:
        # The operation was not completed: the manager's destructor would complain about its reference counts.
        manager._ref.clear()
        manager._ref[1] = 0
        raise RuleError(_too_large(_MAX_INTERMEDIATE_NODES)) from error
    return _lower(root, manager, offsets)


def _lower(root: int, manager: Any, offsets: dict[str, Offset]) -> DecisionDiagram:
    nodes: list[Decision] = []
    references = {1: 1, -1: 0}

    def reference(node: int) -> int:
        if node not in references:
            level, low, high = manager.succ(abs(node))
            sign = 1 if node > 0 else -1
            nodes.append(
                Decision(offsets[manager.var_at_level(level)], reference(sign * low), reference(sign * high))
            )
            if len(nodes) > MAX_NODES:
                raise RuleError(_too_large(MAX_NODES))
            references[node] = len(nodes) + 1
        return references[node]

    return DecisionDiagram(root=reference(root), nodes=tuple(nodes), order=tuple(offsets.values()))


def is_increasing(diagram: DecisionDiagram) -> bool:
    """Return whether the function of a diagram is increasing: adding foreground never makes the function false.

    Every node represents the function with some voxels fixed. So the function is increasing if and only if, for every
    node, the function of `low` implies the function of `high`; the implication is tested on the diagram, for all
    inputs at once.
    """
    depth = {offset: number for number, offset in enumerate(diagram.order)}

    def branches(reference: int, top: int) -> tuple[int, int]:
        if reference < 2 or depth[diagram.nodes[reference - 2].offset] != top:
            return reference, reference
        node = diagram.nodes[reference - 2]
        return node.low, node.high

    @cache
    def implies(first: int, second: int) -> bool:
        if first == 0 or second == 1 or first == second:
            return True
        # In a reduced diagram no node is constant, and no two are the same function.
        if first == 1 or second == 0:
            return False
        top = min(depth[diagram.nodes[reference - 2].offset] for reference in (first, second))
        pairs = zip(branches(first, top), branches(second, top), strict=True)
        return all(implies(one, other) for one, other in pairs)

    return all(implies(node.low, node.high) for node in diagram.nodes)


def _translate(expression: Expression, names: dict[Offset, str], manager: Any) -> int:
    # References are integers, negative for a complement; dd collects no garbage meanwhile.
    value: dict[Expression, int] = {}
    for node in walk(expression):
        arguments = [value[argument] for argument in node.arguments]
        match node:
            case Constant():
                value[node] = 1 if node.value else -1
            case Var():
                value[node] = manager.var(names[node.offset])
            case Not():
                value[node] = -arguments[0]
            case _:
                operator = "and" if isinstance(node, And) else "xor" if isinstance(node, Xor) else "or"
                value[node] = reduce(lambda a, b, o=operator: manager.apply(o, a, b), arguments)  # type: ignore[misc]
    return value[expression]


def _too_large(limit: int) -> str:
    return (
        f"the rule's decision diagram grows past {limit} nodes; give it a better variable `order`, "
        "or a condition that counts over fewer voxels"
    )
