"""Validation: hidden slices, held-out subjects and intervals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers_subjects import QUICK, drawn, prior
from scipy.ndimage import gaussian_filter

from softmorph_cli import bootstrap
from softmorph_cli.completion import validation
from softmorph_cli.completion.fitting import agreement_of, complete
from softmorph_cli.completion.validation import (
    GAPS,
    choose_steps,
    dice_of,
    interpolated,
    leave_one_out,
    scores,
    table,
    train_and_validate,
)

FRESH = drawn(4, 200, ((8, 16, 16),))


def test_gaps_of_sixteen_slices() -> None:
    hidden = {name: np.flatnonzero(~observed(16)).tolist() for name, observed in GAPS.items()}
    assert hidden == {
        "every:2": [1, 3, 5, 7, 9, 11, 13, 15],
        "every:4": [1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15],
        "gap:9/16+1/4": [9, 10, 11, 12],
        "end:1/4": [12, 13, 14, 15],
    }


@pytest.mark.parametrize("count", range(3, 40))
def test_the_gaps_that_choose_lie_between_observed_slices(count: int) -> None:
    for name, observed_of in GAPS.items():
        observed = observed_of(count)
        assert len(observed) == count
        assert observed[0]
        assert not observed.all()
        if name.startswith("gap"):
            assert observed[-1]


def test_dice_of_hidden_slices_by_counting() -> None:
    one, observed = FRESH[0], np.arange(8) % 2 == 0
    found = scores(prior(), one, observed)
    _, place = prior().place(one.grid)
    filled, _ = complete(prior(), one.probabilities, observed[:, None, None], place)
    # Linear interpolation by hand; the last slice repeats the one before.
    linear = one.probabilities.copy()
    for z in (1, 3, 5):
        linear[:, z] = (linear[:, z - 1] + linear[:, z + 1]) / 2
    linear[:, 7] = linear[:, 6]
    truth = one.probabilities.argmax(0)
    for method, maps in (("prior", filled), ("linear", linear)):
        labels = maps.argmax(0)
        for k, name in enumerate(prior().classes, 1):
            both = mine = theirs = 0
            for index in np.ndindex(4, 16, 16):
                at = (2 * index[0] + 1, *index[1:])
                mine, theirs = mine + (labels[at] == k), theirs + (truth[at] == k)
                both += labels[at] == truth[at] == k
            assert found[method][name] == pytest.approx(2 * both / (mine + theirs))


def test_left_out_slices_are_compared_with_logit_between_their_neighbours() -> None:
    one, observed = FRESH[1], np.ones(8, bool)
    observed[3] = False
    _, place = prior().place(one.grid)
    found = leave_one_out(prior(), one.probabilities, observed, 0, place, most=2)
    assert found is not None
    assert len(found.slices) == 2
    assert set(found.slices) <= {1, 2, 4, 5, 6}
    both, sizes = {"prior": 0, "logit": 0}, {"prior": 0, "logit": 0}
    for k in found.slices:
        rest = observed.copy()
        rest[k] = False
        maps = {
            "prior": complete(prior(), one.probabilities, rest[:, None, None], place)[0],
            "logit": interpolated(one.probabilities, rest, 0, "logit"),
        }
        truth = one.probabilities[:, k].argmax(0) > 0
        for name, filled in maps.items():
            mask = filled[:, k].argmax(0) > 0
            both[name] += int((mask & truth).sum())
            sizes[name] += int(mask.sum() + truth.sum())
    assert found.prior == 2 * both["prior"] / sizes["prior"]
    assert found.logit == 2 * both["logit"] / sizes["logit"]


def test_left_out_slices_along_another_axis() -> None:
    one = FRESH[1]
    _, place = prior().place(one.grid)
    turned = leave_one_out(prior(), one.probabilities, np.arange(16) % 3 == 0, 1, place, most=1)
    assert turned is not None
    (k,) = turned.slices
    rest = np.arange(16) % 3 == 0
    rest[k] = False
    filled, _ = complete(prior(), one.probabilities, rest[:, None], place)
    mask, truth = (maps[:, :, k].argmax(0) > 0 for maps in (filled, one.probabilities))
    assert turned.prior == 2 * (mask & truth).sum() / (mask.sum() + truth.sum())


def test_a_blurred_map_is_judged_by_its_masks() -> None:
    one = FRESH[1]
    smooth = gaussian_filter(one.probabilities, (0, 0, 0.8, 0.8))
    _, place = prior().place(one.grid)
    observed = np.arange(8) % 2 == 0
    found = leave_one_out(prior(), smooth, observed, 0, place, most=1)
    assert found is not None
    (k,) = found.slices
    rest = observed & (np.arange(8) != k)
    filled, _ = complete(prior(), smooth, rest[:, None, None], place)
    wanted = dice_of(filled[:, k].argmax(0), smooth[:, k].argmax(0), prior().classes)
    assert found.prior == wanted["all"]
    assert found.prior != pytest.approx(agreement_of(filled[:, k], smooth[:, k]), abs=1e-3)


def test_nothing_can_be_left_out_of_two_slices() -> None:
    one = FRESH[1]
    _, place = prior().place(one.grid)
    observed = np.isin(np.arange(8), (1, 4))
    assert leave_one_out(prior(), one.probabilities, observed, 0, place) is None


def test_the_only_slice_with_an_object_is_not_left_out() -> None:
    one = FRESH[1]
    _, place = prior().place(one.grid)
    alone = np.zeros_like(one.probabilities)
    alone[0] = 1
    alone[:, 4] = one.probabilities[:, 4]
    assert leave_one_out(prior(), alone, np.arange(8) % 2 == 0, 0, place) is None


def test_slices_with_a_trace_of_probability_hold_no_object() -> None:
    one = FRESH[0]
    trace = np.full_like(one.probabilities, 1e-9)
    trace[0] = 1
    trace[:, 7] = one.probabilities[:, 4]
    rows = table(
        prior(), [replace(one, probabilities=trace)], gaps={"end": lambda count: np.arange(count) < 7}
    )
    assert {(row.dice, row.subjects) for row in rows} == {(None, 0)}


def test_classes_still_sum_to_one_between_slices() -> None:
    observed = np.arange(8) % 3 == 0
    for method in ("logit", "linear"):
        found = interpolated(FRESH[2].probabilities, observed, 0, method)
        assert found.sum(0) == pytest.approx(1, abs=1e-6)


def test_the_table_has_a_row_for_each_gap_class_and_method(monkeypatch: pytest.MonkeyPatch) -> None:
    gaps = {"one": lambda count: np.arange(count) != 3, "none left": lambda count: np.arange(count) == 0}
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(bootstrap, "RESAMPLES", 99)
    rows = table(prior(), FRESH[:2], gaps=gaps, fits=lambda done, of: told.append((done, of)))
    assert len(rows) == 2 * 4 * 3
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    each = [scores(prior(), one, np.arange(8) != 3)["logit"]["all"] for one in FRESH[:2]]
    [row] = [row for row in rows if (row.gap, row.method, row.label) == ("one", "logit", "all")]
    assert row.dice == pytest.approx(np.mean([value for value in each if value is not None]))
    assert row.subjects == 2
    assert {(row.dice, row.subjects) for row in rows if row.gap == "none left"} == {(None, 0)}


def test_held_out_subjects_choose_the_smallest_number_of_steps_that_is_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(validation, "_STEPS", {"completion": (1, 60), "segmentation": (1, 40)})
    chosen = choose_steps(prior(), FRESH[:2])
    # One step leaves the latent vector beside the mean.
    assert (chosen.completion.steps, chosen.segmentation.steps) == (60, 40)
    assert chosen.completion.points == prior().completion.points
    assert choose_steps(prior(), FRESH[:2], completion_steps=(2, 3)).completion.steps in {2, 3}
    monkeypatch.setattr(validation, "_GAIN", 1.0)
    assert choose_steps(prior(), FRESH[:2]).completion.steps == 1


def test_held_out_subjects_are_not_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "_STEPS", {"completion": (5,), "segmentation": (5,)})
    monkeypatch.setattr(bootstrap, "RESAMPLES", 99)
    monkeypatch.setattr(validation, "GAPS", {name: GAPS[name] for name in ("every:2", "every:4")})
    subjects = drawn(10, 7)
    options = replace(QUICK, steps=5, validate=0.5)
    found = train_and_validate(subjects, options)
    # 8 remain for the training.
    assert len(found.subjects) == 8
    assert {row.subjects for row in found.validation if row.label == "all"} == {2}
    assert {row.gap for row in found.validation} == {"every:2", "every:4"}
    assert train_and_validate(subjects[:8], options).validation == ()
    assert len(train_and_validate(subjects, replace(options, validate=0.0)).subjects) == 10
