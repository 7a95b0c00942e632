"""Compiles a rule to a program with `compile.compile_rule`; programs are cached in memory and on disk."""

__all__ = ["adjoint", "compile", "deletions", "lowering", "necessary_conditions", "nesting", "program"]
