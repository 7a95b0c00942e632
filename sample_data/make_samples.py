"""Make the sample maps of this folder: `python make_samples.py [FOLDER]`.

Deterministic: the retina photograph ships with scikit-image, everything random is seeded. README.md says what
the files are, where they come from and under which licence.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import SimpleITK
import skimage
import tifffile
from scipy import ndimage
from scipy.special import expit
from skimage.filters import sato

Floats = npt.NDArray[np.float64]

SEED = 5
# The tree: voxels (z, y, x) and their size in mm; the cube is 64 mm wide.
SHAPE = (80, 128, 128)
SPACING = (0.8, 0.5, 0.5)
# Radii in mm. Below the smallest one a vessel could fall between the voxel centres and break.
ROOT_RADIUS, SMALLEST_RADIUS = 3.0, 0.62
# Vessels that are no neighbours in the tree keep this distance, so that none of them touch above 0.5.
CLEARANCE = 2.2
EDGE_SOFTNESS = 0.3
LEVELS = 1024


def retina_vessels() -> npt.NDArray[np.uint16]:
    """Return vessel probabilities of scikit-image's retina photograph, scaled by 65535.

    Shape (705, 705): half the size of the photograph. Vessels are dark in the green channel; a ridge filter
    of several scales (Sato et al. 1998) finds them, a sigmoid turns ridge strength into a probability, and
    short ridges that stand alone - what a trained network would not have called a vessel - lose theirs.
    """
    photograph = skimage.data.retina().astype(np.float64)
    height = photograph.shape[0] // 2 * 2
    half = photograph[:height, :height].reshape(height // 2, 2, height // 2, 2, 3).mean(axis=(1, 3))
    green = half[..., 1]
    inside = ndimage.binary_fill_holes(ndimage.gaussian_filter(half[..., 0], 2) > 40)
    inside = ndimage.binary_erosion(inside, iterations=3)

    # Divide by the local brightness, computed from pixels inside alone, and continue it outside: no dark rim.
    weight = ndimage.gaussian_filter(inside.astype(np.float64), 12) + 1e-6
    background = ndimage.gaussian_filter(green * inside, 12) / weight
    flat = np.where(inside, green / np.maximum(background, 1), 1.0)
    ridges = sato(flat, sigmas=(1.0, 1.5, 2.0, 3.0, 4.0), black_ridges=True, mode="reflect")

    depth = ndimage.distance_transform_edt(inside)
    logit = (ridges - 0.032) / 0.0085
    candidates, _ = ndimage.label(logit > -1, np.ones((3, 3)))
    sizes = np.bincount(candidates.ravel())
    sizes[0] = 0
    lonely = ndimage.gaussian_filter((sizes[candidates] < 260).astype(np.float64), 1.0)
    certainty = 4 * np.tanh(logit / 4)  # no more certain than 0.98, as networks are
    probability = expit(certainty - 5 * lonely) * expit((depth - 6) / 1.5)
    probability[~inside | (probability < 0.01)] = 0
    return np.asarray(np.rint(probability * 65535), np.uint16)


@dataclass(frozen=True)
class Branch:
    """A curved vessel: `points` (n, 3) along its axis in mm (z, y, x) and the radius at each, in mm."""

    points: Floats
    radii: Floats


def murray(parent: float, share: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return (radius, angle to the parent in radians) of both daughters of a vessel.

    Murray's law (1926): the cubes of the daughters' radii add up to the cube of the parent's; `share` is the
    smaller daughter's part. The angles are those of least work for these radii.
    """
    small, large = parent * share ** (1 / 3), parent * (1 - share) ** (1 / 3)

    def angle(one: float, other: float) -> float:
        cosine = (parent**4 + one**4 - other**4) / (2 * parent**2 * one**2)
        return math.acos(min(1.0, max(-1.0, cosine)))

    return (small, angle(small, large)), (large, angle(large, small))


def grow_tree(random: np.random.Generator) -> list[Branch]:
    """Grow a tree of branches, the widest first.

    Each branch starts on its parent's end and keeps its distance from all others, so there are no loops; one
    that finds no room is left out.
    """
    size = np.array(SHAPE) * SPACING
    tree: list[Branch] = []
    root = (np.array([0.08, 0.48, 0.42]) * size, _unit(np.array([0.9, 0.1, 0.2])), ROOT_RADIUS, -1)
    waiting: list[tuple[Floats, Floats, float, int]] = [root]
    while waiting:
        waiting.sort(key=lambda item: -item[2])
        start, direction, radius, parent = waiting.pop(0)
        branch = _place(random, tree, start, direction, radius, parent, size)
        if branch is None:
            continue
        tree.append(branch)
        heading = _unit(branch.points[-1] - branch.points[-4])
        sideways = _unit(np.cross(heading, random.normal(size=3)))
        share = random.uniform(0.15, 0.48)
        for (child, angle), side in zip(murray(branch.radii[-1], share), (1, -1), strict=True):
            if child >= SMALLEST_RADIUS:
                turned = math.cos(angle) * heading + side * math.sin(angle) * sideways
                waiting.append((branch.points[-1], turned, child, len(tree) - 1))
    return tree


def _place(
    random: np.random.Generator,
    tree: list[Branch],
    start: Floats,
    direction: Floats,
    radius: float,
    parent: int,
    size: Floats,
) -> Branch | None:
    """Try many lengths and bends; of those inside and clear, return the one that ends most alone."""
    best, most_room = None, 0.0
    for attempt in range(40):
        length = (3.4 + 4.0 * radius) * random.uniform(0.8, 1.25) * (1 - attempt / 80)
        # A quadratic curve that leaves along `direction` and ends off it, by more when room is scarce.
        bend = random.normal(size=3) * (0.20 + 0.01 * attempt)
        middle = start + 0.5 * length * direction
        end = start + length * _unit(direction + bend)
        t = np.linspace(0, 1, math.ceil(length / 0.2) + 4)[:, None]
        points = (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end
        radii = radius * (1 - 0.06 * t[:, 0])
        if _inside(points, radii, size) and _clear(points, radii, tree, parent):
            room = min(
                (float(np.linalg.norm(b.points - points[-1], axis=1).min()) for b in tree), default=1.0
            )
            if room > most_room:
                best, most_room = Branch(points, radii), room
    return best


def _inside(points: Floats, radii: Floats, size: Floats) -> bool:
    margin = radii[:, None] + 1.5
    return bool(np.all(points > margin) and np.all(points < size - margin))


def _clear(points: Floats, radii: Floats, tree: list[Branch], parent: int) -> bool:
    for index, other in enumerate(tree):
        mine, width, theirs, other_width = points, radii, other.points, other.radii
        # Relatives touch where they part: what lies within reach of that point is not looked at.
        if index == parent or np.array_equal(other.points[0], points[0]):
            far = np.linalg.norm(points - points[0], axis=1) > 2 * other.radii.max() + CLEARANCE
            mine, width = points[far], radii[far]
        gaps = np.linalg.norm(mine[:, None] - theirs[None], axis=2) - width[:, None] - other_width[None]
        if gaps.size and gaps.min() < CLEARANCE:
            return False
    return True


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / np.linalg.norm(vector), np.float64)


def vessel_tree() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Return the probability map (z, y, x) of a vascular tree, in steps of 1/1024, and the mask of the tree itself.

    The logit falls linearly with the distance from the vessel's surface, is disturbed by smooth noise and
    levels off at +-4.5; so thin vessels are less certain than thick ones, as a network's are.
    """
    random = np.random.default_rng(SEED)
    distance = signed_distance(grow_tree(random))
    noise = ndimage.gaussian_filter(random.normal(size=SHAPE), sigma=(1.2, 2.0, 2.0))
    logit = -distance / EDGE_SOFTNESS + 0.35 * noise / noise.std()
    probability = np.rint(expit(4.5 * np.tanh(logit / 4.5)) * LEVELS) / LEVELS
    probability[(distance > 2.0) | (probability < 0.015)] = 0
    return np.asarray(probability, np.float32), np.asarray(distance < 0, np.uint8)


def signed_distance(tree: list[Branch]) -> Floats:
    """Return the distance in mm of each voxel centre from the nearest vessel's surface, negative inside.

    Right within 2.5 mm of a vessel; farther away it is merely large.
    """
    distance = np.full(SHAPE, 100.0)
    spacing = np.array(SPACING)
    axes = [np.arange(n) * s for n, s in zip(SHAPE, SPACING, strict=True)]
    for branch in tree:
        for point, radius in zip(branch.points, branch.radii, strict=True):
            low = np.maximum(np.floor((point - radius - 2.5) / spacing).astype(int), 0)
            high = np.ceil((point + radius + 2.5) / spacing).astype(int) + 1
            box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
            z, y, x = (axis[part] - p for axis, part, p in zip(axes, box, point, strict=True))
            to_axis = np.sqrt(z[:, None, None] ** 2 + y[None, :, None] ** 2 + x[None, None, :] ** 2)
            distance[box] = np.minimum(distance[box], to_axis - radius)
    return distance


def tree_affine() -> Floats:
    """Return the 4 x 4 matrix from voxel index (x, y, z) to mm (RAS+) of an oblique scan."""
    a, b = math.radians(14), math.radians(-9)
    about_x = np.array([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])
    about_z = np.array([[math.cos(b), -math.sin(b), 0], [math.sin(b), math.cos(b), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_x @ np.diag(SPACING[::-1])
    affine[:3, 3] = (-31.5, -40.0, 12.25)
    return affine


def write_samples(folder: Path) -> None:
    """Write every sample into `folder`, replacing what is there."""
    retina = retina_vessels()
    SimpleITK.WriteImage(
        SimpleITK.GetImageFromArray(retina),
        folder / "retina_vessels.png",
        useCompression=True,
        compressionLevel=9,
    )
    tifffile.imwrite(
        folder / "retina_vessels.tif",
        retina,
        compression="zlib",
        predictor=True,
        compressionargs={"level": 9},
    )
    probability, truth = vessel_tree()
    for array, name, described in (
        (probability, "vessel_tree.nii.gz", b"softmorph sample: vessel probability"),
        (truth, "vessel_tree_truth.nii.gz", b"softmorph sample: vessels"),
    ):
        image: Any = nibabel.Nifti1Image(array.T, tree_affine())
        image.header.set_xyzt_units("mm")
        image.set_sform(tree_affine(), code="scanner")
        image.set_qform(tree_affine(), code="scanner")
        image.header["descrip"] = described
        nibabel.save(image, folder / name)


if __name__ == "__main__":
    write_samples(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
