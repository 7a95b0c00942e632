import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softmorph_cli.skeleton import radii as module
from softmorph_cli.skeleton.frame import Frame
from softmorph_cli.skeleton.radii import radii, surface
from softmorph_cli.volume import Volume


def frame(dims: int = 3, spacing: tuple[float, ...] = (2.0, 0.5, 0.5)) -> Frame:
    return Frame.of(Volume(np.zeros((2,) * dims, np.float32), "ZYX"[-dims:], spacing[-dims:], "mm"))


def plain_surface(image: np.ndarray, threshold: float, where: Frame) -> np.ndarray:
    """Go from voxel to voxel: the independent side of the comparison."""
    found = []
    for axis in range(image.ndim):
        for index in np.ndindex(image.shape):
            other = tuple(i + (k == axis) for k, i in enumerate(index))
            if other[axis] < image.shape[axis] and (image[index] > threshold) != (image[other] > threshold):
                place = np.array(index, float)
                place[axis] += (threshold - float(image[index])) / (float(image[other]) - float(image[index]))
                found.append(where.world(place))
    return np.array(sorted(map(tuple, found))).reshape(-1, 3)


@pytest.mark.parametrize("shape", [(9, 7), (5, 6, 7), (1, 4, 4), (6, 1, 1)])
@pytest.mark.parametrize("block", [1, 40, 2**22])
def test_the_surface_is_where_each_pair_of_voxels_crosses(
    shape: tuple[int, ...], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    image = np.random.default_rng(3).random(shape).astype(np.float32)
    where = frame(len(shape))
    found = surface(image, 0.4, where)
    expected = plain_surface(image, 0.4, where)
    assert len(found) == len(expected) > 0
    assert np.array(sorted(map(tuple, found))) == pytest.approx(expected, abs=1e-12)


@given(st.floats(1.2, 6.0), st.floats(0.2, 0.8))
def test_a_ball_has_its_radius(radius: float, threshold: float) -> None:
    grid = np.stack(np.meshgrid(*[np.arange(17.0)] * 3, indexing="ij"), axis=-1)
    distance = np.linalg.norm(grid - 8, axis=-1)
    # The threshold is crossed at the radius, whatever it is.
    image = np.clip(threshold + (radius - distance) / 20, 0, 1).astype(np.float32)
    ask = radii(image, threshold, frame(spacing=(1.0, 1.0, 1.0)))
    assert ask is not None
    assert ask(np.array([[8, 8, 8]]))[0] == pytest.approx(radius, abs=0.12)


def test_a_line_one_voxel_wide_has_radius_one_half() -> None:
    image = np.zeros((7, 20), np.float32)
    image[3] = 1
    ask = radii(image, 0.5, frame(2, (1.0, 1.0)))
    assert ask is not None
    assert ask(np.array([[3, 5], [3, 19]])) == pytest.approx([0.5, 0.5])


def test_beside_the_axis_the_radius_is_still_that_of_the_tube() -> None:
    # A tube four voxels wide has its axis between voxels.
    image = np.zeros((12, 40), np.float32)
    image[4:8] = 1
    ask = radii(image, 0.5, frame(2, (1.0, 1.0)))
    assert ask is not None
    assert ask(np.array([[5, 20], [6, 20]])) == pytest.approx([2.0, 2.0])


def test_outside_the_radius_is_zero_and_without_a_surface_it_is_unknown() -> None:
    image = np.zeros((7, 20), np.float32)
    image[3] = 1
    ask = radii(image, 0.5, frame(2, (1.0, 1.0)))
    assert ask is not None
    assert ask(np.array([[0, 5]]))[0] == 0
    for value in (0, 1):
        assert radii(np.full((5, 5), value, np.float32), 0.5, frame(2)) is None


def test_radii_are_in_the_unit_of_the_world() -> None:
    image = np.zeros((9, 9, 9), np.float32)
    image[:, 3:6, 3:6] = 1
    ask = radii(image, 0.5, frame())
    assert ask is not None
    assert ask(np.array([[4, 4, 4]]))[0] == pytest.approx(0.75)
