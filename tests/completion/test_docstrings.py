"""The examples in docstrings of this package run and print what they state."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize("name", ["box", "network", "prior", "fitting", "slices"])
def test_examples_of_docstrings(name: str) -> None:
    tried = doctest.testmod(import_module(f"softmorph_cli.completion.{name}"))
    assert tried.attempted > 0
    assert tried.failed == 0
