import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import binary_fill_holes, label

from softmorph_cli.filters.greylevel import components, despeckle, fill

LEVELS = 5
SHAPES = [(9, 11), (5, 6, 7)]


def maps(shape: tuple[int, ...]) -> st.SearchStrategy[np.ndarray]:
    """Draw maps of few values, so that plateaus, holes and specks are common."""
    return arrays(np.int8, shape, elements=st.integers(0, LEVELS)).map(
        lambda drawn: (drawn / LEVELS).astype(np.float32)
    )


def large(mask: np.ndarray, voxels: int) -> np.ndarray:
    labels, count = label(mask, np.ones((3,) * mask.ndim))
    kept = np.bincount(labels.ravel(), minlength=count + 1) >= voxels
    kept[0] = False
    return kept[labels]


@pytest.mark.parametrize("shape", SHAPES)
@given(data=st.data())
def test_filling_is_binary_filling_at_every_threshold(shape: tuple[int, ...], data: st.DataObject) -> None:
    image = data.draw(maps(shape))
    filled = fill(image, len(shape))
    for level in range(LEVELS):
        cut = (level + 0.5) / LEVELS
        assert np.array_equal(filled > cut, binary_fill_holes(image > cut))


@pytest.mark.parametrize("shape", SHAPES)
@given(data=st.data(), voxels=st.integers(1, 12))
def test_despeckling_is_binary_at_every_threshold(
    shape: tuple[int, ...], data: st.DataObject, voxels: int
) -> None:
    image = data.draw(maps(shape))
    clean = despeckle(image, voxels, len(shape))
    for level in range(LEVELS):
        cut = (level + 0.5) / LEVELS
        assert np.array_equal(clean > cut, large(image > cut, voxels))


def test_images_along_leading_axes_are_filtered_separately() -> None:
    image = np.random.default_rng(1).random((2, 3, 8, 9)).astype(np.float32)
    for function in (lambda a: fill(a, 2), lambda a: despeckle(a, 4, 2), lambda a: components(a, 0.5, 2)):
        together = function(image)
        for index in np.ndindex(2, 3):
            assert np.array_equal(together[index], function(image[index]))


def test_the_input_is_never_modified() -> None:
    image = np.random.default_rng(2).random((6, 7, 8)).astype(np.float32)
    before = image.copy()
    for function in (lambda a: fill(a, 3), lambda a: despeckle(a, 4, 3), lambda a: components(a, 0.5, 3)):
        function(image)
        assert np.array_equal(image, before)


def test_components_are_numbered_by_size_and_chosen() -> None:
    image = np.zeros((7, 12))
    image[1, 1] = image[3, 1:4] = image[5, 1:8] = 0.9
    image[6, 8] = 0.6  # touches the last one by a corner
    labels = components(image, 0.5, 2)
    assert [int((labels == k).sum()) for k in range(4)] == [image.size - 12, 8, 3, 1]
    assert set(components(image, 0.5, 2, largest=2).ravel()) == {0, 1, 2}
    assert set(components(image, 0.5, 2, voxels=3).ravel()) == {0, 1, 2}
    assert (components(image, 0.7, 2) == 1).sum() == 7
