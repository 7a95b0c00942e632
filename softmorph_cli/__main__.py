"""Entry point of the command `softmorph` and of `python -m softmorph_cli`."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Run the command line; ends the process with its exit status."""
    # Daemons and cron may close them; what is printed then goes nowhere.
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115  (open until the process ends)
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    try:
        from softmorph_cli.cli.app import app

        app(prog_name="softmorph")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
