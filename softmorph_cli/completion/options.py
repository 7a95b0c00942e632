"""The options of shape priors that need no network: those of a training, and those of every fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from softmorph_cli.errors import UsageError
from softmorph_cli.system.parameters import Parameter, at_least, check_all, named

ACTIVATIONS: Final = ("sine", "wire", "relu")
DEVICE: Final = Parameter(
    "Where it is computed: auto, cpu, cuda or cuda:N; auto takes cuda if there is one.", "NAME"
)
SEED: Final = Parameter("Seed of all random numbers.", "N", check=at_least(0), least=0)


def _box_sides(text: str) -> tuple[float, ...] | None:
    if text.strip().lower() == "auto":
        return None
    try:
        sides = tuple(float(part) for part in text.lower().replace("x", ",").split(","))
    except ValueError:
        sides = ()
    if len(sides) not in (2, 3) or not all(0 < side < float("inf") for side in sides):
        raise UsageError(
            f"{named('box')} {text!r}: give auto, or the lengths of its sides, such as 100,120,120."
        )
    return sides


def _activation(name: str, value: str) -> None:
    if value not in ACTIVATIONS:
        raise UsageError(f"{named(name)} {value!r}: use {', '.join(ACTIVATIONS)}.")


def _held_out(name: str, value: float) -> None:
    if not 0 <= value <= 0.5:
        raise UsageError(f"{named(name)} {value:g}: the share of the subjects is 0 to 0.5.")


@dataclass(frozen=True)
class TrainingOptions:
    """The settings of a training, which are the options of `softmorph prior train` too.

    Attributes:
        subjects: The number of subjects that each step draws; all, where there are fewer. Of more than 24 times as many
            subjects a 24th is drawn, with as many voxels in all.
        points: The number of voxels that each step draws of each of them.
    """

    panel: ClassVar = "Training"

    steps: Annotated[int, Parameter("Steps of the training.", "N", check=at_least(1), least=1)] = 2400
    seed: Annotated[int, SEED] = 0
    width: Annotated[
        int, Parameter("Values of a layer, and of a latent vector.", "N", check=at_least(1), least=1)
    ] = 64
    layers: Annotated[int, Parameter("Layers of the network.", "N", check=at_least(1), least=1)] = 5
    activation: Annotated[
        str,
        Parameter(
            f"Activation of the layers: {', '.join(ACTIVATIONS)}; wire is that of the published network.",
            "NAME",
            check=_activation,
        ),
    ] = "sine"
    box: Annotated[
        tuple[float, ...] | None,
        Parameter(
            "Sides of the prior's box in mm (or voxels), in the order of the array axes, such as 100,120,120; auto is "
            "the smallest box that holds all maps. (default: auto)",
            "auto|SIDES",
            parse=_box_sides,
        ),
    ] = None
    validate: Annotated[
        float,
        Parameter(
            "Share of the maps that is held out: they choose the steps of a fit, and make the printed table.",
            "SHARE",
            check=_held_out,
        ),
    ] = 0.15
    device: Annotated[str, DEVICE] = "auto"
    subjects: Annotated[int, Parameter("Maps that a step draws.", check=at_least(1), shell=False)] = 16
    points: Annotated[int, Parameter("Voxels that a step draws of each.", check=at_least(1), shell=False)] = (
        256
    )

    def __post_init__(self) -> None:
        """Check the parameters.

        Raises:
            UsageError: If a parameter is out of range.
        """
        check_all(self)
