"""Pages in headless Chromium: screenshots, and what it writes to its console."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

NAMES = ("google-chrome", "chromium", "chromium-browser")
LIMIT = 60  # seconds; it takes one or two
CONSOLE = re.compile(r'CONSOLE[^"]*"(.*)", source:')
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')


def chromium() -> str:
    """Return the command of a browser; skip the test where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    return found


def opened(
    page: Path, folder: Path, size: tuple[int, int], flags: Sequence[str] = ()
) -> tuple[npt.NDArray[Any], list[str]]:
    """Open a page and return its picture, shape (height, width, 3), and the lines of its console.

    Args:
        page: The page, which is drawn as soon as it is loaded.
        folder: A folder for the picture and for what the browser keeps.
        size: Width and height of the window.
        flags: Further options of the browser.
    """
    from matplotlib.image import imread

    picture = folder / "picture.png"
    lines = list(_console(page, folder, size, [*flags, f"--screenshot={picture}"]))
    return (imread(picture)[..., :3] * 255).round().astype(int), lines


def told(page: Path, folder: Path, size: tuple[int, int]) -> str:
    """Open a page and return the first line of its console; the browser is closed then."""
    return next(_console(page, folder, size, ["--remote-debugging-port=0"]), "")


def _console(page: Path, folder: Path, size: tuple[int, int], flags: Sequence[str]) -> Iterator[str]:
    command = [
        *(chromium(), "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
        *(
            "--force-device-scale-factor=1",
            "--enable-logging=stderr",
            f"--user-data-dir={folder / 'profile'}",
        ),
        *(f"--window-size={size[0]},{size[1]}", *flags, page.as_uri()),
    ]
    log = folder / "log.txt"
    # A group of its own, as the browser starts processes; a file, as these keep a pipe open.
    with log.open("w+") as stream:
        browser = subprocess.Popen(command, stdout=stream, stderr=stream, start_new_session=True)
        try:
            seen = 0
            end = time.monotonic() + LIMIT
            done = False
            while not done:
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.05)
                done = browser.poll() is not None
                lines = CONSOLE.findall(log.read_text())
                yield from lines[seen:]
                seen = len(lines)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()


def alone(page: str, look: str = "light", nodes: bool = False) -> str:
    """Return a page whose 3D view fills the window, in one look, with the marks of nodes or without marks."""
    style = (
        "canvas { position: fixed; inset: 0; z-index: 9; width: 100vw !important; height: 100vh !important; }"
    )
    page = page.replace("</head>", f"<style>{style}</style></head>").replace(
        "<html", f'<html data-look="{look}"'
    )
    return page if nodes else page.replace('type="checkbox" checked', 'type="checkbox"')


def scripted(page: str, script: str) -> str:
    """Return a page that runs another script at its end, which its policy would refuse."""
    return POLICY.sub("", page).replace("</body>", f"<script>{script}</script></body>")


def framed(sources: Sequence[str], size: tuple[int, int]) -> str:
    """Return a page of frames below each other, each of the given width and height."""
    frames = "".join(
        f'<iframe src="{source}" width="{size[0]}" height="{size[1]}"></iframe>' for source in sources
    )
    style = "body { margin: 0; } iframe { display: block; border: 0; }"
    return f"<!DOCTYPE html><html><head><meta charset=utf-8><style>{style}</style></head><body>{frames}</body></html>"


def shades(picture: npt.NDArray[Any], color: str, paper: str) -> npt.NDArray[np.bool_]:
    """Return which pixels have a colour, or a mixture of it with the paper that is at least 0.35 of the colour."""
    ink, back = (np.array([int(hexed[k : k + 2], 16) for k in (1, 3, 5)], float) for hexed in (color, paper))
    share = (picture - back) @ (ink - back) / np.sum((ink - back) ** 2)
    off = np.abs(picture - back - share[..., None] * (ink - back)).max(axis=-1)
    return np.asarray((share > 0.35) & (share < 1.05) & (off < 12))
