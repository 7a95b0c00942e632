"""Reading a map block by block gives the projections and pictures of the whole map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from helpers_maps import vessels
from hypothesis import given
from hypothesis import strategies as st

from softmorph_cli.plots import projection
from softmorph_cli.plots.preview import preview, preview_blocks
from softmorph_cli.plots.projection import Held, fullest_planes, images, is_dense, profiles
from softmorph_cli.plots.views import Box, choose_views, resize
from softmorph_cli.volume import Volume

RNG = np.random.default_rng(0)
Array = npt.NDArray[Any]


@dataclass
class Pieces:
    """A map that refuses to be read in more than blocks."""

    array: Array
    chunks: tuple[int, ...]
    most: int
    spacing: tuple[float, ...] | None = None
    unit: str | None = None
    affine: Array | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    def read(self, slices: Sequence[slice], /) -> Array:
        part = self.array[tuple(slices)]
        assert 0 < part.size <= self.most
        return part.copy()


MAP: Array = RNG.random((30, 41, 52), dtype=np.float32) ** 8


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projection, "BLOCK", 2000)


@st.composite
def boxes(draw: Callable[[Any], Any]) -> Box:
    ends = [sorted(draw(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)))) for n in MAP.shape]
    return tuple(slice(first, last + 1) for first, last in ends)


@given(
    boxes(), st.tuples(st.booleans(), st.booleans(), st.booleans()), st.integers(1, 70), st.integers(1, 70)
)
def test_blocks_give_what_the_whole_map_gives(
    box: Box, signs: tuple[bool, bool, bool], height: int, width: int
) -> None:
    pieces = Pieces(MAP, (8, 16, 16), max(projection.BLOCK, 8 * 16 * 16))
    part = MAP[box]
    for axis, profile in enumerate(profiles(pieces)):
        assert np.array_equal(profile, MAP.max(axis=tuple({0, 1, 2} - {axis})))
    above = part > 0.3
    held = [np.flatnonzero(above.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    room = np.prod([k[-1] - k[0] + 1 for k in held]) if above.any() else 0
    assert is_dense(pieces, box, 0.3) == (np.count_nonzero(above) > projection.DENSE * room)
    planes = fullest_planes(pieces, box, 1.0)
    for axis, plane in enumerate(planes):
        sums = part.sum(axis=tuple({0, 1, 2} - {axis}), dtype=np.float64)
        assert sums[plane] >= sums.max() * (1 - 1e-3)
    affine = np.diag([*((1.0 if sign else -1.0) for sign in signs), 1.0])[:, [2, 1, 0, 3]]
    for where in (None, planes):
        views = choose_views(part.shape, (1.0, 1.0, 1.0), affine=affine, planes=where)
        found = images(pieces, box, views, [(height, width)] * len(views))
        for view, image in zip(views, found, strict=True):
            assert view.axis is not None
            flat = part.max(view.axis) if where is None else part.take(where[view.axis], view.axis)
            turned = np.flip(flat, tuple(k for k in (0, 1) if view.flips[k]))
            assert np.array_equal(image, resize(turned, height, width))


def ball(shape: tuple[int, ...]) -> Array:
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    p: Array = np.clip(1.3 - 2 * np.sqrt((grid**2).sum(0)), 0, 1).astype(np.float32)
    return p


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("kind", ["sparse", "dense", "image", "wide image", "empty"])
def test_the_picture_is_that_of_the_whole_map(tmp_path: Path, kind: str) -> None:
    shape = {"image": (60, 70), "wide image": (30, 3001)}.get(kind, (33, 40, 47))
    lines = vessels(shape, 2, branches=2, noise=0.1).astype(np.float32)
    before = {"dense": ball(shape), "empty": 0 * lines}.get(kind, lines)
    after = before * (RNG.random(shape) < 0.01).astype(np.float32)
    spacing, affine = (3.0, 1.0, 0.5)[-len(shape) :], np.diag([-0.5, 1.0, -3.0, 1.0])[:, [2, 1, 0, 3]]
    geometry = (spacing, "mm", affine if len(shape) == 3 else None)
    chunks = (8, 16, 16)[-len(shape) :]
    volume = Volume(before, "ZYX"[-len(shape) :], *geometry)
    whole, in_blocks = tmp_path / "whole.png", tmp_path / "blocks.png"
    preview(volume, volume.with_array(after), whole, title="softmorph", subtitle="a test")
    first, second = (Pieces(one, chunks, 2048, *geometry) for one in (before, after))
    preview_blocks(cast(Any, first), second, in_blocks, title="softmorph", subtitle="a test")
    assert in_blocks.read_bytes() == whole.read_bytes()


def test_an_array_is_not_copied() -> None:
    array = np.zeros((4, 5), np.float32)
    assert np.shares_memory(Held(array).read((slice(1, 2), slice(0, 5))), array)
