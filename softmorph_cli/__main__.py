"""Entry point of the command `softmorph` and of `python -m softmorph_cli`."""

from __future__ import annotations

import gc
import io
import os
import sys
from contextlib import suppress
from pathlib import Path

from softmorph_cli.system.interruption import still_computing


def main() -> None:
    """Run the command line; ends the process with its exit status."""
    # Daemons and cron may close them; what is printed then goes nowhere.
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115  (open until the process ends)
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Not every locale has "→" or "³".
            stream.reconfigure(errors="replace")
    # A run makes 200,000 objects by importing, and they stay: to look for garbage after every 700 of them takes a
    # tenth of a short run.
    gc.set_threshold(100_000)
    try:
        from softmorph_cli.cli.app import app

        app(prog_name="softmorph")
    except SystemExit as ended:
        _leave(ended.code)
        raise
    except OSError as error:
        from softmorph_cli.cli.command import unprinted

        unprinted(error)
        sys.exit(1)
    except KeyboardInterrupt:
        _leave(130)
        sys.exit(130)
    finally:
        # What is left dies with the process; to sort it first takes longer than reading and writing the map.
        gc.freeze()


def _leave(status: object) -> None:
    """End at once where, after an interruption, a library still computes; its end is not to be waited for."""
    if isinstance(status, int) and still_computing():
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # whoever read it is gone
                stream.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
