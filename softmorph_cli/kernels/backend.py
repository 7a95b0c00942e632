"""What every device has to offer, and which one serves a request."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

from softmorph_cli.compiler import Step
from softmorph_cli.errors import InputError, SoftmorphWarning, UsageError
from softmorph_cli.kernels.level_sets import LevelSets
from softmorph_cli.system import machine
from softmorph_cli.system.parameters import named


class Field(Protocol):
    """One image on its way through the sweeps of a filter."""

    @property
    def changed(self) -> int:
        """How many voxels the last sweep altered."""

    def begin(self, steps: tuple[Step, ...], floor: Any = None) -> None:
        """Announce the steps that will be swept in turn, one iteration after the other.

        Args:
            steps: Those of one iteration.
            floor: For ranked steps, of the image's shape and type: the value below which a voxel is not lowered.
                Candidates are the voxel's own value and its neighbours' lower ones, down to the floor. The lowest
                at which the rule deletes the voxel decides, even if the rule keeps it at a higher one: the voxel
                takes the next lower value, or stays at that candidate where the next is below the floor. None: it
                is lowered to the highest value at which the rule keeps it.
        """

    def sweep(self, step: Step) -> None:
        """Apply one sub-iteration to all voxels at once."""

    def image(self) -> Any:
        """Return the image as it is now; valid until the next sweep."""

    def close(self) -> None:
        """Give back what the field holds."""


class TracedField(Field, Protocol):
    """A filter by ranked steps that says where its values come from."""

    def origins(self) -> Any:
        """Return for each voxel the raster index of the voxel that its value comes from; -1 where it is 0."""


class Backend(Protocol):
    """A device. Images are (Y, X) or (Z, Y, X) arrays of the backend's own kind.

    Planes are integer images of the same shape in which every bit belongs to another binary image.
    """

    name: str
    batches: bool
    """Whether a field takes leading axes, a whole batch at once."""
    traces: bool
    """Whether a nested filter of all values is to say where they come from, because a gradient goes there."""
    prunes: bool
    """Whether its fields take a floor, see `Field.begin`."""

    def array(self, image: Any) -> Any:
        """Return an image of any kind as one of the backend's own, where it computes."""

    def field(self, image: Any) -> Field:
        """Begin a filter on probabilities, on planes or (ranked steps) on values; the image is not modified."""

    def traced(self, image: Any) -> TracedField:
        """Begin a filter by ranked steps on values that also says where they come from."""

    def proper(self, image: Any) -> bool:
        """Say whether all values lie in [0, 1]; NaN does not."""

    def extremes(self, image: Any) -> tuple[float, float]:
        """Return the smallest and the largest value; NaN for both where there is one."""

    def pack_levels(self, image: Any, levels: int, chunk: int) -> Any:
        """Return the level sets {p > (k + 1/2) / levels} for k from 64 chunk on, one in each bit."""

    def pack_samples(self, image: Any, draws: int, chunk: int, seed: int, index: int) -> Any:
        """Return independent Bernoulli draws, one in each bit.

        Draw k of voxel v depends on (seed, index, v, k) alone: neither threads nor `draws` change it.

        Args:
            image: Probabilities.
            draws: How many in all; this chunk holds those from 64 chunk on.
            chunk: Which 64 of them.
            seed: Any integer.
            index: Number of the image among those of one call.
        """

    def pack_nested(self, image: Any, sets: LevelSets) -> Any:
        """Return the level sets {p > t_k}, 64 at most; t_0 has a word's highest bit, t_1 the next."""

    def bins(self, image: Any, sets: LevelSets) -> Any:
        """Return how many of the thresholds lie below each value, as an image of the same type."""

    def refine(self, image: Any, counts: Any, sets: LevelSets) -> Any:
        """Return the map lowered to the top of each voxel's bin: min(p, t_n) of the type, where n is its count.

        Args:
            image: Probabilities.
            counts: How many level sets hold each voxel, at most those that held it in `image`.
            sets: The thresholds.
        """

    def above(self, image: Any, threshold: float) -> Any:
        """Return the map where it is above a threshold, 0 elsewhere."""

    def pack_mask(self, image: Any, threshold: float) -> Any:
        """Return the binary image {p > threshold} in all bits of the narrowest planes."""

    def count(self, planes: Any, bits: int, like: Any) -> Any:
        """Return how many of the lowest `bits` are set at each voxel, as an image of the type of `like`."""

    def logits(self, image: Any) -> Any:
        """Return the logits of probabilities, clipped at +-16."""

    def sharpen(self, logits: Any, level: float, sharpness: float) -> Any:
        """Return sigmoid(sharpness (logit p - logit level))."""

    def streamed(self, work: Callable[[Any], Any], image: Any) -> Any:
        """Return `work(image)`; where there is a gradient, keep `image` alone and do the work again for it."""

    def total(self, image: Any) -> float:
        """Return the sum in float64, in an order that does not depend on threads."""

    def distance(self, first: Any, second: Any) -> float:
        """Return the summed absolute difference in float64."""


def choose(device: str = "auto", *, threads: int | None = None, gradient: bool = False) -> Backend:
    """Return the backend for a request.

    Args:
        device: "auto", "cpu", "cuda" or "cuda:N". "auto" is the CPU, because a map read from a file is there.
        threads: For the CPU; None for as many as the machine allows.
        gradient: Whether autograd has to pass through.

    Raises:
        UsageError: If there is no such kind of device.
        InputError: If this machine has no such device.
    """
    kind, _, number = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and not (kind == "cuda" and number.isdigit())):
        raise UsageError(f"unknown device {device!r}: use auto, cpu, cuda or cuda:N.")
    if threads is not None and threads < 1:
        raise UsageError(f"{named('threads')} {threads}: at least 1 is needed.")
    if kind in ("auto", "cpu") and not gradient:
        from softmorph_cli.kernels.numba_cpu import NumbaBackend

        return NumbaBackend(threads or machine.threads())
    if kind in ("auto", "cpu"):
        from softmorph_cli.kernels.autograd import CompiledBackend

        return CompiledBackend(threads or machine.threads())
    import torch

    from softmorph_cli.kernels.torch_eager import TorchBackend

    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise InputError(
            f"device {device!r} is not there: torch sees {found} CUDA devices; use {named('device', 'cpu')}."
        )
    try:
        from softmorph_cli.kernels.triton_autograd import FusedBackend
        from softmorph_cli.kernels.triton_backend import TritonBackend
    except ImportError:
        _note_missing_triton()
        return TorchBackend(device)
    return FusedBackend(device) if gradient else TritonBackend(device)


@cache
def _note_missing_triton() -> None:
    note = "triton is not installed: plain torch computes on the GPU, many times slower (pip install triton)."
    warnings.warn(note, SoftmorphWarning, stacklevel=3)
