"""The same sweeps in three ways: as the CPU's kernels do them, with nothing skipped, and in plain torch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers_run import sweep_all

from softmorph_cli.compiler.compile import Step
from softmorph_cli.kernels import numba_cpu, thread_pool
from softmorph_cli.kernels.numba_cpu import NumbaField
from softmorph_cli.kernels.torch_eager import TorchField

Steps = tuple[Step, ...]
# The image afterwards, and how many voxels each sub-iteration changed.
Swept = tuple[np.ndarray, list[int]]


def swept(image: np.ndarray, steps: Steps, iterations: int, *, threads: int = 1) -> Swept:
    """As users get it; small maps are shared among the threads, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thread_pool, "_SMALL", 0)
        field = NumbaField(image, threads=threads)
        field.begin(steps)
        changed = sweep_all(field, steps, iterations)
        result = field.image().copy()
        field.close()
    return result, changed


def plain(image: np.ndarray, steps: Steps, iterations: int) -> Swept:
    """Every voxel in every sweep: nothing is known about what a change needs or what has settled."""
    changed = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numba_cpu, "needs", lambda step, *, bits: ())
        field = NumbaField(image, threads=1)
        for _ in range(iterations):
            for step in steps:
                field.begin(steps)
                field.sweep(step)
                changed.append(field.changed)
        result = field.image().copy()
        field.close()
    return result, changed


def reference(image: np.ndarray, steps: Steps, iterations: int) -> Swept:
    """Plain torch; planes of any type come back in that type."""
    # torch has int64 planes; filled up with copies of the uppermost bit, they change where the image does.
    planes = image.dtype.kind == "u"
    given = image.view(f"int{8 * image.itemsize}").astype(np.int64) if planes else image
    field = TorchField(torch.as_tensor(given))
    changed = sweep_all(field, steps, iterations)
    return field.image().numpy().astype(image.dtype), changed


def without_fold(steps: Steps) -> Steps:
    """The same steps without the information that they are folds."""
    return tuple(replace(step, fold=None) for step in steps)
