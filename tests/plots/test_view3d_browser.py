"""The page's 3D view as headless Chromium draws it: places, themes, rotation, mouse, keys and table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from helpers_browser import alone, chromium, framed, opened, scripted, shades, told
from helpers_page import made, page_of

from softmorph_cli.plots.html.view3d import GROUPS
from softmorph_cli.plots.theme import DARK, LIGHT
from softmorph_cli.skeleton.analyse import Inspection

# The browser and its processes are one group.
pytestmark = pytest.mark.posix

SIZE = (400, 300)
SIDES = (2.0, 1.0, 1.0)  # a voxel along z, y and x, in mm
# Angles of turn and tilt, each with what runs to the right and up on the screen.
VIEWS = {
    (0, 0): ("x", "z"),
    (90, 0): ("-y", "z"),
    (0, 90): ("x", "y"),
    (90, 90): ("-y", "x"),
    (180, 0): ("-x", "z"),
}
REPORT = "console.log(document.querySelector('.turn').textContent);"
WALK = Path(__file__).with_name("walk_view3d.js")


def corner() -> Inspection:
    """Draw lines of 24, 20 and 22 mm along x, y and z from one corner, which do not touch each other."""
    mask = np.zeros((16, 26, 30), bool)
    mask[1, 2, 4:29] = True
    mask[1, 4:25, 2] = True
    mask[3:15, 2, 2] = True
    affine = np.array([[0, 0, 1.0, 5], [0, 1.0, 0, 6], [2.0, 0, 0, 7], [0, 0, 0, 1]])
    return made(mask, SIDES, "mm", affine=affine)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[Any, npt.NDArray[Any]], list[str]]:
    """Return pictures of the view by angles and look, and what the browser wrote; it runs once for all of them."""
    chromium()
    folder = tmp_path_factory.mktemp("view")
    page = page_of(corner())
    (folder / "light.html").write_text(alone(page))
    (folder / "dark.html").write_text(alone(page, "dark"))
    (folder / "nodes.html").write_text(alone(page, nodes=True))
    (folder / "still.html").write_text(scripted(page, REPORT))
    by = "&colour=Component"
    sources: dict[Any, str] = {angles: f"light.html#angle={angles[0]},{angles[1]}{by}" for angles in VIEWS}
    sources |= {
        "dark": f"dark.html#angle=0,0{by}",
        "nodes": f"nodes.html#angle=0,0{by}",
        "still": "still.html",
    }
    (folder / "all.html").write_text(framed(list(sources.values()), SIZE))
    height = SIZE[1] * len(sources)
    picture, lines = opened(
        folder / "all.html", folder, (SIZE[0], height), ["--force-prefers-reduced-motion"]
    )
    parts = np.split(picture[:height], len(sources))
    return dict(zip(sources, parts, strict=True)), lines


def span(picture: npt.NDArray[Any], color: str, paper: str) -> npt.NDArray[np.float64]:
    """Return the extent of a colour: left, right, lower and upper edge, from the picture's middle, in pixels."""
    rows, columns = np.nonzero(shades(picture, color, paper))
    assert len(rows), color
    height, width = picture.shape[:2]
    edges = (columns.min(), columns.max() + 1, rows.max() + 1, rows.min())
    return np.asarray(np.array(edges) - (width / 2, width / 2, height / 2, height / 2))


@pytest.mark.parametrize("angles", VIEWS)
def test_lines_are_drawn_to_scale_along_right_handed_axes(seen: Any, angles: tuple[int, int]) -> None:
    pictures, _ = seen
    ends = {
        "x": ((4, 2, 1), (28, 2, 1)),
        "z": ((2, 2, 3), (2, 2, 14)),
        "y": ((2, 4, 1), (2, 24, 1)),
    }
    box = np.array([[1.5, 1.5, 0.5], [28.5, 24.5, 14.5]]) * SIDES[::-1]
    scale = 0.5 * SIZE[1] / (np.linalg.norm(box[1] - box[0]) / 2)
    across, up = (
        np.array([(-1 if axis[0] == "-" else 1) * (k == axis[-1]) for k in "xyz"]) for axis in VIEWS[angles]
    )
    # The longest line is the first component.
    for name, color in zip(("x", "z", "y"), GROUPS["light"], strict=False):
        places = (np.array(ends[name]) * SIDES[::-1] - box.mean(axis=0)) * scale
        rights, heights = places @ across, places @ up
        wanted = (rights.min(), rights.max(), -heights.min(), -heights.max())
        # Lines are 3 pixels wide.
        np.testing.assert_allclose(span(pictures[angles], color, LIGHT.background), wanted, atol=3)


def test_what_is_far_is_paler(seen: Any) -> None:
    pictures, _ = seen
    paper = np.array([255, 255, 255])
    ink = np.array([0, 114, 178]) - paper  # GROUPS["light"][0]
    near, far = (
        ((pictures[angles] - paper) @ ink / (ink @ ink))[
            shades(pictures[angles], GROUPS["light"][0], "#ffffff")
        ]
        for angles in ((0, 0), (180, 0))
    )
    # The line along x lies 11 mm before the centre of the box, then 11 mm behind it; half a diagonal has all shades.
    depth = 11 / np.linalg.norm([13.5, 11.5, 14])
    assert np.percentile(near, 90) == pytest.approx(0.75 + 0.25 * depth, abs=0.05)
    assert np.percentile(far, 90) == pytest.approx(0.75 - 0.25 * depth, abs=0.05)


def test_the_view_has_the_colours_of_the_pages_look(seen: Any) -> None:
    pictures, _ = seen
    for name, theme, look in (((0, 0), LIGHT, "light"), ("dark", DARK, "dark")):
        colors, counts = np.unique(pictures[name].reshape(-1, 3), axis=0, return_counts=True)
        assert bytes(colors[counts.argmax()].astype(np.uint8)).hex() == theme.background[1:]
        for color in GROUPS[look][:3]:
            assert shades(pictures[name], color, theme.background).any()
    # The two looks differ in nothing else.
    light = span(pictures[0, 0], GROUPS["light"][0], LIGHT.background)
    dark = span(pictures["dark"], GROUPS["dark"][0], DARK.background)
    np.testing.assert_allclose(light, dark, atol=1)


def test_end_points_are_marked_where_lines_end(seen: Any) -> None:
    pictures, _ = seen
    mark = LIGHT.marks["end point"].color
    without, marked = (shades(pictures[name], mark, LIGHT.background) for name in ((0, 0), "nodes"))
    # Five of six marks are seen from the front, disks of a diameter of 8 pixels; the ends of y lie behind each other.
    assert 5 * 35 < marked.sum() - without.sum() < 5 * 60


def test_nothing_but_the_still_view_is_told_in_the_console(seen: Any) -> None:
    # No error, and no rotation where less motion is preferred.
    assert seen[1] == ["Rotate"]


def test_mouse_keys_and_table_move_and_mark(tmp_path: Path) -> None:
    mask = np.zeros((9, 9, 33), bool)
    mask[4, 4, 4:29] = True
    page = tmp_path / "page.html"
    inspection = made(mask, SIDES, "mm")
    page.write_text(scripted(alone(page_of(inspection)), WALK.read_text()))
    out = json.loads(told(page, tmp_path, (900, 700)))
    assert out["turning"] == ["Stop", "Rotate", "Stop"]
    assert out["turned"]
    assert set(out["reset"]) == {out["start"]}
    assert len({out["start"], *out["changed"]}) == 1 + len(out["changed"]) == 9
    assert out["legends"] == ["Radius", "Component"]
    assert out["cursor"] == ["pointer", ""]
    assert inspection.graph.branches[0].length == pytest.approx(24)
    assert out["clicked"][0].startswith("Branch 1, length 24.00 mm, mean radius ")
    assert out["clicked"][1:] == ["1", "1"]
    assert out["unmarked"] == ["", "", ""]
    assert out["rowed"] == [out["clicked"][0], True]
    assert out["sorted"] == "1"
    assert out["missing"] == "Branch 99 is not drawn."
