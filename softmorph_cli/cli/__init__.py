"""The command line: one thin file a command; parse, call, print.

Nothing heavy is imported until a command runs, so that `--help` answers at once.
"""

__all__ = ["app", "command"]
