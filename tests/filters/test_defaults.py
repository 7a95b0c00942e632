"""Which method a filter has where none is chosen: one table, and what every command and function makes of it."""

from __future__ import annotations

import inspect
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from helpers_boxes import ArrayReader, ArrayWriter
from helpers_filters import MORPHOLOGY, applied, made, thinning
from helpers_maps import same_bits

import softmorph_cli
from softmorph_cli import SoftmorphWarning
from softmorph_cli.compiler import nesting
from softmorph_cli.filters import rule_methods
from softmorph_cli.filters.filter import SoftFilter
from softmorph_cli.filters.method import METHODS
from softmorph_cli.filters.operations import OPERATIONS
from softmorph_cli.filters.operations.rules import ApplyRule
from softmorph_cli.filters.operations.skeletonize import Skeleton
from softmorph_cli.filters.settings import ANY_RULE, INCREASING, Settings
from softmorph_cli.rules import catalog
from softmorph_cli.rules.rulefile import loads
from softmorph_cli.tiled import filter_tiles, plan

IMAGE = np.random.default_rng(6).random((9, 12)).astype(np.float32)

# A function, the module of the same filter, and the default method of each: all pairs that differ.
DIFFERING = [
    ("erosion", "SoftErosion", "minmax", "multilinear"),
    ("dilation", "SoftDilation", "minmax", "multilinear"),
    ("opening", "SoftOpening", "minmax", "multilinear"),
    ("closing", "SoftClosing", "minmax", "multilinear"),
    ("skeletonize", "SoftSkeletonizer", "nested", "smooth-levels"),
]
BY_RULE = {
    "minmax": {"isolated-2d", "isolated-3d", "majority-2d", "majority-3d"},
    "nested": {"guo-hall-2d", "thinning-2d", "thinning-3d", "thinning-subfields-2d", "thinning-subfields-3d"},
}


DEFAULTS = {
    "skeletonize" if one is Skeleton else one.title: one.default_method
    for one in OPERATIONS.values()
    if issubclass(one, SoftFilter) and one is not ApplyRule
}


def test_default_methods_are_methods() -> None:
    assert set(DEFAULTS) == {*MORPHOLOGY, "skeletonize"}
    assert {*DEFAULTS.values(), INCREASING, ANY_RULE} <= set(METHODS)


def test_functions_and_modules_that_differ_name_each_others_default() -> None:
    found = []
    for name, module in (
        (name, getattr(softmorph_cli, f"Soft{title}"))
        for name, title in (
            ("erosion", "Erosion"), ("dilation", "Dilation"), ("opening", "Opening"), ("closing", "Closing"),
            ("skeletonize", "Skeletonizer"),
        )
    ):  # fmt: skip
        own = inspect.signature(module).parameters["method"].default
        if own != DEFAULTS[name]:
            found.append((name, module.__name__, DEFAULTS[name], own))
    assert found == DIFFERING
    for name, title, of_function, of_module in DIFFERING:
        module = getattr(softmorph_cli, title)
        for text in (getattr(softmorph_cli, name).__doc__, f"{module.__doc__} {module.__init__.__doc__}"):
            assert f'"{of_function}"' in text, (name, text)
            assert f'"{of_module}"' in text, (name, text)


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_function_without_a_method_has_that_of_the_table(name: str) -> None:
    run = getattr(softmorph_cli, name)
    assert same_bits(run(IMAGE), run(IMAGE, method=DEFAULTS[name]))


@pytest.mark.parametrize("name", catalog.names())
def test_a_rule_has_the_method_that_it_allows_and_never_fails(name: str) -> None:
    wanted = next((method for method, names in BY_RULE.items() if name in names), "levels")
    assert rule_methods.method_of_rule(catalog.bundled(name)) == wanted
    image = IMAGE if name.endswith("2d") else IMAGE[None]
    assert same_bits(
        softmorph_cli.apply_rule(name, image), softmorph_cli.apply_rule(name, image, method=wanted)
    )


def test_both_forms_of_a_bundled_rule_have_one_method() -> None:
    for name in {name[:-3] for name in catalog.names()}:
        assert len({rule_methods.method_of_rule(form) for form in catalog.load_forms(name)}) == 1, name


def test_forms_that_differ_have_the_method_of_any_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        rule_methods, "method_of_rule", lambda rule: ("minmax", "product")[rule.dimensions == 3]
    )
    assert rule_methods.default_method("majority") == "levels"
    assert rule_methods.default_method("majority-2d") == "minmax"


@pytest.mark.parametrize("holds", [True, False])
def test_a_deleting_rule_that_nests_is_a_thinning(holds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nesting, "check", lambda rule: SimpleNamespace(holds=holds))
    method_of_rule = rule_methods.method_of_rule.__wrapped__
    assert method_of_rule(catalog.bundled("thinning-2d")) == ("nested" if holds else "levels")
    assert method_of_rule(catalog.bundled("isolated-2d")) in ("minmax", "nested", "levels")


def test_the_method_of_a_step_is_known_without_a_map() -> None:
    given = {"apply": {"rule": "majority"}, "despeckle": {"min_size": "3vox"}}
    found = {
        name: OPERATIONS[name].make(given.get(name, {})).method_in_force
        for name in ("close", "tophat", "skeletonize", "apply", "fill")
    }
    assert found == {
        "close": "minmax",
        "tophat": "minmax",
        "skeletonize": "nested",
        "apply": "minmax",
        "fill": None,
    }
    assert made("apply", rule="thinning").method_in_force == "nested"
    assert made("skeletonize", preset="cldice").method_in_force == "cldice"


def test_minmax_of_a_rule_that_is_not_increasing_says_what_it_is() -> None:
    says = r"thinning-2d is not increasing, so method minmax is the papers' fuzzy logic.* use method levels"
    with pytest.warns(SoftmorphWarning, match=says):
        softmorph_cli.apply_rule("thinning-2d", IMAGE, method="minmax", iterations=1)
    with pytest.warns(SoftmorphWarning, match=says):
        softmorph_cli.skeletonize(IMAGE * 0.4, method="minmax", iterations=1)
    for spec in (
        made("apply", Settings("minmax"), rule="thinning", iterations=1),
        made("skeletonize", Settings("minmax"), iterations=1),
    ):
        target, cut = ArrayWriter(np.zeros_like(IMAGE)), plan(spec, IMAGE.shape)
        (warning,) = filter_tiles(ArrayReader(IMAGE * 0.4), target, spec, cut).warnings
        assert "fuzzy logic" in warning
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        softmorph_cli.apply_rule("majority", IMAGE, method="minmax")
        assert thinning(IMAGE, Settings("cldice")).warnings == ()


def test_an_increasing_rule_runs_until_nothing_changes() -> None:
    # Slowly: one voxel a time, of which a hundredth part of the sum would be nothing.
    grow = 'dimensions = 2\naction = "add"\nwhen = "W"\niterations = "until stable"\n'
    image = np.zeros((30, 40))
    image[:, :30] = 1
    image[3, 0] = 1
    image[3, 1:] = 0
    result = applied(loads(grow, name="grow"), image, Settings())
    assert (result.iterations, result.stop_reason) == (40, "stable")
    assert (result.image == 1).all()
