"""The labels that a user gives by name or number, in the two images of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence

from softmorph_cli.errors import InputError
from softmorph_cli.io import select
from softmorph_cli.metrics.evaluation_inputs import Opened
from softmorph_cli.system.parameters import named
from softmorph_cli.system.printable import meant


def numbers(prediction: Opened, reference: Opened, labels: Sequence[int | str]) -> tuple[int, ...]:
    """Return labels as numbers; a name is one that the prediction or the reference gives to a class.

    Args:
        prediction: The opened prediction.
        reference: The opened reference.
        labels: Numbers and names.

    Raises:
        InputError: If no class has a name; the message lists those that have one.
    """
    known = {name: label for one in (reference, prediction) for label, name in one.names.items() if label}
    found = []
    for label in labels:
        if isinstance(label, str) and label not in known:
            raise InputError(f"{prediction.path} and {reference.path} {_unknown(label, known)}")
        found.append(known[label] if isinstance(label, str) else label)
    return tuple(found)


def _unknown(label: str, known: Sequence[str] | dict[str, int]) -> str:
    if not known:
        return (
            f"give their classes no names, so none is called {label!r}: choose one by its number, such as "
            f"{named('label', 1)}."
        )
    first = next(iter(known))
    such = select.named_text("label", first)
    return f"have no class {label!r}{meant(label, known)}; they have {', '.join(known)}: choose one, such as {such}."
