"""What type checkers know of the public functions: mypy checks this file, and it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_type

import numpy as np
import numpy.typing as npt
import pytest
import torch

import softmorph_cli as sm

ARRAY = np.pad(np.full((3, 7), 0.75, np.float32), 1)


def test_an_array_gives_an_array() -> None:
    image: npt.NDArray[Any] = ARRAY
    assert isinstance(assert_type(sm.erosion(image, iterations=1), npt.NDArray[Any]), np.ndarray)
    assert isinstance(assert_type(sm.skeletonize(image, hard=True), npt.NDArray[Any]), np.ndarray)
    assert isinstance(assert_type(sm.apply_rule("majority", image), npt.NDArray[Any]), np.ndarray)
    assert isinstance(assert_type(sm.dilation([[0.0, 0.7, 0.0]]), npt.NDArray[Any]), np.ndarray)


def test_a_tensor_gives_a_tensor() -> None:
    image = torch.from_numpy(ARRAY)
    assert isinstance(assert_type(sm.closing(image, connectivity=8), torch.Tensor), torch.Tensor)
    assert isinstance(assert_type(sm.apply_rule("majority", image), torch.Tensor), torch.Tensor)


def test_a_volume_and_a_path_give_a_volume(tmp_path: Path) -> None:
    volume = sm.Volume(ARRAY, "YX")
    sm.write(volume, tmp_path / "map.npy")
    assert isinstance(assert_type(sm.opening(volume), sm.Volume), sm.Volume)
    assert isinstance(assert_type(sm.gradient(tmp_path / "map.npy"), sm.Volume), sm.Volume)
    assert isinstance(assert_type(sm.tophat(str(tmp_path / "map.npy")), sm.Volume), sm.Volume)
    assert isinstance(assert_type(sm.apply_rule("majority", volume), sm.Volume), sm.Volume)


def test_parameters_have_types() -> None:
    # mypy reports an "ignore" that it does not need, so these are errors to it.
    with pytest.raises(TypeError):
        sm.erosion(ARRAY, itrations=1)  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        sm.erosion(ARRAY, iterations="two")  # type: ignore[call-overload]


def test_no_public_function_is_left_out() -> None:
    from softmorph_cli.api import filters

    made = {name for name, one in vars(filters).items() if getattr(one, "__module__", "") == filters.__name__}
    assert {name for name in made if name[0].islower()} == set(filters.__all__)
    assert set(filters.__all__) < set(sm.__all__)
