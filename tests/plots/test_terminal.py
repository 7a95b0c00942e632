"""Pictures in the terminal: characters read back as pixels, at any window size, and pixel graphics."""

from __future__ import annotations

import base64
import io
import os
import re
import select
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
from helpers_pictures import AFFINE, alone, fork, graph_of, helix, read_cells, read_png, read_sixel, rgb
from rich.console import Console

from softmorph_cli.errors import InputError, SoftmorphWarning, UsageError
from softmorph_cli.plots import graphics, terminal
from softmorph_cli.plots.graphics import Graphics
from softmorph_cli.plots.terminal import picture
from softmorph_cli.plots.theme import DARK
from softmorph_cli.skeleton.graph import SkeletonGraph
from softmorph_cli.volume import Volume

BITS = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]]


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(graphics.VARIABLE, raising=False)


def printed(
    volume: Volume,
    graph: SkeletonGraph,
    *,
    width: int = 80,
    height: int = 24,
    colors: bool = True,
    system: Any = "truecolor",
) -> str:
    written = io.StringIO()
    console = Console(
        file=written, force_terminal=True, color_system=system if colors else None, width=width,
        _environ={},
    )  # fmt: skip
    console.print(picture(volume, graph, width=width, height=height, colors=colors))
    return written.getvalue()


def half_blocks(text: str) -> np.ndarray:
    """Return the pixels of the half blocks that a picture begins with."""
    rows: list[list[Any]] = []
    for line in read_cells(text):
        if not line or line[0][0] != "\u2580":
            break
        rows += [[front for _, front, _ in line], [back for *_, back in line]]
    return np.array([row for row in rows if None not in row])


def dots(lines: list[str]) -> np.ndarray:
    """Return where braille has dots."""
    width = max(map(len, lines))
    drawn = np.zeros((4 * len(lines), 2 * width), bool)
    for row, line in enumerate(lines):
        for column, character in enumerate(line):
            code = ord(character) - 0x2800 if 0x2800 <= ord(character) < 0x2900 else 0
            for y in range(4):
                for x in range(2):
                    drawn[4 * row + y, 2 * column + x] = code & BITS[y][x]
    return drawn


def is_braille(line: str) -> bool:
    return any(0x2800 <= ord(c) < 0x2900 for c in line)


def skeleton_of(graph: SkeletonGraph) -> np.ndarray:
    held = np.zeros(graph.shape, bool)
    for voxels in [branch.voxels for branch in graph.branches] + [node.voxels for node in graph.nodes]:
        held[tuple(voxels.T)] = True
    return held


def test_half_blocks_are_the_map_in_grey_with_the_skeleton_in_colour() -> None:
    volume, graph = fork()
    shown = half_blocks(printed(volume, graph, width=60, height=50))
    held = skeleton_of(graph)
    assert shown.shape == (40, 60, 3)
    assert np.array_equal(shown[~held], DARK.backdrop_colors(volume.array[~held]))
    assert np.array_equal(shown[held], DARK.curve_colors(volume.array[held]))
    assert len(np.unique(shown[held], axis=0)) == 2


def test_views_of_a_reoriented_volume_have_world_directions() -> None:
    volume, graph = helix(affine=AFFINE)  # without a spacing a voxel is a cube
    lines = printed(volume, graph, width=90, height=60)
    shown = half_blocks_beside(lines, (30, 30, 24))
    held = skeleton_of(graph)
    for image, axis, flips in zip(shown, (0, 1, 2), ((0, 1), (0, 1), (0,)), strict=True):
        expected = np.flip(held.max(axis=axis), flips)
        drawn = (image.max(axis=-1) != image.min(axis=-1))[: len(expected)]
        assert np.array_equal(drawn, expected)
    assert "right R, up A" in lines
    assert "right A, up S" in lines
    assert re.search(r"30 \u00d7 24 voxels", lines)


def half_blocks_beside(text: str, widths: tuple[int, ...]) -> list[np.ndarray]:
    images: list[list[Any]] = [[] for _ in widths]
    for line in read_cells(text):
        if not line or line[0][0] not in "\u2580 ":
            break
        begin = 0
        for image, width in zip(images, widths, strict=True):
            cells = line[begin : begin + width]
            if len(cells) == width and all(c == "\u2580" for c, *_ in cells):
                image.append([front for _, front, _ in cells])
                if cells[0][2] is not None:
                    image.append([back for *_, back in cells])
            begin += width + terminal.GAP
    return [np.array(image) for image in images]


def test_a_skeleton_finer_than_pixels_is_dots_over_the_grey_map() -> None:
    p = np.full((200, 200), 0.5, np.float32)
    held = np.zeros_like(p, bool)
    held[np.arange(20, 180), np.arange(20, 180)] = True
    held[100, :] = True
    p[held] = 0.8
    volume = Volume(p, "YX")
    text = printed(volume, graph_of(volume, np.argwhere(held)), width=100, height=54)
    lines = read_cells(text)[:25]
    drawn = dots(["".join(c for c, *_ in line) for line in lines])
    # 50 pixels of 4 voxels, each four dots: 100 dots of 2 voxels.
    assert np.array_equal(drawn, held.reshape(100, 2, 100, 2).max(axis=(1, 3)))
    color = tuple(DARK.curve_colors(np.array(0.8)).tolist())
    grey = tuple(DARK.backdrop_colors(np.array(0.8)).tolist())
    dotted = [cell[1:] for line in lines for cell in line if is_braille(cell[0])]
    assert set(dotted) == {(color, grey)}


def test_half_blocks_alone_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    p = np.zeros((2000, 2000), np.float32)
    p[777, :] = 1
    p[:, 1234] = 1
    volume = Volume(p, "YX")
    graph = graph_of(volume, np.argwhere(p > 0))
    assert is_braille(printed(volume, graph))
    monkeypatch.setenv(graphics.VARIABLE, "blocks")
    text = printed(volume, graph)
    assert not is_braille(text)
    lit = (half_blocks(text) == DARK.curve_colors(np.array(1.0))).all(axis=-1)
    # A line of one voxel in two thousand crosses the picture without a gap.
    assert lit.all(axis=1).sum() == lit.all(axis=0).sum() == 1


def test_without_colours_there_are_dots_and_no_codes() -> None:
    volume, graph = fork()
    text = printed(volume, graph, colors=False)
    assert "\x1b" not in text
    assert "colours are off" in text
    lines = text.split("\n")[:10]
    drawn = dots(lines)
    # A dot for each of 40 rows of voxels; empty ends of lines are cut off.
    assert np.array_equal(np.pad(drawn, ((0, 0), (0, 60 - drawn.shape[1]))), skeleton_of(graph))


KINDS: dict[str, Any] = {
    "fork": fork,
    "helix": lambda: helix(spacing=(2.0, 0.5, 0.5), unit="mm", affine=AFFINE),
    "one voxel": alone,
    "nothing": lambda: alone(2, filled=False),
    "long": lambda: line((30, 1000)),
    "high": lambda: line((900, 3)),
    "tiny": lambda: line((3, 3)),
}


def line(shape: tuple[int, int]) -> tuple[Volume, SkeletonGraph]:
    p = np.full(shape, 0.1, np.float32)
    p[shape[0] // 2] = 0.8
    volume = Volume(p, "YX")
    return volume, graph_of(volume, np.argwhere(p > 0.5))


@pytest.mark.parametrize("name", KINDS)
def test_pictures_fit_into_any_window_with_room_for_the_tables(name: str) -> None:
    volume, graph = KINDS[name]()
    for width, height in [
        (1, 1),
        (7, 30),
        (15, 3),
        (20, 20),
        (40, 12),
        (80, 24),
        (80, 60),
        (131, 43),
        (300, 100),
    ]:
        for colors in (True, False):
            text = printed(volume, graph, width=width, height=height, colors=colors)
            lines = re.sub(r"\x1b\[[\d;]*m", "", text).rstrip("\n").split("\n")
            assert len(lines) <= max(min(10, height), height // 2)
            assert max(map(len, lines)) <= width
            assert not colors or any("\u2580" in line or is_braille(line) for line in lines)


def test_a_wide_window_shows_three_views_and_a_narrow_one_fewer() -> None:
    volume, graph = helix()

    def sides(width: int, height: int) -> list[str]:
        return re.findall("along ([zyx])", printed(volume, graph, width=width, height=height))

    assert sides(80, 24) == ["z", "y", "x"]
    assert 1 <= len(sides(30, 24)) < 3
    # Three below each other: more than one line names a side.
    text = printed(volume, graph, width=24, height=160)
    assert sides(24, 160) == ["z", "y", "x"]
    assert sum("along" in line for line in text.split("\n")) == 3


def test_pixels_are_square() -> None:
    p = np.full((10, 10), 0.5, np.float32)
    volume = Volume(p, "YX", (3.0, 1.0), "mm")
    shown = half_blocks(printed(volume, graph_of(volume, np.array([[5, 5]])), width=80, height=70))
    assert shown.shape[0] / shown.shape[1] == pytest.approx(3, rel=0.05)
    assert "10 \u00d7 30 mm" in printed(volume, graph_of(volume, np.array([[5, 5]])), height=70)


def test_256_colours_show_the_same_picture_coarsely() -> None:
    # Values that no other test uses, as rich caches the codes of a style for the first colour system.
    p = np.full((20, 20), 0.371, np.float32)
    p[10] = 0.893
    volume = Volume(p, "YX")
    lines = printed(volume, graph_of(volume, np.argwhere(p > 0.5)), height=60, system="256").split("\n")
    text = "".join(line for line in lines if "\u2580" in line)
    assert "38;2;" not in text
    codes = {int(code) for code in re.findall(r"38;5;(\d+)", text)}
    assert {code for code in codes if 16 < code < 231}, "colours of the skeleton"
    assert {code for code in codes if code >= 232}, "greys of the map"


def test_captions_and_colour_key() -> None:
    text = printed(*fork(spacing=(0.5, 0.5), unit="mm"))
    assert "30 \u00d7 20 mm" in text
    assert "skeleton: soft value 0" in text
    assert "map in grey, brightest = 1" in text
    assert "the skeleton is empty" in printed(*alone(filled=False))
    assert "the skeleton is empty" in printed(*alone(filled=False), colors=False)


def test_the_environment_variable_is_obeyed_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    volume, graph = fork()
    monkeypatch.setenv(graphics.VARIABLE, "none")
    assert printed(volume, graph) == ""
    monkeypatch.setenv(graphics.VARIABLE, "pixels")
    with pytest.raises(UsageError, match=r"SOFTMORPH_PICTURES=pixels.*auto, blocks, sixel, kitty, none"):
        printed(volume, graph)


def test_a_graph_of_another_image_is_refused() -> None:
    with pytest.raises(InputError, match="must agree"):
        printed(alone(2)[0], fork()[1])


def test_without_the_library_there_are_half_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphics, "find_spec", lambda _: None)
    monkeypatch.setenv(graphics.VARIABLE, "sixel")
    with pytest.warns(SoftmorphWarning, match=r"pip install 'softmorph-cli\[terminal\]'"):
        assert "\u2580" in printed(*fork())


def test_a_failing_library_leaves_half_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no pixels today")

    monkeypatch.setattr(graphics, "find_spec", lambda _: True)
    monkeypatch.setattr(graphics, "_encode", fail)
    monkeypatch.setattr(terminal, "detect", lambda _: Graphics("sixel", (10, 20)))
    text = printed(*fork())
    assert "\u2580" in text
    assert "\x1bP" not in text
    monkeypatch.setenv(graphics.VARIABLE, "sixel")
    with pytest.warns(SoftmorphWarning, match="no pixels today"):
        assert "\u2580" in printed(*fork())


def _with_cells(monkeypatch: pytest.MonkeyPatch, width: int, height: int) -> None:
    """State the size of a cell; the library asks once in a process, maybe in an earlier test."""
    from textual_image._terminal import get_cell_size

    monkeypatch.setattr(graphics, "_cell_size", lambda: (width, height))
    monkeypatch.delattr(get_cell_size, "_result", raising=False)


def test_sixels_show_the_picture_of_the_preview(monkeypatch: pytest.MonkeyPatch) -> None:
    if not graphics.installed():
        pytest.skip("textual-image is not installed")
    monkeypatch.setenv(graphics.VARIABLE, "sixel")
    _with_cells(monkeypatch, 12, 24)
    volume, graph = fork()
    before = sys.__stdout__, dict(os.environ)
    text = printed(volume, graph, width=100, height=44)
    assert (sys.__stdout__, dict(os.environ)) == before
    image = read_sixel(text)
    rows = text.split("\x1b7")[0].count("\n")
    assert image.shape[0] == rows * 24
    assert image.shape[1] % 12 == 0
    # The map has 40 x 60 voxels of whole pixels each; nodes lie in it as in the preview.
    voxel = min(image.shape[0] // 40, image.shape[1] // 60)
    for node in graph.nodes:
        row, column = node.voxels[0]
        found = image[int((row + 0.5) * voxel), int((column + 0.5) * voxel)]
        # A sixel has 256 colours, each rounded to percents.
        assert np.abs(found - rgb(DARK.marks[node.kind].color)).max() < 24
    after = text.split("\x1b8")[1]
    assert re.search("3 end points.*1 junction", re.sub(r"\x1b\[[\d;]*m", "", after), re.DOTALL)


def test_kitty_gets_a_png(monkeypatch: pytest.MonkeyPatch) -> None:
    if not graphics.installed():
        pytest.skip("textual-image is not installed")
    monkeypatch.setenv(graphics.VARIABLE, "kitty")
    _with_cells(monkeypatch, 12, 24)
    text = printed(*helix())
    payload = "".join(re.findall(r"\x1b_G[^;]*m=[01],[^;]*;([^\x1b]*)\x1b\\", text))
    image = read_png(base64.b64decode(payload))
    columns = max(line.count("\U0010eeee") for line in text.split("\n"))
    rows = sum("\U0010eeee" in line for line in text.split("\n"))
    assert image.shape == (24 * rows, 12 * columns, 3)


CHILD = """
import sys, termios, time
from softmorph_cli.plots import graphics
graphics.installed = lambda: True
before = termios.tcgetattr(0)
sys.stdout.write("READY"); sys.stdout.flush(); sys.stdin.readline()
began = time.monotonic()
found = graphics.detect("auto")
assert termios.tcgetattr(0) == before
print("FOUND", found, time.monotonic() - began)
assert "textual_image" not in sys.modules
"""


def on_a_terminal(
    answer: bytes | None, *, term: str = "xterm-256color", typed: bytes = b"\n"
) -> tuple[str, bytes]:
    """Run detection in a child process on its own terminal; return its result and its output."""
    import pty

    child, terminal_end = pty.fork()
    if child == 0:
        os.environ.update(TERM=term, COLORTERM="")
        os.environ.pop(graphics.VARIABLE, None)
        os.execv(sys.executable, [sys.executable, "-c", CHILD])
    written, sent, end = b"", False, time.monotonic() + 60
    try:
        while time.monotonic() < end and select.select([terminal_end], [], [], end - time.monotonic())[0]:
            try:
                part = os.read(terminal_end, 4096)
            except OSError:
                break
            if not part:
                break
            written += part
            if not sent and b"READY" in written:
                os.write(terminal_end, typed)
                sent = True
            if answer and written.endswith(graphics.QUERY):
                os.write(terminal_end, answer)
    finally:
        os.close(terminal_end)
        _, status = os.waitpid(child, 0)
    assert status == 0, written
    return written.decode().split("FOUND ")[1], written


@pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")
@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b"\x1b[?62;4;22c", "Graphics(protocol='sixel', cell=(10, 20))"),
        (b"\x1b[6;30;14t\x1b[?62;4;22c", "Graphics(protocol='sixel', cell=(14, 30))"),
        (b"\x1b[?62;22c", "None"),
        (b"\x1b[?64;14;44c", "None"),
        (None, "None"),
    ],
)
def test_the_terminal_is_queried_once_with_a_short_timeout(answer: bytes | None, found: str) -> None:
    result, written = on_a_terminal(answer)
    assert result.startswith(found)
    assert written.count(graphics.QUERY) == 1
    assert float(result.split()[-1]) < graphics.PATIENCE + 0.5


@pytest.mark.skipif(sys.platform == "win32", reason="terminals of POSIX")
@pytest.mark.parametrize(
    ("term", "typed"), [("dumb", b"\n"), ("linux", b"\n"), ("xterm-kitty", b"\n"), ("xterm", b"\nls\n")]
)
def test_terminals_that_would_not_reply_are_not_queried(term: str, typed: bytes) -> None:
    result, written = on_a_terminal(b"\x1b[?62;4c", term=term, typed=typed)
    assert result.startswith("None")
    assert graphics.QUERY not in written


def test_a_pipe_is_not_queried() -> None:
    code = "from softmorph_cli.plots import graphics\n"
    code += "graphics.installed = lambda: True\nprint(graphics.detect('auto'))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], input="", capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "None\n", "")
