"""Programs: proved equal to their rule, and the fuzzy logics against their closed formulas."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from dd import autoref
from helpers_reference import neighbourhoods_near_templates, truth

from softmorph_cli.compiler.compile import DIAGRAM, compile_rule
from softmorph_cli.compiler.lowering import LOGICS, lower_expression
from softmorph_cli.compiler.program import NUMBERS, Builder, Instruction, Op, Program, execute, parse
from softmorph_cli.errors import RuleError
from softmorph_cli.rules import catalog, structuring
from softmorph_cli.rules import expression as ex
from softmorph_cli.rules.neighborhood import CONNECTIVITIES, block, neighbors, rotate
from softmorph_cli.rules.rule import Rule
from softmorph_cli.rules.rulefile import loads

ELEMENTS = [(c, d) for d, all_ in CONNECTIVITIES.items() for c in all_]
RULES = {name: catalog.bundled(name) for name in catalog.names()}
RULES |= {f"erosion-{c}": structuring.erosion(c, d) for c, d in ELEMENTS}
RULES |= {f"dilation-{c}": structuring.dilation(c, d) for c, d in ELEMENTS}


class Symbolic:
    """A decision diagram of dd for each voxel: what a program computes, for all inputs at once."""

    def __init__(self, rule: Rule) -> None:
        self.bdd = autoref.BDD()
        rest = [o for o in block(rule.dimensions) if o not in rule.order]
        self.names = {o: f"x{k}" for k, o in enumerate((*rule.order, *rest))}
        self.bdd.declare(*self.names.values())

    def var(self, offset: tuple[int, ...]) -> Any:
        return self.bdd.var(self.names[offset])

    def of_tree(self, tree: ex.Expression) -> Any:
        known: dict[ex.Expression, Any] = {}
        for node in ex.walk(tree):
            match node:
                case ex.Constant():
                    known[node] = self.bdd.true if node.value else self.bdd.false
                case ex.Var():
                    known[node] = self.var(node.offset)
                case ex.Not():
                    known[node] = ~known[node.operand]
                case _:
                    name: Any = (
                        "and" if isinstance(node, ex.And) else "or" if isinstance(node, ex.Or) else "xor"
                    )
                    first, *others = (known[o] for o in node.arguments)
                    for other in others:
                        first = self.bdd.apply(name, first, other)
                    known[node] = first
        return known[tree]

    def of_program(self, program: Program) -> Any:
        algebra: dict[Op, Callable[..., Any]] = {
            Op.CONST: lambda value: self.bdd.true if value else self.bdd.false,
            Op.NOT: lambda a: ~a,
            Op.MUL: lambda a, b: a & b,
            Op.MIX: lambda x, low, high: self.bdd.ite(x, high, low),
        }
        return execute(program, [self.var(o) for o in program.inputs], algebra)


@pytest.mark.parametrize("name", RULES)
def test_boolean_programs_equal_their_rule_for_all_inputs(name: str) -> None:
    rule = RULES[name]
    symbolic = Symbolic(rule)
    for sub_iteration, step in zip(rule.sub_iterations, compile_rule(rule, DIAGRAM), strict=True):
        assert step.program.is_boolean
        wanted = symbolic.of_tree(rule.update(sub_iteration))
        assert symbolic.of_program(step.program) == wanted


def test_the_proof_would_see_any_single_slip() -> None:
    rule = catalog.bundled("thinning-2d")
    symbolic = Symbolic(rule)
    wanted = symbolic.of_tree(rule.update(rule.sub_iterations[0]))
    program = compile_rule(rule, DIAGRAM)[0].program
    slips = 0
    for number, instruction in enumerate(program.instructions):
        if instruction.op is Op.MIX:
            x, low, high = instruction.operands
            swapped = list(program.instructions)
            swapped[number] = Instruction(Op.MIX, (x, high, low))
            assert symbolic.of_program(Program(program.inputs, tuple(swapped))) != wanted
            slips += 1
    assert slips > 5


@pytest.mark.parametrize("name", ["thinning-2d", "thinning-3d", "guo-hall-2d", "erosion-26"])
def test_steps_turn_the_inputs_to_their_direction(name: str) -> None:
    rule = RULES[name]
    for sub_iteration, step in zip(rule.sub_iterations, compile_rule(rule, DIAGRAM), strict=True):
        assert step.offsets == tuple(rotate(o, sub_iteration.rotation) for o in step.program.inputs)
        assert step.outside == rule.outside
        assert step.absorbing == rule.absorbing


def test_all_directions_share_one_program() -> None:
    assert len({step.program for step in compile_rule(RULES["thinning-3d"], DIAGRAM)}) == 1
    assert len({step.offsets for step in compile_rule(RULES["thinning-3d"], DIAGRAM)}) == 6


# Element-wise arithmetic: the definition of the operations, on arrays.
ARRAYS: dict[Op, Callable[..., Any]] = {
    Op.CONST: float,
    Op.NOT: lambda a: 1 - a,
    Op.ADD: np.add,
    Op.SUB: np.subtract,
    Op.MUL: np.multiply,
    Op.DIV: lambda a, b: np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=np.asarray(b) != 0),
    Op.MIN: np.minimum,
    Op.MAX: np.maximum,
    Op.MIX: lambda x, low, high: low + x * (high - low),
    Op.STEP: lambda a: (np.asarray(a) > 0).astype(float),
    Op.FILL: lambda a: a,
}


@cache
def _corners(dimensions: int) -> dict[tuple[int, ...], np.ndarray]:
    if dimensions == 2:
        return {o: np.array([n >> k & 1 for n in range(512)], bool) for k, o in enumerate(block(2))}
    rng = np.random.default_rng(11)
    from helpers_reference import NUMBERED

    near = neighbourhoods_near_templates(rng, 60)
    counted = rng.random((26, 1500)) < rng.random(1500)
    drawn: dict[tuple[int, ...], np.ndarray] = dict(
        zip(NUMBERED, np.concatenate([near, counted], axis=1), strict=True)
    )
    drawn[0, 0, 0] = rng.random(drawn[0, 0, 1].size) < 0.8
    return drawn


@pytest.mark.parametrize("logic", [DIAGRAM, *LOGICS])
@pytest.mark.parametrize("name", RULES)
def test_programs_equal_their_rule_at_0_and_1(name: str, logic: str) -> None:
    rule = RULES[name]
    corners = _corners(rule.dimensions)
    for sub_iteration, step in zip(rule.sub_iterations, compile_rule(rule, logic), strict=True):
        wanted = truth(rule.update(sub_iteration), corners)
        got = execute(step.program, [corners[o].astype(float) for o in step.program.inputs], ARRAYS)
        assert (got == wanted).all()


GRID = np.linspace(0, 1, 17)
A, B = (g.ravel() for g in np.meshgrid(GRID, GRID))


def _hamacher(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    below = a + b - a * b
    return np.where(below == 0, 0, a * b / np.where(below == 0, 1, below))


FORMULAS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "product": (lambda a, b: a * b, lambda a, b: a + b - a * b),
    "minmax": (np.minimum, np.maximum),
    "lukasiewicz": (lambda a, b: np.maximum(0, a + b - 1), lambda a, b: np.minimum(1, a + b)),
    "einstein": (lambda a, b: a * b / (2 - (a + b - a * b)), lambda a, b: (a + b) / (1 + a * b)),
    "hamacher": (_hamacher, lambda a, b: 1 - _hamacher(1 - a, 1 - b)),
    "drastic": (
        lambda a, b: np.where(np.maximum(a, b) == 1, np.minimum(a, b), 0),
        lambda a, b: np.where(np.minimum(a, b) == 0, np.maximum(a, b), 1),
    ),
}


def _run(tree: ex.Expression, logic: str, values: dict[tuple[int, ...], np.ndarray]) -> np.ndarray:
    program = lower_expression(tree, logic)
    return np.asarray(execute(program, [values[o] for o in program.inputs], ARRAYS))


@pytest.mark.parametrize("logic", LOGICS)
def test_connectives_are_the_formulas_of_the_specification(logic: str) -> None:
    conjunction, disjunction = FORMULAS[logic]
    a, b, c = (ex.var((0, k)) for k in (-1, 0, 1))
    values: dict[tuple[int, ...], np.ndarray] = {(0, -1): A, (0, 0): B, (0, 1): (A + 0.3) % 1}
    C = values[0, 1]

    def parity(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if logic == "product":
            return np.asarray(x + y - 2 * x * y)
        return np.asarray(disjunction(conjunction(x, 1 - y), conjunction(1 - x, y)))

    for got, wanted in (
        (ex.all_of(a, b), conjunction(A, B)),
        (ex.any_of(a, b), disjunction(A, B)),
        (ex.negation(a), 1 - A),
        (ex.xor(a, b), parity(A, B)),
        (ex.all_of(a, b, c), conjunction(conjunction(A, B), C)),
        (ex.any_of(a, b, c), disjunction(disjunction(A, B), C)),
        (ex.xor(a, b, c), parity(parity(A, B), C)),
    ):
        np.testing.assert_allclose(_run(got, logic, values), wanted, atol=1e-14, rtol=0)


def test_the_logics_are_six_different_ones() -> None:
    assert set(LOGICS) == set(FORMULAS)
    results = [_run(ex.all_of(ex.var((0, 0)), ex.var((0, 1))), n, {(0, 0): A, (0, 1): B}) for n in LOGICS]
    for k, first in enumerate(results):
        for second in results[:k]:
            assert np.abs(first - second).max() > 0.01


def test_hamacher_or_stays_accurate_near_one() -> None:
    near = np.array([1 - 1e-15, 1.0, 1 - 2.0**-53])
    values: dict[tuple[int, ...], np.ndarray] = {(0, 0): near, (0, 1): near[::-1]}
    result = _run(ex.any_of(ex.var((0, 0)), ex.var((0, 1))), "hamacher", values)
    assert (result <= 1).all()
    assert (result >= 1 - 1e-15).all()


@pytest.mark.parametrize("logic", [DIAGRAM, *LOGICS])
@pytest.mark.parametrize("name", ["thinning-3d", "majority-2d", "erosion-8"])
def test_text_form_round_trip(name: str, logic: str) -> None:
    for step in compile_rule(RULES[name], logic):
        again = parse(str(step.program))
        assert again == step.program
        assert again.fingerprint == step.program.fingerprint
        assert str(again) == str(step.program)


def _program(*lines: str) -> Program:
    instructions = []
    for line in lines:
        op, *operands = line.split()
        instructions.append(Instruction(Op(op), tuple(map(int, operands))))
    return Program(((0, 0), (0, 1)), tuple(instructions))


@pytest.mark.parametrize(
    "lines",
    [
        ("input 2",),
        ("input -1",),
        ("input 0", "not 1"),
        ("input 0", "not -1"),
        ("input 0", "const 2"),
        ("input 0", "mix 0 0"),
        ("input 0", "mul 0"),
        ("input 0", "not 0 0"),
        ("input",),
        ("input 0", "add 0 1", "input 1"),
    ],
)
def test_instructions_with_invalid_operands_are_refused(lines: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="operand"):
        parse(str(_program(*lines)))


@pytest.mark.parametrize("text", ["", "nonsense", "inputs 0 0", "end ", "inputs 0 0\ninput 0\n"])
def test_malformed_programs_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="damaged"):
        parse(text)


def test_a_truncated_or_altered_text_is_refused() -> None:
    text = str(compile_rule(RULES["thinning-2d"], DIAGRAM)[0].program)
    assert str(parse(text)) == text
    for place in range(0, len(text.rstrip()), 5):
        with pytest.raises(ValueError, match=r"."):
            parse(text[:place])
        with pytest.raises(ValueError, match=r"."):
            parse(f"{text[:place]}{'7' if text[place] != '7' else '8'}{text[place + 1 :]}")


def test_fingerprints_tell_code_apart_but_not_offsets() -> None:
    one = _program("input 0", "input 1", "mul 0 1")
    moved = Program(((0, 0), (1, 0)), one.instructions)
    other = _program("input 0", "input 1", "min 0 1")
    assert one.fingerprint == moved.fingerprint
    assert one.fingerprint != other.fingerprint
    assert one.is_boolean
    assert not other.is_boolean


def test_plain_numbers_define_every_operation() -> None:
    operations = ("not 0", "add 0 1", "sub 0 1", "div 0 1", "min 0 1", "max 0 1", "mix 0 1 2", "step 0")
    total = ("mul 3 4", "add 11 5", "add 12 6", "add 13 7", "add 14 8", "add 15 9", "add 16 10")
    program = _program("input 0", "input 1", "const 1", *operations, *total)
    a, b = 0.25, 0.5
    wanted = (1 - a) * (a + b) + (a - b) + a / b + a + b + (b + a * (1 - b)) + 1
    assert execute(program, [a, b], NUMBERS) == pytest.approx(wanted, abs=1e-15)
    assert execute(_program("input 0", "const 0", "div 0 1"), [3.0, 0.0], NUMBERS) == 0
    assert set(NUMBERS) | {Op.INPUT} == set(Op)


def test_builder_shares_and_drops() -> None:
    builder = Builder()
    x, y = builder.input((0, 0)), builder.input((0, 1))
    assert builder.input((0, 0)) == x
    assert builder.negate(builder.negate(x)) == x
    assert builder.negate(builder.const(0)) == builder.const(1)
    assert builder.mix(x, builder.const(0), builder.const(1)) == x
    assert builder.mix(x, builder.const(1), builder.const(0)) == builder.negate(x)
    assert builder.emit(Op.MUL, x, y) == builder.emit(Op.MUL, x, y)
    unused = builder.emit(Op.MUL, y, y)
    program = builder.build(builder.negate(x))
    assert program.inputs == ((0, 0),)
    assert len(program.instructions) == 2
    assert unused > 0


def test_at_least_and_exactly_are_small_graphs() -> None:
    ring = [ex.var(o) for o in neighbors(26, 3)]
    assert len(list(ex.walk(ex.at_least(13, ring)))) < 1000
    assert len(list(ex.walk(ex.exactly(13, ring)))) < 1500


def test_a_shared_graph_has_a_short_repr() -> None:
    # A tree would have 12870 leaves; for 14 of 27 a tree's text would never end.
    assert len(repr(ex.at_least(8, [ex.var(o) for o in block(3)[:16]]))) < 20_000


def test_an_unknown_rule_for_other_dimensions_is_no_program() -> None:
    with pytest.raises(RuleError):
        loads("dimensions = 5\n", name="r")
