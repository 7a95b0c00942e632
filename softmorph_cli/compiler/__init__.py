"""Rule -> Program. `compile_rule` is the door; everything it makes is kept in memory and on disk."""

from softmorph_cli.compiler.compile import DIAGRAM, NESTED, RANKS, Step, compile_rule

__all__ = ["DIAGRAM", "NESTED", "RANKS", "Step", "compile_rule"]
