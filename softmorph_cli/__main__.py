"""Entry point of the command `softmorph` and of `python -m softmorph_cli`."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path


def main() -> None:
    """Run the command line; ends the process with its exit status."""
    # Daemons and cron may close them; what is printed then goes nowhere.
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115  (open until the process ends)
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    # A run makes 200,000 objects by importing, and they stay: to look for garbage after every 700 of them takes a
    # tenth of a short run.
    gc.set_threshold(100_000)
    try:
        from softmorph_cli.cli.app import app

        app(prog_name="softmorph")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        # What is left dies with the process; to sort it first takes longer than reading and writing the map.
        gc.freeze()


if __name__ == "__main__":
    main()
