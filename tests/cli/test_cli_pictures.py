"""The options of pictures on the command line: which commands have them, what is drawn, what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from helpers_cli import nibabel, refused, run, save
from PIL import Image
from typer.main import get_command

from softmorph_cli.cli.app import app
from softmorph_cli.plots.backdrop import Backdrop
from softmorph_cli.plots.options import ViewOptions
from softmorph_cli.system.parameters import declared
from softmorph_cli.volume import Volume

SHAPE = (6, 16, 20)


def tree() -> np.ndarray:
    """A bar with a branch, in the world of a NIfTI file."""
    image = np.full(SHAPE, 0.02, np.float32)
    image[2:4, 6:9, 2:18] = 0.9
    image[2:4, 8:14, 9:11] = 0.8
    return image


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save("map.nii.gz", tree(), (2.0, 1.0, 1.0))
    scan = np.random.default_rng(2).normal(-300, 200, SHAPE).astype(np.float32)
    affine = nibabel.load("map.nii.gz").affine
    nibabel.save(nibabel.Nifti1Image(scan.T, affine), "ct.nii.gz")
    affine = affine.copy()
    affine[:3, 3] += 40
    nibabel.save(nibabel.Nifti1Image(scan.T, affine), "elsewhere.nii.gz")


def corner(path: str) -> list[int]:
    with Image.open(path) as image:
        return list(np.asarray(image.convert("RGB"))[2, 2])


def test_every_command_with_a_preview_has_the_same_options_in_one_panel() -> None:
    common = set(declared(ViewOptions)) - {"views", "projection", "background"}
    found = []

    def visit(name: str, command: object) -> None:
        for part, inner in getattr(command, "commands", {}).items():
            visit(f"{name} {part}".strip(), inner)
        options = {one.name: one for one in getattr(command, "params", [])}
        if ("preview" in options and "report" not in options) or name == "inspect":
            found.append(name)
            assert common <= options.keys(), name
            panels = {getattr(options[one], "rich_help_panel", None) for one in common}
            assert panels == {"Pictures"}, name

    visit("", get_command(app))
    wanted = {"skeletonize", "inspect", "stats", "evaluate", "interpolate", "prior train", "prior segment"}
    assert wanted | {"topology repair"} <= set(found)


@pytest.mark.parametrize("end", ["png", "pdf", "svg"])
def test_formats(end: str) -> None:
    run("inspect", "map.nii.gz", "--levels", "0", "--preview", f"p.{end}", "--light", "-q")
    begin = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}
    assert Path(f"p.{end}").read_bytes().startswith(begin[end])


def test_light_is_white_and_the_resolution_counts() -> None:
    run("skeletonize", "map.nii.gz", "s.nii.gz", "--preview", "dark.png", "-q")
    run("skeletonize", "map.nii.gz", "t.nii.gz", "--preview", "light.png", "--light", "--dpi", "288", "-q")
    assert (corner("dark.png"), corner("light.png")) == ([23, 23, 28], [255, 255, 255])
    with Image.open("dark.png") as dark, Image.open("light.png") as light:
        assert light.size == (2 * dark.width, 2 * dark.height)


def words(path: str) -> str:
    """Return the texts of an SVG, which stand as comments at their letters."""
    return "\n".join(re.findall(r"<!-- (.*?) -->", Path(path).read_text("utf-8")))


def test_a_skeleton_over_a_scan_by_radius() -> None:
    run(
        *("inspect", "map.nii.gz", "--levels", "0", "--preview", "p.svg", "--csv", "b.csv", "-q"),
        *("--background", "ct.nii.gz", "--color", "radius", "--views", "coronal,axial"),
        *("--orientation", "radiological"),
    )
    shown = words("p.svg")
    assert "over ct.nii.gz (mean along the line of sight), from " in shown
    assert shown.index("coronal, along y · right L, up S") < shown.index("axial, along z · right L, up A")
    assert "sagittal" not in shown
    # The ends of the colour bar are the least and the largest radius of the table.
    head, *rows = [line.split(",") for line in Path("b.csv").read_text().splitlines()]
    low = min(float(row[head.index("radius_min_mm")]) for row in rows)
    high = max(float(row[head.index("radius_max_mm")]) for row in rows)
    assert f"{low:.3g}\n" in shown
    assert f"\n{high:.3g}" in shown
    assert "radius (mm)" in shown


def test_a_scan_is_interpolated_as_its_map_is() -> None:
    wanted = ("--levels", "0", "--background", "ct.nii.gz", "-q", "--resample", "iso")
    run("inspect", "map.nii.gz", *wanted, "--preview", "p.svg")
    assert "over ct.nii.gz, interpolated (mean along the line of sight), from " in words("p.svg")


def test_an_image_on_the_grid_of_cubic_voxels_keeps_its_values() -> None:
    """A ramp along z in voxels of 2 x 1 x 1: each slice becomes two, a quarter of a step to either side."""
    ramp = np.arange(-300.0, -294.0)[:, None, None] * np.ones((1, 3, 3))
    volume = Volume(np.zeros((6, 3, 3), np.float32), "ZYX", (2.0, 1.0, 1.0), "mm")
    made = Backdrop(ramp, "the image").isotropic(volume).values
    assert made.shape == (12, 3, 3)
    np.testing.assert_allclose(made[1:-1, 1, 1], np.arange(-299.75, -295, 0.5), atol=1e-3)
    assert (made.min(), made.max()) == pytest.approx((-300, -295), abs=1e-3)


def test_a_result_and_a_comparison_over_a_scan() -> None:
    run(*("skeletonize", "map.nii.gz", "s.nii.gz", "--preview", "s.svg", "--background", "ct.nii.gz", "-q"))
    save("ref.nii.gz", (tree() > 0.85).astype(np.uint8), (2.0, 1.0, 1.0))
    run(
        *("evaluate", "map.nii.gz", "ref.nii.gz", "--metrics", "dice", "--preview", "e.svg", "-q"),
        *("--background", "ct.nii.gz", "--projection", "3vox"),
    )
    for path in ("s.svg", "e.svg"):
        assert "over ct.nii.gz" in words(path)
    assert re.search(r"of z = \d+ to \d+", words("e.svg"))


def test_colours_become_grey_and_the_first_channel_is_taken() -> None:
    flat = tree()[2]
    np.save("flat.npy", flat)
    colors = np.zeros((16, 20, 3), np.uint8)
    colors[:8] = (200, 0, 0)
    Image.fromarray(colors).save("photo.png")
    run("inspect", "flat.npy", "--levels", "0", "--preview", "p.svg", "--background", "photo.png", "-q")
    # 0.299 of 200, by the weights of Rec. 601.
    assert "over photo.png, its colours as grey, from 0 (black, percentile 1) to 59.8 (white, 99)" in words(
        "p.svg"
    )


def test_what_goes_with_no_picture_is_refused_before_anything_is_written() -> None:
    for options, part, code in (
        (("--dpi", "300"), "--dpi is of the picture: add --preview", 2),
        (("--preview", "p.tif"), "end its name with .png, .pdf or .svg", 2),
        (("--preview", "p.png", "--background", "none.nii.gz"), "none.nii.gz does not exist", 1),
        (("--preview", "p.png", "--background", "elsewhere.nii.gz"), "--background elsewhere.nii.gz: ", 1),
    ):
        assert part in refused("skeletonize", "map.nii.gz", "s.nii.gz", *options, code=code)
        assert not Path("s.nii.gz").exists()
        assert not Path("p.png").exists()
    save("small.nii.gz", tree()[:, :12], (2.0, 1.0, 1.0))
    message = refused("inspect", "map.nii.gz", "--preview", "p.png", "--background", "small.nii.gz")
    assert "6 × 12 × 20" in message
    assert "6 × 16 × 20" in message
    Path("in").mkdir()
    save("in/one.nii.gz", tree())
    assert "--light goes with one file" in refused("inspect", "in", "--light", code=2)
    assert "--color is of the picture" in refused("inspect", "map.nii.gz", "--color", "radius", code=2)


def test_a_region_holds_for_the_image_below_too() -> None:
    run(
        *("inspect", "map.nii.gz", "--levels", "0", "--region", ":,2:15,:", "--preview", "p.png", "-q"),
        *("--background", "ct.nii.gz"),
    )
    assert Path("p.png").exists()
