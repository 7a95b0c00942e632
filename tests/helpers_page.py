"""Inspection pages of drawn skeletons, parsed strictly."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from html.parser import HTMLParser
from typing import Any

import numpy as np
import numpy.typing as npt

from softmorph_cli.plots.html.inspection_page import inspection_page
from softmorph_cli.skeleton.analyse import Inspection
from softmorph_cli.skeleton.frame import Frame
from softmorph_cli.skeleton.graph import Branch, Component, SkeletonGraph, SkeletonNode, measure
from softmorph_cli.skeleton.trace import trace
from softmorph_cli.volume import Volume

VOID = {"meta", "img", "input", "line", "link", "br", "hr"}


class Element:
    """An element of a page; the root has the tag "" and itself as its parent."""

    def __init__(self, tag: str, attributes: dict[str, str], parent: Element | None = None) -> None:
        self.tag, self.attributes, self.parent = tag, attributes, parent or self
        self.children: list[Element | str] = []

    def elements(self) -> Iterator[Element]:
        """Yield the children that are elements."""
        return (child for child in self.children if isinstance(child, Element))

    def all(self, tag: str) -> Iterator[Element]:
        """Yield all descendants with a tag."""
        for child in self.elements():
            if child.tag == tag:
                yield child
            yield from child.all(tag)

    def one(self, tag: str, **attributes: str) -> Element:
        """Return the only descendant with a tag and these attributes."""
        found = [e for e in self.all(tag) if all(e.attributes.get(k) == v for k, v in attributes.items())]
        assert len(found) == 1, (tag, attributes, len(found))
        return found[0]

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)


class Tree(HTMLParser):
    """A parser that builds a tree and refuses tags that are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.here = self.root = Element("", {})
        self.declarations: list[str] = []

    def handle_decl(self, decl: str) -> None:
        self.declarations.append(decl)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), attrs
        element = Element(tag, {name: value or "" for name, value in attrs}, self.here)
        self.here.children.append(element)
        if tag not in VOID:
            self.here = element

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.here.tag, f"</{tag}> closes <{self.here.tag}>"
        self.here = self.here.parent

    def handle_data(self, data: str) -> None:
        self.here.children.append(data)


def parsed(page: str) -> Element:
    """Return the tree of a well-formed page."""
    tree = Tree()
    tree.feed(page)
    tree.close()
    assert tree.here is tree.root
    assert tree.declarations == ["DOCTYPE html"]
    return tree.root


def made(
    mask: npt.NDArray[np.bool_],
    spacing: tuple[float, ...] | None = None,
    unit: str | None = None,
    quantities: Sequence[str] = ("radius", "certainty"),
    **more: Any,
) -> Inspection:
    """Return the inspection of a curve with random soft values."""
    shape = mask.shape
    rng = np.random.default_rng(1)
    soft = np.where(mask, rng.uniform(0.5, 1, shape), 0).astype(np.float32)
    volume = Volume(soft, "ZYX"[-len(shape) :], spacing, unit, **more)
    values = {name: rng.uniform(0.1, 3, shape) for name in quantities} | {"certainty": soft}

    def sampler(name: str) -> Any:
        return lambda voxels: values[name][tuple(voxels.T)].astype(float)

    samples = {name: sampler(name) for name in quantities}
    frame = Frame.of(volume)
    graph = measure(trace(np.argwhere(mask)), frame, shape, samples)
    return Inspection(volume, graph, {"threshold": 0.5, "prune_cycles": None})


def drawing() -> npt.NDArray[np.bool_]:
    """Draw a ring with two spurs, a line with a fork, a line apart, a voxel."""
    mask = np.zeros((60, 90), bool)
    mask[10, 10:31] = mask[30, 10:31] = mask[10:31, 10] = mask[10:31, 30] = True
    mask[20, 31:45] = mask[31:40, 20] = True
    mask[50, 5:60] = mask[42:50, 40] = True
    mask[5:50, 75] = True
    mask[57, 85] = True
    return mask


def page_of(
    inspection: Inspection,
    title: str = "a map",
    facts: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    pictures: Mapping[str, bytes] | None = None,
) -> str:
    return inspection_page(inspection, title=title, facts=facts, pictures=pictures or {})


def table(root: Element, name: str) -> tuple[Element, list[str], list[list[str]]]:
    """Return the section of a table, its headings and its rows."""
    section = next(s for s in root.all("section") if s.attributes.get("aria-labelledby") == name)
    heads = [h.text for h in section.one("thead").all("th")]
    rows = [[cell.text for cell in row.elements()] for row in section.one("tbody").all("tr")]
    return section, heads, rows


def value(text: str) -> float:
    return float(text.replace(",", ""))


def pairs(root: Element, kind: str) -> dict[str, str]:
    """Return a description list as terms with their descriptions."""
    held = root.one("dl", **{"class": kind})
    return {group.one("dt").text: " ".join(dd.text for dd in group.all("dd")) for group in held.elements()}


def png(width: int = 30, height: int = 20) -> bytes:
    from matplotlib.image import imsave

    held = io.BytesIO()
    imsave(held, np.zeros((height, width, 3)), format="png")
    return held.getvalue()


def many(count: int) -> Inspection:
    """Return an inspection of so many branches of falling length."""
    volume = Volume(np.zeros((100, 100), np.float32), "YX", (1.0, 1.0), "mm")
    rng = np.random.default_rng(0)
    branches = tuple(
        Branch(
            number=k + 1,
            component=1 + k % 7,
            nodes=(1, 2),
            kind=("inner", "spur", "loop")[k % 3],
            voxels=rng.integers(0, 100, (3, 2)),
            points=rng.uniform(0, 100, (3, 3)) * (1, 1, 0),
            length=20000 / (k + 1),
            chord=0.0 if k % 3 == 2 else 10 / (k + 1),
            along={"radius": rng.random(3), "certainty": rng.random(3)},
            type=("junction-to-junction", "junction-to-endpoint", "isolated cycle")[k % 3],
        )
        for k in range(count)
    )
    components = tuple(Component(k, 1, 1, 1, 1, 10.0 / k) for k in range(1, 8))
    nodes = (SkeletonNode(1, 1, 2, np.zeros((1, 2), int), np.zeros(3)),)
    return Inspection(volume, SkeletonGraph(nodes, branches, components, Frame.of(volume), (100, 100)), {})
