"""Detection of a terminal's graphics protocol, and the control sequences that show an image.

The sequences are made by textual-image, an optional extra. It queries the terminal itself, on import and while
drawing, and a late reply would reach the shell as typed input. So the query is sent here, once, to terminals that are
likely to reply, and textual-image never accesses the real terminal.
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
# Width and height of a character cell in pixels if unknown: those of the VT340, the first terminal with sixel.
CELL: Final = (10, 20)
# Queries the size of a cell, then the device attributes, to which all terminals reply: no need to wait for the first.
QUERY: Final = b"\x1b[16t\x1b[c"
PATIENCE: Final = 0.5  # seconds
# Values of TERM whose terminals do not reply, or not for the terminal in front of the user.
SILENT: Final = ("", "dumb", "linux", "unknown", "eterm")
# Makes rich write a segment without counting it as text.
_UNCOUNTED: Final = [(ControlType.CURSOR_FORWARD, 0)]


@dataclass(frozen=True)
class Graphics:
    """The graphics capability of a terminal.

    Attributes:
        protocol: The graphics protocol, "sixel" or "kitty".
        cell: Width and height of a character in pixels.
    """

    protocol: str
    cell: tuple[int, int]


class NotShownError(Exception):
    """The error that textual-image failed to encode an image."""


def mode() -> str:
    """Return the value of `SOFTMORPH_PICTURES`, by default "auto".

    Raises:
        UsageError: If the value is none of the choices.
    """
    choice = os.environ.get(VARIABLE, "").strip().lower() or "auto"
    if choice not in CHOICES:
        raise UsageError(f"{VARIABLE}={choice} is unknown; it may be {', '.join(CHOICES)}.")
    return choice


def installed() -> bool:
    """Return whether textual-image is installed, without importing it."""
    return find_spec(LIBRARY) is not None


def detect(choice: str) -> Graphics | None:
    """Return the graphics capability of the terminal, or None if the terminal shows no graphics.

    With the choice "auto" the terminal is queried, if standard input and output are a terminal; the choices "sixel" and
    "kitty" are not verified; with all other choices the result is None.
    """
    if choice not in ("auto", "sixel", "kitty") or not installed():
        return None
    if choice != "auto":
        return Graphics(choice, _cell_size() or CELL)
    if not _interactive():
        return None
    # Other terminals with the protocol lack its placeholders, which let the picture scroll with the text.
    kitty = "kitty" in os.environ.get("TERM", "") or "ghostty" in os.environ.get("TERM", "")
    if kitty:
        # Placeholders encode the number of the image as a 24-bit colour.
        truecolor = os.environ.get("COLORTERM", "").lower() in ("truecolor", "24bit")
        return Graphics("kitty", _cell_size() or CELL) if truecolor else None
    reply = _query()
    attributes = re.search(rb"\x1b\[\?([\d;]*)c", reply)
    if attributes is None or b"4" not in attributes[1].split(b";"):
        return None
    size = re.search(rb"\x1b\[6;(\d+);(\d+)t", reply)
    reported = (int(size[2]), int(size[1])) if size and int(size[1]) and int(size[2]) else None
    return Graphics("sixel", _cell_size() or reported or CELL)


def encode(colors: npt.NDArray[np.uint8], graphics: Graphics) -> Segments:
    """Return an RGB image, shape (height, width, 3), for rich to print; its size is a multiple of a cell's size.

    Raises:
        NotShownError: If textual-image fails for any reason.
    """
    try:
        segments, sent = _encode(colors, graphics)
    except Exception as error:
        raise NotShownError(f"{LIBRARY}: {error}") from error
    return Segments([Segment(sent, control=_UNCOUNTED), *segments] if sent else segments)


def _encode(colors: npt.NDArray[np.uint8], graphics: Graphics) -> tuple[list[Segment], str]:
    """Return the rich segments that textual-image makes, and the bytes that it would send to the terminal first."""
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
    """Hide the terminal from textual-image, tell it the size of a cell, and yield the stream of its output."""
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
    """Return whether standard input and output are the same terminal, which may reply and has no pending input."""
    term = os.environ.get("TERM", "")
    if term in SILENT or sys.stdout is not sys.__stdout__ or sys.platform == "win32":
        return False
    try:
        if not (os.isatty(0) and os.isatty(1)) or os.ttyname(0) != os.ttyname(1):
            return False
        # A background job would be stopped for accessing the terminal.
        if os.tcgetpgrp(0) != os.getpgrp():
            return False
        return not select.select([0], [], [], 0)[0]
    except OSError:
        return False


def _cell_size() -> tuple[int, int] | None:
    """Return the width and height of a character cell in pixels, as the operating system reports them."""
    if sys.platform == "win32":
        return None
    try:
        import fcntl
        import termios

        reported = fcntl.ioctl(1, termios.TIOCGWINSZ, bytes(8))
    except (ImportError, OSError):
        return None
    rows, columns, width, height = struct.unpack("4H", reported)
    cell = (width // max(columns, 1), height // max(rows, 1))
    return cell if min(cell) > 0 else None


def _query() -> bytes:
    """Query the terminal and return the reply that arrives within PATIENCE; nothing is left for the shell to read."""
    if sys.platform == "win32":
        return b""
    import termios
    import tty

    reply, end = b"", time.monotonic() + PATIENCE
    try:
        before = termios.tcgetattr(0)
    except termios.error:
        return b""
    complete = False
    try:
        tty.setcbreak(0, termios.TCSANOW)
        sys.stdout.flush()
        os.write(1, QUERY)
        while not complete and (left := end - time.monotonic()) > 0 and select.select([0], [], [], left)[0]:
            read = os.read(0, 1024)
            if not read:
                break
            reply += read
            complete = re.search(rb"\x1b\[\?[\d;]*c", reply) is not None
    except (OSError, termios.error):
        return b""
    finally:
        # The rest of an incomplete reply is discarded as far as it has arrived.
        termios.tcsetattr(0, termios.TCSANOW if complete else termios.TCSAFLUSH, before)
    return reply
