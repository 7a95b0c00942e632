"""What a repair made: Betti numbers of the result, or of its file, beside those of the input; how much changed."""

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
    """Betti numbers of each prior's mask, before and after.

    Attributes:
        scopes: Of what: the region where there is one, and the whole map; the first of them has the priors.
        before: By scope, of the input.
        after: By scope, of the result, or of what is in its file.
    """

    scopes: tuple[str, ...]
    before: dict[str, tuple[Betti, ...]]
    after: dict[str, tuple[Betti, ...]]

    @property
    def asked(self) -> tuple[Betti, ...]:
        """What the result has of that which the priors are of."""
        return self.after[self.scopes[0]]

    def reached(self, priors: Sequence[Prior]) -> bool:
        """Whether the result has what was asked for."""
        return all(betti.numbers == prior.betti for betti, prior in zip(self.asked, priors, strict=True))

    def as_list(self, priors: Sequence[Prior]) -> list[dict[str, Any]]:
        """Return what the JSON says of each prior."""
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


def certify(
    before: npt.NDArray[Any], after: npt.NDArray[Any], priors: Sequence[Prior], repairer: Repairer
) -> Certificate:
    """Count, in the region where there is one, and in the whole map.

    Args:
        before: The input's probabilities, the channels first.
        after: The result's, or its file's.
        priors: What was asked for.
        repairer: The parameters of the repair.
    """
    boxes: dict[str, tuple[slice, ...]] = {"whole map": ()}
    if repairer.region is not None:
        boxes = {"region": repairer.region, **boxes}

    def counted(array: npt.NDArray[Any]) -> dict[str, tuple[Betti, ...]]:
        return {
            scope: repairer.betti_numbers(array[(slice(None), *box)], priors) for scope, box in boxes.items()
        }

    return Certificate(tuple(boxes), counted(before), counted(after))


def changes(
    before: npt.NDArray[Any], after: npt.NDArray[Any], priors: Sequence[Prior], repairer: Repairer
) -> dict[str, Any]:
    """Return how much changed: voxels on the other side of the threshold, and the probabilities."""
    pairs = zip(repairer.masks(before, priors), repairer.masks(after, priors), strict=True)
    flipped = [int(np.count_nonzero(one != other)) for one, other in pairs]
    squared = float(np.mean(np.square(after - before), dtype=np.float64))
    return {"voxels_flipped": flipped, **change(before, after), "mean_squared": squared}
