"""The certificate of a repair: Betti numbers before and after, and how much the map changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from softmorph_cli.metrics.statistics import change
from softmorph_cli.topology.betti import Betti
from softmorph_cli.topology.prior import Prior
from softmorph_cli.topology.repair import Repairer


@dataclass(frozen=True)
class Certificate:
    """Betti numbers of the mask of each topological prior, before and after a repair.

    Attributes:
        scopes: Parts of the map that are counted: "region", if only a region was repaired, and "whole map". The priors
            apply to the first scope.
        before: Betti numbers of the input map: for each scope a tuple with one entry per prior.
        after: Betti numbers of the repaired map, or of the file that stores it, in the same layout as `before`.
    """

    scopes: tuple[str, ...]
    before: dict[str, tuple[Betti, ...]]
    after: dict[str, tuple[Betti, ...]]

    @classmethod
    def of(
        cls, before: npt.NDArray[Any], after: npt.NDArray[Any], priors: Sequence[Prior], repairer: Repairer
    ) -> Certificate:
        """Return the certificate of a repair: count the Betti numbers of the map before and after.

        Args:
            before: The input map, with the channel axis first.
            after: The repaired map, or the map read back from its file, with the channel axis first.
            priors: The Betti numbers that each channel or union of channels should have.
            repairer: The parameters of the repair, which give the threshold, the connectivity and the region.
        """
        boxes: dict[str, tuple[slice, ...]] = {"whole map": ()}
        if repairer.region is not None:
            boxes = {"region": repairer.region, **boxes}

        def counted(array: npt.NDArray[Any]) -> dict[str, tuple[Betti, ...]]:
            return {
                scope: repairer.betti_numbers(array[(slice(None), *box)], priors)
                for scope, box in boxes.items()
            }

        return cls(tuple(boxes), counted(before), counted(after))

    @property
    def asked(self) -> tuple[Betti, ...]:
        """The Betti numbers of the repaired map, one entry per prior, in the scope to which the priors apply."""
        return self.after[self.scopes[0]]

    def reached(self, priors: Sequence[Prior]) -> bool:
        """Return whether the repaired map has the Betti numbers that the priors ask for."""
        return not any(prior.off(betti.numbers) for betti, prior in zip(self.asked, priors, strict=True))

    def as_list(self, priors: Sequence[Prior]) -> list[dict[str, Any]]:
        """Return a JSON object for each prior: channels, requested numbers (null: any), those before and after."""
        return [
            {
                "channels": list(prior.channels),
                "betti": list(prior.betti),
                **{
                    scope.replace(" ", "_"): {
                        "before": list(self.before[scope][k].numbers),
                        "after": list(self.after[scope][k].numbers),
                    }
                    for scope in self.scopes
                },
            }
            for k, prior in enumerate(priors)
        ]


def changes(
    before: npt.NDArray[Any], after: npt.NDArray[Any], priors: Sequence[Prior], repairer: Repairer
) -> dict[str, Any]:
    """Return how much a repair changed a map, as a JSON object.

    `voxels_flipped` is the number of voxels that crossed the threshold, for each prior; `sum_abs`, `max_abs` and
    `mean_squared` describe the change of the probabilities.
    """
    pairs = zip(repairer.masks(before, priors), repairer.masks(after, priors), strict=True)
    flipped = [int(np.count_nonzero(one != other)) for one, other in pairs]
    squared = float(np.mean(np.square(after - before), dtype=np.float64))
    return {"voxels_flipped": flipped, **change(before, after), "mean_squared": squared}
