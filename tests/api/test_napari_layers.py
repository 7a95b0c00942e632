"""What napari opens: its manifest by npe2, and layers that lie where the skeletons of their maps do."""

from __future__ import annotations

import csv
import tomllib
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import softmorph_cli
from softmorph_cli.api.napari_layers import get_reader
from softmorph_cli.errors import FileError, SoftmorphError
from softmorph_cli.io.options import WriteOptions
from softmorph_cli.skeleton.export import text

nibabel: Any = import_module("nibabel")
PACKAGE = Path(softmorph_cli.__file__).parent
CROSS = np.zeros((9, 11, 13), np.float32)
CROSS[4, 5, 1:12] = CROSS[4, 1:10, 6] = 0.9
OBLIQUE = np.array([[0, -2, 0, 3.5], [1, 0, 0.25, -8], [0, 0.5, 3, 1], [0, 0, 0, 1]])


def layers_of(path: Path) -> list[tuple[Any, dict[str, Any], str]]:
    reader = get_reader(str(path))
    assert reader is not None
    return reader(str(path))


def test_the_manifest_is_valid_and_names_what_is_read() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, about pydantic
        npe2: Any = import_module("npe2")
        manifest = npe2.PluginManifest.from_file(PACKAGE / "napari.yaml")
        manifest.validate_imports()
    (command,) = manifest.contributions.commands
    assert command.python_name == "softmorph_cli.api.napari_layers:get_reader"
    (reader,) = manifest.contributions.readers
    families = import_module("softmorph_cli.io.format_names").FAMILIES
    wanted = {f"*{suffix}" for family in families.values() for suffix in family.suffixes}
    assert set(reader.filename_patterns) == wanted | {"*.swc", "*.csv"}
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["napari.manifest"] == {project["name"]: "softmorph_cli:napari.yaml"}
    assert manifest.name == project["name"]
    assert not any("napari" in one for one in project["dependencies"])


@pytest.mark.parametrize("kind", ["oblique", "micrometres", "nanometres", "no unit"])
def test_a_map_and_its_skeleton_lie_in_one_place(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("map.nii" if kind == "oblique" else "map.ome.tif")
    if kind == "oblique":
        image = nibabel.Nifti1Image(CROSS.T, OBLIQUE)
        image.header.set_xyzt_units("mm")
        image.to_filename(path)
    else:
        unit = {"micrometres": "um", "nanometres": "nm"}.get(kind)
        sizes: dict[str, Any] = {
            f"PhysicalSize{axis}": size for axis, size in zip("XYZ", (0.5, 0.25, 2.0), strict=True)
        }
        units: dict[str, Any] = {f"PhysicalSize{axis}Unit": unit for axis in "XYZ"}
        told = {"axes": "ZYX", **(sizes | units if unit else {})}
        tifffile.imwrite(path, CROSS, metadata=told)
    (data, shown, layer) = layers_of(path)[0]
    assert (layer, shown["name"], shown["contrast_limits"]) == ("image", path.name, (0.0, 1.0))
    assert np.array_equal(data, CROSS)
    assert shown["metadata"]["voxel_unit"] == {"oblique": "mm", "micrometres": "um", "nanometres": "nm"}.get(
        kind
    )
    matrix = shown["affine"] if "affine" in shown else np.diag([*shown["scale"], 1.0])
    found = softmorph_cli.inspect(path).graph
    for name in ("swc", "csv"):
        (tmp_path / f"tree.{name}").write_text(text(found, name)[0])
    # By hand: the ends of the cross in world coordinates.
    ends = np.array([(4, 5, 1, 1), (4, 5, 11, 1), (4, 1, 6, 1), (4, 9, 6, 1)]) @ matrix.T
    (paths, lines, first), (points, dots, second) = layers_of(tmp_path / "tree.swc")
    assert (first, second, lines["shape_type"], len(paths)) == ("shapes", "points", "path", 4)
    at_ends = points[[kind != "junction" for kind in dots["features"]["kind"]]]
    assert sorted(map(tuple, at_ends.round(5))) == sorted(map(tuple, ends[:, :3].round(5)))
    assert sorted(dots["features"]["kind"]) == ["end point"] * 3 + ["junction", "root"]
    ((starts, table, third),) = layers_of(tmp_path / "tree.csv")
    assert (third, starts.shape) == ("points", (8, 3))
    assert {tuple(one) for one in ends[:, :3].round(5)} <= {tuple(one) for one in starts.round(5)}
    assert shown["metadata"]["unit"] == lines["metadata"]["unit"] == table["metadata"]["unit"]


def test_channels_are_layers_and_times_an_axis(tmp_path: Path) -> None:
    stored = np.stack([np.stack([CROSS, CROSS / 2])] * 3)
    told = {"axes": "TCZYX", "Channel": {"Name": ["wall", "lumen"]}}
    tifffile.imwrite(tmp_path / "map.ome.tif", stored, metadata=told)
    layers = layers_of(tmp_path / "map.ome.tif")
    assert [shown["name"] for _, shown, _ in layers] == ["map.ome.tif wall", "map.ome.tif lumen"]
    for number, (data, shown, _) in enumerate(layers):
        assert np.array_equal(data, stored[:, number])
        assert len(shown["scale"]) == data.ndim == 4


def test_the_table_of_shapes_is_napari_s(tmp_path: Path) -> None:
    cross = CROSS.copy()
    cross[0, 0, 0] = 0.8
    graph = softmorph_cli.inspect(cross, spacing=(2.0, 0.5, 0.25), unit="um").graph
    content, warnings_of = text(graph, "shapes")
    assert warnings_of == (
        "1 isolated voxel is no path and is not in the table of shapes; SWC and GraphML have them.",
    )
    rows = list(csv.reader(content.splitlines()))
    assert rows[0] == ["index", "shape-type", "vertex-index", "axis-0", "axis-1", "axis-2"]
    shapes: dict[int, list[tuple[float, ...]]] = {}
    for index, kind, vertex, *place in rows[1:]:
        found = shapes.setdefault(int(index), [])
        assert (kind, int(vertex)) == ("path", len(found))
        found.append(tuple(map(float, place)))
    # In voxels, whatever their size: the four arms of the cross.
    ends = {end for found in shapes.values() for end in (found[0], found[-1])}
    assert {(4.0, 5.0, 1.0), (4.0, 5.0, 11.0), (4.0, 1.0, 6.0), (4.0, 9.0, 6.0)} <= ends
    assert len(shapes) == 4


def test_what_is_none_of_its_files_is_left_to_others(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("index,shape-type,vertex-index,axis-0,axis-1\n0,path,0,1,2\n")
    assert get_reader(str(tmp_path / "other.csv")) is None
    assert get_reader(str(tmp_path / "missing.csv")) is None
    assert get_reader([str(tmp_path / "a.swc"), str(tmp_path / "b.swc")]) is None
    for content in ("", "1 0 a b c 1 -1\n", "1 0 1 1 1\n", "1 0 1 1 1 nan -1\n", "1 0 1 1 1 1 -1\n2 0\n"):
        (tmp_path / "bad.swc").write_text(content)
        with pytest.raises(FileError, match="is no SWC file"):
            layers_of(tmp_path / "bad.swc")
    (tmp_path / "bad.csv").write_text("branch,component,kind,start_node,end_node\n1,1,spur,1,2\n")
    with pytest.raises(FileError, match="a place is missing"):
        layers_of(tmp_path / "bad.csv")
    # A circle of parents ends.
    (tmp_path / "circle.swc").write_text("1 0 0 0 0 1 -1\n2 0 1 0 0 1 3\n3 0 2 0 0 1 2\n")
    assert [kind for _, _, kind in layers_of(tmp_path / "circle.swc")] == ["points"]
    np.save(tmp_path / "grey.npy", 300 * CROSS)
    with pytest.raises(SoftmorphError, match="divide_by"):
        layers_of(tmp_path / "grey.npy")


def test_a_skeleton_that_is_written_as_a_map(tmp_path: Path) -> None:
    volume = softmorph_cli.Volume(CROSS, "ZYX", (2.0, 0.25, 0.5), "um")
    path = tmp_path / "map.mrc"
    softmorph_cli.write(volume, path, **vars(WriteOptions()))
    assert layers_of(path)[0][1]["scale"] == pytest.approx((2.0, 0.25, 0.5))
