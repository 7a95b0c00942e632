"""The step `repair`: the map is changed as little as need be until its mask has given Betti numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from softmorph_cli.filters.filter import Filter, Report
from softmorph_cli.filters.settings import Progress, Result
from softmorph_cli.io.options import ReadOptions
from softmorph_cli.pipeline.steps.repair_job import GoalParameters, MaskParameters, job_of
from softmorph_cli.system.parameters import declared

if TYPE_CHECKING:
    from softmorph_cli.kernels.level_sets import LevelSets
    from softmorph_cli.topology.betti import Betti
    from softmorph_cli.volume import Volume


@dataclass(frozen=True, kw_only=True)
class Repair(GoalParameters, MaskParameters, Filter):
    """A map with the topology of a prior, as by `softmorph topology repair`."""

    region: Annotated[
        str | None,
        replace(
            declared(ReadOptions)["region"].about,
            help="Change the map in this box only (in voxels, ends may be left out); the prior is that of the box.",
        ),
    ] = None
    # How the values are stored that the result has in its file; None before the last step.
    rounded: Any = None

    operation: ClassVar = "repair"
    cuts: ClassVar = True
    help: ClassVar = "Change the map as little as need be until its mask has given Betti numbers."
    examples: ClassVar = ()

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            UsageError: If a parameter is invalid for any image, or nothing is asked for.
        """
        super().__post_init__()
        self.check_goal(
            "repair needs Betti numbers, as in repair:betti=1,0,0, or of channels repair:priors=FILE.",
            "smooth",
        )

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters as in documents and provenance."""
        given = super().parameters
        found = {"lambda" if name == "weight" else name: value for name, value in given.items()}
        return {name: str(value) if isinstance(value, Path) else value for name, value in found.items()}

    @property
    def files(self) -> list[Path]:
        """The file of priors, if there is one."""
        return [] if self.priors is None else [self.priors]

    def settled(self, levels: LevelSets | Literal["exact"] | None) -> tuple[Self, tuple[str, ...]]:
        """Return the filter with the nearest of a map's exact levels as threshold, and a note on it."""
        return self._at_level(self.threshold, levels)

    def written_as(self, rounded: Callable[[Any], Any]) -> Self:
        """Return the filter for a result that is written: it has the Betti numbers after rounding too."""
        return replace(self, rounded=rounded)

    def run(self, volume: Volume, progress: Report | None = None) -> Result:
        """Return the repaired map; `shortfall` says where the Betti numbers were not reached."""
        more = {} if self.rounded is None else {"rounded": self.rounded}
        job = job_of(
            volume,
            self.asked,
            region=self.region,
            smooth=self.smooth,
            threshold=self.threshold,
            connectivity=self.connectivity,
            weight=self.weight,
            max_steps=self.max_steps,
            **more,
        )

        def report(step: int, most: int, numbers: Sequence[Betti]) -> None:
            if progress is not None:
                progress(Progress(self.operation, step, most, None, 1, 1))

        found = job.run(report)
        certificate = job.certificate(found.array)
        shortfall = None
        if not certificate.reached(job.priors):
            asked = "; ".join(prior.text for prior in job.priors)
            best = "; ".join(",".join(map(str, one.numbers)) for one in certificate.asked)
            shortfall = (
                f"repair: the Betti numbers {asked} were not reached ({found.stopped}); the best has {best}."
            )
        document = {
            "reached": shortfall is None,
            "stop_reason": found.stopped,
            "iterations": found.steps,
            "best_iteration": found.best_step,
            "change": job.changes(found.array),
            "certificate": {"priors": certificate.as_list(job.priors)},
        }
        return Result(
            found.array.reshape(volume.array.shape),
            iterations=found.steps,
            stop_reason=found.stopped,
            shortfall=shortfall,
            document=document,
        )
