"""Pages in headless Chromium: screenshots, and what it writes to its console."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

NAMES = ("google-chrome", "chromium", "chromium-browser")
LIMIT = 60  # seconds; it takes one or two
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
        page: The page.
        folder: A folder for the picture and for what the browser keeps.
        size: Width and height of the window.
        flags: Further options of the browser.
    """
    from matplotlib.image import imread

    picture = folder / "picture.png"
    command = [
        *(chromium(), "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
        *(
            "--force-device-scale-factor=1",
            "--enable-logging=stderr",
            f"--user-data-dir={folder / 'profile'}",
        ),
        *(f"--screenshot={picture}", f"--window-size={size[0]},{size[1]}", "--virtual-time-budget=4000"),
        *flags,
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=True)
    lines = re.findall(r'CONSOLE[^"]*"(.*)", source:', done.stderr)
    return (imread(picture)[..., :3] * 255).round().astype(int), lines


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
    """Return a page that runs another script at its end, which its policy would refuse.

    Frames are timers, so that the browser's virtual time waits for them.
    """
    frames = "window.requestAnimationFrame = (draw) => setTimeout(() => draw(performance.now()), 16);"
    page = POLICY.sub("", page).replace("</head>", f"<script>{frames}</script></head>")
    return page.replace("</body>", f"<script>{script}</script></body>")


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
