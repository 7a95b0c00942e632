"""Drawn short-axis hearts: labels and intensities that are functions of space, for tests and examples.

No heart of a patient is among them. Each is drawn from random numbers: a left ventricle that narrows
towards the apex, its myocardium, and a right ventricle beside it, in a box whose axes run from base to apex
(z), down (y) and across (x), each from 0 to 1. As functions of space they can be sampled on any grid, also a
finer, an anisotropic or an oblique one.

>>> from softmorph_cli.completion import hearts
>>> images, labels = hearts.cohort(count=2, seed=0, shape=(8, 16, 16))
>>> images.shape, labels.dtype, sorted(set(labels.ravel().tolist()))
((2, 8, 16, 16), dtype('uint8'), [0, 1, 2, 3])
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.uint8]

# The labels 1, 2 and 3; 0 is the background.
CLASSES = ("left ventricle", "myocardium", "right ventricle")
SHAPE = (16, 32, 32)
# Points along y and x in each voxel, whose mean is the voxel's intensity.
_SUBSAMPLES = 3
_NOISE = 0.05


@dataclass(frozen=True)
class Heart:
    """One drawn heart. Lengths are parts of the box, angles are radians, intensities are before scaling.

    Attributes:
        centre: Centre (y, x) of the left ventricle at half the height.
        tilt: Shift (y, x) of that centre from the first to the last slice.
        radius: Radius of the left ventricle's cavity near the base.
        wall: Thickness of the myocardium near the base.
        elongation: Ratio by which the cavity is longer along its own axis than a circle.
        turn: Direction of that axis.
        apex: Height z where the left ventricle ends.
        base: Height z where it begins; below 0 the first slice cuts it.
        taper: Exponent of the narrowing towards the apex.
        right_direction: Direction of the right ventricle from the left one.
        right_radius: Radius of the right ventricle near the base.
        right_distance: Distance of its centre from the left ventricle's.
        right_end: Height z where it ends.
        right_taper: Exponent of its narrowing.
        intensities: Mean intensity of the background and of the three classes.
        seed: Seed of the texture and of the noise.
    """

    centre: tuple[float, float]
    tilt: tuple[float, float]
    radius: float
    wall: float
    elongation: float
    turn: float
    apex: float
    base: float
    taper: float
    right_direction: float
    right_radius: float
    right_distance: float
    right_end: float
    right_taper: float
    intensities: tuple[float, float, float, float]
    seed: int

    def labels_at(self, points: npt.ArrayLike) -> Labels:
        """The labels at points of the box.

        Args:
            points: (..., 3) coordinates z, y, x; the box is 0 to 1 along each, other values lie outside it.

        Returns:
            (...) of 0 (background), 1, 2 and 3 in the order of `CLASSES`. Where two overlap, the left
            ventricle stands before the myocardium, and that before the right ventricle.
        """
        z, y, x = np.moveaxis(np.asarray(points, np.float64), -1, 0)
        centre_y = self.centre[0] + self.tilt[0] * (z - 0.5)
        centre_x = self.centre[1] + self.tilt[1] * (z - 0.5)
        cosine, sine = np.cos(self.turn), np.sin(self.turn)
        along = (cosine * (x - centre_x) + sine * (y - centre_y)) * self.elongation
        across = (cosine * (y - centre_y) - sine * (x - centre_x)) / self.elongation
        distance = np.hypot(along, across)
        # 1 near the base and 0 at the apex.
        height = np.clip((self.apex - z) / (self.apex - 0.1), 0, 1.1)
        # The cavity ends before the wall does: the apex is closed.
        cavity = np.where(z > self.apex - 0.06, 0, self.radius * height**self.taper)
        outside = cavity + self.wall * np.minimum(height, 1) ** 0.3
        within = (z > self.base) & (z < self.apex)
        right_height = np.clip((self.right_end - z) / (self.right_end - 0.1), 0, 1.05)
        right_distance = np.hypot(
            y - centre_y - np.sin(self.right_direction) * self.right_distance,
            x - centre_x - np.cos(self.right_direction) * self.right_distance,
        )
        right = (right_distance < self.right_radius * right_height**self.right_taper) & (z > self.base - 0.05)
        classes = [within & (distance < cavity), within & (distance < outside), right & (z < self.right_end)]
        return np.select(classes, [np.uint8(1), np.uint8(2), np.uint8(3)], np.uint8(0))

    def intensity_at(self, points: npt.ArrayLike) -> Floats:
        """The intensities at points of the box, without noise.

        Each class has one intensity, the background a smooth texture; a weak smooth field multiplies both.

        Args:
            points: (..., 3) coordinates z, y, x, as for `labels_at`.

        Returns:
            (...) intensities, about 0 to 1.
        """
        points = np.asarray(points, np.float64)
        rng = np.random.default_rng(self.seed)
        texture = _smooth_field(rng, (2, 4, 4))
        field = 1 + 1.5 * _smooth_field(rng, (8, 12, 12))
        background = self.intensities[0] + 0.12 * _interpolated(texture / texture.std(), points)
        labels = self.labels_at(points)
        values = np.where(labels == 0, background, np.asarray(self.intensities)[labels])
        return np.asarray(values * _interpolated(field, points))


def draw_heart(rng: np.random.Generator) -> Heart:
    """A heart from random numbers.

    Args:
        rng: Where they come from.

    Returns:
        The heart.
    """
    draw = rng.uniform
    return Heart(
        centre=(draw(0.45, 0.55), draw(0.50, 0.60)),
        tilt=(draw(-0.10, 0.10), draw(-0.10, 0.10)),
        radius=draw(0.13, 0.20),
        wall=draw(0.055, 0.10),
        elongation=draw(0.9, 1.12),
        turn=draw(0, np.pi),
        apex=draw(0.80, 0.97),
        base=draw(-0.15, 0.12),
        taper=draw(0.45, 0.75),
        right_direction=np.pi + draw(-0.35, 0.35),
        right_radius=draw(0.19, 0.28),
        right_distance=draw(0.17, 0.24),
        right_end=draw(0.55, 0.85),
        right_taper=draw(0.5, 0.9),
        intensities=_intensities(rng),
        seed=int(rng.integers(1 << 31)),
    )


def centres(shape: tuple[int, int, int]) -> Floats:
    """The centres of a grid's voxels.

    Args:
        shape: Numbers of slices, rows and columns; the grid fills the box.

    Returns:
        (Z, Y, X, 3) coordinates from 0 to 1.
    """
    axes = [(np.arange(size) + 0.5) / size for size in shape]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def sample(heart: Heart, shape: tuple[int, int, int] = SHAPE) -> tuple[npt.NDArray[np.float32], Labels]:
    """Image and labels of a heart on a grid that fills the box.

    A voxel's label is that of its centre; its intensity is the mean over the voxel in its slice, slightly
    blurred, with noise.

    Args:
        heart: The heart.
        shape: Numbers of slices, rows and columns.

    Returns:
        (Z, Y, X) intensities from 0 to 1, and (Z, Y, X) labels.
    """
    from scipy.ndimage import gaussian_filter

    Z, Y, X = shape
    fine = heart.intensity_at(centres((Z, Y * _SUBSAMPLES, X * _SUBSAMPLES)))
    image = fine.reshape(Z, Y, _SUBSAMPLES, X, _SUBSAMPLES).mean((2, 4))
    # Another stream than the texture's, which the seed alone begins.
    noise = np.random.default_rng((heart.seed, 1)).normal(size=shape)
    image = gaussian_filter(image, (0, 0.5, 0.5)) + _NOISE * noise
    image = (image - image.min()) / (image.max() - image.min())
    return image.astype(np.float32), heart.labels_at(centres(shape))


def cohort(
    count: int, seed: int, shape: tuple[int, int, int] = SHAPE
) -> tuple[npt.NDArray[np.float32], Labels]:
    """Images and labels of several hearts.

    Args:
        count: How many, at least 1.
        seed: Equal seeds give equal hearts; a larger cohort begins with those of a smaller one.
        shape: Numbers of slices, rows and columns.

    Returns:
        (count, Z, Y, X) intensities from 0 to 1, and (count, Z, Y, X) labels.
    """
    rng = np.random.default_rng(seed)
    pairs = [sample(draw_heart(rng), shape) for _ in range(count)]
    return np.stack([image for image, _ in pairs]), np.stack([labels for _, labels in pairs])


def _intensities(rng: np.random.Generator) -> tuple[float, float, float, float]:
    left, right = rng.uniform(0.75, 0.95), rng.uniform(0.7, 0.9)
    myocardium, background = rng.uniform(0.22, 0.38), rng.uniform(0.1, 0.3)
    return background, left, myocardium, right


def _smooth_field(rng: np.random.Generator, width: tuple[float, float, float]) -> Floats:
    """White noise on the grid of `SHAPE`, blurred by a Gaussian whose widths are in voxels of that grid."""
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(rng.normal(size=SHAPE), width))


def _interpolated(field: Floats, points: Floats) -> Floats:
    """A field on the grid of `SHAPE`, linear between its voxels' centres and constant outside of them."""
    from scipy.ndimage import map_coordinates

    at = np.moveaxis(points * np.asarray(SHAPE) - 0.5, -1, 0)
    return np.asarray(map_coordinates(field, at, order=1, mode="nearest"))
