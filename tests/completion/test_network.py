"""The network of a prior is the function that its formulas state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from softmorph_cli.completion.network import Architecture, ImplicitFunction, find_device
from softmorph_cli.errors import InputError, UsageError

ACTIVATED: dict[str, Callable[[Any], Any]] = {
    "sine": lambda v: np.sin(30 * v),
    "wire": lambda v: np.cos(10 * v) * np.exp(-((10 * v) ** 2)),
    "relu": lambda v: np.maximum(v, 0),
}


@pytest.mark.parametrize("activation", ["sine", "wire", "relu"])
def test_it_equals_its_formula(activation: str) -> None:
    generator = torch.Generator().manual_seed(1)
    network = ImplicitFunction(Architecture(2, 3, 5, 3, activation), generator).double()
    rng = np.random.default_rng(0)
    positions, latents = rng.uniform(size=(4, 7, 2)), rng.normal(size=(4, 5))
    weights = {name: one.detach().numpy() for name, one in network.named_parameters()}
    act = ACTIVATED[activation]
    for k in range(4):
        for at in range(7):
            given = np.concatenate([positions[k, at], latents[k]])
            values = act(weights["first.weight"] @ given + weights["first.bias"]) + latents[k]
            for layer in range(2):
                values = values + act(
                    weights[f"hidden.{layer}.weight"] @ values + weights[f"hidden.{layer}.bias"]
                )
            classes, intensity = network(torch.from_numpy(positions), torch.from_numpy(latents))
            assert classes[k, at].detach().numpy() == pytest.approx(
                weights["classes.weight"] @ values + weights["classes.bias"]
            )
            assert float(intensity[k, at].detach()) == pytest.approx(
                float(weights["intensity.weight"][0] @ values + weights["intensity.bias"][0])
            )


def test_its_weights_have_the_spread_of_siren() -> None:
    network = ImplicitFunction(Architecture(3, 2, 64), torch.Generator().manual_seed(0))
    assert float(network.first.weight.detach().abs().max()) == pytest.approx(1 / 67, rel=0.01)
    hidden = network.get_parameter("hidden.0.weight").detach()
    assert float(hidden.abs().max()) == pytest.approx((6 / 64) ** 0.5 / 30, rel=0.01)
    assert float(hidden.std()) == pytest.approx((6 / 64) ** 0.5 / 30 / 3**0.5, rel=0.03)


def test_it_leaves_out_the_intensity_where_there_are_no_images() -> None:
    network = ImplicitFunction(Architecture(2, 2, 4, 2, intensity=False))
    classes, intensity = network(torch.zeros(3, 2), torch.zeros(4))
    assert (tuple(classes.shape), intensity) == ((3, 2), None)
    assert not [name for name in network.state_dict() if name.startswith("intensity")]


def test_architectures_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="unknown activation 'tanh': use sine, wire, relu"):
        Architecture(3, 2, activation="tanh")
    with pytest.raises(UsageError, match="at least 2 classes"):
        Architecture(3, 1)


def test_devices() -> None:
    assert find_device("cpu") == torch.device("cpu")
    with pytest.raises(UsageError, match="unknown device 'gpu': use auto, cpu"):
        find_device("gpu")
    with pytest.raises(InputError, match=r"torch sees \d+ CUDA devices; use device='cpu'"):
        find_device("cuda:99")
