"""SIGKILL, as a cluster's scheduler or the kernel sends it: the run that goes on ends with the same bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers_cli import random_map, save
from helpers_kills import kill_and_go_on

pytestmark = pytest.mark.linux

INSTANTS = pytest.mark.parametrize("instants", [5, pytest.param(20, marks=pytest.mark.heavy)])


def check(words: list[str], more: str, *, instants: int, same: list[str], clear: list[str]) -> None:
    found = kill_and_go_on(words, [*words, more], same=same, clear=clear, count=instants)
    assert len(found) == instants
    for one in found:
        assert one.killed == -9, one
        assert one.status == 0, (one, Path("log.txt").read_text()[-2000:])
        assert one.equal, one
        # An empty scratch folder may be that of somebody.
        assert one.left in ([], ["scratch"]), one
        assert not Path("scratch").exists() or not list(Path("scratch").iterdir())


@INSTANTS
def test_a_batch(instants: int) -> None:
    Path("in").mkdir()
    for number in range(4):
        save(f"in/{number}.nii.gz", random_map((8, 9, 10), number))
    words = ["batch", "in", "out", "erode", "--workers", "1", "-q"]
    names = [f"out/{number}.nii.gz" for number in range(4)]
    check(words, "--resume", instants=instants, same=names, clear=["out"])


@INSTANTS
def test_a_run_in_tiles(instants: int) -> None:
    save("in.npy", random_map((24, 25, 26)))
    words = ["skeletonize", "in.npy", "out.ome.zarr", "--levels", "8", "--memory", "1GB"]
    words += ["--scratch", "scratch", "--json-file", "s.json", "--preview", "p.png", "-q"]
    check(
        words,
        "--resume",
        instants=instants,
        same=["out.ome.zarr"],
        clear=["out.ome.zarr", "s.json", "p.png"],
    )


@INSTANTS
@pytest.mark.parametrize("target", ["out.nii.gz", "out.ome.zarr"])
def test_a_chain(target: str, instants: int) -> None:
    np.save("in.npy", random_map((10, 11, 12)))
    words = ["chain", "in.npy", target, "close:iterations=1", "fill", "--json-file", "s.json", "-q"]
    check(words, "--force", instants=instants, same=[target], clear=[target, "s.json"])
