"""Defines the protocols of backends, and chooses the backend for a device."""

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
    """The state of an image during a filter; a sweep applies one step (compiled sub-iteration) to all voxels."""

    @property
    def changed(self) -> int:
        """The number of voxels that the last sweep changed."""

    def begin(self, steps: tuple[Step, ...], floor: Any = None) -> None:
        """Set the steps that will be swept in turn, iteration after iteration.

        Args:
            steps: The steps (compiled sub-iterations) of an iteration.
            floor: For ranked steps, an array of the image's shape and type: the value below which a voxel is not
                lowered. Candidates are the voxel's value and the neighbours' lower values, down to the floor. The
                lowest candidate at which the rule deletes the voxel decides, even if the rule does not delete the
                voxel at a higher candidate: the voxel takes the next lower value, or that candidate if the next lower
                value is below the floor. None: the voxel is lowered to the highest value at which the rule does not
                delete it.
        """

    def sweep(self, step: Step) -> None:
        """Apply a step (compiled sub-iteration) to all voxels at once."""

    def image(self) -> Any:
        """Return the current image, which is valid until the next sweep."""

    def close(self) -> None:
        """Release the buffers of the field."""


class TracedField(Field, Protocol):
    """A field of ranked steps that also records the voxel of the initial image from which each value comes."""

    def origins(self) -> Any:
        """Return the raster index of the voxel from which each value comes; -1 where the value is 0."""


class Backend(Protocol):
    """The operations on a device. Images are arrays of shape (Y, X) or (Z, Y, X), of the backend's array type.

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
        """Return an array of any type as an array of the backend's type on the backend's device."""

    def field(self, image: Any) -> Field:
        """Start a filter of an image, which is not modified; return the field that is swept.

        Args:
            image: Probabilities, bit planes, or (for ranked steps) values.
        """

    def traced(self, image: Any) -> TracedField:
        """Start a filter by ranked steps that records the voxel from which each value comes; return the field."""

    def is_probability(self, image: Any) -> bool:
        """Return whether all values lie in [0, 1]; False if any value is NaN."""

    def extremes(self, image: Any) -> tuple[float, float]:
        """Return the minimum and the maximum of an image; both are NaN if the image contains NaN."""

    def pack_levels(self, image: Any, levels: int, chunk: int) -> Any:
        """Return bit planes with the level sets {p > (k + 1/2) / levels}, one in each bit.

        Args:
            image: Probabilities p.
            levels: The number of level sets of all words together.
            chunk: The index of the word, which contains the level sets k from 64 chunk on.
        """

    def pack_samples(self, image: Any, draws: int, chunk: int, seed: int, index: int) -> Any:
        """Return bit planes with independent Bernoulli draws, one in each bit.

        Draw k of voxel v is a function of (seed, index, v, k): it does not depend on the threads or on `draws`.

        Args:
            image: Probabilities.
            draws: The number of draws of all words together.
            chunk: The index of the word, which contains the draws k from 64 chunk on.
            seed: The seed of the generator, any integer.
            index: The index of the image among the images of one call.
        """

    def pack_nested(self, image: Any, sets: LevelSets) -> Any:
        """Return bit planes with the level sets {p > t_k}, at most 64; t_0 is the highest bit of a word, then t_1."""

    def bins(self, image: Any, sets: LevelSets) -> Any:
        """Return the number of thresholds below each value, as an image of the same type as `image`."""

    def refine(self, image: Any, counts: Any, sets: LevelSets) -> Any:
        """Return the map lowered to the upper end of each voxel's bin: min(p, t_n), where n is the voxel's count.

        Args:
            image: Probabilities p.
            counts: The number of level sets of the result that contain each voxel, at most the number in `image`.
            sets: The thresholds t_k.
        """

    def above(self, image: Any, threshold: float) -> Any:
        """Return the map where it is above a threshold, and 0 elsewhere."""

    def pack_mask(self, image: Any, threshold: float) -> Any:
        """Return the binary image {p > threshold} as bit planes, in all bits of the backend's narrowest type."""

    def count(self, planes: Any, bits: int, like: Any) -> Any:
        """Return the number of set bits among the lowest `bits` bits of each voxel, in the type of `like`."""

    def logits(self, image: Any) -> Any:
        """Return the logits of probabilities, clipped to [-16, 16]."""

    def sharpen(self, logits: Any, level: float, sharpness: float) -> Any:
        """Return sigmoid(sharpness (logit p - logit level)), where `logits` is logit p."""

    def streamed(self, work: Callable[[Any], Any], image: Any) -> Any:
        """Return `work(image)`; autograd stores only `image`, and the backward pass repeats the work."""

    def total(self, image: Any) -> float:
        """Return the sum of an image in float64, in an order that does not depend on the number of threads."""

    def distance(self, first: Any, second: Any) -> float:
        """Return the sum of absolute differences of two images, in float64."""


def choose(device: str = "auto", *, threads: int | None = None, gradient: bool = False) -> Backend:
    """Return the backend for a device.

    Args:
        device: "auto", "cpu", "cuda" or "cuda:N"; "auto" means the CPU, where a map read from a file is.
        threads: The number of threads on the CPU; None for as many as the machine allows.
        gradient: Whether the backend has to support autograd.

    Raises:
        UsageError: If `device` is none of these values, or `threads` is less than 1.
        InputError: If this machine does not have the device.
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
