"""The protocols of backends, and the choice of a backend for a device."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

from softmorph_cli.compiler.compile import Step
from softmorph_cli.errors import InputError, SoftmorphWarning, UsageError
from softmorph_cli.kernels.level_sets import LevelSets
from softmorph_cli.system import machine
from softmorph_cli.system.parameters import named


class Field(Protocol):
    """An image during the sweeps of a filter."""

    @property
    def changed(self) -> int:
        """The number of voxels that the last sweep changed."""

    def begin(self, steps: tuple[Step, ...], floor: Any = None) -> None:
        """Set the steps that will be swept in turn, iteration after iteration.

        Args:
            steps: The steps of an iteration.
            floor: For ranked steps, of the image's shape and type: the value below which a voxel is not lowered.
                Candidates are the voxel's value and its neighbours' lower ones, down to the floor. The lowest
                candidate at which the rule deletes the voxel decides, even if the rule keeps it at a higher one: the
                voxel takes the next lower value, or that candidate if the next lower value is below the floor. None:
                the voxel is lowered to the highest value at which the rule keeps it.
        """

    def sweep(self, step: Step) -> None:
        """Apply one sub-iteration to all voxels at once."""

    def image(self) -> Any:
        """Return the current image; valid until the next sweep."""

    def close(self) -> None:
        """Release the buffers."""


class TracedField(Field, Protocol):
    """A field of ranked steps that records the origins of its values."""

    def origins(self) -> Any:
        """Return the raster index of the voxel from which each value comes; -1 where the value is 0."""


class Backend(Protocol):
    """The operations on a device. Images are (Y, X) or (Z, Y, X) arrays of the backend's type.

    Bit planes are integer images of the same shape in which each bit belongs to a different binary image.
    """

    name: str
    batches: bool
    """Whether a field takes leading axes, a batch of images."""
    traces: bool
    """Whether a nested filter of all values has to record their origins, for a gradient."""
    prunes: bool
    """Whether its fields take a floor, see `Field.begin`."""

    def array(self, image: Any) -> Any:
        """Return an array of any type as the backend's, on its device."""

    def field(self, image: Any) -> Field:
        """Start a filter of probabilities, of planes or (ranked steps) of values; the image is not modified."""

    def traced(self, image: Any) -> TracedField:
        """Start a filter by ranked steps that records the origins of the values."""

    def is_probability(self, image: Any) -> bool:
        """Return whether all values lie in [0, 1]; NaN does not."""

    def extremes(self, image: Any) -> tuple[float, float]:
        """Return the minimum and the maximum; NaN for both if there is a NaN."""

    def pack_levels(self, image: Any, levels: int, chunk: int) -> Any:
        """Return the level sets {p > (k + 1/2) / levels} for k from 64 chunk on, one in each bit."""

    def pack_samples(self, image: Any, draws: int, chunk: int, seed: int, index: int) -> Any:
        """Return independent Bernoulli draws, one in each bit.

        Draw k of voxel v is a function of (seed, index, v, k): it does not depend on threads or `draws`.

        Args:
            image: Probabilities.
            draws: The number of draws.
            chunk: The number of the word, which contains draws from 64 chunk on.
            seed: Any integer.
            index: The number of the image among those of one call.
        """

    def pack_nested(self, image: Any, sets: LevelSets) -> Any:
        """Return the level sets {p > t_k}, 64 at most; t_0 is the highest bit of a word, t_1 the next."""

    def bins(self, image: Any, sets: LevelSets) -> Any:
        """Return the number of thresholds below each value, as an image of the same type."""

    def refine(self, image: Any, counts: Any, sets: LevelSets) -> Any:
        """Return the map lowered to the upper end of each voxel's bin: min(p, t_n), where n is its count.

        Args:
            image: Probabilities.
            counts: The number of level sets that contain each voxel, at most that in `image`.
            sets: The thresholds.
        """

    def above(self, image: Any, threshold: float) -> Any:
        """Return the map where it is above a threshold, 0 elsewhere."""

    def pack_mask(self, image: Any, threshold: float) -> Any:
        """Return the binary image {p > threshold} in all bits of the narrowest planes."""

    def count(self, planes: Any, bits: int, like: Any) -> Any:
        """Return the number of set bits among the lowest `bits` of each voxel, in the type of `like`."""

    def logits(self, image: Any) -> Any:
        """Return the logits of probabilities, clipped at +-16."""

    def sharpen(self, logits: Any, level: float, sharpness: float) -> Any:
        """Return sigmoid(sharpness (logit p - logit level))."""

    def streamed(self, work: Callable[[Any], Any], image: Any) -> Any:
        """Return `work(image)`; a gradient is computed by repeating the work, of which only `image` is stored."""

    def total(self, image: Any) -> float:
        """Return the sum in float64, in an order that does not depend on threads."""

    def distance(self, first: Any, second: Any) -> float:
        """Return the summed absolute difference in float64."""


def choose(device: str = "auto", *, threads: int | None = None, gradient: bool = False) -> Backend:
    """Return the backend of a device.

    Args:
        device: "auto", "cpu", "cuda" or "cuda:N". "auto" is the CPU, where a map from a file is.
        threads: The number of threads on the CPU; None for all that the machine allows.
        gradient: Whether it has to support autograd.

    Raises:
        UsageError: If the device is not one of these.
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
        from softmorph_cli.kernels.triton_backend import FusedBackend, TritonBackend
    except ImportError:
        _note_missing_triton()
        return TorchBackend(device)
    return FusedBackend(device) if gradient else TritonBackend(device)


@cache
def _note_missing_triton() -> None:
    note = "triton is not installed: plain torch computes on the GPU, many times slower (pip install triton)."
    warnings.warn(note, SoftmorphWarning, stacklevel=3)
