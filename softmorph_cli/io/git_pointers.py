"""Detection of Git LFS and git-annex pointers, placeholders of files whose content was not fetched."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Final

from softmorph_cli.errors import FileError

_LFS: Final = b"version https://git-lfs.github.com/spec/"
_ANNEX: Final = b"/annex/objects/"
# The longest pointer, in bytes.
_LONGEST = 32_768


def check_fetched(path: Path) -> None:
    """Refuse a file that is a placeholder of Git LFS or git-annex, and state the command that fetches its content.

    Raises:
        FileError: If the file is a Git LFS pointer, or a git-annex link or pointer whose content is missing.
    """
    try:
        target = os.fsencode(path.readlink()) if path.is_symlink() else b""
        if target and not path.exists():
            head = target if _ANNEX in target else b""
        elif path.is_file() and path.stat().st_size <= _LONGEST:
            with path.open("rb") as stream:
                head = stream.read(len(_LFS))
        else:
            return
    except OSError:  # reported when it is opened
        return
    folder, name = shlex.quote(str(path.parent)), shlex.quote(path.name)
    if head.startswith(_LFS):
        raise FileError(
            f"{path} is a Git LFS pointer, its content is not here; fetch it: "
            f"git -C {folder} lfs pull --include {name}"
        )
    if _ANNEX in head if target else head.startswith(_ANNEX):
        raise FileError(
            f"{path} is a git-annex pointer, its content is not here; fetch it: git -C {folder} annex get {name}"
        )
