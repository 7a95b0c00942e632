"""The workloads of `softmorph bench` under pytest-benchmark, each with what it is compared with.

Run: python -m pytest tests/benchmarks -m benchmark     (SOFTMORPH_BENCH_SIZE=64 for other than 128^3)
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import pytest

from softmorph_cli.bench import maps
from softmorph_cli.bench.peers import PEERS
from softmorph_cli.bench.workloads import Hardware, works
from softmorph_cli.system import machine

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.filterwarnings("ignore::softmorph_cli.errors.SoftmorphWarning"),
]
SIZE = int(os.environ.get("SOFTMORPH_BENCH_SIZE", "128"))
HOW = Hardware("cpu", machine.threads())


def _pairs() -> list[Any]:
    """Return every work, and in each operation's group what it can be compared with."""
    found: list[tuple[str, Any]] = [(work.operation, work) for work in works(3)]
    for operation in dict.fromkeys(operation for operation, _ in found):
        found += [
            (operation, peer)
            for peer in PEERS
            if 3 in peer.dimensions and peer.version and (peer.like is None or peer.like[0] == operation)
        ]
    return [pytest.param(group, what, id=f"{group}: {what.name}") for group, what in found]


@cache
def _map(drawn: str) -> maps.Map:
    return maps.DRAWN[drawn]((SIZE,) * 3)


@pytest.mark.parametrize(("group", "what"), _pairs())
def test_speed(benchmark: Any, group: str, what: Any) -> None:
    benchmark.group = f"{group}, {SIZE}^3"
    task = what.task(_map(what.drawn), HOW)
    # The warm-up compiles; the group's table gives each minimum as a ratio to the smallest.
    benchmark.pedantic(
        task.run, setup=lambda: ((task.prepare(),), {}), rounds=5, iterations=1, warmup_rounds=1
    )
