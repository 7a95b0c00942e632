"""Generates the source code of erosion and dilation on the CPU: one pass over rows, bound by memory.

The generated code does not check that both arrays are contiguous, of the given size, and distinct: `folds` ensures
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from softmorph_cli.compiler.compile import Fold
from softmorph_cli.compiler.program import Op
from softmorph_cli.kernels.numba_source import BITS, FLOATS, HEAD, OPTIONS, run_length
from softmorph_cli.rules.neighborhood import Offset


def fold_text(fold: Fold, offsets: Sequence[Offset], dtype: np.dtype[Any]) -> str:
    """Return the source code of `fold`: one associative operation over a structuring element, row by row.

    Rows with the same offsets along the last axis are combined first, voxel by voxel; then the combined row is
    combined with shifted copies of itself. So a 3 x 3 x 3 box takes 9 + 3 loads per voxel, a cross 4 + 4, and each
    row is read from memory once.

    Args:
        fold: The operation.
        offsets: The offsets of the structuring element.
        dtype: float32, float64, or an unsigned integer type of bit planes.
    """
    spelling = FLOATS if dtype.kind == "f" else BITS
    rows: dict[tuple[int, int], list[int]] = {}
    for dz, dy, dx in sorted((0, *offset)[-3:] for offset in offsets):
        rows.setdefault((dz, dy), []).append(dx)
    groups: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for row, columns in rows.items():
        groups.setdefault(tuple(columns), []).append(row)

    def combined(values: Sequence[str]) -> str:
        result, *others = values
        for value in others:
            result = spelling[fold.op].format(f"({result})", value)
        return result

    def operand(value: str) -> str:
        return f"({spelling[Op.NOT].format(value)})" if fold.complement else value

    inside, border, final = [], [], []
    for number, (shifts, members) in enumerate(groups.items()):
        at = [f"src[at + i + {_shift(dz, 'plane')} + {_shift(dy, 'nx')}]" for dz, dy in members]
        inside.append(f"line{number}[i + U1] = {combined([operand(value) for value in at])}")
        for (dz, dy), value in zip(members, at, strict=True):
            border.append(
                _BORDER.format(
                    z=dz, y=dy, line=number, value=combined([f"line{number}[i + U1]", operand(value)])
                )
            )
        final += [f"line{number}[i + np.uint64({column + 1})]" for column in shifts]
    return (HEAD + _FOLD).format(
        fingerprint=f"fold {fold}",
        dtype=dtype.name,
        zero=0,
        one=1 if dtype.kind == "f" else np.iinfo(dtype).max,
        run=run_length(dtype),
        constants=f"neutral = {('zero', 'one')[fold.neutral]}",
        helpers="",
        lines="\n".join(f"    line{k} = np.full(nx + U2, neutral)" for k in range(len(groups))),
        reach_z=max(abs(dz) for dz, _ in rows),
        reach_y=max(abs(dy) for _, dy in rows),
        inside="\n".join(f"                {text}" for text in inside),
        clear="\n".join(f"                line{k}[i] = neutral" for k in range(len(groups))),
        border="\n".join(border),
        final=f"{operand(combined(final))}",
    )


def _shift(steps: int, stride: str) -> str:
    return {-1: f"(U0 - {stride})", 0: "U0", 1: stride}[steps]


# Lines are extended by the neutral value, which also replaces rows outside the image.
_BORDER: Final = """\
            if 0 <= z + {z} < nz and 0 <= y + {y} < ny:
                for i in range(U0, nx):
                    line{line}[i + U1] = {value}"""

_FOLD: Final = f"""\
@njit(
    types.void(
        types.Array(types.{{dtype}}, 1, "C", readonly=True), types.{{dtype}}[::1], types.int64, types.int64,
        types.uint64, types.int64, types.int64,
    ), {OPTIONS},
)
def fold(src, dst, nz, ny, nx, first, last):
    plane = np.uint64(ny) * nx
{{lines}}
    for row in range(first, last):
        z = row // ny
        y = row - z * ny
        at = np.uint64(row) * nx
        if {{reach_z}} <= z < nz - {{reach_z}} and {{reach_y}} <= y < ny - {{reach_y}}:
            for i in range(U0, nx):
{{inside}}
        else:
            for i in range(U1, nx + U1):
{{clear}}
{{border}}
        for i in range(U0, nx):
            dst[at + i] = {{final}}
"""
