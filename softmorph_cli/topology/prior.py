"""What topology is asked for: Betti numbers, which have to fit the map's axes."""

from __future__ import annotations

from collections.abc import Sequence

from softmorph_cli.errors import InputError

NAMES = ("b0", "b1", "b2")


def check_prior(prior: Sequence[int], dims: int) -> tuple[int, ...]:
    """Return a prior that fits a map of so many spatial axes.

    Args:
        prior: b0, b1 and, in 3D, b2.
        dims: 2 or 3.

    Raises:
        InputError: If there are more or fewer numbers than the map has axes, or one is negative.
    """
    asked = ",".join(map(str, prior))
    if len(prior) != dims:
        names = ",".join(NAMES[:dims])
        example = ",".join(["1", "0", "0"][:dims])
        raise InputError(
            f"the prior {asked} has {len(prior)} Betti numbers, and a map of {dims} axes has {dims} ({names}): "
            f"write for example {example}."
        )
    if min(prior) < 0:
        raise InputError(f"the prior {asked} has a negative number; Betti numbers count things: 0, 1, 2, ...")
    return tuple(prior)
