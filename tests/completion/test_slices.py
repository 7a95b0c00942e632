"""Which slices are missing: as typed, or empty."""

from __future__ import annotations

import re

import numpy as np
import pytest

from softmorph_cli.completion import slices
from softmorph_cli.completion.slices import check, gap, prose, stack, words
from softmorph_cli.errors import InputError, UsageError

ARRAY = np.ones((2, 16, 3, 4))


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("5", [5]),
        ("5:9,12", [5, 6, 7, 8, 12]),
        (" 5 : 9 , 12 ", [5, 6, 7, 8, 12]),
        (":3", [0, 1, 2]),
        ("13:", [13, 14, 15]),
        ("1::4", [1, 5, 9, 13]),
        ("-1,-16", [0, 15]),
        ("-3:-1", [13, 14]),
        ("2:4,3:5", [2, 3, 4]),
    ],
)
def test_indices_and_ranges(text: str, missing: list[int]) -> None:
    check("missing", text)
    found = stack(ARRAY, 1, text, "z")
    assert found.missing == missing
    assert found.observed.shape == (16,)
    # In its own words the same.
    assert stack(ARRAY, 1, words(missing), "z").missing == missing


@pytest.mark.parametrize("text", ["", "a", "5:9;12", "5,,6", "5-9", "1:2:3:4", "5 9", "1.5", ":", "::0"])
def test_text_that_names_no_slices(text: str) -> None:
    if text == ":":  # Every slice: refused for a map.
        with pytest.raises(InputError, match="names every slice along z"):
            stack(ARRAY, 1, text, "z")
        return
    with pytest.raises(UsageError, match="names no slices"):
        check("missing", text)


@pytest.mark.parametrize("text", ["16", "-17", "5:17", "20:", "5,16"])
def test_indices_out_of_range(text: str) -> None:
    with pytest.raises(InputError, match=r"no slice -?\d+ along z, which has 16: name slices from 0 to 15"):
        stack(ARRAY, 1, text, "z")


@pytest.mark.parametrize(
    ("text", "part"),
    [("5:5", "5:5"), ("9:5", "9:5"), (":0", ":0"), ("3, 9: 5", "9: 5"), ("-1:2:3", "-1:2:3")],
)
def test_a_range_without_slices(text: str, part: str) -> None:
    with pytest.raises(
        InputError, match=f": {re.escape(part)} holds no slice; give a range that ends after its start"
    ):
        stack(ARRAY, 1, text, "z")


@pytest.mark.parametrize(
    ("text", "count", "hidden"),
    [
        ("every:2", 5, [1, 3]),
        ("every:4", 9, [1, 2, 3, 5, 6, 7]),
        ("gap:4", 8, [2, 3, 4, 5]),
        ("gap:3", 8, [2, 3, 4]),
        ("gap:1/4", 8, [3, 4]),
        ("gap:1/4", 3, [1]),
        ("gap:2+3", 8, [2, 3, 4]),
        ("gap:9/16+1/4", 16, [9, 10, 11, 12]),
        # Between two observed slices, whatever is asked for.
        ("gap:9/16+1/4", 3, [1]),
        ("gap:6+4", 8, [3, 4, 5, 6]),
        ("end:2", 6, [4, 5]),
        ("end:1/3", 10, [7, 8, 9]),
        ("end:1/4", 3, [2]),
        ("end:9", 6, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_what_a_gap_hides(text: str, count: int, hidden: list[int]) -> None:
    observed = gap(text)(count)
    assert observed.shape == (count,)
    assert np.flatnonzero(~observed).tolist() == hidden


@pytest.mark.parametrize(
    "text",
    [
        "",
        "every",
        "every:1",
        "every:0",
        "every:1/2",
        "gap:0",
        "gap:1/0",
        "gap:4/3",
        "end:1+2",
        "half",
        "gap:1+",
        "gap:-1",
    ],
)
def test_what_is_no_gap(text: str) -> None:
    with pytest.raises(UsageError, match=r"give every:N, gap:N or end:N, such as every:4"):
        gap(text)


def test_words_of_runs() -> None:
    assert words([0, 1, 2, 5, 7, 8]) == "0:3,5,7:9"
    assert prose([0, 1, 2, 5, 7, 8]) == "slices 0 to 2, 5 and 7 to 8"
    assert prose([15]) == "slice 15"


def test_empty_slices_between_others_are_missing_and_those_at_the_ends_are_not() -> None:
    array = np.zeros((2, 8, 3, 3))
    array[0, 2, 1, 1], array[1, 5, 0, 0] = 0.3, 1e-30
    found = stack(array, 1, "empty", "z")
    assert found.missing == [3, 4]
    assert found.beyond == []
    (note,) = found.notes
    assert "slices 0 to 1 and 6 to 7 along z" in note
    assert stack(array[:, 2:6], 1, "empty", "z").notes == ()
    assert stack(array.swapaxes(1, 3), 3, "empty", "x").missing == [3, 4]


def test_missing_slices_beyond_the_observed_ones() -> None:
    assert stack(ARRAY, 1, ":2,5,14:", "z").beyond == [0, 1, 14, 15]


def test_nothing_is_missing_unless_it_is_said() -> None:
    assert stack(np.zeros((4, 4)), 0, None, "y").missing == []


def test_a_map_of_empty_slices() -> None:
    with pytest.raises(InputError, match="every slice along z is empty"):
        stack(np.zeros((4, 3, 3)), 0, slices.EMPTY, "z")
