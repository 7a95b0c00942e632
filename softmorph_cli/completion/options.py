"""The options of shape priors that need no network: those of a training, and those of every fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from softmorph_cli.errors import UsageError
from softmorph_cli.system.parameters import DEVICES, Check, Parameter, at_least, check_all, named

ACTIVATIONS: Final = ("sine", "wire", "relu")
# What is measured beside each other on hidden slices.
METHODS: Final = ("prior", "logit", "linear")
# The key of measures on held-out images among the settings of a training that a prior states.
HELD_OUT: Final = "held_out_images"
DEVICE: Final = Parameter(
    "Where it is computed: auto, cpu, cuda or cuda:N; auto takes cuda if there is one.",
    "NAME",
    words=DEVICES,
)
# Larger networks are no shape priors, and files of priors state no larger seed.
WIDEST: Final = 4096
MOST_LAYERS: Final = 256
LARGEST_SEED: Final = 2**63 - 1


def _within(least: int, most: int) -> Check:
    """Return a check that raises `UsageError` for a number that is not between two others."""

    def check(name: str, value: int) -> None:
        if not least <= value <= most:
            raise UsageError(f"{named(name)} {value}: give {least} to {most}.")

    return check


SEED: Final = Parameter("Seed of all random numbers.", "N", check=_within(0, LARGEST_SEED), least=0)


# Lengths between which the sides of a box lie, in its unit.
LEAST_SIDE: Final = 1e-12
LARGEST_SIDE: Final = 1e12
_SIDES: Final = "give auto, or the lengths of its 2 or 3 sides, such as 100,120,120."


def _box_sides(text: str) -> tuple[float, ...] | None:
    if text.strip().lower() == "auto":
        return None
    try:
        sides = tuple(float(part) for part in text.lower().replace("x", ",").split(","))
    except ValueError:
        sides = ()
    if not _are_sides(sides):
        raise UsageError(f"{named('box')} {text!r}: {_SIDES}")
    return sides


def _are_sides(sides: tuple[float, ...]) -> bool:
    return len(sides) in (2, 3) and all(LEAST_SIDE < side < LARGEST_SIDE for side in sides)


def _box(name: str, sides: tuple[float, ...] | None) -> None:
    if sides is not None and not _are_sides(sides):
        raise UsageError(f"{named(name)} {','.join(map(str, sides))}: {_SIDES}")


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
        subjects: The number of subjects that each step draws; all, where there are fewer. With more than 24 x
            `subjects` maps, a step draws 1/24 of them and fewer voxels of each; the total stays the same.
        points: The number of voxels that each step draws of each of them.
    """

    panel: ClassVar = "Training"

    steps: Annotated[int, Parameter("Steps of the training.", "N", check=at_least(1), least=1)] = 2400
    seed: Annotated[int, SEED] = 0
    width: Annotated[
        int, Parameter("Values of a layer, and of a latent vector.", "N", check=_within(1, WIDEST), least=1)
    ] = 64
    layers: Annotated[
        int, Parameter("Layers of the network.", "N", check=_within(1, MOST_LAYERS), least=1)
    ] = 5
    activation: Annotated[
        str,
        Parameter(
            f"Activation of the layers: {', '.join(ACTIVATIONS)}; wire is that of the published network.",
            "NAME",
            check=_activation,
            words=ACTIVATIONS,
        ),
    ] = "sine"
    box: Annotated[
        tuple[float, ...] | None,
        Parameter(
            "Sides of the prior's box in mm (or voxels), in the order of the array axes, such as 100,120,120; auto is "
            "the smallest box that holds all maps. (default: auto)",
            "auto|SIDES",
            check=_box,
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
