"""Previews: their pixels, refused input, and that no file remains after a failure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from helpers_pictures import rgb

from softmorph_cli.errors import FileError, InputError
from softmorph_cli.plots import preview as module
from softmorph_cli.plots.canvas import Canvas
from softmorph_cli.plots.preview import preview, scale_top, size_words, voxel_size
from softmorph_cli.plots.theme import DARK
from softmorph_cli.plots.views import choose_views, round_length
from softmorph_cli.volume import Volume

BRIGHTEST = (252, 254, 164)  # the ends of inferno
DARKEST = (0, 0, 3)
WHITE = (255, 255, 255)
Array = npt.NDArray[Any]


def pixels(path: Path) -> Array:
    import matplotlib.image

    picture: Array = np.rint(255 * matplotlib.image.imread(path)[..., :3]).astype(int)
    return picture


def where(picture: Array, color: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    same: npt.NDArray[np.bool_] = np.all(picture == color, axis=-1)
    return same


def square(n: int = 60) -> Volume:
    p = np.zeros((n, n), dtype=np.float32)
    p[n // 4 : 3 * n // 4, n // 4 : 3 * n // 4] = 1
    return Volume(p, "YX")


def tube() -> Volume:
    p = np.zeros((20, 30, 40), dtype=np.float32)
    for z in range(2, 18):
        p[z, z + 4, z + 10] = 1
    return Volume(p, "ZYX", (0.8, 0.5, 0.5), "mm", np.diag([0.5, 0.5, 0.8, 1.0])[:, [2, 1, 0, 3]])


def test_a_png_of_both_maps_is_written(tmp_path: Path) -> None:
    path = tmp_path / "preview.png"
    before = Volume(np.ones((50, 40), dtype=np.float32), "YX")
    preview(before, before.with_array(0 * before.array), path, title="erode", subtitle="twice")
    picture = pixels(path)
    bright, dark = where(picture, BRIGHTEST), where(picture, DARKEST)
    # 17 pixels for each voxel: 850 x 680, and the dark result 20 pixels to the right of it.
    rows, columns = np.flatnonzero(bright.sum(1) >= 680), np.flatnonzero(bright.sum(0) >= 850)
    assert (rows.size, columns.size) == (850, 680)
    assert bright[np.ix_(rows, columns)].all()
    assert dark[np.ix_(rows, columns + 680 + 20)].all()
    assert picture.shape[1] == 2 * 680 + 20 + 2 * module.MARGIN
    assert list(tmp_path.iterdir()) == [path]


def test_changes_are_ringed_in_the_result_alone(tmp_path: Path) -> None:
    before = Volume(np.ones((50, 40), dtype=np.float32), "YX")
    after = before.with_array(before.array.copy())
    after.array[10, 5] = after.array[30:33, 30] = 0
    preview(before, after, tmp_path / "plain.png")
    preview(before, after, tmp_path / "ringed.png", changed=after.array != before.array)
    ring = rgb(DARK.ring)
    drawn = [np.abs(pixels(tmp_path / name) - ring).sum(-1) < 60 for name in ("plain.png", "ringed.png")]
    assert not drawn[0].any()
    # Where images lie: 17 pixels a voxel, the result's rows are those of the dark pixels within it.
    dark = where(pixels(tmp_path / "ringed.png"), DARKEST)
    for rows, columns in zip((slice(10, 11), slice(30, 33)), (5, 30), strict=True):
        result = np.argwhere(dark)
        left, top = result[:, 1].min() - 5 * 17, result[:, 0].min() - 10 * 17
        middle = top + 17 * (rows.start + rows.stop) / 2, left + 17 * (columns + 0.5)
        radius = 17 * (rows.stop - rows.start) / 2 + module.RING
        around = np.hypot(*(np.argwhere(drawn[1]) - middle).T)
        near = around[around < 3 * radius]
        assert near.size > 3 * radius
        assert np.abs(near - radius).max() < 3
        drawn[1][tuple(np.argwhere(drawn[1])[around < 3 * radius].T)] = False
    assert not drawn[1].any()


def test_rings_follow_the_view_and_skip_other_slices() -> None:
    shape, window = (8, 10, 12), (slice(1, 7), slice(0, 10), slice(2, 12))
    place = (slice(2, 3), slice(4, 6), slice(11, 12))
    size = tuple(part.stop - part.start for part in window)
    affine = np.diag([1.0, 1.0, 1.0, 1.0])[:, [2, 1, 0, 3]]
    for planes, met in ((None, 3), ((1, 4, 9), 3), ((1, 3, 9), 2), ((0, 6, 8), 0)):
        views = choose_views(size, (1.0,) * 3, affine=affine, planes=planes)
        spans = [view.spans([place], window) for view in views]
        assert sum(map(len, spans)) == met
    marked = np.zeros(shape)
    marked[place] = 1
    for view in choose_views(size, (1.0,) * 3, affine=affine):
        image = marked[window].max(axis=view.axis)
        image = image[:: -1 if view.flips[0] else 1, :: -1 if view.flips[1] else 1]
        (span,) = view.spans([place], window)
        low, high = np.sort(span, axis=0) * image.shape[::-1]
        rows, columns = np.nonzero(image)
        assert (low, high) == (
            pytest.approx([columns.min(), rows.min()]),
            pytest.approx([columns.max() + 1, rows.max() + 1]),
        )


def test_the_scale_bar_has_its_stated_length(tmp_path: Path) -> None:
    path = tmp_path / "preview.png"
    before = Volume(np.ones((100, 300), dtype=np.float32), "YX", (0.7, 0.7), "um")
    preview(before, None, path)
    picture = pixels(path)
    map_width = where(picture, BRIGHTEST).sum(axis=1).max()
    # The map is 210 um wide: the bar is the longest round length that fits into 180 pixels.
    length = round_length(180 * 210 / map_width)
    bar = where(picture, WHITE)
    assert bar.sum(axis=1).max() == round(length * map_width / 210)
    assert np.count_nonzero(bar.sum(axis=1) == bar.sum(axis=1).max()) == 5


def test_voxels_have_their_true_proportions(tmp_path: Path) -> None:
    path = tmp_path / "preview.png"
    preview(Volume(np.ones((30, 60), dtype=np.float32), "YX", (10.0, 1.0), "mm"), None, path)
    bright = where(pixels(path), BRIGHTEST)
    height, width = bright.sum(axis=0).max(), bright.sum(axis=1).max()
    assert height / width == pytest.approx(5, rel=0.03)


def captions_of(before: Volume, after: Volume, path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    written: list[str] = []

    class Watched(Canvas):
        def text(self, x: float, baseline: float, text: str, **style: Any) -> float:
            written.append(text)
            return super().text(x, baseline, text, **style)

    monkeypatch.setattr(module, "Canvas", Watched)
    preview(before, after, path)
    return [words for words in written if words.startswith(("slice", "maximum"))]


def test_both_maps_are_cut_at_the_same_planes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    p, q = np.zeros((2, 20, 20, 20), dtype=np.float32)
    p[4:15, 3:18, 2:15] = 1
    q[4:8, 3:9, 2:6] = 1  # its own middle planes would be others
    before = Volume(p, "ZYX")
    found = captions_of(before, before.with_array(q), tmp_path / "preview.png", monkeypatch)
    assert found == ["slice at z = 9", "slice at y = 10", "slice at x = 8"] * 2


def test_the_skeleton_of_a_dense_map_is_projected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Volume(np.ones((20, 20, 20), dtype=np.float32), "ZYX")
    line = np.zeros_like(before.array)
    line[np.arange(20), np.arange(20), np.arange(20)] = 1
    found = captions_of(before, before.with_array(line), tmp_path / "preview.png", monkeypatch)
    assert [words.split()[0] for words in found] == ["slice"] * 3 + ["maximum"] * 3


def test_a_skeleton_in_a_map_of_four_million_pixels_stays_visible(tmp_path: Path) -> None:
    p = np.zeros((2000, 2000), dtype=np.float32)
    p[777, :] = 1
    p[:, 1234] = 1
    path = tmp_path / "preview.png"
    preview(Volume(np.ones_like(p), "YX"), Volume(p, "YX"), path)
    picture = pixels(path)
    assert picture.shape[0] < 1200
    assert picture.shape[1] <= 1500
    result = where(picture[:, picture.shape[1] // 2 + 10 : -module.MARGIN], BRIGHTEST)
    assert result.sum(axis=1).max() == result.shape[1]
    assert result.sum(axis=0).max() > 690


VOLUMES = {
    "tiny": Volume(np.linspace(0, 1, 63, dtype=np.float32).reshape(7, 9), "YX"),
    "one voxel": Volume(np.ones((1, 1), dtype=np.float32), "YX"),
    "one row": Volume(np.linspace(0, 1, 4000, dtype=np.float32)[None], "YX"),
    "all zero": Volume(np.zeros((8, 9, 10), dtype=np.float32), "ZYX", (1.0, 1.0, 1.0), "mm"),
    "all one": Volume(np.ones((8, 9, 10), dtype=np.float64), "ZYX"),
    "anisotropic": Volume(np.ones((5, 60, 80), dtype=np.float32), "ZYX", (10.0, 1.0, 1.0), "um"),
    "long": Volume(np.ones((3, 400, 4), dtype=np.float32), "ZYX", (1.0, 2.0, 3.0)),
    "sparse": tube(),
    "channels": Volume(np.full((2, 3, 9, 9), 0.01, dtype=np.float32), "TCYX", channels=("a", "b", "c")),
}


@pytest.mark.parametrize("name", VOLUMES)
@pytest.mark.parametrize("alone", [False, True])
def test_maps_of_every_kind_fit_on_the_canvas(
    name: str, alone: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = VOLUMES[name]
    images: list[tuple[int, int]] = []

    class Watched(Canvas):
        def image(self, x: int, y: int, values: Array, colors: Any = None, *, size: Any = None) -> None:
            images.append((x, y))
            assert x >= 0
            assert y >= 0
            assert x + values.shape[1] <= self.width
            assert y + values.shape[0] <= self.height
            assert values.min() >= 0
            assert values.max() <= 1
            super().image(x, y, values, colors, size=size)

        def text(self, x: float, baseline: float, text: str, **style: Any) -> float:
            end = super().text(x, baseline, text, **style)
            assert end <= self.width
            assert style["size"] <= baseline <= self.height - 5
            return end

    monkeypatch.setattr(module, "Canvas", Watched)
    path = tmp_path / "preview.png"
    preview(volume, None if alone else volume, path, title="softmorph " + name * 20, subtitle=name)
    height, width = pixels(path).shape[:2]
    views = 1 if volume.spatial_dims == 2 else 3
    assert len(images) == views * (1 if alone else 2) + 1  # and the colour bar
    assert width < 2000
    assert height < 1300


def test_a_faint_map_gets_a_finer_colour_scale() -> None:
    assert scale_top(0.03) == 0.05
    assert scale_top(0.6) == 1
    assert scale_top(0.0) == 1
    assert scale_top(5e-324) == 1
    for largest in np.linspace(0.001, 1, 500):
        assert largest <= scale_top(largest) * (1 + 1e-9)


def test_sizes_and_units_as_text() -> None:
    spacing = (0.8, 0.5, 0.25)
    words = "4 \u00d7 3 \u00d7 2 voxels (x, y, z) of 0.25 \u00d7 0.5 \u00d7 0.8 \u00b5m"
    assert size_words((2, 3, 4), spacing, "um") == words
    assert voxel_size(3, spacing, "um") == (spacing, "\u00b5m")
    assert size_words((3, 4), None, None) == "4 \u00d7 3 pixels"
    assert voxel_size(3, None, None) == ((1, 1, 1), "voxels")
    assert voxel_size(3, (3.0, 1.0, 2.0), None) == ((1.5, 0.5, 1), "voxels along x")
    # What went through float32 in a header is still isotropic.
    assert voxel_size(3, (0.3, 0.3, float(np.float32(0.3))), None)[1] == "voxels"
    assert voxel_size(2, (2.0, 2.0), None) == ((1, 1), "pixels")


def test_an_existing_picture_is_kept_without_force(tmp_path: Path) -> None:
    path = tmp_path / "preview.png"
    path.write_bytes(b"precious")
    with pytest.raises(FileError, match="force=True"):
        preview(square(), None, path)
    assert path.read_bytes() == b"precious"
    preview(square(), None, path, force=True)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_failure_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("softmorph_cli.plots.canvas.rendered", full)
    with pytest.raises(FileError, match="disk is full"):
        preview(square(), None, tmp_path / "preview.png")
    assert list(tmp_path.iterdir()) == []


def test_maps_of_different_shapes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\(60, 60\).*\(61, 61\)"):
        preview(square(60), square(61), tmp_path / "preview.png")
    assert list(tmp_path.iterdir()) == []


def test_text_is_not_interpreted(tmp_path: Path) -> None:
    path = tmp_path / "preview.png"
    title = "softmorph apply $x^2 a_b.tif \u540d\u524d\n.tif"
    preview(square(), None, path, title=title, subtitle="\\frac{")
    from PIL import Image

    with Image.open(path) as image:
        # A line end would be none of the name.
        assert (image.info["Title"], image.info["Description"]) == (title.replace("\n", "?"), "\\frac{")


def test_long_text_loses_its_middle() -> None:
    canvas = Canvas(400, 100)
    assert canvas.text(10, 50, "short", size=20) < 100
    end = canvas.text(10, 80, "a long title " * 20, size=20)
    assert 300 < end <= 390
    written = [text.get_text() for text in canvas._figure.texts]
    assert written[0] == "short"
    assert written[1].startswith("a long")
    assert "\u2026" in written[1]
    assert written[1].endswith("title")
    assert canvas.text(10, 20, "", size=20) == 10


def test_the_same_maps_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        preview(tube(), tube(), tmp_path / name, title="t")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_the_maps_are_not_modified(tmp_path: Path) -> None:
    volume = tube()
    kept = volume.array.copy()
    volume.array.setflags(write=False)
    preview(volume, volume, tmp_path / "preview.png")
    assert np.array_equal(volume.array, kept)


def test_matplotlib_is_imported_lazily_and_without_pyplot(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
import numpy as np
from softmorph_cli.plots.preview import preview
from softmorph_cli.volume import Volume
assert "matplotlib" not in sys.modules
preview(Volume(np.ones((9, 9)), "YX"), None, Path({str(tmp_path / "p.png")!r}))
assert "matplotlib" in sys.modules
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")


def test_the_canvas_has_the_given_size(tmp_path: Path) -> None:
    for width, height in ((613, 397), (1023, 511)):
        Canvas(width, height).save(tmp_path / "canvas.png", force=True)
        picture = pixels(tmp_path / "canvas.png")
        assert picture.shape[:2] == (height, width)
        assert where(picture, rgb(DARK.background)).all()
