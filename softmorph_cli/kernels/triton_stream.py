"""Filters maps that do not fit on the device: the maps stay on the host and are processed slab by slab.

An iteration on a slab copies the slab with a halo to the device, applies all steps, and copies the slab back. The
halo has as many planes on either side as the iteration has steps: errors at the sides where the slab was cut
propagate by one plane per step.

A slab is skipped if neither it nor its neighbours changed in the previous iteration: its result depends only on the
slab and the halo.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from softmorph_cli.compiler.compile import Step
from softmorph_cli.kernels import triton_cuda


class StreamedField:
    """A field (`backend.Field`) whose image stays on the host; an iteration is computed at its first sweep.

    Args:
        image: The image, not modified.
        device: The device that processes the slabs.
        free: The number of free bytes on the device.
    """

    def __init__(self, image: Tensor, device: torch.device, free: int) -> None:
        self._base = image.detach().contiguous()
        # The given image is not modified, and released after the first iteration.
        self._given, self._place = True, image.device
        self._ahead = self._spare = torch.empty(0)
        self._device, self._free = device, free
        self._steps: tuple[Step, ...] = ()
        self._done = 0
        self.changed = 0

    def begin(self, steps: tuple[Step, ...], floor: Any = None) -> None:
        """Set the steps that will be swept in turn."""
        if self._done:
            self._base = self._evaluate(self._steps[: self._done])
            self._given, self._done = False, 0
            self._spare = self._ahead
        self._steps = steps
        self._axis = -max(len(step.offsets[0]) if step.offsets else 2 for step in steps)
        size = self._base.shape[self._axis]
        # Two images of a slab and the mask of their differences, with a margin.
        plane = 4 * self._base.nbytes // size
        thick = max(len(steps), self._free // max(plane, 1) - 2 * len(steps))
        self._slabs = [(low, min(low + thick, size)) for low in range(0, size, thick)]
        self._active = [True] * len(self._slabs)
        self._counts = [[0] * len(steps) for _ in self._slabs]

    def sweep(self, step: Step) -> None:
        """Apply a step (compiled sub-iteration) to all voxels at once."""
        if not self._steps or step != self._steps[self._done]:
            self.begin((step,))
        if self._done == 0:
            self._advance()
        self.changed = sum(counts[self._done] for counts in self._counts)
        self._done += 1
        if self._done == len(self._steps):
            self._spare = torch.empty(0) if self._given else self._base
            self._base, self._given, self._done = self._ahead, False, 0

    def image(self) -> Tensor:
        """Return the current image, which is valid until the next sweep."""
        image = self._evaluate(self._steps[: self._done]) if self._done else self._base
        return image.to(self._place)

    def close(self) -> None:
        """Release the buffers of the field other than the current image."""
        self._spare = self._ahead = torch.empty(0)

    def _advance(self) -> None:
        """Compute the next iteration, slab by slab."""
        fresh = not self._spare.numel()
        self._ahead = torch.empty_like(self._base, device="cpu") if fresh else self._spare
        active = []
        for number, (low, high) in enumerate(self._slabs):
            # A skipped slab is equal in both buffers, once both have been filled.
            if not (fresh or any(self._active[max(number - 1, 0) : number + 2])):
                active.append(False)
                continue
            result, self._counts[number], differs = self._visit(low, high, self._steps)
            self._ahead.narrow(self._axis, low, high - low).copy_(result)
            active.append(differs)
        self._active = active

    def _evaluate(self, steps: tuple[Step, ...]) -> Tensor:
        """Return the image after the first steps, `steps`, of the iteration."""
        image = torch.empty_like(self._base, device="cpu")
        for low, high in self._slabs:
            image.narrow(self._axis, low, high - low).copy_(self._visit(low, high, steps)[0])
        return image

    def _visit(self, low: int, high: int, steps: tuple[Step, ...]) -> tuple[Tensor, list[int], bool]:
        """Return a slab after some steps, the number of voxels that each step changed, and whether the slab changed."""
        halo = len(steps)
        start, stop = max(low - halo, 0), min(high + halo, self._base.shape[self._axis])
        image = self._base.narrow(self._axis, start, stop - start).to(self._device)

        def slab(whole: Tensor) -> Tensor:
            return whole.narrow(self._axis, low - start, high - low)

        before = image
        counts = []
        for step in steps:
            after = triton_cuda.sweep(image, _seen_from(step, start, self._axis))
            counts.append((slab(after) != slab(image)).sum())
            image = after
        differs = not torch.equal(slab(image), slab(before))
        return slab(image), [int(count) for count in counts], differs


def _seen_from(step: Step, start: int, axis: int) -> Step:
    """Return a step with parities for a part of the image that starts at index `start` along an axis."""
    if step.subfield is None or start % 2 == 0:
        return step
    parities = list(step.subfield)
    parities[axis] ^= 1
    return replace(step, subfield=tuple(parities))
