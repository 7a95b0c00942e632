"""Expression -> reduced ordered binary decision diagram (ROBDD), by the library dd.

dd keeps complemented edges, at the root too. They are lowered here: each (node, sign) pair that is reached
becomes a node of its own, so that what follows sees plain decisions only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, reduce
from typing import Any, Final

from softmorph_cli.errors import RuleError
from softmorph_cli.rules.expression import And, Constant, Expression, Not, Var, Xor, variables, walk
from softmorph_cli.rules.neighborhood import Offset

# Straight-line code of this length still compiles in seconds; on the way there a diagram may be larger.
MAX_NODES: Final = 2_000
_MAX_NODES_ON_THE_WAY: Final = 200_000


@dataclass(frozen=True)
class Node:
    """A decision: the value is `low` where the voxel at `offset` is background, else `high`.

    References are 0 for false, 1 for true, k + 2 for node k.
    """

    offset: Offset
    low: int
    high: int


@dataclass(frozen=True)
class Diagram:
    """A reduced ordered diagram.

    Attributes:
        nodes: Children before parents.
        root: Reference of the whole function.
    """

    nodes: tuple[Node, ...]
    root: int

    def __len__(self) -> int:
        """Return the number of decision nodes."""
        return len(self.nodes)


def build(expression: Expression, order: tuple[Offset, ...] = ()) -> Diagram:
    """Return the diagram of an expression.

    Args:
        expression: The Boolean function.
        order: Variables from top to bottom; those missing follow below. Without it the order is sifted.

    Raises:
        RuleError: If the diagram grows past `MAX_NODES`.
    """
    from dd import autoref

    bdd: Any = autoref.BDD()
    bdd._bdd.max_nodes = _MAX_NODES_ON_THE_WAY
    bdd.configure(reordering=not order)
    names = {offset: f"v{','.join(map(str, offset))}" for offset in (*order, *variables(expression))}
    offsets = {name: offset for offset, name in names.items()}
    bdd.declare(*names.values())
    try:
        function = _translate(expression, names, bdd)
    except RuntimeError as error:
        raise RuleError(_too_large(_MAX_NODES_ON_THE_WAY)) from error
    if not order:
        bdd.collect_garbage()
        bdd.reorder()

    nodes: list[Node] = []

    @cache
    def reference(node: int) -> int:
        if abs(node) == 1:
            return int(node > 0)
        level, low, high = bdd._bdd.succ(abs(node))
        sign = 1 if node > 0 else -1
        below = reference(sign * low), reference(sign * high)
        nodes.append(Node(offsets[bdd.var_at_level(level)], *below))
        if len(nodes) > MAX_NODES:
            raise RuleError(_too_large(MAX_NODES))
        return len(nodes) + 1

    return Diagram(root=reference(function.node), nodes=tuple(nodes))


def _translate(expression: Expression, names: dict[Offset, str], bdd: Any) -> Any:
    value: dict[Expression, Any] = {}
    for node in walk(expression):
        arguments = [value[argument] for argument in node.arguments]
        match node:
            case Constant():
                value[node] = bdd.true if node.value else bdd.false
            case Var():
                value[node] = bdd.var(names[node.offset])
            case Not():
                value[node] = ~arguments[0]
            case _:
                operator = "and" if isinstance(node, And) else "xor" if isinstance(node, Xor) else "or"
                value[node] = reduce(lambda a, b, o=operator: bdd.apply(o, a, b), arguments)  # type: ignore[misc]
    return value[expression]


def _too_large(limit: int) -> str:
    return (
        f"the rule's decision diagram grows past {limit} nodes; give it a better variable `order`, "
        "or a condition that counts over fewer voxels"
    )
