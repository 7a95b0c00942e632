"""The inspection page: self-contained, safe against hostile names, and with the numbers of the graph."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from helpers_page import Element, drawing, made, many, page_of, pairs, parsed, png, table, value

from softmorph_cli import __version__
from softmorph_cli.plots.html.tables import SHOWN, number
from softmorph_cli.skeleton.analyse import Inspection
from softmorph_cli.skeleton.graph import Branch, SkeletonGraph, Spread
from softmorph_cli.volume import Source

HOSTILE = "<script>alert(1)</script>\"'--><img src=x onerror=alert(2)></title></style>.nii.gz"


@pytest.fixture(scope="module")
def inspection() -> Inspection:
    source = Source(Path("/somewhere/case 7.nii.gz"), "nifti", (90, 60), "float32")
    return made(drawing(), (0.25, 0.5), "mm", source=source)


def spread(part: SkeletonGraph | Branch, quantity: str) -> Spread:
    """Return the spread of a quantity that is known."""
    found = part.spread(quantity)
    assert found is not None
    return found


# --- one file, offline, well formed --------------------------------------------------------------------------


def test_the_page_needs_no_other_resource(inspection: Inspection) -> None:
    pictures = {"dark": png(), "light": png(40, 30)}
    page = page_of(inspection, pictures=pictures)
    root = parsed(page)
    assert not re.search(r"(?i)https?:|//[a-z0-9-]+\.|@import|url\(|<link|<iframe|<base", page)
    for image in root.all("img"):
        assert image.attributes["src"].startswith("data:image/png;base64,")
    assert not any("src" in script.attributes for script in root.all("script"))
    policy = root.one("meta", **{"http-equiv": "Content-Security-Policy"}).attributes["content"]
    assert policy.startswith(
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-"
    )


def test_the_content_security_policy_allows_the_own_script_alone() -> None:
    root = parsed(page_of(many(SHOWN + 1)))
    policy = root.one("meta", **{"http-equiv": "Content-Security-Policy"}).attributes["content"]
    scripts = [s.text for s in root.all("script") if "type" not in s.attributes]
    hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    assert re.findall(r"'sha256-([^']+)'", policy) == hashes
    assert len(hashes) == 1


def test_the_page_is_accessible(inspection: Inspection) -> None:
    root = parsed(page_of(inspection, title="vessels", pictures={"light": png()}))
    assert root.one("html").attributes["lang"] == "en"
    assert root.one("head").one("title").text.startswith("vessels")
    assert "width=device-width" in root.one("meta", name="viewport").attributes["content"]
    levels = [int(tag[1]) for tag in re.findall(r"<(h[1-6])[ >]", page_of(inspection))]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    ids = [
        e.attributes["id"]
        for tag in ("h2", "button", "section")
        for e in root.all(tag)
        if "id" in e.attributes
    ]
    assert len(ids) == len(set(ids))
    for section in root.all("section"):
        assert section.attributes["aria-labelledby"] in ids
    for one in root.all("table"):
        assert one.one("caption").text
        assert all(h.attributes["scope"] == "col" for h in one.one("thead").all("th"))
        assert all(next(row.all("th")).attributes["scope"] == "row" for row in one.one("tbody").all("tr"))
        sorts = [h.attributes.get("aria-sort") for h in one.one("thead").all("th")]
        assert sorts.count("descending") == 1
    for drawn in root.all("svg"):
        assert drawn.attributes["role"] == "img"
        assert drawn.attributes["aria-label"].startswith("Histogram of ")


def test_controls_are_hidden_without_scripts(inspection: Inspection) -> None:
    root = parsed(page_of(inspection))
    for kind in ("button", "select", "input"):
        for element in root.all(kind):
            while element.tag and "hidden" not in element.attributes:
                element = element.parent
            assert element.tag, kind


def test_equal_arguments_give_equal_pages(inspection: Inspection) -> None:
    facts = {"command": "softmorph inspect x"}
    assert page_of(inspection, facts=facts) == page_of(inspection, facts=list(facts.items()))


# --- content -------------------------------------------------------------------------------------------------


def test_the_header_states_the_input_and_the_parameters(inspection: Inspection) -> None:
    facts = pairs(parsed(page_of(inspection, facts={"command": "softmorph inspect x"})), "facts")
    assert facts == {
        "file": "case 7.nii.gz",
        "size": "90 × 60 pixels",
        "voxel size": "0.5 × 0.25 mm",
        "lengths in": "mm",
        "command": "softmorph inspect x",
        "threshold": "0.5",
        "softmorph version": __version__,
    }


def test_a_given_fact_replaces_the_default_one(inspection: Inspection) -> None:
    facts = pairs(parsed(page_of(inspection, facts=[("file", "/a/b"), ("threshold", "half")])), "facts")
    assert (facts["file"], facts["threshold"]) == ("/a/b", "half")


def test_the_summary_has_the_numbers_of_the_graph(inspection: Inspection) -> None:
    graph = inspection.graph
    assert (len(graph.components), graph.cycles, len(graph.end_points)) == (4, 1, 7)
    cards = pairs(parsed(page_of(inspection)), "cards")
    radius, certainty = (spread(graph, name) for name in ("radius", "certainty"))
    assert cards == {
        "Components": "4",
        "Cycles": "1",
        "End points": "7",
        "Junctions": f"{len(graph.junctions)}",
        "Branches": f"{len(graph.branches)}",
        "Total length": f"{number(graph.length)} mm",
        "Mean radius": f"{radius.mean:.4g} mm from {radius.min:.2f} to {radius.max:.2f}",
        "Mean certainty": f"{certainty.mean:.4g} from {certainty.min:.3f} to {certainty.max:.3f}",
    }


def test_every_branch_is_in_the_table_with_its_numbers(inspection: Inspection) -> None:
    _, heads, rows = table(parsed(page_of(inspection)), "branches")
    branches = inspection.graph.branches
    assert len(rows) == len(branches) > 5
    for row, branch in zip(rows, branches, strict=True):
        shown = dict(zip(heads, row, strict=True))
        assert shown["Branch"] == str(branch.number)
        assert shown["Type"] == branch.type
        assert shown["Component"] == str(branch.component)
        assert value(shown["Length (mm)"]) == pytest.approx(branch.length, abs=0.006)
        assert value(shown["Tortuosity"]) == pytest.approx(branch.tortuosity, abs=6e-4)
        for part in ("mean", "min", "max"):
            wanted = getattr(spread(branch, "radius"), part)
            assert value(shown[f"Radius, {part} (mm)"]) == pytest.approx(wanted, abs=0.006)
        assert value(shown["Certainty, min"]) == pytest.approx(spread(branch, "certainty").min, abs=6e-4)
        for word, place in (("From", branch.points[0]), ("To", branch.points[-1])):
            x, y = map(float, shown[f"{word} x,\u00a0y (mm)"].split(", "))
            assert (x, y) == pytest.approx(place[:2], abs=0.06)
    assert not any(head.startswith("Levels") for head in heads)


def test_components_are_in_their_table(inspection: Inspection) -> None:
    _, heads, rows = table(parsed(page_of(inspection)), "components")
    assert heads == ["Component", "Length (mm)", "Branches", "End points", "Junctions", "Cycles"]
    for row, one in zip(rows, inspection.graph.components, strict=True):
        counts = (one.number, one.branches, one.end_points, one.junctions, one.cycles)
        assert tuple(int(row[k]) for k in (0, 2, 3, 4, 5)) == counts
        assert value(row[1]) == pytest.approx(one.length, abs=0.006)


def test_warnings_precede_the_summary(inspection: Inspection) -> None:
    remarked = replace(
        inspection, warnings=("the map is < 1 & odd.",), notes=("one thing.", "another thing.")
    )
    root = parsed(page_of(remarked))
    heads = [h.text for h in root.all("h2")]
    assert heads[:3] == ["Warning", "Notes", "Summary"]
    sentences = [item.text for item in root.all("li")]
    assert sentences == ["The map is < 1 & odd.", "One thing.", "Another thing."]
    assert "Warning" not in [h.text for h in parsed(page_of(inspection)).all("h2")]


def test_pictures_are_embedded_one_for_each_theme(inspection: Inspection) -> None:
    given = {"dark": png(30, 20), "light": png(40, 25)}
    images = {
        i.attributes["class"]: i.attributes for i in parsed(page_of(inspection, pictures=given)).all("img")
    }
    assert {look: base64.b64decode(i["src"].split(",")[1]) for look, i in images.items()} == given
    assert (images["dark"]["width"], images["dark"]["height"]) == ("30", "20")
    assert all(f"{len(inspection.graph.branches)} branches" in i["alt"] for i in images.values())
    # A single one is always shown; with none there is no empty section.
    alone = parsed(page_of(inspection, pictures={"dark": png()})).one("img")
    assert "class" not in alone.attributes
    assert "Picture" not in [h.text for h in parsed(page_of(inspection)).all("h2")]


# --- histograms ----------------------------------------------------------------------------------------------


def test_histograms_count_every_branch_and_every_voxel_once(inspection: Inspection) -> None:
    root = parsed(page_of(inspection))
    charts = {f.one("h3").text: f for f in root.all("figure")}
    assert list(charts) == ["Branch length", "Radius", "Certainty"]
    counted = {
        name: sum(int(t.text.split(": ")[1].split()[0].replace(",", "")) for t in chart.all("title"))
        for name, chart in charts.items()
    }
    assert counted["Branch length"] == len(inspection.graph.branches)
    # All voxels but the lone one, and those of junctions that no path goes through.
    voxels = {tuple(v) for b in inspection.graph.branches for v in b.voxels.tolist()}
    assert counted["Radius"] == counted["Certainty"] == len(voxels)
    assert list(charts["Radius"].one("svg").elements())[-1].text == "radius (mm)"
    lengths = [b.length for b in inspection.graph.branches]
    assert f"Median {np.median(lengths):.4g} mm." in charts["Branch length"].one("figcaption").text


# --- hostile and invalid names -------------------------------------------------------------------------------


def test_hostile_names_are_escaped(inspection: Inspection) -> None:
    assert inspection.volume.source is not None
    source = replace(inspection.volume.source, path=Path("/x") / HOSTILE.replace("/", ":"))
    hostile = replace(
        inspection,
        volume=replace(inspection.volume, source=source),
        parameters={HOSTILE: HOSTILE, "list": [HOSTILE, 1, True]},
        warnings=(HOSTILE,),
        notes=(HOSTILE,),
    )
    page = page_of(hostile, title=HOSTILE, facts={HOSTILE + "2": HOSTILE}, pictures={"light": png()})
    root, plain = parsed(page), parsed(page_of(inspection, pictures={"light": png()}))
    assert root.one("h1").text == HOSTILE
    assert root.one("head").one("title").text.startswith(HOSTILE)
    for tag in ("script", "img", "style", "title"):
        assert len(list(root.all(tag))) == len(list(plain.all(tag)))
    assert pairs(root, "facts")["list"] == f"{HOSTILE}, 1, yes"

    def attributes(one: Element) -> set[str]:
        held = set(one.attributes)
        return held.union(*map(attributes, one.elements()))

    assert not any(name.startswith("on") for name in attributes(root))


def test_a_name_with_undecodable_bytes_gives_a_valid_page(inspection: Inspection) -> None:
    page = page_of(inspection, title="caf\udce9.nii", facts={"file": "caf\udce9.nii"})
    assert parsed(page).one("h1").text == "caf?.nii"
    page.encode("utf-8")


# --- many and few branches -----------------------------------------------------------------------------------


def test_rows_beyond_the_first_are_in_the_json_data() -> None:
    count = 3 * SHOWN
    inspection = many(count)
    page = page_of(inspection)
    section, heads, rows = table(parsed(page), "branches")
    assert len(rows) == SHOWN
    rest = json.loads(section.one("script", **{"class": "rest"}).text)
    assert [int(row[0]) for row in rows + rest] == list(range(1, count + 1))
    assert {len(row) for row in rows + rest} == {len(heads)}
    length = heads.index("Length (mm)")
    wanted = [b.length for b in inspection.graph.branches]
    assert [value(row[length]) for row in rows + rest] == pytest.approx(wanted, abs=0.006)
    # A loop has no tortuosity.
    straight = {
        row[1] == "isolated cycle" for row in rows + rest if row[heads.index("Tortuosity")] == "\u2013"
    }
    assert straight == {True}
    assert f"The longest {SHOWN} of {count:,} branches." in section.text
    assert len(page) < 60_000 + 200 * count


def test_a_short_table_has_no_json_data() -> None:
    section, _, rows = table(parsed(page_of(many(SHOWN))), "branches")
    assert len(rows) == SHOWN
    assert not list(section.all("script"))
    assert "Show all" not in section.text


def test_an_empty_graph() -> None:
    page = page_of(made(np.zeros((6, 7, 8), bool)))
    root = parsed(page)
    cards = pairs(root, "cards")
    assert cards["Branches"] == cards["Components"] == "0"
    assert cards["Total length"] == "0 voxels"
    assert cards["Mean radius"] == cards["Mean certainty"] == "\u2013 not known"
    assert not list(root.all("table"))
    assert not list(root.all("svg"))
    facts = pairs(root, "facts")
    assert facts["size"] == "8 × 7 × 6 voxels (x, y, z)"
    assert facts["voxel size"] == "not known"
    assert facts["lengths in"] == "voxels, as the unit is not known"


def test_one_voxel_alone() -> None:
    mask = np.zeros((6, 7), bool)
    mask[3, 3] = True
    root = parsed(page_of(made(mask)))
    assert pairs(root, "cards")["Components"] == "1"
    assert table(root, "components")[2] == [["1", "0", "0", "0", "0", "0"]]
    assert [h.text for h in root.all("h2")] == ["Summary", "Distributions", "Branches", "Components"]


def test_unknown_quantities_have_no_column_and_no_histogram() -> None:
    root = parsed(page_of(made(drawing(), quantities=())))
    _, heads, _ = table(root, "branches")
    assert not any(h.startswith(("Radius", "Certainty", "Levels")) for h in heads)
    assert "Length (pixels)" in heads
    assert [f.one("h3").text for f in root.all("figure")] == ["Branch length"]
    assert pairs(root, "cards")["Mean radius"] == "\u2013 not known"


def test_the_soft_skeletons_values_are_shown_where_they_are_known() -> None:
    inspection = made(drawing(), quantities=("radius", "certainty", "levels"))
    root = parsed(page_of(inspection))
    _, heads, rows = table(root, "branches")
    shown = [value(row[heads.index("Levels, mean")]) for row in rows]
    assert shown == pytest.approx([spread(b, "levels").mean for b in inspection.graph.branches], abs=6e-4)
    assert "Mean soft skeleton" in pairs(root, "cards")


def test_places_of_a_volume_have_three_coordinates_in_the_world() -> None:
    mask = np.zeros((5, 6, 20), bool)
    mask[2, 3, 4:15] = True
    affine = np.array([[0, 0, 0.5, -10.0], [0, 0.5, 0, 20.0], [2.0, 0, 0, 30.0], [0, 0, 0, 1]])
    root = parsed(page_of(made(mask, (2.0, 0.5, 0.5), "mm", affine=affine)))
    _, heads, rows = table(root, "branches")
    shown = dict(zip(heads, rows[0], strict=True))
    assert shown["From x,\u00a0y,\u00a0z (mm)"] == "-8.00, 21.50, 34.00"
    assert shown["To x,\u00a0y,\u00a0z (mm)"] == "-3.00, 21.50, 34.00"
