"""Entry point of the command `softmorph` and of `python -m softmorph_cli`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; ends the process with its exit status."""
    try:
        from softmorph_cli.cli.app import app

        app(prog_name="softmorph")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
