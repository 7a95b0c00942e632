"""Reads rules from TOML files, both the bundled rules and users' rules.

A rule file has these keys::

    title = "What it does, in one line"         # optional
    citation = "Where it comes from"            # optional
    dimensions = 2                              # 2 or 3
    action = "delete"                           # delete | add | set
    when = "A | (B & ~N)"                       # optional: default is any of the templates
    schedule = ["N", "E", "S", "W"]             # optional: the passes of one iteration; default one pass;
                                                # or "subfields": one pass for each parity of the index
    iterations = 1                              # a number, or "until stable"; default 1
    outside = 0                                 # 0 or 1: the value of voxels outside the image
    order = ["N", "E"]                          # optional: variable order of the decision diagram

    [templates]
    A = "~NE & (E ^ S)"                         # an expression, or a picture in a string, or
    [templates.B]                               # a picture, see softmorph_cli.rules.picture
    picture = '''
    .1.
    011
    00.
    '''
    turn = true                                 # 2D: also in its quarter turns
    turn_about_axis = 1                         # 3D: also in its quarter turns about this axis

An expression consists of `&`, `|`, `^`, `~`, parentheses, names of templates, and neighbours: `C` is the centre voxel,
`N NE E SE S SW W NW` are the neighbours in 2D, `[z,y,x]` is an offset. `at_least(k, ...)` and `exactly(k, ...)` count
expressions or a set: `cross` (4 or 6), `ring` (8 or 26), `block` (9 or 27, with the centre voxel). `simple` holds if
deleting the voxel alone keeps the topology, (8, 4) in 2D and (26, 6) in 3D, see softmorph_cli.rules.simple_points. Each
entry of `schedule` is a direction: the rule is drawn for "N" in 2D and "U" in 3D and is turned to the others;
`{turn = "S", when = "..."}` is a pass with a separate condition. With "subfields" the rule is not turned: the 4 or 8
passes change the voxels whose index has the parity (0, 0), (0, 1), (1, 0), (1, 1), in 3D (0, 0, 0) to (1, 1, 1). Voxels
of one subfield are not neighbours, so a pass is equivalent to deleting its voxels one by one in any order.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from softmorph_cli.errors import FileError, RuleError
from softmorph_cli.rules.expression import (
    Expression,
    all_of,
    any_of,
    at_least,
    constant,
    exactly,
    negation,
    var,
    xor,
)
from softmorph_cli.rules.neighborhood import (
    COMPASS,
    CONNECTIVITIES,
    DIRECTIONS,
    Offset,
    block,
    centre,
    neighbors,
    quarter_turn,
    subfields,
)
from softmorph_cli.rules.picture import Template, parse
from softmorph_cli.rules.rule import Action, Rule, SubIteration
from softmorph_cli.rules.simple_points import SUFFIX, simple
from softmorph_cli.system.files import parse_toml

_KEYS = frozenset(
    [
        "title",
        "citation",
        "dimensions",
        "action",
        "when",
        "schedule",
        "iterations",
        "outside",
        "order",
        "templates",
    ],
)
# A string of marks only is a picture; no expression matches.
_DRAWN = re.compile(r"(?:\s*[10.x*]){9,}\s*")
_SIMPLE = "simple"
_SUBFIELDS = "subfields"
_TEMPLATE_KEYS = frozenset({"picture", "turn", "turn_about_axis"})


def named_file(rule: str | Path) -> Path | None:
    """Return the path of a rule's file without the suffix "+simple", or None if `rule` names a bundled rule.

    A string that ends in ".toml" or contains a slash is taken as a path.
    """
    path = Path(str(rule).removesuffix(SUFFIX))
    return path if path.suffix == ".toml" or len(path.parts) > 1 else None


def load(path: Path) -> Rule:
    """Return the rule in a rule file; the rule's name is the file's name without ".toml".

    Raises:
        FileError: If the file cannot be read.
        RuleError: If the file contains no valid rule; the message names the file and the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise FileError(f"{path} does not exist; softmorph rules lists the bundled rules.") from error
    except UnicodeDecodeError as error:
        raise FileError(
            f"{path} is no rule file: it is not text in UTF-8; type softmorph apply RULE IN OUT."
        ) from error
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}.") from error
    return loads(text, name=path.stem, origin=str(path))


def loads(text: str, *, name: str, origin: str = "rule") -> Rule:
    """Return the rule in a TOML text.

    Args:
        text: The content of a rule file.
        name: The name of the rule.
        origin: The name of the text (such as the file's path) in error messages.

    Raises:
        RuleError: If the text contains no valid rule; the message names `origin` and the line.
    """
    try:
        table = parse_toml(text)
    except ValueError as error:
        raise RuleError(f"{origin}: not valid TOML: {error}") from error
    return _Reader(table, text, name, origin).rule()


class _Reader:
    """Converts the parsed TOML table of a rule file to a `Rule`; errors name the line of the faulty key."""

    def __init__(self, table: Mapping[str, Any], text: str, name: str, origin: str) -> None:
        self.table, self.lines, self.name, self.origin = table, text.splitlines(), name, origin
        self.dimensions = 0
        self.named: dict[str, Expression | list[Expression]] = {}

    def rule(self) -> Rule:
        for key in self.table:
            if key not in _KEYS:
                raise self.error(key, f"unknown key {key!r}; a rule has {', '.join(sorted(_KEYS))}")
        self.dimensions = self.choice("dimensions", (2, 3))
        action = Action(self.choice("action", tuple(map(str, Action))))
        self.name_neighbours()
        templates = self.templates()
        if "when" not in self.table and not templates:
            raise self.error("when", "nothing to do: give templates, or a condition in `when`")
        condition = str(self.table.get("when", " | ".join(name for name, _ in templates)))
        return Rule(
            name=self.name,
            dimensions=self.dimensions,
            action=action,
            sub_iterations=self.schedule(condition),
            outside=self.choice("outside", (0, 1), default=0),
            iterations=self.iterations(),
            title=str(self.table.get("title", "")),
            citation=str(self.table.get("citation", "")),
            templates=tuple(templates),
            condition=condition,
            order=self.order(),
            origin=self.place("when" if "when" in self.table else next(iter(dict(templates)))),
        )

    def name_neighbours(self) -> None:
        d = self.dimensions
        smallest, *_, largest = CONNECTIVITIES[d]
        self.named = {
            "C": var(centre(d)),
            "cross": [var(o) for o in neighbors(smallest, d)],
            "ring": [var(o) for o in neighbors(largest, d)],
            "block": [var(o) for o in block(d)],
        }
        if d == 2:
            self.named |= {name: var(offset) for name, offset in COMPASS.items()}

    def templates(self) -> list[tuple[str, Template | str]]:
        found: list[tuple[str, Template | str]] = []
        for name, entry in self.mapping("templates").items():
            if name in (*self.named, _SIMPLE) or not name.isidentifier() or keyword.iskeyword(name):
                raise self.error(
                    name, f"a template cannot be called {name!r}: take a plain word that is still free"
                )
            template: Template | str
            if isinstance(entry, str) and _DRAWN.fullmatch(entry):
                entry = {"picture": entry}
            if isinstance(entry, str):
                template, expression = entry, self.expression(entry, name)
            else:
                template = self.picture(name, entry)
                expression = template.expression
            self.named[name] = expression
            found.append((name, template))
        return found

    def picture(self, name: str, entry: Any) -> Template:
        if not isinstance(entry, dict) or not isinstance(entry.get("picture"), str):
            raise self.error(name, f"template {name} needs a `picture`, or must be an expression in quotes")
        if extra := set(entry) - _TEMPLATE_KEYS:
            raise self.error(
                sorted(extra)[0], f"template {name} has an unknown key {sorted(extra)[0]!r}", name
            )
        axis = entry.get("turn_about_axis", 0 if entry.get("turn") else None)
        if "turn" in entry and self.dimensions == 3:
            raise self.error("turn", f"template {name} is 3D: say turn_about_axis = 0, 1 or 2", name)
        if axis is not None and axis not in range(self.dimensions if self.dimensions == 3 else 1):
            raise self.error("turn_about_axis", f"template {name} cannot be turned about axis {axis!r}", name)
        turn = None if axis is None else quarter_turn(axis, self.dimensions)
        try:
            return parse(entry["picture"], self.dimensions, turn)
        except RuleError as error:
            raise self.error(name, f"template {name}: {error}") from error

    def schedule(self, condition: str) -> tuple[SubIteration, ...]:
        directions = DIRECTIONS[self.dimensions]
        upright, *_ = directions
        entries = self.table.get("schedule", [upright])
        if entries == _SUBFIELDS:
            expression = self.expression(condition, "when")
            return tuple(
                SubIteration(expression, directions[upright], "".join(map(str, parity)), parity)
                for parity in subfields(self.dimensions)
            )
        if not isinstance(entries, list) or not entries:
            raise self.error(
                "schedule", f'`schedule` is a list of directions: {", ".join(directions)}; or "{_SUBFIELDS}"'
            )
        common: Expression | None = None
        passes = []
        for entry in entries:
            given = entry if isinstance(entry, dict) else {"turn": entry}
            if not set(given) <= {"turn", "when"} or given.get("turn") not in tuple(directions):
                raise self.error("schedule", f"{entry!r} is not a direction: use {', '.join(directions)}")
            if "when" in given:
                expression = self.expression(str(given["when"]), "schedule")
            else:
                common = expression = common or self.expression(condition, "when")
            passes.append(SubIteration(expression, directions[given["turn"]], given["turn"]))
        return tuple(passes)

    def iterations(self) -> int | None:
        value = self.table.get("iterations", 1)
        if value == "until stable":
            return None
        if type(value) is not int or value < 1:
            raise self.error(
                "iterations", f'`iterations` is a positive number or "until stable", not {value!r}'
            )
        return value

    def order(self) -> tuple[Offset, ...]:
        names = self.table.get("order", [])
        if not isinstance(names, list):
            raise self.error("order", "`order` is a list of neighbours")
        offsets = []
        for name in names:
            try:
                offsets.append(self.parse_offset(ast.parse(str(name), mode="eval").body))
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                raise self.error("order", f"{str(name)[:40]!r} in `order` is not a neighbour") from error
        return tuple(offsets)

    def expression(self, text: str, key: str) -> Expression:
        try:
            # Boolean operators, calls and lists have Python's grammar.
            result = self.convert(ast.parse(" ".join(text.split()), mode="eval").body)
        except SyntaxError as error:
            raise self.error(key, f"cannot read the expression {text!r}: {error.msg}") from error
        except ValueError as error:
            raise self.error(key, f"{error} in the expression {text!r}") from error
        except (RecursionError, MemoryError) as error:
            raise self.error(key, "the expression is nested too deeply") from error
        return result

    def convert(self, node: ast.expr) -> Expression:
        match node:
            case ast.Constant(value=0 | 1 as value):
                return constant(bool(value))
            case ast.Name(id=name) if name == _SIMPLE:
                return simple(self.dimensions)
            case ast.Name(id=name) if isinstance(self.named.get(name), Expression):
                return self.named[name]  # type: ignore[return-value]
            case ast.Name(id=name):
                known = sorted(n for n, value in self.named.items() if isinstance(value, Expression))
                raise ValueError(f"{name!r} is neither a neighbour nor a template ({', '.join(known)})")
            case ast.List():
                return var(self.parse_offset(node))
            case ast.UnaryOp(op=ast.Invert() | ast.Not(), operand=operand):
                return negation(self.convert(operand))
            case ast.BinOp(left=left, op=ast.BitAnd(), right=right):
                return all_of(self.convert(left), self.convert(right))
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return any_of(self.convert(left), self.convert(right))
            case ast.BinOp(left=left, op=ast.BitXor(), right=right):
                return xor(self.convert(left), self.convert(right))
            case ast.Call(
                func=ast.Name(id="at_least" | "exactly" as function), args=[count, *operands], keywords=[]
            ):
                return self.count(function, count, operands)
        raise ValueError(f"{ast.unparse(node)!r} is not allowed: use & | ^ ~ ( ) at_least exactly and names")

    def count(self, function: str, count: ast.expr, operands: list[ast.expr]) -> Expression:
        if not (isinstance(count, ast.Constant) and type(count.value) is int):
            raise ValueError(f"{function} begins with a number, not {ast.unparse(count)!r}")
        expressions: list[Expression] = []
        for operand in operands:
            named = self.named.get(operand.id) if isinstance(operand, ast.Name) else None
            expressions += named if isinstance(named, list) else [self.convert(operand)]
        return (at_least if function == "at_least" else exactly)(count.value, expressions)

    def parse_offset(self, node: ast.expr) -> Offset:
        if isinstance(node, ast.Name) and node.id in COMPASS and self.dimensions == 2:
            return COMPASS[node.id]
        if isinstance(node, ast.Name) and node.id == "C":
            return centre(self.dimensions)
        offset = ast.literal_eval(node) if isinstance(node, ast.List) else None
        if not isinstance(offset, list) or tuple(offset) not in block(self.dimensions):
            form = "[y,x]" if self.dimensions == 2 else "[z,y,x]"
            raise ValueError(f"{ast.unparse(node)!r} is no neighbour {form} with each of -1, 0, 1")
        return tuple(offset)

    def choice(self, key: str, allowed: tuple[Any, ...], default: Any = None) -> Any:
        value = self.table.get(key, default)
        if not any(value == a and type(value) is type(a) for a in allowed):
            found = "is missing" if value is None else f"cannot be {value!r}"
            raise self.error(key, f"`{key}` {found}: use {' or '.join(map(repr, allowed))}")
        return value

    def mapping(self, key: str) -> Mapping[str, Any]:
        value = self.table.get(key, {})
        if not isinstance(value, dict):
            raise self.error(key, f"`{key}` is a table")
        return value

    def error(self, key: str, message: str, within: str = "") -> RuleError:
        return RuleError(f"{self.place(key, within)}: {message}.")

    def place(self, key: str, within: str = "") -> str:
        """Return the file and the line of `key` (after the line of `within`), or the file alone if no line is found."""
        found = not within
        for number, line in enumerate(self.lines, start=1):
            written = line.split("=")[0].strip(" []\"'").split(".")[-1]
            found = found or written == within
            if found and written == key:
                return f"{self.origin}, line {number}"
        return self.place(within) if within else self.origin
