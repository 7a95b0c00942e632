"""Temporary files of workers that were killed: nobody else takes them away."""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

_NAME: Final = re.compile(r"\.softmorph-[0-9a-f]{12}-(.+)")
# How much of a target's name the temporary one of a file keeps, and that of a Zarr store.
_KEPT: Final = (20, 200)


def clear(targets: Iterable[Path], others: Iterable[Path] = ()) -> None:
    """Remove temporary files that were to become one of the targets.

    Args:
        targets: Files that nobody is writing now.
        others: Files that another part of the batch may be writing now.
    """
    tails: defaultdict[Path, set[str]] = defaultdict(set)
    for target in targets:
        tails[target.parent].update(_tails(target))
    for target in others:
        tails[target.parent].difference_update(_tails(target))
    for folder, ours in tails.items():
        with suppress(OSError):
            for path in folder.iterdir():
                named = _NAME.fullmatch(path.name)
                if named is not None and named[1] in ours:
                    _remove(path)


def _tails(target: Path) -> set[str]:
    return {target.name[-kept:] for kept in _KEPT}


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(OSError):
        path.unlink()
