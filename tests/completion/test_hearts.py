"""Drawn hearts: what they are made of, on every grid."""

import numpy as np
import pytest
from scipy.ndimage import label

from softmorph_cli.completion.hearts import CLASSES, Heart, centres, cohort, draw_heart, sample

# One whose places are known: a round left ventricle about (.5, .6), the right one to its left, upright.
PLAIN = Heart(
    centre=(0.5, 0.6),
    tilt=(0.0, 0.0),
    radius=0.15,
    wall=0.1,
    elongation=1.0,
    turn=0.0,
    apex=0.9,
    base=0.0,
    taper=0.5,
    right_direction=np.pi,
    right_radius=0.2,
    right_distance=0.2,
    right_end=0.7,
    right_taper=0.7,
    intensities=(0.2, 0.9, 0.3, 0.8),
    seed=0,
)


def test_labels_at_places_calculated_by_hand() -> None:
    # At z = .1 every radius has its stated value: cavity .15, wall up to .25, right ventricle .2 about x = .4.
    points = [(0.1, 0.5, x) for x in (0.1, 0.25, 0.36, 0.46, 0.6, 0.74, 0.76, 0.84, 0.86)]
    assert PLAIN.labels_at(points).tolist() == [0, 3, 2, 1, 1, 1, 2, 2, 0]
    # Half the way to the apex the cavity has sqrt(1/2) of its radius: .106.
    assert PLAIN.labels_at([(0.5, 0.5, 0.70), (0.5, 0.5, 0.71)]).tolist() == [1, 2]
    # The apex is wall without a cavity; beyond it there is nothing.
    assert PLAIN.labels_at([(0.85, 0.5, 0.6), (0.91, 0.5, 0.6)]).tolist() == [2, 0]


def test_a_finer_and_an_oblique_grid_show_the_same_heart() -> None:
    coarse, fine = (PLAIN.labels_at(centres(shape)) for shape in ((8, 16, 16), (24, 48, 48)))
    # With three times the voxels, the middle one of each three lies at the coarse voxel's centre.
    assert np.array_equal(fine[1::3, 1::3, 1::3], coarse)
    # Cubes of edge 1.8 about the box's centre hold the heart in any direction.
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    upright = 1.8 * (centres((36, 36, 36)) - 0.5)
    volumes = [np.bincount(PLAIN.labels_at(grid + 0.5).ravel())[1:] for grid in (upright, upright @ turn)]
    np.testing.assert_allclose(volumes[0], volumes[1], rtol=0.1)
    np.testing.assert_allclose(PLAIN.intensity_at([(0.3, 0.5, 0.6)]), 0.9, rtol=0.05)


def test_each_heart_has_one_of_each_chamber_with_a_wall_around_the_left_one() -> None:
    images, labels = cohort(12, seed=5)
    assert images.shape == labels.shape == (12, 16, 32, 32)
    assert images.dtype == np.float32
    assert labels.dtype == np.uint8
    for image, truth in zip(images, labels, strict=True):
        assert (image.min(), image.max()) == (0, 1)
        # One piece each; a few voxels of the apex may be apart on so coarse a grid.
        for one in (1, 2, 3):
            pieces, _ = label(truth == one, np.ones((3, 3, 3)))
            assert np.bincount(pieces.ravel())[1:].max() >= 0.99 * (truth == one).sum(), CLASSES[one - 1]
        # No voxel of the left ventricle touches the background or the right ventricle within its slice.
        inside = truth == 1
        for axis in (1, 2):
            for step in (1, -1):
                assert not (inside & np.isin(np.roll(truth, step, axis), (0, 3))).any()
        means = [image[truth == one].mean() for one in range(4)]
        assert means[1] > means[2] + 0.2
        assert means[3] > means[2] + 0.2


def test_a_seed_states_the_hearts() -> None:
    images, labels = cohort(3, seed=2, shape=(4, 8, 8))
    again, _ = cohort(2, seed=2, shape=(4, 8, 8))
    others, _ = cohort(2, seed=3, shape=(4, 8, 8))
    assert np.array_equal(images[:2], again)
    assert not np.array_equal(again, others)
    assert not np.array_equal(labels[0], labels[1])
    image, _ = sample(draw_heart(np.random.default_rng(2)), (4, 8, 8))
    assert np.array_equal(image, images[0])


@pytest.mark.parametrize("one", [1, 2, 3])
def test_sizes_vary_from_heart_to_heart(one: int) -> None:
    _, labels = cohort(12, seed=0)
    sizes = (labels == one).sum((1, 2, 3))
    assert sizes.std() / sizes.mean() > 0.15
