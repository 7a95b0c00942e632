"""Mutated files of every format are read or refused, and the fuzzer finds planted faults."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers_faults import PLANTED

# Files are read in forked processes, whose memory /proc tells.
pytestmark = pytest.mark.linux
FUZZER = Path(__file__).parent


def run(*options: str) -> dict[str, Any]:
    # With what this process says is no test of the files.
    ended = subprocess.run(
        [sys.executable, str(FUZZER), "--json", *options], capture_output=True, text=True, check=False
    )
    assert ended.stdout, ended.stderr
    report: dict[str, Any] = json.loads(ended.stdout)
    assert ended.returncode == bool(report["faults"])
    return report


@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.fuzz)])
def test_mutated_files_are_read_or_refused(count: int) -> None:
    report = run("--cases", str(count))
    # Each line says what is wrong and the command that does it again.
    faults = [
        f"python tests/fuzz {name} {number}: {': '.join(fault)}" for name, number, fault in report["faults"]
    ]
    assert not faults, "\n".join(faults)
    assert report["cases"] == count
    # Mutations that leave nothing to read, or change nothing, would find nothing.
    assert 0.2 * count < report["read"] < 0.8 * count


def test_each_planted_fault_is_found_and_later_cases_run() -> None:
    report = run("--only", "nifti-plain", "--plant", "--seconds", "1")
    found: dict[int, set[str]] = {}
    for _, number, (kind, _) in report["faults"]:
        found.setdefault(number, set()).add(kind)
    assert report["cases"] == len(PLANTED) + 2
    wanted = {number: {kind} for number, (kind, _) in enumerate(PLANTED, 1)}
    assert found == wanted


def test_cases_are_reproducible() -> None:
    words = [sys.executable, str(FUZZER), "nrrd-gzip", "7"]
    contents = []
    for _ in range(2):
        ended = subprocess.run(words, capture_output=True, text=True, check=True)
        path = Path(ended.stdout.splitlines()[0].split()[0])
        contents.append(path.read_bytes())
        path.unlink()
        path.parent.rmdir()
    assert contents[0] == contents[1] != b""
