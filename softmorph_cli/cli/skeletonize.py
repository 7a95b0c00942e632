"""softmorph skeletonize."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from softmorph_cli.cli import filtering
from softmorph_cli.cli.command import command
from softmorph_cli.cli.options import Computing, Input, Output, Reading, Writing
from softmorph_cli.errors import InputError, UsageError

if TYPE_CHECKING:
    from softmorph_cli.filters.settings import Result, Settings
    from softmorph_cli.measure.statistics import Statistics
    from softmorph_cli.volume import Volume


@command
def skeletonize(
    source: Input,
    target: Output,
    *,
    iterations: Annotated[
        int | None,
        typer.Option(
            "--iterations",
            "-n",
            metavar="N",
            help="Exactly this many. (default: until nothing changes; cldice 10)",
            show_default=False,
        ),
    ] = None,
    hard: Annotated[
        bool,
        typer.Option(
            "--hard", help="Write the exact binary centreline of p > --threshold instead, as uint8 0 and 1."
        ),
    ] = False,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="Probability above which --hard counts a voxel as foreground. (default: 0.5)",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A paper's settings: softmorph-2d, softmorph-3d or cldice.",
            show_default=False,
        ),
    ] = None,
    resample: Annotated[
        str | None,
        typer.Option(
            metavar="iso",
            help="iso: first interpolate to cubic voxels of the finest spacing; OUT is on that grid.",
            show_default=False,
        ),
    ] = None,
    reading: Reading,
    computing: Computing,
    writing: Writing,
) -> None:
    """Soft skeleton: how certain it is that each voxel lies on the centreline.

    The default method thins 64 level sets at once and takes their mean; for one unbroken curve use --hard.
    """
    from softmorph_cli.filters.functions import check_hard, resolve_preset

    check_hard(hard, method=computing.method, preset=preset, iterations=iterations, threshold=threshold)
    method, iterations = resolve_preset(preset, computing.method, iterations)
    if iterations is not None and iterations < 1:
        raise UsageError(f"--iterations {iterations}: at least 1 is needed.")
    cut = 0.5 if threshold is None else threshold
    if not 0 <= cut < 1:
        raise UsageError(f"--threshold {cut:g}: it must be at least 0 and below 1.")
    if resample not in (None, "iso"):
        raise UsageError(f"--resample {resample}: only iso is known.")
    settings = filtering.settings_of(computing, method)

    def filter_volume(volume: Volume, settings: Settings) -> Result:
        from softmorph_cli.filters.functions import check_preset
        from softmorph_cli.filters.skeleton import thinning

        check_preset(preset, volume.spatial_dims)
        return thinning(
            volume.array,
            settings,
            iterations=iterations,
            hard=hard,
            threshold=cut,
            spatial_dims=volume.spatial_dims,
        )

    def prepare(volume: Volume) -> Volume:
        if resample is None:
            return volume
        if volume.spacing is None:
            raise InputError(
                f"{source} does not say how large its voxels are: --resample iso cannot be done."
            )
        from softmorph_cli.filters.resample import isotropic

        return isotropic(volume)

    def concerns(volume: Volume) -> list[str]:
        return [] if resample else filtering.uneven(volume)

    def remarks(before: Statistics, after: Statistics) -> list[str]:
        if hard or after.components_above_half <= before.components_above_half:
            return []
        return [
            "a soft skeleton is a map of certainty, and a threshold on it breaks lines: the components above 0.5 "
            "are pieces of curves. Add --hard for the exact, unbroken centreline."
        ]

    filtering.run(
        "skeletonize",
        source,
        target,
        filter_volume,
        settings=settings,
        parameters={
            "iterations": iterations,
            "hard": hard or None,
            "threshold": cut if hard else None,
            "preset": preset,
            "resample": resample,
        },
        reading=reading,
        writing=writing,
        mask=hard,
        until_stable=iterations is None and method != "cldice",
        prepare=prepare,
        concerns=concerns,
        remarks=remarks,
    )
