"""Reference implementations of the rules, typed from the papers' formulas.

Nothing here is imported from the package except the classes of its expression trees and sub-iterations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product

import numpy as np

from softmorph_cli.rules import expression as ex
from softmorph_cli.rules.rule import SubIteration

# ---------------------------------------------------------------- 2D thinning

RING = ("N", "NE", "E", "SE", "S", "SW", "W", "NW")
RING_OFFSETS = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
TURNS_2D = ("N", "E", "S", "W")


def deletes_2d(ring: Sequence[bool], direction: str) -> bool:
    """Section 4: whether a foreground pixel with this ring (clockwise from N) is deleted."""
    o = TURNS_2D.index(direction)
    N, NE, E, SE, S, SW, W, NW = (bool(ring[(k + 2 * o) % 8]) for k in range(8))
    return not N and (
        (not NE and not NW and not (E ^ SE ^ S) and (SE ^ SW) and (SE ^ W))
        or ((NE ^ SW) and (E ^ SW) and not (S ^ SW) and not W and not NW)
        or (E and S and not NW)
        or (not NE and S and W)
        or (not NE and not E and not SE and W and NW)
    )


# ---------------------------------------------------------------- 3D thinning

_RING_AC = ((1, -1), (1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1))
NUMBERED = (
    *((a, -1, c) for a, c in _RING_AC),
    (0, -1, 0),
    *((a, 0, c) for a, c in _RING_AC),
    *((a, 1, c) for a, c in _RING_AC),
    (0, 1, 0),
)
TURNS_3D = {
    "U": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "E": ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    "S": ((0, 1, 0), (-1, 0, 0), (0, 0, 1)),
    "D": ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
    "W": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "N": ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
}


def _numbers(text: str) -> tuple[int, ...]:
    found: list[int] = []
    for word in text.split():
        first, _, last = word.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return tuple(found)


def _mask(zeros: str, ones: str, some: str = "") -> tuple[tuple[int, ...], ...]:
    return _numbers(zeros), _numbers(ones), _numbers(some)


# Of each mask: what all alternatives share, and the alternatives; (all 0, all 1, any 1) as listed.
MASKS = {
    "M1": (_mask("0-8", "25", "9-24"), (_mask("", ""),)),
    "M2": (
        _mask("8", "25"),
        (
            _mask("3 4 5 6 7", "10"),
            _mask("1 2 3 4 5", "16"),
            _mask("0 1 2 3 7", "14"),
            _mask("0 1 5 6 7", "12"),
        ),
    ),
    "M3": (
        _mask("8", "25"),
        (_mask("5 6 7", "10 12"), _mask("3 4 5", "10 16"), _mask("1 2 3", "14 16"), _mask("0 1 7", "12 14")),
    ),
    "M4": (
        _mask("1 3 5 7 8", "25"),
        (_mask("0 4 6", "2 11"), _mask("2 4 6", "0 9"), _mask("0 2 4", "6 15"), _mask("0 2 6", "4 13")),
    ),
    "M5": (
        _mask("0-8 25", ""),
        (
            _mask("13 14 15 21 22 23", "18", "9 10 11 12 16 17 19 20 24"),
            _mask("11 12 13 19 20 21", "24", "9 10 14 15 16 17 18 22 23"),
            _mask("9 10 11 17 18 19", "22", "12 13 14 15 16 20 21 23 24"),
            _mask("9 15 16 17 23 24", "20", "10 11 12 13 14 18 19 21 22"),
        ),
    ),
    "M6": (
        _mask("0-8 25", ""),
        (
            _mask("14 15 16 22 23 24", "18 20"),
            _mask("12 13 14 20 21 22", "18 24"),
            _mask("10 11 12 18 19 20", "22 24"),
            _mask("9 10 16 17 18 24", "20 22"),
        ),
    ),
}


def _matches(neighbours: np.ndarray, mask: tuple[tuple[int, ...], ...]) -> np.ndarray:
    zeros, ones, some = (list(numbers) for numbers in mask)
    result = ~np.any(neighbours[zeros], axis=0) & np.all(neighbours[ones], axis=0)
    return np.asarray(result & np.any(neighbours[some], axis=0) if some else result)


def mask_holds(neighbours: np.ndarray, name: str) -> np.ndarray:
    """Whether mask M1 to M6 holds; `neighbours` is (26, n) Boolean in the numbering below."""
    common, alternatives = MASKS[name]
    either = np.any([_matches(neighbours, one) for one in alternatives], axis=0)
    return np.asarray(_matches(neighbours, common) & either)


def deletes_3d(neighbours: np.ndarray) -> np.ndarray:
    """Whether a foreground voxel is deleted; `neighbours` is (26, n) Boolean, numbered for its direction."""
    return np.asarray(np.any([mask_holds(neighbours, name) for name in MASKS], axis=0))


def turn(offset: Sequence[int], direction: str) -> tuple[int, ...]:
    """Rotate an offset, as a column vector, from the frame of U to that of a direction."""
    return tuple(int(x) for x in np.array(TURNS_3D[direction]) @ np.array(offset))


def neighbourhoods_near_templates(rng: np.random.Generator, each: int) -> np.ndarray:
    """(26, n) Boolean: around every alternative of every mask, at several densities, with 0 to 2 slips."""
    found = []
    for common, alternatives in MASKS.values():
        for alternative in alternatives:
            density = rng.choice([0.05, 0.2, 0.5, 0.9], size=each)
            drawn = rng.random((26, each)) < density
            for zeros, ones, _some in (common, alternative):
                drawn[list(zeros)] = False
                drawn[list(ones)] = True
            for column in range(each):
                slips = rng.choice(26, size=rng.integers(0, 3), replace=False)
                drawn[slips, column] ^= True
            found.append(drawn)
    found.append(rng.random((26, each)) < rng.random(each))
    return np.concatenate(found, axis=1)


# ---------------------------------------------------------------- textbook thinning on whole images


def _ring_of(image: np.ndarray) -> list[np.ndarray]:
    padded = np.pad(image, 1)
    rows, columns = image.shape
    return [padded[1 + y : 1 + y + rows, 1 + x : 1 + x + columns] for y, x in RING_OFFSETS]


def zhang_suen(image: np.ndarray) -> np.ndarray:
    """Zhang & Suen (1984) until stable; the paper's P2 .. P9 run clockwise from the north."""
    image = image.astype(bool)
    while True:
        before = image
        for odd in (True, False):
            p = dict(enumerate(_ring_of(image), start=2))
            b = sum(q.astype(int) for q in p.values())
            a = sum((~p[k] & p[k + 1 if k < 9 else 2]).astype(int) for k in range(2, 10))
            first = ~(p[2] & p[4] & p[6]) if odd else ~(p[2] & p[4] & p[8])
            second = ~(p[4] & p[6] & p[8]) if odd else ~(p[2] & p[6] & p[8])
            image = image & ~((b >= 2) & (b <= 6) & (a == 1) & first & second)
        if (image == before).all():
            return image


def guo_hall(image: np.ndarray) -> np.ndarray:
    """Guo & Hall (1989), algorithm A1, until stable."""
    image = image.astype(bool)
    while True:
        before = image
        for odd in (True, False):
            p = dict(enumerate(_ring_of(image), start=2))
            c = sum(
                (~p[i] & (p[j] | p[k])).astype(int)
                for i, j, k in ((2, 3, 4), (4, 5, 6), (6, 7, 8), (8, 9, 2))
            )
            n1 = sum((p[i] | p[j]).astype(int) for i, j in ((9, 2), (3, 4), (5, 6), (7, 8)))
            n2 = sum((p[i] | p[j]).astype(int) for i, j in ((2, 3), (4, 5), (6, 7), (8, 9)))
            n = np.minimum(n1, n2)
            m = (p[2] | p[3] | ~p[5]) & p[4] if odd else (p[6] | p[7] | ~p[9]) & p[8]
            image = image & ~((c == 1) & (n >= 2) & (n <= 3) & ~m)
        if (image == before).all():
            return image


# ---------------------------------------------------------------- expectation and expression trees


def expectation(
    probabilities: np.ndarray, function: Callable[[np.ndarray], np.ndarray], limit: int = 12
) -> float:
    """E[f] by brute force: `probabilities` is (n,), `function` maps (n, m) Boolean to (m,) Boolean."""
    fractional = np.flatnonzero((probabilities > 0) & (probabilities < 1))
    if len(fractional) > limit:
        raise ValueError(f"{len(fractional)} fractional voxels are too many")
    corners = np.array(list(product((False, True), repeat=len(fractional))), bool).T
    voxels = np.repeat((probabilities == 1)[:, None], corners.shape[1], axis=1)
    voxels[fractional] = corners
    p = probabilities[fractional, None]
    weights = np.where(corners, p, 1 - p).prod(axis=0)
    return float(weights @ function(voxels))


def truth(tree: ex.Expression, value_of: Mapping[tuple[int, ...], np.ndarray]) -> np.ndarray:
    """Evaluate an expression tree on many neighbourhoods at once."""
    known: dict[ex.Expression, np.ndarray] = {}
    shape = next(iter(value_of.values())).shape

    def fold(operation: Callable[..., np.ndarray], parts: Iterable[ex.Expression]) -> np.ndarray:
        first, *rest = (known[part] for part in parts)
        for other in rest:
            first = operation(first, other)
        return first

    for node in ex.walk(tree):
        match node:
            case ex.Constant():
                known[node] = np.full(shape, node.value)
            case ex.Var():
                known[node] = value_of[node.offset]
            case ex.Not():
                known[node] = ~known[node.operand]
            case ex.And():
                known[node] = fold(np.logical_and, node.operands)
            case ex.Or():
                known[node] = fold(np.logical_or, node.operands)
            case ex.Xor():
                known[node] = fold(np.logical_xor, node.operands)
            case _:
                raise TypeError(type(node))
    return known[tree]


def where(sub_iteration: SubIteration, mask: np.ndarray) -> np.ndarray:
    """Return where the condition of a sub-iteration holds, in its subfield; outside is background."""
    padded = np.pad(mask, 1)
    windows = {}
    for offset in product((-1, 0, 1), repeat=mask.ndim):
        place = np.array(sub_iteration.rotation) @ offset
        windows[offset] = padded[
            tuple(slice(1 + o, 1 + o + n) for o, n in zip(place, mask.shape, strict=True))
        ]
    inside = np.zeros(mask.shape, bool)
    inside[tuple(slice(parity, None, 2) for parity in sub_iteration.subfield or ())] = True
    return truth(sub_iteration.expression, windows) & inside
