"""Generates the Triton source code of the gradient of a sub-iteration.

The kernels move along axis 0 of the image like those of `triton_source`. A voxel contributes to the gradients of 27
voxels. The three contributions to a line along axis 0 are summed while moving, and the 9 sums of each voxel are
written to a scratch array, from which the kernel `collect` gathers them in a fixed order. No two program instances
write to the same place.
"""

from __future__ import annotations

from typing import Final

from softmorph_cli.compiler.adjoint import adjoint
from softmorph_cli.compiler.program import Program
from softmorph_cli.kernels.triton_source import GEOMETRY, Windows, along, fill, head, spell
from softmorph_cli.rules.neighborhood import Offset

# The turns before the first row and after the last one contribute to the rows between.
_SPREAD: Final = """\
@triton.jit(do_not_specialize={arguments})
def spread({signature}, DEEP: tl.constexpr, HIGH: tl.constexpr, WIDE: tl.constexpr):
{place}
{lanes}
    share = part.to(tl.int64)
    low = tile_r * DEEP
    count = tl.minimum(rows - low, DEEP)
    r = first + low + tl.where(d0 > 0, 0, count - 1) - {halo} * d0
    image, seed = src + batch * whole, gradient + batch * whole
    row_m, row_c = image + (r - d0).to(tl.int64) * m0, image + r.to(tl.int64) * m0
    line = n_o.to(tl.int64) * n_x
    spot = o.to(tl.int64) * n_x + x
    r_m = (still + (r - d0) >= 0) & (still + (r - d0) < n0)
    r_c = (still + r >= 0) & (still + r < n0)
{ahead}
    for turn in range(count + {halos}):
        r_m = (still + (r - d0) >= 0) & (still + (r - d0) < n0)
        r_c = (still + r >= 0) & (still + r < n0)
        r_p = (still + (r + d0) >= 0) & (still + (r + d0) < n0)
        row_m, row_c = image + (r - d0).to(tl.int64) * m0, image + r.to(tl.int64) * m0
        row_p = image + (r + d0).to(tl.int64) * m0
        g = tl.load(seed + r.to(tl.int64) * m0 + at, mask=inside & r_c, other=0)
{loads}
{body}
        into = partials + (batch * rows + (r - {halo} * d0 - first)) * line + spot
        done = inside & (still + turn >= {halos})
{stores}
{carry}
        r += d0
"""

_COLLECT: Final = """\
@triton.jit(do_not_specialize={arguments})
def collect({signature}, DEEP: tl.constexpr, HIGH: tl.constexpr, WIDE: tl.constexpr):
{place}
{lanes}
    line = n_o.to(tl.int64) * n_x
    spot = o.to(tl.int64) * n_x + x
    share = part.to(tl.int64)
    t1 = tl.where(across != 0, 1, n_x) * d1
    t2 = tl.where(across != 0, n_x, 1) * d2
    source = partials + (batch * rows + tile_r) * line
    total = zero
{sums}
    tl.store(result + batch * whole + (first + tile_r).to(tl.int64) * m0 + at, total, mask=inside)
"""

# The letter of the opposite offset.
_TURNED: Final = {-1: "p", 0: "c", 1: "m"}


def generate_backward(program: Program, dtype: str, outside: int) -> str:
    """Return the source code of the kernels `spread` and `collect`, the vector-Jacobian product of `sweep`.

    Args:
        program: The program, with offsets of three axes and at least one input.
        dtype: The element type of the image, float32 or float64.
        outside: The value of voxels outside the image, 0 or 1.
    """
    reverse = adjoint(program)
    windows = Windows(program.inputs, within=False)
    inputs = [*(windows.name(offset) for offset in program.inputs), "g"]
    body, names = spell(reverse.instructions, inputs, dtype)
    shares: dict[Offset, dict[int, str]] = {}
    for (o0, *rest), number in zip(program.inputs, reverse.partials, strict=True):
        shares.setdefault(tuple(rest), {})[o0] = names[number]
    halo = int(any(offset[0] for offset in program.inputs))
    sums = [_Sum(index, share, rolling=bool(halo)) for index, share in enumerate(shares.values())]
    geometry = f"{GEOMETRY}, first, rows, part"
    spread = fill(
        _SPREAD,
        f"src, gradient, partials, {geometry}",
        dtype,
        outside,
        ahead=[*windows.ahead(), *(f"{name} = zero" for s in sums for name in s.carried)],
        loads=windows.loads(),
        body=body,
        stores=[f"tl.store(into + {s.index} * share, {s.finished}, mask=done)" for s in sums],
        carry=[*windows.carry(), *(line for s in sums for line in s.carry)],
        halo=halo,
        halos=2 * halo,
    )
    gathered = [
        f"total += tl.load(source + {index} * share + (spot{along(-o1, 't1')}{along(-o2, 't2')}), "
        f"mask=inside & a_{_TURNED[o1]} & b_{_TURNED[o2]}, other=0)"
        for index, (o1, o2) in enumerate(shares)
    ]
    collect = fill(_COLLECT, f"partials, result, {geometry}", dtype, outside, sums=gathered)
    return f"{head(program, dtype, reverse.instructions)}{spread}\n\n{collect}"


def partial_count(program: Program) -> int:
    """Return the number of scratch values per voxel that the gradient of a program needs."""
    return len({offset[1:] for offset in program.inputs})


class _Sum:
    """The code that sums the contributions to one line along axis 0 over three positions along the axis."""

    def __init__(self, index: int, shares: dict[int, str], *, rolling: bool) -> None:
        self.index = index
        self.carried: list[str] = []
        self.carry: list[str] = []
        if not rolling:
            self.finished = shares[0]
            return
        older, newer = f"older{index}", f"newer{index}"
        terms = {-1: [shares.get(-1)], 0: [shares.get(0)], 1: [shares.get(1)]}
        if 1 in shares:
            self.carried.append(newer)
            terms[0].insert(0, newer)
        if 0 in shares or 1 in shares:
            self.carried.insert(0, older)
            terms[-1].insert(0, older)
        total = {o: " + ".join(term for term in parts if term) for o, parts in terms.items()}
        self.finished = total[-1]
        self.carry = [f"{name} = {total[o]}" for o, name in ((0, older), (1, newer)) if name in self.carried]
