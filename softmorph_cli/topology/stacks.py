"""Small maps of one shape are stacked to one map, whose bars are theirs: a call for each would take longer.

Behind each map there is a plane of zeros, so that nothing above 0 of one map touches another one, and the surroundings
of each are those of the stack.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from softmorph_cli.topology.patches import Place
from softmorph_cli.topology.persistence import Diagram, diagrams

# Voxels of a stack; larger maps are stacks of one.
_VOXELS: Final = 1 << 15


@dataclass(frozen=True)
class Stack:
    """Parts of images, all of one shape and with Betti numbers for the same dimensions.

    Attributes:
        image: The parts, one behind the other along the first axis, with a plane of zeros behind each; or one part.
        height: Number of planes from the start of a part to the start of the next one.
        parts: The index of each part, shape (N,).
        wanted: Betti numbers of each part, -1 for any number; shape (N, d).
        starts: What is to be added to the index of a voxel in `image` to get that in the array of all images, shape
            (N, 1 + d).
    """

    image: npt.NDArray[Any]
    height: int
    parts: npt.NDArray[np.int64]
    wanted: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]

    @classmethod
    def of_all(
        cls, images: npt.NDArray[Any], pieces: Sequence[tuple[int, Place]], wanted: npt.NDArray[np.int64]
    ) -> Iterator[Stack]:
        """Yield all parts of images, as stacks.

        Args:
            images: Images, shape (N, Y, X) or (N, Z, Y, X).
            pieces: For each part the index of its image and its place there.
            wanted: Betti numbers of each part, -1 for any number; shape (number of parts, d).
        """
        alike: dict[Any, list[int]] = {}
        for part, (number, place) in enumerate(pieces):
            key = images[number][place].shape, tuple(wanted[part] < 0)
            alike.setdefault(key, []).append(part)
        for (shape, _), parts in alike.items():
            together = max(1, _VOXELS // max(1, math.prod(shape)))
            for first in range(0, len(parts), together):
                chosen = np.array(parts[first : first + together])
                yield cls._of(images, [pieces[part] for part in chosen], chosen, wanted[chosen])

    @classmethod
    def _of(
        cls,
        images: npt.NDArray[Any],
        pieces: Sequence[tuple[int, Place]],
        parts: npt.NDArray[np.int64],
        wanted: npt.NDArray[np.int64],
    ) -> Stack:
        maps = [images[number][place] for number, place in pieces]
        height = len(maps[0]) + 1
        if len(maps) == 1:
            image = maps[0]
        else:
            image = np.zeros((len(maps), height, *maps[0].shape[1:]), images.dtype)
            np.stack(maps, out=image[:, :-1])
            image = image.reshape(-1, *image.shape[2:])
        starts = np.array([[number, *(along.start or 0 for along in place)] for number, place in pieces])
        starts[:, 1] -= height * np.arange(len(maps))
        return cls(image, height, parts, wanted, starts)

    def ends(
        self, connectivity: int | None, min_length: float, threads: int
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[Any]]]:
        """Yield the ends of the bars with a loss, of each dimension.

        Args:
            connectivity: Connectivity of the foreground, or None for the default.
            min_length: Minimum length of bars beyond those that are wanted.
            threads: Number of threads.

        Yields:
            The indices of the voxels of births and deaths in the array of all images, shape (2, M, 1 + d), the last one
            -1 for a death at 0; the index of each bar's part; and the sign of its squared length in the loss, -1 for
            the bars that are wanted and 1 for others.
        """
        for dimension, found in self._diagrams(connectivity, threads):
            owner = found.birth_at[:, 0] // self.height
            # Bars come by falling length. In this order they come part by part, and by falling length in each.
            order = np.argsort(owner, kind="stable")
            owner = owner[order]
            rank = np.arange(len(owner)) - np.searchsorted(owner, owner)
            sought = rank < self.wanted[owner, dimension]
            kept = sought | (found.length[order] >= min_length)
            order, owner = order[kept], owner[kept]
            at = np.stack([found.birth_at[order], found.death_at[order]])
            inside = at[..., :1] >= 0
            at = np.concatenate([np.zeros_like(at[..., :1]), at], axis=-1) + self.starts[owner]
            yield np.where(inside, at, -1), self.parts[owner], np.where(sought[kept], -1, 1)

    def _diagrams(self, connectivity: int | None, threads: int) -> Iterator[tuple[int, Diagram]]:
        """Return each dimension whose number is not any, with its bars."""
        asked = [dimension for dimension, number in enumerate(self.wanted[0]) if number >= 0]
        return zip(asked, diagrams(self.image, asked, connectivity, threads), strict=True)
