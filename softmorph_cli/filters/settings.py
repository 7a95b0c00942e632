"""What a caller can choose about how a filter runs, whatever the filter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from softmorph_cli.errors import UsageError
from softmorph_cli.filters import method as methods
from softmorph_cli.kernels.bitplanes import check_count, word_of


@dataclass(frozen=True)
class Progress:
    """How far a filter is; passed to the callback after every sub-iteration.

    Attributes:
        operation: What is running, for people.
        iteration: The iteration under way, from 1.
        iterations: How many there will be, or None until nothing changes.
        changed: Voxels that the last sub-iteration altered (for levels: in any of them); None of erosions and
            dilations, several of which are done at once.
        part: Which image, level or group of levels this is, from 1.
        parts: How many of them there are.
    """

    operation: str
    iteration: int
    iterations: int | None
    changed: int | None
    part: int
    parts: int


@dataclass(frozen=True)
class Settings:
    """How a filter runs.

    Attributes:
        method: Name of a method; None for the filter's own, see `softmorph_cli.filters.defaults`.
        levels: For `levels` and `sampled`: how many binary images; 8, 16, 32 or a multiple of 64.
        smooth_levels: For `smooth-levels`: how many levels.
        sharpness: For `smooth-levels`: steepness of the sigmoid on the logit scale.
        seed: For `sampled`.
        tolerance: For the step-by-step methods without a number of iterations: stop when one iteration's
            summed change is at most this share of the input's sum.
        max_iterations: A cap that ends runaways.
        device: "auto", "cpu", "cuda" or "cuda:N".
        threads: On the CPU; None for as many as the machine allows.
        progress: Called after every sub-iteration.
    """

    method: str | None = None
    levels: int = 64
    smooth_levels: int = 16
    sharpness: float = 20.0
    seed: int = 0
    tolerance: float = 0.02
    max_iterations: int = 1000
    device: str = "auto"
    threads: int | None = None
    progress: Callable[[Progress], None] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Refuse what is wrong whatever the image.

        Raises:
            UsageError: If a value is out of range.
        """
        if self.method is not None:
            methods.find(self.method)
        check_count(self.levels)
        for name, value, low in (
            ("smooth-levels", self.smooth_levels, 1),
            ("max-iterations", self.max_iterations, 1),
            ("tolerance", self.tolerance, 0),
        ):
            if not value >= low:
                raise UsageError(f"--{name} {value}: at least {low} is needed.")
        if not 0 < self.sharpness < float("inf"):
            raise UsageError(f"--sharpness {self.sharpness}: it must be positive and finite.")

    def resolved(self, default: str) -> Settings:
        """Return the settings with a method: their own, or a default where they have none."""
        return self if self.method is not None else replace(self, method=default)

    def relevant(self, *, until_stable: bool) -> dict[str, float]:
        """Return the settings that the method listens to, by the names they are typed with.

        Args:
            until_stable: Whether the filter runs without a number of iterations.
        """
        match methods.find(self.method).family:
            case methods.Family.LEVELS:
                chosen: dict[str, float] = {"levels": self.levels}
            case methods.Family.SAMPLES:
                chosen = {"levels": self.levels, "seed": self.seed}
            case methods.Family.SMOOTH_LEVELS:
                chosen = {"smooth_levels": self.smooth_levels, "sharpness": self.sharpness}
            case _:
                chosen = {}
        if until_stable:
            chosen["max_iterations"] = self.max_iterations
            if methods.find(self.method).family in (methods.Family.STEPWISE, methods.Family.SMOOTH_LEVELS):
                chosen["tolerance"] = self.tolerance
        return chosen

    def as_dict(self) -> dict[str, Any]:
        """Return the method and what it can listen to: all that a result depends on."""
        return {"method": methods.find(self.method).name, **self.relevant(until_stable=True)}

    def bytes_per_voxel(self, itemsize: int) -> int:
        """Return what a CPU run holds for each voxel of the image under way, beside the image itself.

        Args:
            itemsize: Bytes of one probability.
        """
        match None if self.method is None else methods.find(self.method).family:
            case methods.Family.LEVELS | methods.Family.SAMPLES:
                # The packed planes, the two buffers that take turns, and the sum.
                return 3 * word_of(self.levels).itemsize + 2 * itemsize
            case methods.Family.STEPWISE | None:
                # Two buffers, and the result.
                return 3 * itemsize
            case _:
                return 7 * itemsize

    def idle(self, *, until_stable: bool) -> list[str]:
        """Return the names of settings that were changed but that the method does not listen to."""
        heard = self.relevant(until_stable=until_stable)
        numbers = ("levels", "seed", "smooth_levels", "sharpness", "tolerance", "max_iterations")
        return [
            name for name in numbers if name not in heard and getattr(self, name) != getattr(Settings, name)
        ]


@dataclass(frozen=True)
class Result:
    """What a filter gives back.

    Attributes:
        image: Of the input's kind, shape and floating-point type; uint8 0 and 1 from a hard skeleton.
        standard_error: Of the same shape, from `sampled` only: the standard error of each voxel's mean.
        iterations: How many ran (the largest number, where images or levels differ).
        stop_reason: "iterations" (as many as asked for), "stable" (nothing changed), "tolerance" (the change
            became small) or "max_iterations" (the cap was reached).
        radius: The radius reached along each axis, where one was asked for, in the unit of the spacing.
        device: What it ran on: "cpu", "cuda:0", ...
        warnings: What a person should know about this result.
    """

    image: Any
    standard_error: Any = None
    iterations: int = 0
    stop_reason: str = "iterations"
    radius: tuple[float, ...] | None = None
    device: str = "cpu"
    warnings: tuple[str, ...] = ()


def warn_if_capped(result: Result, settings: Settings) -> Result:
    """Return the result with a warning if the cap ended it."""
    if result.stop_reason != "max_iterations":
        return result
    capped = f"stopped at the cap of {settings.max_iterations} iterations before it came to rest."
    return replace(result, warnings=(*result.warnings, capped))
