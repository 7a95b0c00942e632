"""The contract of every backend, on the compiled kernels with a gradient and without one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from test_contract import Contract

from softmorph_cli.kernels import thread_pool
from softmorph_cli.kernels.autograd import CompiledBackend, CompiledField
from softmorph_cli.kernels.backend import Backend


class Compiled(Contract):
    plane_types = ("uint8", "uint64")
    gradient: bool

    def backend(self) -> Backend:
        return CompiledBackend(3)

    def give(self, array: np.ndarray) -> torch.Tensor:
        tensor = torch.as_tensor(array)
        return tensor.requires_grad_(self.gradient and tensor.is_floating_point())

    def take(self, image: Any) -> np.ndarray:
        values: np.ndarray = image.detach().numpy().copy()
        return values

    @pytest.fixture(autouse=True)
    def _small_maps_are_shared_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(thread_pool, "_SMALL", 0)

    def test_the_field_depends_on_whether_a_gradient_is_required(self) -> None:
        field = self.backend().field(self.give(np.zeros((2, 3))))
        assert isinstance(field, CompiledField) is self.gradient


class TestWithGradient(Compiled):
    gradient = True


class TestWithoutGradient(Compiled):
    gradient = False
