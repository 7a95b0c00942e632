"""The operations: name, parameters, help and examples of each; the modules of `filters` compute them.

To add an operation, define a class in one of these modules and, for a Python function, add a line to
`softmorph_cli.api.filters`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from softmorph_cli.errors import UsageError
from softmorph_cli.filters.filter import Filter
from softmorph_cli.filters.operations import components, interpolate, morphological, rules, skeletonize
from softmorph_cli.system.printable import meant

# In the order of --help.
OPERATIONS: Final[Mapping[str, type[Filter]]] = {
    one.operation: one
    for module in (skeletonize, morphological, rules, components, interpolate)
    for one in vars(module).values()
    if isinstance(one, type) and issubclass(one, Filter) and hasattr(one, "operation")
}


def find(name: str) -> type[Filter]:
    """Return an operation by its name.

    Raises:
        UsageError: If there is none; the message lists them.
    """
    if name not in OPERATIONS:
        raise UsageError(
            f"there is no operation {name!r}{meant(name, OPERATIONS)}; use {', '.join(OPERATIONS)}."
        )
    return OPERATIONS[name]


def from_json(document: Mapping[str, Any]) -> Filter:
    """Return the filter of a document from `Filter.as_json`.

    Raises:
        UsageError: If the document describes no filter.
    """
    given = dict(document)
    return find(given.pop("operation"))(**given)


__all__ = [
    "OPERATIONS",
    "components",
    "find",
    "from_json",
    "interpolate",
    "morphological",
    "rules",
    "skeletonize",
]
