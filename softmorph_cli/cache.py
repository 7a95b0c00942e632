"""The folder for what is computed once and kept: compiled programs and generated kernels.

It is private to the user, written atomically, and shared safely by many processes: two that compute the same
entry write the same bytes, and the first to finish wins. Code is imported from it, so a folder that belongs
to somebody else is never used.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

VARIABLE = "SOFTMORPH_CACHE_DIR"


def root() -> Path:
    """Return the cache folder, made if need be.

    `SOFTMORPH_CACHE_DIR` if it is set, else the user's cache folder, else (where the home folder is
    read-only) a private folder in the system's temporary one.
    """
    return _root(os.environ.get(VARIABLE))


def load(kind: str, key: str) -> str | None:
    """Return the text kept under a key, or None."""
    try:
        return (root() / kind / key).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def store(kind: str, key: str, text: str) -> Path:
    """Keep a text under a key and return its file; an entry that holds just this text is left untouched.

    Raises:
        OSError: If the folder cannot be written any more.
    """
    folder = root() / kind
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / key
    occupied = path.exists()
    if occupied and load(kind, key) == text:
        return path
    temporary = folder / f".{secrets.token_hex(8)}"
    try:
        temporary.write_text(text, encoding="utf-8")
        # A link fails where another process was first, so the time stamp that Numba's cache goes by stays.
        try:
            if occupied:
                temporary.replace(path)
            else:
                path.hardlink_to(temporary)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink()
    return path


@cache
def _root(chosen: str | None) -> Path:
    from platformdirs import user_cache_path

    user = f"softmorph-{os.getuid()}"
    candidates = [Path(chosen)] if chosen else [user_cache_path("softmorph", appauthor=False)]
    candidates.append(Path(tempfile.gettempdir()) / user)
    for candidate in candidates:
        if _usable(candidate):
            return candidate
    return Path(tempfile.mkdtemp(prefix=f"{user}-"))


def _usable(folder: Path) -> bool:
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / f".{secrets.token_hex(8)}"
        probe.touch()
        probe.unlink()
        return folder.stat().st_uid == os.getuid() and not folder.stat().st_mode & 0o022
    return False
