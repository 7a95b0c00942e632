"""Rule -> Program. `compile_rule` is the door; everything it makes is kept in memory and on disk."""

from softmorph_cli.compiler.compile import DIAGRAM, MINMAX, NESTED, RANKS, Step, compile_rule, is_increasing

__all__ = ["DIAGRAM", "MINMAX", "NESTED", "RANKS", "Step", "compile_rule", "is_increasing"]
