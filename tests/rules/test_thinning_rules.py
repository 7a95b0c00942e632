"""The thinning rules against a second, independent transcription of their definition."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from helpers_reference import (
    MASKS,
    NUMBERED,
    RING_OFFSETS,
    TURNS_2D,
    TURNS_3D,
    deletes_2d,
    deletes_3d,
    mask_holds,
    neighbourhoods_near_templates,
    truth,
    turn,
)
from scipy import ndimage

from softmorph_cli.rules import catalog
from softmorph_cli.rules.expression import turned
from softmorph_cli.rules.picture import Template
from softmorph_cli.rules.rule import Action

RINGS = np.array([[n >> k & 1 for n in range(256)] for k in range(8)], bool)
LOOKUP_2D: dict[tuple[int, ...], np.ndarray] = {offset: RINGS[k] for k, offset in enumerate(RING_OFFSETS)}


@cache
def neighbourhoods() -> np.ndarray:
    return neighbourhoods_near_templates(np.random.default_rng(20240611), 400)


def test_schedules_actions_and_borders() -> None:
    for name, order in (("thinning-2d", TURNS_2D), ("thinning-3d", tuple(TURNS_3D))):
        rule = catalog.bundled(name)
        assert tuple(s.label for s in rule.sub_iterations) == order
        assert rule.action is Action.DELETE
        assert rule.outside == 0
        assert rule.iterations is None
        assert rule.absorbing == 0


@pytest.mark.parametrize("direction", TURNS_2D)
def test_2d_rule_on_all_256_rings(direction: str) -> None:
    (sub_iteration,) = (s for s in catalog.bundled("thinning-2d").sub_iterations if s.label == direction)
    found = truth(turned(sub_iteration.expression, sub_iteration.rotation), LOOKUP_2D)
    expected = [deletes_2d(RINGS[:, n].tolist(), direction) for n in range(256)]
    assert found.tolist() == expected
    assert sum(expected) == 37


@pytest.mark.parametrize("direction", TURNS_2D)
def test_2d_rule_deletes_simple_points_only_and_no_end_points(direction: str) -> None:
    for n in np.flatnonzero([deletes_2d(RINGS[:, n].tolist(), direction) for n in range(256)]):
        ring = RINGS[:, n]
        square = np.zeros((3, 3), bool)
        for value, (y, x) in zip(ring, RING_OFFSETS, strict=True):
            square[1 + y, 1 + x] = value
        assert ring.sum() > 1
        # (8, 4)-simple: one 8-component of foreground, one 4-component of background that touches directly.
        assert ndimage.label(square, np.ones((3, 3)))[1] == 1
        background = ~square
        background[1, 1] = False
        labels = ndimage.label(background)[0]
        assert len({labels[0, 1], labels[1, 0], labels[1, 2], labels[2, 1]} - {0}) == 1


@pytest.mark.parametrize("name", MASKS)
def test_each_3d_mask_alone(name: str) -> None:
    template = dict(catalog.bundled("thinning-3d").templates)[name]
    assert isinstance(template, Template)
    drawn = neighbourhoods()
    found = truth(template.expression, dict(zip(NUMBERED, drawn, strict=True)))
    expected = mask_holds(drawn, name)
    assert (found == expected).all()
    assert 0 < expected.sum() < expected.size


@pytest.mark.parametrize("direction", TURNS_3D)
def test_3d_rule_in_every_direction(direction: str) -> None:
    (sub_iteration,) = (s for s in catalog.bundled("thinning-3d").sub_iterations if s.label == direction)
    drawn = neighbourhoods()
    # Neighbour k of the numbering lies at R (offset of k) in the image.
    lookup = {turn(offset, direction): values for offset, values in zip(NUMBERED, drawn, strict=True)}
    found = truth(turned(sub_iteration.expression, sub_iteration.rotation), lookup)
    expected = deletes_3d(drawn)
    assert (found == expected).all()
    assert 0.1 < expected.mean() < 0.9


def test_the_2d_comparison_would_see_a_wrong_direction() -> None:
    rule = catalog.bundled("thinning-2d")
    found = truth(turned(rule.sub_iterations[1].expression, rule.sub_iterations[3].rotation), LOOKUP_2D)
    assert found.tolist() != [deletes_2d(RINGS[:, n].tolist(), "E") for n in range(256)]
