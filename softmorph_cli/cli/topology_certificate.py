"""What a repair made: Betti numbers of the file, read back, beside those of the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from softmorph_cli.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    from softmorph_cli.topology.betti import Betti
    from softmorph_cli.topology.prior import Prior
    from softmorph_cli.topology.repair import Settings
    from softmorph_cli.volume import Volume


@dataclass(frozen=True)
class Certificate:
    """Betti numbers of each prior's mask, before and after.

    Attributes:
        scopes: Of what: the region where there is one, and the whole map; the first of them has the priors.
        before: By scope, of the input.
        after: By scope, of what is in the file.
    """

    scopes: tuple[str, ...]
    before: dict[str, tuple[Betti, ...]]
    after: dict[str, tuple[Betti, ...]]

    @property
    def asked(self) -> tuple[Betti, ...]:
        """What is in the file of that which the priors are of."""
        return self.after[self.scopes[0]]

    def reached(self, priors: Sequence[Prior]) -> bool:
        """Whether the file has what was asked for."""
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
    before: npt.NDArray[Any], after: npt.NDArray[Any], priors: Sequence[Prior], settings: Settings
) -> Certificate:
    """Count, in the region where there is one, and in the whole map.

    Args:
        before: The input's probabilities, the channels first.
        after: The file's.
        priors: What was asked for.
        settings: How the repair went.
    """
    from softmorph_cli.topology.repair import count

    boxes: dict[str, tuple[slice, ...]] = {"whole map": ()}
    if settings.region is not None:
        boxes = {"region": settings.region, **boxes}

    def counted(array: npt.NDArray[Any]) -> dict[str, tuple[Betti, ...]]:
        return {scope: count(array[(slice(None), *box)], priors, settings) for scope, box in boxes.items()}

    return Certificate(tuple(boxes), counted(before), counted(after))


def read_back(target: Path, written: Volume, output_type: str | None) -> npt.NDArray[Any]:
    """Return the probabilities that are in a file, the channels first.

    Args:
        target: The file.
        written: What was written.
        output_type: As what.

    Raises:
        InputError: If it holds something else.
    """
    from softmorph_cli.io import read

    # A bare array says neither what 1 is stored as nor which of its axes are of space.
    one = {"uint8": 255, "uint16": 65535}.get(output_type or "") if target.suffix.lower() == ".npy" else None
    try:
        back = read(target, divide_by=one)
    except InputError:
        back = read(target, divide_by=one, axes=written.axes)
    if back.array.size != written.array.size:
        raise InputError(
            f"{target} was read back as {back.array.shape} and written as {written.array.shape}."
        )
    return back.array.reshape(-1, *written.array.shape[-written.spatial_dims :])
