"""Threads and memory: the smallest of affinity, cgroup, SLURM and OMP limits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from softmorph_cli.system import machine

pytestmark = pytest.mark.linux


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cgroup, 16 CPUs, and none of the variables."""
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(16)), raising=False)
    for variable in ("SLURM_CPUS_PER_TASK", "OMP_NUM_THREADS", "SLURM_MEM_PER_NODE"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def test_affinity(cgroup: Path) -> None:
    assert machine.threads() == 16


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max 100000\n", 16),
        ("400000 100000\n", 4),
        ("250000 100000\n", 2),
        ("50000 100000\n", 1),
        ("9000000 100000\n", 16),
        ("", 16),
        ("nonsense\n", 16),
        ("1 0\n", 16),
    ],
)
def test_cgroup_quota(text: str, expected: int, cgroup: Path) -> None:
    (cgroup / "cpu.max").write_text(text)
    assert machine.threads() == expected


@pytest.mark.parametrize("variable", ["SLURM_CPUS_PER_TASK", "OMP_NUM_THREADS"])
@pytest.mark.parametrize(
    ("value", "expected"), [("3", 3), ("64", 16), ("0", 1), ("", 16), ("many", 16), ("-2", 1)]
)
def test_variables(
    value: str, expected: int, variable: str, cgroup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    assert machine.threads() == expected


def test_limits_of_every_group_above_count(
    cgroup: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path_factory.mktemp("proc") / "cgroup"
    own.write_text("1:name=systemd:/elsewhere\n0::/user.slice/job\n")
    monkeypatch.setattr(machine, "_OWN_CGROUP", own)
    (cgroup / "user.slice" / "job").mkdir(parents=True)
    assert machine.threads() == 16
    (cgroup / "user.slice" / "cpu.max").write_text("300000 100000\n")
    (cgroup / "user.slice" / "job" / "cpu.max").write_text("max 100000\n")
    assert machine.threads() == 3
    (cgroup / "user.slice" / "job" / "memory.max").write_text("4096\n")
    assert machine.memory() == 4096


def test_the_smallest_limit_wins(cgroup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cgroup / "cpu.max").write_text("600000 100000")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "5")
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert machine.threads() == 5


def test_without_affinity(cgroup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert machine.threads() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.threads() == 1


def test_memory(cgroup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    physical = machine.memory()
    assert physical is not None
    assert physical > 1 << 26
    (cgroup / "memory.max").write_text("max\n")
    assert machine.memory() == physical
    (cgroup / "memory.max").write_text("1048576\n")
    assert machine.memory() == 1 << 20
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "0.5")
    assert machine.memory() == 1 << 20
    (cgroup / "memory.max").unlink()
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "3")
    assert machine.memory() == 3 << 20
    for nonsense in ("0", "-1"):
        monkeypatch.setenv("SLURM_MEM_PER_NODE", nonsense)
        assert machine.memory() == physical


def test_control_groups_of_version_1(
    cgroup: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path_factory.mktemp("proc") / "cgroup"
    own.write_text("4:memory:/slurm/job\n3:cpu,cpuacct:/slurm/job\n1:name=systemd:/elsewhere\n0::/\n")
    monkeypatch.setattr(machine, "_OWN_CGROUP", own)
    physical = machine.memory()
    for controller in ("cpu", "memory"):
        (cgroup / controller / "slurm" / "job").mkdir(parents=True)
    for folder in (cgroup / "cpu", cgroup / "cpu" / "slurm", cgroup / "cpu" / "slurm" / "job"):
        (folder / "cpu.cfs_period_us").write_text("100000\n")
        (folder / "cpu.cfs_quota_us").write_text("-1\n")
    (cgroup / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert machine.threads() == 16
    assert machine.memory() == physical
    (cgroup / "cpu" / "slurm" / "cpu.cfs_quota_us").write_text("350000\n")
    (cgroup / "memory" / "slurm" / "memory.limit_in_bytes").write_text("2097152\n")
    assert machine.threads() == 3
    assert machine.memory() == 2 << 20
    # A container is told the name that its group has outside, and sees the group as the root.
    own.write_text("4:memory:/docker/0123\n3:cpu,cpuacct:/docker/0123\n")
    (cgroup / "cpu" / "cpu.cfs_quota_us").write_text("200000\n")
    (cgroup / "memory" / "memory.limit_in_bytes").write_text("1048576\n")
    assert machine.threads() == 2
    assert machine.memory() == 1 << 20
