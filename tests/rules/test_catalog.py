"""Bundled rules against textbook implementations, SciPy and scikit-image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from helpers_reference import guo_hall, zhang_suen
from helpers_run import run_binary
from scipy import ndimage
from skimage.morphology import thin

from softmorph_cli.errors import InputError, RuleError
from softmorph_cli.rules import catalog, structuring
from softmorph_cli.rules.neighborhood import CONNECTIVITIES
from softmorph_cli.rules.rule import Action

NAMES = (
    "boundary-2d",
    "boundary-3d",
    "corners-2d",
    "guo-hall-2d",
    "isolated-2d",
    "isolated-3d",
    "majority-2d",
    "majority-3d",
    "prune-2d",
    "prune-3d",
    "thinning-2d",
    "thinning-3d",
    "thinning-subfields-2d",
    "thinning-subfields-3d",
    "zhang-suen-2d",
)


def _images(dimensions: int, count: int = 12) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    shape = (23, 31) if dimensions == 2 else (9, 11, 13)
    return [rng.random(shape) < d for d in np.linspace(0.05, 0.95, count)]


def _blobs(count: int = 20) -> list[np.ndarray]:
    rng = np.random.default_rng(6)
    found = []
    for k in range(count):
        smooth = ndimage.gaussian_filter(rng.standard_normal((40, 44)), 1 + k % 3)
        image = smooth > np.quantile(smooth, 0.3 + 0.02 * k)
        image[[0, -1]] = image[:, [0, -1]] = False
        found.append(image)
    return found


def _count(image: np.ndarray, *, centre: bool) -> np.ndarray:
    kernel = np.ones((3,) * image.ndim, int)
    kernel[(1,) * image.ndim] = int(centre)
    return ndimage.convolve(image.astype(int), kernel, mode="constant")


def _corners(image: np.ndarray) -> np.ndarray:
    hit, miss = np.array([[0, 1, 0], [0, 1, 1], [0, 0, 0]]), np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0]])
    found: np.ndarray = np.any(
        [
            ndimage.binary_hit_or_miss(np.pad(image, 1), np.rot90(hit, k), np.rot90(miss, k))[1:-1, 1:-1]
            for k in range(4)
        ],
        axis=0,
    )
    return found


EXPECTED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "boundary": lambda x: x & ~ndimage.binary_erosion(x, border_value=1),
    "corners": _corners,
    "isolated": lambda x: x & (_count(x, centre=False) > 0),
    "majority": lambda x: 2 * _count(x, centre=True) > 3**x.ndim,
    "prune": lambda x: x & (_count(x, centre=False) != 1),
}


def test_the_catalogue_is_complete_and_every_rule_says_what_it_is() -> None:
    assert catalog.names() == NAMES
    for name in NAMES:
        rule = catalog.bundled(name)
        assert rule.name == name
        assert rule.dimensions == int(name[-2])
        assert len(rule.title) > 20
        assert any(c.isdigit() for c in rule.citation)
        assert rule.condition


def test_rules_are_found_without_their_dimensions() -> None:
    assert catalog.bundled("thinning", 3) is not catalog.bundled("thinning", 2)
    assert catalog.bundled("thinning", 3).name == "thinning-3d"
    assert catalog.bundled("corners-2d", 2).name == "corners-2d"


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("thining", " (did you mean 'thinning'?)"),
        ("zhang-suen-3d", " (did you mean 'zhang-suen-2d'?)"),
        ("corner-2d", " (did you mean 'corners-2d'?)"),
        ("", ""),
        ("blur", ""),
    ],
)
def test_an_unknown_rule_is_refused_with_a_list_and_the_nearest(name: str, near: str) -> None:
    with pytest.raises(RuleError) as caught:
        catalog.bundled(name, 3)
    assert str(caught.value).startswith(
        f"there is no rule {name!r}{near}; the bundled ones are boundary-2d, "
    )
    assert "zhang-suen-2d" in str(caught.value)


def test_a_path_is_no_rule_of_a_name() -> None:
    with pytest.raises(RuleError, match=r"there is no rule '\.\./bundled/thinning-2d'"):
        catalog.bundled("../bundled/thinning-2d", 3)


@pytest.mark.parametrize("name", [n for n in NAMES if n.rsplit("-", 1)[0] in EXPECTED])
def test_local_rules_against_direct_formulas(name: str) -> None:
    rule = catalog.bundled(name)
    assert rule.iterations == 1
    for image in _images(rule.dimensions):
        expected = EXPECTED[name.rsplit("-", 1)[0]](image)
        assert (run_binary(rule, image, 1) == expected).all()


def test_prune_shortens_by_one_voxel_an_iteration() -> None:
    line = np.zeros((5, 12), bool)
    line[2, 1:11] = True
    assert run_binary(catalog.bundled("prune-2d"), line, 3).sum() == 10 - 2 * 3


def test_zhang_suen_is_the_textbooks_on_any_image() -> None:
    for image in _images(2) + _blobs():
        assert (run_binary(catalog.bundled("zhang-suen-2d"), image, None) == zhang_suen(image)).all()


def test_guo_hall_is_the_textbooks_on_any_image() -> None:
    for image in _images(2) + _blobs():
        assert (run_binary(catalog.bundled("guo-hall-2d"), image, None) == guo_hall(image)).all()


def test_guo_hall_is_scikit_images_thin_where_the_border_is_background() -> None:
    # (scikit-image's skeletonize(method="zhang") is no such witness: it also deletes some L corners.)
    thinned = 0
    for image in _blobs():
        result = run_binary(catalog.bundled("guo-hall-2d"), image, None)
        assert (result == thin(image)).all()  # type: ignore[no-untyped-call]
        thinned += int(image.sum() - result.sum())
    assert thinned > 1000


def test_the_textbook_comparison_tells_the_two_apart() -> None:
    assert any(
        (run_binary(catalog.bundled("guo-hall-2d"), image, None) != zhang_suen(image)).any()
        for image in _images(2)
    )


@pytest.mark.parametrize(("dimensions", "connectivity"), [(2, 4), (2, 8), (3, 6), (3, 18), (3, 26)])
def test_structuring_elements_against_scipy(dimensions: int, connectivity: int) -> None:
    order = CONNECTIVITIES[dimensions].index(connectivity) + 1
    element = ndimage.generate_binary_structure(dimensions, order)
    erosion = structuring.erosion(connectivity, dimensions)
    dilation = structuring.dilation(connectivity, dimensions)
    assert (erosion.outside, dilation.outside) == (1, 0)
    assert erosion.action is dilation.action is Action.SET
    for image in _images(dimensions):
        expected = ndimage.binary_erosion(image, element, border_value=1)
        assert (run_binary(erosion, image, 1) == expected).all()
        assert (run_binary(dilation, image, 1) == ndimage.binary_dilation(image, element)).all()


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)])
@pytest.mark.parametrize("connectivity", [6, 18, 26])
def test_an_element_that_reaches_along_some_axes_only(connectivity: int, axes: tuple[int, ...]) -> None:
    element = ndimage.generate_binary_structure(3, {6: 1, 18: 2, 26: 3}[connectivity])
    for axis in {0, 1, 2} - set(axes):
        kept: list[slice | int] = [slice(None)] * 3
        for end in (0, 2):
            kept[axis] = end
            element[tuple(kept)] = False
    rule = structuring.dilation(connectivity, 3, axes)
    for image in _images(3, 4):
        assert (run_binary(rule, image, 1) == ndimage.binary_dilation(image, element)).all()


def test_an_element_is_one_pass() -> None:
    for connectivity, size in ((26, 27), (18, 19), (6, 7)):
        (one,) = structuring.erosion(connectivity, 3).sub_iterations
        assert len(one.expression.arguments) == size


@pytest.mark.parametrize(("connectivity", "dimensions"), [(6, 2), (26, 2), (4, 3), (8, 3), (0, 2), (5, 3)])
def test_connectivities_that_do_not_exist_are_named(connectivity: int, dimensions: int) -> None:
    with pytest.raises(InputError, match=rf"connectivity {connectivity} does not exist in {dimensions}D"):
        structuring.check_connectivity(connectivity, dimensions)
