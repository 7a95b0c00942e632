"""Whether the terminal can show real pixels, and the bytes that make it do so.

textual-image, an optional extra, writes the bytes. It would also ask the terminal what it can do, when it is
imported and when it draws, and an answer that comes late would then be read by the shell as typing. So the
question is asked here, once, to terminals that can be expected to answer, and textual-image never sees the
real terminal.
"""

from __future__ import annotations

import io
import os
import re
import select
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rich.segment import ControlType, Segment, Segments

from softmorph_cli.errors import UsageError

VARIABLE: Final = "SOFTMORPH_PICTURES"
CHOICES: Final = ("auto", "blocks", "sixel", "kitty", "none")
LIBRARY: Final = "textual_image"
# Columns and rows of a cell in pixels, where the terminal does not say: the VT340's, which sixel began with.
CELL: Final = (10, 20)
# First the size of a cell, then what the terminal is: that is answered by all, so nobody waits for the first.
QUESTION: Final = b"\x1b[16t\x1b[c"
PATIENCE: Final = 0.5  # seconds
# These answer nothing, or not for the terminal that is looked at.
SILENT: Final = ("", "dumb", "linux", "unknown", "eterm")
# What says "draw nothing, and do not count these bytes as text".
_UNCOUNTED: Final = [(ControlType.CURSOR_FORWARD, 0)]


@dataclass(frozen=True)
class Graphics:
    """How a terminal shows pixels.

    Attributes:
        protocol: "sixel" or "kitty".
        cell: Width and height of a character in pixels.
    """

    protocol: str
    cell: tuple[int, int]


class NotShownError(Exception):
    """The library failed: characters have to do."""


def wanted() -> str:
    """Return what `SOFTMORPH_PICTURES` asks for: "auto" where it is not set.

    Raises:
        UsageError: If it is none of the choices.
    """
    choice = os.environ.get(VARIABLE, "").strip().lower() or "auto"
    if choice not in CHOICES:
        raise UsageError(f"{VARIABLE}={choice} is unknown; it may be {', '.join(CHOICES)}.")
    return choice


def installed() -> bool:
    """Tell whether the optional library is there; nothing is imported."""
    return find_spec(LIBRARY) is not None


def detect(choice: str) -> Graphics | None:
    """Return how to show pixels, or None for characters.

    Args:
        choice: "auto" asks the terminal, if standard input and output are one; "sixel" and "kitty" are taken
            on trust; all else is None.
    """
    if choice not in ("auto", "sixel", "kitty") or not installed():
        return None
    if choice != "auto":
        return Graphics(choice, _cell_size() or CELL)
    if not _interactive():
        return None
    # Others that know the protocol lack its placeholders, which let the picture scroll with the text.
    kitty = "kitty" in os.environ.get("TERM", "") or "ghostty" in os.environ.get("TERM", "")
    if kitty:
        # The placeholders carry the picture's number as a 24-bit colour.
        truecolor = os.environ.get("COLORTERM", "").lower() in ("truecolor", "24bit")
        return Graphics("kitty", _cell_size() or CELL) if truecolor else None
    answer = _ask()
    what = re.search(rb"\x1b\[\?([\d;]*)c", answer)
    if what is None or b"4" not in what[1].split(b";"):
        return None
    size = re.search(rb"\x1b\[6;(\d+);(\d+)t", answer)
    told = (int(size[2]), int(size[1])) if size and int(size[1]) and int(size[2]) else None
    return Graphics("sixel", _cell_size() or told or CELL)


def encode(colors: npt.NDArray[np.uint8], graphics: Graphics) -> Segments:
    """Return what shows an image, to be printed by rich.

    Args:
        colors: Shape (height, width, 3): whole cells.
        graphics: As `detect` found.

    Raises:
        NotShownError: If the library fails, whatever the reason.
    """
    try:
        segments, sent = _encode(colors, graphics)
    except Exception as error:
        raise NotShownError(f"{LIBRARY}: {error}") from error
    return Segments([Segment(sent, control=_UNCOUNTED), *segments] if sent else segments)


def _encode(colors: npt.NDArray[np.uint8], graphics: Graphics) -> tuple[list[Segment], str]:
    """Return what the library has rich print, and what it would have sent to the terminal before."""
    import importlib

    from PIL import Image
    from rich.console import Console

    width, height = graphics.cell
    columns, rows = colors.shape[1] // width, colors.shape[0] // height
    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=columns + 1)
    with _hidden_terminal(graphics.cell) as sent:
        library: Any = importlib.import_module(f"{LIBRARY}.renderable")
        kind = library.SixelImage if graphics.protocol == "sixel" else library.TGPImage
        image = kind(Image.fromarray(np.ascontiguousarray(colors)), width=columns, height=rows)
        return list(console.render(image, console.options)), sent.getvalue()


@contextmanager
def _hidden_terminal(cell: tuple[int, int]) -> Iterator[io.StringIO]:
    """Let textual-image see no terminal, give it the size of a cell, and catch what it would send."""
    names = ("TEXTUAL_CELL_WIDTH", "TEXTUAL_CELL_HEIGHT")
    before, kept = sys.__stdout__, {name: os.environ.get(name) for name in names}
    sent = io.StringIO()
    try:
        setattr(sys, "__stdout__", sent)  # noqa: B010  (typed as final)
        os.environ.update(zip(names, map(str, cell), strict=True))
        yield sent
    finally:
        setattr(sys, "__stdout__", before)  # noqa: B010
        for name, value in kept.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _interactive() -> bool:
    """Tell whether a terminal that may answer is at both ends and nobody has typed ahead."""
    term = os.environ.get("TERM", "")
    if term in SILENT or sys.stdout is not sys.__stdout__ or sys.platform == "win32":
        return False
    try:
        if not (os.isatty(0) and os.isatty(1)) or os.ttyname(0) != os.ttyname(1):
            return False
        # A job in the background would be stopped for touching the terminal.
        if os.tcgetpgrp(0) != os.getpgrp():
            return False
        return not select.select([0], [], [], 0)[0]
    except OSError:
        return False


def _cell_size() -> tuple[int, int] | None:
    """Return width and height of a cell as the system knows them."""
    if sys.platform == "win32":
        return None
    try:
        import fcntl
        import termios

        told = fcntl.ioctl(1, termios.TIOCGWINSZ, bytes(8))
    except (ImportError, OSError):
        return None
    rows, columns, width, height = struct.unpack("4H", told)
    cell = (width // max(columns, 1), height // max(rows, 1))
    return cell if min(cell) > 0 else None


def _ask() -> bytes:
    """Put the question and return what came back in time; what comes with it is not left for the shell."""
    if sys.platform == "win32":
        return b""
    import termios
    import tty

    answer, end = b"", time.monotonic() + PATIENCE
    try:
        before = termios.tcgetattr(0)
    except termios.error:
        return b""
    complete = False
    try:
        tty.setcbreak(0, termios.TCSANOW)
        sys.stdout.flush()
        os.write(1, QUESTION)
        while not complete and (left := end - time.monotonic()) > 0 and select.select([0], [], [], left)[0]:
            read = os.read(0, 1024)
            if not read:
                break
            answer += read
            complete = re.search(rb"\x1b\[\?[\d;]*c", answer) is not None
    except (OSError, termios.error):
        return b""
    finally:
        # If the answer is incomplete, the rest of it is thrown away as far as it has come.
        termios.tcsetattr(0, termios.TCSANOW if complete else termios.TCSAFLUSH, before)
    return answer
