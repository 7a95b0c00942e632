from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from softmorph_cli.errors import FileError, RuleError, UsageError
from softmorph_cli.filters.operations import OPERATIONS, from_json
from softmorph_cli.filters.operations.morphological import Erosion
from softmorph_cli.filters.operations.skeletonize import Skeleton
from softmorph_cli.filters.settings import Settings
from softmorph_cli.pipeline.chain import as_text, check, filters, parse, pipeline
from softmorph_cli.system.parameters import named_as_options


@pytest.fixture(autouse=True)
def _shell() -> Iterator[None]:
    """Name parameters as options: chains are typed there."""
    with named_as_options():
        yield


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fill", ("fill", {})),
        ("erode:iterations=3", ("erode", {"iterations": 3})),
        ("close:iterations=2,connectivity=26", ("close", {"iterations": 2, "connectivity": 26})),
        ("skeletonize:hard", ("skeletonize", {"hard": True})),
        ("skeletonize:hard,threshold=0.4", ("skeletonize", {"hard": True, "threshold": 0.4})),
        ("skeletonize:threshold=0.4,hard", ("skeletonize", {"threshold": 0.4, "hard": True})),
        ("skeletonize:hard=no", ("skeletonize", {"hard": False})),
        ("skeletonize:levels=8,no-finish", ("skeletonize", {"levels": 8, "finish": False})),
        ("skeletonize:no-finish,levels=exact", ("skeletonize", {"finish": False, "levels": "exact"})),
        ("despeckle:min-size=5mm3", ("despeckle", {"min_size": "5mm3"})),
        ("resample:spacing=2mm,1mm,1mm", ("resample", {"spacing": "2mm,1mm,1mm"})),
        ("apply:rule=my rule.toml,iterations=2", ("apply", {"rule": "my rule.toml", "iterations": 2})),
        ("erode:method=levels,levels=16", ("erode", {"method": "levels", "levels": 16})),
    ],
)
def test_steps_are_read_as_people_write_them(text: str, expected: tuple[str, dict[str, Any]]) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("skeletonise", "no operation 'skeletonise' (did you mean 'skeletonize'?); use skeletonize, erode,"),
        ("despeckle:min_sizes=3vox", "no 'min_sizes' (did you mean 'min-size'?); it takes min-size"),
        ("blur", "no operation 'blur'; use skeletonize, erode,"),
        (
            "erode:iteration=2",
            "no 'iteration' (did you mean 'iterations'?); it takes connectivity, iterations, radius, method",
        ),
        ("fill:iterations=2", "no 'iterations'; it takes no parameters"),
        ("erode:iterations=two", "iterations is a whole number, not 'two'"),
        ("skeletonize:threshold=half", "threshold is a number, not 'half'"),
        ("skeletonize:hard=maybe", "hard is true or false, not 'maybe'"),
        ("skeletonize:levels=Exact", "--levels Exact: use 8, 16, 32, a multiple of 64, or exact"),
        ("skeletonize:levels=²", "--levels ²: use 8"),
        ("skeletonize:no-finish,finish", "gives finish twice"),
        ("erode:iterations=2,iterations=3", "gives iterations twice"),
        ("erode:=2", "give each parameter as key=value"),
        ("despeckle:method=levels", "no 'method'; it takes min-size"),
    ],
)
def test_what_is_wrong_with_a_step_is_said_with_what_is_right(text: str, says: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse(text)
    assert says in str(raised.value)
    assert text in str(raised.value)


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ([], "a chain needs a step"),
        (["erode:iterations=0"], "at least 1 is needed"),
        (["close:method=nestd"], "unknown method 'nestd' (did you mean 'nested'?): use one of multilinear"),
        (["despeckle"], "needs a size, as in despeckle:min-size=30vox"),
        (["apply"], "needs a rule"),
        (["apply:rule=no-such-rule"], "no-such-rule"),
        (["despeckle:min-size=5"], "is no size"),
        (["threshold:labels", "close"], "make it the last"),
        (["skeletonize:hard,method=levels"], "goes without --method"),
        (["erode:levels=7"], "levels"),
    ],
)
def test_values_that_are_wrong_whatever_the_map_are_refused_at_once(texts: list[str], says: str) -> None:
    with pytest.raises((UsageError, RuleError)) as raised:
        check(filters(texts, Settings()))
    assert says in str(raised.value)


def test_a_step_says_its_method_or_takes_that_of_the_chain() -> None:
    texts = ["erode", "close:method=product", "skeletonize", "fill"]
    methods = [one.method_in_force for one in filters(texts, Settings())]
    assert methods == ["minmax", "product", "nested", None]
    methods = [one.method_in_force for one in filters(texts, Settings("multilinear"))]
    assert methods == ["multilinear", "product", "multilinear", None]


def test_a_file_says_the_same_as_words(tmp_path: Path) -> None:
    path = tmp_path / "steps.toml"
    path.write_text(
        '[[step]]\noperation = "close"\niterations = 2\n\n'
        '[[step]]\noperation = "skeletonize"\nhard = true\nthreshold = 0.4\n'
    )
    typed = filters(["close:iterations=2", "skeletonize:hard,threshold=0.4"], Settings())
    assert pipeline(path, Settings()) == typed


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[[step]\n", "no TOML"),
        ("", "tables [[step]]"),
        ('step = "close"', "tables [[step]]"),
        ('[[step]]\noperation = "close"\n[other]\nx = 1', "tables [[step]]"),
        ("[[step]]\niterations = 2", "no operation ''"),
        ('[[step]]\noperation = "close"\niterations = "two"', "step 1: iterations is a whole number"),
        ('[[step]]\noperation = "close"\niterations = true', "iterations is a whole number, not True"),
        ('[[step]]\noperation = "skeletonize"\nhard = 1', "hard is true or false, not 1"),
        ('[[step]]\noperation = "skeletonize"\nlevels = "Exact"', "step 1: --levels Exact: use 8"),
        ('[[step]]\noperation = "skeletonize"\nlevels = true', "step 1: --levels True: use 8"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "steps.toml"
    path.write_text(content)
    with pytest.raises((RuleError, UsageError)) as raised:
        pipeline(path, Settings())
    assert says in str(raised.value)
    assert str(path) in str(raised.value)
    with pytest.raises(FileError, match="cannot be read"):
        pipeline(tmp_path / "none.toml", Settings())


def test_keys_are_the_options_of_the_commands() -> None:
    import typer

    from softmorph_cli.cli.app import app

    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    for name, operation in OPERATIONS.items():
        options = {parameter.name for parameter in commands[name].params}
        assert set(operation.keys()) <= options, name


def test_a_value_of_none_is_not_given() -> None:
    assert Erosion.make({"iterations": None, "radius": "2mm"}).in_force == {"radius": "2mm"}


@pytest.mark.parametrize("hard", [("levels", 8), ("lowest", 0.1), ("lowest", 0.0), ("prune_contrast", 0.25)])
def test_what_a_hard_skeleton_does_not_listen_to_is_said(hard: tuple[str, float]) -> None:
    name, value = hard
    said = f"--{name.replace('_', '-')} has no effect with --hard."
    assert Skeleton.make({"hard": True, name: value}).ineffective() == [said]
    assert Skeleton.make({name: value}).ineffective() == []
    assert Skeleton(hard=True, finish=False).ineffective() == []


@pytest.mark.parametrize(
    "text",
    [
        "skeletonize:hard,threshold=0.4",
        "close:connectivity=26,radius=2mm",
        "resample:spacing=2mm,1mm,1mm",
        "skeletonize:levels=exact,no-finish",
        "fill",
    ],
)
def test_a_filter_is_written_as_it_is_read(text: str) -> None:
    (made,) = filters([text], Settings())
    assert as_text(made) == text
    assert filters([as_text(made)], Settings()) == [made]
    assert from_json(made.as_json()) == made
