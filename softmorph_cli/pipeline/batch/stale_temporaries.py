"""`clear` removes temporary files that were left by workers that were killed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from softmorph_cli.system.temporaries import LEFTOVER, remove_left, tails


def clear(targets: Iterable[Path], others: Iterable[Path] = ()) -> None:
    """Remove temporary files that were left when workers were killed while they wrote these targets.

    Args:
        targets: Result files that no worker of the batch is writing now.
        others: Result files of other parts of the batch, which may be running; their temporary files are not removed.
    """
    ends: defaultdict[Path, set[str]] = defaultdict(set)
    for target in targets:
        ends[target.parent].update(tails(target))
    for target in others:
        ends[target.parent].difference_update(tails(target))
    for folder, ours in ends.items():
        with suppress(OSError):
            for path in folder.iterdir():
                named = LEFTOVER.fullmatch(path.name)
                if named is not None and named[1] in ours:
                    # Another command may be writing a file whose temporary name has the same end.
                    remove_left(path, unsure=True)
