"""Compiles rules to programs: `compile_rule`, whose results are cached in memory and on disk."""

from softmorph_cli.compiler.compile import DIAGRAM, MINMAX, NESTED, RANKS, Step, compile_rule, is_increasing

__all__ = ["DIAGRAM", "MINMAX", "NESTED", "RANKS", "Step", "compile_rule", "is_increasing"]
