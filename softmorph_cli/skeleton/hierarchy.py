"""The branches of a skeleton graph as a tree: generation, Strahler order, parent and angle, from a root.

The root of a component is one of its nodes. A node is reached by the shortest way from the root, so that a graph with
cycles becomes a tree as well; a branch that is on none of these ways closes a cycle. Strahler's order is that of A. N.
Strahler, *Quantitative analysis of watershed geomorphology*, Transactions of the AGU 38, 1957; generations are those of
E. R. Weibel, *Morphometry of the human lung*, 1963, in which the first branch has generation 0.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.skeleton.graph import Branch, Quantity, SkeletonGraph, TreePlace
from softmorph_cli.system.parameters import in_shell, named

# A word, the number of a branch, or a place (x, y) or (x, y, z) in world coordinates.
Root: TypeAlias = Literal["widest"] | int | tuple[float, ...]

WIDEST: Final = "widest"
# Nearer to a junction than so many voxels, lines are bent by the voxels that they share there.
_VOXELS: Final = 3.0


def parse_root(given: str | int | Sequence[float]) -> Root:
    """Return a root from the text of the option, or from a number or coordinates in Python.

    Raises:
        UsageError: If it is not `widest`, the number of a branch or two or three coordinates.

    >>> parse_root("widest"), parse_root("3"), parse_root((1.5, -2, 0))
    ('widest', 3, (1.5, -2.0, 0.0))
    """
    # A place of one coordinate is no number of a branch.
    is_place = not isinstance(given, str) and isinstance(given, Sequence | np.ndarray)
    text = ",".join(map(str, given)) if isinstance(given, Sequence | np.ndarray) and is_place else str(given)
    if text == WIDEST:
        return WIDEST
    if not is_place and re.fullmatch(r"[1-9]\d*", text):
        return int(text)
    try:
        place = tuple(map(float, text.split(",")))
    except ValueError:
        place = ()
    if len(place) not in (2, 3) or not np.isfinite(place).all():
        raise UsageError(
            f"{named('root')} {text}: give widest, the number of a branch, or a place x,y,z as in the CSV, such as "
            f"{named('root', '12.5,-3,40')}."
        )
    return place


def rooted(graph: SkeletonGraph, root: Root) -> SkeletonGraph:
    """Return the graph with the place in the tree (`TreePlace`) of each branch that is connected to a root.

    Args:
        graph: A measured graph.
        root: "widest": in each component the end point of its widest branch (by the mean radius; spurs that end within
            their vessel do not count), or without end points an end of that branch. A number: the end point of that
            branch. Coordinates in the unit of the graph's frame: the nearest node. The last two concern one component.

    Raises:
        InputError: If radii are needed and not known, or there is no such branch or place.
    """
    if not graph.branches:
        return graph
    near, via, depth = _ways(graph, _roots(graph, root))
    parents = {b.number: via[near[b.number]] for b in graph.branches if b.number in near}
    reached = set(via.values()) - {None}
    orders = _strahler(
        {number: parent for number, parent in parents.items() if number in reached}, near, depth
    )
    by_number = {branch.number: branch for branch in graph.branches}

    def place(branch: Branch) -> TreePlace | None:
        if branch.number not in near:
            return None
        node, parent = near[branch.number], parents[branch.number]
        return TreePlace(
            generation=depth[node],
            strahler=orders.get(branch.number),
            parent=parent,
            angle=None if parent is None else _angle(by_number[parent], branch, node, graph.frame.finest),
        )

    return replace(graph, branches=tuple(replace(b, tree=place(b)) for b in graph.branches))


def _roots(graph: SkeletonGraph, root: Root) -> list[int]:
    """Return the nodes that are roots, at most one in each component."""
    ends = {node.number for node in graph.end_points}
    if root == WIDEST:
        if Quantity.RADIUS not in graph.branches[0].along:
            other = f"a place, such as {named('root', '12.5,-3,40')}"
            raise InputError(
                f"{named('root', WIDEST)} needs radii: add {'--map MAP' if in_shell() else 'map=MAP'}, or give {other}."
            )
        inside = {component.number: [] for component in graph.components}  # type: dict[int, list[Branch]]
        for branch in graph.branches:
            inside[branch.component].append(branch)
        return [_widest_end(some, ends) for some in inside.values() if some]
    if isinstance(root, int):
        if root > len(graph.branches):
            raise InputError(
                f"{named('root', root)}: there is no such branch; they have the numbers 1 to {len(graph.branches):,}."
            )
        return [_end_of(graph.branches[root - 1], ends)]
    dims = graph.frame.dims
    if len(root) < dims:
        raise InputError(f"{named('root', ','.join(f'{c:g}' for c in root))}: a place in 3D has x, y and z.")
    wanted = np.zeros(3)
    wanted[: len(root)] = root
    joined = [node for node in graph.nodes if node.degree]
    distances = [float(np.linalg.norm(node.place - wanted)) for node in joined]
    return [joined[int(np.argmin(distances))].number]


def _widest_end(some: Sequence[Branch], ends: set[int]) -> int:
    candidates = [b for b in some if ends & set(b.nodes) and b.type != "spur"] or list(some)
    return _end_of(max(candidates, key=lambda b: float(b.along[Quantity.RADIUS].mean())), ends)


def _end_of(branch: Branch, ends: set[int]) -> int:
    """Return the end point of a branch; of two (or of none) the one at which the vessel is wider."""
    free = [node for node in branch.nodes if node in ends]
    if len(free) == 1:
        return free[0]
    radius = branch.along.get(Quantity.RADIUS)
    # The tips themselves are narrow: halves are compared.
    half = len(branch.voxels) // 2 or 1
    return branch.nodes[0 if radius is None or radius[:half].mean() >= radius[-half:].mean() else 1]


def _ways(
    graph: SkeletonGraph, roots: Iterable[int]
) -> tuple[dict[int, int], dict[int, int | None], dict[int, int]]:
    """Follow the shortest ways from the roots (Dijkstra).

    Returns:
        For each reached branch the node at its end nearer to the root; for each reached node the branch through which
        it is reached (None for a root), and the number of branches on the way to it.
    """
    around: dict[int, list[Branch]] = {}
    for branch in graph.branches:
        for node in set(branch.nodes):
            around.setdefault(node, []).append(branch)
    via: dict[int, int | None] = {}
    depth: dict[int, int] = {}
    near: dict[int, int] = {}
    waiting: list[tuple[float, int, int | None, int]] = [(0.0, root, None, 0) for root in roots]
    heapq.heapify(waiting)
    while waiting:
        length, node, before, count = heapq.heappop(waiting)
        if node in via:
            continue
        via[node], depth[node] = before, count
        for branch in around[node]:
            near.setdefault(branch.number, node)
            other = branch.nodes[1] if branch.nodes[0] == node else branch.nodes[0]
            if other not in via:
                heapq.heappush(waiting, (length + branch.length, other, branch.number, count + 1))
    return near, via, depth


def _strahler(
    parents: Mapping[int, int | None], near: Mapping[int, int], depth: Mapping[int, int]
) -> dict[int, int]:
    """Return Strahler's order of each branch of a tree: 1 without children, else the largest of the children's.

    Two children or more of the largest order make it one more.

    Args:
        parents: The parent of each branch, None at a root.
        near: The node at the near end of each branch.
        depth: The number of branches on the way to each node.
    """
    children: dict[int, list[int]] = {}
    orders: dict[int, int] = {}
    for number in sorted(parents, key=lambda number: -depth[near[number]]):
        own = children.get(number, [])
        most = max(own, default=1)
        orders[number] = most + (own.count(most) > 1)
        parent = parents[number]
        if parent is not None:
            children.setdefault(parent, []).append(orders[number])
    return orders


def _angle(parent: Branch, branch: Branch, node: int, voxel: float) -> float | None:
    """Return the angle in degrees by which a branch turns away from its parent at a junction; 0 is straight on."""
    back, on = (_direction(one, node, voxel) for one in (parent, branch))
    size = float(np.linalg.norm(back) * np.linalg.norm(on))
    return float(np.degrees(np.arccos(np.clip(-(back @ on) / size, -1, 1)))) if size > 0 else None


def _direction(branch: Branch, node: int, voxel: float) -> npt.NDArray[np.float64]:
    """Return the vector along a branch away from a node, from where the branch leaves the junction.

    It leads from the distance r to the distance 3 r from the node along the branch, where r is the radius at the node,
    at least `_VOXELS` voxels and at most a third of the branch.
    """
    forward = branch.nodes[0] == node
    points = branch.points if forward else branch.points[::-1]
    radius = branch.along.get(Quantity.RADIUS)
    passed = np.concatenate([[0.0], np.linalg.norm(np.diff(points, axis=0), axis=1).cumsum()])
    inside = 0.0 if radius is None else float(radius[0 if forward else -1])
    begin = min(max(inside, _VOXELS * voxel), passed[-1] / 3)
    first, last = (np.array([np.interp(at, passed, x) for x in points.T]) for at in (begin, 3 * begin))
    return np.asarray(last - first)
