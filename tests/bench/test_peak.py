"""Peak memory is that of the workload alone."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from softmorph_cli.bench import peak, workloads
from softmorph_cli.bench.clock import TimedTask
from softmorph_cli.errors import SoftmorphError

EROSION = workloads.choose(3, ["erosion"])[0]


# In a separate process: the system may reclaim memory of a large one during the measurement.
TAKES = """
import numpy as np
from softmorph_cli.bench import peak
MIB = 2**20
def take():
    np.ones(64 * MIB, np.uint8)
peak.held(take)
print(*(peak.held(take) / MIB for _ in range(2)), peak.held(lambda: None) / MIB)
"""


def test_freed_memory_counts() -> None:
    ended = subprocess.run([sys.executable, "-c", TAKES], capture_output=True, text=True, check=True)
    first, second, nothing = map(float, ended.stdout.split())
    assert 60 < first < 70
    assert 60 < second < 70
    assert nothing < 2


def test_a_workload_in_its_own_process_takes_at_least_its_result() -> None:
    # The kernel's marks are off by some hundred kB.
    found = peak.of_fresh_process(EROSION, (128, 128, 128), threads=1)
    assert found is not None
    assert 0.9 < found / (4 * 128**3) < 8


def test_a_failure_in_the_process_is_raised() -> None:
    with pytest.raises(SoftmorphError, match=r"memory of erosion .* could not be measured: .*StopIteration"):
        peak.of_fresh_process(replace(EROSION, detail="of another kind"), (24, 24, 24), threads=1)


def test_without_proc_the_result_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(peak, "_STATUS", tmp_path / "status")
    assert peak.of_fresh_process(EROSION, (24, 24, 24), threads=1) is None
    (tmp_path / "status").write_text("VmPeak:\t 1 kB\n")
    with pytest.raises(SoftmorphError, match="no VmRSS"):
        peak.held(lambda: None)


def test_a_task_prepares_and_runs() -> None:
    assert TimedTask(lambda number: number + 1, lambda: 4)() == 5
