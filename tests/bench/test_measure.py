"""Measurements, ratios and growth, computed from given times."""

from __future__ import annotations

from typing import Any

import pytest

from softmorph_cli.bench import measure, peak, workloads
from softmorph_cli.bench.clock import TimedTask, Timing
from softmorph_cli.bench.description import describe, processor
from softmorph_cli.bench.peers import COPY, PEERS, RULER, installed
from softmorph_cli.errors import InputError, UsageError

HOW = workloads.Hardware("cpu", 1)
SHAPE = (10, 10, 10)
EROSION = workloads.choose(3, ["erosion"])[0]
KNOWN = {COPY: 0.25, RULER: 0.5, "scikit-image erosion": 2.0, "SimpleITK GrayscaleErode": 4.0}


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Replace timing by 1 s for every workload and `KNOWN` for its peers."""

    def turns(tasks: dict[str, TimedTask], **settings: Any) -> tuple[dict[str, Timing], dict[str, Any]]:
        return {name: Timing(9.0, (KNOWN.get(name, 1.0),) * 3) for name in tasks}, {}

    monkeypatch.setattr(measure, "take_turns", turns)
    return {"repeats": 1, "memory": False}


def test_ratios_and_rates(known: dict[str, Any]) -> None:
    found = measure.measure(SHAPE, [EROSION], HOW, **known)
    (row,) = found.rows
    assert (row.seconds, row.first_seconds, row.runs) == (1.0, 9.0, 3)
    assert row.mvoxel_per_s == pytest.approx(1e-3)
    assert (row.ratio_to_copy, row.ratio_to_ruler) == (4.0, 2.0)
    assert row.peak_bytes is None
    assert row.share_above_half == pytest.approx(0.5, abs=0.1)
    compared = {one.name: (one.work, one.ratio) for one in found.comparisons}
    assert compared == {
        COPY: (None, None),
        RULER: (None, None),
        "scikit-image erosion": (row.name, 0.5),
        "SimpleITK GrayscaleErode": (row.name, 0.25),
    }


def test_memory_is_given_in_bytes_and_relative_to_the_input(
    known: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peak, "of_fresh_process", lambda work, shape, *, threads: 8000)
    (row,) = measure.measure(SHAPE, [EROSION], HOW, **{**known, "memory": True}).rows
    assert (row.peak_bytes, row.peak_to_input) == (8000, 2.0)


def test_memory_that_cannot_be_measured_is_a_note(
    known: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> int:
        raise InputError("killed.")

    monkeypatch.setattr(peak, "of_fresh_process", fail)
    found = measure.measure(SHAPE, [EROSION], HOW, **{**known, "memory": True})
    assert found.rows[0].peak_bytes is None
    assert found.notes == ("killed.",)


def test_a_missing_library_is_left_out_with_a_note(
    known: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from softmorph_cli.bench import peers

    monkeypatch.setattr(peers, "installed", lambda name: None if name == "scikit-image" else installed(name))
    found = measure.measure(SHAPE, [EROSION], HOW, **known)
    assert found.notes == ("scikit-image erosion is left out: scikit-image is not installed.",)
    assert "scikit-image erosion" not in {one.name for one in found.comparisons}


def test_failing_workloads_are_left_out_unless_all_fail() -> None:
    from dataclasses import replace

    def refuse(image: Any, how: workloads.Hardware) -> TimedTask:
        def run(_: None) -> None:
            raise InputError("not here.")

        return TimedTask(run)

    broken = replace(EROSION, detail="broken", task=refuse)
    found = measure.measure(SHAPE, [EROSION, broken], HOW, repeats=1, memory=False)
    assert [row.name for row in found.rows] == [EROSION.name]
    assert found.notes == ("10 x 10 x 10: erosion broken, minmax is left out: not here.",)
    with pytest.raises(InputError, match=r"^not here\.$"):
        measure.measure(SHAPE, [broken], HOW, repeats=1, memory=False)


def test_growth_is_the_time_per_voxel_of_the_largest_over_the_smallest(known: dict[str, Any]) -> None:
    rows = [measure.measure((n,) * 3, [EROSION], HOW, **known).rows[0] for n in (20, 10, 40)]
    (growth,) = measure.growth(rows)
    assert (growth.work, growth.smallest, growth.largest) == (EROSION.name, (10, 10, 10), (40, 40, 40))
    assert growth.ratio == pytest.approx(1 / 64)  # the same second for 64 times the voxels
    assert measure.growth(rows[:1]) == []


@pytest.mark.parametrize("dimensions", [2, 3])
def test_workloads_have_unique_names(dimensions: int) -> None:
    every = workloads.choose(dimensions)
    assert len({work.name for work in every} | {peer.name for peer in PEERS}) == len(every) + len(PEERS)


def test_works_are_chosen_by_operation_and_method() -> None:
    assert {w.operation for w in workloads.choose(3, ["erosion", "opening"])} == {"erosion", "opening"}
    assert {w.method for w in workloads.choose(2, [], ["levels", "hard"])} == {"levels", "hard"}
    with pytest.raises(UsageError, match="--operation erode: what is measured is erosion, dilation, "):
        workloads.choose(3, ["erode"])
    with pytest.raises(UsageError, match="--method sampled: what is measured is minmax, "):
        workloads.choose(3, [], ["sampled"])
    with pytest.raises(UsageError, match="no such --method is measured of erosion"):
        workloads.choose(3, ["erosion"], ["levels"])


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_peers_run_in_their_dimensions(peer: Any) -> None:
    from softmorph_cli.bench.maps import DRAWN

    for dimensions in peer.dimensions:
        image = DRAWN[peer.drawn]((12,) * dimensions)
        before = image.copy()
        assert peer.task(image, HOW)() is not None
        assert (image == before).all()


def test_the_description_of_the_machine() -> None:
    facts = describe(HOW)
    assert facts["processor"] == processor() != ""
    assert facts["threads"] == 1
    assert facts["device"] == "cpu"
    assert {"numpy", "numba", "torch"} <= facts["libraries"].keys()
    assert installed("no-such-library") is None
