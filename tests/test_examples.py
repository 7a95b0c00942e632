"""The examples in public docstrings run and print the stated results."""

from __future__ import annotations

import doctest
import inspect
from pathlib import Path
from typing import Any

import pytest

import softmorph_cli

NAMES = [name for name in softmorph_cli.__all__ if callable(getattr(softmorph_cli, name))]
# Errors and warnings are raised for people, not by them.
NEEDLESS = {"SoftmorphError", "SoftmorphWarning"}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def ran(text: str, name: str) -> doctest.TestResults:
    """Run the examples of a docstring with all public names at hand."""
    names: dict[str, Any] = {one: getattr(softmorph_cli, one) for one in softmorph_cli.__all__}
    test = doctest.DocTestParser().get_doctest(text, {**names, "softmorph_cli": softmorph_cli}, name, None, 0)
    return doctest.DocTestRunner(verbose=False).run(test)


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_a_public_name(name: str) -> None:
    found = ran(inspect.getdoc(getattr(softmorph_cli, name)) or "", name)
    assert found.failed == 0
    assert found.attempted > 0 or name in NEEDLESS


def test_the_example_of_the_package() -> None:
    assert ran(softmorph_cli.__doc__ or "", "softmorph_cli") == (0, 2)


def test_an_example_that_prints_something_else_fails() -> None:
    assert ran(">>> 1 + 1\n3\n", "wrong").failed == 1
