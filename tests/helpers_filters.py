"""Makes filters of an operation, settings and parameters, and runs them."""

from __future__ import annotations

from typing import Any

from softmorph_cli.filters.filter import Report, SoftFilter
from softmorph_cli.filters.operations import OPERATIONS
from softmorph_cli.filters.operations.morphological import Morphology, TwoElements
from softmorph_cli.filters.settings import Result, Settings

_BY_TITLE = {one.title: one for one in OPERATIONS.values() if issubclass(one, Morphology)}
MORPHOLOGY = tuple(_BY_TITLE)


def made(
    operation: str,
    settings: Settings | None = None,
    *,
    erosion: int | None = None,
    dilation: int | None = None,
    **own: Any,
) -> SoftFilter:
    """Return a filter.

    Args:
        operation: As it is typed, or as a noun: "erosion".
        settings: How it runs.
        erosion: Connectivity of the erosion, of morphological operations.
        dilation: Of the dilation.
        **own: The operation's own parameters.
    """
    chosen = _BY_TITLE.get(operation) or OPERATIONS[operation]
    if issubclass(chosen, TwoElements):
        own |= {"erosion_connectivity": erosion, "dilation_connectivity": dilation}
    elif issubclass(chosen, Morphology):
        own["connectivity"] = erosion if dilation is None else dilation
    assert issubclass(chosen, SoftFilter)
    kept = {name: value for name, value in own.items() if value is not None}
    return chosen(**vars(settings or Settings()), **kept)


def thinning(
    image: Any, settings: Settings | None = None, progress: Report | None = None, **own: Any
) -> Result:
    """Return the result of skeletonizing an image."""
    return made("skeletonize", settings, **own)(image, progress)


def applied(rule: Any, image: Any, settings: Settings | None = None, **own: Any) -> Result:
    """Return the result of applying a rule to an image."""
    return made("apply", settings, rule=rule, **own)(image)
