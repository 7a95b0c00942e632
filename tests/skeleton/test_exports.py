"""Exports, read back and compared with their graph."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import morphio  # type: ignore[import-untyped]
import networkx as nx
import numpy as np
import pytest
from helpers_graphs import ALL, SHAPES, everything, frame, graph_of, oblique, plane, vessel_graph
from helpers_trees import random_tree

from softmorph_cli.skeleton.export.document import document
from softmorph_cli.skeleton.export.graphml import graphml_text
from softmorph_cli.skeleton.export.obj import obj_text
from softmorph_cli.skeleton.export.swc import swc_text
from softmorph_cli.skeleton.export.table import csv_text
from softmorph_cli.skeleton.graph import Branch, SkeletonGraph

SPACING = (2.0, 0.5, 0.5)


def oblique_everything() -> SkeletonGraph:
    image = everything()
    return graph_of(image, frame(image.shape, affine=oblique()))


def tree_graph(seed: int, quantities: tuple[str, ...] = ALL) -> SkeletonGraph:
    mask = random_tree(seed, SPACING).mask
    return graph_of(mask, frame(mask.shape, spacing=SPACING), quantities)


def voxels_without_unit() -> SkeletonGraph:
    image = plane("arms")
    return graph_of(image, frame(image.shape, spacing=(2.0, 0.5), unit=None), ())


def lone_voxel() -> SkeletonGraph:
    image = np.zeros((5, 6), bool)
    image[3, 4] = True
    return graph_of(image)


def nothing() -> SkeletonGraph:
    return graph_of(np.zeros((5, 6, 7), bool))


GRAPHS = {
    "everything": oblique_everything,
    "tree": lambda: tree_graph(0),
    "vessels": lambda: vessel_graph(3),
    "2D": lambda: graph_of(plane("theta"), quantities=("certainty",)),
    "2D, oblique": lambda: graph_of(
        plane("lollipop"), frame((27, 29), affine=oblique(), spacing=(0.31, 0.3)), ("radius",)
    ),
    "no unit": voxels_without_unit,
    "lone voxel": lone_voxel,
    "nothing": nothing,
}


@pytest.fixture(params=GRAPHS, scope="module")
def graph(request: pytest.FixtureRequest) -> SkeletonGraph:
    made: Callable[[], SkeletonGraph] = GRAPHS[request.param]
    return made()


def rows_of(graph: SkeletonGraph) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_text(graph), newline="")))


# CSV


def test_the_columns_of_a_volume_in_millimetres() -> None:
    assert csv_text(nothing()) == (
        "branch,component,kind,start_node,end_node,length_mm,chord_mm,tortuosity,"
        "radius_mean_mm,radius_min_mm,radius_max_mm,certainty_mean,certainty_min,levels_mean,levels_min,voxels,"
        "start_z_voxel,start_y_voxel,start_x_voxel,end_z_voxel,end_y_voxel,end_x_voxel,"
        "start_x_mm,start_y_mm,start_z_mm,end_x_mm,end_y_mm,end_z_mm,"
        "branch_type,radius_start_mm,radius_end_mm,cross_section_area_mm2,generation,strahler,parent,angle_deg\n"
    )


def test_an_unknown_unit_of_a_plane_is_pixels_and_it_has_no_z_index() -> None:
    names = rows_of(voxels_without_unit())[0].keys()
    assert {"length_pixels", "chord_pixels", "radius_mean_pixels", "start_x_pixels", "end_z_pixels"} <= names
    assert "start_y_voxel" in names
    assert "start_z_voxel" not in names
    assert not [name for name in names if name.endswith("_mm")]


def test_a_table_has_a_row_for_each_branch_and_loses_no_digit(graph: SkeletonGraph) -> None:
    rows, unit = rows_of(graph), graph.frame.suffix
    assert len(rows) == len(graph.branches)
    for row, branch in zip(rows, graph.branches, strict=True):
        assert (int(row["branch"]), int(row["component"])) == (branch.number, branch.component)
        assert (int(row["start_node"]), int(row["end_node"])) == branch.nodes
        assert row["kind"] == branch.kind
        assert float(row[f"length_{unit}"]) == branch.length
        assert float(row[f"chord_{unit}"]) == branch.chord
        assert row["tortuosity"] == ("" if branch.tortuosity is None else repr(branch.tortuosity))
        assert int(row["voxels"]) == len(branch.voxels)
        for quantity, name in (
            ("radius", "radius_{}_" + unit),
            ("certainty", "certainty_{}"),
            ("levels", "levels_{}"),
        ):
            for part in ("mean", "min", "max")[: 3 if quantity == "radius" else 2]:
                spread = branch.spread(quantity)
                wanted = "" if spread is None else repr(getattr(spread, part))
                assert row[name.format(part)] == wanted
        for end, voxel in (("start", branch.voxels[0]), ("end", branch.voxels[-1])):
            axes = "zyx"[-graph.frame.dims :]
            assert [int(row[f"{end}_{axis}_voxel"]) for axis in axes] == voxel.tolist()
            place = [float(row[f"{end}_{axis}_{unit}"]) for axis in "xyz"]
            assert place == graph.frame.world(voxel).tolist()


def test_a_loop_has_no_tortuosity_and_unknown_quantities_are_empty() -> None:
    (row,) = rows_of(graph_of(plane("ring"), quantities=()))
    empty = {name for name, cell in row.items() if cell == ""}
    assert empty == {
        "tortuosity",
        "radius_mean_mm",
        "radius_min_mm",
        "radius_max_mm",
        "certainty_mean",
        "certainty_min",
        "levels_mean",
        "levels_min",
        "radius_start_mm",
        "radius_end_mm",
        "cross_section_area_mm2",
        "generation",
        "strahler",
        "parent",
        "angle_deg",
    }


# JSON


def test_the_document_is_plain_json_with_the_names_of_the_table(graph: SkeletonGraph) -> None:
    found = document(graph)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    header = csv_text(graph).splitlines()[0].split(",")
    for branch, row in zip(found["branches"], rows_of(graph), strict=True):
        assert [*header, "nodes"] == list(branch)
        assert branch["nodes"] == [branch["start_node"], branch["end_node"]]
        assert {name: "" if branch[name] is None else str(branch[name]) for name in header} == row
    for said, node in zip(found["nodes"], graph.nodes, strict=True):
        assert said == {
            "node": node.number,
            "component": node.component,
            "kind": node.kind,
            "degree": node.degree,
            "voxel": node.voxels[0].tolist(),
            "world": node.place.tolist(),
        }


@pytest.mark.parametrize("name", SHAPES)
def test_the_document_counts_what_was_drawn(name: str) -> None:
    said = document(graph_of(plane(name)))["graph"]
    counts = tuple(said[part] for part in ("components", "cycles", "end_points", "junctions", "branches"))
    assert counts == SHAPES[name][1]
    assert said["voxels"] == plane(name).sum()
    assert said["lone_voxels"] == 0


def test_the_document_has_totals() -> None:
    graph = oblique_everything()
    found = document(graph)
    said = found["graph"]
    assert said["components"] == 6
    assert said["cycles"] == 6
    assert said["lone_voxels"] == 1
    assert said["voxels"] == everything().sum()
    assert said["length_mm"] == pytest.approx(sum(b["length_mm"] for b in found["branches"]), rel=1e-12)
    assert said["length_mm"] == pytest.approx(sum(c["length_mm"] for c in found["components"]), rel=1e-12)
    assert said["longest_branch_mm"] == max(b["length_mm"] for b in found["branches"])
    bent = [b for b in found["branches"] if b["chord_mm"] > 0]
    assert len(bent) == 7
    total = sum(b["length_mm"] for b in bent)
    mean = sum(b["length_mm"] * b["length_mm"] / b["chord_mm"] for b in bent) / total
    assert said["tortuosity_mean"] == pytest.approx(mean, rel=1e-12)
    assert said["radius"]["min"] == min(b["radius_min_mm"] for b in found["branches"])
    assert said["radius"]["max"] == max(b["radius_max_mm"] for b in found["branches"])
    assert said["radius"]["unit"] == said["unit"] == "mm"
    assert set(said["certainty"]) == set(said["levels"]) == {"mean", "min", "max"}
    for component, shape in zip(found["components"], graph.components, strict=True):
        assert component["component"] == shape.number
        assert component["cycles"] == shape.cycles
    assert sum(c["branches"] for c in found["components"]) == len(found["branches"])
    assert sum(c["junctions"] for c in found["components"]) == said["junctions"]
    assert sum(c["end_points"] for c in found["components"]) == said["end_points"]


def test_unknown_values_are_null() -> None:
    said = document(lone_voxel())["graph"]
    assert said == {
        "components": 1,
        "cycles": 0,
        "end_points": 0,
        "junctions": 0,
        "branches": 0,
        "lone_voxels": 1,
        "voxels": 1,
        "unit": "mm",
        "length_mm": 0.0,
        "longest_branch_mm": None,
        "tortuosity_mean": None,
        "generation_max": None,
        "strahler_max": None,
        "radius": None,
        "certainty": None,
        "levels": None,
    }
    assert document(nothing())["nodes"] == []
    assert document(voxels_without_unit())["graph"]["unit"] == "pixels"


# GraphML


def points(text: str, kind: type[int] | type[float]) -> np.ndarray:
    return np.array([[kind(word) for word in point.split()] for point in text.split(";")])


def test_graphml_restores_the_graph(graph: SkeletonGraph) -> None:
    stream = io.BytesIO(graphml_text(graph).encode())
    back = nx.read_graphml(stream, node_type=int, edge_key_type=int, force_multigraph=True)
    unit = graph.frame.suffix
    assert sorted(back) == [node.number for node in graph.nodes]
    for node in graph.nodes:
        said = back.nodes[node.number]
        assert (said["kind"], said["degree"], said["component"]) == (node.kind, node.degree, node.component)
        assert points(said["voxel"], int).tolist() == node.voxels[:1].tolist()
        assert points(said["cluster"], int).tolist() == node.voxels.tolist()
        assert [said[f"{axis}_{unit}"] for axis in "xyz"] == node.place.tolist()
        assert back.degree(node.number) == node.degree
    edges = {key: (u, v, said) for u, v, key, said in back.edges(keys=True, data=True)}
    assert sorted(edges) == [branch.number for branch in graph.branches]
    for row in document(graph)["branches"]:
        u, v, said = edges[row["branch"]]
        assert {u, v} == {row["start_node"], row["end_node"]}
        row.pop("nodes")
        assert {name: said[name] for name in row if name in said} == {
            name: value for name, value in row.items() if value is not None
        }
    for branch in graph.branches:
        said = edges[branch.number][2]
        assert points(said["path_voxels"], int).tolist() == branch.voxels.tolist()
        assert points(said[f"path_points_{unit}"], float).tolist() == branch.points.tolist()
        for name, said_as in (
            ("radius", f"path_radius_{unit}"),
            ("certainty", "path_certainty"),
            ("levels", "path_levels"),
        ):
            if name in branch.along:
                assert [float(word) for word in said[said_as].split()] == branch.along[name].tolist()
            else:
                assert said_as not in said
    assert back.graph["unit"] == unit
    assert back.graph["axes"] == "zyx"[-graph.frame.dims :]
    assert tuple(map(int, back.graph["shape"].split())) == graph.shape
    assert points(back.graph["matrix"], float).tolist() == graph.frame.matrix.tolist()
    assert points(back.graph["origin"], float)[0].tolist() == graph.frame.origin.tolist()


def test_graphml_keeps_loops_and_parallel_branches() -> None:
    text = graphml_text(oblique_everything())
    back = nx.read_graphml(io.BytesIO(text.encode()), force_multigraph=True)
    assert nx.number_of_selfloops(back) == 4
    assert sorted(Counter(map(frozenset, back.edges())).values(), reverse=True)[:2] == [3, 2]
    assert back.number_of_edges() - back.number_of_nodes() + nx.number_connected_components(back) == 6


# SWC


def samples_of(text: str) -> list[tuple[int, int, np.ndarray, int]]:
    rows = [line.split() for line in text.splitlines() if not line.startswith("#")]
    assert all(len(row) == 7 for row in rows)
    return [(int(n), int(t), np.array(numbers, float), int(parent)) for n, t, *numbers, parent in rows]


def length_of(text: str) -> float:
    samples = samples_of(text)
    places = {number: numbers[:3] for number, _, numbers, _ in samples}
    return sum(
        float(np.linalg.norm(numbers[:3] - places[parent]))
        for _, _, numbers, parent in samples
        if parent != -1
    )


def last_step(branch: Branch) -> float:
    return float(np.linalg.norm(branch.points[-1] - branch.points[-2]))


def test_swc_is_one_tree_for_each_component(graph: SkeletonGraph) -> None:
    text, warnings = swc_text(graph)
    samples = samples_of(text)
    assert [number for number, *_ in samples] == list(range(1, len(samples) + 1))
    assert {kind for _, kind, *_ in samples} <= {0}
    assert all(parent == -1 or 0 < parent < number for number, _, _, parent in samples)
    assert sum(parent == -1 for *_, parent in samples) == len(graph.components)
    assert all(numbers[3] > 0 for _, _, numbers, _ in samples)
    assert bool(warnings) == (graph.cycles > 0)
    # Each node and each voxel between two nodes is a point once; each cycle has lost none of them.
    assert len(samples) == len(graph.nodes) + sum(len(branch.points) - 2 for branch in graph.branches)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 0.5, 0.5), (0.001, 0.001)])
def test_a_tree_in_swc_is_as_long_as_the_graph(seed: int, spacing: tuple[float, ...]) -> None:
    mask = random_tree(seed, tuple(size / min(spacing) for size in spacing)).mask
    graph = graph_of(mask, frame(mask.shape, spacing=spacing))
    assert graph.cycles == 0
    assert len(graph.branches) >= 3
    text, warnings = swc_text(graph)
    assert warnings == ()
    assert length_of(text) == pytest.approx(graph.length, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "cut"), [("arms", ()), ("ring", (1,)), ("theta", (2, 3)), ("eight", (1, 2)), ("lollipop", (1,))]
)
def test_the_shortest_branch_of_a_cycle_is_cut_one_step_before_its_end(
    name: str, cut: tuple[int, ...]
) -> None:
    graph = graph_of(plane(name))
    text, _ = swc_text(graph)
    lost = sum(last_step(graph.branches[number - 1]) for number in cut)
    assert length_of(text) == pytest.approx(graph.length - lost, rel=1e-12)
    written = Counter(tuple(numbers[:3]) for _, _, numbers, _ in samples_of(text))
    inner = [tuple(point) for branch in graph.branches for point in branch.points[1:-1]]
    assert all(written[point] == 1 for point in inner)
    # Beside the branches' inner points there are only the nodes.
    assert len(written) == len(inner) + len(graph.nodes)


def test_cycles_that_were_cut_are_counted_in_a_warning() -> None:
    assert swc_text(graph_of(plane("ring")))[1] == (
        "SWC holds trees: 1 cycle was cut open; GraphML keeps it.",
    )
    assert swc_text(oblique_everything())[1] == (
        "SWC holds trees: 6 cycles were cut open; GraphML keeps them.",
    )


def test_a_root_is_the_widest_end_point_and_radii_follow_their_points() -> None:
    graph = tree_graph(1)
    radius = {
        tuple(place): width
        for branch in graph.branches
        for place, width in zip(branch.points, branch.along["radius"], strict=True)
    }
    text, _ = swc_text(graph)
    samples = samples_of(text)
    assert [numbers[3] for _, _, numbers, _ in samples] == [
        radius[tuple(numbers[:3])] for _, _, numbers, _ in samples
    ]
    (root,) = [numbers for _, _, numbers, parent in samples if parent == -1]
    ends = {tuple(node.place) for node in graph.end_points}
    assert tuple(root[:3]) in ends
    assert root[3] == max(radius[end] for end in ends)
    assert "# radius: distance to the surface\n" in text


def test_an_unknown_radius_is_half_a_voxel_as_in_the_header() -> None:
    text, _ = swc_text(tree_graph(1, quantities=()))
    assert {float(numbers[3]) for _, _, numbers, _ in samples_of(text)} == {0.25}
    assert "# radius: unknown: half a voxel, 0.25\n" in text
    text, _ = swc_text(oblique_everything())
    assert "# radius: distance to the surface; where it is unknown, half a voxel, 0.15" in text


def test_swc_is_in_mm_or_um() -> None:
    mask = random_tree(2, SPACING).mask
    texts = {
        unit: swc_text(graph_of(mask, frame(mask.shape, spacing=SPACING, unit=unit)))[0]
        for unit in ("mm", "um", "nm")
    }
    assert [unit for unit, text in texts.items() if f"# unit: {unit}\n" in text] == ["mm", "um"]
    assert "# unit: um\n" in texts["nm"]
    mm, um, nm = (np.array([sample[2] for sample in samples_of(text)]) for text in texts.values())
    assert (um == mm).all()
    np.testing.assert_allclose(nm, um / 1000, rtol=1e-15)
    assert "# unit: pixels\n" in swc_text(voxels_without_unit())[0]


def test_morphio_opens_swc_and_measures_the_same_length(graph: SkeletonGraph, tmp_path: Path) -> None:
    text, _ = swc_text(graph)
    file = tmp_path / "graph.swc"
    file.write_text(text)
    collected = morphio.WarningHandlerCollector()
    read = morphio.Morphology(str(file), warning_handler=collected)
    # Vessels have no soma; nothing else is remarked on, such as a diameter of zero.
    remarks = {entry.warning.warning().name for entry in collected.get_all()}
    assert remarks <= {"no_soma_found", "disconnected_neurite"}
    assert len(read.root_sections) == sum(component.branches > 0 for component in graph.components)
    sections = [section.points.astype(float) for section in read.iter()]
    measured = sum(float(np.linalg.norm(np.diff(p, axis=0), axis=1).sum()) for p in sections)
    # It stores float32: each end of a step is off by half a unit in the last place of the largest coordinate.
    samples = samples_of(text)
    largest = max((float(np.abs(numbers[:3]).max()) for _, _, numbers, _ in samples), default=0.0)
    rounding = len(samples) * np.sqrt(3) * float(np.spacing(np.float32(largest)))
    assert measured == pytest.approx(length_of(text), rel=1e-6, abs=0)
    assert abs(measured - length_of(text)) <= rounding


# OBJ


def obj_parts(text: str) -> tuple[np.ndarray, list[tuple[str, str, str, list[int]]]]:
    """Return the vertices, and the object, group, kind and vertex numbers of each element."""
    vertices: list[list[float]] = []
    drawn: list[tuple[str, str, str, list[int]]] = []
    name = group = ""
    for line in text.splitlines():
        word, *rest = line.split()
        if word == "v":
            vertices.append([float(value) for value in rest])
        elif word == "o":
            (name,) = rest
        elif word == "g":
            (group,) = rest
        elif word in "lp":
            drawn.append((name, group, word, [int(value) - 1 for value in rest]))
        else:
            assert word == "#"
    return np.array(vertices).reshape(-1, 3), drawn


def test_obj_polylines_are_the_skeletons_voxels(graph: SkeletonGraph) -> None:
    vertices, drawn = obj_parts(obj_text(graph))
    index = np.linalg.lstsq(graph.frame.matrix, (vertices - graph.frame.origin).T, rcond=None)[0].T
    whole = np.rint(index)
    assert np.abs(index - whole).max(initial=0) < 1e-6
    assert np.abs(graph.frame.world(whole) - vertices).max(initial=0) < 1e-9
    assert len(np.unique(whole, axis=0)) == len(vertices)
    lines = {group: (name, whole[at].tolist()) for name, group, kind, at in drawn if kind == "l"}
    assert lines == {
        f"branch_{branch.number}": (f"component_{branch.component}", branch.voxels.tolist())
        for branch in graph.branches
    }
    lone = {name: whole[at].tolist() for name, _, kind, at in drawn if kind == "p"}
    assert lone == {
        f"component_{node.component}": node.voxels.tolist() for node in graph.nodes if node.degree == 0
    }
    assert len(drawn) == len(lines) + len(lone)


def test_obj_branches_share_the_vertex_of_their_junction() -> None:
    _, drawn = obj_parts(obj_text(graph_of(plane("arms"))))
    ends = Counter(at[k] for *_, at in drawn for k in (0, -1))
    assert sorted(ends.values()) == [1, 1, 1, 3]
