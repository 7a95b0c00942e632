"""Pictures for print: PDF and SVG as other readers see them, resolution, planes, sides of the body, images below."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from helpers_pictures import AFFINE, fork, helix, read_png, rgb

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.plots import preview as module
from softmorph_cli.plots.backdrop import Backdrop, averaged
from softmorph_cli.plots.canvas import Canvas
from softmorph_cli.plots.coloring import coloring_of
from softmorph_cli.plots.graph_preview import preview_graph
from softmorph_cli.plots.options import ViewOptions
from softmorph_cli.plots.preview import preview
from softmorph_cli.plots.theme import DARK, LIGHT
from softmorph_cli.plots.views import choose_views
from softmorph_cli.skeleton.graph import Quantity
from softmorph_cli.skeleton.hierarchy import rooted
from softmorph_cli.volume import Volume

SVG = "{http://www.w3.org/2000/svg}"
# Index (z, y, x) to world: all three rise with their index.
RAS = np.array([[0, 0, 1.0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])


def streams(pdf: bytes) -> bytes:
    """Return all streams of a PDF, those that are compressed unpacked."""
    found = []
    for each in re.finditer(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL):
        try:
            found.append(zlib.decompress(each[1]))
        except zlib.error:
            found.append(each[1])
    return b"\n".join(found)


def test_a_pdf_has_one_page_embedded_fonts_lines_and_letters(tmp_path: Path) -> None:
    volume, graph = fork()
    path = tmp_path / "fork.pdf"
    look = ViewOptions(light=True).of_file(path)
    canvas = preview_graph(volume, graph, title="a fork", look=look)
    canvas.save(path)
    pdf = path.read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type /Page\b", pdf)) == 1
    # Half a point for a pixel.
    (box,) = re.findall(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", pdf)
    assert [float(side) for side in box] == pytest.approx([canvas.width / 2, canvas.height / 2], abs=0.01)
    assert b"/Title (a fork)" in pdf
    # TrueType, embedded: every font that is named has its file.
    assert b"/Type3" not in pdf
    assert len(re.findall(rb"/FontFile2", pdf)) == len(re.findall(rb"/Type /FontDescriptor", pdf)) >= 2
    drawn = streams(pdf)
    # Lines to points, letters, and images at 300 dots per inch.
    assert len(re.findall(rb"[\d.]+ [\d.]+ l\b", drawn)) > 30
    assert len(re.findall(rb"\bTj\b|\bTJ\b", drawn)) >= 5
    widths = {int(width) for width in re.findall(rb"/Width (\d+)", pdf)}
    assert round(220 * 300 / 144) in widths
    assert b"/CreationDate" not in pdf
    again = preview_graph(volume, graph, title="a fork", look=look).rendered("pdf")
    assert again == pdf


def test_an_svg_is_whole_and_has_paths_for_lines_and_letters(tmp_path: Path) -> None:
    volume, graph = helix()
    path = tmp_path / "helix.svg"
    preview_graph(volume, graph, title="a helix & more", look=ViewOptions(light=True).of_file(path)).save(
        path
    )
    root = ElementTree.parse(path).getroot()
    images = list(root.iter(f"{SVG}image"))
    assert len(images) == 4  # three views and the colour bar
    # Nothing is outside the file.
    link = "{http://www.w3.org/1999/xlink}href"
    links = [one.get(link) or "" for one in root.iter() if one.get(link)]
    assert all(to.startswith(("#", "data:image/png;base64,")) for to in links)
    colors = set(re.findall(r"stroke: (#[0-9a-f]{6})", path.read_text("utf-8")))
    assert len(colors) > 1
    # Letters are shapes that are used again and again.
    assert len(list(root.iter(f"{SVG}use"))) > 30
    assert not list(root.iter(f"{SVG}text"))
    title = next(root.iter("{http://purl.org/dc/elements/1.1/}title"))
    assert title.text == "a helix & more"


@pytest.mark.parametrize("dpi", [72, 144, 300])
def test_the_resolution_scales_all_of_a_png(dpi: int) -> None:
    volume, graph = fork()
    usual = preview_graph(volume, graph, title="t")
    canvas = preview_graph(volume, graph, title="t", look=ViewOptions(dpi=dpi))
    assert (canvas.width, canvas.height) == (usual.width, usual.height)
    picture = read_png(canvas.png())
    assert picture.shape[:2] == (canvas.height * dpi // 144, canvas.width * dpi // 144)
    # The same place has the same colour: a mark, and the map beside it.
    node = next(node for node in graph.nodes if node.kind == "junction")
    seen = read_png(usual.png())
    where = np.argwhere((seen == rgb(DARK.marks["junction"].color)).all(axis=-1))
    row, column = (int(at) for at in np.median(where[where[:, 0] < canvas.height * 0.8], axis=0))
    assert tuple(picture[row * dpi // 144, column * dpi // 144]) == rgb(DARK.marks[node.kind].color)


def marked() -> Volume:
    """Draw a faint volume with one bright voxel: at the right, in front, above."""
    p = np.full((10, 14, 18), 0.05, np.float32)
    p[8, 11, 15] = 1.0
    return Volume(p, "ZYX", (1.0, 1.0, 1.0), "mm", RAS)


def brightest(image: np.ndarray) -> tuple[float, float]:
    """Return how far down and to the right the brightest pixel is, as shares."""
    row, column = np.unravel_index(image.argmax(), image.shape)
    return (row + 0.5) / image.shape[0], (column + 0.5) / image.shape[1]


@pytest.mark.parametrize(
    ("orientation", "sides", "letters"),
    [
        ("radiological", ("left", "top"), ("RLAP", "RLSI", "PASI")),
        ("neurological", ("right", "top"), ("LRAP", "LRSI", "PASI")),
        ("stored", ("right", "bottom"), ("LRPA", "LRIS", "PAIS")),
    ],
)
def test_a_voxel_at_the_right_is_where_the_orientation_says(
    orientation: str, sides: tuple[str, str], letters: tuple[str, ...]
) -> None:
    volume = marked()
    look = ViewOptions(orientation=orientation)
    views = choose_views(volume.array.shape, (1.0, 1.0, 1.0), affine=RAS, look=look)
    assert tuple(view.letters for view in views) == letters
    for view in views[:2]:
        down, across = brightest(view.oriented(volume.array.max(axis=view.axis)))
        assert (across < 0.5) == (sides[0] == "left")
        assert (down < 0.5) == (sides[1] == "top")
        # Where a line through that voxel is drawn.
        place = view.places(np.array([[8, 11, 15]]), volume.array.shape)[0]
        assert np.allclose(place, [across, down])


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
def test_planes_are_found_and_upright_in_any_order_of_the_array(order: tuple[int, int, int]) -> None:
    volume = marked()
    array = volume.array.transpose(order)
    affine = RAS.copy()
    affine[:, :3] = RAS[:, list(order)]
    look = ViewOptions(orientation="radiological", views="axial,coronal,sagittal")
    views = choose_views(array.shape, (1.0, 1.0, 1.0), affine=affine, look=look)
    assert [view.caption.partition(",")[0] for view in views] == ["axial", "coronal", "sagittal"]
    assert [view.letters for view in views] == ["RLAP", "RLSI", "PASI"]
    usual = choose_views(volume.array.shape, (1.0, 1.0, 1.0), affine=RAS, look=look)
    for view, same in zip(views, usual, strict=True):
        image = view.oriented(array.max(axis=view.axis))
        assert np.array_equal(image, same.oriented(volume.array.max(axis=same.axis)))
        assert view.extent == same.extent


class Watched(Canvas):
    """A canvas that keeps its images and texts."""

    images: list[np.ndarray] = []  # noqa: RUF012
    words: list[str] = []  # noqa: RUF012

    def image(self, x: int, y: int, values: np.ndarray, colors: object = None, **more: object) -> None:
        self.images.append(np.asarray(values))
        super().image(x, y, values, colors, **more)  # type: ignore[arg-type]

    def text(self, x: float, baseline: float, text: str, **style: object) -> float:
        self.words.append(text)
        return super().text(x, baseline, text, **style)  # type: ignore[arg-type]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> type[Watched]:
    monkeypatch.setattr(Watched, "images", [])
    monkeypatch.setattr(Watched, "words", [])
    monkeypatch.setattr(module, "Canvas", Watched)
    return Watched


@pytest.mark.parametrize(
    ("projection", "count"), [("slice", 1), ("3vox", 3), ("6mm", 3), ("mean", 0), ("maximum", 0)]
)
def test_projections(projection: str, count: int, watched: type[Watched], tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    p = (0.2 + 0.5 * rng.random((12, 10, 11))).astype(np.float32)
    p[:, 4] += 0.2
    volume = Volume(p, "ZYX", (2.0, 2.0, 2.0), "mm")
    preview(volume, None, tmp_path / "p.png", look=ViewOptions(projection=projection, views="y"))
    image = watched.images[0]
    part = p[:, 4 - count // 2 : 4 - count // 2 + count]
    expected = part.max(axis=1) if count else p.mean(axis=1) if projection == "mean" else p.max(axis=1)
    small = image[:: image.shape[0] // 12, :: image.shape[1] // 11]
    assert np.allclose(small / small.max(), expected / expected.max(), atol=1e-6)


@pytest.mark.parametrize("light", [False, True])
def test_an_image_below_is_aligned_and_windowed(light: bool, watched: type[Watched], tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(-500, 100, (40, 60)).astype(np.float32)
    values[30, 50] = 5000  # one voxel does not darken all others
    p = np.zeros((40, 60), np.float32)
    p[10, 20] = 1.0
    look = ViewOptions(light=light)
    path = tmp_path / "p.png"
    preview(Volume(p, "YX"), None, path, look=look, backdrop=Backdrop(values, "ct.nii.gz"))
    low, high = np.percentile(values, (1, 99))
    image = watched.images[0]
    step = image.shape[0] // 40
    small = image[step // 2 :: step, step // 2 :: step].astype(float)
    expected = 255 * ((values - low) / (high - low)).clip(0, 1)
    inside = p == 0
    assert np.abs(small[inside] - expected[inside][:, None]).max() <= 0.51
    # The map covers it as far as it is certain.
    assert tuple(small[10, 20]) == tuple((LIGHT if light else DARK).map_colors(np.array(1.0))[:3])
    words = next(text for text in watched.words if text.startswith("over ct.nii.gz"))
    assert f"{low:.4g}" in words
    assert f"{high:.4g}" in words


def test_an_image_below_follows_the_views_of_a_volume(watched: type[Watched], tmp_path: Path) -> None:
    values = np.zeros((8, 9, 10), np.float32)
    values[6, 7, 8] = 1.0
    volume = Volume(np.zeros((8, 9, 10), np.float32), "ZYX", (1.0, 1.0, 1.0), "mm", AFFINE)
    look = ViewOptions(orientation="radiological", projection="maximum")
    preview(volume, None, tmp_path / "p.png", look=look, backdrop=Backdrop(values, "x", "maximum"))
    views = choose_views(values.shape, (1.0, 1.0, 1.0), affine=AFFINE, look=look)
    for view, image in zip(views, watched.images, strict=False):
        place = view.places(np.array([[6, 7, 8]]), values.shape)[0]
        assert brightest(image[..., 0]) == pytest.approx(tuple(place[::-1]), abs=0.07)


def test_shrinking_an_image_takes_means() -> None:
    image = np.arange(24.0).reshape(4, 6)
    assert np.array_equal(averaged(image, 2, 3), image.reshape(2, 2, 3, 2).mean(axis=(1, 3)))
    assert averaged(image, 3, 4).sum() > 0
    assert np.array_equal(averaged(image, 8, 6), image.repeat(2, axis=0))


def test_the_scale_of_radii_is_that_of_the_graph(watched: type[Watched]) -> None:
    volume, graph = fork(spacing=(0.5, 0.5), unit="um")
    wide = {branch.number: 1.0 + branch.number for branch in graph.branches}
    measured = []
    for branch in graph.branches:
        along = {**branch.along, Quantity.RADIUS: np.linspace(1.0, wide[branch.number], len(branch.voxels))}
        measured.append(type(branch)(**{**vars(branch), "along": along}))
    graph = type(graph)(**{**vars(graph), "branches": tuple(measured)})
    coloring = coloring_of("radius", graph, DARK, lambda branch: None)
    assert (coloring.low, coloring.high) == (1.0, max(wide.values()))
    picture = read_png(preview_graph(volume, graph, color="radius").png())
    assert [text for text in watched.words if text in ("radius (µm)", "1", "2.5", "4")] == [
        "radius (µm)",
        "1",
        "2.5",
        "4",
    ]
    # The colours of both ends of the scale are drawn.
    for share in (0.0, 1.0):
        color = DARK.scale_colors(np.array(share))
        assert (np.abs(picture - color.astype(int)) <= 2).all(axis=-1).sum() > 5


def test_generations_count_from_the_root(watched: type[Watched]) -> None:
    volume, graph = fork()
    with pytest.raises(InputError, match="root='widest'"):
        preview_graph(volume, graph, color="generation")
    tree = rooted(graph, (5.0, 20.0))
    coloring = coloring_of("generation", tree, LIGHT, lambda branch: None)
    assert (coloring.low, coloring.high, coloring.ticks) == (0.0, 1.0, ("0", "1"))
    found = {branch.number: float(coloring.values(branch)[0]) for branch in tree.branches}  # type: ignore[index]
    trunk = next(b.number for b in tree.branches if b.voxels[:, 1].min() == 5)
    assert found == {b.number: float(b.number != trunk) for b in tree.branches}
    picture = read_png(preview_graph(volume, tree, color="generation", look=ViewOptions(light=True)).png())
    for share in (0.0, 1.0):
        color = LIGHT.scale_colors(np.array(share)).astype(int)
        assert (np.abs(picture - color) <= 2).all(axis=-1).sum() > 100
    assert "generation" in watched.words


def test_branches_have_their_numbers(watched: type[Watched]) -> None:
    volume, graph = fork()
    picture = read_png(preview_graph(volume, graph, color="branch").png())
    for number in range(3):
        color = np.array(rgb(DARK.classes[number]))
        assert (np.abs(picture - color) <= 2).all(axis=-1).sum() > 100
    assert [watched.words.count(str(k)) for k in (1, 2, 3)] == [2, 2, 2]  # at the branch, and at the bar


def test_radii_that_are_not_known_are_refused() -> None:
    volume, graph = helix()
    with pytest.raises(InputError, match="map=MAP"):
        preview_graph(volume, graph, color="radius")


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"views": "axial,up"}, "views='coronal,axial'"),
        ({"views": "z,z"}, "views='coronal,axial'"),
        ({"projection": "thick"}, "projection='10mm'"),
        ({"orientation": "up"}, "radiological or neurological or stored"),
        ({"dpi": 5}, "20 to 1200"),
    ],
)
def test_values_that_no_picture_can_have(given: dict[str, str], part: str) -> None:
    with pytest.raises(UsageError, match=re.escape(part)):
        ViewOptions(**given)  # type: ignore[arg-type]
