"""Programs: immutable straight-line code, the intermediate representation between rules and backends.

A backend that implements the twelve operations of `Op` runs every rule under every method. A program that consists
only of `INPUT`, `CONST`, `NOT`, `MUL` and `MIX` is also a Boolean circuit: on bit planes `MUL` is AND, `NOT` is the
complement and `MIX` selects, so that 64 binary images are processed at once. `FILL`, an operation on bit planes only,
keeps level sets nested.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, Final, TypeVar

from softmorph_cli.rules.neighborhood import Offset

T = TypeVar("T")


class Op(StrEnum):
    """The operation of an instruction; a comment gives the meaning where the name does not."""

    INPUT = "input"  # the value at one offset of the neighbourhood
    CONST = "const"  # 0 or 1
    NOT = "not"  # 1 - a
    ADD = "add"
    SUB = "sub"
    MUL = "mul"
    DIV = "div"  # a / b, and 0 where b = 0
    MIN = "min"
    MAX = "max"
    MIX = "mix"  # low + x (high - low), operands in the order x, low, high
    STEP = "step"  # 1 where a > 0, else 0
    FILL = "fill"  # on bit planes: the lowest set bit and all bits above it


ARITY: Final = (
    dict.fromkeys(Op, 1) | dict.fromkeys((Op.ADD, Op.SUB, Op.MUL, Op.DIV, Op.MIN, Op.MAX), 2) | {Op.MIX: 3}
)
BOOLEAN: Final = frozenset({Op.INPUT, Op.CONST, Op.NOT, Op.MUL, Op.MIX, Op.FILL})
INCREASING: Final = frozenset({Op.INPUT, Op.CONST, Op.MIN, Op.MAX})


@dataclass(frozen=True, slots=True)
class Instruction:
    """An instruction of a program: an operation and the operands.

    Attributes:
        op: The operation.
        operands: Indices of earlier instructions; for `INPUT` the index of an input, for `CONST` the value 0 or 1.
    """

    op: Op
    operands: tuple[int, ...]


@dataclass(frozen=True)
class Program:
    """Straight-line code that computes the new value of one voxel.

    Attributes:
        inputs: The offset of each input from the centre voxel, for the rule's first direction.
        instructions: The instructions in topological order: operands precede the instructions that use them, and the
            last instruction computes the result.
    """

    inputs: tuple[Offset, ...]
    instructions: tuple[Instruction, ...]

    def __hash__(self) -> int:
        """Return the hash of the program, from the cached fingerprint: programs are keys of many caches."""
        return hash((self.fingerprint, self.inputs))

    @cached_property
    def is_boolean(self) -> bool:
        """Whether the program can also run on bit planes: all operations are Boolean."""
        return all(instruction.op in BOOLEAN for instruction in self.instructions)

    @cached_property
    def is_increasing(self) -> bool:
        """Whether the program consists only of minima and maxima, so that it commutes with every threshold."""
        return all(instruction.op in INCREASING for instruction in self.instructions)

    @cached_property
    def code(self) -> str:
        """The instructions as text, one per line, without the offsets."""
        return "\n".join(" ".join((i.op, *map(str, i.operands))) for i in self.instructions)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the instructions, which is equal for programs that differ only in the offsets of the inputs."""
        return hashlib.sha256(self.code.encode()).hexdigest()[:20]

    def __str__(self) -> str:
        """Return the program as text with a checksum, in the format that `parse` reads."""
        offsets = "; ".join(" ".join(map(str, offset)) for offset in self.inputs)
        body = f"inputs {offsets}\n{self.code}\n"
        return f"{body}end {_checksum(body)}\n"


def parse(text: str) -> Program:
    """Return the program written as text by `str(program)`.

    Raises:
        ValueError: If the checksum or an instruction of the text is wrong.
    """
    body, _, end = text.rpartition("end ")
    if end.strip() != _checksum(body):
        raise ValueError("the text is damaged or cut short")
    head, *lines = body.splitlines()
    offsets = head.removeprefix("inputs").strip()
    inputs = tuple(tuple(map(int, offset.split())) for offset in offsets.split(";")) if offsets else ()
    instructions = []
    for number, line in enumerate(lines):
        op, *operands = line.split()
        instruction = Instruction(Op(op), tuple(map(int, operands)))
        limit = {Op.INPUT: len(inputs), Op.CONST: 2}.get(instruction.op, number)
        if len(operands) != ARITY[instruction.op] or any(not 0 <= o < limit for o in instruction.operands):
            raise ValueError(f"wrong operands: {line}")
        instructions.append(instruction)
    return Program(inputs, tuple(instructions))


def _checksum(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def execute(program: Program, inputs: Sequence[T], algebra: Mapping[Op, Callable[..., T]]) -> T:
    """Return the result of a program on values of any type.

    Args:
        program: The program to be run.
        inputs: The value of each input of the program.
        algebra: For each operation, a function on the values; the function of `CONST` is called with 0 or 1.
    """
    last = len(program.instructions) - 1
    return execute_all(program.instructions, (last,), inputs, algebra)[0]


def execute_all(
    instructions: Sequence[Instruction],
    results: Sequence[int],
    inputs: Sequence[T],
    algebra: Mapping[Op, Callable[..., T]],
) -> list[T]:
    """Run instructions on values of any type and return the values of the instructions with the indices `results`."""
    # Values are dropped after their last use: arrays would fill the memory.
    last_use = {o: n for n, i in enumerate(instructions) if i.op not in _LEAVES for o in i.operands}
    last_use |= dict.fromkeys(results, len(instructions))
    values: dict[int, Any] = {}
    for number, (op, operands) in enumerate((i.op, i.operands) for i in instructions):
        if op is Op.INPUT:
            values[number] = inputs[operands[0]]
        elif op is Op.CONST:
            values[number] = algebra[op](operands[0])
        else:
            values[number] = algebra[op](*(values[operand] for operand in operands))
            for operand in set(operands):
                if last_use[operand] == number:
                    del values[operand]
    return [values[result] for result in results]


_LEAVES: Final = frozenset({Op.INPUT, Op.CONST})

# The operations on numbers, which define them.
NUMBERS: Final[Mapping[Op, Callable[..., float]]] = {
    Op.CONST: float,
    Op.NOT: lambda a: 1 - a,
    Op.ADD: lambda a, b: a + b,
    Op.SUB: lambda a, b: a - b,
    Op.MUL: lambda a, b: a * b,
    Op.DIV: lambda a, b: a / b if b != 0 else 0.0,
    Op.MIN: min,
    Op.MAX: max,
    Op.MIX: lambda x, low, high: low + x * (high - low),
    Op.STEP: lambda a: float(a > 0),
    Op.FILL: lambda a: a,
}


class Builder:
    """Builds a program without duplicate instructions; instructions are referred to by index."""

    def __init__(self) -> None:
        self._inputs: dict[Offset, int] = {}
        self._numbers: dict[Instruction, int] = {}
        self._instructions: list[Instruction] = []

    def emit(self, op: Op, *operands: int) -> int:
        """Return the index of an instruction, which is added if the builder does not contain it yet."""
        instruction = Instruction(op, operands)
        number = self._numbers.setdefault(instruction, len(self._instructions))
        if number == len(self._instructions):
            self._instructions.append(instruction)
        return number

    def input(self, offset: Offset) -> int:
        """Return the index of the `INPUT` instruction for the voxel at `offset`."""
        return self.emit(Op.INPUT, self._inputs.setdefault(offset, len(self._inputs)))

    def const(self, value: int) -> int:
        """Return the index of the `CONST` instruction for the value 0 or 1."""
        return self.emit(Op.CONST, value)

    def negate(self, a: int) -> int:
        """Return the index of an instruction for 1 - a; a double negation is simplified to its operand."""
        instruction = self._instructions[a]
        match instruction.op:
            case Op.NOT:
                return instruction.operands[0]
            case Op.CONST:
                return self.const(1 - instruction.operands[0])
        return self.emit(Op.NOT, a)

    def mix(self, x: int, low: int, high: int) -> int:
        """Return the index of an instruction for low + x (high - low), simplified if low or high is constant."""
        zero, one = (self._numbers.get(Instruction(Op.CONST, (value,))) for value in (0, 1))
        if low == zero and low is not None:
            return x if high == one else self.emit(Op.MUL, x, high)
        if low == one and high == zero and low is not None:
            return self.negate(x)
        return self.emit(Op.MIX, x, low, high)

    def build(self, result: int) -> Program:
        """Return the program whose result is the instruction with index `result`, without unused instructions."""
        instructions, _ = self.needed([result])
        offsets = list(self._inputs)
        inputs: dict[int, int] = {}
        kept = tuple(
            Instruction(i.op, (inputs.setdefault(i.operands[0], len(inputs)),)) if i.op is Op.INPUT else i
            for i in instructions
        )
        return Program(tuple(offsets[index] for index in inputs), kept)

    def needed(self, results: Sequence[int]) -> tuple[tuple[Instruction, ...], tuple[int, ...]]:
        """Return the instructions on which `results` depend, reindexed, and the new indices of `results`."""
        wanted = set(results)
        for number in range(max(wanted, default=-1), -1, -1):
            if number in wanted and self._instructions[number].op not in _LEAVES:
                wanted.update(self._instructions[number].operands)
        renumbered: dict[int, int] = {}
        kept: list[Instruction] = []
        for number in sorted(wanted):
            op, operands = self._instructions[number].op, self._instructions[number].operands
            if op not in _LEAVES:
                operands = tuple(renumbered[operand] for operand in operands)
            renumbered[number] = len(kept)
            kept.append(Instruction(op, operands))
        return tuple(kept), tuple(renumbered[result] for result in results)
