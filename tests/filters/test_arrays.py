"""The public boundary: kinds and types kept, axes understood, and clear refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers_maps import close, same_bits

import softmorph_cli
from softmorph_cli.errors import InputError, SoftmorphError, UsageError
from softmorph_cli.rules.catalog import load_rule

RNG = np.random.default_rng(31)
IMAGE = RNG.random((7, 9)).astype(np.float32)
CALLS: dict[str, Any] = {
    "erosion": softmorph_cli.erosion,
    "closing": softmorph_cli.closing,
    "skeletonize": lambda x, **how: softmorph_cli.skeletonize(
        x, **{"method": "product", "iterations": 1} | how
    ),
    "levels": lambda x, **how: softmorph_cli.skeletonize(x, **{"levels": 8} | how),
    "apply_rule": lambda x, **how: softmorph_cli.apply_rule("majority", x, **how),
}
# `levels` of a low map may fade; what it says then is tested elsewhere.
pytestmark = pytest.mark.filterwarnings("ignore:the skeleton faded")


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "longdouble", ">f4", ">f8", "bool"])
def test_numpy_types_are_kept(dtype: str, name: str) -> None:
    image = (IMAGE > 0.5) if dtype == "bool" else IMAGE.astype(dtype)
    kept = image.copy()
    got = CALLS[name](image)
    assert type(got) is np.ndarray
    assert got.dtype == (np.float32 if dtype == "bool" else np.dtype(dtype))
    assert got.shape == image.shape
    assert got.flags.c_contiguous
    assert same_bits(image, kept)
    assert not np.shares_memory(got, image)
    wide = CALLS[name](image.astype(np.float64))
    assert close(got, wide, 1e-3 if dtype == "float16" else 1e-6)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool])
def test_torch_types_are_kept(dtype: torch.dtype, name: str) -> None:
    image = torch.tensor(IMAGE > 0.5) if dtype is torch.bool else torch.tensor(IMAGE).to(dtype)
    kept = image.clone()
    got = CALLS[name](image)
    assert isinstance(got, torch.Tensor)
    assert got.dtype == (torch.float32 if dtype is torch.bool else dtype)
    assert got.shape == image.shape
    assert torch.equal(image, kept)
    wide = CALLS[name](image.double().numpy())
    tolerance = {torch.float16: 1e-3, torch.bfloat16: 1e-2}.get(dtype, 1e-6)
    assert close(got.double().numpy(), wide, tolerance)


@pytest.mark.parametrize("name", ["erosion", "closing", "skeletonize", "apply_rule"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_gradients_arrive_in_the_inputs_type(dtype: torch.dtype, name: str) -> None:
    image = torch.tensor(IMAGE).to(dtype).requires_grad_()
    got = CALLS[name](image)
    assert got.dtype == dtype
    assert got.requires_grad
    got.sum().backward()
    assert image.grad is not None
    assert image.grad.dtype == dtype
    assert torch.isfinite(image.grad).all()
    assert close(got.detach().double().numpy(), CALLS[name](image.detach()).double().numpy(), 1e-2)


def test_longdouble_is_not_computed_in_float32() -> None:
    value = np.longdouble(1) / 3
    got = softmorph_cli.erosion(np.full((3, 3), value), method="multilinear")
    assert abs(float(got[1, 1]) - (1 / 3) ** 5) < 1e-15


def test_a_tensor_without_gradient_is_served_without_autograd() -> None:
    image = torch.tensor(IMAGE, requires_grad=True)
    with torch.no_grad():
        assert not softmorph_cli.skeletonize(image, levels=8).requires_grad
    assert not softmorph_cli.erosion(image.detach()).requires_grad


def test_views_are_understood() -> None:
    whole = RNG.random((14, 20)).astype(np.float32)
    for view in (whole[::2, ::-1], whole.T[3:, 2:9], np.broadcast_to(whole[:1], (6, 20))):
        assert same_bits(softmorph_cli.erosion(view), softmorph_cli.erosion(view.copy()))
        tensor = torch.tensor(whole).T[3:, 2:9]
    assert torch.equal(softmorph_cli.erosion(tensor), softmorph_cli.erosion(tensor.contiguous()))
    frozen = whole.copy()
    frozen.flags.writeable = False
    assert same_bits(softmorph_cli.dilation(frozen), softmorph_cli.dilation(whole))


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_leading_axes_are_separate_images(kind: str) -> None:
    batch = RNG.random((2, 3, 7, 9))
    given: Any = batch if kind == "numpy" else torch.tensor(batch)
    got = np.asarray(softmorph_cli.erosion(given, spatial_dims=2))
    for index in np.ndindex(2, 3):
        assert same_bits(got[index], softmorph_cli.erosion(batch[index]))
    got = np.asarray(softmorph_cli.erosion(given, spatial_dims=3))
    for one, alone in zip(got, batch, strict=True):
        assert same_bits(one, softmorph_cli.erosion(alone))
    flat = np.asarray(softmorph_cli.erosion(given[0], spatial_dims=2))
    assert not close(flat, softmorph_cli.erosion(batch[0]), 1e-6)


def _nan() -> np.ndarray:
    image = IMAGE.copy()
    image[2, 3] = np.nan
    return image


REFUSED: dict[str, tuple[Any, str]] = {
    "integers": ((IMAGE * 255).astype(np.uint8), r"floating-point numbers, not uint8: divide"),
    "signed integers": (np.ones((3, 3), int), r"not int64"),
    "complex": (IMAGE.astype(complex), r"not complex128"),
    "object": (IMAGE.astype(object), r"not object"),
    "text": (np.array([["a"]]), r"not <U1"),
    "NaN": (_nan(), r"probabilities lie in \[0, 1\]"),
    "infinite": (np.full((3, 3), np.inf), r"values from inf to inf"),
    "above 1": (IMAGE * 2, r"probabilities lie in \[0, 1\]; this image has values from 0\.\d+ to 1\.\d+"),
    "just above 1": (np.full((3, 3), np.nextafter(1, 2)), r"probabilities lie in \[0, 1\]"),
    "negative": (IMAGE - 0.5, r"values from -0\."),
    "one axis": (IMAGE[0], r"has 1 axes: \(Y, X\) or \(Z, Y, X\) is expected"),
    "no axes": (np.float64(0.5), r"."),
    "four axes": (np.zeros((1, 2, 3, 4)), r"has 4 axes.*say spatial_dims=2 or spatial_dims=3"),
    "empty": (np.zeros((0, 5)), r"empty: its shape is \(0, 5\)"),
    "none": (None, r"."),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_probability_map_is_refused(case: str, name: str) -> None:
    image, fragment = REFUSED[case]
    with pytest.raises(InputError, match=fragment):
        CALLS[name](image)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    ("image", "fragment"),
    [
        (torch.ones(3, 3, dtype=torch.int32), r"not torch.int32"),
        (torch.full((3, 3), float("nan")), r"probabilities lie"),
        (torch.full((3, 3), 1.5), r"from 1.5 to 1.5"),
        (torch.zeros(2, 3, 4, 5), r"has 4 axes"),
        (torch.zeros(3, 0), r"empty"),
        (torch.ones(3, 3, dtype=torch.complex64), r"not torch.complex64"),
    ],
)
def test_tensors_are_checked_alike(image: torch.Tensor, fragment: str, name: str) -> None:
    with pytest.raises(InputError, match=fragment):
        CALLS[name](image)


@pytest.mark.parametrize("name", CALLS)
def test_nested_lists_are_arrays(name: str) -> None:
    assert same_bits(CALLS[name](IMAGE.tolist()), CALLS[name](IMAGE.astype(np.float64)))


def test_spatial_dims_have_to_fit() -> None:
    with pytest.raises(UsageError, match="spatial_dims is 2 or 3, not 4"):
        softmorph_cli.erosion(IMAGE, spatial_dims=4)
    with pytest.raises(InputError, match="has no 3 spatial axes"):
        softmorph_cli.erosion(IMAGE, spatial_dims=3)


@pytest.mark.parametrize("method", ["levels", "sampled", "drastic"])
def test_a_method_without_gradient_names_smooth_levels(method: str) -> None:
    image = torch.tensor(IMAGE, requires_grad=True)
    with pytest.raises(InputError, match=rf"method '{method}' has no gradient.*smooth-levels"):
        softmorph_cli.skeletonize(image, method=method)
    with pytest.raises(InputError, match=r"has no gradient.*detach\(\)"):
        softmorph_cli.erosion(image, method=method)


def test_levels_refuse_a_gradient_rather_than_switch() -> None:
    with pytest.raises(InputError, match="smooth-levels"):
        softmorph_cli.skeletonize(torch.tensor(IMAGE, requires_grad=True), method="levels")


def test_errors_are_softmorph_errors_and_builtin_ones() -> None:
    for error in (InputError, UsageError):
        assert issubclass(error, SoftmorphError)
        assert issubclass(error, ValueError)
    assert InputError.exit_code == 1
    assert UsageError.exit_code == 2


def test_sampled_gives_two_arrays_of_the_same_kind() -> None:
    mean, error = softmorph_cli.erosion(IMAGE, method="sampled", levels=8)
    assert mean.dtype == error.dtype == np.float32
    assert mean.shape == error.shape == IMAGE.shape
    means, errors = softmorph_cli.erosion(
        torch.tensor(IMAGE).half()[None, None], method="sampled", spatial_dims=2
    )
    assert means.dtype == errors.dtype == torch.float16
    assert tuple(means.shape) == tuple(errors.shape) == (1, 1, 7, 9)


def test_rules_are_loaded_by_name_path_or_as_they_are(tmp_path: Any) -> None:
    path = tmp_path / "shift.toml"
    path.write_text('dimensions = 2\naction = "set"\nwhen = "W"\n')
    wanted = np.pad(IMAGE, ((0, 0), (1, 0)))[:, :-1]
    for rule in (path, str(path), load_rule(path)):
        assert same_bits(softmorph_cli.apply_rule(rule, IMAGE), wanted)
    with pytest.raises(SoftmorphError, match="3D, but the image is 2D"):
        softmorph_cli.apply_rule("thinning-3d", IMAGE)
    with pytest.raises(SoftmorphError, match="there is no rule 'shift'; the bundled ones are"):
        softmorph_cli.apply_rule("shift", IMAGE)
    with pytest.raises(SoftmorphError, match="does not exist"):
        softmorph_cli.apply_rule(tmp_path / "absent.toml", IMAGE)
    with pytest.raises(UsageError, match="is a skeleton: use it with skeletonize"):
        softmorph_cli.apply_rule("majority", IMAGE, method="cldice")
    with pytest.raises(UsageError, match="at least 1"):
        softmorph_cli.apply_rule("majority", IMAGE, iterations=0)


def test_the_thinning_rule_applied_is_the_skeleton() -> None:
    assert same_bits(
        softmorph_cli.apply_rule("thinning", IMAGE, method="levels", levels=8),
        softmorph_cli.skeletonize(IMAGE, method="levels", levels=8),
    )
    assert same_bits(
        softmorph_cli.apply_rule("thinning", IMAGE, levels=8),
        softmorph_cli.skeletonize(IMAGE, levels=8, finish=False),
    )
    assert same_bits(
        softmorph_cli.apply_rule("majority", IMAGE, iterations=2),
        softmorph_cli.apply_rule("majority", softmorph_cli.apply_rule("majority", IMAGE)),
    )
