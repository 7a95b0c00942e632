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
    """Betti numbers of the mask of each prior, before and after.

    Attributes:
        scopes: "region", if there is one, and "whole map"; the priors are of the first.
        before: Of the input, by scope.
        after: Of the result or its file, by scope.
    """

    scopes: tuple[str, ...]
    before: dict[str, tuple[Betti, ...]]
    after: dict[str, tuple[Betti, ...]]

    @classmethod
    def of(
        cls, before: npt.NDArray[Any], after: npt.NDArray[Any], priors: Sequence[Prior], repairer: Repairer
    ) -> Certificate:
        """Count the Betti numbers of two maps, channels first: the input, and the result or its file."""
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
        """The Betti numbers of the result in the scope of the priors."""
        return self.after[self.scopes[0]]

    def reached(self, priors: Sequence[Prior]) -> bool:
        """Return whether the result has the Betti numbers of the priors."""
        return all(betti.numbers == prior.betti for betti, prior in zip(self.asked, priors, strict=True))

    def as_list(self, priors: Sequence[Prior]) -> list[dict[str, Any]]:
        """Return the JSON of each prior."""
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
    """Return how many voxels crossed the threshold, by prior, and how much the probabilities changed."""
    pairs = zip(repairer.masks(before, priors), repairer.masks(after, priors), strict=True)
    flipped = [int(np.count_nonzero(one != other)) for one, other in pairs]
    squared = float(np.mean(np.square(after - before), dtype=np.float64))
    return {"voxels_flipped": flipped, **change(before, after), "mean_squared": squared}
