"""Where the voxels of a map lie in the box of a shape prior: world positions become coordinates from 0 to 1.

A shape prior knows space as a box: the same lengths for all subjects, with the axes of their arrays. The middle of a
subject's grid lies in the middle of the box, and lengths are those of the world. So grids may differ in their number of
voxels, voxel size and position from subject to subject, and any other grid in the world of a subject, finer or oblique,
has its place in the box too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import numpy.typing as npt

from softmorph_cli.errors import InputError
from softmorph_cli.system.parameters import named
from softmorph_cli.system.units import MILLIMETRES
from softmorph_cli.volume import Volume

VOXELS = "voxels"
# A grid may exceed the box by this share of the box: sizes in headers are rounded.
_TOLERANCE = 1e-3

Matrix = npt.NDArray[np.float64]


class SizelessError(InputError):
    """A map that does not say how large its voxels are; the arguments are this fact, and what to do."""

    def __str__(self) -> str:
        """Return both as one sentence."""
        return ": ".join(map(str, self.args))


@dataclass(frozen=True)
class Grid:
    """The voxels of a map: how many, and where each lies in the world.

    Attributes:
        shape: The number of voxels along each spatial axis, in array order: (Y, X) or (Z, Y, X).
        affine: 4 x 4 matrix from array index (z, y, x, 1) to the world (x, y, z, 1), in `unit`; in 2D z is 0.
        oriented: Whether the directions in the world are known; else array axes are axes of the world.
        unit: "mm", or "voxels", or None where files state no unit.
    """

    shape: tuple[int, ...]
    affine: Matrix
    oriented: bool
    unit: str | None

    @classmethod
    def of(cls, volume: Volume, voxels: bool = False) -> Grid:
        """Return the grid of a map.

        Args:
            volume: A map; lengths in nm and µm are converted to mm, and those without a unit stay as they are: they are
                compared with the prior's as if the units were the same.
            voxels: Whether lengths are counted in voxels, and what the file says about them is not used.

        Raises:
            InputError: If the map has neither a voxel size nor an affine, and `voxels` is false.

        >>> Grid.of(Volume(np.zeros((4, 6), np.float32), "YX", spacing=(2.0, 1.0), unit="mm")).extents.tolist()
        [8.0, 6.0]
        """
        dims = volume.spatial_dims
        shape = volume.array.shape[-dims:]
        if voxels:
            return cls(shape, _upright((1.0,) * dims), False, VOXELS)
        unit = "mm" if volume.unit in MILLIMETRES else None
        if volume.affine is not None:
            return cls(shape, volume.affine, True, unit)
        if volume.spacing is not None:
            in_mm = MILLIMETRES.get(volume.unit or "", 1.0)
            return cls(shape, _upright([size * in_mm for size in volume.spacing]), False, unit)
        name = "the map" if volume.source is None else str(volume.source.path)
        raise SizelessError(
            f"{name} does not say how large its voxels are",
            f"add {named('voxels', True)} to count lengths in voxels, which have to be of one size in all maps of a "
            "prior.",
        )

    @property
    def dims(self) -> int:
        """The number of spatial axes: 2 or 3."""
        return len(self.shape)

    @property
    def steps(self) -> Matrix:
        """The step of one voxel along each array axis in the world, of shape (dims, 3)."""
        return self.affine[:3, 3 - self.dims : 3].T

    @property
    def extents(self) -> Matrix:
        """The length of the grid along each array axis, voxels included to their edges."""
        lengths: Matrix = np.linalg.norm(self.steps, axis=1)
        return lengths * self.shape

    @property
    def middle(self) -> Matrix:
        """The position of the middle of the grid in the world, of shape (3,)."""
        half = (np.array(self.shape) - 1) / 2
        middle: Matrix = half @ self.steps + self.affine[:3, 3]
        return middle


def _upright(sizes: Sequence[float]) -> Matrix:
    """Return the affine of voxels of these sizes, in array order, whose axes are those of the world."""
    affine = np.eye(4)[[2, 1, 0, 3]]
    affine[:3, :3] *= ([1.0] * (3 - len(sizes))) + list(sizes)
    return affine


@dataclass(frozen=True)
class Frame:
    """The axes of the box in the world of a subject.

    Attributes:
        middle: The position of the middle of the box, of shape (3,).
        directions: A unit vector along each axis of the box, of shape (dims, 3).
        order: The array axis of the subject's grid that lies along each axis of the box.
        flipped: Whether that array axis runs against the axis of the box.
        unit: The unit of lengths, as in `Grid`.
    """

    middle: Matrix
    directions: Matrix
    order: tuple[int, ...]
    flipped: tuple[bool, ...]
    unit: str | None

    @classmethod
    def of(cls, grid: Grid, directions: Sequence[Sequence[float]] | None = None) -> Frame:
        """Return the frame of a subject: the axes of its array in the order and sense of those of the prior.

        Args:
            grid: The grid of the subject's map.
            directions: Directions of the axes of the prior, of shape (dims, 3). The axes of the array are exchanged and
                turned round so that they lie as near to them as they can. If the directions are None, or those of the
                grid are not known, the axes of the array are taken as they are.
        """
        sides = grid.steps / np.linalg.norm(grid.steps, axis=1, keepdims=True)
        order, signs = tuple(range(grid.dims)), np.ones(grid.dims)
        if directions is not None and grid.oriented:
            along = np.asarray(directions) @ sides.T

            def agreement(order: tuple[int, ...]) -> float:
                return sum(abs(float(along[k, axis])) for k, axis in enumerate(order))

            # Of equally good orders the first: the one of the array.
            order = max(permutations(range(grid.dims)), key=lambda order: round(agreement(order), 6))
            signs = np.array([-1.0 if along[k, axis] < 0 else 1.0 for k, axis in enumerate(order)])
        flipped = tuple(bool(sign < 0) for sign in signs)
        return cls(grid.middle, sides[list(order)] * signs[:, None], order, flipped, grid.unit)

    @property
    def as_stored(self) -> bool:
        """Whether the axes of the box are those of the array, in their order and sense."""
        return self.order == tuple(range(len(self.order))) and not any(self.flipped)


@dataclass(frozen=True)
class Coordinates:
    """The coordinates of the voxels of a grid in the box, which are computed where they are needed.

    Attributes:
        shape: The number of voxels along each array axis.
        matrix: The change of the coordinates by a step along each array axis, of shape (axes, dims).
        offset: The coordinates of the first voxel, of shape (dims,).
    """

    shape: tuple[int, ...]
    matrix: Matrix
    offset: Matrix

    @property
    def size(self) -> int:
        """The number of voxels."""
        return math.prod(self.shape)

    def at(self, flat: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        """Return the coordinates of voxels, given by flat indices of shape (N,), in an array of shape (N, dims)."""
        indices = np.stack(np.unravel_index(flat, self.shape), axis=-1)
        return (indices @ self.matrix + self.offset).astype(np.float32)


@dataclass(frozen=True)
class Box:
    """The space of a prior.

    Attributes:
        size: The lengths of the sides, in the order of the array axes of the prior's maps.
        unit: "mm", "voxels", or None where files state no unit.
    """

    size: tuple[float, ...]
    unit: str | None

    @classmethod
    def around(cls, grids: Sequence[Grid]) -> Box:
        """Return the smallest box that holds all grids, whose axes are taken as they are stored."""
        longest = np.max([grid.extents for grid in grids], axis=0)
        return cls(tuple(float(f"{length:.9g}") for length in longest), grids[0].unit)

    def check(self, grid: Grid, frame: Frame, name: str = "the map") -> None:
        """Refuse the grid of a subject that does not fit into the box.

        Raises:
            InputError: If the grid has another number of axes, other units, or is larger than the box.
        """
        if grid.dims != len(self.size):
            raise InputError(
                f"{name} has {grid.dims} spatial axes, and the prior has {len(self.size)}: use a prior of maps in "
                f"{grid.dims}D."
            )
        if (grid.unit == VOXELS) != (self.unit == VOXELS):
            counted = VOXELS if self.unit == VOXELS else "lengths"
            raise InputError(
                f"the prior counts in {counted}: "
                f"{'add' if self.unit == VOXELS else 'leave out'} {named('voxels', True)} for {name}."
            )
        extents = grid.extents[list(frame.order)]
        if (extents > np.array(self.size) * (1 + _TOLERANCE)).any():
            unit = self.unit or "units of length"
            raise InputError(
                f"{name} measures {_sizes(extents)} {unit}, which is larger than the prior's box of "
                f"{_sizes(self.size)} {unit}: cut it to that size around the object, or train a prior with a "
                f"larger {named('box')}."
            )

    def coordinates(self, grid: Grid, frame: Frame) -> Coordinates:
        """Return the coordinates of the voxels of a grid in the box of a subject.

        Args:
            grid: Any grid in the world of the subject: its own, a finer one, an oblique plane.
            frame: The frame of the subject.

        >>> one = Grid.of(Volume(np.zeros((2, 4), np.float32), "YX", spacing=(3.0, 1.0)))
        >>> Box((12.0, 4.0), None).coordinates(one, Frame.of(one)).at(np.array([0, 7])).tolist()
        [[0.375, 0.125], [0.625, 0.875]]
        """
        to_box = np.linalg.pinv(frame.directions) / np.array(self.size)
        matrix = grid.steps @ to_box
        offset = (grid.affine[:3, 3] - frame.middle) @ to_box + 0.5
        return Coordinates(grid.shape, matrix, offset)


def _sizes(lengths: Sequence[float] | Matrix) -> str:
    return " x ".join(f"{length:.4g}" for length in lengths)
