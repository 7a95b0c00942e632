"""What holds for every map, whatever its values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers_maps import close, topology
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import softmorph_cli
from softmorph_cli.compiler.compile import DIAGRAM, compile_rule
from softmorph_cli.compiler.lowering import LOGICS
from softmorph_cli.filters.method import METHODS
from softmorph_cli.kernels.torch_eager import TorchField
from softmorph_cli.rules import catalog
from softmorph_cli.rules.neighborhood import DIRECTIONS, quarter_turn, rotate

pytestmark = [
    pytest.mark.filterwarnings("ignore::softmorph_cli.SoftmorphWarning"),
    pytest.mark.usefixtures("torch_only"),
]

# Exact 0 and 1, ties, tiny numbers and numbers next to 1, besides everything between.
VALUES = st.one_of(
    st.sampled_from([0.0, 1.0, 0.5, 2.0**-40, 1 - 2.0**-24, 1e-30, 0.25]),
    st.floats(0, 1, width=32),
)


def maps(dtype: str = "float32", dims: tuple[int, int] = (2, 3), side: int = 6) -> Any:
    shapes = hnp.array_shapes(min_dims=dims[0], max_dims=dims[1], min_side=1, max_side=side)
    return hnp.arrays(np.dtype(dtype), shapes, elements=VALUES.map(float))


def _skeleton(image: np.ndarray, method: str, **how: Any) -> np.ndarray:
    result = softmorph_cli.skeletonize(torch.tensor(image), method=method, levels=8, smooth_levels=2, **how)
    return (result[0] if method == "sampled" else result).numpy()


@pytest.mark.parametrize("method", METHODS)
@given(image=maps())
@settings(max_examples=25)
def test_a_skeleton_stays_within_0_and_1(method: str, image: np.ndarray) -> None:
    result = _skeleton(image, method, iterations=2)
    assert result.dtype == image.dtype
    assert np.isfinite(result).all()
    assert result.min() >= 0
    assert result.max() <= 1


@pytest.mark.parametrize("method", [m for m in METHODS if m not in ("cldice", "nested")])
@pytest.mark.parametrize("operation", ["opening", "closing", "gradient", "tophat", "blackhat"])
@given(image=maps())
@settings(max_examples=12)
def test_morphology_stays_within_0_and_1(operation: str, method: str, image: np.ndarray) -> None:
    result = getattr(softmorph_cli, operation)(torch.tensor(image), method=method, levels=8, smooth_levels=2)
    values = result[0] if method == "sampled" else result
    assert torch.isfinite(values).all()
    assert values.min() >= 0
    assert values.max() <= 1


@pytest.mark.parametrize("method", [DIAGRAM, *LOGICS])
@given(image=maps())
@settings(max_examples=25)
def test_a_stepwise_skeleton_is_never_above_its_input(method: str, image: np.ndarray) -> None:
    # a b / (a + b - a b) may round up by a step where b is 1; among the denormal numbers a step is large.
    step, smallest = (4e-7, np.finfo(np.float32).tiny) if method == "hamacher" else (0, 0)
    assert (_skeleton(image, method, iterations=2) <= image * np.float64(1 + step) + smallest).all()


@given(image=maps())
@settings(max_examples=40)
def test_levels_are_above_their_input_by_half_a_level_at_most(image: np.ndarray) -> None:
    assert (_skeleton(image, "levels") <= image.astype(np.float64) + 1 / 16).all()


@pytest.mark.parametrize("method", ["multilinear", "product", "minmax", "lukasiewicz", "einstein", "levels"])
@given(image=maps("float64"), data=st.data())
@settings(max_examples=20)
def test_erosion_is_the_dual_of_dilation(method: str, image: np.ndarray, data: st.DataObject) -> None:
    # With p on a grid of 1/1024 the complement is exact; for levels no value lies on a threshold.
    p = np.round(image * 1023) / 1024 + 1 / 2048
    connectivity = data.draw(st.sampled_from({2: (4, 8), 3: (6, 18, 26)}[p.ndim]))
    how: dict[str, Any] = {"connectivity": connectivity, "method": method, "levels": 8}
    eroded = softmorph_cli.erosion(torch.tensor(p), **how).numpy()
    dilated = softmorph_cli.dilation(torch.tensor(1 - p), **how).numpy()
    assert close(eroded, 1 - dilated, 1e-12)


@pytest.mark.parametrize("method", ["minmax", "multilinear", "levels"])
@given(image=maps("float64"))
@settings(max_examples=25)
def test_erosion_lies_below_and_dilation_above(method: str, image: np.ndarray) -> None:
    slack = 1 / 16 if method == "levels" else 1e-15
    tensor = torch.tensor(image)
    assert (softmorph_cli.erosion(tensor, method=method, levels=8).numpy() <= image + slack).all()
    assert (softmorph_cli.dilation(tensor, method=method, levels=8).numpy() >= image - slack).all()


@given(first=maps("float64", (2, 2)), seed=st.integers(0, 1000))
@settings(max_examples=30)
def test_morphology_is_monotone(first: np.ndarray, seed: int) -> None:
    second = first + (1 - first) * np.random.default_rng(seed).random(first.shape)
    for operation in (softmorph_cli.erosion, softmorph_cli.dilation, softmorph_cli.opening):
        low, high = operation(torch.tensor(first)), operation(torch.tensor(second))
        assert (low <= high + 1e-14).all()


def _turn_image(image: np.ndarray, rotation: tuple[tuple[int, ...], ...]) -> np.ndarray:
    """Move the voxel at x (from the centre) to R x; the image has equal odd sides."""
    half = image.shape[0] // 2
    where = np.stack(np.meshgrid(*[np.arange(-half, half + 1)] * image.ndim, indexing="ij"), axis=-1)
    target = where @ np.array(rotation).T + half
    turned = np.empty_like(image)
    turned[tuple(np.moveaxis(target, -1, 0))] = image
    return turned


def _sub_iteration(image: np.ndarray, label: str, logic: str) -> np.ndarray:
    rule = catalog.bundled("thinning", image.ndim)
    index = [s.label for s in rule.sub_iterations].index(label)
    field = TorchField(torch.tensor(image))
    field.sweep(compile_rule(rule, logic)[index])
    return field.image().numpy()


def test_turning_an_image_is_what_it_says() -> None:
    image = np.arange(9.0).reshape(3, 3)
    assert (_turn_image(image, quarter_turn(0, 2)) == np.rot90(image)).all() or (
        _turn_image(image, quarter_turn(0, 2)) == np.rot90(image, -1)
    ).all()
    offset, rotation = (1, 0, -1), DIRECTIONS[3]["E"]
    cube = np.zeros((3, 3, 3))
    cube[tuple(o + 1 for o in offset)] = 1
    assert _turn_image(cube, rotation)[tuple(o + 1 for o in rotate(offset, rotation))] == 1


# Fuzzy ANDs fold in the order in which the rule is drawn; these logics do not depend on it beyond rounding.
@pytest.mark.parametrize("logic", [DIAGRAM, "product", "minmax", "lukasiewicz", "einstein", "hamacher"])
@pytest.mark.parametrize(("dimensions", "label"), [(d, name) for d in (2, 3) for name in DIRECTIONS[d]])
def test_a_sub_iteration_turned_is_the_one_of_the_turned_direction(
    dimensions: int, label: str, logic: str
) -> None:
    rng = np.random.default_rng(17)
    directions = DIRECTIONS[dimensions]
    upright = next(iter(directions))
    image = rng.choice([0.0, 1.0, 0.3, 0.8], size=(7,) * dimensions, p=[0.3, 0.3, 0.2, 0.2])
    turned = _turn_image(image, directions[label])
    wanted = _turn_image(_sub_iteration(image, upright, logic), directions[label])
    assert close(_sub_iteration(turned, label, logic), wanted, 1e-13)
    if label != upright:
        assert not close(_sub_iteration(turned, upright, logic), wanted, 1e-3)


@pytest.mark.parametrize("logic", [DIAGRAM, "product"])
def test_the_3d_rule_looks_alike_in_quarter_turns_about_its_direction(logic: str) -> None:
    image = np.random.default_rng(18).random((7, 7, 7))
    about = quarter_turn(1, 3)
    wanted = _turn_image(_sub_iteration(image, "U", logic), about)
    assert close(_sub_iteration(_turn_image(image, about), "U", logic), wanted, 1e-13)
    assert not close(
        _sub_iteration(_turn_image(image, quarter_turn(0, 3)), "U", logic),
        _turn_image(_sub_iteration(image, "U", logic), quarter_turn(0, 3)),
        1e-3,
    )


@given(mask=hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=7)))
@settings(max_examples=60)
def test_topology_is_kept_on_binary_maps(mask: np.ndarray) -> None:
    tensor = torch.tensor(mask)
    hard = softmorph_cli.skeletonize(tensor, hard=True).numpy()
    assert (hard <= mask).all()
    assert topology(hard) == topology(mask)
    assert ((_skeleton(mask, "levels") != 0) == hard).all()


@pytest.mark.parametrize("method", ["multilinear", "product", "minmax", "levels", "sampled"])
@given(mask=hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6)))
@settings(max_examples=15)
def test_every_method_is_the_rule_on_binary_maps(method: str, mask: np.ndarray) -> None:
    hard = softmorph_cli.skeletonize(torch.tensor(mask), hard=True).numpy()
    assert (_skeleton(mask, method, tolerance=0.0) == hard).all()


@given(image=maps("float64", (2, 2)))
@settings(max_examples=20)
def test_everything_is_equivariant_under_a_shift_away_from_the_border(image: np.ndarray) -> None:
    padded = np.pad(image, 4)
    shifted = np.roll(padded, (1, -2), (0, 1))
    for method in ("multilinear", "levels"):
        one, other = (_skeleton(x, method, iterations=2) for x in (padded, shifted))
        assert (np.roll(one, (1, -2), (0, 1)) == other).all()
