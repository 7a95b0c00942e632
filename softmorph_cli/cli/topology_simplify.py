"""softmorph topology simplify."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from softmorph_cli.cli import filtering
from softmorph_cli.cli.options import Input, Output, Writing
from softmorph_cli.cli.topology_repair import read_back
from softmorph_cli.errors import NotReachedError, UsageError
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.pipeline.steps.simplifying import Simplify, left_over
from softmorph_cli.system.parameters import check_all, declared


@dataclass(frozen=True, kw_only=True)
class SimplifyOptions:
    """The options of `softmorph topology simplify` for the bars that are cancelled."""

    panel: ClassVar = "Topology"

    persistence: Annotated[float | None, declared(Simplify)["persistence"].about] = None
    connectivity: Annotated[int | None, declared(Simplify)["connectivity"].about] = None

    def __post_init__(self) -> None:
        """Check the values of the options."""
        check_all(self)
        if self.persistence is None:
            raise UsageError("say what is cancelled: --persistence 0.1 for all that lasts for less than 0.1.")


@dataclass(frozen=True, kw_only=True)
class PartOfMap(ReadOptions):
    """The options of reading a map that is written as a whole, even if only a region of it is simplified."""

    region: Annotated[str | None, replace(declared(Simplify)["region"].about, group="Topology")] = None


def simplify(
    source: Input,
    target: Output,
    *,
    options: SimplifyOptions,
    reading: PartOfMap,
    writing: Writing,
) -> None:
    """Cancel the components, loops and cavities of a map that last for less than a given persistence.

    As the threshold is lowered, each appears at its birth, and at its death it meets an older one or is filled; birth
    - death is its persistence. Components and cavities (in 2D holes) are all cancelled, by lowering and filling;
    loops in 3D as far as a search finds changes. Where some are left, OUT is written all the same, they are counted
    as OUT stores them, and the exit status is 3. No value changes by more than the persistence, besides the rounding
    of a file that holds integers.
    """
    step = Simplify(persistence=options.persistence, connectivity=options.connectivity, region=reading.region)
    reading = replace(reading, region=None)
    filtering.run("topology simplify", [step], source, target, reading, writing)
    # The step has counted what the file should hold; this is what it holds. Of --argmax it holds labels.
    if not writing.argmax:
        grid = filtering.read_volume(source, reading)
        left = step.short(read_back(target, grid, writing.output_type), grid)
        if any(left):
            raise NotReachedError(f"{target}: {left_over(left, step.length)}")
