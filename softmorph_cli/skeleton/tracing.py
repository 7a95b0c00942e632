"""The parameters with which the centreline of an image is traced, for the function, the command and steps alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

from softmorph_cli.errors import InputError, UsageError
from softmorph_cli.filters.filter import COMMAND
from softmorph_cli.filters.settings import Settings
from softmorph_cli.system import lengths
from softmorph_cli.system.parameters import Parameter, declared, named

if TYPE_CHECKING:
    from softmorph_cli.filters.settings import Progress
    from softmorph_cli.skeleton import analyse
    from softmorph_cli.volume import Volume


def _whole(value: str | int) -> int:
    """Return a number of levels; the option is a text, as in the filters, where it may be `exact`."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise UsageError(f"{named('levels')} {value}: give a whole number, 8, 16, 32, 64, or 0 for none.")
    return int(value)


@dataclass(frozen=True, kw_only=True)
class CurveOptions:
    """The options of an inspection for the voxels of the curve (skeleton) and the pruning of branches."""

    kind: Annotated[
        str | None,
        Parameter(
            "Whether IN is a map or a skeleton. (default: skeleton if softmorph wrote it as one, else map)",
            "map|skeleton",
            flags=("--as",),
        ),
    ] = None
    threshold: Annotated[
        float | None,
        Parameter(
            "A voxel above it is foreground; of a nested skeleton the nearest level is taken. (default: 0.5, of"
            " a skeleton by another method 0.25)",
            "P",
        ),
    ] = None
    resample: Annotated[
        str | None,
        Parameter(
            "iso: first interpolate a map to cubic voxels of the finest spacing; images are on that grid.",
            "iso",
        ),
    ] = None
    prune: Annotated[
        str | None,
        Parameter(
            "Remove spurs shorter than this, such as 2mm, 300um or 4vox, one after another; radius: those"
            " shorter than the vessel's radius where they leave it. (default: none)",
            "LENGTH|radius",
            first=True,
        ),
    ] = None
    prune_cycles: Annotated[
        str | None,
        Parameter("Remove this branch of every cycle. (default: cycles stay)", "shortest|least-certain"),
    ] = None
    root: Annotated[
        str | None,
        Parameter(
            "Where the tree begins, for generations, Strahler orders and angles: the end of the widest branch of each"
            " component, the node nearest to a place, or a branch by its number. (default: no tree)",
            "widest|x,y,z|BRANCH",
        ),
    ] = None
    levels: Annotated[
        int,
        Parameter(
            "Level sets of the soft skeleton that is measured along the curve: 8, 16, 32, 64; 0 for none. Fewer"
            " take less memory.",
            "N",
            parse=_whole,
        ),
    ] = 64
    threads: Annotated[int | None, replace(declared(Settings)["threads"].about, group=None)] = None


class Tracing:
    """The checked parameters with which the centreline of an image is traced."""

    def __init__(
        self, *, kind: str | None, prune: float | str | None, resample: str | None, **choices: Any
    ) -> None:
        """Check the arguments, which are the arguments of `inspect`.

        Raises:
            UsageError: If an argument is wrong whatever the image.
        """
        from softmorph_cli.skeleton.analyse import Choices

        text = isinstance(prune, str) and prune != "radius"
        self.length = lengths.parse(str(prune), named("prune")) if text else None
        self.choices = Choices(
            kind=kind or "map",
            prune=prune if isinstance(prune, int | float) else 0.0,
            prune_inside=prune == "radius",
            **choices,
        )
        if resample not in (None, "iso"):
            raise UsageError(f"{named('resample')} {resample}: only iso is known.")
        self.kind, self.prune, self.resample = kind, prune, resample

    @property
    def of_map(self) -> bool:
        """Whether the image is a map, not a skeleton."""
        return self.choices.kind == "map"

    def settle(self, volume: Volume) -> Sequence[str]:
        """Determine whether an image is a map or a skeleton, unless the user stated it; return notes on that."""
        from softmorph_cli.io import select
        from softmorph_cli.skeleton import image_kind

        kind, notes = (self.kind, ()) if self.kind else image_kind.kind_of(select.single(volume))
        self.choices = replace(self.choices, kind=kind)
        if self.resample is not None and not self.of_map:
            raise UsageError(f"{named('resample', 'iso')} goes with a map: a skeleton would come out broken.")
        return notes

    def check_reference(self) -> None:
        """Check that the image is a skeleton, as a second image (the map) is accepted for skeletons only.

        Raises:
            UsageError: If the image is a map.
        """
        if self.of_map:
            raise UsageError(
                f"{named('map')} goes with a skeleton: add {named('kind', 'skeleton', option='as')}, or leave it out."
            )

    def run(
        self,
        volume: Volume,
        reference: Volume | None = None,
        progress: Callable[[Progress], None] | None = None,
        stage: Callable[[str], None] = lambda name: None,
        place: str = COMMAND,
    ) -> analyse.Inspection:
        """Trace and measure the centreline of an image, after `settle`; arguments as for `skeleton.analyse.inspect`.

        Warnings advise what can be typed at `place`, see `Filter.concerns`.

        Raises:
            InputError: If the volume holds several images, or a parameter does not fit the image.
        """
        from softmorph_cli.filters.operations.skeletonize import uneven
        from softmorph_cli.filters.resample import isotropic
        from softmorph_cli.io import select
        from softmorph_cli.skeleton import analyse
        from softmorph_cli.skeleton.frame import Frame

        volume, choices = select.single(volume), self.choices
        warnings = uneven(volume, place, "inspect") if self.of_map and self.resample is None else []
        if self.resample is not None:
            if volume.spacing is None:
                raise InputError(
                    f"the image does not say how large its voxels are: leave out {named('resample', 'iso')}."
                )
            made, source = isotropic(volume), volume.source
            # The header of the file is that of another grid.
            volume = (
                made if source is None else replace(made, source=replace(source, header=None, provenance={}))
            )
        if self.length is not None:
            choices = replace(choices, prune=Frame.of(volume).length_of(self.length))
        found = analyse.inspect(volume, choices, reference=reference, progress=progress, stage=stage)
        parameters = {**found.parameters, "prune": self.prune, "resample": self.resample}
        return replace(found, parameters=parameters, warnings=(*found.warnings, *warnings))
