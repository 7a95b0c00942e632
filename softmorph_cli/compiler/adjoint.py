"""Reverse-mode differentiation of programs: the vector-Jacobian product of a program, as another program.

The vector-Jacobian product consists of the same operations as programs, so a backend that runs programs can compute
gradients. Where a function is not differentiable, the derivative is the same as in torch: minimum and maximum share a
tie evenly, `DIV` has derivative 0 where it returns 0 by convention, and `STEP` has derivative 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from softmorph_cli.compiler.program import Builder, Instruction, Op, Program


@dataclass(frozen=True)
class Adjoint:
    """The instructions that compute the gradient of each input of a program from the gradient of the result.

    Attributes:
        seed: The index of the input that holds the gradient of the result; it follows the inputs of the program.
        instructions: The instructions in topological order, as in `Program.instructions`.
        partials: For each input of the program, the index of the instruction that computes the gradient of that
            input.
    """

    seed: int
    instructions: tuple[Instruction, ...]
    partials: tuple[int, ...]


class _Reverse:
    """Builds the instructions of an `Adjoint`; None stands for a gradient that is constantly 0."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.builder = Builder()
        seed = len(program.inputs)
        # Numbered inputs without offsets, which only programs have.
        self.slots = [self.builder.emit(Op.INPUT, k) for k in range(seed + 1)]
        self.values: list[int] = []
        for op, operands in ((i.op, i.operands) for i in program.instructions):
            match op:
                case Op.INPUT:
                    value = self.slots[operands[0]]
                case Op.CONST:
                    value = self.builder.const(operands[0])
                case Op.NOT:
                    value = self.builder.negate(self.values[operands[0]])
                case _:
                    value = self.builder.emit(op, *(self.values[operand] for operand in operands))
            self.values.append(value)
        self.gradients: list[int | None] = [None] * len(program.instructions)
        self.gradients[-1] = self.slots[seed]

    def run(self) -> Adjoint:
        for number in reversed(range(len(self.gradients))):
            gradient = self.gradients[number]
            instruction = self.program.instructions[number]
            if gradient is not None and instruction.op not in (Op.INPUT, Op.CONST):
                self._share(number, instruction, gradient)
        partials: dict[int, int] = {}
        for number, instruction in enumerate(self.program.instructions):
            if instruction.op is Op.INPUT:
                gradient = self.gradients[number]
                partials[instruction.operands[0]] = self.builder.const(0) if gradient is None else gradient
        wanted = [partials[k] for k in range(len(self.program.inputs))]
        instructions, results = self.builder.needed(wanted)
        return Adjoint(len(self.program.inputs), instructions, results)

    def _share(self, number: int, instruction: Instruction, a: int) -> None:
        emit, operands = self.builder.emit, instruction.operands
        values = [self.values[operand] for operand in operands]
        match instruction.op:
            case Op.NOT:
                self._subtract(operands[0], a)
            case Op.ADD:
                self._add(operands[0], a)
                self._add(operands[1], a)
            case Op.SUB:
                self._add(operands[0], a)
                self._subtract(operands[1], a)
            case Op.MUL:
                self._add(operands[0], emit(Op.MUL, a, values[1]))
                self._add(operands[1], emit(Op.MUL, a, values[0]))
            case Op.DIV:
                share = emit(Op.DIV, a, values[1])
                self._add(operands[0], share)
                self._subtract(operands[1], emit(Op.MUL, share, self.values[number]))
            case Op.MIN | Op.MAX:
                larger = emit(Op.MUL, a, self._half_step(*values))
                smaller = emit(Op.SUB, a, larger)
                first, second = (larger, smaller) if instruction.op is Op.MAX else (smaller, larger)
                self._add(operands[0], first)
                self._add(operands[1], second)
            case Op.MIX:
                x, low, high = values
                on_high = emit(Op.MUL, a, x)
                self._add(operands[0], emit(Op.MUL, a, self._difference(high, low)))
                self._add(operands[1], emit(Op.SUB, a, on_high))
                self._add(operands[2], on_high)
            case Op.FILL:
                self._add(operands[0], a)
            case Op.STEP:
                pass

    def _half_step(self, x: int, y: int) -> int:
        """Return the instruction index of a value that is 1 where x > y, 1/2 where x = y, and 0 where x < y."""
        emit = self.builder.emit
        one = self.builder.const(1)
        above, below = emit(Op.STEP, emit(Op.SUB, x, y)), emit(Op.STEP, emit(Op.SUB, y, x))
        return emit(Op.DIV, emit(Op.ADD, above, self.builder.negate(below)), emit(Op.ADD, one, one))

    def _difference(self, x: int, y: int) -> int:
        """Return the instruction index of x - y, which is a `NOT` instruction if x is the constant 1."""
        return self.builder.negate(y) if x == self.builder.const(1) else self.builder.emit(Op.SUB, x, y)

    def _add(self, operand: int, share: int) -> None:
        before = self.gradients[operand]
        self.gradients[operand] = share if before is None else self.builder.emit(Op.ADD, before, share)

    def _subtract(self, operand: int, share: int) -> None:
        before = self.gradients[operand]
        base = self.builder.const(0) if before is None else before
        self.gradients[operand] = self.builder.emit(Op.SUB, base, share)


@cache
def adjoint(program: Program) -> Adjoint:
    """Return the vector-Jacobian product of a program that acts on probabilities."""
    return _Reverse(program).run()
