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
    # Daemons and cron may close them; output is then discarded.
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115  (open until the process ends)
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Not every locale has "→" or "³".
            stream.reconfigure(errors="replace")
    # Imports make 200,000 permanent objects; collecting after every 700 of them takes a tenth of a short run.
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
        # No collection at exit: it would take longer than reading and writing the map. But Triton, which torch.optim
        # loads, then complains of every object of its own.
        if "triton" not in sys.modules:
            gc.freeze()


def _leave(status: object) -> None:
    """End at once if a library still computes after an interruption."""
    if isinstance(status, int) and still_computing():
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # a closed pipe
                stream.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
